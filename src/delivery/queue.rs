//! The records that are waiting or under way, and whose turn it is.
//!
//! This is the one place that knows where records are kept: in memory, saved in the spool besides or not, or in the
//! spool only (`backlog`). The rest of the room uses `push`, `take`, `settle` and the flush calls; every record pushed
//! is settled exactly once, here, together with its counter.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::Outgoing;
use super::backlog::Backlog;
use super::counts::{Counters, Reason};
use super::spool::{Row, Survey};

/// Numbers records in the order they came. A process begins with the microseconds since 1970, so that its numbers lie
/// above those of the processes before it.
pub type Seq = u64;

/// With more records ready than this, those just made go before the others, and those at a bounded rate.
const CROWD: usize = 256;
const JUST_MADE: Duration = Duration::from_secs(1);
/// 5,000 a second.
const PACE: Duration = Duration::from_micros(200);
/// A sender that was held up may catch up on so much.
const CATCH_UP: Duration = Duration::from_millis(10);

/// With fewer records ready than this, more are loaded from the spool.
const LOAD_BELOW: usize = 512;

pub(super) struct Limits {
    pub records: usize,
    pub bytes: usize,
}

/// One record to send now.
#[derive(Debug)]
pub(super) struct Work {
    pub seq: Seq,
    /// 1 for the first.
    pub attempt: u32,
    pub record: Arc<Outgoing>,
}

/// What there is to send.
#[derive(Debug)]
pub(super) enum Take {
    Work(Work),
    /// Nothing before this, unless something is pushed.
    At(Instant),
    /// Nothing until something is pushed or comes back from its attempt.
    Nothing,
}

/// What an attempt led to.
#[derive(Debug)]
pub(super) enum Settle {
    Delivered,
    Dropped(Reason),
    /// Try again at `due`. Whatever hurries the record, not before `not_before`.
    Wait {
        due: Instant,
        not_before: Instant,
    },
}

/// What a push did besides taking the records over.
#[derive(Debug, Default)]
pub(super) struct Pushed {
    /// Records given up because the queue was full.
    pub evicted: usize,
    /// Records that came after the end.
    pub late: usize,
    /// The sender waits for this.
    pub wake: bool,
}

/// What `load` may read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub range: RangeInclusive<Seq>,
    pub records: usize,
    pub bytes: u64,
}

/// Where the oldest record is that may be given up to make room in the spool.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Oldest {
    /// It was in memory; it is given up.
    GivenUp,
    /// In this range of the spool, which is now taken out of the backlog.
    InSpool(RangeInclusive<Seq>),
    None,
}

/// What is left at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    pub lost: usize,
    pub in_spool: usize,
}

pub(super) struct Queue {
    limits: Limits,
    counters: Arc<Counters>,
    /// The number of the next record, and the smallest given out.
    next: AtomicU64,
    floor: AtomicU64,
    /// The number that this process began with.
    base: Seq,
    inner: Mutex<Inner>,
    settled: Condvar,
}

#[derive(Default)]
struct Inner {
    /// Everything not yet delivered or given up, oldest first.
    entries: BTreeMap<Seq, Entry>,
    ready: BTreeSet<Seq>,
    waiting: BTreeSet<(Instant, Seq)>,
    bytes: usize,
    backlog: Backlog,
    /// Under way from the spool into memory.
    loading: Option<RangeInclusive<Seq>>,
    /// Settled, but still in the spool.
    leaving: Vec<Seq>,
    /// What the entries that are saved take in the spool.
    saved_bytes: u64,
    /// Nobody has looked yet what lies in the spool.
    unexplored: bool,
    /// When a record out of a crowd may be taken next.
    pace: Option<Instant>,
    /// Whether the last one out of a crowd was just made.
    favoured: bool,
    /// The sender found nothing to take and has room.
    hungry: bool,
    /// There is a sender.
    attached: bool,
    closed: bool,
    /// For each flush under way, the first record that it does not wait for.
    flushes: Vec<Seq>,
}

struct Entry {
    record: Arc<Outgoing>,
    created_ms: u64,
    saved: bool,
    pushed: Instant,
    attempts: u32,
    phase: Phase,
    not_before: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Ready,
    Waiting { due: Instant },
    InFlight,
}

