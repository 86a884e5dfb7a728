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
#[cfg(test)]
mod tests;

pub use self::folder::{Folder, Found, fingerprint, fingerprints, is_fingerprint};
pub use self::inspect::{Look, delete, hand_over, look, probe};
pub(super) use self::maintenance::run;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::frame::HEADER;
use self::segment::Segment;
use super::Destination;
use super::queue::Queue;
use super::record::{Fate, Row, Seq};
use crate::common::sync;

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
    queue: Arc<Queue>,
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

#[derive(Default)]
struct State {
    batch: Batch,
    segments: BTreeMap<SegmentId, Held>,
    /// The one that is written to.
    current: Option<SegmentId>,
    next_id: SegmentId,
    /// Every record that is in a segment and not settled.
    index: BTreeMap<Seq, Slot>,
    /// Why nothing can be written at the moment.
    fault: Option<String>,
    /// What the log should know.
    notes: Vec<String>,
    /// Files that are not ours, and that the log knows of.
    foreign: HashSet<PathBuf>,
    closed: bool,
}

type SegmentId = u32;

/// A segment that this process has locked.
struct Held {
    segment: Arc<Segment>,
    /// Begun by this process, not adopted.
    ours: bool,
    end: u64,
    /// How many of its records are in the index.
    pending: usize,
    /// Frames that say what is settled, to be written.
    settled: Vec<u8>,
}

/// Where a record lies.
#[derive(Clone, Copy)]
struct Slot {
    segment: SegmentId,
    /// In the file. The first process's number, which an adopter's differs from.
    sequence: u64,
    offset: u32,
    size: u32,
}

/// Records on their way into the journal: those of calls that end in the same turn share a write.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    rows: Vec<(Seq, std::ops::Range<usize>)>,
    group: Arc<Group>,
}

/// The records of one write.
#[derive(Default)]
pub(super) struct Group {
    saved: OnceCell<Option<SyncTicket>>,
}

type SyncTicket = u64;

/// Writes that are to reach the disk, and how far that has come.
#[derive(Default)]
struct Sync {
    written: AtomicU64,
    synced: AtomicU64,
    running: AtomicBool,
    done: Notify,
}

