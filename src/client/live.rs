//! The calls under way: how one is admitted, and how all of them end.

use super::Client;
use crate::call::{Call, Owner};
use crate::client::process::{closed, process};
use crate::common::error::{Code, Error, Result};
use crate::common::log;
use crate::completion::outcome::Outcome;
use crate::delivery::{Delivery, Left};
use crate::messages::request::Request;
use crate::meter::Metadata;
use crate::provider::{Prepared, Provider};
use crate::settings::environment;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long calls that shutdown cancels may take beyond its timeout to make their records.
const SETTLE: Duration = Duration::from_millis(75);

/// The calls that have not reported their result yet.
#[derive(Default)]
pub(super) struct Live {
    calls: HashMap<u64, Arc<Call>>,
    closing: bool,
}

impl Client {
    pub(super) fn admit(&self, call: &Arc<Call>) -> Result<()> {
        let mut live = self.live.lock();
        if live.closing {
            return Err(closed());
        }
        let in_flight = self.context.counters.in_flight.load(Ordering::Relaxed);
        if in_flight >= self.context.settings.max_in_flight as i64 {
            let text = format!("{in_flight} calls are in flight, as many as max_in_flight allows.");
            return Err(Error::new(Code::Busy, text));
        }
        if !call.target.has_room(self.context.settings.max_in_flight) {
            return Err(Error::new(Code::Busy, "Results of many calls lie unread in this queue: read it first."));
        }
        live.calls.insert(call.number, call.clone());
        self.context.counters.started.fetch_add(1, Ordering::Relaxed);
        self.context.counters.in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Cancel the calls that `which` picks.
    pub fn cancel(&self, which: impl Fn(&Call) -> bool) {
        let calls: Vec<_> = self.live.lock().calls.values().filter(|call| which(call)).cloned().collect();
        for call in calls {
            call.cancel();
        }
    }

    /// End every call, flush, stop the threads.
    pub fn close(&self, deadline: Instant, exiting: bool) -> Result<()> {
        self.live.lock().closing = true;
        self.cancel(|_| true);
        let mut live = self.live.lock();
        let settled = deadline.max(Instant::now() + SETTLE);
        while !live.calls.is_empty() {
            // Reports may take as long as the host's callbacks; records do not, and there is no later for them.
            let until = if self.context.counters.in_flight.load(Ordering::SeqCst) > 0 { settled } else { deadline };
            let late;
            (live, late) = self.all_reported.wait_until(live, until);
            if late {
                break;
            }
        }
        let all_reported = live.calls.is_empty();
        drop(live);
        // What something else is still calling is metered as far as it came: there is no later for it either.
        for tap in process().handles.taps() {
            tap.abandon();
        }
        // Both at the same time, and the records first: spans cannot wait for a next run, but nobody is billed by them.
        let spans = self.context.telemetry.as_ref().map(|telemetry| (telemetry, telemetry.flush_begin()));
        let flush = |delivery: &Arc<Delivery>| match exiting {
            true => delivery.flush_and_leave(deadline),
            false => delivery.flush(deadline),
        };
        let deliveries: Vec<_> = self.deliveries().collect();
        for delivery in &deliveries {
            flush(delivery);
        }
        if let Some((telemetry, flush)) = spans {
            telemetry.flush_wait(&flush, deadline);
            telemetry.stop();
        }
        let left = deliveries.iter().map(|delivery| delivery.stop()).fold(Left::default(), |all, left| Left {
            lost: all.lost + left.lost,
            in_spool: all.in_spool + left.in_spool,
        });
        self.print_what_waits();
        // So that a tool that looks for leaks finds none. At an exit nobody looks, and the host's threads may be gone.
        let patience = if exiting { Instant::now() } else { settled };
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.stop(patience);
        }
        if all_reported && !exiting {
            self.callback_pool.stop(patience);
        }
        let text = match left {
            // What counts is what is left, not how long it took.
            Left { lost: 0, in_spool: 0 } if all_reported => return Ok(()),
            Left { lost: 0, in_spool: 0 } => "calls were under way that had not reported.".to_owned(),
            Left { lost: 0, in_spool } => format!("{in_spool} metering records stay in the spool for the next run."),
            Left { lost, .. } => format!("{lost} metering records could not be sent in time."),
        };
        if left.lost > 0 {
            log::warn!("shut down: {text}");
        } else {
            log::info!("shut down: {text}");
        }
        Err(Error::new(Code::Timeout, text))
    }
}

impl Owner for Client {
    fn schedule(&self, call: Arc<Call>) {
        self.callback_pool.schedule(call);
    }

    fn direct_instead(&self, asked: Provider, request: &Request) -> Option<Box<dyn Prepared>> {
        self.providers.direct_instead(asked, request, &environment)
    }

    fn ended(&self, code: Code) {
        if code != Code::Ok {
            self.context.counters.failed.fetch_add(1, Ordering::Relaxed);
        }
        if self.context.counters.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 {
            // With the lock, so that nobody is between looking and waiting.
            drop(self.live.lock());
            self.all_reported.notify_all();
        }
    }

    fn reported(&self, call: &Call) {
        let mut live = self.live.lock();
        live.calls.remove(&call.number);
        if live.calls.is_empty() {
            self.all_reported.notify_all();
        }
    }

    fn finished(self: Arc<Self>, outcome: &Outcome, metadata: &Metadata) {
        if let Some(summary) = self.summary_of(outcome, metadata) {
            self.print_summary(summary);
        }
    }
}
