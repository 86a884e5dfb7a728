//! What the sandbox remembers. Locks are held to push, look up or copy a list of pointers, never while working.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::answer::Answer;
use crate::feed::Feed;
use crate::http::Request;
use crate::platform;
use crate::print::Printer;

/// How many requests are kept, the newest.
const KEPT_REQUESTS: usize = 10_000;

pub struct Sandbox {
    pub stats: Stats,
    pub plans: Plans,
    pub ledger: Ledger,
    pub requests: Requests,
    /// Revenium beside its collector.
    pub platform: platform::Kept,
    /// What the page shows.
    pub feed: Arc<Feed>,
    /// Whether Anthropic and Bedrock are played.
    pub providers: bool,
    /// `--fail`: service and answer.
    pub fail: Vec<(String, Arc<Answer>)>,
    /// `None` with `--quiet`.
    pub printer: Option<Printer>,
    ids: AtomicU64,
}

impl Sandbox {
    pub fn new(
        providers: bool,
        keep_requests: bool,
        fail: Vec<(String, Arc<Answer>)>,
        printer: Option<Printer>,
    ) -> Self {
        Self {
            stats: Stats::default(),
            plans: Plans::default(),
            ledger: Ledger::default(),
            requests: Requests { keep: keep_requests, kept: Mutex::default() },
            platform: platform::Kept::default(),
            feed: Arc::default(),
            providers,
            fail,
            printer,
            ids: AtomicU64::new(1),
        }
    }

    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Relaxed)
    }

    pub fn failing(&self, service: &str) -> Option<Arc<Answer>> {
        self.fail.iter().find(|(name, _)| name == service).map(|(_, answer)| answer.clone())
    }

    /// The counters in the order they are shown.
    pub fn counters(&self) -> [(&'static str, u64); 10] {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        [
            ("requests", count(&self.stats.requests)),
            ("collector_requests", count(&self.stats.collector_requests)),
            ("records", self.ledger.len() as u64),
            ("repeats", count(&self.ledger.repeats)),
            ("connections", count(&self.stats.connections)),
            ("open_connections", count(&self.stats.open_connections)),
            ("streams_open", count(&self.stats.streams_open)),
            ("client_disconnects", count(&self.stats.client_disconnects)),
            ("platform_requests", count(&self.stats.platform_requests)),
            ("tool_events", self.platform.tool_events.len() as u64),
        ]
    }
}

#[derive(Default)]
pub struct Stats {
    /// To a provider.
    pub requests: AtomicU64,
    pub collector_requests: AtomicU64,
    pub platform_requests: AtomicU64,
    pub connections: AtomicU64,
    pub open_connections: AtomicU64,
    pub streams_open: AtomicU64,
    /// Clients that left before the end of an answer.
    pub client_disconnects: AtomicU64,
}

/// Counts something as open for as long as it lives.
pub struct Open {
    sandbox: Arc<Sandbox>,
    counter: fn(&Stats) -> &AtomicU64,
}

impl Open {
    pub fn new(sandbox: &Arc<Sandbox>, counter: fn(&Stats) -> &AtomicU64) -> Self {
        counter(&sandbox.stats).fetch_add(1, Relaxed);
        Self { sandbox: sandbox.clone(), counter }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        (self.counter)(&self.sandbox.stats).fetch_sub(1, Relaxed);
    }
}

/// Answers by exact path, used in order; the last one repeats.
#[derive(Default)]
pub struct Plans(RwLock<HashMap<String, Plan>>);

struct Plan {
    answers: Vec<Arc<Answer>>,
    next: AtomicUsize,
}

impl Plans {
    pub fn set(&self, path: String, answers: Vec<Arc<Answer>>) {
        self.0.write().insert(path, Plan { answers, next: AtomicUsize::new(0) });
    }

    pub fn clear(&self) {
        self.0.write().clear();
    }

    pub fn next(&self, path: &str) -> Option<Arc<Answer>> {
        let plans = self.0.read();
        let plan = plans.get(path)?;
        let turn = plan.next.fetch_add(1, Relaxed).min(plan.answers.len().checked_sub(1)?);
        plan.answers.get(turn).cloned()
    }
}