impl Journal {
    pub fn new(options: Options, destination: &Destination, queue: Arc<Queue>) -> Journal {
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
        let start = state.batch.bytes.len();
        for Row { seq, created_ms, record } in rows {
            let Some(range) = frame::push_record(&mut state.batch.bytes, *seq, *created_ms, record) else {
                let added = state.batch.rows.iter().filter(|(_, range)| range.start < start).count();
                state.batch.rows.truncate(added);
                state.batch.bytes.truncate(start);
                return None;
            };
            state.batch.rows.push((*seq, range));
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
        self.noted.store(false, SeqCst);
        let mut state = self.state.lock();
        if !state.closed {
            self.tidy_state(&mut state);
        }
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
                (0, true) => {
                    // Nothing in it matters any more, so nothing needs to be noted either.
                    if held.end > HEADER as u64 && held.segment.cut().is_ok() {
                        held.end = HEADER as u64;
                        held.settled.clear();
                    }
                }
                (0, false) => {
                    if held.ours || held.segment.size().is_ok_and(|size| size == held.end) {
                        let path = held.segment.path().to_owned();
                        state.segments.remove(&id);
                        let _ = std::fs::remove_file(path);
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
            let Some(slot) = state.index.remove(&seq) else { continue };
            let Some(held) = state.segments.get_mut(&slot.segment) else { continue };
            held.pending -= 1;
            frame::push_settled(&mut held.settled, slot.sequence, fate);
        }
    }

    /// Write the batch, and with it what was settled of the same segment.
    fn commit(&self, state: &mut State) {
        let Batch { bytes, rows, group } = std::mem::take(&mut state.batch);
        if rows.is_empty() {
            let _ = group.saved.set(Some(0));
            return;
        }
        self.absorb(state);
        let saved = match self.write(state, bytes, &rows) {
            Ok(()) => Some(self.sync.written.fetch_add(1, SeqCst) + 1),
            Err(error) => {
                self.fail(state, &error);
                None
            }
        };
        let _ = group.saved.set(saved);
    }

    fn write(&self, state: &mut State, mut bytes: Vec<u8>, rows: &[(Seq, std::ops::Range<usize>)]) -> io::Result<()> {
        if state.closed || state.fault.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let id = self.current(state)?;
        let Some(held) = state.segments.get_mut(&id) else { return Err(io::ErrorKind::NotFound.into()) };
        bytes.extend_from_slice(&held.settled);
        let appended = held.segment.append(held.end, &bytes)?;
        held.settled.clear();
        held.end = appended.offset + bytes.len() as u64;
        for (seq, range) in rows {
            let offset = appended.offset as usize + range.start;
            let (offset, size) = (offset as u32, range.len() as u32);
            state.place(*seq, Slot { segment: id, sequence: *seq, offset, size });
        }
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
            if held.pending == 0 && held.end > CUT_ABOVE.min(most / 2) && held.segment.cut().is_ok() {
                held.end = HEADER as u64;
                held.settled.clear();
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
            std::fs::File::open(self.folder.path())?.sync_all()?;
        }
        let id = state.hold(segment, true, HEADER as u64);
        state.current = Some(id);
        Ok(id)
    }

    /// Somebody deleted a segment under us. What is in it can still be read, and is written to a new one.
    fn relocate(&self, state: &mut State, id: SegmentId) -> io::Result<()> {
        let Some(old) = state.segments.get(&id).map(|held| Arc::clone(&held.segment)) else { return Ok(()) };
        let moving: Vec<(Seq, Slot)> =
            state.index.iter().filter(|(_, slot)| slot.segment == id).map(|(seq, slot)| (*seq, *slot)).collect();
        let mut bytes = Vec::new();
        let mut moved = Vec::new();
        let mut unreadable = Vec::new();
        for (seq, slot) in moving {
            match read_slot(&old, seq, slot) {
                Some(row) => moved
                    .extend(frame::push_record(&mut bytes, seq, row.created_ms, &row.record).map(|range| (seq, range))),
                None => unreadable.push((seq, u64::from(slot.size))),
            }
        }
        if state.current == Some(id) {
            state.current = None;
        }
        let fresh = self.current(state)?;
        let Some(held) = state.segments.get_mut(&fresh) else { return Err(io::ErrorKind::NotFound.into()) };
        let appended = held.segment.append(held.end, &bytes)?;
        held.end = appended.offset + bytes.len() as u64;
        for (seq, range) in moved {
            let offset = (appended.offset as usize + range.start) as u32;
            state.place(seq, Slot { segment: fresh, sequence: seq, offset, size: range.len() as u32 });
        }
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
        let appended = held.segment.append(held.end, &bytes)?;
        held.end = appended.offset + bytes.len() as u64;
        Ok(())
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

    fn synced_until(&self) -> u64 {
        self.sync.synced.load(SeqCst)
    }

    /// Wait until everything written before `ticket` is on the disk. One helper syncs for all that wait.
    async fn synced(self: &Arc<Self>, ticket: SyncTicket) {
        loop {
            let done = self.sync.done.notified();
            if self.synced_until() >= ticket {
                return;
            }
            if self.sync.running.swap(true, SeqCst) {
                done.await;
                continue;
            }
            let journal = Arc::clone(self);
            // Whether or not it can be synced, nobody waits for ever.
            let _ = tokio::task::spawn_blocking(move || journal.sync_now()).await;
            self.sync.running.store(false, SeqCst);
            self.sync.done.notify_waiters();
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
            let _ = std::fs::remove_file(held.segment.path());
        }
        state.segments.clear();
        state.index.clear();
    }

    /// Write some of what is only in memory. `Some(true)`: there is more; `None`: it cannot be written.
    fn save_unsaved(&self, state: &mut State) -> Option<bool> {
        self.commit(state);
        let rows = self.queue.unsaved(CHUNK);
        let mut batch = Batch::default();
        for Row { seq, created_ms, record } in &rows {
            let range = frame::push_record(&mut batch.bytes, *seq, *created_ms, record);
            batch.rows.extend(range.map(|range| (*seq, range)));
        }
        if batch.rows.is_empty() {
            return state.fault.is_none().then_some(false);
        }
        if let Err(error) = self.write(state, batch.bytes, &batch.rows) {
            self.fail(state, &error);
            return None;
        }
        // Of those that no frame can hold there is nothing to save.
        let more = batch.rows.len() == CHUNK;
        self.queue.saved(&rows);
        Some(more)
    }
}

/// Records handled in one go by maintenance.
const CHUNK: usize = 256;

impl State {
    fn hold(&mut self, segment: Segment, ours: bool, end: u64) -> SegmentId {
        let id = self.next_id;
        self.next_id += 1;
        let segment = Arc::new(segment);
        self.segments.insert(id, Held { segment, ours, end, pending: 0, settled: Vec::new() });
        id
    }

    /// A record lies there now, and nowhere else.
    fn place(&mut self, seq: Seq, slot: Slot) {
        if let Some(held) = self.segments.get_mut(&slot.segment) {
            held.pending += 1;
        }
        if let Some(before) = self.index.insert(seq, slot)
            && let Some(held) = self.segments.get_mut(&before.segment)
        {
            held.pending -= 1;
            frame::push_settled(&mut held.settled, before.sequence, Fate::Delivered);
        }
    }
}

impl Held {
    /// Write what was settled.
    fn note(&mut self) -> io::Result<()> {
        if !self.settled.is_empty() {
            let appended = self.segment.append(self.end, &self.settled)?;
            self.end = appended.offset + self.settled.len() as u64;
            self.settled.clear();
        }
        Ok(())
    }
}

/// The record at `slot`, if that is what lies there.
fn read_slot(segment: &Segment, seq: Seq, slot: Slot) -> Option<Row> {
    let bytes = segment.read(u64::from(slot.offset), slot.size as usize).ok()?;
    match frame::read(&bytes)? {
        (frame::Frame::Record(stored), _) if stored.sequence == slot.sequence => {
            Some(Row { seq, created_ms: stored.created_ms, record: Arc::new(stored.to_outgoing()) })
        }
        _ => None,
    }
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "there is no space left".into(),
        io::ErrorKind::FileTooLarge => "a file of this process may not become so large (RLIMIT_FSIZE)".into(),
        _ => error.to_string(),
    }
}
