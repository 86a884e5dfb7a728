use std::sync::atomic::AtomicU32;
use std::sync::mpsc;
use std::thread;

use super::*;

/// A log of the test's own, so that tests do not hear each other.
fn log() -> &'static Log {
    Box::leak(Box::new(Log::new(Box::leak(Box::new(AtomicI32::new(0))))))
}

type Lines = Arc<Mutex<Vec<(Level, String)>>>;

fn recorder() -> (Sink, Lines) {
    let lines = Lines::default();
    let kept = lines.clone();
    (Box::new(move |level, line| kept.lock().unwrap().push((level, line.to_string()))), lines)
}

struct Listener(Mutex<Vec<String>>);

impl Subscriber for Listener {
    fn log(&self, _: Level, line: &str) {
        self.0.lock().unwrap().push(line.to_string());
    }
}

fn take(lines: &Lines) -> Vec<String> {
    lines.lock().unwrap().drain(..).map(|(level, line)| format!("{level} {line}")).collect()
}

#[test]
fn levels_have_names() {
    for (text, level) in [
        ("DEBUG", Some(Level::Debug)),
        ("info", Some(Level::Info)),
        (" Warning ", Some(Level::Warn)),
        ("WARN", Some(Level::Warn)),
        ("ERROR", Some(Level::Error)),
        ("critical", Some(Level::Error)),
        ("", None),
        ("verbose", None),
        ("2", None),
    ] {
        assert_eq!(text.parse().ok(), level, "{text}");
    }
}

#[test]
fn the_sink_gets_redacted_single_lines_up_to_its_level() {
    let (log, (sink, lines)) = (log(), recorder());
    log.set_sink(Some(sink), Level::Info).unwrap();
    log.write(Level::Error, format_args!("one\r\ntwo\n"));
    log.write(Level::Info, format_args!("key sk-ant-{}", "api03-abcdefgh"));
    log.write(Level::Debug, format_args!("too much"));
    assert_eq!(take(&lines), ["ERROR one  two", "INFO key sk-ant-[REDACTED]"]);
}

#[test]
fn the_threshold_follows_sink_and_subscribers() {
    let (log, (sink, _)) = (log(), recorder());
    let threshold = || log.threshold.load(Ordering::Relaxed);
    log.update(|routes| routes.stderr = Level::Error);
    assert_eq!(threshold(), Level::Error as i32);
    let listener: Arc<dyn Subscriber> = Arc::new(Listener(Mutex::default()));
    log.subscribe(&listener, Some(Level::Debug));
    assert_eq!(threshold(), Level::Debug as i32);
    log.subscribe(&listener, Some(Level::Info));
    assert_eq!((threshold(), lock(&log.routes).subscribers.len()), (Level::Info as i32, 1));
    log.subscribe(&listener, None);
    assert_eq!(threshold(), Level::Error as i32);
    log.set_sink(Some(sink), Level::Debug).unwrap();
    assert_eq!(threshold(), Level::Debug as i32);
    log.set_sink(None, Level::Debug).unwrap();
    assert_eq!(threshold(), Level::Error as i32);
}

#[test]
fn subscribers_have_their_own_level_and_are_held_weakly() {
    let (log, (sink, lines)) = (log(), recorder());
    log.set_sink(Some(sink), Level::Error).unwrap();
    let listener = Arc::new(Listener(Mutex::default()));
    log.subscribe(&(listener.clone() as Arc<dyn Subscriber>), Some(Level::Info));
    log.write(Level::Error, format_args!("a"));
    log.write(Level::Info, format_args!("b"));
    log.write(Level::Debug, format_args!("c"));
    assert_eq!(*listener.0.lock().unwrap(), ["a", "b"]);
    assert_eq!(take(&lines), ["ERROR a"]);

    drop(listener);
    log.write(Level::Error, format_args!("d"));
    assert!(lock(&log.routes).subscribers.is_empty());
    assert_eq!(log.threshold.load(Ordering::Relaxed), Level::Error as i32);
}

#[test]
fn from_inside_a_sink_lines_are_dropped_and_the_sink_stays() {
    let log = log();
    let (seen, received) = mpsc::channel();
    let sink: Sink = Box::new(move |_, line| {
        log.write(Level::Error, format_args!("nested"));
        let refused = log.set_sink(None, Level::Error).unwrap_err().code;
        seen.send((line.to_string(), refused)).unwrap();
    });
    log.set_sink(Some(sink), Level::Error).unwrap();
    log.write(Level::Error, format_args!("outer"));
    log.write(Level::Error, format_args!("again"));
    log.set_sink(None, Level::Error).unwrap();
    let expected = ["outer", "again"].map(|line| (line.to_string(), Code::WouldDeadlock));
    assert_eq!(received.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn set_sink_waits_for_the_former_sink() {
    let log = log();
    let (entered, has_entered) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let order = Arc::new(Mutex::new(Vec::new()));
    let noted = order.clone();
    let sink: Sink = Box::new(move |_, _| {
        entered.send(()).unwrap();
        may_go_on.lock().unwrap().recv().unwrap();
        noted.lock().unwrap().push("former sink returned");
    });
    log.set_sink(Some(sink), Level::Error).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| log.write(Level::Error, format_args!("x")));
        has_entered.recv().unwrap();
        scope.spawn(|| {
            log.set_sink(None, Level::Error).unwrap();
            order.lock().unwrap().push("set_sink returned");
        });
        go_on.send(()).unwrap();
    });
    assert_eq!(*order.lock().unwrap(), ["former sink returned", "set_sink returned"]);
    // The closure, and with it whatever the host hung on it, is gone.
    assert_eq!(Arc::strong_count(&order), 1);
}

#[test]
fn lines_of_many_threads_come_one_at_a_time() {
    let log = log();
    let running = Arc::new(Mutex::new(()));
    let count = Arc::new(AtomicU32::new(0));
    let (busy, counter) = (running.clone(), count.clone());
    let sink: Sink = Box::new(move |_, _| {
        let alone = busy.try_lock().is_ok();
        counter.fetch_add(u32::from(alone), Ordering::Relaxed);
    });
    log.set_sink(Some(sink), Level::Error).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|i| log.write(Level::Error, format_args!("{i}"))));
        }
    });
    assert_eq!(count.load(Ordering::Relaxed), 400);
}

#[test]
fn a_child_keeps_the_sink_and_never_touches_the_parents_locks() {
    let (parent, (sink, lines)) = (log(), recorder());
    parent.set_sink(Some(sink), Level::Info).unwrap();
    let listener: Arc<dyn Subscriber> = Arc::new(Listener(Mutex::default()));
    parent.subscribe(&listener, Some(Level::Debug));

    // As after a fork during a line: the lock is held and its holder is not here.
    let _held = lock(&parent.turn);
    let child = parent.for_child();
    child.write(Level::Info, format_args!("from the child"));
    assert_eq!(take(&lines), ["INFO from the child"]);
    assert!(lock(&child.routes).subscribers.is_empty());

    // Caught in the other lock, the child starts from standard error.
    let _routes = lock(&child.routes);
    let grandchild = child.for_child();
    assert!(lock(&grandchild.routes).sink.is_none());
    grandchild.set_sink(None, Level::Warn).unwrap();
}
