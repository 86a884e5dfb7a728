//! The one task that sends: fills its room with what is due, waits for answers, settles.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use reqwest::Client;

use super::counts::{Circuit as CircuitState, LastError, Reason};
use super::queue::{Settle, Take, Work};
use super::retry::{self, Circuit, Permit};
use super::send::{self, Attempt, Template, Verdict};
use super::{Delivery, Report};
use crate::common::log::{debug, error, info, warn};

/// Records settled that the journal need not know of yet.
const TIDY_AT: usize = 256;

/// The queue's sender as long as it lives: when the runtime drops the task, nobody waits for it any longer.
pub(super) struct Attached(Arc<Delivery>);

impl Attached {
    pub fn new(delivery: &Arc<Delivery>) -> Self {
        Attached(Arc::clone(delivery))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.queue.detach();
    }
}

/// Send for ever. A panic costs a pause, not the records.
pub(super) async fn run(attached: Attached, client: Client) {
    let delivery = &*attached.0;
    loop {
        let (circuit, expedite_at) = (Circuit::default(), Instant::now());
        let sender = Sender { delivery, client: &client, template: None, circuit, expedite_at };
        let _ = AssertUnwindSafe(sender.run()).catch_unwind().await;
        error!("the sender of usage records panicked; it goes on in {:?}", delivery.options.replay_interval);
        delivery.queue.release();
        tokio::time::sleep(delivery.options.replay_interval).await;
    }
}

struct Sender<'a> {
    delivery: &'a Delivery,
    client: &'a Client,
    template: Option<Arc<Template>>,
    circuit: Circuit,
    /// When a success may expedite the waiting records again.
    expedite_at: Instant,
}

struct Done {
    work: Work,
    probe: bool,
    outcome: Attempt,
}

