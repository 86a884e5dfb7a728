//! DELIVERY: records → Revenium.
//!
//! [`Delivery::push`] takes a record over at once; one task (`task`) sends it over kept-alive connections, a bounded
//! number at a time, until Revenium has it (`send`, `retry`) or it is given up and counted (`counts`). What is not yet
//! delivered lies in the `queue`, and in the `journal` on disk, from where the next process takes it if this one ends.
//!
//! A record is given up after an answer that judges the record itself (400, 413, 415, 422, a 409 with a body and
//! without `Retry-After`), and when queue or spool is full and it is the oldest. Everything else speaks of the account or
//! of the way to Revenium (a mistyped key, a redirect, a proxy's login page): the record stays, somebody can repair that.

mod account;
mod backlog;
#[cfg(test)]
mod collector;
mod counts;
pub mod journal;
mod queue;
mod record;
mod retry;
mod send;
mod task;
#[cfg(test)]
mod tests;
mod url;

pub use account::Account;
pub use counts::{Circuit, Counts, Dropped, Reason};
pub use queue::Left;
pub use record::{Cause, Endpoint, Fate, Outgoing, Row};
pub use url::completions_url;

use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use self::counts::Counters;
use self::journal::{Group, Journal};
use self::queue::{Limits, RecordQueue, now_ms};
use crate::common::log::{error, warn};

/// How to deliver. `Options::default()` is what the library ships with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Records in flight at once.
    pub workers: usize,
    /// How long a record waits for others, to leave with them.
    pub linger: Duration,
    /// How long one attempt may take, from connecting to the answer's head.
    pub attempt_timeout: Duration,
    /// Quick retries, by back-off; afterwards a record is replayed each `replay_interval`.
    pub max_retries: u32,
    /// The first back-off; it doubles, up to 8 s.
    pub backoff_base: Duration,
    /// When records that failed all quick retries are tried again, unless a success comes first. Also how often a
    /// refused key is tried.
    pub replay_interval: Duration,
    /// How often a silent collector is tried while the circuit is open.
    pub probe_interval: Duration,
    /// At most this many records wait.
    pub queue_records: usize,
    /// At most this many bytes wait.
    pub queue_bytes: usize,
    /// Records older than this are given up. `None`: only the limits end their wait.
    pub max_age: Option<Duration>,
    /// `None`: in memory only.
    pub journal: Option<journal::Options>,
    /// Calls under way in this process: a backlog gives way to them.
    pub calls: Arc<AtomicI64>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            workers: 32,
            linger: Duration::from_millis(5),
            attempt_timeout: Duration::from_secs(10),
            max_retries: 2,
            backoff_base: Duration::from_millis(500),
            replay_interval: Duration::from_secs(30),
            probe_interval: Duration::from_secs(5),
            queue_records: 20_000,
            queue_bytes: 64 * 1024 * 1024,
            max_age: None,
            journal: None,
            calls: Arc::default(),
        }
    }
}

/// Where records go and with which key.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    /// As [`completions_url`] gives it.
    pub url: reqwest::Url,
    /// May be empty: records then wait for [`Delivery::set_destination`].
    pub key: String,
}

impl fmt::Debug for Destination {
    /// Without key, user-info and query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (url, host) = (&self.url, self.url.host_str().unwrap_or_default());
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let shown = format!("{}://{host}{port}{}", url.scheme(), url.path());
        f.debug_struct("Destination").field("url", &shown).finish_non_exhaustive()
    }
}

impl Destination {
    fn path_of(&self, endpoint: &Endpoint) -> String {
        let base = self.url.path().strip_suffix(Endpoint::COMPLETIONS.path()).unwrap_or_else(|| self.url.path());
        format!("{base}{}", endpoint.path())
    }
}

/// One failed attempt, or records given up.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Given up: `queue_full`, `refused`, `expired`, `shutdown`, `spool_full`, `corrupt`.
    /// Tried again later: `connection`, `timeout`, `http_status`, `key_refused`. In memory only: `spool`.
    pub reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    pub records: usize,
    /// True: given up; false: will be tried again.
    pub dropped: bool,
    /// One sentence for a person.
    pub message: String,
}

