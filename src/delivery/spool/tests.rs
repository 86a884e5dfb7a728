//! The spool beneath a delivery: what one leaves, the next one sends.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use super::scratch::Scratch;
use super::*;
use crate::delivery::collector::{Answer, Collector, reply};
use crate::delivery::tests::{PATIENCE, Rig, destination, quick, record};
use crate::delivery::{Circuit, Left, Options as DeliveryOptions};

fn with_spool(scratch: &Scratch) -> DeliveryOptions {
    let spool = Options { directory: scratch.0.clone(), max_bytes: 64 << 20, every_commit_synced: false };
    DeliveryOptions { spool: Some(spool), ..quick() }
}

fn to(collector: &Collector) -> Arc<Destination> {
    destination(collector.address, "rev_mk_secret")
}

/// A delivery that is gone without any ending, as after a kill: its claims are free, its files as they were.
fn kill(rig: Rig) {
    for task in rig.delivery.tasks.lock().drain(..) {
        task.abort();
    }
    let Some(spool) = &rig.delivery.spool else { panic!() };
    let mut home = spool.home.lock();
    home.closed = true;
    let store = home.store.take();
    let claim = home.claim.take().unwrap();
    // Copied before SQLite can tidy up.
    let copies = [claim.path().to_owned(), log_of(claim.path())].map(|path| (fs::read(&path).unwrap(), path));
    drop(store);
    for (bytes, path) in copies {
        fs::write(path, bytes).unwrap();
    }
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
    let rig = Rig::new(with_spool(&scratch), to(&collector));
    rig.push(0..5);
    rig.push(5..10);
    assert_eq!(rig.delivery.stop(), Left { lost: 0, in_spool: 10 });
    assert_eq!(rig.delivery.counts().dropped, 0);
    assert!(collector.seen().is_empty());

    let rig = Rig::started(with_spool(&scratch), &collector);
    rig.push([10]);
    assert!(rig.flush());
    assert_eq!(arrived(&collector), once_each(0..11));
    let counts = rig.delivery.counts();
    assert_eq!((counts.delivered, counts.pending, counts.spooled_bytes), (11, 0, 0));
    assert_eq!(rig.delivery.stop(), Left::default());
    assert!(files(&scratch).is_empty(), "an empty spool leaves no files");
}

#[test]
fn a_killed_process_loses_nothing_and_what_was_delivered_is_not_sent_again() {
    let scratch = Scratch::new();
    let collector = Collector::new(|seen, _| if seen.body == b"7" { Answer::Hang } else { reply(201, &[], "") });
    let rig = Rig::started(with_spool(&scratch), &collector);
    rig.push(0..10);
    rig.until("all but one", |counts| counts.delivered == 9);
    let spool = rig.delivery.spool.clone().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while spool.queue.leaving() > 0 && Instant::now() < deadline {
        spool.tidy();
    }
    kill(rig);

    let collector = Collector::scripted(vec![]);
    // The same account and place, as far as the fingerprint knows.
    let options = with_spool(&scratch);
    let name = |collector: &Collector| scratch.0.join(fingerprint(&to(collector)));
    let before = fs::read_dir(&scratch.0).unwrap().next().unwrap().unwrap().path();
    fs::rename(before, name(&collector)).unwrap();
    let rig = Rig::started(options, &collector);
    assert!(rig.flush());
    assert_eq!(arrived(&collector), once_each([7]));
}

#[test]
fn what_was_delivered_leaves_the_spool_though_the_next_record_never_comes() {
    let scratch = Scratch::new();
    let collector = Collector::scripted(vec![]);
    let rig = Rig::started(with_spool(&scratch), &collector);
    let expected = rig.delivery.expect();
    rig.push([0]);
    rig.until("delivered", |counts| counts.delivered == 1);
    let spool = rig.delivery.spool.clone().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while spool.queue.leaving() > 0 {
        assert!(Instant::now() < deadline, "it stays");
        thread::sleep(Duration::from_millis(1));
    }
    drop(expected);
    kill(rig);
    let found = files(&scratch);
    let store = Store::open_copy(&found[0]).unwrap();
    assert!(store.bounds().unwrap().is_none());
}

#[test]
fn files_of_several_dead_processes_are_taken_over_and_those_of_living_ones_are_not() {
    let scratch = Scratch::new();
    let down = Collector::scripted(vec![]);
    let dead: Vec<Rig> = (0..4).map(|_| Rig::new(with_spool(&scratch), to(&down))).collect();
    for (n, rig) in dead.iter().enumerate() {
        rig.push(n * 100..n * 100 + 50);
    }
    let living = Rig::new(with_spool(&scratch), to(&down));
    living.push(900..910);
    dead.into_iter().for_each(kill);

    let rig = Rig::started(with_spool(&scratch), &down);
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
    let rig = Rig::new(with_spool(&scratch), destination(collector.address, "rev_mk_other"));
    rig.push(0..3);
    rig.delivery.stop();
    let rig = Rig::started(with_spool(&scratch), &collector);
    rig.push([3]);
    assert!(rig.flush());
    assert_eq!(arrived(&collector), once_each([3]));
    rig.delivery.stop();
    let rig = Rig::new(with_spool(&scratch), destination(collector.address, "rev_mk_other"));
    rig.start();
    assert!(rig.flush());
    assert_eq!(arrived(&collector), once_each(0..4));
}

