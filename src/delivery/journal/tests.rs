//! The journal beneath a delivery: what one leaves, the next one sends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::maintenance::Maintenance;
use super::*;
use crate::delivery::collector::{Answer, Collector, reply};
use crate::delivery::queue::{Settle, Take};
use crate::delivery::tests::{PATIENCE, Rig, destination, quick, record};
use crate::delivery::{Circuit, Delivery, Left, Options as DeliveryOptions};

/// A directory of a test's own, gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        Scratch(std::env::temp_dir().join(format!("revenium-test-{}", uuid::Uuid::new_v4().simple())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn with_journal(scratch: &Scratch) -> DeliveryOptions {
    let journal = Options::new(scratch.0.clone(), 64 << 20, false);
    DeliveryOptions { journal: Some(journal), ..quick() }
}

fn to(collector: &Collector) -> Arc<Destination> {
    destination(collector.address, "rev_mk_secret")
}

/// A delivery that is gone without any ending, as after a kill: its segments are free, and as they were.
fn kill(rig: Rig) {
    for task in rig.delivery.tasks.lock().drain(..) {
        task.abort();
    }
    forget(&rig.delivery);
}

fn forget(delivery: &Delivery) {
    let mut state = delivery.journal.as_ref().unwrap().state.lock();
    state.closed = true;
    state.segments.clear();
}

/// The journals of another collector, for this one.
fn rename(scratch: &Scratch, from: &Collector, to: &Collector) {
    let folder = |collector: &Collector| Folder::new(&scratch.0, &fingerprint(&self::to(collector)));
    hand_over(&folder(from), &folder(to)).unwrap();
}

fn files(scratch: &Scratch) -> Vec<PathBuf> {
    fn walk(directory: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, into),
                false => into.push(path),
            }
        }
    }
    let mut all = Vec::new();
    walk(&scratch.0, &mut all);
    all.sort();
    all
}

/// How often each body arrived, each with its own key.
fn arrived(collector: &Collector) -> BTreeMap<usize, usize> {
    let mut all = BTreeMap::new();
    for seen in collector.seen() {
        let body = String::from_utf8(seen.body.clone()).unwrap();
        assert_eq!(seen.key(), format!("key-{body}"));
        *all.entry(body.trim_start_matches('x').parse().unwrap()).or_default() += 1;
    }
    all
}

fn once_each(records: impl IntoIterator<Item = usize>) -> BTreeMap<usize, usize> {
    records.into_iter().map(|n| (n, 1)).collect()
}

#[test]
fn what_one_leaves_the_next_one_sends() {
    let scratch = Scratch::new();
    let collector = Collector::scripted(vec![]);
    let rig = Rig::new(with_journal(&scratch), to(&collector));
    rig.push(0..5);
    rig.push(5..10);
    assert_eq!(rig.delivery.stop(), Left { lost: 0, in_spool: 10 });
    assert_eq!(rig.delivery.counts().dropped, 0);
    assert!(collector.seen().is_empty());

    let rig = Rig::started(with_journal(&scratch), &collector);
    rig.push([10]);
    assert!(rig.flush());
    assert_eq!(arrived(&collector), once_each(0..11));
    let counts = rig.delivery.counts();
    assert_eq!((counts.delivered, counts.pending, counts.spooled_bytes), (11, 0, 0));
    assert_eq!(rig.delivery.stop(), Left::default());
    assert!(files(&scratch).is_empty(), "an empty spool leaves no files");
}

#[test]
fn a_backlog_leaves_whole_also_beside_calls_without_end() {
    let scratch = Scratch::new();
    let collector = Collector::scripted(vec![]);
    let rig = Rig::new(with_journal(&scratch), to(&collector));
    rig.push(0..1000);
    kill(rig);
    let options = with_journal(&scratch);
    options.calls.store(1, SeqCst);
    let rig = Rig::started(options, &collector);
    for body in 1000..1300 {
        rig.push([body]);
        thread::sleep(Duration::from_millis(1));
    }
    rig.until("a call is always under way", |counts| counts.delivered == 1300);
    assert_eq!(arrived(&collector), once_each(0..1300));
}

