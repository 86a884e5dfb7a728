//! The spool: records on disk, from before their call's result is known until Revenium has them.
//!
//! Each process writes to a file of its own (`claim` says who uses which, `store` is one file). Records that are made
//! at the same time are committed together by whoever gets hold of the file first. Everything that can wait is the
//! keeper's: it takes over what dead processes left, loads what memory had no room for, keeps to the limits and
//! repairs what broke (`keeper`).
//!
//! A record leaves the spool after Revenium has it, in the next commit. A process that is killed in between leaves it
//! to be sent once more, with the same Idempotency-Key and the same bytes, so that Revenium answers what it answered
//! before. That holds for a day; in practice the next process is there sooner.

mod claim;
mod keeper;
mod store;
#[cfg(test)]
mod tests;

pub use claim::{Found, Place, user_of};
pub(super) use keeper::run;
pub use store::{Fault, Row, Survey};

use std::fs;
use std::io;
use std::ops::{Deref, DerefMut, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;

use self::claim::Claim;
use self::store::{Outcome, Store, log_of};
use super::Destination;
use super::queue::{Queue, Seq};

/// How long a call waits for its record to be committed, when something else holds the file. Once; after that records
/// stay in memory until a commit has succeeded.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long the end waits for whoever holds the file.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// The log is moved into the file after this many bytes.
const CHECKPOINT_AFTER: u64 = 8 << 20;

#[derive(Clone, Debug)]
pub struct Options {
    pub directory: PathBuf,
    pub max_bytes: u64,
    /// Each commit reaches the disk before the call has its result. Else within a second.
    pub every_commit_synced: bool,
}

/// Where the records for `destination` lie. It tells an account and a collector from others, but neither by name.
pub fn fingerprint(destination: &Destination) -> String {
    let account = format!("{}\n{}", destination.url, destination.key);
    let digest = ring::digest::digest(&ring::digest::SHA256, account.as_bytes());
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

pub(super) struct Spool {
    pub options: Options,
    pub place: Place,
    queue: Arc<Queue>,
    batch: Mutex<Batch>,
    home: Mutex<Home>,
    /// The file was let go.
    settled: Notify,
    settled_for_threads: Condvar,
    /// The keeper is to come now, or within a second.
    pub wake: Notify,
    pub soon: Notify,
    /// There is something to synchronise or to delete, and the keeper knows.
    unsynced: AtomicBool,
    /// Bytes written since the last checkpoint, roughly.
    written: AtomicU64,
    /// Commits work, as far as we know.
    usable: AtomicBool,
    /// A call has waited in vain for one.
    stalled: AtomicBool,
    /// Why they do not.
    trouble: Mutex<Option<String>>,
    /// The most that this process's file may take.
    pub limit: AtomicU64,
}

/// Records on their way into the file.
struct Batch {
    rows: Vec<Row>,
    group: Arc<Group>,
}

/// The records of one commit, for those who wait for it.
#[derive(Default)]
pub(super) struct Group {
    saved: OnceCell<bool>,
    /// Somebody does not wait any more.
    abandoned: AtomicBool,
}

/// The file of this process.
#[derive(Default)]
struct Home {
    /// Ours, also while it cannot be opened.
    claim: Option<Claim>,
    store: Option<Store>,
    /// A file that was deleted under us, still readable.
    deleted: Option<Store>,
    /// Why nothing can be written at the moment.
    fault: Option<Fault>,
    /// What the log should know.
    notes: Vec<String>,
    /// Parts of the file that lie there from before, not counted yet.
    uncounted: Vec<RangeInclusive<Seq>>,
    closed: bool,
}

/// The right to use the file. Letting it go wakes whoever waits for it.
struct Held<'a> {
    home: MutexGuard<'a, Home>,
    /// Dropped after the lock.
    _announce: Announce<'a>,
}

struct Announce<'a>(&'a Spool);

impl Drop for Announce<'_> {
    fn drop(&mut self) {
        self.0.settled.notify_waiters();
        let _batch = self.0.batch.lock();
        self.0.settled_for_threads.notify_all();
    }
}

impl Deref for Held<'_> {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Home {
        &mut self.home
    }
}

