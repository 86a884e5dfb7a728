//! `revenium spool …`

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use revenium::client::process::core;
use revenium::common::log::redact;
use revenium::delivery::spool::{Found, Look, Place, Row, delete, fingerprint, hand_over, look};
use revenium::delivery::{Destination, completions_url};
use revenium::settings::{Settings, environment};
use serde_json::{Value, json};

/// Where the records of these settings' account and destination lie.
pub fn place(settings: &Settings) -> Result<Place, String> {
    let directory = directory(settings)?;
    let key = settings.metering_key(&environment).ok_or("there is no Revenium key, so no record is meant")?;
    let (url, _) = completions_url(&settings.metering_base_url).map_err(|error| error.message)?;
    Ok(Place::new(&directory, &fingerprint(&Destination { url, key: key.expose().to_owned() })))
}

pub fn directory(settings: &Settings) -> Result<PathBuf, String> {
    settings.spool_directory(&environment).ok_or_else(|| "there is no spool: records are kept in memory only".into())
}

/// What lies at `place`, file by file; a file that cannot be read is said on standard error.
pub fn looks(place: &Place) -> Result<Vec<Look>, String> {
    let scratch = Scratch::new().map_err(|error| format!("no temporary directory can be made: {error}"))?;
    let mut all = Vec::new();
    for found in place.files() {
        let path = found.path.clone();
        match look(found, &scratch.0) {
            Ok(look) => all.push(look),
            // It was there a moment ago: its process has ended with nothing left.
            Err(_) if !path.exists() => {}
            Err(fault) => eprintln!("revenium: {} cannot be read: {fault}", path.display()),
        }
    }
    Ok(all)
}

/// Copies of records are as private as the records.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Scratch> {
        let path = std::env::temp_dir().join(format!("revenium-{}", uuid::Uuid::new_v4().simple()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn age(created_ms: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(created_ms))
}

/// "3 d 4 h", "12 s".
pub fn in_words(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

pub fn user_in_words(user: Option<u32>) -> String {
    match user {
        Some(0) => "in use".into(),
        Some(process) => format!("in use by process {process}"),
        None => "left behind".into(),
    }
}

fn oldest_first(looks: &[Look]) -> Vec<(&Look, &Row)> {
    let mut rows: Vec<_> = looks.iter().flat_map(|look| look.rows.iter().map(move |row| (look, row))).collect();
    rows.sort_by_key(|(_, row)| (row.created_ms, row.seq));
    rows
}

pub fn list(settings: &Settings, as_json: bool) -> Result<(), String> {
    let looks = looks(&place(settings)?)?;
    let rows = oldest_first(&looks);
    if as_json {
        let row = |(look, row): &(&Look, &Row)| -> Value {
            json!({
                "id": row.record.transaction_id,
                "idempotency_key": row.record.idempotency_key,
                "created_ms": row.created_ms,
                "bytes": row.record.body.len(),
                "in_use_by": look.user,
            })
        };
        println!("{}", Value::Array(rows.iter().map(row).collect()));
        return Ok(());
    }
    if rows.is_empty() {
        println!("Nothing waits: every usage record has been delivered.");
        return Ok(());
    }
    println!("{:<36} {:>12} {:>8}  FILE", "ID", "AGE", "BYTES");
    for (look, row) in rows {
        let (id, bytes) = (&row.record.transaction_id, row.record.body.len());
        println!("{id:<36} {:>12} {bytes:>8}  {}", in_words(age(row.created_ms)), user_in_words(look.user));
    }
    Ok(())
}

/// The one record that `id` means.
fn find<'a>(looks: &'a [Look], id: &str) -> Result<(&'a Look, &'a Row), String> {
    let rows = oldest_first(looks);
    let named = |row: &Row, whole: bool| {
        [&row.record.transaction_id, &row.record.idempotency_key]
            .into_iter()
            .any(|name| if whole { name == id } else { name.starts_with(id) })
    };
    let whole: Vec<_> = rows.iter().filter(|(_, row)| named(row, true)).collect();
    let beginning: Vec<_> = rows.iter().filter(|(_, row)| named(row, false)).collect();
    match (&whole[..], &beginning[..]) {
        ([one], _) | ([], [one]) => Ok(**one),
        ([], []) => Err(format!("no record {id} waits; `revenium spool list` shows those that do")),
        _ => Err(format!("{id} is the beginning of several records")),
    }
}

pub fn show(settings: &Settings, id: &str) -> Result<(), String> {
    let looks = looks(&place(settings)?)?;
    let (look, row) = find(&looks, id)?;
    println!("transaction id   {}", row.record.transaction_id);
    println!("idempotency key  {}", row.record.idempotency_key);
    println!("age              {}", in_words(age(row.created_ms)));
    println!("file             {} ({})", look.found.path.display(), user_in_words(look.user));
    let text = String::from_utf8_lossy(&row.record.body);
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()));
    let body = serde_json::to_string_pretty(&body).unwrap_or_default();
    for line in body.lines() {
        println!("{}", redact(line));
    }
    Ok(())
}

