//! The journal: records on disk, from before their call's result is known until Revenium has them.
//!
//! Each run of each process appends to a file of its own, a segment (`segment`; `frame` has its bytes, `folder` the
//! directory). A record is one write on the thread that ended its call; no other thread, no other process and no disk is
//! waited for. That Revenium has a record is noted with the next record's write, or within a second; with nothing
//! pending the segment is cut back to its header. Everything that can wait is `maintenance`'s: it adopts what dead processes
//! left, loads what memory had no room for, keeps to the limits and repairs what broke.
//!
//! A process that is killed before it noted what Revenium has leaves that to be sent once more, with the same
//! Idempotency-Key and the same bytes, so that Revenium answers what it answered before.

mod folder;
mod frame;
mod inspect;
mod maintenance;
mod segment;
mod state;
#[cfg(test)]
mod tests;

pub use self::folder::{Folder, Found, fingerprint, fingerprints, is_fingerprint};
pub use self::frame::Contents;
pub use self::inspect::{Look, delete, hand_over, look, probe};
pub(super) use self::maintenance::run;
pub(super) use self::state::Group;

use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use self::frame::HEADER;
use self::segment::Segment;
use self::state::{Batch, Frames, Held, SegmentId, Slot, State, SyncTicket, read_slot};
use super::Destination;
use super::queue::RecordQueue;
use super::record::{Row, Seq};
use crate::common::{os, sync};

/// What `Options::segment_bytes` is at most.
const SEGMENT_BYTES: u64 = 8 << 20;
/// With nothing pending, a segment that is larger than this is cut at once and not when there is time.
const CUT_ABOVE: u64 = 1 << 20;
/// About a record.
const PROBE_BYTES: usize = 2048;

#[derive(Clone, Debug)]
pub struct Options {
    pub directory: PathBuf,
    pub max_bytes: u64,
    /// A new segment begins when one has become so large.
    pub segment_bytes: u64,
    /// Each record reaches the disk before the call has its result.
    pub synced: bool,
}

impl Options {
    pub fn new(directory: PathBuf, max_bytes: u64, synced: bool) -> Options {
        Options { directory, max_bytes, segment_bytes: SEGMENT_BYTES.min(max_bytes / 8), synced }
    }
}

pub(super) struct Journal {
    pub options: Options,
    pub folder: Folder,
    queue: Arc<RecordQueue>,
    state: sync::Mutex<State>,
    /// Maintenance is to come now, or within a second.
    pub wake: Notify,
    pub soon: Notify,
    /// There is something to note, and maintenance knows.
    noted: AtomicBool,
    sync: Sync,
    /// Why records are in memory only, as it was told.
    trouble: Mutex<Option<String>>,
    /// The most that this process's records may take.
    pub limit: AtomicU64,
}

/// Writes that are to reach the disk, and how far that has come.
#[derive(Default)]
struct Sync {
    written: AtomicU64,
    synced: AtomicU64,
    turn: tokio::sync::Mutex<()>,
}

impl Journal {
    pub fn new(options: Options, destination: &Destination, queue: Arc<RecordQueue>) -> Journal {
        queue.expect_backlog();
        Journal {
            folder: Folder::new(&options.directory, &fingerprint(destination)),
            limit: AtomicU64::new(options.max_bytes),
            options,
            queue,
            state: sync::Mutex::default(),
            wake: Notify::new(),
            soon: Notify::new(),
            noted: AtomicBool::new(false),
            sync: Sync::default(),
            trouble: Mutex::default(),
        }
    }

    /// Why records are in memory only, if they are.
    pub fn trouble(&self) -> Option<String> {
        let fault = self.state.lock().fault.clone();
        fault.or_else(|| self.trouble.lock().clone())
    }

    /// Add `rows` to the next write. `None`: there will be none soon.
    pub fn add(&self, rows: &[Row]) -> Option<Arc<Group>> {
        let mut state = self.state.lock();
        if state.closed || state.fault.is_some() {
            return None;
        }
        let frames = &mut state.batch.frames;
        let before = (frames.bytes.len(), frames.rows.len());
        if !rows.iter().all(|row| frames.push(row)) {
            frames.bytes.truncate(before.0);
            frames.rows.truncate(before.1);
            return None;
        }
        Some(Arc::clone(&state.batch.group))
    }