impl Queue {
    pub fn new(limits: Limits, counters: Arc<Counters>) -> Self {
        let base = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1 << 40, |age| age.as_micros() as u64);
        Queue {
            limits,
            counters,
            next: AtomicU64::new(base),
            floor: AtomicU64::new(base),
            base,
            inner: Mutex::default(),
            settled: Condvar::new(),
        }
    }

    /// All numbers of records from earlier processes lie below this.
    pub fn base(&self) -> Seq {
        self.base
    }

    /// Numbers for so many new records; the first of them.
    pub fn number(&self, records: usize) -> Seq {
        self.next.fetch_add(records as u64, Relaxed)
    }

    /// Numbers for so many records that are older than all others here; the first of them.
    pub fn number_old(&self, records: usize) -> Seq {
        self.floor.fetch_sub(records as u64, Relaxed) - records as u64
    }

    /// Take records over. Beyond the limits, those that are saved stay in the spool only, and of the others the
    /// oldest go, except those under way.
    pub fn push(&self, rows: Vec<Row>, saved: bool, now: Instant) -> Pushed {
        let mut pushed = Pushed::default();
        // Declared before the lock, so that the memory is given back after it.
        let mut gone: Vec<Entry> = Vec::new();
        let mut inner = self.inner.lock();
        if inner.closed && !saved {
            pushed.late = rows.len();
            self.counters.dropped(Reason::Shutdown, pushed.late);
            return pushed;
        }
        let closed = inner.closed;
        for row in rows {
            let full =
                inner.entries.len() >= self.limits.records || inner.bytes + row.record.size() > self.limits.bytes;
            if saved && (full || closed) {
                inner.backlog.add(row.seq..=row.seq);
                inner.backlog.count(Survey { records: 1, bytes: row.bytes(), oldest_ms: Some(row.created_ms) });
                continue;
            }
            if row.record.size() > self.limits.bytes {
                // It alone would push out everything else and still not fit.
                pushed.evicted += 1;
                continue;
            }
            inner.insert(row, saved, now);
            while inner.entries.len() > self.limits.records || inner.bytes > self.limits.bytes {
                let Some((seq, entry)) = inner.evict() else { break };
                if !entry.saved {
                    pushed.evicted += 1;
                } else {
                    inner.backlog.add(seq..=seq);
                    inner.backlog.count(Survey {
                        records: 1,
                        bytes: entry.row_bytes(),
                        oldest_ms: Some(entry.created_ms),
                    });
                }
                gone.push(entry);
            }
        }
        self.counters.dropped(Reason::QueueFull, pushed.evicted);
        pushed.wake = !inner.ready.is_empty() && std::mem::take(&mut inner.hungry);
        self.publish(&inner);
        pushed
    }

    /// The next record that is due: the oldest, but in a crowd what was just made need not wait for all the others.
    /// A promise to settle it.
    pub fn take(&self, now: Instant) -> Take {
        let mut inner = self.inner.lock();
        inner.promote(now);
        match inner.whose_turn(now) {
            Ok(Some(seq)) => return self.begin(&mut inner, seq),
            Ok(None) => {}
            Err(at) => {
                inner.hungry = true;
                return Take::At(at);
            }
        }
        inner.hungry = true;
        inner.waiting.first().map_or(Take::Nothing, |&(due, _)| Take::At(due))
    }

    /// A record to try a silent collector with: the least tried, due or not, so that one that always fails cannot
    /// keep the circuit open for all.
    pub fn take_probe(&self, now: Instant) -> Take {
        let mut inner = self.inner.lock();
        let idle = || inner.entries.iter().filter(|(_, entry)| entry.phase != Phase::InFlight);
        let least =
            idle().filter(|(_, entry)| entry.not_before <= now).min_by_key(|(seq, entry)| (entry.attempts, **seq));
        if let Some((&seq, _)) = least {
            return self.begin(&mut inner, seq);
        }
        let take = idle().map(|(_, entry)| entry.not_before).min().map_or(Take::Nothing, Take::At);
        inner.hungry = true;
        take
    }

    /// Say what became of a record taken. False: it is no longer known, because of `close`.
    pub fn settle(&self, seq: Seq, settle: Settle) -> bool {
        let removed;
        let mut inner = self.inner.lock();
        match settle {
            Settle::Wait { due, not_before } => {
                let Some(entry) = inner.entries.get_mut(&seq) else { return false };
                entry.phase = Phase::Waiting { due };
                entry.not_before = not_before;
                inner.waiting.insert((due, seq));
                if !inner.flushes.is_empty() {
                    self.settled.notify_all();
                }
                return true;
            }
            Settle::Delivered | Settle::Dropped(_) => removed = inner.finish(seq),
        }
        if removed.is_none() {
            return false;
        }
        match settle {
            Settle::Dropped(reason) => self.counters.dropped(reason, 1),
            _ => self.counters.delivered(),
        }
        self.publish(&inner);
        self.tell_flushes(inner);
        true
    }

    /// Make waiting records due now, or as soon as their server allows.
    pub fn hurry(&self, now: Instant) {
        self.inner.lock().hurry(now);
    }

    /// Give up records older than `max_age` that an outage holds up: `outage`, or they have failed before. One that
    /// was never tried is not given up because of a clock. How many.
    pub fn expire(&self, now: Instant, max_age: Duration, outage: bool) -> usize {
        let mut gone = Vec::new();
        let mut inner = self.inner.lock();
        while let Some((&seq, entry)) = inner.entries.first_key_value() {
            let tried = outage || entry.attempts > 0;
            if entry.phase == Phase::InFlight || !tried || now.saturating_duration_since(entry.pushed) < max_age {
                break;
            }
            gone.extend(inner.finish(seq));
        }
        if !gone.is_empty() {
            self.counters.dropped(Reason::Expired, gone.len());
            self.publish(&inner);
            self.tell_flushes(inner);
        }
        gone.len()
    }

    /// A sender begins. False: there is one, or the end has come.
    pub fn attach(&self) -> bool {
        let mut inner = self.inner.lock();
        !inner.closed && !std::mem::replace(&mut inner.attached, true)
    }

    /// The sender is gone: nobody waits for it any longer.
    pub fn detach(&self) {
        let mut inner = self.inner.lock();
        inner.attached = false;
        inner.release();
        self.settled.notify_all();
    }

    /// What is under way is not under way any more.
    pub fn release(&self) {
        self.inner.lock().release();
    }

    /// No more records. What is not saved is given up.
    pub fn close(&self) -> Left {
        let gone;
        let mut inner = self.inner.lock();
        inner.closed = true;
        gone = std::mem::take(&mut inner.entries);
        inner.ready.clear();
        inner.waiting.clear();
        (inner.bytes, inner.saved_bytes) = (0, 0);
        let mut lost = 0;
        for (&seq, entry) in &gone {
            if !entry.saved {
                lost += 1;
            } else {
                inner.backlog.add(seq..=seq);
                inner.backlog.count(Survey { records: 1, bytes: entry.row_bytes(), oldest_ms: None });
            }
        }
        self.counters.dropped(Reason::Shutdown, lost);
        self.publish(&inner);
        self.settled.notify_all();
        Left { lost, in_spool: inner.backlog.size().records }
    }

    /// Begin to wait for everything pushed so far, and hurry it. To be followed by `flush_wait`.
    pub fn flush_begin(&self, now: Instant) -> Seq {
        let mut inner = self.inner.lock();
        inner.hurry(now);
        let end = self.next.load(Relaxed);
        inner.flushes.push(end);
        end
    }

    /// Wait until everything before `end` is settled. False: the deadline came first, or there is no sender, or all
    /// that is left is safe in the spool and waiting is in vain.
    pub fn flush_wait(&self, end: Seq, deadline: Instant, in_vain: impl Fn() -> bool) -> bool {
        let mut inner = self.inner.lock();
        let mut late = false;
        let done = loop {
            if inner.settled_before(end) {
                break true;
            }
            if late || !inner.attached || (inner.all_safe() && in_vain()) {
                break false;
            }
            late = self.settled.wait_until(&mut inner, deadline).timed_out();
        };
        if let Some(at) = inner.flushes.iter().position(|&flush| flush == end) {
            inner.flushes.swap_remove(at);
        }
        done
    }

    /// Somebody waits.
    pub fn flushing(&self) -> bool {
        !self.inner.lock().flushes.is_empty()
    }

    /// There is a spool, and nobody has looked yet what lies in it.
    pub fn expect_backlog(&self) {
        self.inner.lock().unexplored = true;
    }

    /// All that lay in the spool is known.
    pub fn explored(&self) {
        let mut inner = self.inner.lock();
        inner.unexplored = false;
        self.publish(&inner);
        self.tell_flushes(inner);
    }

    /// These numbers are in the spool only. `size`: unless it is counted later.
    pub fn add_backlog(&self, range: RangeInclusive<Seq>, size: Option<Survey>) {
        let mut inner = self.inner.lock();
        self.floor.fetch_min(*range.start(), Relaxed);
        inner.backlog.add(range);
        if let Some(size) = size {
            inner.backlog.count(size);
        }
        self.publish(&inner);
    }

    pub fn count_backlog(&self, size: Survey) {
        let mut inner = self.inner.lock();
        inner.backlog.count(size);
        self.publish(&inner);
    }

    /// Whether records should be loaded from the spool now.
    pub fn wants_load(&self) -> bool {
        let inner = self.inner.lock();
        self.has_room(&inner) && !inner.backlog.is_empty()
    }

    fn has_room(&self, inner: &Inner) -> bool {
        !inner.closed
            && inner.loading.is_none()
            && inner.ready.len() < LOAD_BELOW.min(self.limits.records)
            && inner.entries.len() < self.limits.records
            && inner.bytes < self.limits.bytes
    }

    /// The next part of the spool to load. A promise to call `load`.
    pub fn begin_load(&self) -> Option<Load> {
        let mut inner = self.inner.lock();
        if !self.has_room(&inner) {
            return None;
        }
        let range = inner.backlog.take_first()?;
        inner.loading = Some(range.clone());
        let records = (2 * LOAD_BELOW).min(self.limits.records - inner.entries.len());
        let bytes = (self.limits.bytes - inner.bytes) / 2;
        Some(Load { range, records, bytes: bytes as u64 })
    }

    /// What was read, and the rest of the range that was not. True: the sender waits for this.
    pub fn load(&self, rows: Vec<Row>, rest: Option<RangeInclusive<Seq>>, now: Instant) -> bool {
        let mut inner = self.inner.lock();
        inner.loading = None;
        if let Some(rest) = rest {
            inner.backlog.add(rest);
        }
        let bytes = rows.iter().map(Row::bytes).sum();
        if inner.closed {
            for row in &rows {
                inner.backlog.add(row.seq..=row.seq);
            }
        } else {
            inner.backlog.discount(rows.len(), bytes);
            for row in rows {
                let pushed = when(row.created_ms, now);
                inner.insert(row, true, pushed);
            }
        }
        let wake = !inner.ready.is_empty() && std::mem::take(&mut inner.hungry);
        self.publish(&inner);
        self.tell_flushes(inner);
        wake
    }

    /// The oldest records that are in memory only.
    pub fn unsaved(&self, records: usize) -> Vec<Row> {
        let inner = self.inner.lock();
        let unsaved = inner.entries.iter().filter(|(_, entry)| !entry.saved);
        let row = |(&seq, entry): (&Seq, &Entry)| Row {
            seq,
            created_ms: entry.created_ms,
            record: Arc::clone(&entry.record),
        };
        unsaved.take(records).map(row).collect()
    }

    /// These are in the spool now. Those that are not pending any more are to leave it again.
    pub fn saved(&self, rows: &[Row]) {
        let mut inner = self.inner.lock();
        for row in rows {
            if let Some(entry) = inner.entries.get_mut(&row.seq) {
                if !std::mem::replace(&mut entry.saved, true) {
                    inner.saved_bytes += row.bytes();
                }
            } else if !inner.is_in_spool_only(row.seq) {
                inner.leaving.push(row.seq);
            }
        }
        self.publish(&inner);
    }

    /// The numbers of records that are settled and still in the spool. To be deleted there, or given back.
    pub fn take_leaving(&self) -> Vec<Seq> {
        std::mem::take(&mut self.inner.lock().leaving)
    }

    /// They could not be deleted.
    pub fn leave_later(&self, numbers: Vec<Seq>) {
        self.inner.lock().leaving.extend(numbers);
    }

    pub fn leaving(&self) -> usize {
        self.inner.lock().leaving.len()
    }

    /// Nothing in the spool is readable any more: what is in memory too is to be saved anew, the rest is lost. How many.
    pub fn spool_lost(&self) -> usize {
        let mut inner = self.inner.lock();
        for entry in inner.entries.values_mut() {
            entry.saved = false;
        }
        inner.saved_bytes = 0;
        inner.leaving.clear();
        let lost = std::mem::take(&mut inner.backlog).size().records;
        self.counters.dropped(Reason::SpoolBroken, lost);
        self.publish(&inner);
        self.tell_flushes(inner);
        lost
    }

    /// What the records in the spool take there.
    pub fn spooled_bytes(&self) -> u64 {
        let inner = self.inner.lock();
        inner.saved_bytes + inner.backlog.size().bytes
    }

    /// Make room in the spool: give up the oldest record in it.
    pub fn give_up_oldest(&self) -> Oldest {
        let mut inner = self.inner.lock();
        let idle = |(_, entry): &(&Seq, &Entry)| entry.phase != Phase::InFlight && entry.saved;
        let in_memory = inner.entries.iter().find(idle).map(|(&seq, _)| seq);
        match (in_memory, inner.backlog.first()) {
            (Some(seq), first) if first.is_none_or(|first| seq < first) => {
                drop(inner.finish(seq));
                self.counters.dropped(Reason::SpoolFull, 1);
                self.publish(&inner);
                self.tell_flushes(inner);
                Oldest::GivenUp
            }
            (_, Some(_)) if inner.loading.is_none() => match inner.backlog.take_first() {
                Some(range) => {
                    inner.loading = Some(range.clone());
                    Oldest::InSpool(range)
                }
                None => Oldest::None,
            },
            _ => Oldest::None,
        }
    }

    /// These records of a range that `give_up_oldest` named are given up; the rest stays.
    pub fn given_up(&self, records: usize, bytes: u64, rest: Option<RangeInclusive<Seq>>) {
        let mut inner = self.inner.lock();
        inner.loading = None;
        inner.backlog.discount(records, bytes);
        if let Some(rest) = rest {
            inner.backlog.add(rest);
        }
        self.counters.dropped(Reason::SpoolFull, records);
        self.publish(&inner);
        self.tell_flushes(inner);
    }

    fn begin(&self, inner: &mut Inner, seq: Seq) -> Take {
        inner.unlist(seq);
        let Some(entry) = inner.entries.get_mut(&seq) else { return Take::Nothing };
        entry.phase = Phase::InFlight;
        entry.attempts = entry.attempts.saturating_add(1);
        if entry.attempts > 1 {
            self.counters.retried();
        }
        let work = Work { seq, attempt: entry.attempts, record: Arc::clone(&entry.record) };
        inner.hungry = false;
        Take::Work(work)
    }

    fn publish(&self, inner: &Inner) {
        let oldest = inner.entries.first_key_value().map(|(_, entry)| entry.pushed);
        let in_spool = inner.backlog.size();
        let oldest = oldest.or_else(|| in_spool.oldest_ms.map(|made| when(made, Instant::now())));
        let bytes = inner.bytes + in_spool.bytes as usize;
        self.counters.set_pending(inner.entries.len() + in_spool.records, bytes, oldest);
        self.counters.set_spooled(inner.saved_bytes + in_spool.bytes);
    }

    fn tell_flushes(&self, inner: MutexGuard<'_, Inner>) {
        if inner.flushes.iter().any(|&end| inner.settled_before(end)) {
            self.settled.notify_all();
        }
    }
}

