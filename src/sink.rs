//! Where a call reports: to a caller that waits, to callbacks, or to a queue.

use crate::call::Call;
use crate::dispatch::Callbacks;
use crate::error::Result;
use crate::mailbox::Mailbox;
use crate::outcome::Outcome;
use crate::provider::Head;
use crate::queue::{Flow, Queue};
use crate::stream::Batch;
use serde_json::json;
use std::sync::Arc;

pub enum Sink {
    /// A thread of the host waits in create (no events) or stream.
    Caller {
        mailbox: Mailbox,
        wants_events: bool,
    },
    Callbacks(Callbacks),
    Queue {
        queue: Arc<Queue>,
        tag: u64,
        flow: Arc<Flow>,
    },
}

impl Sink {
    /// Whether the events of a stream go anywhere.
    pub fn wants_events(&self) -> bool {
        match self {
            Sink::Caller { wants_events, .. } => *wants_events,
            Sink::Callbacks(callbacks) => callbacks.wants_events,
            Sink::Queue { .. } => true,
        }
    }

    /// Wait until the reader has room for more: the network is not read meanwhile.
    pub async fn room(&self) {
        match self {
            Sink::Caller { mailbox, .. } => mailbox.room().await,
            Sink::Callbacks(callbacks) => callbacks.mailbox.room().await,
            Sink::Queue { flow, .. } => flow.room().await,
        }
    }

    pub fn head(&self, call: &Call, head: &Head) -> Result<()> {
        let Sink::Queue { queue, tag, .. } = self else { return Ok(()) };
        let body = json!({
            "http_status": head.status,
            "headers": head.headers_json(),
            "provider": head.provider.name(),
        });
        queue.push_head(head.status, &body.to_string(), call.number, *tag)
    }

    pub fn events(&self, call: &Arc<Call>, batch: Batch) -> Result<()> {
        match self {
            Sink::Caller { mailbox, .. } => mailbox.put_events(batch),
            Sink::Callbacks(callbacks) => {
                callbacks.mailbox.put_events(batch);
                call.schedule();
            }
            Sink::Queue { queue, tag, flow } => queue.push_events(&batch, call.number, *tag, flow)?,
        }
        Ok(())
    }

    pub fn result(&self, call: &Arc<Call>, outcome: Arc<Outcome>) {
        match self {
            Sink::Caller { mailbox, .. } => {
                mailbox.put_result(outcome);
                call.reported();
            }
            Sink::Callbacks(callbacks) => {
                callbacks.mailbox.put_result(outcome);
                call.schedule();
            }
            Sink::Queue { queue, tag, .. } => {
                queue.push_result(&outcome, call.number, *tag);
                call.reported();
            }
        }
    }
}
