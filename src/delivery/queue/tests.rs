use super::*;
use crate::delivery::record::Endpoint;

fn record(name: &str) -> Outgoing {
    Outgoing {
        endpoint: Endpoint::COMPLETIONS,
        idempotency_key: String::new(),
        body: name.to_owned().into(),
        transaction_id: String::new(),
    }
}

fn queue(records: usize, bytes: usize) -> (RecordQueue, Arc<Counters>) {
    let counters = Arc::new(Counters::new());
    let limits = Limits { records, bytes, linger: Duration::ZERO, calls: Arc::default() };
    (RecordQueue::new(limits, Arc::clone(&counters)), counters)
}

fn rows(queue: &RecordQueue, records: impl IntoIterator<Item = Outgoing>) -> Vec<Row> {
    let records = records.into_iter().map(Arc::new);
    records.map(|record| Row { seq: queue.number(1), created_ms: now_ms(), record }).collect()
}

fn push(queue: &RecordQueue, names: &[&str], now: Instant) -> Pushed {
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
    queue.expedite(now);
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
                (6, Some(i)) => assert!(queue.settle(flying.swap_remove(i).seq, Settle::Dropped(Reason::Refused, Some(400)))),
                (7, Some(i)) => assert!(queue.settle(flying.swap_remove(i).seq, Settle::Wait { due, not_before: due.min(now) })),
                (8, _) if n == 0 => queue.expedite(now),
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

proptest::proptest! {
    /// With a journal beneath: whatever happens, each record is pending, delivered or dropped, and what is not saved
    /// in it lies in memory.
    #[test]
    fn no_record_gets_lost_on_its_way_through_the_journal(
        steps in proptest::collection::vec((0u8..11, 0usize..6), 1..200),
    ) {
        let (queue, counters) = queue(5, 40);
        let mut now = Instant::now();
        let mut journal: BTreeMap<Seq, Row> = BTreeMap::new();
        let mut flying: Vec<Work> = Vec::new();
        let mut pushed = 0;
        for (step, n) in steps {
            now += Duration::from_millis(1);
            let due = now + Duration::from_millis(n as u64 * 3);
            let one = (!flying.is_empty()).then(|| n % flying.len().max(1));
            match (step, one) {
                (0 | 1, _) => {
                    pushed += n as u64;
                    let rows = rows(&queue, (0..n).map(|i| record(&"x".repeat(i * 9))));
                    if step == 0 {
                        journal.extend(rows.iter().map(|row| (row.seq, row.clone())));
                    }
                    queue.push(rows, step == 0, now);
                }
                (2 | 3, _) => if let Take::Work(work) = queue.take(now) { flying.push(work) },
                (4, Some(i)) => assert!(queue.settle(flying.swap_remove(i).seq, Settle::Delivered)),
                (5, Some(i)) => assert!(queue.settle(flying.swap_remove(i).seq, Settle::Wait { due, not_before: now })),
                (6, _) => if let Some(load) = queue.begin_load() {
                    let rows: Vec<Row> = journal.range(load.range.clone()).take(n.min(load.records)).map(|(_, row)| row.clone()).collect();
                    let rest = match rows.last() {
                        Some(last) if last.seq < *load.range.end() => Some(last.seq + 1..=*load.range.end()),
                        Some(_) => None,
                        None => Some(load.range),
                    };
                    queue.load(rows, rest, now);
                },
                (7, _) => {
                    let rows = queue.unsaved(n);
                    journal.extend(rows.iter().map(|row| (row.seq, row.clone())));
                    queue.saved(&rows);
                }
                (8, _) => for (seq, _) in queue.take_leaving() {
                    assert!(journal.remove(&seq).is_some(), "only what is there can leave");
                },
                (9, _) => match queue.give_up_oldest() {
                    Oldest::InJournal(range) => {
                        let gone: Vec<Row> = journal.range(range.clone()).take(n).map(|(_, row)| row.clone()).collect();
                        let rest = match gone.last() {
                            Some(last) if last.seq < *range.end() => Some(last.seq + 1..=*range.end()),
                            Some(_) => None,
                            None => Some(range),
                        };
                        queue.given_up(&gone, rest);
                    }
                    Oldest::GivenUp | Oldest::None => {}
                },
                (10, _) => drop(queue.expire(now, Duration::from_millis(60), true)),
                _ => {}
            }
            let counts = counters.read();
            assert_eq!(counts.pending as u64 + counts.delivered + counts.dropped, pushed);
            let inner = queue.inner.lock();
            // A record larger than everything that may be in memory is loaded when there is room for some.
            assert!(inner.bytes < 40 + 46 * 5 && inner.entries.len() <= 5);
            for (&seq, row) in &journal {
                let in_memory = inner.entries.get(&seq).is_some_and(|entry| entry.saved);
                let leaving = inner.leaving.iter().any(|(leaving, _)| *leaving == seq);
                let places = [in_memory, leaving, inner.backlog.contains(seq)];
                assert_eq!(places.iter().filter(|place| **place).count(), 1, "{row:?}: {places:?}");
            }
            let stays = |row: &&Row| !inner.leaving.iter().any(|(leaving, _)| *leaving == row.seq);
            let there: u64 = journal.values().filter(stays).map(Row::bytes).sum();
            assert_eq!(counts.spooled_bytes, there);
        }
    }
}

#[test]
fn in_a_crowd_what_was_just_made_need_not_wait_for_all_the_others() {
    let (queue, _) = queue(10_000, 1_000_000);
    let now = Instant::now();
    let old = now - Duration::from_secs(2);
    push(&queue, &["old"; 2000], old);
    push(&queue, &["new"; 3], now);
    let taken: Vec<_> = (0..6).map(|_| name(&work(queue.take(now)))).collect();
    assert_eq!(taken.iter().filter(|name| *name == "new").count(), 3, "{taken:?}");
    // The rest at its pace.
    let (_, next) = group(&queue, now);
    assert_eq!(name(&work(queue.take(next))), "old");
    // Unless somebody waits for all of them.
    queue.flush_begin(now);
    for _ in 0..1000 {
        work(queue.take(next));
    }
}

/// How many are taken together, and when the next ones may be.
#[track_caller]
fn group(queue: &RecordQueue, now: Instant) -> (usize, Instant) {
    let mut together = 0;
    loop {
        match queue.take(now) {
            Take::Work(_) => together += 1,
            Take::At(at) => return (together, at),
            Take::Nothing => panic!("some are left"),
        }
    }
}

#[test]
fn a_backlog_leaves_in_groups_which_calls_make_smaller() {
    const SECOND: Duration = Duration::from_secs(1);
    let (queue, _) = queue(40_000, 1_000_000);
    let mut now = Instant::now();
    push(&queue, &["old"; 20_000], now - 2 * SECOND);
    // The largest group, and how many leave within a second.
    let mut second = |pushes: bool| {
        let (end, mut largest, mut all) = (now + SECOND, 0, 0);
        while now < end {
            if pushes {
                queue.push(Vec::new(), false, now);
            }
            let (together, next) = group(&queue, now);
            (largest, all) = (largest.max(together), all + together);
            // As the timer of the sender: at a whole millisecond.
            now = next.max(now + Duration::from_millis(1));
        }
        (largest, all)
    };
    let (largest, alone) = second(false);
    assert!(largest <= 12 && (4_500..=5_100).contains(&alone), "{largest} together of {alone}");
    let (largest, between_calls) = second(true);
    assert!(largest <= 5 && (1_800..=2_100).contains(&between_calls), "{largest} together of {between_calls}");
    queue.limits.calls.store(1, Relaxed);
    let (largest, beside_a_call) = second(true);
    assert!(largest <= 2 && (400..=510).contains(&beside_a_call), "{largest} together of {beside_a_call}");
}
