//! The room against real sockets.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use tokio::runtime::Runtime;

use super::collector::{Answer, Collector, reply};
use super::*;
use crate::common::error::Code;

/// Far beyond what any test needs: it only ends a test that hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn destination(address: SocketAddr, key: &str) -> Arc<Destination> {
    let (url, _) = completions_url(&format!("http://user:hidden@{address}/proxy?token=hidden")).unwrap();
    Arc::new(Destination { url, key: key.into() })
}

fn to(collector: &Collector) -> Arc<Destination> {
    destination(collector.address, "rev_mk_secret")
}

fn client() -> reqwest::Client {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .build()
        .unwrap()
}

pub(super) fn quick() -> Options {
    Options {
        backoff_base: Duration::from_millis(2),
        replay_interval: Duration::from_millis(20),
        probe_interval: Duration::from_millis(10),
        linger: Duration::ZERO,
        ..Options::default()
    }
}

/// A delivery with its runtime and what it reported.
pub(super) struct Rig {
    pub(super) runtime: Runtime,
    pub(super) delivery: Arc<Delivery>,
    pub(super) reports: Arc<Mutex<Vec<Report>>>,
}

impl Rig {
    pub(super) fn new(options: Options, destination: Arc<Destination>) -> Rig {
        let reports: Arc<Mutex<Vec<Report>>> = Arc::default();
        let sink = Arc::clone(&reports);
        let delivery =
            Delivery::new(options, destination, Box::new(move |report: &Report| sink.lock().push(report.clone())));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Rig { runtime, delivery, reports }
    }

    pub(super) fn started(options: Options, collector: &Collector) -> Rig {
        let rig = Rig::new(options, to(collector));
        rig.start();
        rig
    }

    pub(super) fn start(&self) {
        self.delivery.start(self.runtime.handle(), client());
    }

    pub(super) fn push(&self, bodies: impl IntoIterator<Item = impl ToString>) {
        self.delivery.push(bodies.into_iter().map(|body| record(&body.to_string())));
    }

    pub(super) fn flush(&self) -> bool {
        self.delivery.flush(Instant::now() + PATIENCE)
    }

    #[track_caller]
    pub(super) fn until(&self, what: &str, condition: impl Fn(&Counts) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(&self.delivery.counts()) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.delivery.counts());
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(super) fn reasons(&self) -> Vec<(&'static str, Option<u16>, usize, bool)> {
        self.reports.lock().iter().map(|r| (r.reason, r.http_status, r.records, r.dropped)).collect()
    }
}

pub(super) fn record(body: &str) -> Outgoing {
    Outgoing {
        endpoint: Endpoint::COMPLETIONS,
        idempotency_key: format!("key-{body}"),
        body: body.to_owned().into(),
        transaction_id: format!("msg_{body}"),
    }
}

#[test]
fn every_record_arrives_once_over_kept_alive_connections() {
    let collector = Collector::scripted(vec![]);
    let rig = Rig::new(Options { workers: 4, ..quick() }, to(&collector));
    rig.push(0..100);
    rig.start();
    rig.start();
    for body in 100..500 {
        rig.push([body]);
    }
    assert!(rig.flush());
    let mut bodies: Vec<usize> = collector.bodies().iter().map(|body| body.parse().unwrap()).collect();
    bodies.sort();
    assert_eq!(bodies, (0..500).collect::<Vec<_>>());
    assert!(collector.connections() <= 4);

    let first = &collector.seen()[0];
    assert_eq!(first.path, "/proxy/meter/v2/ai/completions");
    assert_eq!(first.key(), format!("key-{}", String::from_utf8_lossy(&first.body)));
    for (name, value) in [
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("x-api-key", "rev_mk_secret"),
        ("user-agent", concat!("librevenium/", env!("CARGO_PKG_VERSION"))),
        // The user-info of a proxy in front of Revenium.
        ("authorization", "Basic dXNlcjpoaWRkZW4="),
    ] {
        assert_eq!(first.headers[name], value);
    }

    let counts = rig.delivery.counts();
    assert_eq!((counts.delivered, counts.pending, counts.pending_bytes), (500, 0, 0));
    assert_eq!((counts.retried, counts.dropped, counts.refused, counts.oldest_age_ms), (0, 0, 0, 0));
    assert_eq!(counts.circuit, Circuit::Closed);
    assert!(counts.last_error.is_none() && rig.reports.lock().is_empty());
    assert_eq!(rig.delivery.stop(), Left::default());
}