#[test]
fn a_killed_process_loses_nothing_and_what_was_delivered_is_not_sent_again() {
    let scratch = Scratch::new();
    let collector = Collector::new(|seen, _| if seen.body == b"7" { Answer::Hang } else { reply(201, &[], "") });
    let rig = Rig::started(with_journal(&scratch), &collector);
    rig.push(0..10);
    rig.until("all but one", |counts| counts.delivered == 9);
    rig.delivery.journal.as_ref().unwrap().tidy();
    kill(rig);

    let up = Collector::scripted(vec![]);
    rename(&scratch, &collector, &up);
    let (collector, rig) = (&up, Rig::started(with_journal(&scratch), &up));
    assert!(rig.flush());
    assert_eq!(arrived(collector), once_each([7]));
}

#[test]
fn what_was_delivered_is_forgotten_though_the_next_record_never_comes() {
    let scratch = Scratch::new();
    let collector = Collector::scripted(vec![]);
    let rig = Rig::started(with_journal(&scratch), &collector);
    rig.push([0]);
    rig.until("delivered", |counts| counts.delivered == 1);
    let path = files(&scratch).remove(0);
    let deadline = Instant::now() + PATIENCE;
    while fs::metadata(&path).unwrap().len() > HEADER as u64 {
        assert!(Instant::now() < deadline, "it stays");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn files_of_several_dead_processes_are_taken_over_and_those_of_living_ones_are_not() {
    let scratch = Scratch::new();
    let down = Collector::scripted(vec![]);
    let dead: Vec<Rig> = (0..4).map(|_| Rig::new(with_journal(&scratch), to(&down))).collect();
    for (n, rig) in dead.iter().enumerate() {
        rig.push(n * 100..n * 100 + 50);
    }
    let living = Rig::new(with_journal(&scratch), to(&down));
    living.push(900..910);
    dead.into_iter().for_each(kill);

    let rig = Rig::started(with_journal(&scratch), &down);
    assert!(rig.flush());
    assert_eq!(arrived(&down), once_each((0..4).flat_map(|n| n * 100..n * 100 + 50)));
    assert_eq!(rig.delivery.counts().delivered, 200);
    living.start();
    assert!(living.flush());
    assert_eq!(arrived(&down).len(), 210);
}

#[test]
fn records_of_another_account_or_destination_stay_where_they_are() {
    let scratch = Scratch::new();
    let collector = Collector::scripted(vec![]);
    let rig = Rig::new(with_journal(&scratch), destination(collector.address, "rev_mk_other"));
    rig.push(0..3);
    rig.delivery.stop();
    let rig = Rig::started(with_journal(&scratch), &collector);
    rig.push([3]);
    assert!(rig.flush());
    assert_eq!(arrived(&collector), once_each([3]));
    rig.delivery.stop();
    let rig = Rig::new(with_journal(&scratch), destination(collector.address, "rev_mk_other"));
    rig.start();
    assert!(rig.flush());
    assert_eq!(arrived(&collector), once_each(0..4));
}

#[test]
fn files_are_private_and_hold_no_key() {
    let scratch = Scratch::new();
    let collector = Collector::scripted(vec![]);
    let rig = Rig::new(with_journal(&scratch), to(&collector));
    rig.push(0..3);
    let mut found = files(&scratch);
    assert_eq!(found.len(), 1, "{found:?}");
    for path in &found {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600, "{}", path.display());
        let bytes = fs::read(path).unwrap();
        assert!(!bytes.windows(6).any(|bytes| bytes == b"secret" || bytes == b"hidden"), "{}", path.display());
    }
    found.truncate(1);
    assert_eq!(fs::metadata(found[0].parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&scratch.0).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn memory_holds_a_window_and_the_spool_the_rest() {
    let scratch = Scratch::new();
    let down = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&down);
    let collector = Collector::new(move |_, _| reply(if switch.load(SeqCst) { 503 } else { 201 }, &[], ""));
    let options = DeliveryOptions { queue_records: 100, workers: 8, ..with_journal(&scratch) };
    let rig = Rig::started(options.clone(), &collector);
    for n in 0..50 {
        rig.push(n * 40..n * 40 + 40);
    }
    let counts = rig.delivery.counts();
    assert_eq!((counts.pending, counts.delivered, counts.dropped), (2000, 0, 0));
    assert!(counts.spooled_bytes > 0);
    kill(rig);

    let rig = Rig::started(options, &collector);
    rig.push([2000]);
    rig.until("counted", |counts| counts.pending == 2001);
    rig.until("open", |counts| counts.circuit == Circuit::Open);
    down.store(false, SeqCst);
    assert!(rig.flush());
    let counts = rig.delivery.counts();
    assert_eq!((counts.pending, counts.delivered, counts.dropped, counts.spooled_bytes), (0, 2001, 0, 0));
    assert_eq!(arrived(&collector).len(), 2001);
}

#[test]
fn beyond_its_limit_the_oldest_go() {
    let scratch = Scratch::new();
    let collector = Collector::new(|_, _| reply(201, &[], ""));
    let mut options = DeliveryOptions { queue_records: 10, ..with_journal(&scratch) };
    options.journal.as_mut().unwrap().max_bytes = 100_000;
    let rig = Rig::new(options.clone(), to(&collector));
    // Three times that, as the key and the transaction id are made of it too.
    let big = |n: usize| format!("{}{n}", "x".repeat(1000));
    rig.push((0..200).map(big));
    assert_eq!(rig.delivery.stop().in_spool, 200);

    let rig = Rig::new(options, to(&collector));
    rig.start();
    rig.until("trimmed", |counts| counts.dropped_by.spool_full > 0);
    assert!(rig.flush());
    let counts = rig.delivery.counts();
    assert_eq!(counts.delivered + counts.dropped_by.spool_full, 200);
    assert!(counts.delivered >= 20, "{counts:?}");
    let arrived = arrived(&collector);
    assert!((180..200).all(|newest| arrived[&newest] == 1));
    let told: usize = rig.reports.lock().iter().filter(|r| r.reason == "spool_full").map(|r| r.records).sum();
    assert_eq!(told as u64, counts.dropped_by.spool_full);
}

#[test]
fn a_spool_that_cannot_be_used_costs_nothing_but_its_safety() {
    let scratch = Scratch::new();
    fs::write(&scratch.0, "in the way").unwrap();
    let collector = Collector::scripted(vec![]);
    let rig = Rig::started(with_journal(&scratch), &collector);
    rig.push(0..3);
    assert!(rig.flush());
    rig.push(3..6);
    assert!(rig.flush());
    assert_eq!(arrived(&collector), once_each(0..6));
    assert_eq!(rig.delivery.counts().spooled_bytes, 0);
    let deadline = Instant::now() + PATIENCE;
    while rig.delivery.spool_state().unwrap().trouble.is_none() {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(1));
    }
    fs::remove_file(&scratch.0).unwrap();
    rig.delivery.journal.as_ref().unwrap().wake.notify_one();
    while rig.delivery.spool_state().unwrap().trouble.is_some() {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(1));
    }
    let reasons: Vec<_> = rig.reasons().into_iter().map(|(reason, _, _, dropped)| (reason, dropped)).collect();
    assert_eq!(reasons, [("spool", false)]);
}

