//! Spans that wait for their batch: bounded, counted, and never waited for by a call.

use super::otlp::Span;
use crate::common::sync::{Condvar, Mutex};
use prost::Message;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A batch is not made larger than this, whatever the number of its spans: Collectors refuse large requests.
const BATCH_BYTES: usize = 1 << 20;

pub struct Options {
    /// At most so many spans are held, those of a batch under way among them.
    pub spans: usize,
    /// At most so many bytes, as protobuf counts them.
    pub bytes: usize,
    pub batch_spans: usize,
    /// A span waits at most so long for others to go with it.
    pub delay: Duration,
}

/// What became of the spans so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    pub pending: usize,
    pub pending_bytes: usize,
    pub exported: u64,
    /// Of those exported: what the backend did not take, by its own word.
    pub rejected: u64,
    pub dropped: Dropped,
    /// Whether the Collector has failed so often that it is only tried now and then.
    pub circuit_open: bool,
    /// The last failure, in one sentence.
    pub last_error: Option<String>,
}

/// Spans that nobody got.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dropped {
    pub queue_full: u64,
    /// The backend refused their batch for good.
    pub refused: u64,
    /// The backend could not be reached for too long.
    pub expired: u64,
    pub shutdown: u64,
}

impl Dropped {
    pub fn total(&self) -> u64 {
        self.queue_full + self.refused + self.expired + self.shutdown
    }
}

/// How a batch ended.
pub enum End {
    Exported { rejected: u64 },
    Refused,
    Expired,
}

/// Everything up to some span.
pub struct Flush {
    upto: u64,
    failures: u64,
}

pub struct SpanQueue {
    options: Options,
    inner: Mutex<Inner>,
    /// There is something to send, or somebody to hurry for.
    wake: Notify,
    settled: Condvar,
}

#[derive(Default)]
struct Inner {
    spans: VecDeque<(Span, usize)>,
    /// Of the spans that wait and of those under way.
    bytes: usize,
    under_way: usize,
    under_way_bytes: usize,
    /// Spans ever taken, and how many of them are gone again.
    taken: u64,
    gone: u64,
    /// When the first of the spans that wait has waited long enough.
    due: Option<Instant>,
    /// All up to here go at once.
    hurry: u64,
    /// Attempts that failed.
    failures: u64,
    closed: bool,
    counts: Counts,
}

impl SpanQueue {
    pub fn new(options: Options) -> SpanQueue {
        SpanQueue { options, inner: Mutex::default(), wake: Notify::new(), settled: Condvar::new() }
    }

    pub fn push(&self, span: Span) {
        let size = span.encoded_len();
        let mut inner = self.inner.lock();
        if inner.closed {
            inner.counts.dropped.shutdown += 1;
            return;
        }
        if inner.spans.len() + inner.under_way >= self.options.spans || inner.bytes + size > self.options.bytes {
            inner.counts.dropped.queue_full += 1;
            return;
        }
        inner.spans.push_back((span, size));
        inner.bytes += size;
        inner.taken += 1;
        let first = inner.due.is_none();
        if first {
            inner.due = Some(Instant::now() + self.options.delay);
        }
        let wake = first || self.is_full_batch(&inner);
        drop(inner);
        if wake {
            self.wake.notify_one();
        }
    }

    fn is_full_batch(&self, inner: &Inner) -> bool {
        inner.spans.len() >= self.options.batch_spans || inner.bytes - inner.under_way_bytes >= BATCH_BYTES
    }

    /// The next batch, when it is time for one.
    pub async fn batch(&self) -> Vec<Span> {
        loop {
            let due = {
                let mut inner = self.inner.lock();
                let hurried = inner.hurry > inner.gone;
                if !inner.spans.is_empty()
                    && (hurried || self.is_full_batch(&inner) || inner.due.is_some_and(|due| due <= Instant::now()))
                {
                    return self.take(&mut inner);
                }
                inner.due
            };
            self.wait(due).await;
        }
    }

