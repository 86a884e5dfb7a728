//! `revenium status`

use revenium::client::status;
use revenium::delivery::spool::{Look, Place};
use revenium::settings::Settings;
use serde_json::{Value, json};

use crate::spool::{age, broken, directory, fingerprints, in_words, looks, place, user_in_words};

pub fn status(settings: &Settings, as_json: bool) -> Result<(), String> {
    let library = status::status().map_err(|error| error.message)?.to_json();
    let ours = place(settings).ok();
    let own_name = ours.as_ref().and_then(name_of);
    let files = ours.as_ref().map(looks).transpose()?.unwrap_or_default();
    let others = others(settings, own_name.as_deref())?;
    let broken = ours.as_ref().map_or(0, broken);
    if as_json {
        let file = |look: &Look| {
            json!({
                "path": look.found.path,
                "in_use_by": look.user,
                "records": look.rows.len(),
                "bytes": look.found.bytes,
                "oldest_age_s": oldest(look).map(|age| age.as_secs()),
            })
        };
        let others: Vec<Value> =
            others.iter().map(|(name, records)| json!({"fingerprint": name, "records": records})).collect();
        let spool = json!({
            "fingerprint": own_name,
            "files": files.iter().map(file).collect::<Vec<_>>(),
            "other_accounts": others,
            "broken_files": broken,
        });
        println!("{}", json!({"library": library, "spool": spool}));
        return Ok(());
    }

    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    println!("librevenium {}", text(&library["version"]));
    println!("provider     {} ({})", text(&library["provider"]), text(&library["provider_reason"]));
    println!("metering     {}", text(&library["metering"]));
    match directory(settings) {
        Ok(directory) => println!("spool        {}", directory.display()),
        Err(why) => println!("spool        {why}"),
    }
    if let Some(name) = &own_name {
        println!("fingerprint  {name}");
    }
    let records: usize = files.iter().map(|look| look.rows.len()).sum();
    println!("waiting      {records} records in {} files", files.len());
    for look in &files {
        let bytes = look.found.bytes.div_ceil(1024);
        let oldest = oldest(look).map(|age| format!(", oldest {}", in_words(age))).unwrap_or_default();
        println!("  {}: {} records, {bytes} KiB{oldest}", user_in_words(look.user), look.rows.len());
    }
    for (name, records) in others {
        println!("  of another key or address, {name}: {records} records");
    }
    if broken > 0 {
        println!("  {broken} files that could not be read were set aside");
    }
    Ok(())
}

fn name_of(place: &Place) -> Option<String> {
    Some(place.directory().file_name()?.to_str()?.to_owned())
}

fn oldest(look: &Look) -> Option<std::time::Duration> {
    look.rows.iter().map(|row| age(row.created_ms)).max()
}

/// The other accounts and destinations, and how many records of each wait.
fn others(settings: &Settings, own: Option<&str>) -> Result<Vec<(String, usize)>, String> {
    let Ok(directory) = directory(settings) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for name in fingerprints(&directory).into_iter().filter(|name| Some(name.as_str()) != own) {
        let records = looks(&Place::new(&directory, &name))?.iter().map(|look| look.rows.len()).sum();
        if records > 0 {
            all.push((name, records));
        }
    }
    Ok(all)
}