impl Sender<'_> {
    async fn run(mut self) -> std::convert::Infallible {
        let (delivery, client) = (self.delivery, self.client);
        let send = |work: Work, probe: bool, to: Arc<Template>| async move {
            let outcome = send::attempt(client, &to, &work.record, delivery.options.attempt_timeout).await;
            Done { work, probe, outcome }
        };
        let mut flying = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            self.housekeep(now);
            let wake_at = loop {
                if flying.len() >= delivery.options.workers.max(1) {
                    break None;
                }
                let permit = self.circuit.permit(now);
                let take = match permit {
                    Permit::Free => delivery.queue.take(now),
                    Permit::Probe => delivery.queue.take_probe(now),
                    Permit::At(at) => break Some(at),
                    Permit::Probing => break None,
                };
                match take {
                    Take::Work(work) => {
                        let probe = permit == Permit::Probe;
                        if probe {
                            self.circuit.probe_started();
                        }
                        flying.push(send(work, probe, self.template()));
                    }
                    Take::At(at) => break Some(at),
                    Take::Nothing => break None,
                }
            };
            if let Some(done) = next(&mut flying, delivery, wake_at).await {
                self.finish(done);
                self.keep_journal();
            }
        }
    }

    /// For the destination of now.
    fn template(&mut self) -> Arc<Template> {
        let destination = self.delivery.destination.lock();
        match &self.template {
            Some(template) if template.is_of(&destination) => Arc::clone(template),
            _ => Arc::clone(self.template.insert(Arc::new(Template::new(self.client, Arc::clone(&destination))))),
        }
    }

    fn housekeep(&mut self, now: Instant) {
        let delivery = self.delivery;
        if delivery.moved.swap(false, Relaxed) {
            self.close_circuit(now);
        }
        if let Some(max_age) = delivery.options.max_age {
            let expired = delivery.queue.expire(now, max_age, delivery.counters.circuit_is_open());
            if expired > 0 {
                let message = format!("{expired} usage records could not be delivered within {max_age:?}");
                warn!("{message}");
                delivery.tell(Report::dropped(Reason::Expired, expired, message));
            }
        }
    }

    /// What Revenium has is noted with the next record's write, or within a second. Until then a kill would have the next
    /// process send it again.
    fn keep_journal(&self) {
        let Some(journal) = &self.delivery.journal else { return };
        let mut maintain = false;
        match self.delivery.queue.leaving() {
            0 => {}
            TIDY_AT.. => maintain |= journal.note(),
            _ => journal.tidy_soon(),
        }
        if maintain || self.delivery.queue.wants_load() {
            journal.wake.notify_one();
        }
    }

    /// Everything about an attempt is said before the record is settled: who waits for it finds it said.
    fn finish(&mut self, Done { work, probe, outcome }: Done) {
        let (delivery, now) = (self.delivery, Instant::now());
        let options = &delivery.options;
        let settle = match outcome.verdict {
            Verdict::Delivered => {
                self.delivered(now);
                Settle::Delivered
            }
            Verdict::Retry { after, outage } => {
                if outage {
                    let interval = options.probe_interval.max(after.unwrap_or_default());
                    self.failed(now, probe, interval, &outcome);
                } else {
                    self.circuit.answered(now, probe, options.probe_interval);
                }
                self.wait(now, work.attempt, after)
            }
            Verdict::Astray => {
                // Each record would get this answer, and Revenium punishes a stream of refused keys: the circuit holds them.
                self.failed(now, probe, options.replay_interval, &outcome);
                Settle::Wait { due: retry::later(now, options.replay_interval), not_before: now }
            }
            Verdict::Drop(reason) => {
                // The record is out of the way: the next probe may go at once.
                self.circuit.answered(now, probe, Duration::ZERO);
                Settle::Dropped(reason, outcome.status)
            }
        };
        delivery.counters.set_cut_off(outcome.status.is_none());
        if outcome.verdict != Verdict::Delivered {
            self.tell_failure(&work, outcome);
        }
        delivery.queue.settle(work.seq, settle);
        if delivery.pending() == 0 {
            delivery.tell_overflow();
        }
    }

    fn delivered(&mut self, now: Instant) {
        if self.circuit.permit(now) != Permit::Free {
            info!("usage records reach Revenium again; {} are waiting", self.delivery.pending());
        }
        if self.circuit.succeeded() || now >= self.expedite_at {
            self.close_circuit(now);
        }
    }

    fn close_circuit(&mut self, now: Instant) {
        self.circuit = Circuit::default();
        self.delivery.counters.set_circuit(CircuitState::Closed);
        self.delivery.queue.expedite(now);
        self.expedite_at = retry::later(now, crate::common::retry::LONGEST);
    }

    fn failed(&mut self, now: Instant, probe: bool, interval: Duration, outcome: &Attempt) {
        if self.circuit.failed(now, probe, interval) {
            self.delivery.counters.set_circuit(CircuitState::Open);
            if outcome.verdict != Verdict::Astray {
                warn!("{}: usage records are kept and tried again every {interval:?}", outcome.message);
            }
        }
    }

    /// When a record that failed is tried again.
    fn wait(&self, now: Instant, attempt: u32, after: Option<Duration>) -> Settle {
        let options = &self.delivery.options;
        let after = after.unwrap_or_default();
        let delay = if attempt > options.max_retries && !self.delivery.queue.flushing() {
            options.replay_interval.max(after)
        } else if after.is_zero() {
            crate::common::retry::backoff(options.backoff_base, attempt.saturating_sub(1))
        } else {
            after
        };
        Settle::Wait { due: retry::later(now, delay), not_before: retry::later(now, after) }
    }

    fn tell_failure(&self, work: &Work, outcome: Attempt) {
        let (delivery, reason) = (self.delivery, outcome.reason());
        let dropped = matches!(outcome.verdict, Verdict::Drop(_));
        debug!("usage record {}, attempt {}: {}", work.record.transaction_id, work.attempt, outcome.message);
        match outcome.verdict {
            Verdict::Drop(_) if delivery.first_of(reason, outcome.status) => {
                warn!("{}: the usage record is given up, as all that get this answer will be", outcome.message);
            }
            Verdict::Astray if delivery.first_of(reason, outcome.status) => {
                warn!("{}; usage records are kept and tried again slowly", outcome.message);
            }
            _ => {}
        }
        let Attempt { status: http_status, code, message, .. } = outcome;
        delivery.counters.failed(LastError { code, http_status, message: message.clone(), at: SystemTime::now() });
        delivery.tell(Report { reason, http_status, records: 1, dropped, message });
    }
}

/// The next attempt that ends; `None` when there is something else to look at: news, or `wake_at` has come.
async fn next<F>(flying: &mut FuturesUnordered<F>, delivery: &Delivery, wake_at: Option<Instant>) -> Option<Done>
where
    F: Future<Output = Done>,
{
    let mut news = pin!(delivery.wake.notified());
    let mut timer = pin!(async {
        match wake_at {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    });
    poll_fn(|cx| {
        // Empty it is "ready" with nothing, which is no news.
        if let Poll::Ready(Some(done)) = flying.poll_next_unpin(cx) {
            return Poll::Ready(Some(done));
        }
        if news.as_mut().poll(cx).is_ready() || timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await
}
