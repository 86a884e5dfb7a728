//! The directory of one account's and destination's segments.
//!
//! ```text
//! <spool_dir>/<fingerprint>/<uuid v7>.journal
//!                           <uuid v7>.new        one that is being begun
//! ```
//!
//! What else lies there is left alone.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::frame::FINGERPRINT;
use crate::common::os;
use crate::delivery::Destination;

/// One that is not finished by then never will be.
const UNFINISHED_FOR: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    fingerprint: String,
}

/// A segment, whoever uses it.
#[derive(Clone, Debug)]
pub struct Found {
    pub path: PathBuf,
    pub bytes: u64,
}

/// It tells an account and a collector from others, but neither by name.
pub fn fingerprint(destination: &Destination) -> String {
    let account = format!("{}\n{}", destination.url, destination.key);
    let digest = ring::digest::digest(&ring::digest::SHA256, account.as_bytes());
    digest.as_ref().iter().take(FINGERPRINT / 2).map(|byte| format!("{byte:02x}")).collect()
}

impl Folder {
    pub fn new(spool: &Path, fingerprint: &str) -> Folder {
        Folder { path: spool.join(fingerprint), fingerprint: fingerprint.to_owned() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Make the directory, or see that it is private. Records hold what a program says about its users.
    pub fn prepare(&self) -> io::Result<()> {
        os::create_private_directory(&self.path)?;
        os::keep_private(&self.path)
    }

    /// For a new segment. The names tell the order of their making.
    pub fn fresh_path(&self) -> PathBuf {
        let random: [u8; 16] = Uuid::new_v4().into_bytes();
        let (low, _) = random.split_at(10);
        let low: [u8; 10] = low.try_into().unwrap_or_default();
        let name = uuid::Builder::from_unix_timestamp_millis(crate::delivery::queue::now_ms(), &low).into_uuid();
        self.path.join(format!("{}.journal", name.simple()))
    }

    /// Every segment, the oldest first. An error: the directory cannot be read; one that is not there holds none.
    pub fn segments(&self) -> io::Result<Vec<Found>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found: Vec<Found> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "journal"))
            .map(|path| Found { bytes: fs::symlink_metadata(&path).map_or(0, |found| found.len()), path })
            .collect();
        found.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }

    /// Remove what processes had begun to make when they died.
    pub fn clean_up(&self) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let path = entry.path();
            let old = |found: &fs::Metadata| {
                let age = found.modified().ok().and_then(|made| SystemTime::now().duration_since(made).ok());
                found.is_file() && os::is_ours(found) && age.is_some_and(|age| age > UNFINISHED_FOR)
            };
            if path.extension().is_some_and(|extension| extension == "new")
                && entry.metadata().is_ok_and(|found| old(&found))
            {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// The fingerprints of all accounts and destinations whose records lie in `spool`.
pub fn fingerprints(spool: &Path) -> io::Result<Vec<String>> {
    let mut names: Vec<_> =
        fs::read_dir(spool)?.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| is_fingerprint(name));
    names.sort();
    Ok(names)
}

pub fn is_fingerprint(name: &str) -> bool {
    name.len() == FINGERPRINT && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
