//! `revenium spool …`

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use revenium::inside::journal::{
    Folder, Found, Look, delete, fingerprint, fingerprints, hand_over, is_fingerprint, look,
};
use revenium::inside::process;
use revenium::inside::redact;
use revenium::inside::{Destination, Row, completions_url};
use revenium::inside::{Settings, environment};
use serde_json::{Value, json};

/// Where the records of these settings' account and destination lie.
pub fn folder(settings: &Settings) -> Result<Folder, String> {
    let directory = directory(settings)?;
    let key = settings.metering_key(&environment);
    let key =
        key.ok_or("there is no Revenium key, which tells whose records are meant; set REVENIUM_METERING_API_KEY")?;
    let (url, _) = completions_url(&settings.metering_base_url).map_err(|error| error.message)?;
    Ok(Folder::new(&directory, &fingerprint(&Destination { url, key: key.expose().to_owned() })))
}

pub fn directory(settings: &Settings) -> Result<PathBuf, String> {
    settings.spool_directory(&environment).ok_or_else(|| "there is no spool: records are kept in memory only".into())
}

/// What lies in a folder.
pub struct Looks {
    pub segments: Vec<Look>,
    /// Why the others cannot be read.
    pub unreadable: Vec<String>,
}

impl Looks {
    pub fn records(&self) -> usize {
        self.segments.iter().map(|look| look.rows.len()).sum()
    }

    /// Places in the segments that are damaged.
    pub fn damaged(&self) -> usize {
        self.segments.iter().map(|look| look.damaged).sum()
    }

    pub fn oldest(&self) -> Option<Duration> {
        self.segments.iter().flat_map(|look| &look.rows).map(|row| age(row.created_ms)).max()
    }
}

/// What lies in `folder`, segment by segment.
pub fn looks(folder: &Folder) -> Result<Looks, String> {
    let shown = folder.path().display();
    let found = folder.segments().map_err(|error| format!("the spool in {shown} cannot be read: {error}"))?;
    let mut looks = Looks { segments: Vec::new(), unreadable: Vec::new() };
    for found in found {
        let path = found.path.clone();
        match look(found) {
            Ok(look) => looks.segments.push(look),
            // It was there a moment ago: its process has ended with nothing left.
            Err(_) if !path.exists() => {}
            Err(why) => looks.unreadable.push(format!("{} cannot be read: {why}", path.display())),
        }
    }
    Ok(looks)
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
    let folder = folder(settings)?;
    let looks = looks(&folder)?;
    let rows = oldest_first(&looks.segments);
    if as_json {
        let row = |(look, row): &(&Look, &Row)| -> Value {
            json!({
                "id": row.record.transaction_id,
                "idempotency_key": row.record.idempotency_key,
                "endpoint": row.record.endpoint.path(),
                "created_ms": row.created_ms,
                "bytes": row.record.body.len(),
                "in_use_by": look.user,
            })
        };
        say!("{}", Value::Array(rows.iter().map(row).collect()));
    } else if !rows.is_empty() {
        say!("{:<36} {:>12} {:>8}  FILE", "ID", "AGE", "BYTES");
        for (look, row) in rows {
            let (id, bytes) = (&row.record.transaction_id, row.record.body.len());
            say!("{id:<36} {:>12} {bytes:>8}  {}", in_words(age(row.created_ms)), user_in_words(look.user));
        }
    } else if looks.unreadable.is_empty() {
        let others = others(settings, Some(folder.fingerprint()))?;
        if others.is_empty() {
            say!("Nothing waits: every usage record has been delivered.");
        } else {
            say!("Nothing of this key and address waits.");
        }
        for (name, records) in others {
            say!("{records} records of another key or address wait: revenium spool send --from {name}");
        }
    }
    match looks.unreadable.len() {
        0 => Ok(()),
        _ => Err(looks.unreadable.join("\n")),
    }
}