#[test]
fn records_in_memory_are_saved_as_soon_as_they_can_be() {
    let scratch = Scratch::new();
    fs::write(&scratch.0, "in the way").unwrap();
    let collector = Collector::new(|_, _| Answer::Hang);
    let rig = Rig::started(with_journal(&scratch), &collector);
    rig.push(0..3);
    assert_eq!(rig.delivery.counts().spooled_bytes, 0);
    fs::remove_file(&scratch.0).unwrap();
    rig.push(3..5);
    assert_eq!(rig.delivery.stop(), Left { lost: 0, in_spool: 5 });
}

#[test]
fn a_deleted_directory_is_made_anew_with_everything_in_it() {
    let scratch = Scratch::new();
    let collector = Collector::new(|_, _| reply(503, &[], ""));
    let rig = Rig::started(DeliveryOptions { queue_records: 10, ..with_journal(&scratch) }, &collector);
    rig.push(0..50);
    rig.until("open", |counts| counts.circuit == Circuit::Open);
    fs::remove_dir_all(&scratch.0).unwrap();
    rig.push(50..60);
    kill(rig);
    let up = Collector::scripted(vec![]);
    rename(&scratch, &collector, &up);
    let rig = Rig::started(with_journal(&scratch), &up);
    assert!(rig.flush());
    assert_eq!(arrived(&up), once_each(0..60));
}

