//! The records that are waiting or under way, and whose turn it is.
//!
//! This is the one place that knows where records are kept: in memory, saved in the journal besides or not, or in the
//! journal only (`backlog`). The rest of the room uses `push`, `take`, `settle` and the flush calls; every record pushed
//! is settled exactly once, here, together with its counter.

mod pace;
mod saved;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::backlog::Backlog;
use super::counts::{Counters, Reason};
use super::record::{Cause, Fate, Outgoing, Row, Seq, Survey};
use crate::common::sync::{Condvar, Mutex, MutexGuard};

pub(super) use self::saved::Oldest;

use self::pace::Pace;

/// The first number of a process. What it adopts is older and gets numbers below.
const BASE: Seq = 1 << 40;

pub(super) struct Limits {
    pub records: usize,
    pub bytes: usize,
    /// How long a record waits for others to leave with it.
    pub linger: Duration,
    /// Calls under way, to which a backlog gives way.
    pub calls: Arc<AtomicI64>,
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
    /// With what Revenium answered, if it did.
    Dropped(Reason, Option<u16>),
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

/// What is left at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    pub lost: usize,
    pub in_spool: usize,
}

pub(super) struct RecordQueue {
    limits: Limits,
    counters: Arc<Counters>,
    /// The number of the next record, and the smallest given out.
    next: AtomicU64,
    floor: AtomicU64,
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
    /// Under way from the journal into memory.
    loading: Option<RangeInclusive<Seq>>,
    /// Settled, which the journal does not know yet.
    leaving: Vec<(Seq, Fate)>,
    /// What the entries that are saved take in the journal.
    saved_bytes: u64,
    /// Nobody has looked yet what lies in the journal.
    unexplored: bool,
    /// The journal has more than is known: the files of too many processes that ended.
    more: bool,
    /// Until then records gather, to leave together. Kept while any are ready.
    gather_until: Option<Instant>,
    pace: Pace,
    /// The sender found nothing to take and has room.
    sender_idle: bool,
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

impl RecordQueue {
    pub fn new(limits: Limits, counters: Arc<Counters>) -> Self {
        RecordQueue {
            limits,
            counters,
            next: AtomicU64::new(BASE),
            floor: AtomicU64::new(BASE),
            inner: Mutex::default(),
            settled: Condvar::new(),
        }
    }

    /// Numbers for so many new records; the first of them.
    pub fn number(&self, records: usize) -> Seq {
        self.next.fetch_add(records as u64, Relaxed)
    }

    /// Numbers for so many records that are older than all others here; the first of them.
    pub fn number_old(&self, records: usize) -> Seq {
        self.floor.fetch_sub(records as u64, Relaxed) - records as u64
    }

