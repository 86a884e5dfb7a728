//! TELEMETRY: calls → spans → the host's own OpenTelemetry backend, over OTLP/HTTP.
//!
//! Nothing of it exists unless the setting `otlp` is on. A call's span is made from the same facts as its record
//! (`span`, `attributes`), waits in a bounded `queue`, and goes out in batches by one task (`export`, `otlp`). What
//! cannot be exported is counted and forgotten: a span is a look at a call, the record is its account.

mod attributes;
mod content;
mod destination;
mod export;
mod otlp;
mod queue;
mod span;
#[cfg(test)]
mod tests;

pub use queue::{Counts, Flush};
pub use span::{Answered, Begun};

use self::destination::Destination;
use self::queue::SpanQueue;
use crate::common::error::Result;
use crate::common::log;
use crate::common::trace_context::TraceContext;
use crate::meter;
use crate::settings::Settings;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// The spans of one run of the library, and their way out.
pub struct Telemetry {
    destination: Destination,
    resource: otlp::Resource,
    queue: SpanQueue,
    /// Old backends know the tokens written to a cache by an older name: they get both.
    both_names: bool,
    /// Prompts and replies that were captured go into spans, too.
    content: bool,
    task: Mutex<Option<AbortHandle>>,
}

impl Telemetry {
    /// `None`: the settings do not ask for spans. E_CONFIG: spans would go to Revenium, where `metered` calls are
    /// billed by their records already. Starts nothing.
    pub fn new(settings: &Settings, metered: bool) -> Result<Option<Arc<Telemetry>>> {
        if !settings.otlp || settings.otel_sdk_disabled {
            return Ok(None);
        }
        let destination = Destination::new(settings)?;
        if metered {
            destination.refuse_revenium()?;
        }
        destination.warn();
        let options = queue::Options {
            spans: settings.otlp_queue_size,
            bytes: settings.otlp_queue_bytes,
            batch_spans: settings.otlp_batch_size.min(settings.otlp_queue_size),
            delay: Duration::from_millis(settings.otlp_delay_ms),
        };
        Ok(Some(Arc::new(Telemetry {
            destination,
            resource: span::resource(settings),
            queue: SpanQueue::new(options),
            both_names: settings.otlp_both_names,
            content: settings.otlp_content,
            task: Mutex::default(),
        })))
    }

    /// Start the task that exports, unless it runs.
    pub fn start(self: &Arc<Self>, runtime: &Handle, client: &reqwest::Client) {
        let mut task = self.task.lock();
        if task.is_none() {
            *task = Some(runtime.spawn(export::run(self.clone(), client.clone())).abort_handle());
        }
    }

    /// A call in this context begins. `None`: it has no span, because whoever began the trace does not record it, or
    /// because it would be billed twice: a key for Revenium has come, and spans go there.
    pub fn begin(&self, parent: Option<&TraceContext>, metered: bool) -> Option<Begun> {
        if metered && self.destination.is_at_revenium() {
            static SAID: AtomicBool = AtomicBool::new(false);
            if !SAID.swap(true, Ordering::Relaxed) {
                log::warn!("metering is on, and spans would go to Revenium too: there are none");
            }
            return None;
        }
        match parent {
            Some(parent) if !parent.sampled => None,
            parent => Some(Begun::new(parent)),
        }
    }

    /// Take over the span of a call that has ended. Never waits: when there are too many, it is dropped and counted.
    pub fn end(&self, begun: &Begun, call: &meter::CallFacts<'_>, answered: &Answered<'_>) {
        let detail = span::Detail { both_names: self.both_names, content: self.content };
        self.queue.push(span::of(begun, call, answered, detail));
    }

    /// The same for one use of a tool, whose record's transaction id is known where it has a record.
    pub fn end_tool(&self, begun: &Begun, event: &meter::ToolEvent, transaction_id: Option<&str>, source: &str) {
        self.queue.push(span::of_tool(begun, event, transaction_id, source));
    }

    /// Send what is there now instead of waiting for more. [`Telemetry::flush_wait`] is the other half.
    pub fn flush_begin(&self) -> Flush {
        self.queue.flush_begin()
    }

    /// Wait until it is exported or dropped, or the Collector cannot be reached, or `deadline`.
    pub fn flush_wait(&self, flush: &Flush, deadline: Instant) {
        if self.task.lock().is_some() {
            self.queue.flush_wait(flush, deadline);
        }
    }

    /// Export no more. What is left is counted as dropped.
    pub fn stop(&self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        let lost = self.queue.close();
        if lost > 0 {
            log::warn!("{lost} spans could not be exported in time");
        }
    }

    pub fn counts(&self) -> Counts {
        self.queue.counts()
    }

    /// Where spans go, without user-info and query.
    pub fn endpoint(&self) -> &str {
        &self.destination.shown
    }
}