impl Report {
    pub fn to_json(&self) -> String {
        // Strings, numbers and a bool always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    fn dropped(reason: Reason, records: usize, message: impl Into<String>) -> Self {
        Report { reason: reason.as_str(), http_status: None, records, dropped: true, message: message.into() }
    }
}

/// Records on their way into journal and queue.
#[must_use = "the records are in neither until the push is finished"]
pub struct Pushing {
    rows: Vec<Row>,
    group: Option<Arc<Group>>,
}

/// How the spool is.
#[derive(Clone, Debug)]
pub struct SpoolState {
    pub directory: PathBuf,
    pub trouble: Option<String>,
}

/// Gets records to Revenium.
pub struct Delivery {
    options: Options,
    destination: Mutex<Arc<Destination>>,
    /// The sender has yet to notice a new destination.
    moved: AtomicBool,
    report: Box<dyn Fn(&Report) + Send + Sync>,
    counters: Arc<Counters>,
    queue: Arc<RecordQueue>,
    journal: Option<Arc<Journal>>,
    wake: Notify,
    tasks: Mutex<Vec<AbortHandle>>,
    /// The kinds of failure that the log has seen.
    said: Mutex<HashSet<(&'static str, Option<u16>)>>,
    /// Records given up since the queue became full.
    overflow: AtomicUsize,
}

impl Delivery {
    /// Starts nothing. `report` hears of every failed attempt and every record given up, on the thread where it
    /// happens; it must not block.
    pub fn new(
        options: Options,
        destination: Arc<Destination>,
        report: Box<dyn Fn(&Report) + Send + Sync>,
    ) -> Arc<Delivery> {
        let counters = Arc::new(Counters::new());
        let (records, bytes, linger) = (options.queue_records, options.queue_bytes, options.linger);
        let limits = Limits { records, bytes, linger, calls: Arc::clone(&options.calls) };
        let queue = Arc::new(RecordQueue::new(limits, Arc::clone(&counters)));
        let journal = options.journal.clone().map(|options| Journal::new(options, &destination, Arc::clone(&queue)));
        Arc::new(Delivery {
            destination: Mutex::new(destination),
            moved: AtomicBool::new(false),
            report,
            queue,
            journal: journal.map(Arc::new),
            counters,
            wake: Notify::new(),
            tasks: Mutex::default(),
            said: Mutex::default(),
            overflow: AtomicUsize::new(0),
            options,
        })
    }

    /// Start the sender task and the journal's maintenance, unless they run or [`Delivery::stop`] was called.
    pub fn start(self: &Arc<Self>, runtime: &tokio::runtime::Handle, client: reqwest::Client) {
        let mut tasks = self.tasks.lock();
        if self.queue.attach() {
            tasks.push(runtime.spawn(task::run(task::Attached::new(self), client)).abort_handle());
            tasks.push(runtime.spawn(journal::run(Arc::clone(self))).abort_handle());
        }
    }

    /// Send to another place, or with another key, from the next attempt on.
    pub fn set_destination(&self, destination: Arc<Destination>) {
        *self.destination.lock() = destination;
        self.said.lock().clear();
        self.moved.store(true, Relaxed);
        self.wake.notify_one();
    }

    /// Take records over. Never fails, and waits for one write to the journal; when the queue is full and there is no
    /// journal, the oldest are given up and counted.
    pub fn push(&self, records: impl IntoIterator<Item = Outgoing>) {
        let pushing = self.begin_push(records);
        let saved = match (&self.journal, &pushing.group) {
            (Some(journal), Some(group)) => journal.save(group),
            _ => false,
        };
        self.end_push(pushing.rows, saved);
    }

    /// The same for a task: between this and [`Delivery::finish_push`], others can join the write.
    pub fn begin_push(&self, records: impl IntoIterator<Item = Outgoing>) -> Pushing {
        let created_ms = now_ms();
        let records: Vec<_> = records.into_iter().collect();
        let first = self.queue.number(records.len());
        let row = |(record, seq)| Row { seq, created_ms, record: Arc::new(record) };
        let rows: Vec<_> = records.into_iter().zip(first..).map(row).collect();
        let group = self.journal.as_ref().filter(|_| !rows.is_empty()).and_then(|journal| journal.add(&rows));
        Pushing { rows, group }
    }