#[test]
fn files_are_private_and_hold_no_key() {
    let scratch = Scratch::new();
    let collector = Collector::scripted(vec![]);
    let rig = Rig::new(with_spool(&scratch), to(&collector));
    rig.push(0..3);
    let mut found = files(&scratch);
    assert_eq!(found.len(), 3, "{found:?}");
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
    let options = DeliveryOptions { queue_records: 100, workers: 8, ..with_spool(&scratch) };
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
    let mut options = DeliveryOptions { queue_records: 10, ..with_spool(&scratch) };
    options.spool.as_mut().unwrap().max_bytes = 100_000;
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
    let rig = Rig::started(with_spool(&scratch), &collector);
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
    rig.delivery.spool.as_ref().unwrap().wake.notify_one();
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
    let rig = Rig::started(with_spool(&scratch), &collector);
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
    let rig = Rig::started(DeliveryOptions { queue_records: 10, ..with_spool(&scratch) }, &collector);
    rig.push(0..50);
    rig.until("open", |counts| counts.circuit == Circuit::Open);
    fs::remove_dir_all(&scratch.0).unwrap();
    rig.push(50..60);
    let spool = rig.delivery.spool.clone().unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let home = spool.home.lock();
        if home.deleted.is_none() && home.store.is_some() {
            break;
        }
        drop(home);
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(1));
    }
    kill(rig);
    let collector_up = Collector::scripted(vec![]);
    let before = fs::read_dir(&scratch.0).unwrap().next().unwrap().unwrap().path();
    fs::rename(before, scratch.0.join(fingerprint(&to(&collector_up)))).unwrap();
    let rig = Rig::started(with_spool(&scratch), &collector_up);
    assert!(rig.flush());
    assert_eq!(arrived(&collector_up), once_each(0..60));
}

#[test]
fn a_file_that_is_not_readable_is_set_aside() {
    for damage in
        [&b"this is no database, and it is long enough to be told from an empty file................."[..], b"?"]
    {
        let scratch = Scratch::new();
        let collector = Collector::scripted(vec![]);
        let rig = Rig::new(with_spool(&scratch), to(&collector));
        rig.push(0..3);
        kill(rig);
        for path in files(&scratch).iter().filter(|path| path.extension().is_some_and(|ext| ext == "db")) {
            fs::write(path, damage.repeat(100)).unwrap();
            let _ = fs::remove_file(log_of(path));
        }
        let rig = Rig::started(with_spool(&scratch), &collector);
        rig.push(3..6);
        assert!(rig.flush());
        assert_eq!(arrived(&collector), once_each(3..6));
        rig.delivery.stop();
        let left = files(&scratch);
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].extension().unwrap(), "broken");
    }
}

#[test]
fn a_torn_end_costs_only_what_was_torn() {
    let scratch = Scratch::new();
    let collector = Collector::scripted(vec![]);
    let rig = Rig::new(with_spool(&scratch), to(&collector));
    for n in 0..10 {
        rig.push([n]);
    }
    kill(rig);
    let log = files(&scratch).into_iter().find(|path| path.to_string_lossy().ends_with("-wal")).unwrap();
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 100]).unwrap();
    let rig = Rig::started(with_spool(&scratch), &collector);
    assert!(rig.flush());
    assert_eq!(arrived(&collector), once_each(0..9));
}

#[test]
fn threads_share_commits_and_lose_nothing() {
    let scratch = Scratch::new();
    let collector = Collector::scripted(vec![]);
    let rig = Rig::new(with_spool(&scratch), to(&collector));
    let pushers: Vec<_> = (0..8)
        .map(|t| {
            let delivery = Arc::clone(&rig.delivery);
            thread::spawn(move || (0..100).for_each(|n| delivery.push([record(&(t * 100 + n).to_string())])))
        })
        .collect();
    pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
    kill(rig);
    let rig = Rig::started(with_spool(&scratch), &collector);
    assert!(rig.flush());
    assert_eq!(arrived(&collector), once_each(0..800));
}

#[test]
fn a_file_in_use_can_be_looked_into() {
    let scratch = Scratch::new();
    let other = Scratch::new();
    fs::create_dir(&other.0).unwrap();
    let collector = Collector::scripted(vec![]);
    let rig = Rig::new(with_spool(&scratch), to(&collector));
    rig.push(0..3);
    let place = rig.delivery.spool.as_ref().unwrap().place.clone();
    let found = place.files().pop().unwrap();
    assert_eq!(delete(&place, &found, &[1]).unwrap(), None, "in use");
    let look = look(found, &other.0).unwrap();
    assert_eq!(look.user, Some(std::process::id()));
    assert_eq!(look.rows.len(), 3);
    rig.delivery.stop();
    let found = place.files().pop().unwrap();
    assert_eq!(delete(&place, &found, &[look.rows[0].seq, 5]).unwrap(), Some(1));
    let rig = Rig::started(with_spool(&scratch), &collector);
    assert!(rig.flush());
    assert_eq!(arrived(&collector), once_each(1..3));
}