    /// Write `group`, unless somebody has. Whether it is saved.
    pub fn save(&self, group: &Group) -> bool {
        self.write_group(group).is_some()
    }

    /// The same, and with `options.synced` wait for the disk.
    pub async fn save_and_sync(self: &Arc<Self>, group: &Group) -> bool {
        let Some(ticket) = self.write_group(group) else { return false };
        if self.options.synced {
            self.synced(ticket).await;
        }
        true
    }

    fn write_group(&self, group: &Group) -> Option<SyncTicket> {
        if let Some(saved) = group.saved.get() {
            return *saved;
        }
        let mut state = self.state.lock();
        if group.saved.get().is_none() {
            self.commit(&mut state);
        }
        group.saved.get().copied().flatten()
    }

    /// Note what was settled, and give back what nobody needs.
    pub fn tidy(&self) {
        self.note();
        // Without the lock, and not on the thread that calls wait for: to give back some MB takes a file system a while.
        let emptied = std::mem::take(&mut self.state.lock().emptied);
        emptied.iter().for_each(|segment| segment.unlink());
    }

    /// Note what was settled. True: there is something for `tidy` to give back.
    pub fn note(&self) -> bool {
        self.noted.store(false, SeqCst);
        let mut state = self.state.lock();
        if !state.closed {
            self.tidy_state(&mut state);
        }
        !state.emptied.is_empty()
    }

    /// The same within a second.
    pub fn tidy_soon(&self) {
        if !self.noted.swap(true, SeqCst) {
            self.soon.notify_one();
        }
    }

    fn tidy_state(&self, state: &mut State) {
        self.commit(state);
        self.absorb(state);
        let ids: Vec<SegmentId> = state.segments.keys().copied().collect();
        for id in ids {
            let current = state.current == Some(id);
            let Some(held) = state.segments.get_mut(&id) else { continue };
            match (held.pending, current) {
                // Whoever watches shall see what was refused.
                (0, true) if held.refused.is_some_and(|since| since.elapsed() < SHOW_REFUSED) => {
                    if let Err(error) = held.note() {
                        self.fail(state, &error);
                    }
                }
                (0, true) => {
                    if held.end > HEADER as u64 {
                        held.cut();
                    }
                }
                (0, false) => {
                    if held.ours || held.segment.size().is_ok_and(|size| size == held.end) {
                        state.emptied.extend(state.segments.remove(&id).map(|held| held.segment));
                    } else if held.note().is_ok() {
                        // A lock lies: somebody has added to it. It is to be adopted anew.
                        state.segments.remove(&id);
                    }
                }
                _ => {
                    if let Err(error) = held.note() {
                        self.fail(state, &error);
                    }
                }
            }
        }
    }

    /// Take over what the queue settled.
    fn absorb(&self, state: &mut State) {
        for (seq, fate) in self.queue.take_leaving() {
            if let Some(slot) = state.index.remove(&seq) {
                state.settle(slot, fate);
            }
        }
    }

    /// Write the batch, and with it what was settled of the same segment.
    fn commit(&self, state: &mut State) {
        let Batch { frames, group } = std::mem::take(&mut state.batch);
        if frames.rows.is_empty() {
            let _ = group.saved.set(Some(0));
            return;
        }
        self.absorb(state);
        let saved = match self.write(state, frames) {
            Ok(()) => Some(self.sync.written.fetch_add(1, SeqCst) + 1),
            Err(error) => {
                self.fail(state, &error);
                None
            }
        };
        let _ = group.saved.set(saved);
    }