#[test]
fn a_deleted_segment_is_made_anew_though_nothing_is_written() {
    let scratch = Scratch::new();
    let collector = Collector::new(|_, _| reply(503, &[], ""));
    let rig = Rig::started(with_journal(&scratch), &collector);
    rig.push(0..5);
    fs::remove_file(&files(&scratch)[0]).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while files(&scratch).is_empty() {
        assert!(Instant::now() < deadline, "nobody noticed");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(rig.delivery.stop(), Left { lost: 0, in_spool: 5 });
    assert_eq!(waiting(&scratch), (0..5).collect());
}

/// The bodies of all records that wait in the journals.
fn waiting(scratch: &Scratch) -> BTreeSet<usize> {
    let mut all = BTreeSet::new();
    for path in files(scratch) {
        for row in look(Found { path, bytes: 0 }).unwrap().rows {
            assert!(all.insert(String::from_utf8(row.record.body.to_vec()).unwrap().parse().unwrap()));
        }
    }
    all
}

#[test]
fn what_is_not_ours_is_left_alone_and_disturbs_nothing() {
    let scratch = Scratch::new();
    let collector = Collector::scripted(vec![]);
    let rig = Rig::new(with_journal(&scratch), to(&collector));
    rig.push(0..3);
    let folder = rig.delivery.journal.as_ref().unwrap().folder.clone();
    kill(rig);
    let path = |name: &str| folder.path().join(name);
    fs::write(path("0-text.journal"), "this is no journal, and whoever wrote it wants it back").unwrap();
    fs::create_dir(path("0-directory.journal")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", path("0-link.journal")).unwrap();
    fs::write(path("0-other"), "").unwrap();
    let mut newer = frame::Header::new(folder.fingerprint());
    newer.version += 1;
    fs::write(path("0-newer.journal"), newer.to_bytes()).unwrap();
    let other = frame::Header::new("fedcba9876543210");
    fs::write(path("0-account.journal"), other.to_bytes()).unwrap();

    let rig = Rig::started(with_journal(&scratch), &collector);
    rig.push(3..6);
    assert!(rig.flush());
    assert_eq!(arrived(&collector), once_each(0..6));
    assert_eq!(rig.delivery.spool_state().unwrap().trouble, None);
    assert_eq!(rig.delivery.counts().dropped, 0);
    rig.delivery.stop();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6);
}

#[test]
fn damage_costs_only_the_records_it_hits_and_is_counted() {
    for (name, damage) in [("frame", 1000..1001), ("header", 0..HEADER), ("several", 400..1200)] {
        let scratch = Scratch::new();
        let collector = Collector::scripted(vec![]);
        let rig = Rig::new(with_journal(&scratch), to(&collector));
        rig.push(0..30);
        let hit = {
            let state = rig.delivery.journal.as_ref().unwrap().state.lock();
            let slots = state.index.values();
            slots.map(|slot| slot.offset as usize..(slot.offset + slot.size) as usize).collect::<Vec<_>>()
        };
        let lost: BTreeSet<usize> =
            (0..30).filter(|n| hit[*n].start < damage.end && damage.start < hit[*n].end).collect();
        kill(rig);
        let path = files(&scratch).remove(0);
        let mut bytes = fs::read(&path).unwrap();
        bytes[damage].iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(&path, bytes).unwrap();

        let rig = Rig::started(with_journal(&scratch), &collector);
        assert!(rig.flush());
        assert_eq!(arrived(&collector), once_each((0..30).filter(|n| !lost.contains(n))), "{name}");
        let dropped = rig.delivery.counts().dropped_by.corrupt;
        assert_eq!(dropped > 0, !lost.is_empty(), "{name}");
        assert!(dropped as usize <= lost.len(), "{name}");
        rig.delivery.stop();
        assert!(files(&scratch).is_empty(), "{name}");
    }
}

#[test]
fn a_torn_end_costs_only_what_was_torn() {
    let scratch = Scratch::new();
    let collector = Collector::scripted(vec![]);
    let rig = Rig::new(with_journal(&scratch), to(&collector));
    for n in 0..10 {
        rig.push([n]);
    }
    kill(rig);
    let path = files(&scratch).remove(0);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    let rig = Rig::started(with_journal(&scratch), &collector);
    assert!(rig.flush());
    assert_eq!(arrived(&collector), once_each(0..9));
}

#[test]
fn full_segments_are_followed_by_new_ones_and_deleted_when_nothing_of_them_waits() {
    let scratch = Scratch::new();
    let collector = Collector::scripted(vec![]);
    let mut options = with_journal(&scratch);
    options.journal.as_mut().unwrap().segment_bytes = 3_000;
    let rig = Rig::new(options, to(&collector));
    for n in 0..300 {
        rig.push([n]);
    }
    assert!(files(&scratch).len() > 3);
    rig.start();
    assert!(rig.flush());
    rig.until("one is left", |_| files(&scratch).len() <= 1);
    assert_eq!(arrived(&collector), once_each(0..300));
}

#[test]
fn with_power_in_mind_every_record_is_synced() {
    let scratch = Scratch::new();
    let collector = Collector::scripted(vec![]);
    let mut options = with_journal(&scratch);
    options.journal.as_mut().unwrap().synced = true;
    let rig = Rig::new(options, to(&collector));
    rig.runtime.block_on(async {
        for n in 0..20 {
            let pushing = [n, n + 100].map(|n| rig.delivery.begin_push([record(&n.to_string())]));
            for pushing in pushing {
                rig.delivery.finish_push(pushing).await;
            }
            let sync = &rig.delivery.journal.as_ref().unwrap().sync;
            assert_eq!(sync.written.load(SeqCst), sync.synced.load(SeqCst));
        }
    });
    kill(rig);
    assert_eq!(waiting(&scratch), (0..20).chain(100..120).collect());
}

#[derive(Clone, Debug)]
enum Step {
    Record,
    /// Of the oldest that wait in memory.
    Deliver(usize),
    Tidy,
    Maintain,
    /// The process is killed, and another one begins.
    Kill,
    End,
    /// The segments are deleted, and a record comes.
    Delete,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Record),
        3 => (1..4usize).prop_map(Step::Deliver),
        2 => Just(Step::Tidy),
        2 => Just(Step::Maintain),
        2 => Just(Step::Kill),
        1 => Just(Step::End),
        1 => Just(Step::Delete),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_happens_each_record_waits_until_it_is_settled(steps in steps()) {
        let scratch = Scratch::new();
        let to = destination("127.0.0.1:9".parse().unwrap(), "rev_mk_secret");
        let begin = || {
            let mut options = DeliveryOptions { queue_records: 5, ..with_journal(&scratch) };
            // Segments of a few records.
            options.journal.as_mut().unwrap().segment_bytes = 500;
            Delivery::new(options, Arc::clone(&to), Box::new(|_| {}))
        };
        let maintain = |delivery: &Arc<Delivery>| {
            let journal = delivery.journal.clone().unwrap();
            Maintenance { delivery: Arc::clone(delivery), journal }.round(true);
        };
        let mut delivery = begin();
        // What waits for sure; what was delivered and may wait still.
        let (mut waits, mut noted, mut made) = (BTreeSet::new(), BTreeSet::new(), 0);
        for step in steps {
            match step {
                Step::Record | Step::Delete => {
                    if matches!(step, Step::Delete) {
                        // What nobody holds would be gone for good.
                        maintain(&delivery);
                        let _ = fs::remove_dir_all(&scratch.0);
                    }
                    delivery.push([record(&made.to_string())]);
                    if matches!(step, Step::Delete) {
                        // Those that nothing was written to.
                        delivery.journal.as_ref().unwrap().check_linked();
                    }
                    waits.insert(made);
                    made += 1;
                }
                Step::Deliver(count) => {
                    for _ in 0..count {
                        let Take::Work(work) = delivery.queue.take(Instant::now()) else { break };
                        let body = String::from_utf8(work.record.body.to_vec()).unwrap().parse().unwrap();
                        delivery.queue.settle(work.seq, Settle::Delivered);
                        waits.remove(&body);
                        noted.insert(body);
                    }
                }
                Step::Tidy => delivery.journal.as_ref().unwrap().tidy(),
                Step::Maintain => maintain(&delivery),
                Step::Kill => {
                    forget(&delivery);
                    delivery = begin();
                }
                Step::End => {
                    prop_assert_eq!(delivery.stop().lost, 0);
                    delivery = begin();
                }
            }
        }
        forget(&delivery);
        let found = waiting_any(&scratch);
        for body in &waits {
            prop_assert!(found.contains(body), "{} is lost", body);
        }
        for body in &found {
            prop_assert!(waits.contains(body) || noted.contains(body));
        }
    }
}