#[test]
fn key_and_bytes_stay_the_same_until_the_record_is_delivered() {
    let answers = vec![reply(500, &[], "oops"), Answer::Cut, reply(429, &[], ""), reply(503, &[], ""), Answer::Hang];
    let collector = Collector::scripted(answers);
    let rig = Rig::started(Options { attempt_timeout: Duration::from_millis(300), ..quick() }, &collector);
    rig.push(["{\"a\":1}"]);
    assert!(rig.flush());
    let seen = collector.seen();
    assert_eq!(seen.len(), 6);
    assert!(seen.iter().all(|seen| seen.key() == "key-{\"a\":1}" && seen.body == b"{\"a\":1}"));
    let counts = rig.delivery.counts();
    assert_eq!((counts.delivered, counts.retried, counts.dropped), (1, 5, 0));
    let reasons: Vec<_> = rig.reasons().into_iter().map(|(reason, status, ..)| (reason, status)).collect();
    let status = |status| ("http_status", Some(status));
    assert_eq!(reasons, [status(500), ("connection", None), status(429), status(503), ("timeout", None)]);
    assert!(rig.reports.lock().iter().all(|report| !report.dropped && report.records == 1));
    let last = counts.last_error.unwrap();
    assert_eq!((last.code, last.http_status), (Code::Timeout, None));
}

#[test]
fn what_each_answer_does() {
    let soon = ("retry-after-ms", "5");
    // The first answer, and how often the record is sent; a record sent once was given up, with this reason.
    for (first, sent, reason) in [
        (reply(408, &[], ""), 2, None),
        (reply(409, &[], "{}"), 1, Some("refused")),
        (reply(409, &[], ""), 2, None),
        (reply(409, &[soon], ""), 2, None),
        (reply(429, &[soon], ""), 2, None),
        (reply(500, &[], ""), 2, None),
        (reply(503, &[("x-should-retry", "false")], ""), 2, None),
        (reply(400, &[], ""), 1, Some("refused")),
        (reply(400, &[("x-should-retry", "true")], ""), 2, None),
        (reply(401, &[], ""), 2, None),
        (reply(403, &[], ""), 2, None),
        (reply(402, &[], ""), 2, None),
        (reply(404, &[], ""), 2, None),
        (reply(405, &[], ""), 2, None),
        (reply(410, &[], ""), 2, None),
        (reply(423, &[], ""), 2, None),
        (reply(425, &[], ""), 2, None),
        (reply(200, &[("content-type", "text/html")], "<html>log in</html>"), 2, None),
        (reply(413, &[], ""), 1, Some("refused")),
        (reply(422, &[], ""), 1, Some("refused")),
        (reply(304, &[], ""), 2, None),
        (Answer::Cut, 2, None),
        (Answer::Reply("no HTTP at all\r\n\r\n".into()), 2, None),
    ] {
        let label = match &first {
            Answer::Reply(text) => text.lines().take(3).collect::<Vec<_>>().join(" "),
            _ => "cut".into(),
        };
        let collector = Collector::scripted(vec![first]);
        let rig = Rig::started(quick(), &collector);
        rig.push(["a"]);
        assert!(rig.flush(), "{label}");
        assert_eq!(collector.seen().len(), sent, "{label}");
        let counts = rig.delivery.counts();
        assert_eq!(counts.delivered, u64::from(reason.is_none()), "{label}");
        assert_eq!((counts.dropped, counts.refused), (1 - counts.delivered, 1 - counts.delivered), "{label}");
        let reports = rig.reports.lock().clone();
        assert_eq!(reports.len(), 1, "{label}");
        assert_eq!(reports[0].dropped, reason.is_some(), "{label}");
        if let Some(reason) = reason {
            assert_eq!(reports[0].reason, reason, "{label}");
        }
        assert_eq!(counts.last_error.unwrap().http_status, reports[0].http_status, "{label}");
    }
}

#[test]
fn any_2xx_is_delivered_whatever_its_body() {
    let huge = "x".repeat(300_000);
    let bodies = vec![
        reply(204, &[], ""),
        reply(201, &[("content-type", "application/json")], ""),
        reply(200, &[("content-type", "text/plain")], "fine"),
        reply(202, &[("content-type", "application/json")], "{\"broken\""),
        reply(200, &[], &huge),
        Answer::Reply("HTTP/1.1 201 Created\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe".into()),
    ];
    let count = bodies.len();
    let collector = Collector::scripted(bodies);
    let rig = Rig::started(Options { workers: 1, ..quick() }, &collector);
    rig.push(0..count + 1);
    assert!(rig.flush());
    assert_eq!(collector.seen().len(), count + 1);
    assert_eq!(rig.delivery.counts().delivered, count as u64 + 1);
    assert!(rig.reports.lock().is_empty());
}