impl Spool {
    pub fn new(options: Options, destination: &Destination, queue: Arc<Queue>) -> Spool {
        queue.expect_backlog();
        Spool {
            place: Place::new(&options.directory, &fingerprint(destination)),
            limit: AtomicU64::new(options.max_bytes),
            options,
            queue,
            batch: Mutex::new(Batch { rows: Vec::new(), group: Arc::default() }),
            home: Mutex::default(),
            settled: Notify::new(),
            settled_for_threads: Condvar::new(),
            wake: Notify::new(),
            soon: Notify::new(),
            unsynced: AtomicBool::new(false),
            written: AtomicU64::new(0),
            usable: AtomicBool::new(true),
            stalled: AtomicBool::new(false),
            trouble: Mutex::default(),
        }
    }

    /// Why records are in memory only, if they are.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Add `rows` to the next commit. `None`: there will be none soon.
    pub fn add(&self, rows: &[Row]) -> Option<Arc<Group>> {
        if !self.usable.load(SeqCst) || self.stalled.load(SeqCst) {
            return None;
        }
        let mut batch = self.batch.lock();
        batch.rows.extend_from_slice(rows);
        Some(Arc::clone(&batch.group))
    }

    /// Wait until `group` is committed, or commit it. Whether it is saved.
    pub fn saved_blocking(&self, group: &Group) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut batch = self.batch.lock();
        while group.saved.get().is_none() {
            if let Some(home) = self.try_home() {
                drop(batch);
                self.tidy_file(home);
                batch = self.batch.lock();
            } else if self.settled_for_threads.wait_until(&mut batch, deadline).timed_out() {
                break;
            }
        }
        drop(batch);
        self.give_up_waiting(group)
    }

    /// The same without blocking the thread, except for the commit itself.
    pub async fn saved(&self, group: &Group) -> bool {
        let patience = tokio::time::sleep(PATIENCE);
        let mut patience = std::pin::pin!(patience);
        loop {
            // Before the look at the group, so that nothing is missed in between.
            let settled = self.settled.notified();
            if let Some(saved) = group.saved.get() {
                return *saved;
            }
            if self.tidy() {
                continue;
            }
            tokio::select! {
                () = settled => {}
                () = &mut patience => return self.give_up_waiting(group),
            }
        }
    }

    fn give_up_waiting(&self, group: &Group) -> bool {
        if group.saved.get().is_none() {
            group.abandoned.store(true, SeqCst);
            self.stalled.store(true, SeqCst);
            self.wake.notify_one();
        }
        group.saved.get().copied().unwrap_or(false)
    }

    /// Write what has come and delete what is settled, unless somebody else is at the file.
    pub fn tidy(&self) -> bool {
        let home = self.try_home();
        home.map(|home| self.tidy_file(home)).is_some()
    }

    /// The same within a second, if no commit comes before.
    pub fn tidy_soon(&self) {
        if !self.unsynced.swap(true, SeqCst) {
            self.soon.notify_one();
        }
    }

    /// The same, and wait for whoever is at it.
    pub fn tidy_blocking(&self) {
        let _ = self.try_home_for(PATIENCE).map(|home| self.tidy_file(home));
    }

    fn tidy_file(&self, mut home: Held<'_>) {
        self.commit(&mut home);
        if home.fault.is_some() || home.deleted.is_some() || !home.notes.is_empty() {
            // It has something to repair or to say.
            self.wake.notify_one();
        }
    }

    /// The file, when nobody else is at it.
    fn try_home(&self) -> Option<Held<'_>> {
        self.home.try_lock().map(|home| Held { home, _announce: Announce(self) })
    }

    fn try_home_for(&self, patience: Duration) -> Option<Held<'_>> {
        self.home.try_lock_for(patience).map(|home| Held { home, _announce: Announce(self) })
    }

    fn home(&self) -> Held<'_> {
        Held { home: self.home.lock(), _announce: Announce(self) }
    }

    /// Do something with the file. Before it is let go, everything that came meanwhile is committed, so that a keeper
    /// at work starves nobody. `None`: there is no usable file.
    fn with_file<T>(&self, work: impl FnOnce(&mut Store) -> Outcome<T>) -> Option<T> {
        let mut home = self.home();
        let done = self.open(&mut home).and_then(work);
        let done = match done {
            Ok(done) => Some(done),
            Err(fault) => {
                self.fail(&mut home, fault);
                None
            }
        };
        self.commit(&mut home);
        done
    }

    /// Write the batch and delete what is settled, in one transaction.
    fn commit(&self, home: &mut Home) {
        let (rows, group) = {
            let mut batch = self.batch.lock();
            let group = std::mem::take(&mut batch.group);
            (std::mem::take(&mut batch.rows), group)
        };
        let leaving = self.queue.take_leaving();
        let saved = rows.is_empty() && leaving.is_empty() || self.write(home, &rows, &leaving);
        if !saved {
            self.queue.leave_later(leaving);
        }
        let _ = group.saved.set(saved);
        if saved && group.abandoned.load(SeqCst) {
            self.queue.saved(&rows);
        }
    }

    fn write(&self, home: &mut Home, rows: &[Row], leaving: &[Seq]) -> bool {
        if home.fault.is_some() {
            return false;
        }
        if let Err(fault) = self.open(home).and_then(|store| store.write(rows, leaving)) {
            self.fail(home, fault);
            return false;
        }
        self.stalled.store(false, SeqCst);
        let bytes: u64 = rows.iter().map(Row::bytes).sum();
        // A page for the commit itself and one for each few deletions.
        let written = bytes * 2 + 4096 * (1 + leaving.len() as u64 / 4);
        if self.written.fetch_add(written, SeqCst) + written > self.checkpoint_after() {
            self.wake.notify_one();
        }
        self.tidy_soon();
        true
    }

    fn checkpoint_after(&self) -> u64 {
        CHECKPOINT_AFTER.min(self.options.max_bytes / 8)
    }

    fn fail(&self, home: &mut Home, fault: Fault) {
        if home.closed {
            return;
        }
        self.usable.store(false, SeqCst);
        home.fault.get_or_insert(fault);
    }

    /// The file of this process: the one it has, one that was left behind, or a new one.
    fn open<'home>(&self, home: &'home mut Home) -> Outcome<&'home mut Store> {
        if home.closed {
            return Err(Fault::Unusable("it is closed".into()));
        }
        let synced = self.options.every_commit_synced;
        if home.store.as_ref().is_some_and(|store| !store.is_linked()) {
            // Somebody deleted the directory. What is in the file can still be read.
            let claim = self.place.create()?;
            let fresh = Store::open(claim.path(), synced)?;
            home.claim = Some(claim);
            home.deleted = home.store.replace(fresh);
        }
        if home.store.is_none() {
            if home.claim.as_ref().is_some_and(|claim| !claim.path().exists()) {
                home.claim = None;
                self.lost(home, "its file was deleted");
            }
            if let Some(claim) = &home.claim {
                home.store = Some(Store::open(claim.path(), synced)?);
            } else {
                self.find_or_create(home)?;
            }
            self.written.store(home.store.as_ref().map_or(0, Store::log_bytes), SeqCst);
        }
        home.store.as_mut().ok_or_else(|| Fault::Unusable("there is no file".into()))
    }

    fn find_or_create(&self, home: &mut Home) -> Outcome<()> {
        self.place.prepare()?;
        let synced = self.options.every_commit_synced;
        for found in self.place.files() {
            let Some(claim) = self.place.take_over(&found)? else { continue };
            match Store::open(claim.path(), synced).and_then(|store| Ok((store.bounds()?, store))) {
                // After a clock was set back, numbers of before might collide with ours. Then the keeper renumbers.
                Ok((Some(range), store)) if *range.end() >= self.queue.base() => store.close(false),
                Ok((range, store)) => {
                    if let Some(range) = range {
                        self.queue.add_backlog(range.clone(), None);
                        home.uncounted.push(range);
                    }
                    (home.store, home.claim) = (Some(store), Some(claim));
                    return Ok(());
                }
                Err(Fault::Broken(_)) => home.notes.push(set_aside(claim)),
                Err(Fault::Newer) => {}
                Err(fault) => return Err(fault),
            }
        }
        let claim = self.place.create()?;
        home.store = Some(Store::open(claim.path(), synced)?);
        home.claim = Some(claim);
        Ok(())
    }

    /// What was in the file is gone. What is in memory too is not saved any more.
    fn lost(&self, home: &mut Home, why: &str) {
        home.uncounted.clear();
        let lost = self.queue.spool_lost();
        if lost > 0 {
            home.notes.push(format!("{lost} usage records are lost: the spool was in use, and {why}"));
        }
    }

    /// The end: everything that can be saved is, and the file is free for others.
    pub fn close(&self) {
        let Some(mut home) = self.try_home_for(LAST_PATIENCE) else { return };
        if home.closed {
            return;
        }
        // Without a keeper, what is only in memory must be saved here; a fault may have passed.
        home.fault = None;
        self.commit(&mut home);
        loop {
            let rows = self.queue.unsaved(CHUNK);
            if rows.is_empty() || !self.write(&mut home, &rows, &[]) {
                break;
            }
            self.queue.saved(&rows);
        }
        home.closed = true;
        let claim = home.claim.take();
        if let Some(store) = home.store.take() {
            let empty = matches!(store.bounds(), Ok(None));
            store.close(empty);
            if empty && let Some(claim) = claim {
                claim.remove();
            }
        }
    }
}