    fn write(&self, state: &mut State, mut frames: Frames) -> io::Result<()> {
        if state.closed || state.fault.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let id = self.current(state)?;
        let Some(held) = state.segments.get_mut(&id) else { return Err(io::ErrorKind::NotFound.into()) };
        frames.bytes.extend_from_slice(&held.settled);
        let appended = held.append(&frames.bytes)?;
        held.settled.clear();
        state.place(id, appended.offset, frames.rows);
        if !appended.linked {
            self.relocate(state, id)?;
        }
        Ok(())
    }

    /// The segment to write to.
    fn current(&self, state: &mut State) -> io::Result<SegmentId> {
        let most = self.options.segment_bytes;
        if let Some(id) = state.current
            && let Some(held) = state.segments.get_mut(&id)
        {
            if held.pending == 0 && held.end > CUT_ABOVE.min(most / 2) {
                held.cut();
            }
            if held.end < most {
                return Ok(id);
            }
        }
        self.begin_segment(state)
    }

    fn begin_segment(&self, state: &mut State) -> io::Result<SegmentId> {
        let segment = Segment::create(&self.folder)?;
        if self.options.synced {
            segment.sync()?;
            os::sync_directory(self.folder.path())?;
        }
        let id = state.hold(segment, true, HEADER as u64);
        state.current = Some(id);
        Ok(id)
    }

    /// Somebody deleted a segment under us. What is in it can still be read, and is written to a new one.
    fn relocate(&self, state: &mut State, id: SegmentId) -> io::Result<()> {
        let Some(old) = state.segments.get(&id).map(|held| Arc::clone(&held.segment)) else { return Ok(()) };
        let (mut moved, mut unreadable) = (Frames::default(), Vec::new());
        for (&seq, &slot) in state.index.iter().filter(|(_, slot)| slot.segment == id) {
            let row = read_slot(&old, seq, slot);
            if !row.is_some_and(|row| moved.push(&row)) {
                unreadable.push((seq, u64::from(slot.size)));
            }
        }
        if state.current == Some(id) {
            state.current = None;
        }
        let fresh = self.current(state)?;
        let Some(held) = state.segments.get_mut(&fresh) else { return Err(io::ErrorKind::NotFound.into()) };
        let appended = held.append(&moved.bytes)?;
        state.place(fresh, appended.offset, moved.rows);
        for (seq, _) in &unreadable {
            state.index.remove(seq);
        }
        self.queue.unreadable(&unreadable);
        state.segments.remove(&id);
        state.notes.push("a file of the spool was deleted while in use; its records are kept in a new one".into());
        Ok(())
    }

    /// See that all segments are still there.
    pub fn check_linked(&self) {
        let mut state = self.state.lock();
        if state.closed || state.fault.is_some() || state.index.is_empty() {
            return;
        }
        let gone = |(id, held): (&SegmentId, &Held)| (held.pending > 0 && !held.segment.is_linked()).then_some(*id);
        let gone: Vec<SegmentId> = state.segments.iter().filter_map(gone).collect();
        for id in gone {
            if let Err(error) = self.relocate(&mut state, id) {
                self.fail(&mut state, &error);
            }
        }
    }

    fn fail(&self, state: &mut State, error: &io::Error) {
        if state.closed {
            return;
        }
        state.fault.get_or_insert_with(|| in_words(error));
        // What was told already is tried again in time.
        if self.trouble.lock().is_none() {
            self.wake.notify_one();
        }
    }

    /// After a fault: see whether something as large as a record can be written.
    fn probe(&self, state: &mut State) -> io::Result<()> {
        let id = self.current(state)?;
        let Some(held) = state.segments.get_mut(&id) else { return Ok(()) };
        let mut bytes = Vec::new();
        frame::push_padding(&mut bytes, PROBE_BYTES);
        held.append(&bytes).map(drop)
    }