impl Inner {
    fn insert(&mut self, row: Row, saved: bool, pushed: Instant) {
        let Row { seq, created_ms, record } = row;
        self.bytes += record.size();
        let phase = Phase::Ready;
        let entry = Entry { record, created_ms, saved, pushed, attempts: 0, phase, not_before: pushed };
        if saved {
            self.saved_bytes += entry.row_bytes();
        }
        self.entries.insert(seq, entry);
        self.ready.insert(seq);
    }

    /// Whose turn it is among those that are ready, or when it will be somebody's.
    fn whose_turn(&mut self, now: Instant) -> Result<Option<Seq>, Instant> {
        let (Some(&oldest), Some(&newest)) = (self.ready.first(), self.ready.last()) else { return Ok(None) };
        if self.ready.len() <= CROWD || !self.flushes.is_empty() {
            return Ok(Some(oldest));
        }
        let just_made = self
            .entries
            .get(&newest)
            .is_some_and(|entry| entry.attempts == 0 && now.saturating_duration_since(entry.pushed) < JUST_MADE);
        let pace = self.pace.unwrap_or(now);
        if just_made && (pace > now || !self.favoured) {
            self.favoured = true;
            return Ok(Some(newest));
        }
        if pace > now {
            return Err(pace);
        }
        self.favoured = false;
        self.pace = Some(pace.max(now.checked_sub(CATCH_UP).unwrap_or(now)) + PACE);
        Ok(Some(oldest))
    }