#[test]
fn nobody_comes_back_before_retry_after() {
    let wait = Duration::from_millis(400);
    let collector = Collector::scripted(vec![reply(429, &[("retry-after", "0.4")], "")]);
    let rig = Rig::started(quick(), &collector);
    rig.push(["a"]);
    rig.until("the first attempt failed", |counts| counts.last_error.is_some());
    assert!(rig.flush());
    let seen = collector.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[1].at - seen[0].at >= wait, "flushing does not expedite what the server put off");
}

#[test]
fn a_redirect_is_never_followed() {
    let elsewhere = Collector::scripted(vec![]);
    let location = format!("http://{}/steal", elsewhere.address);
    for status in [301, 302, 303, 307, 308] {
        let collector = Collector::scripted(vec![reply(status, &[("location", &location)], "")]);
        let rig = Rig::started(quick(), &collector);
        rig.push(["a"]);
        assert!(rig.flush());
        // Asked again at the same place, until that takes it.
        assert_eq!(collector.seen().len(), 2);
        assert_eq!(rig.reasons(), [("http_status", Some(status), 1, false)]);
    }
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn the_circuit_opens_probes_and_drains_on_recovery() {
    let down = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&down);
    let collector = Collector::new(move |_, _| reply(if switch.load(SeqCst) { 503 } else { 201 }, &[], ""));
    let options = Options { workers: 1, replay_interval: PATIENCE * 60, probe_interval: PATIENCE * 60, ..quick() };
    let rig = Rig::started(options, &collector);
    rig.push(0..20);
    rig.until("open", |counts| counts.circuit == Circuit::Open);
    rig.push(20..40);
    assert!(!rig.delivery.flush(Instant::now() + Duration::from_millis(50)));
    assert_eq!(collector.seen().len(), 3, "nothing is sent before the probe");
    let counts = rig.delivery.counts();
    assert_eq!((counts.pending, counts.delivered, counts.dropped), (40, 0, 0));
    rig.delivery.stop();

    let rig = Rig::started(Options { workers: 1, replay_interval: PATIENCE * 60, ..quick() }, &collector);
    rig.push(0..40);
    rig.until("a few probes", |counts| counts.circuit == Circuit::Open && collector.seen().len() > 10);
    down.store(false, SeqCst);
    assert!(rig.flush());
    let counts = rig.delivery.counts();
    assert_eq!((counts.delivered, counts.pending, counts.circuit), (40, 0, Circuit::Closed));
}

#[test]
pub(super) fn records_wait_for_a_collector_that_is_not_there_yet() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let rig = Rig::new(quick(), destination(address, "rev_mk_secret"));
    rig.start();
    rig.push(0..50);
    rig.until("open", |counts| counts.circuit == Circuit::Open);
    let error = rig.delivery.counts().last_error.unwrap();
    assert_eq!((error.code, error.http_status), (Code::Connection, None));
    assert!(error.message.contains("could not be reached"), "{}", error.message);
    let Ok(listener) = TcpListener::bind(address) else { return };
    let collector = Collector::on(listener, |_, _| reply(201, &[], ""));
    assert!(rig.flush());
    assert_eq!(collector.seen().len(), 50);
    let shown = format!("{:?}", rig.reports.lock());
    assert!(!shown.contains("hidden") && !shown.contains("secret"), "{shown}");
}

#[test]
fn one_record_that_always_fails_stops_no_other() {
    let collector = Collector::new(|seen, before| {
        let fails = before < 6 || seen.body == b"poison";
        reply(if fails { 500 } else { 201 }, &[], "")
    });
    let rig = Rig::started(Options { workers: 1, ..quick() }, &collector);
    rig.push(["poison", "a", "b", "c"]);
    rig.until("the others", |counts| counts.delivered == 3);
    assert_eq!(rig.delivery.stop().lost, 1);
}