/// Records handled in one go by the keeper.
const CHUNK: usize = 256;

/// What to say about it.
fn set_aside(claim: Claim) -> String {
    format!("a file of the spool cannot be read; it is kept as {}", claim.set_aside().display())
}

/// What lies in the spool as somebody beside its processes sees it.
pub struct Look {
    pub found: Found,
    /// The process that uses the file, if one does.
    pub user: Option<u32>,
    pub rows: Vec<Row>,
}

/// Look into a file, also one that is in use: then into a copy of it.
pub fn look(found: Found, scratch: &Path) -> Result<Look, Fault> {
    let copy = scratch.join("copy.db");
    let user = user_of(&found.path);
    copy_store(&found.path, &copy)?;
    let store = Store::open_copy(&copy)?;
    let rows = match store.bounds()? {
        Some(range) => store.read(range, usize::MAX >> 1, u64::MAX)?,
        None => Vec::new(),
    };
    store.close(true);
    Ok(Look { found, user, rows })
}

/// Copy a file and its log in a state that belongs together, although a process may be writing to them.
fn copy_store(from: &Path, to: &Path) -> io::Result<()> {
    let mark = || -> io::Result<_> {
        let mut log_head = vec![0; 32];
        if let Ok(mut log) = fs::File::open(log_of(from)) {
            let _ = io::Read::read(&mut log, &mut log_head);
        }
        Ok((log_head, fs::metadata(from)?.modified()?))
    };
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let before = mark()?;
        fs::copy(from, to)?;
        match fs::copy(log_of(from), log_of(to)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let _ = fs::remove_file(log_of(to));
            }
            Err(error) => return Err(error),
        }
        if mark()? == before || Instant::now() > deadline {
            return Ok(());
        }
    }
}

