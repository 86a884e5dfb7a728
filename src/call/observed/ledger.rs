//! Which answers of Message Batches were recorded already: their results may be read any number of times, by any process.
//!
//! Beside the spool, a file for each day holds the hashes of that day's transaction ids. Files of more than 30 days go.
//! A ledger that cannot be read or written costs nothing but its memory: Revenium still knows a transaction id that comes
//! again.

use crate::common::{log, os};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Results of a batch can be had for 29 days.
const DAYS: u64 = 30;
/// So much of a SHA-256 tells ids apart.
const HASH: usize = 16;
type Hash = [u8; HASH];

#[derive(Default)]
pub struct Ledger {
    /// `None`: in memory only.
    folder: Option<PathBuf>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    hashes: HashSet<Hash>,
    /// How far each day's file was read.
    read: Vec<(u64, u64)>,
    troubled: bool,
}

impl Ledger {
    /// `folder`: of this account, in the spool's directory.
    pub fn new(folder: Option<PathBuf>) -> Ledger {
        Ledger { folder, known: Mutex::default() }
    }

    /// Do `record`, unless it was done for this id before. It gives nothing where it did nothing: then the id stays new.
    pub fn once<T>(&self, id: &str, record: impl FnOnce() -> Option<T>) -> Option<T> {
        self.once_on(today(), id, record)
    }

    fn once_on<T>(&self, day: u64, id: &str, record: impl FnOnce() -> Option<T>) -> Option<T> {
        let hash = hash_of(id);
        // Held for the record, too: two readers of one result take turns.
        let mut known = self.known.lock();
        if let Some(folder) = &self.folder {
            known.read_on(folder, day);
        }
        if known.hashes.contains(&hash) {
            return None;
        }
        let recorded = record()?;
        known.hashes.insert(hash);
        if let Some(folder) = &self.folder
            && let Err(fault) = append(folder, day, &hash)
            && !std::mem::replace(&mut known.troubled, true)
        {
            log::warn!("which batch results were recorded is known to this process only: {fault}");
        }
        Some(recorded)
    }
}

impl Known {
    /// What this and other processes have written since the last time.
    fn read_on(&mut self, folder: &Path, today: u64) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let Some(day) = day_of(&path) else { continue };
            if day + DAYS < today {
                let _ = fs::remove_file(&path);
                continue;
            }
            let done = match self.read.iter_mut().find(|(known, _)| *known == day) {
                Some((_, done)) => done,
                None => {
                    self.read.push((day, 0));
                    match self.read.last_mut() {
                        Some((_, done)) => done,
                        None => continue,
                    }
                }
            };
            if entry.metadata().is_ok_and(|file| file.len() < *done + HASH as u64) {
                continue;
            }
            let Ok(mut file) = fs::File::open(&path) else { continue };
            let mut bytes = Vec::new();
            if file.seek(SeekFrom::Start(*done)).is_ok() && file.read_to_end(&mut bytes).is_ok() {
                let (whole, _) = bytes.as_chunks::<HASH>();
                self.hashes.extend(whole);
                *done += (whole.len() * HASH) as u64;
            }
        }
    }
}

fn append(folder: &Path, day: u64, hash: &Hash) -> std::io::Result<()> {
    os::create_private_directory(folder)?;
    let path = folder.join(format!("{day}.batches"));
    // One write each, so that processes do not mix theirs.
    os::private_file().create(true).append(true).open(path)?.write_all(hash)
}

fn day_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".batches")?.parse().ok()
}

fn today() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() / 86_400)
}

fn hash_of(id: &str) -> Hash {
    let digest = ring::digest::digest(&ring::digest::SHA256, id.as_bytes());
    let mut hash = [0; HASH];
    hash.copy_from_slice(&digest.as_ref()[..HASH]);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            Folder(std::env::temp_dir().join(format!("revenium-ledger-{}", uuid::Uuid::new_v4())))
        }

        fn ledger(&self) -> Ledger {
            Ledger::new(Some(self.0.join("account")))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn an_id_is_recorded_once_by_all_processes() {
        let folder = Folder::new();
        let (one, other) = (folder.ledger(), folder.ledger());
        assert_eq!(one.once("a", || Some(1)), Some(1));
        assert_eq!(one.once("a", || Some(2)), None);
        assert_eq!(other.once("a", || Some(3)), None);
        assert_eq!(other.once("b", || Some(4)), Some(4));
        assert_eq!(one.once("b", || Some(5)), None);
        assert_eq!(folder.ledger().once("b", || Some(6)), None);
    }

    #[test]
    fn what_left_no_record_stays_new() {
        let folder = Folder::new();
        assert_eq!(folder.ledger().once("a", || None::<u8>), None);
        assert_eq!(folder.ledger().once("a", || Some(1)), Some(1));
    }

    #[test]
    fn it_forgets_after_thirty_days() {
        let folder = Folder::new();
        assert_eq!(folder.ledger().once_on(1000, "a", || Some(1)), Some(1));
        assert_eq!(folder.ledger().once_on(1030, "a", || Some(2)), None);
        assert_eq!(folder.ledger().once_on(1031, "b", || Some(3)), Some(3));
        assert_eq!(folder.ledger().once_on(1031, "a", || Some(4)), Some(4));
        assert!(!folder.0.join("account/1000.batches").exists());
    }

    #[test]
    fn a_file_that_was_cut_is_read_as_far_as_it_goes() {
        let folder = Folder::new();
        let ledger = folder.ledger();
        ledger.once_on(5, "a", || Some(1));
        ledger.once_on(5, "b", || Some(1));
        let path = folder.0.join("account/5.batches");
        fs::write(&path, &fs::read(&path).unwrap()[..HASH + 3]).unwrap();
        assert_eq!(folder.ledger().once_on(5, "a", || Some(1)), None);
        assert_eq!(folder.ledger().once_on(5, "b", || Some(2)), Some(2));
    }

    #[test]
    fn without_a_folder_or_with_a_bad_one_it_remembers_by_itself() {
        for folder in [None, Some(PathBuf::from("/proc/no-such-place"))] {
            let ledger = Ledger::new(folder);
            assert_eq!(ledger.once("a", || Some(1)), Some(1));
            assert_eq!(ledger.once("a", || Some(2)), None);
        }
    }
}
