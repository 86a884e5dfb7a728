//! The records that are waiting or under way, and whose turn it is.
//!
//! This is the one place that knows where records are kept. The rest of the room uses `push`, `take`, `settle` and the
//! flush calls; every record pushed is settled exactly once, here, together with its counter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::Outgoing;
use super::counts::{Counters, Reason};

/// Numbers records in the order they came.
pub(super) type Seq = u64;

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

pub(super) struct Queue {
    limits: Limits,
    counters: Arc<Counters>,
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
    next: Seq,
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
        Queue { limits, counters, inner: Mutex::default(), settled: Condvar::new() }
    }

    /// Take records over. Beyond the limits the oldest go, except those under way.
    pub fn push(&self, records: Vec<Outgoing>, now: Instant) -> Pushed {
        let mut pushed = Pushed::default();
        // Declared before the lock, so that the memory is given back after it.
        let mut gone: Vec<Entry> = Vec::new();
        let mut inner = self.inner.lock();
        if inner.closed {
            pushed.late = records.len();
            self.counters.dropped(Reason::Shutdown, pushed.late);
            return pushed;
        }
        for record in records {
            if record.size() > self.limits.bytes {
                // It alone would push out everything else and still not fit.
                pushed.evicted += 1;
                continue;
            }
            inner.insert(record, now);
            while inner.entries.len() > self.limits.records || inner.bytes > self.limits.bytes {
                let Some(entry) = inner.evict() else { break };
                gone.push(entry);
                pushed.evicted += 1;
            }
        }
        self.counters.dropped(Reason::QueueFull, pushed.evicted);
        pushed.wake = !inner.ready.is_empty() && std::mem::take(&mut inner.hungry);
        self.publish(&inner);
        pushed
    }

    /// The oldest record that is due. A promise to settle it.
    pub fn take(&self, now: Instant) -> Take {
        let mut inner = self.inner.lock();
        inner.promote(now);
        if let Some(&seq) = inner.ready.first() {
            return self.begin(&mut inner, seq);
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
                return true;
            }
            Settle::Delivered | Settle::Dropped(_) => removed = inner.remove(seq),
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

    /// Give up records older than `max_age`; how many.
    pub fn expire(&self, now: Instant, max_age: Duration) -> usize {
        let mut gone = Vec::new();
        let mut inner = self.inner.lock();
        while let Some((&seq, entry)) = inner.entries.first_key_value() {
            if entry.phase == Phase::InFlight || now.saturating_duration_since(entry.pushed) < max_age {
                break;
            }
            gone.extend(inner.remove(seq));
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

    /// No more records. What is left is given up; how many.
    pub fn close(&self) -> usize {
        let gone;
        let mut inner = self.inner.lock();
        inner.closed = true;
        gone = std::mem::take(&mut inner.entries);
        inner.ready.clear();
        inner.waiting.clear();
        inner.bytes = 0;
        self.counters.dropped(Reason::Shutdown, gone.len());
        self.publish(&inner);
        self.settled.notify_all();
        gone.len()
    }

    /// Begin to wait for everything pushed so far, and hurry it. To be followed by `flush_wait`.
    pub fn flush_begin(&self, now: Instant) -> Seq {
        let mut inner = self.inner.lock();
        inner.hurry(now);
        let end = inner.next;
        inner.flushes.push(end);
        end
    }

    /// Wait until everything before `end` is settled. False: the deadline came first, or there is no sender.
    pub fn flush_wait(&self, end: Seq, deadline: Instant) -> bool {
        let mut inner = self.inner.lock();
        let mut late = false;
        let done = loop {
            if inner.settled_before(end) {
                break true;
            }
            if late || !inner.attached {
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
        self.counters.set_pending(inner.entries.len(), inner.bytes, oldest);
    }

    fn tell_flushes(&self, inner: MutexGuard<'_, Inner>) {
        if inner.flushes.iter().any(|&end| inner.settled_before(end)) {
            self.settled.notify_all();
        }
    }
}

impl Inner {
    fn insert(&mut self, record: Outgoing, now: Instant) {
        let seq = self.next;
        self.next += 1;
        self.bytes += record.size();
        let entry = Entry { record: Arc::new(record), pushed: now, attempts: 0, phase: Phase::Ready, not_before: now };
        self.entries.insert(seq, entry);
        self.ready.insert(seq);
    }

    fn remove(&mut self, seq: Seq) -> Option<Entry> {
        self.unlist(seq);
        let entry = self.entries.remove(&seq)?;
        self.bytes -= entry.record.size();
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

    fn evict(&mut self) -> Option<Entry> {
        let (&oldest, _) = self.entries.iter().find(|(_, entry)| entry.phase != Phase::InFlight)?;
        self.remove(oldest)
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
        self.entries.first_key_value().is_none_or(|(&oldest, _)| oldest >= end)
    }
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

    fn push(queue: &Queue, names: &[&str], now: Instant) -> Pushed {
        queue.push(names.iter().map(|name| record(name)).collect(), now)
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
        assert_eq!(queue.expire(early + age, age), 0, "the oldest is under way");
        queue.settle(a.seq, Settle::Wait { due: now, not_before: now });
        assert_eq!(queue.expire(early + age, age), 2);
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
        assert_eq!(queue.close(), 3);
        assert_eq!(queue.close(), 0);
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
                        queue.push((0..n).map(|i| record(&"x".repeat(i * 9))).collect(), now);
                    }
                    (2 | 3, _) => if let Take::Work(work) = queue.take(now) { flying.push(work) },
                    (4, _) => if let Take::Work(work) = queue.take_probe(now) { flying.push(work) },
                    (5, Some(i)) => assert!(queue.settle(flying.swap_remove(i).seq, Settle::Delivered)),
                    (6, Some(i)) => assert!(queue.settle(flying.swap_remove(i).seq, Settle::Dropped(Reason::Refused))),
                    (7, Some(i)) => assert!(queue.settle(flying.swap_remove(i).seq, Settle::Wait { due, not_before: due.min(now) })),
                    (8, _) if n == 0 => queue.hurry(now),
                    (8, _) => drop(queue.expire(now, Duration::from_millis(30))),
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
