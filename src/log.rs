//! Log lines: levels, redaction, where they go.
//!
//! Lines go to standard error, or to the host's sink instead, and besides to every subscriber that asked for their
//! level. Each is redacted and kept to one line, whatever the level.

mod redact;

pub use redact::redact;

use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::process;
use std::str::FromStr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use once_cell::race::OnceBox;

use crate::error::{Code, Error, Result};

/// As in the header: `REVENIUM_LOG_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Level {
    Error = 1,
    /// The default: a library is quiet in its host.
    #[default]
    Warn = 2,
    Info = 3,
    Debug = 4,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Error => "ERROR",
            Level::Warn => "WARN",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = ();

    /// The names that Revenium's middlewares for other languages know, in any case.
    fn from_str(name: &str) -> std::result::Result<Level, ()> {
        match name.trim().to_ascii_uppercase().as_str() {
            "ERROR" | "CRITICAL" => Ok(Level::Error),
            "WARN" | "WARNING" => Ok(Level::Warn),
            "INFO" => Ok(Level::Info),
            "DEBUG" => Ok(Level::Debug),
            _ => Err(()),
        }
    }
}

/// What the host gave us to receive lines. Must not unwind.
pub type Sink = Box<dyn Fn(Level, &str) + Send + Sync>;

/// Somebody who wants lines besides the sink: a queue with LOG frames.
pub trait Subscriber: Send + Sync {
    /// Must not wait. Lines written in here are dropped. It may run on any thread that logs, so do not log while
    /// holding a lock that this takes.
    fn log(&self, level: Level, line: &str);
}

/// Is anyone interested in `level`? One atomic load, so that nobody formats what nobody reads.
pub fn enabled(level: Level) -> bool {
    level as i32 <= THRESHOLD.load(Ordering::Relaxed)
}

/// Write one line, if `level` is on. Use the macros `error!`, `warn!`, `info!`, `debug!` of this module.
pub fn write(level: Level, line: fmt::Arguments<'_>) {
    if enabled(level) {
        current().write(level, line);
    }
}

/// The level up to which lines go to standard error while there is no sink.
pub fn set_level(level: Level) {
    current().update(|routes| routes.stderr = level);
}

/// Send lines up to `level` to `sink` instead of standard error; `None` turns that back and leaves [`set_level`] in force.
///
/// Waits for a line that is being written: afterwards the former sink is not running and never will again.
/// Inside a sink or subscriber this is [`Code::WouldDeadlock`].
pub fn set_sink(sink: Option<Sink>, level: Level) -> Result<()> {
    current().set_sink(sink, level)
}

/// Also give lines up to `level` to `subscriber`, until it is dropped; `None` ends that. Asking again replaces the level.
pub fn subscribe(subscriber: &Arc<dyn Subscriber>, level: Option<Level>) {
    current().subscribe(subscriber, level);
}

macro_rules! error { ($($t:tt)*) => { $crate::log::line!(Error, $($t)*) } }
macro_rules! warn_ { ($($t:tt)*) => { $crate::log::line!(Warn, $($t)*) } }
macro_rules! info { ($($t:tt)*) => { $crate::log::line!(Info, $($t)*) } }
macro_rules! debug { ($($t:tt)*) => { $crate::log::line!(Debug, $($t)*) } }
macro_rules! line {
    ($level:ident, $($t:tt)*) => {
        if $crate::log::enabled($crate::log::Level::$level) {
            $crate::log::write($crate::log::Level::$level, format_args!($($t)*))
        }
    };
}

#[allow(unused_imports)] // Not every level is in use at every time.
pub(crate) use {debug, error, info, line, warn_ as warn};

/// The most talkative level anybody wants.
static THRESHOLD: AtomicI32 = AtomicI32::new(Level::Warn as i32);

/// The log of the first process that used it; those of its forked children hang on `next`.
static FIRST: Log = Log::new(&THRESHOLD);

thread_local! {
    /// Set while this thread runs a sink or a subscriber.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// One process's log.
///
/// A fork may happen while another thread holds a lock, and in the child nobody is left to unlock it. So a child never
/// waits for its parent's locks: at its first line it starts a log of its own, with the parent's routes, and appends
/// it to the chain. The parent's is left as it is. Standard mutexes, because theirs have no state outside themselves
/// that a fork could tear.
struct Log {
    /// The process this belongs to; 0 until it is first used.
    pid: AtomicU32,
    /// Held while the sink runs: one line at a time.
    turn: Mutex<()>,
    /// Held for moments, never while foreign code runs.
    routes: Mutex<Routes>,
    threshold: &'static AtomicI32,
    next: OnceBox<Log>,
}

#[derive(Default)]
struct Routes {
    stderr: Level,
    sink: Option<(Arc<Sink>, Level)>,
    subscribers: Vec<(Weak<dyn Subscriber>, Level)>,
}

impl Routes {
    /// The level up to which lines go to the sink, or to standard error.
    fn main_level(&self) -> Level {
        self.sink.as_ref().map_or(self.stderr, |(_, level)| *level)
    }

    fn threshold(&self) -> Level {
        self.subscribers.iter().map(|(_, level)| *level).fold(self.main_level(), Level::max)
    }
}

/// This process's log.
fn current() -> &'static Log {
    FIRST.of_process(process::id())
}

impl Log {
    const fn new(threshold: &'static AtomicI32) -> Log {
        let routes = Routes { stderr: Level::Warn, sink: None, subscribers: Vec::new() };
        Log {
            pid: AtomicU32::new(0),
            turn: Mutex::new(()),
            routes: Mutex::new(routes),
            threshold,
            next: OnceBox::new(),
        }
    }