    /// The oldest records of `range` that are in the journal, at least one if there is one, else at most `records` and
    /// about `bytes`; and what is left of the range. Those that cannot be read are lost, and counted.
    pub fn read(
        &self,
        range: RangeInclusive<Seq>,
        records: usize,
        bytes: u64,
    ) -> (Vec<Row>, Option<RangeInclusive<Seq>>) {
        let end = *range.end();
        let (mut rows, mut size, mut unreadable) = (Vec::new(), 0, Vec::new());
        let slots: Vec<(Seq, Slot, Arc<Segment>)> = {
            let state = self.state.lock();
            let of = |(seq, slot): (&Seq, &Slot)| {
                Some((*seq, *slot, Arc::clone(&state.segments.get(&slot.segment)?.segment)))
            };
            state.index.range(range).take(records.saturating_add(1)).filter_map(of).collect()
        };
        // Unless it turns out to be less, what lies behind those that are looked at.
        let mut rest = slots.get(records).and_then(|(last, ..)| (*last < end).then(|| last + 1..=end));
        for (seq, slot, segment) in slots {
            if rows.len() >= records || size >= bytes.max(1) {
                rest = Some(seq..=end);
                break;
            }
            match read_slot(&segment, seq, slot) {
                Some(row) => {
                    size += row.bytes();
                    rows.push(row);
                }
                None => {
                    let mut state = self.state.lock();
                    if state.index.remove(&seq).is_some() {
                        unreadable.push((seq, u64::from(slot.size)));
                        if let Some(held) = state.segments.get_mut(&slot.segment) {
                            held.pending -= 1;
                        }
                    }
                }
            }
        }
        if !unreadable.is_empty() {
            self.queue.unreadable(&unreadable);
        }
        (rows, rest)
    }

    /// Wait until everything written before `ticket` is on the disk. Whose turn it is syncs for all that wait.
    async fn synced(self: &Arc<Self>, ticket: SyncTicket) {
        let _turn = self.sync.turn.lock().await;
        if self.sync.synced.load(SeqCst) < ticket {
            let journal = Arc::clone(self);
            // Whether or not it can be synced, nobody waits for ever.
            let _ = tokio::task::spawn_blocking(move || journal.sync_now()).await;
        }
    }

    fn sync_now(&self) {
        let (written, segments) = {
            let state = self.state.lock();
            let ours = state.segments.values().filter(|held| held.ours && held.pending > 0);
            (self.sync.written.load(SeqCst), ours.map(|held| Arc::clone(&held.segment)).collect::<Vec<_>>())
        };
        for segment in segments {
            if let Err(error) = segment.sync() {
                self.fail(&mut self.state.lock(), &error);
            }
        }
        self.sync.synced.fetch_max(written, SeqCst);
    }

    /// The end: everything that can be saved is, and the segments are free for others.
    pub fn close(&self) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        // Without maintenance, what is only in memory must be saved here; a fault may have passed.
        state.fault = None;
        while self.save_unsaved(&mut state) == Some(true) {}
        self.tidy_state(&mut state);
        state.closed = true;
        if let Some(held) = state.current.take().and_then(|id| state.segments.remove(&id))
            && held.pending == 0
        {
            state.emptied.push(held.segment);
        }
        std::mem::take(&mut state.emptied).iter().for_each(|segment| segment.unlink());
        state.segments.clear();
        state.index.clear();
    }

    /// Write some of what is only in memory. `Some(true)`: there is more; `None`: it cannot be written.
    fn save_unsaved(&self, state: &mut State) -> Option<bool> {
        self.commit(state);
        let rows = self.queue.unsaved(CHUNK);
        let mut frames = Frames::default();
        // Of those that no frame can hold there is nothing to save.
        let more = rows.iter().filter(|row| frames.push(row)).count() == CHUNK;
        if frames.rows.is_empty() {
            return state.fault.is_none().then_some(false);
        }
        if let Err(error) = self.write(state, frames) {
            self.fail(state, &error);
            return None;
        }
        self.queue.saved(&rows);
        Some(more)
    }
}

/// How long a record that Revenium refused stays in the file, with the reason, once nothing else keeps it.
const SHOW_REFUSED: Duration = Duration::from_secs(5);

/// Records handled in one go by maintenance.
const CHUNK: usize = 256;

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "there is no space left".into(),
        io::ErrorKind::FileTooLarge => "a file of this process may not become so large (RLIMIT_FSIZE)".into(),
        _ => error.to_string(),
    }
}