/// The other accounts and destinations, and how many records of each wait.
pub fn others(settings: &Settings, own: Option<&str>) -> Result<Vec<(String, usize)>, String> {
    let Ok(directory) = directory(settings) else { return Ok(Vec::new()) };
    let names = match fingerprints(&directory) {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("the spool in {} cannot be read: {error}", directory.display())),
    };
    let mut all = Vec::new();
    for name in names.into_iter().filter(|name| Some(name.as_str()) != own) {
        let records = looks(&Folder::new(&directory, &name))?.records();
        if records > 0 {
            all.push((name, records));
        }
    }
    Ok(all)
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
    let looks = looks(&folder(settings)?)?;
    let (look, row) = find(&looks.segments, id)?;
    say!("transaction id   {}", row.record.transaction_id);
    say!("idempotency key  {}", row.record.idempotency_key);
    say!("age              {}", in_words(age(row.created_ms)));
    say!("file             {} ({})", look.found.path.display(), user_in_words(look.user));
    let text = String::from_utf8_lossy(&row.record.body);
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()));
    let body = serde_json::to_string_pretty(&body).unwrap_or_default();
    for line in body.lines() {
        say!("{}", redact(line));
    }
    Ok(())
}

pub fn send(settings: &Settings, timeout: Duration, from: Option<&str>) -> Result<(), String> {
    let folder = folder(settings)?;
    if let Some(from) = from {
        let other = other_folder(&directory(settings)?, from)?;
        let moved = hand_over(&other, &folder).map_err(|error| format!("the files cannot be moved: {error}"))?;
        say!("Took over {moved} files of {from}.");
    }
    let left = |looks: &Looks| {
        looks.segments.iter().filter(|look| look.user.is_none()).map(|look| look.rows.len()).sum::<usize>()
    };
    let found = looks(&folder)?;
    let before = left(&found);
    if before == 0 {
        if !found.unreadable.is_empty() {
            return Err(found.unreadable.join("\n"));
        }
        say!("Nothing to send.");
        for (name, records) in others(settings, Some(folder.fingerprint()))? {
            say!("{records} records of another key or address wait: revenium spool send --from {name}");
        }
        return Ok(());
    }
    let client = process().client().map_err(|error| error.message)?;
    let deadline = Instant::now() + timeout;
    let flushed = client.flush(deadline);
    let counts = client.delivery_counts();
    // What is left goes back to the spool, which takes no time.
    let _ = process().shutdown(Instant::now());
    say!("{} of {before} records were delivered, {} were given up.", counts.delivered, counts.dropped);
    if flushed && counts.dropped == 0 {
        return Ok(());
    }
    let why = counts.last_error.map(|error| format!(": {}", error.message)).unwrap_or_default();
    Err(format!("{} records wait still{why}", left(&looks(&folder)?)))
}

fn other_folder(directory: &Path, fingerprint: &str) -> Result<Folder, String> {
    if !is_fingerprint(fingerprint) || !directory.join(fingerprint).is_dir() {
        return Err(format!("there are no records of {fingerprint:?}; `revenium status` shows whose there are"));
    }
    Ok(Folder::new(directory, fingerprint))
}

pub fn drop(settings: &Settings, id: Option<&str>) -> Result<(), String> {
    let looks = looks(&folder(settings)?)?;
    let mut numbers: HashMap<&Path, (&Found, Vec<u64>)> = HashMap::new();
    let chosen = match id {
        Some(id) => vec![find(&looks.segments, id)?],
        None => oldest_first(&looks.segments),
    };
    for (look, row) in &chosen {
        numbers.entry(&look.found.path).or_insert_with(|| (&look.found, Vec::new())).1.push(row.seq);
    }
    let (mut dropped, mut in_use) = (0, 0);
    for (found, numbers) in numbers.into_values() {
        match delete(found, &numbers).map_err(|error| error.to_string())? {
            Some(gone) => dropped += gone,
            None => in_use += numbers.len(),
        }
    }
    say!("{dropped} records were given up.");
    if in_use > 0 {
        return Err(format!("{in_use} records are with a living process, which is sending them; end it first"));
    }
    Ok(())
}