#[test]
fn a_success_brings_the_waiting_records_back() {
    let collector = Collector::scripted(vec![reply(500, &[], "")]);
    let options = Options { max_retries: 0, replay_interval: PATIENCE * 60, ..quick() };
    let rig = Rig::started(options, &collector);
    rig.push(["a"]);
    rig.until("the first attempt failed", |counts| counts.last_error.is_some());
    rig.push(["b"]);
    rig.until("both", |counts| counts.delivered == 2);
    assert_eq!(collector.bodies(), ["a", "b", "a"]);
}

#[test]
fn a_refused_key_keeps_the_records_until_it_is_repaired() {
    for refused in [401, 403] {
        let collector = Collector::new(move |seen, _| {
            let good = seen.headers["x-api-key"] == "rev_mk_good";
            reply(if good { 201 } else { refused }, &[], "")
        });
        let options = Options { workers: 1, replay_interval: PATIENCE * 60, ..quick() };
        let rig = Rig::new(options, destination(collector.address, ""));
        rig.start();
        rig.push(0..10);
        rig.until("no key", |counts| counts.circuit == Circuit::Open);
        assert!(collector.seen().is_empty());

        rig.delivery.set_destination(destination(collector.address, "rev_mk_bad"));
        rig.until("refused", |counts| {
            counts.circuit == Circuit::Open && counts.last_error.as_ref().unwrap().http_status == Some(refused)
        });
        assert_eq!(collector.seen().len(), 3);
        let counts = rig.delivery.counts();
        assert_eq!((counts.pending, counts.dropped, counts.refused), (10, 0, 0));
        assert!(rig.reasons().iter().all(|(reason, _, _, dropped)| *reason == "key_refused" && !dropped));

        rig.delivery.set_destination(destination(collector.address, "rev_mk_good"));
        assert!(rig.flush());
        assert_eq!(rig.delivery.counts().delivered, 10);
    }
}

#[test]
fn a_full_queue_gives_up_the_oldest() {
    let collector = Collector::scripted(vec![]);
    let rig = Rig::new(Options { workers: 1, queue_records: 3, ..quick() }, to(&collector));
    rig.push(0..4);
    rig.push(4..6);
    assert_eq!(rig.delivery.pending(), 3);
    assert_eq!(rig.reasons(), [("queue_full", None, 1, true), ("queue_full", None, 2, true)]);
    rig.start();
    assert!(rig.flush());
    assert_eq!(collector.bodies(), ["3", "4", "5"]);
    let counts = rig.delivery.counts();
    assert_eq!((counts.delivered, counts.dropped, counts.dropped_by.queue_full, counts.refused), (3, 3, 3, 0));
}

#[test]
fn flush_tells_whether_everything_is_settled() {
    let started = Instant::now();
    let collector = Collector::new(|seen, _| if seen.body == b"hang" { Answer::Hang } else { reply(500, &[], "") });
    let rig = Rig::new(Options { replay_interval: PATIENCE * 60, ..quick() }, to(&collector));
    assert!(rig.flush(), "nothing was pushed");
    rig.push(["hang"]);
    assert!(!rig.flush(), "nobody sends, so waiting is in vain");
    rig.start();
    assert!(!rig.delivery.flush(Instant::now() + Duration::from_millis(20)));
    assert!(!rig.delivery.flush(Instant::now()), "a deadline that has passed");
    assert_eq!(rig.delivery.pending(), 1);
    assert!(started.elapsed() < PATIENCE);

    // A flush ends when delivery does, and does not wait for what came after it.
    let delivery = Arc::clone(&rig.delivery);
    let flush = thread::spawn(move || delivery.flush(Instant::now() + PATIENCE));
    rig.until("the flush waits", |_| rig.delivery.queue.flushing());
    assert_eq!(rig.delivery.stop().lost, 1);
    assert!(flush.join().unwrap());
    assert!(rig.flush());
}

#[test]
fn flush_hurries_what_waits_for_its_replay() {
    let collector = Collector::scripted(vec![reply(500, &[], "")]);
    let options = Options { max_retries: 0, replay_interval: PATIENCE * 60, ..quick() };
    let rig = Rig::started(options, &collector);
    rig.push(["a"]);
    rig.until("the first attempt failed", |counts| counts.last_error.is_some());
    assert!(rig.flush());
    assert_eq!(collector.seen().len(), 2);
}

#[test]
fn flush_does_not_wait_for_later_records() {
    let collector = Collector::new(|seen, _| if seen.body == b"late" { Answer::Hang } else { reply(201, &[], "") });
    let rig = Rig::started(quick(), &collector);
    let end = rig.delivery.queue.flush_begin(Instant::now());
    rig.push(["late"]);
    assert!(rig.delivery.queue.flush_wait(end, Instant::now() + PATIENCE, || false));
    assert_eq!(rig.delivery.pending(), 1);
}

