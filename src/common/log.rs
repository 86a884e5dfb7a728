//! Log lines: levels, redaction, where they go.
//!
//! Lines go to standard error, or to the host's sink instead, and besides to every subscriber that asked for their
//! level. Each is redacted and kept to one line, whatever the level.

mod redact;

pub use redact::redact;

use std::cell::Cell;
use std::fmt;
use std::io::Write;
use std::mem;
use std::str::FromStr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::common::error::{Code, Error, Result};
use crate::common::os::{self, PerProcess};

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
    pub fn of_number(number: i32) -> Option<Level> {
        [Level::Error, Level::Warn, Level::Info, Level::Debug].into_iter().find(|level| *level as i32 == number)
    }

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

macro_rules! error { ($($t:tt)*) => { $crate::common::log::line!(Error, $($t)*) } }
macro_rules! warn_ { ($($t:tt)*) => { $crate::common::log::line!(Warn, $($t)*) } }
macro_rules! info { ($($t:tt)*) => { $crate::common::log::line!(Info, $($t)*) } }
macro_rules! debug { ($($t:tt)*) => { $crate::common::log::line!(Debug, $($t)*) } }
macro_rules! line {
    ($level:ident, $($t:tt)*) => {
        if $crate::common::log::enabled($crate::common::log::Level::$level) {
            $crate::common::log::write($crate::common::log::Level::$level, format_args!($($t)*))
        }
    };
}

pub(crate) use {debug, error, info, line, warn_ as warn};

/// The most talkative level anybody wants.
static THRESHOLD: AtomicI32 = AtomicI32::new(Level::Warn as i32);

/// This process's log.
static LOG: PerProcess<Log> = PerProcess::empty();

thread_local! {
    /// Set while this thread runs a sink or a subscriber.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// One process's log.
///
/// A fork may happen while another thread holds a lock, and in the child nobody is left to unlock it. So a child never
/// waits for its parent's locks: at its first line it starts a log of its own, with the parent's routes. The parent's is left
/// as it is. Standard mutexes, because theirs have no state outside themselves that a fork could tear.
struct Log {
    /// Held while the sink runs: one line at a time.
    turn: Mutex<()>,
    /// Held for moments, never while foreign code runs.
    routes: Mutex<Routes>,
    threshold: &'static AtomicI32,
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

fn current() -> &'static Log {
    LOG.get(|parent| parent.map_or_else(|| Log::new(&THRESHOLD), Log::for_child))
}

impl Log {
    fn new(threshold: &'static AtomicI32) -> Log {
        Log { turn: Mutex::new(()), routes: Mutex::default(), threshold }
    }

    fn for_child(&self) -> Log {
        let child = Log::new(self.threshold);
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
    // Nowhere is left to report a failure to.
    let _ = os::stderr().and_then(|mut stderr| stderr.write_all(line.as_bytes()));
}

#[cfg(test)]
mod tests;