/// Delete records of a file that nobody uses. How many were there; `None`: it is in use.
pub fn delete(place: &Place, found: &Found, numbers: &[Seq]) -> Result<Option<usize>, Fault> {
    let Some(claim) = place.take_over(found)? else { return Ok(None) };
    let mut store = Store::open(claim.path(), true)?;
    let mut there = Vec::new();
    for &seq in numbers {
        there.extend(store.find(seq)?.map(|row| row.seq));
    }
    store.write(&[], &there)?;
    let empty = store.bounds()?.is_none();
    store.close(false);
    if empty {
        claim.remove();
    }
    Ok(Some(there.len()))
}

/// Give the files of another account or destination that nobody uses to `to`, whose processes will send them. How many.
pub fn hand_over(from: &Place, to: &Place) -> io::Result<usize> {
    to.prepare()?;
    let mut moved = 0;
    for found in from.files() {
        let Some(claim) = from.take_over(&found)? else { continue };
        // The database last: without it the log alone is nothing that anybody would take over.
        let target = to.directory().join(format!("{}.db", found.name));
        match fs::rename(log_of(&found.path), log_of(&target)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::rename(&found.path, &target)?,
        }
        claim.remove();
        moved += 1;
    }
    Ok(moved)
}

/// A directory for tests, gone afterwards.
#[cfg(test)]
pub(super) mod scratch {
    use std::path::PathBuf;

    pub struct Scratch(pub PathBuf);

    impl Scratch {
        pub fn new() -> Scratch {
            Scratch(std::env::temp_dir().join(format!("revenium-test-{}", uuid::Uuid::new_v4().simple())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
