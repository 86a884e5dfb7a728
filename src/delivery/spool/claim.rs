//! The directory of the spool and who uses which of its files.
//!
//! ```text
//! <spool_dir>/<fingerprint of account and destination>/<name>.db       the records (with <name>.db-wal)
//!                                                      <name>.lock     locked by the process that uses them
//!                                                      <name>.broken   a file that was not readable, set aside
//! ```
//!
//! Each process writes to a file of its own. The lock is the kernel's, so it ends with the process however that ends,
//! and a forked child does not hold it: a file whose lock is free was left behind, and whoever takes the lock may use it.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use uuid::Uuid;

use super::store::log_of;
use crate::common::os::{self, PerProcess};

/// The lock files that this process has locked, by device and inode. The kernel does not tell a process from itself,
/// and forgets all locks on a file when the process closes it anywhere.
static HELD: PerProcess<Mutex<BTreeSet<(u64, u64)>>> = PerProcess::empty();

fn held() -> &'static Mutex<BTreeSet<(u64, u64)>> {
    HELD.get(|_| Mutex::default())
}

/// The files of one account and destination.
#[derive(Clone, Debug)]
pub struct Place {
    directory: PathBuf,
}

/// The right to use one file, until it is dropped.
pub struct Claim {
    path: PathBuf,
    id: (u64, u64),
    /// Closing it gives the lock back. `None` only at the end.
    lock: Option<File>,
}

/// What there is by one name.
pub struct Found {
    pub name: String,
    pub path: PathBuf,
    /// With its log.
    pub bytes: u64,
}

impl Place {
    pub fn new(spool: &Path, fingerprint: &str) -> Place {
        Place { directory: spool.join(fingerprint) }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Make the directory, or see that it is private. Records hold what a program says about its users.
    pub fn prepare(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let found = fs::symlink_metadata(&self.directory)?;
        if !found.is_dir() || found.uid() != os::user() {
            return Err(io::Error::new(ErrorKind::PermissionDenied, "the spool directory belongs to another user"));
        }
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    }

    /// Every file, whoever uses it, in the order of their names, which is about that of their making.
    pub fn files(&self) -> Vec<Found> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> = names
            .filter_map(|name| name.strip_suffix(".db").or(name.strip_suffix(".lock")).map(str::to_owned))
            .collect();
        names.sort();
        names.dedup();
        let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
        let found = |name: String| {
            let path = self.directory.join(format!("{name}.db"));
            Found { name, bytes: size(&path) + size(&log_of(&path)), path }
        };
        names.into_iter().map(found).collect()
    }

    /// Begin a file of our own.
    pub fn create(&self) -> io::Result<Claim> {
        self.prepare()?;
        // The names tell the order of their making.
        let path = self.directory.join(format!("{}.db", Uuid::now_v7().simple()));
        claim(&path)?.ok_or_else(|| ErrorKind::ResourceBusy.into())
    }

    /// Take over a file that nobody uses. `None`: somebody does, or it is gone.
    pub fn take_over(&self, found: &Found) -> io::Result<Option<Claim>> {
        let Some(claim) = claim(&found.path)? else { return Ok(None) };
        if !found.path.exists() {
            claim.remove();
            return Ok(None);
        }
        Ok(Some(claim))
    }
}

/// The process that uses the file at `path`, if one does.
pub fn user_of(path: &Path) -> Option<u32> {
    let path = lock_of(path);
    let held = held().lock();
    let id = fs::metadata(&path).ok().map(|found| (found.dev(), found.ino()))?;
    if held.contains(&id) {
        return Some(std::process::id());
    }
    os::file_locked_by(&File::open(&path).ok()?)
}

fn lock_of(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

fn claim(path: &Path) -> io::Result<Option<Claim>> {
    let lock_path = lock_of(path);
    let identity = |found: &fs::Metadata| (found.dev(), found.ino());
    // Until the end, so that two threads of this process do not both succeed.
    let mut held = held().lock();
    if fs::metadata(&lock_path).is_ok_and(|found| held.contains(&identity(&found))) {
        return Ok(None);
    }
    let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&lock_path)?;
    let id = identity(&lock.metadata()?);
    // Whoever removes the file removes the lock file last: then this is a lock on nothing.
    if !os::try_lock_file(&lock)? || !fs::metadata(&lock_path).is_ok_and(|found| identity(&found) == id) {
        return Ok(None);
    }
    held.insert(id);
    Ok(Some(Claim { path: path.to_owned(), id, lock: Some(lock) }))
}

impl Claim {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Remove the file and all that belongs to it.
    pub fn remove(self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(log_of(&self.path));
        let _ = fs::remove_file(lock_of(&self.path));
    }

    /// Put the file where nobody takes it for a spool, for a person to look at; its new name.
    pub fn set_aside(self) -> PathBuf {
        let broken = self.path.with_extension("broken");
        // The log by the name that SQLite expects, so that its tools can try to read both.
        let _ = fs::rename(log_of(&self.path), log_of(&broken));
        let _ = fs::rename(&self.path, &broken);
        let _ = fs::remove_file(lock_of(&self.path));
        broken
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut held = held().lock();
        // Before anyone of this process can lock the file anew, which this would undo.
        drop(self.lock.take());
        held.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::spool::scratch::Scratch;

    fn place() -> (Scratch, Place) {
        let scratch = Scratch::new();
        let place = Place::new(&scratch.0, "0123456789abcdef");
        (scratch, place)
    }

    #[test]
    fn a_file_is_used_by_one_at_a_time() {
        let (_scratch, place) = place();
        let ours = place.create().unwrap();
        fs::write(ours.path(), "").unwrap();
        let [found] = &place.files()[..] else { panic!() };
        assert_eq!(user_of(&found.path), Some(std::process::id()));
        assert!(place.take_over(found).unwrap().is_none());
        let path = ours.path().to_owned();
        drop(ours);
        assert_eq!(user_of(&path), None);
        let taken = place.take_over(found).unwrap().unwrap();
        assert_eq!(taken.path(), path);
        taken.remove();
        assert!(place.files().is_empty());
        assert!(place.take_over(found).unwrap().is_none(), "it is gone");
        assert_eq!(fs::read_dir(place.directory()).unwrap().count(), 0);
    }

    #[test]
    fn everything_is_private() {
        let (scratch, place) = place();
        let ours = place.create().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&scratch.0), mode(place.directory())), (0o700, 0o700));
        assert_eq!(mode(&lock_of(ours.path())), 0o600);
        fs::set_permissions(place.directory(), fs::Permissions::from_mode(0o755)).unwrap();
        place.prepare().unwrap();
        assert_eq!(mode(place.directory()), 0o700);
    }

    #[test]
    fn what_stands_in_the_way_is_an_error() {
        let (scratch, place) = place();
        fs::create_dir_all(&scratch.0).unwrap();
        fs::write(place.directory(), "a file").unwrap();
        assert!(place.create().is_err());
        fs::remove_file(place.directory()).unwrap();
        fs::create_dir(scratch.0.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", place.directory()).unwrap();
        assert!(place.create().is_err(), "a link may lead anywhere");
    }
}
