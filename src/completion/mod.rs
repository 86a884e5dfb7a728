//! Where a call reports: to a caller that waits, to callbacks, or to a queue.

pub mod backpressure;
pub mod callbacks;
pub mod inbox;
pub mod outcome;
pub mod queue;
mod quote;

use crate::common::error::Result;
use crate::common::json::writer::ObjectWriter;
use crate::completion::backpressure::Backpressure;
use crate::completion::callbacks::Callbacks;
use crate::completion::inbox::Inbox;
use crate::completion::outcome::Outcome;
use crate::completion::queue::Queue;
use crate::messages::Batch;
use crate::provider::Head;
use std::sync::Arc;

pub enum Target {
    /// A thread of the host waits in create (no events) or stream.
    Caller {
        inbox: Inbox,
        wants_events: bool,
    },
    Callbacks(Callbacks),
    Queue {
        queue: Arc<Queue>,
        tag: u64,
        backpressure: Arc<Backpressure>,
    },
}

/// A call, as far as its way to the caller needs it.
pub trait Reporting: Send + Sync + 'static {
    fn number(&self) -> u64;
    fn target(&self) -> &Target;
    fn cancel(&self);
    /// Its last report is out.
    fn reported(&self);
    /// Something for callbacks lies in its inbox.
    fn schedule(self: Arc<Self>);
}

impl Target {
    /// Whether the events of a stream go anywhere.
    pub fn wants_events(&self) -> bool {
        match self {
            Target::Caller { wants_events, .. } => *wants_events,
            Target::Callbacks(callbacks) => callbacks.wants_events,
            Target::Queue { .. } => true,
        }
    }

    /// How much the reader has not taken yet.
    pub fn backpressure(&self) -> &Backpressure {
        match self {
            Target::Caller { inbox, .. } => &inbox.backpressure,
            Target::Callbacks(callbacks) => &callbacks.inbox.backpressure,
            Target::Queue { backpressure, .. } => backpressure,
        }
    }

    /// For those who want it: the reply's head, before anything else.
    pub fn head<'a, C: Reporting>(&self, call: &'a Arc<C>, head: &Head) -> Result<Option<WakeGuard<'a, C>>> {
        let Target::Queue { queue, tag, .. } = self else { return Ok(None) };
        let mut body = ObjectWriter::new(1024);
        body.put("http_status", &head.status);
        body.put("headers", &head.headers_json());
        body.put("provider", head.provider.name());
        queue.push_head(head.status, &body.finish(), call.number(), *tag)?;
        Ok(Some(WakeGuard::of(call)))
    }

    /// To be followed by a [`WakeGuard`].
    pub fn events<C: Reporting>(&self, call: &Arc<C>, batch: Batch) -> Result<()> {
        match self {
            Target::Caller { inbox, .. } => inbox.put_events(batch),
            Target::Callbacks(callbacks) => callbacks.inbox.put_events(batch),
            Target::Queue { queue, tag, backpressure } => {
                queue.push_events(&batch, call.number(), *tag, backpressure)?;
            }
        }
        Ok(())
    }

    pub fn result<'a, C: Reporting>(&self, call: &'a Arc<C>, outcome: Arc<Outcome>) -> WakeGuard<'a, C> {
        match self {
            Target::Caller { inbox, .. } => inbox.put_result(outcome),
            Target::Callbacks(callbacks) => callbacks.inbox.put_result(outcome),
            Target::Queue { queue, tag, .. } => queue.push_result(&outcome, call.number(), *tag),
        }
        if !matches!(self, Target::Callbacks(_)) {
            call.reported();
        }
        WakeGuard::of(call)
    }

    /// Whether a further call may report there, of which `most` may lie unread.
    pub fn has_room(&self, most: usize) -> bool {
        !matches!(self, Target::Queue { queue, .. } if !queue.has_room(most))
    }

    /// Whether its queue takes nothing any more.
    pub fn is_closed(&self) -> bool {
        matches!(self, Target::Queue { queue, .. } if queue.is_closed())
    }

    /// Whether one thread reads for many calls, so that it may as well be woken once for several.
    pub fn is_shared(&self) -> bool {
        !matches!(self, Target::Caller { .. })
    }

    fn wake_reader<C: Reporting>(&self, call: &Arc<C>) {
        match self {
            Target::Caller { inbox, .. } => inbox.wake_reader(),
            Target::Callbacks(_) => call.clone().schedule(),
            Target::Queue { queue, .. } => queue.wake_reader(),
        }
    }
}

/// Something lies there of which the reader was not told yet. Dropping this wakes him, however it comes to that.
///
/// A wake is dearer than all else about an event: who can, keeps the guard until everything that came together is there.
#[must_use = "dropped at once, it wakes the reader at once"]
pub struct WakeGuard<'a, C: Reporting>(&'a Arc<C>);

impl<'a, C: Reporting> WakeGuard<'a, C> {
    pub fn of(call: &'a Arc<C>) -> WakeGuard<'a, C> {
        WakeGuard(call)
    }
}

impl<C: Reporting> Drop for WakeGuard<'_, C> {
    fn drop(&mut self) {
        self.0.target().wake_reader(self.0);
    }
}