    pub async fn finish_push(&self, pushing: Pushing) {
        let saved = match (&self.journal, &pushing.group) {
            (Some(journal), Some(group)) => journal.save_and_sync(group).await,
            _ => false,
        };
        self.end_push(pushing.rows, saved);
    }

    fn end_push(&self, rows: Vec<Row>, saved: bool) {
        let pushed = self.queue.push(rows, saved, Instant::now());
        if let Some(journal) = &self.journal
            && saved
            && self.counters.read_spooled() > journal.limit.load(Relaxed)
        {
            journal.wake.notify_one();
        }
        if pushed.wake {
            self.wake.notify_one();
        }
        if pushed.evicted > 0 {
            let message = "the queue is full: the oldest usage records are given up";
            if self.overflow.fetch_add(pushed.evicted, Relaxed) == 0 {
                warn!("{message}");
            }
            self.tell(Report::dropped(Reason::QueueFull, pushed.evicted, message));
        }
        if pushed.late > 0 {
            let message = "the usage record came after the end of delivery";
            self.tell(Report::dropped(Reason::Shutdown, pushed.late, message));
        }
    }

    /// Wait until every record known now is delivered or given up. True: yes; false: the deadline came first, or
    /// records wait and no sender runs. Makes waiting records due at once, except where Revenium said when to come
    /// again, and except that an open circuit still lets only its probes through.
    ///
    /// Blocks the calling thread; not for threads of the runtime that delivers.
    pub fn flush(&self, deadline: Instant) -> bool {
        self.flush_unless(deadline, || false)
    }

    /// The same before the process ends: does not wait for a Revenium that cannot be reached, when all that is left
    /// is in the journal.
    pub fn flush_and_leave(&self, deadline: Instant) -> bool {
        self.flush_unless(deadline, || self.counters.circuit_is_open() || self.counters.is_cut_off())
    }

    fn flush_unless(&self, deadline: Instant, in_vain: impl Fn() -> bool) -> bool {
        let end = self.queue.flush_begin(Instant::now());
        self.wake.notify_one();
        let flushed = self.queue.flush_wait(end, deadline, in_vain);
        if let Some(journal) = &self.journal {
            journal.tidy();
        }
        flushed
    }

    /// Send no more. What is left, under way or waiting, stays in the journal; without one it is counted as dropped
    /// ("shutdown").
    pub fn stop(&self) -> Left {
        if let Some(journal) = &self.journal {
            journal.close();
        }
        let left = self.queue.close();
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
        self.tell_overflow();
        if left.lost > 0 {
            let message = format!("delivery ended with {} usage records unsent", left.lost);
            warn!("{message}");
            self.tell(Report::dropped(Reason::Shutdown, left.lost, message));
        }
        left
    }

    /// Where the spool is, and why it cannot be used if it cannot. `None`: there is none.
    pub fn spool_state(&self) -> Option<SpoolState> {
        let journal = self.journal.as_ref()?;
        Some(SpoolState { directory: journal.options.directory.clone(), trouble: journal.trouble() })
    }

    pub fn counts(&self) -> Counts {
        self.counters.read()
    }

    pub fn pending(&self) -> usize {
        self.counters.pending()
    }

    /// A report that panics must not take the sender or the caller with it.
    fn tell(&self, report: Report) {
        if catch_unwind(AssertUnwindSafe(|| (self.report)(&report))).is_err() {
            error!("the receiver of delivery reports panicked");
        }
    }

    /// True the first time.
    fn first_of(&self, reason: &'static str, status: Option<u16>) -> bool {
        self.said.lock().insert((reason, status))
    }

    /// The queue is no longer full: say what that cost.
    fn tell_overflow(&self) {
        let lost = self.overflow.swap(0, Relaxed);
        if lost > 0 {
            warn!("{lost} usage records were given up while the queue was full");
        }
    }
}