/// The last requests, oldest first.
pub struct Requests {
    keep: bool,
    kept: Mutex<VecDeque<Kept>>,
}

#[derive(Clone)]
pub struct Kept {
    pub service: &'static str,
    pub request: Arc<Request>,
}

impl Requests {
    pub fn add(&self, service: &'static str, request: &Arc<Request>) {
        if !self.keep {
            return;
        }
        let mut kept = self.kept.lock();
        let oldest = if kept.len() >= KEPT_REQUESTS { kept.pop_front() } else { None };
        kept.push_back(Kept { service, request: request.clone() });
        drop(kept);
        drop(oldest);
    }

    pub fn all(&self) -> Vec<Kept> {
        self.kept.lock().iter().cloned().collect()
    }

    pub fn clear(&self) {
        let _ = std::mem::take(&mut *self.kept.lock());
    }
}

/// The collector's records and the Idempotency-Keys they came with.
#[derive(Default)]
pub struct Ledger {
    inner: Mutex<Entries>,
    len: AtomicUsize,
    repeats: AtomicU64,
}

#[derive(Default)]
struct Entries {
    records: Vec<Arc<Record>>,
    /// By account key and Idempotency-Key.
    by_key: HashMap<(String, String), Arc<Record>>,
}

pub struct Record {
    pub request: Arc<Request>,
    pub idempotency_key: String,
    pub received_at_ms: u64,
    /// Estimated, in USD; `None` where the model has no known price.
    pub cost: Option<f64>,
    /// The 201's body, replayed to repeats.
    pub answer: Bytes,
    pub repeats: AtomicU64,
}

pub enum Entered {
    /// With its number, counted from 1.
    New(usize),
    /// With the record it repeats.
    Repeat(Arc<Record>),
    /// The key was used for other bytes.
    Mismatch,
}

impl Ledger {
    pub fn enter(&self, account: &str, record: &Arc<Record>) -> Entered {
        let key = (account.to_owned(), record.idempotency_key.clone());
        let mut entries = self.inner.lock();
        if let Some(first) = entries.by_key.get(&key).cloned() {
            drop(entries);
            if first.request.path != record.request.path || first.request.body != record.request.body {
                return Entered::Mismatch;
            }
            first.repeats.fetch_add(1, Relaxed);
            self.repeats.fetch_add(1, Relaxed);
            return Entered::Repeat(first);
        }
        entries.by_key.insert(key, record.clone());
        entries.records.push(record.clone());
        let number = entries.records.len();
        self.len.store(number, Relaxed);
        Entered::New(number)
    }

    pub fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    pub fn all(&self) -> Vec<Arc<Record>> {
        self.inner.lock().records.clone()
    }

    pub fn clear(&self) {
        let mut entries = self.inner.lock();
        let old = std::mem::take(&mut *entries);
        self.len.store(0, Relaxed);
        self.repeats.store(0, Relaxed);
        drop(entries);
        drop(old);
    }
}

pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The time in `seconds` seconds, as RFC 3339 in UTC with whole seconds.
pub fn rfc3339_in(seconds: i64) -> String {
    let now = (now_ms() / 1000) as i64;
    OffsetDateTime::from_unix_timestamp(now + seconds).ok().and_then(|t| t.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_run_in_order_and_the_last_repeats() {
        let answers = |statuses: &[u16]| {
            statuses.iter().map(|s| Arc::new(Answer { status: Some(*s), ..Answer::default() })).collect::<Vec<_>>()
        };
        let plans = Plans::default();
        plans.set("/a".into(), answers(&[503, 429]));
        plans.set("/empty".into(), Vec::new());
        let next = |path: &str| plans.next(path).and_then(|answer| answer.status);
        assert_eq!([next("/a"), next("/a"), next("/a")], [Some(503), Some(429), Some(429)]);
        assert_eq!((next("/b"), next("/empty")), (None, None));
        plans.set("/a".into(), answers(&[500]));
        assert_eq!(next("/a"), Some(500));
        plans.clear();
        assert_eq!(next("/a"), None);
    }
}