    /// The log of process `pid`: the last of the chain, or a new one behind it.
    fn of_process(&self, pid: u32) -> &Log {
        let mut log = self;
        while let Some(next) = log.next.get() {
            log = next;
        }
        match log.pid.compare_exchange(0, pid, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => log,
            Err(owner) if owner == pid => log,
            Err(_) => log.next.get_or_init(|| Box::new(log.for_child(pid))),
        }
    }

    fn for_child(&self, pid: u32) -> Log {
        let child = Log::new(self.threshold);
        child.pid.store(pid, Ordering::Relaxed);
        // Subscribers are queues of the parent's, which no one reads here.
        if let Ok(parent) = self.routes.try_lock() {
            let (stderr, sink) = (parent.stderr, parent.sink.clone());
            child.update(|routes| (routes.stderr, routes.sink) = (stderr, sink));
        }
        child
    }

    fn update(&self, change: impl FnOnce(&mut Routes)) {
        let mut routes = lock(&self.routes);
        change(&mut routes);
        self.threshold.store(routes.threshold() as i32, Ordering::Relaxed);
    }

    fn set_sink(&self, sink: Option<Sink>, level: Level) -> Result<()> {
        if INSIDE.get() {
            return Err(Error::new(Code::WouldDeadlock, "the log function cannot be changed from inside itself"));
        }
        let mut sink = sink.map(|sink| (Arc::new(sink), level));
        let turn = lock(&self.turn);
        self.update(|routes| mem::swap(&mut routes.sink, &mut sink));
        // What the former sink holds is dropped outside our locks: it may log.
        drop(turn);
        Ok(())
    }

    fn subscribe(&self, subscriber: &Arc<dyn Subscriber>, level: Option<Level>) {
        let subscriber = Arc::downgrade(subscriber);
        self.update(|routes| {
            routes.subscribers.retain(|(known, _)| known.strong_count() > 0 && !known.ptr_eq(&subscriber));
            routes.subscribers.extend(level.map(|level| (subscriber, level)));
        });
    }

    fn write(&self, level: Level, line: fmt::Arguments<'_>) {
        if INSIDE.get() {
            return;
        }
        let line = one_line(&redact(&line.to_string()));
        self.tell_subscribers(level, &line);

        let turn = lock(&self.turn);
        let (main_level, sink) = {
            let routes = lock(&self.routes);
            (routes.main_level(), routes.sink.as_ref().map(|(sink, _)| sink.clone()))
        };
        if level > main_level {
            return;
        }
        match sink {
            Some(sink) => inside(|| sink(level, &line)),
            None => {
                // Standard error keeps lines whole by itself, and may block.
                drop(turn);
                to_stderr(level, &line);
            }
        }
    }

    fn tell_subscribers(&self, level: Level, line: &str) {
        let (listeners, dead) = {
            let known = &lock(&self.routes).subscribers;
            let wanting = known.iter().filter(|(_, wanted)| level <= *wanted);
            let listeners: Vec<_> = wanting.filter_map(|(subscriber, _)| subscriber.upgrade()).collect();
            (listeners, known.iter().any(|(subscriber, _)| subscriber.strong_count() == 0))
        };
        if dead {
            self.update(|routes| routes.subscribers.retain(|(subscriber, _)| subscriber.strong_count() > 0));
        }
        inside(|| {
            for subscriber in listeners {
                subscriber.log(level, line);
            }
        });
    }
}

/// Run foreign code, during which this thread's lines are dropped.
fn inside(run: impl FnOnce()) {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            INSIDE.set(false);
        }
    }
    INSIDE.set(true);
    let _leave = Leave;
    run();
}

/// The data is whole even if a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server's text must not be able to forge a line of its own.
fn one_line(text: &str) -> String {
    text.trim_end().replace(char::is_control, " ")
}

fn to_stderr(level: Level, line: &str) {
    let line = format!("revenium: {level}: {line}\n");
    // `io::stderr().lock()` may be held for ever by a thread that a fork left behind; the descriptor has no lock.
    #[cfg(unix)]
    let stderr = {
        use std::os::fd::AsFd;
        io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from)
    };
    #[cfg(not(unix))]
    let stderr = Ok::<_, io::Error>(io::stderr());
    // Nowhere is left to report a failure to.
    let _ = stderr.and_then(|mut stderr| stderr.write_all(line.as_bytes()));
}

#[cfg(test)]
mod tests {
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
        let (log, (sink, lines)) = (log(), recorder());
        let parent = log.of_process(1);
        assert!(std::ptr::eq(parent, log));
        parent.set_sink(Some(sink), Level::Info).unwrap();
        let listener: Arc<dyn Subscriber> = Arc::new(Listener(Mutex::default()));
        parent.subscribe(&listener, Some(Level::Debug));

        // As after a fork during a line: the lock is held and its holder is not here.
        let _held = lock(&parent.turn);
        let child = log.of_process(2);
        assert!(!std::ptr::eq(child, parent) && std::ptr::eq(child, log.of_process(2)));
        child.write(Level::Info, format_args!("from the child"));
        assert_eq!(take(&lines), ["INFO from the child"]);
        assert!(lock(&child.routes).subscribers.is_empty());

        // Caught in the other lock, the child starts from standard error.
        let _routes = lock(&child.routes);
        let grandchild = log.of_process(3);
        assert!(lock(&grandchild.routes).sink.is_none());
        grandchild.set_sink(None, Level::Warn).unwrap();
    }
}