    /// Take records over. Beyond the limits, those that are saved stay in the journal only, and of the others the
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
        inner.pace.pushed = Some(now);
        for row in rows {
            let full =
                inner.entries.len() >= self.limits.records || inner.bytes + row.record.size() > self.limits.bytes;
            if saved && (full || closed) {
                inner.backlog.add(row.seq..=row.seq);
                inner.backlog.count(Survey::of(&row));
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
                    inner.backlog.count(entry.survey());
                }
                gone.push(entry);
            }
        }
        self.counters.dropped(Reason::QueueFull, pushed.evicted);
        pushed.wake =
            !inner.ready.is_empty() && !self.gather(&mut inner, now) && std::mem::take(&mut inner.sender_idle);
        self.publish(&inner);
        pushed
    }

    /// Whether what is ready gathers already, and the sender knows until when.
    fn gather(&self, inner: &mut Inner, now: Instant) -> bool {
        match inner.gather_until {
            Some(until) => now < until && inner.flushes.is_empty(),
            None => {
                inner.gather_until = Some(now + self.limits.linger);
                false
            }
        }
    }

    /// The next record that is due: the oldest, but in a crowd what was just made need not wait for all the others.
    /// A promise to settle it.
    pub fn take(&self, now: Instant) -> Take {
        let mut inner = self.inner.lock();
        if let Some(until) = inner.gather_until
            && now < until
            && inner.flushes.is_empty()
        {
            inner.sender_idle = true;
            return Take::At(until);
        }
        inner.promote(now);
        match inner.whose_turn(now, self.limits.calls.load(Relaxed) > 0) {
            Ok(Some(seq)) => return self.begin(&mut inner, seq),
            Ok(None) => {}
            Err(at) => {
                inner.sender_idle = true;
                return Take::At(at);
            }
        }
        inner.sender_idle = true;
        inner.gather_until = None;
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
        inner.sender_idle = true;
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
            Settle::Delivered => removed = inner.finish(seq, Fate::Delivered),
            Settle::Dropped(reason, http_status) => {
                removed = inner.finish(seq, Fate::GivenUp(Cause { reason: Some(reason), http_status }));
            }
        }
        if removed.is_none() {
            return false;
        }
        match settle {
            Settle::Dropped(reason, _) => self.counters.dropped(reason, 1),
            _ => self.counters.delivered(),
        }
        self.publish(&inner);
        self.tell_flushes(inner);
        true
    }

    /// Make waiting records due now, or as soon as their server allows.
    pub fn expedite(&self, now: Instant) {
        self.inner.lock().expedite(now);
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
            gone.extend(inner.finish(seq, Reason::Expired.into()));
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
                inner.backlog.count(entry.survey());
            }
        }
        self.counters.dropped(Reason::Shutdown, lost);
        self.publish(&inner);
        self.settled.notify_all();
        Left { lost, in_spool: inner.backlog.size().records }
    }

    /// Begin to wait for everything pushed so far, and expedite it. To be followed by `flush_wait`.
    pub fn flush_begin(&self, now: Instant) -> Seq {
        let mut inner = self.inner.lock();
        inner.expedite(now);
        let end = self.next.load(Relaxed);
        inner.flushes.push(end);
        end
    }

    /// Wait until everything before `end` is settled. False: the deadline came first, or there is no sender, or all
    /// that is left is safe in the journal and waiting is in vain.
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
            (inner, late) = self.settled.wait_until(inner, deadline);
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

    fn begin(&self, inner: &mut Inner, seq: Seq) -> Take {
        inner.unlist(seq);
        let Some(entry) = inner.entries.get_mut(&seq) else { return Take::Nothing };
        entry.phase = Phase::InFlight;
        entry.attempts = entry.attempts.saturating_add(1);
        if entry.attempts > 1 {
            self.counters.retried();
        }
        let work = Work { seq, attempt: entry.attempts, record: Arc::clone(&entry.record) };
        inner.sender_idle = false;
        Take::Work(work)
    }

    fn publish(&self, inner: &Inner) {
        let oldest = inner.entries.first_key_value().map(|(_, entry)| entry.pushed);
        let saved = inner.backlog.size();
        let oldest = oldest.or_else(|| saved.oldest_ms.map(|made| when(made, Instant::now())));
        let bytes = inner.bytes + saved.bytes as usize;
        self.counters.set_pending(inner.entries.len() + saved.records, bytes, oldest);
        self.counters.set_spooled(inner.saved_bytes + saved.bytes);
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

    fn remove(&mut self, seq: Seq) -> Option<Entry> {
        self.unlist(seq);
        let entry = self.entries.remove(&seq)?;
        self.bytes -= entry.record.size();
        if entry.saved {
            self.saved_bytes -= entry.row_bytes();
        }
        Some(entry)
    }

    /// It is settled, in the journal too.
    fn finish(&mut self, seq: Seq, fate: Fate) -> Option<Entry> {
        let entry = self.remove(seq)?;
        if entry.saved {
            self.leaving.push((seq, fate));
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

    /// The oldest that is not under way: one that is safe in the journal if there is one.
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

    fn expedite(&mut self, now: Instant) {
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
            && !self.more
            && self.entries.first_key_value().is_none_or(|(&oldest, _)| oldest >= end)
            && self.loading.as_ref().is_none_or(|range| *range.start() >= end)
            && self.backlog.first().is_none_or(|oldest| oldest >= end)
    }

    fn is_in_journal_only(&self, seq: Seq) -> bool {
        self.backlog.contains(seq) || self.loading.as_ref().is_some_and(|range| range.contains(&seq))
    }

    /// Everything is in the journal, and everything in memory was tried.
    fn all_safe(&self) -> bool {
        !self.unexplored && self.entries.values().all(|entry| entry.saved && entry.phase != Phase::InFlight)
    }
}

impl Entry {
    fn row_bytes(&self) -> u64 {
        self.record.stored_bytes()
    }

    fn survey(&self) -> Survey {
        Survey { records: 1, bytes: self.row_bytes(), oldest_ms: Some(self.created_ms) }
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
