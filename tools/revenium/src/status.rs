//! `revenium status`

use revenium::inside::Settings;
use revenium::inside::journal::{Folder, Look};
use revenium::inside::status;
use serde_json::{Value, json};

use crate::spool::{Looks, age, directory, folder, in_words, looks, others, user_in_words};

pub fn status(settings: &Settings, as_json: bool) -> Result<(), String> {
    let library = status::status().map_err(|error| error.message)?.to_json();
    let ours = folder(settings).ok();
    let own_name = ours.as_ref().map(Folder::fingerprint);
    let mut trouble = Vec::new();
    let nothing = || Looks { segments: Vec::new(), unreadable: Vec::new() };
    let found = match ours.as_ref().map(looks).transpose() {
        Ok(found) => found.unwrap_or_else(nothing),
        Err(why) => {
            trouble.push(why);
            nothing()
        }
    };
    trouble.extend(found.unreadable.iter().cloned());
    let files = &found.segments;
    let others = others(settings, own_name).unwrap_or_else(|why| {
        trouble.push(why);
        Vec::new()
    });
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
            "damaged_records": found.damaged(),
            "trouble": trouble,
        });
        say!("{}", json!({"library": library, "spool": spool}));
        return Ok(());
    }

    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    say!("librevenium {}", text(&library["version"]));
    say!("provider     {} ({})", text(&library["provider"]), text(&library["provider_reason"]));
    say!("metering     {}", text(&library["metering"]));
    match directory(settings) {
        Ok(directory) => say!("spool        {}", directory.display()),
        Err(why) => say!("spool        {why}"),
    }
    if let Some(name) = &own_name {
        say!("fingerprint  {name}");
    }
    say!("waiting      {} records in {} files", found.records(), files.len());
    for look in files {
        let bytes = look.found.bytes.div_ceil(1024);
        let oldest = oldest(look).map(|age| format!(", oldest {}", in_words(age))).unwrap_or_default();
        say!("  {}: {} records, {bytes} KiB{oldest}", user_in_words(look.user), look.rows.len());
    }
    for (name, records) in others {
        say!("  of another key or address, {name}: {records} records; revenium spool send --from {name}");
    }
    for why in trouble {
        say!("  {why}");
    }
    Ok(())
}

fn oldest(look: &Look) -> Option<std::time::Duration> {
    look.rows.iter().map(|row| age(row.created_ms)).max()
}