#[test]
fn a_collector_that_hangs_holds_up_nobody() {
    let collector = Collector::new(|_, _| Answer::Hang);
    let rig = Rig::started(Options { workers: 4, queue_records: 100, ..quick() }, &collector);
    let pushers: Vec<_> = (0..4)
        .map(|_| {
            let delivery = Arc::clone(&rig.delivery);
            thread::spawn(move || (0..500).for_each(|n| delivery.push([record(&n.to_string())])))
        })
        .collect();
    pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
    rig.until("all workers busy", |_| collector.seen().len() == 4);
    let counts = rig.delivery.counts();
    assert_eq!((counts.pending, counts.delivered, counts.dropped_by.queue_full), (100, 0, 1900));
    assert_eq!(rig.delivery.stop().lost, 100);
    rig.push(["late"]);
    let counts = rig.delivery.counts();
    assert_eq!((counts.pending, counts.dropped, counts.dropped_by.shutdown), (0, 2001, 101));
    assert_eq!(rig.delivery.stop(), Left::default());
    rig.start();
    assert_eq!(collector.seen().len(), 4);
}

#[test]
fn a_runtime_that_ends_first_loses_no_count() {
    let collector = Collector::new(|_, _| Answer::Hang);
    let Rig { runtime, delivery, reports } = Rig::started(quick(), &collector);
    delivery.push((0..10).map(|n| record(&n.to_string())));
    let deadline = Instant::now() + PATIENCE;
    while collector.seen().len() < 10 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
    let waiting = Arc::clone(&delivery);
    let flush = thread::spawn(move || waiting.flush(Instant::now() + PATIENCE));
    drop(runtime);
    assert!(!flush.join().unwrap());
    assert!(!delivery.flush(Instant::now() + PATIENCE));
    assert!(Instant::now() < deadline);
    assert_eq!((delivery.pending(), delivery.stop().lost), (10, 10));
    let reports = reports.lock().clone();
    assert_eq!((reports.len(), reports[0].reason, reports[0].records), (1, "shutdown", 10));
}

#[test]
pub(super) fn records_expire() {
    let collector = Collector::new(|_, _| reply(500, &[], ""));
    let rig = Rig::started(Options { max_age: Some(Duration::from_millis(30)), ..quick() }, &collector);
    rig.push(0..5);
    assert!(rig.flush());
    let counts = rig.delivery.counts();
    assert_eq!((counts.dropped_by.expired, counts.dropped, counts.refused), (5, 5, 0));
}

#[test]
fn a_report_that_panics_stops_nothing() {
    let collector = Collector::scripted(vec![reply(500, &[], ""), reply(400, &[], "")]);
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let report = move |_: &Report| {
        counter.fetch_add(1, SeqCst);
        panic!("a bug of the receiver (expected in this test)");
    };
    let rig = Rig::new(quick(), to(&collector));
    let delivery = Delivery::new(Options { workers: 1, ..quick() }, to(&collector), Box::new(report));
    delivery.start(rig.runtime.handle(), client());
    delivery.push((0..3).map(|n| record(&n.to_string())));
    assert!(delivery.flush(Instant::now() + PATIENCE));
    let counts = delivery.counts();
    assert_eq!((counts.delivered, counts.dropped, calls.load(SeqCst)), (2, 1, 2));
}

#[test]
fn no_secret_is_shown() {
    let (url, _) = completions_url("https://user:secret@[::1]:8443/proxy?token=secret").unwrap();
    let shown = format!("{:?}", Destination { url, key: "secret".into() });
    assert!(shown.contains("https://[::1]:8443/proxy/meter/v2/ai/completions"), "{shown}");
    assert!(!shown.contains("secret") && !shown.contains("user"), "{shown}");
    let outgoing = Outgoing { body: bytes::Bytes::from_static(b"secret"), ..record("1") };
    assert!(!format!("{outgoing:?}").contains("secret"));
}

#[test]
fn a_report_as_json() {
    let report = Report::dropped(Reason::QueueFull, 3, "say \"it\"");
    assert_eq!(report.to_json(), r#"{"reason":"queue_full","records":3,"dropped":true,"message":"say \"it\""}"#);
    let report = Report { http_status: Some(503), dropped: false, ..report };
    assert!(report.to_json().contains(r#""http_status":503"#));
}