    fn take(&self, inner: &mut Inner) -> Vec<Span> {
        let mut batch = Vec::with_capacity(inner.spans.len().min(self.options.batch_spans));
        while batch.len() < self.options.batch_spans
            && let Some((_, size)) = inner.spans.front()
            && (batch.is_empty() || inner.under_way_bytes + size <= BATCH_BYTES)
            && let Some((span, size)) = inner.spans.pop_front()
        {
            inner.under_way_bytes += size;
            batch.push(span);
        }
        inner.under_way = batch.len();
        inner.due = (!inner.spans.is_empty()).then(|| Instant::now() + self.options.delay);
        batch
    }

    /// Until something is new, or `until`.
    async fn wait(&self, until: Option<Instant>) {
        let news = self.wake.notified();
        match until {
            Some(until) => drop(tokio::time::timeout_at(until.into(), news).await),
            None => news.await,
        }
    }

    /// Wait before the next attempt. Somebody in a hurry ends it, but not before `not_before`.
    pub async fn pause(&self, until: Instant, not_before: Instant) {
        loop {
            let now = Instant::now();
            let hurried = {
                let inner = self.inner.lock();
                inner.hurry > inner.gone && now >= not_before
            };
            if now >= until || hurried {
                return;
            }
            self.wait(Some(if now < not_before { not_before } else { until })).await;
        }
    }

    /// The batch that was taken last is gone.
    pub fn end(&self, end: End) {
        let mut inner = self.inner.lock();
        let spans = std::mem::take(&mut inner.under_way) as u64;
        inner.bytes -= std::mem::take(&mut inner.under_way_bytes);
        inner.gone += spans;
        match end {
            End::Exported { rejected } => {
                inner.counts.exported += spans;
                inner.counts.rejected += rejected.min(spans);
            }
            End::Refused => inner.counts.dropped.refused += spans,
            End::Expired => inner.counts.dropped.expired += spans,
        }
        self.settled.notify_all();
    }

    /// An attempt failed, and there will be another. What was in a hurry has had its chance.
    pub fn failed(&self, circuit_open: bool) {
        let mut inner = self.inner.lock();
        inner.failures += 1;
        inner.hurry = 0;
        inner.counts.circuit_open = circuit_open;
        self.settled.notify_all();
    }

    pub fn reachable(&self) {
        self.inner.lock().counts.circuit_open = false;
    }

    pub fn note(&self, error: String) {
        self.inner.lock().counts.last_error = Some(error);
    }

    pub fn flush_begin(&self) -> Flush {
        let mut inner = self.inner.lock();
        let flush = Flush { upto: inner.taken, failures: inner.failures };
        if flush.upto > inner.gone {
            inner.hurry = flush.upto;
            drop(inner);
            self.wake.notify_one();
        }
        flush
    }

    pub fn flush_wait(&self, flush: &Flush, deadline: Instant) {
        let mut inner = self.inner.lock();
        while inner.gone < flush.upto && inner.failures == flush.failures && !inner.closed {
            let late;
            (inner, late) = self.settled.wait_until(inner, deadline);
            if late {
                return;
            }
        }
    }

    /// Take no more. How many spans are lost by that.
    pub fn close(&self) -> usize {
        let mut inner = self.inner.lock();
        inner.closed = true;
        let lost = inner.spans.len() + std::mem::take(&mut inner.under_way);
        inner.spans = VecDeque::new();
        inner.counts.dropped.shutdown += lost as u64;
        (inner.bytes, inner.under_way_bytes) = (0, 0);
        self.settled.notify_all();
        lost
    }

    pub fn counts(&self) -> Counts {
        let inner = self.inner.lock();
        Counts { pending: inner.spans.len() + inner.under_way, pending_bytes: inner.bytes, ..inner.counts.clone() }
    }
}