fn waiting_any(scratch: &Scratch) -> BTreeSet<usize> {
    let rows = files(scratch).into_iter().flat_map(|path| look(Found { path, bytes: 0 }).unwrap().rows);
    rows.map(|row| String::from_utf8(row.record.body.to_vec()).unwrap().parse().unwrap()).collect()
}

#[test]
fn threads_share_commits_and_lose_nothing() {
    let scratch = Scratch::new();
    let collector = Collector::scripted(vec![]);
    let rig = Rig::new(with_journal(&scratch), to(&collector));
    let pushers: Vec<_> = (0..8)
        .map(|t| {
            let delivery = Arc::clone(&rig.delivery);
            thread::spawn(move || (0..100).for_each(|n| delivery.push([record(&(t * 100 + n).to_string())])))
        })
        .collect();
    pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
    kill(rig);
    let rig = Rig::started(with_journal(&scratch), &collector);
    assert!(rig.flush());
    assert_eq!(arrived(&collector), once_each(0..800));
}

#[test]
fn a_file_in_use_can_be_looked_into() {
    let scratch = Scratch::new();
    let collector = Collector::scripted(vec![]);
    let rig = Rig::new(with_journal(&scratch), to(&collector));
    rig.push(0..3);
    let folder = rig.delivery.journal.as_ref().unwrap().folder.clone();
    let found = folder.segments().unwrap().remove(0);
    assert_eq!(delete(&found, &[1]).unwrap(), None, "in use");
    let look = look(found).unwrap();
    assert_eq!(look.user, Some(std::process::id()));
    assert_eq!(look.rows.len(), 3);
    rig.delivery.stop();
    let found = folder.segments().unwrap().remove(0);
    assert_eq!(delete(&found, &[look.rows[0].seq, 5]).unwrap(), Some(1));
    let rig = Rig::started(with_journal(&scratch), &collector);
    assert!(rig.flush());
    assert_eq!(arrived(&collector), once_each(1..3));
}