    fn remove(&mut self, seq: Seq) -> Option<Entry> {
        self.unlist(seq);
        let entry = self.entries.remove(&seq)?;
        self.bytes -= entry.record.size();
        if entry.saved {
            self.saved_bytes -= entry.row_bytes();
        }
        Some(entry)
    }

    /// It is settled: it leaves the spool too.
    fn finish(&mut self, seq: Seq) -> Option<Entry> {
        let entry = self.remove(seq)?;
        if entry.saved {
            self.leaving.push(seq);
        }
        Some(entry)
    }

    /// Take a record out of `ready` and `waiting`.
    fn unlist(&mut self, seq: Seq) {
        match self.entries.get(&seq).map(|entry| entry.phase) {
            Some(Phase::Ready) => drop(self.ready.remove(&seq)),
            Some(Phase::Waiting { due }) => drop(self.waiting.remove(&(due, seq))),
            Some(Phase::InFlight) | None => {}
        }
    }

    /// The oldest that is not under way: one that is safe in the spool if there is one.
    fn evict(&mut self) -> Option<(Seq, Entry)> {
        let idle = || self.entries.iter().filter(|(_, entry)| entry.phase != Phase::InFlight);
        let (&oldest, _) = match self.saved_bytes {
            0 => idle().next()?,
            _ => idle().find(|(_, entry)| entry.saved).or_else(|| idle().next())?,
        };
        Some((oldest, self.remove(oldest)?))
    }