pub fn send(settings: &Settings, timeout: Duration, from: Option<&str>) -> Result<(), String> {
    let place = place(settings)?;
    if let Some(from) = from {
        let other = other_place(&directory(settings)?, from)?;
        let moved = hand_over(&other, &place).map_err(|error| format!("the files cannot be moved: {error}"))?;
        println!("Took over {moved} files of {from}.");
    }
    let count = || looks(&place).map(|looks| looks.iter().filter(|look| look.user.is_none()).map(count_of).sum());
    let before: usize = count()?;
    if before == 0 {
        println!("Nothing to send.");
        return Ok(());
    }
    let engine = core().engine().map_err(|error| error.message)?;
    let deadline = Instant::now() + timeout;
    let flushed = engine.flush(deadline);
    let counts = engine.delivery_counts();
    // What is left goes back to the spool, which takes no time.
    let _ = core().shutdown(Instant::now());
    println!("{} of {before} records were delivered, {} were given up.", counts.delivered, counts.dropped);
    if flushed && counts.dropped == 0 {
        return Ok(());
    }
    let why = counts.last_error.map(|error| format!(": {}", error.message)).unwrap_or_default();
    Err(format!("{} records wait still{why}", count()?))
}

fn count_of(look: &Look) -> usize {
    look.rows.len()
}

fn other_place(directory: &Path, fingerprint: &str) -> Result<Place, String> {
    let plain = fingerprint.len() == 16 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !plain || !directory.join(fingerprint).is_dir() {
        return Err(format!("there are no records of {fingerprint:?}; `revenium status` shows whose there are"));
    }
    Ok(Place::new(directory, fingerprint))
}

pub fn drop(settings: &Settings, id: Option<&str>) -> Result<(), String> {
    let place = place(settings)?;
    let looks = looks(&place)?;
    let mut numbers: HashMap<&Path, (&Found, Vec<u64>)> = HashMap::new();
    let chosen = match id {
        Some(id) => vec![find(&looks, id)?],
        None => oldest_first(&looks),
    };
    for (look, row) in &chosen {
        numbers.entry(&look.found.path).or_insert_with(|| (&look.found, Vec::new())).1.push(row.seq);
    }
    let (mut dropped, mut in_use) = (0, 0);
    for (found, numbers) in numbers.into_values() {
        match delete(&place, found, &numbers).map_err(|fault| fault.to_string())? {
            Some(gone) => dropped += gone,
            None => in_use += numbers.len(),
        }
    }
    println!("{dropped} records were given up.");
    if in_use > 0 {
        return Err(format!("{in_use} records are with a living process, which is sending them; end it first"));
    }
    Ok(())
}

/// The fingerprints of all accounts and destinations whose records lie in the spool.
pub fn fingerprints(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    names.sort();
    names
}

/// Files that could not be read and were set aside.
pub fn broken(place: &Place) -> usize {
    let entries = fs::read_dir(place.directory()).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "broken")).count()
}
