//! Where a call reports: to a caller that waits, to callbacks, or to a queue.

pub mod backpressure;
pub mod callbacks;
pub mod inbox;
pub mod outcome;
pub mod queue;
mod quote;

use crate::call::Call;
use crate::common::error::Result;
use crate::common::json::writer::ObjectWriter;
use crate::completion::backpressure::Flow;
use crate::completion::callbacks::Callbacks;
use crate::completion::inbox::Mailbox;
use crate::completion::outcome::Outcome;
use crate::completion::queue::Queue;
use crate::messages::Batch;
use crate::provider::Head;
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

    /// How much the reader has not taken yet.
    pub fn flow(&self) -> &Flow {
        match self {
            Sink::Caller { mailbox, .. } => &mailbox.flow,
            Sink::Callbacks(callbacks) => &callbacks.mailbox.flow,
            Sink::Queue { flow, .. } => flow,
        }
    }

    /// For those who want it: the reply's head, before anything else.
    pub fn head<'a>(&self, call: &'a Arc<Call>, head: &Head) -> Result<Option<Bell<'a>>> {
        let Sink::Queue { queue, tag, .. } = self else { return Ok(None) };
        let mut body = ObjectWriter::new(1024);
        body.put("http_status", &head.status);
        body.put("headers", &head.headers_json());
        body.put("provider", head.provider.name());
        queue.push_head(head.status, &body.finish(), call.number, *tag)?;
        Ok(Some(Bell::of(call)))
    }

    /// To be followed by a [`Bell`].
    pub fn events(&self, call: &Arc<Call>, batch: Batch) -> Result<()> {
        match self {
            Sink::Caller { mailbox, .. } => mailbox.put_events(batch),
            Sink::Callbacks(callbacks) => callbacks.mailbox.put_events(batch),
            Sink::Queue { queue, tag, flow } => queue.push_events(&batch, call.number, *tag, flow)?,
        }
        Ok(())
    }

    pub fn result<'a>(&self, call: &'a Arc<Call>, outcome: Arc<Outcome>) -> Bell<'a> {
        match self {
            Sink::Caller { mailbox, .. } => mailbox.put_result(outcome),
            Sink::Callbacks(callbacks) => callbacks.mailbox.put_result(outcome),
            Sink::Queue { queue, tag, .. } => queue.push_result(&outcome, call.number, *tag),
        }
        if !matches!(self, Sink::Callbacks(_)) {
            call.reported();
        }
        Bell::of(call)
    }

    /// Whether a further call may report there, of which `most` may lie unread.
    pub fn has_room(&self, most: usize) -> bool {
        !matches!(self, Sink::Queue { queue, .. } if !queue.has_room(most))
    }

    /// Whether its queue takes nothing any more.
    pub fn is_closed(&self) -> bool {
        matches!(self, Sink::Queue { queue, .. } if queue.is_closed())
    }

    /// Whether one thread reads for many calls, so that it may as well be woken once for several.
    pub fn is_shared(&self) -> bool {
        !matches!(self, Sink::Caller { .. })
    }

    fn ring(&self, call: &Arc<Call>) {
        match self {
            Sink::Caller { mailbox, .. } => mailbox.ring(),
            Sink::Callbacks(_) => call.schedule(),
            Sink::Queue { queue, .. } => queue.ring(),
        }
    }
}

/// Something lies there of which the reader was not told yet. Dropping this wakes him, however it comes to that.
///
/// A wake is dearer than all else about an event: who can, keeps the bell until everything that came together is there.
#[must_use = "dropped at once, it wakes the reader at once"]
pub struct Bell<'a>(&'a Arc<Call>);

impl<'a> Bell<'a> {
    pub fn of(call: &'a Arc<Call>) -> Bell<'a> {
        Bell(call)
    }
}

impl Drop for Bell<'_> {
    fn drop(&mut self) {
        self.0.sink.ring(self.0);
    }
}