    fn make_ready(&mut self, seq: Seq) {
        if let Some(entry) = self.entries.get_mut(&seq) {
            entry.phase = Phase::Ready;
            self.ready.insert(seq);
        }
    }

    fn promote(&mut self, now: Instant) {
        while let Some(&(due, seq)) = self.waiting.first()
            && due <= now
        {
            self.waiting.pop_first();
            self.make_ready(seq);
        }
    }

    fn hurry(&mut self, now: Instant) {
        for (due, seq) in std::mem::take(&mut self.waiting) {
            let Some(entry) = self.entries.get_mut(&seq) else { continue };
            let due = due.min(entry.not_before.max(now));
            entry.phase = Phase::Waiting { due };
            self.waiting.insert((due, seq));
        }
        self.promote(now);
    }

    fn release(&mut self) {
        let Inner { entries, ready, .. } = self;
        for (&seq, entry) in entries.iter_mut().filter(|(_, entry)| entry.phase == Phase::InFlight) {
            entry.phase = Phase::Ready;
            ready.insert(seq);
        }
    }

    fn settled_before(&self, end: Seq) -> bool {
        !self.unexplored
            && self.entries.first_key_value().is_none_or(|(&oldest, _)| oldest >= end)
            && self.loading.as_ref().is_none_or(|range| *range.start() >= end)
            && self.backlog.first().is_none_or(|oldest| oldest >= end)
    }

    fn is_in_spool_only(&self, seq: Seq) -> bool {
        self.backlog.contains(seq) || self.loading.as_ref().is_some_and(|range| range.contains(&seq))
    }

    /// Everything is in the spool, and everything in memory was tried.
    fn all_safe(&self) -> bool {
        !self.unexplored && self.entries.values().all(|entry| entry.saved && entry.phase != Phase::InFlight)
    }
}

impl Entry {
    fn row_bytes(&self) -> u64 {
        Row::bytes_of(&self.record)
    }
}

/// The time of a clock on the wall as one of ours. A time to come, or one before this machine ran, is moved.
fn when(created_ms: u64, now: Instant) -> Instant {
    let age = now_ms().saturating_sub(created_ms);
    // Without a clock that reaches back so far it counts as younger, and lives longer.
    (0..16).find_map(|half| now.checked_sub(Duration::from_millis(age >> half))).unwrap_or(now)
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str) -> Outgoing {
        Outgoing { idempotency_key: String::new(), body: name.to_owned().into(), transaction_id: String::new() }
    }

    fn queue(records: usize, bytes: usize) -> (Queue, Arc<Counters>) {
        let counters = Arc::new(Counters::new());
        (Queue::new(Limits { records, bytes }, Arc::clone(&counters)), counters)
    }

    fn rows(queue: &Queue, records: impl IntoIterator<Item = Outgoing>) -> Vec<Row> {
        let records = records.into_iter().map(Arc::new);
        records.map(|record| Row { seq: queue.number(1), created_ms: now_ms(), record }).collect()
    }

    fn push(queue: &Queue, names: &[&str], now: Instant) -> Pushed {
        queue.push(rows(queue, names.iter().map(|name| record(name))), false, now)
    }

    fn name(work: &Work) -> String {
        String::from_utf8(work.record.body.to_vec()).unwrap()
    }

    #[track_caller]
    fn work(take: Take) -> Work {
        let Take::Work(work) = take else { panic!("{take:?}") };
        work
    }

    #[test]
    fn the_oldest_due_record_first() {
        let (queue, _) = queue(10, 1000);
        let now = Instant::now();
        let (soon, late) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        push(&queue, &["a", "b", "c"], now);
        let (a, b) = (work(queue.take(now)), work(queue.take(now)));
        assert_eq!((name(&a), name(&b), a.attempt), ("a".into(), "b".into(), 1));
        queue.settle(a.seq, Settle::Wait { due: late, not_before: now });
        queue.settle(b.seq, Settle::Wait { due: soon, not_before: soon });
        assert_eq!(name(&work(queue.take(now))), "c");
        assert!(matches!(queue.take(now), Take::At(at) if at == soon));

        // Hurrying respects what the server asked for.
        queue.hurry(now);
        let a = work(queue.take(now));
        assert_eq!((name(&a), a.attempt), ("a".into(), 2));
        assert!(matches!(queue.take(now), Take::At(at) if at == soon));
        assert_eq!(name(&work(queue.take(soon))), "b");
        assert!(matches!(queue.take(late), Take::Nothing));
    }

    #[test]
    fn a_probe_takes_the_least_tried_even_if_not_due() {
        let (queue, _) = queue(10, 1000);
        let now = Instant::now();
        let late = now + Duration::from_secs(60);
        push(&queue, &["a"], now);
        let a = work(queue.take_probe(now));
        assert!(matches!(queue.take_probe(now), Take::Nothing));
        queue.settle(a.seq, Settle::Wait { due: late, not_before: now });
        push(&queue, &["b"], now);
        let b = work(queue.take_probe(now));
        assert_eq!(name(&b), "b");
        queue.settle(b.seq, Settle::Wait { due: late, not_before: late });
        assert_eq!(name(&work(queue.take_probe(now))), "a");
        assert!(matches!(queue.take_probe(now), Take::At(at) if at == late));
    }

    #[test]
    fn beyond_the_limits_the_oldest_go_except_those_under_way() {
        let (queue, counters) = queue(3, 10);
        let now = Instant::now();
        push(&queue, &["a", "b", "c"], now);
        let a = work(queue.take(now));
        assert_eq!(push(&queue, &["d", "e"], now).evicted, 2);
        // Eight bytes push out two of the three; eleven fit nowhere and push out nobody.
        assert_eq!(push(&queue, &["ffffffff"], now).evicted, 1);
        assert_eq!(push(&queue, &["ggggggggggg"], now).evicted, 1);
        let counts = counters.read();
        assert_eq!((counts.pending, counts.pending_bytes, counts.dropped_by.queue_full), (3, 10, 4));
        assert!(queue.settle(a.seq, Settle::Delivered));
        assert_eq!(name(&work(queue.take(now))), "e");
        assert_eq!(name(&work(queue.take(now))), "ffffffff");
        // Everything that waits may go, also the newest.
        assert_eq!(push(&queue, &["hhhhhhhhhh"], now).evicted, 1);
        assert_eq!(counters.read().pending, 2);
    }

    #[test]
    fn only_a_hungry_sender_is_woken_and_only_once() {
        let (queue, _) = queue(10, 1000);
        let now = Instant::now();
        assert!(!push(&queue, &["a"], now).wake);
        let a = work(queue.take(now));
        assert!(!push(&queue, &["b"], now).wake);
        work(queue.take(now));
        assert!(matches!(queue.take(now), Take::Nothing));
        assert!(!push(&queue, &[], now).wake);
        assert!(push(&queue, &["c"], now).wake);
        assert!(!push(&queue, &["d"], now).wake);
        assert!(queue.settle(a.seq, Settle::Delivered));
    }

    #[test]
    fn old_records_expire_and_ages_are_told() {
        let (queue, counters) = queue(10, 1000);
        let now = Instant::now();
        let (early, age) = (now - Duration::from_millis(1), Duration::from_secs(60));
        push(&queue, &["a", "b"], early);
        push(&queue, &["c"], now);
        let a = work(queue.take(now));
        assert_eq!(queue.expire(early + age, age, false), 0, "the oldest is under way");
        queue.settle(a.seq, Settle::Wait { due: now, not_before: now });
        assert_eq!(queue.expire(early + age, age, false), 1, "the other one was never tried");
        assert_eq!(queue.expire(early + age, age, true), 1, "in an outage none can be");
        let counts = counters.read();
        assert_eq!((counts.pending, counts.dropped, counts.dropped_by.expired), (1, 2, 2));
    }

    #[test]
    fn after_the_end_nothing_is_taken_settled_or_accepted() {
        let (queue, counters) = queue(10, 1000);
        let now = Instant::now();
        push(&queue, &["a", "b", "c"], now);
        let (a, b) = (work(queue.take(now)), work(queue.take(now)));
        assert!(queue.settle(a.seq, Settle::Wait { due: now, not_before: now }));
        assert_eq!(queue.close(), Left { lost: 3, in_spool: 0 });
        assert_eq!(queue.close(), Left::default());
        assert!(!queue.settle(b.seq, Settle::Delivered));
        assert!(matches!(queue.take(now), Take::Nothing));
        assert!(matches!(queue.take_probe(now), Take::Nothing));
        assert!(!queue.attach());
        assert_eq!(push(&queue, &["d"], now).late, 1);
        let counts = counters.read();
        assert_eq!((counts.pending, counts.pending_bytes, counts.delivered, counts.dropped_by.shutdown), (0, 0, 0, 4));
    }

    #[test]
    fn what_a_lost_sender_held_is_taken_again() {
        let (queue, counters) = queue(10, 1000);
        let now = Instant::now();
        push(&queue, &["a"], now);
        assert!(queue.attach());
        assert!(!queue.attach());
        work(queue.take(now));
        queue.detach();
        assert!(queue.attach());
        assert_eq!(work(queue.take(now)).attempt, 2);
        assert_eq!(counters.read().retried, 1);
    }

    proptest::proptest! {
        /// Whatever happens, each record pushed is pending, delivered or dropped, and the indexes agree.
        #[test]
        fn no_record_gets_lost(steps in proptest::collection::vec((0u8..9, 0usize..6), 1..200)) {
            let (queue, counters) = queue(5, 40);
            let mut now = Instant::now();
            let mut flying: Vec<Work> = Vec::new();
            let mut pushed = 0;
            for (step, n) in steps {
                now += Duration::from_millis(1);
                let due = now + Duration::from_millis(n as u64 * 3);
                let one = (!flying.is_empty()).then(|| n % flying.len().max(1));
                match (step, one) {
                    (0 | 1, _) => {
                        pushed += n as u64;
                        queue.push(rows(&queue, (0..n).map(|i| record(&"x".repeat(i * 9)))), false, now);
                    }
                    (2 | 3, _) => if let Take::Work(work) = queue.take(now) { flying.push(work) },
                    (4, _) => if let Take::Work(work) = queue.take_probe(now) { flying.push(work) },
                    (5, Some(i)) => assert!(queue.settle(flying.swap_remove(i).seq, Settle::Delivered)),
                    (6, Some(i)) => assert!(queue.settle(flying.swap_remove(i).seq, Settle::Dropped(Reason::Refused))),
                    (7, Some(i)) => assert!(queue.settle(flying.swap_remove(i).seq, Settle::Wait { due, not_before: due.min(now) })),
                    (8, _) if n == 0 => queue.hurry(now),
                    (8, _) => drop(queue.expire(now, Duration::from_millis(30), true)),
                    _ => {}
                }
                let counts = counters.read();
                assert_eq!(counts.pending as u64 + counts.delivered + counts.dropped, pushed);
                let inner = queue.inner.lock();
                assert_eq!(inner.ready.len() + inner.waiting.len() + flying.len(), inner.entries.len());
                assert_eq!(inner.bytes, inner.entries.values().map(|entry| entry.record.size()).sum::<usize>());
                assert!(inner.bytes <= 40 && inner.entries.len() <= 5);
            }
        }
    }
}
