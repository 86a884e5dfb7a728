//! One call from its start to its one result: attempts, deadlines, cancelling, and the record it leaves.

//!
//! `run` takes it through its attempts (`attempt`) and its reply (`reply`, `idle`); `settle` meters it and says how it ended.
//! `observed` holds the calls that something else makes.

mod attempt;
mod context;
mod idle;
pub mod observed;
mod reply;
mod run;
mod settle;

pub use context::{Context, Owner};
pub use run::{Other, run, run_other};

use crate::common::error::{Code, Error};
use crate::completion::outcome::{Facts, Fallback, Outcome, Text, info_json};
use crate::completion::queue::Queue;
use crate::completion::{Reporting, Target, WakeGuard};
use crate::delivery::{Account, Endpoint, Outgoing};
use crate::messages::Reader;
use crate::messages::request::Request;
use crate::meter::capture::Capture;
use crate::meter::{Metadata, Record};
use crate::provider::{Head, Prepared, Provider, Server};
use crate::settings::{CallKey, IdempotencyKey};
use crate::telemetry::Begun;
use once_cell::sync::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;

/// A call under way; once ended, its own result.
pub struct Call {
    pub number: u64,
    pub target: Target,
    owner: Weak<dyn Owner>,
    /// Takes its number out of the handles: once it has reported and nobody holds it.
    forget: fn(u64),
    /// Nobody holds its handle (any more).
    unowned: AtomicBool,
    reported: AtomicBool,
    cancelled: AtomicBool,
    cancel: Notify,
    attempts: AtomicU32,
    metered: bool,
    head: OnceCell<Arc<Head>>,
    outcome: OnceCell<Arc<Outcome>>,
    /// `info` before and after the provider's first answer. Kept, because a pointer to it may be in use.
    info_waiting: OnceCell<Text>,
    info_answered: OnceCell<Text>,
}

impl Call {
    /// `number`: its handle, which `forget` takes back.
    pub fn new(
        number: u64,
        forget: fn(u64),
        owner: Weak<dyn Owner>,
        target: Target,
        owned: bool,
        metered: bool,
    ) -> Call {
        Call {
            number,
            target,
            owner,
            forget,
            unowned: AtomicBool::new(!owned),
            reported: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            cancel: Notify::new(),
            attempts: AtomicU32::new(0),
            metered,
            head: OnceCell::new(),
            outcome: OnceCell::new(),
            info_waiting: OnceCell::new(),
            info_answered: OnceCell::new(),
        }
    }

    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.cancel.notify_waiters();
    }

    async fn until_cancelled(&self) {
        let asked = self.cancel.notified();
        if !self.cancelled.load(Ordering::SeqCst) {
            asked.await;
        }
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<&Arc<Outcome>> {
        self.outcome.get()
    }

    /// Its handle was given back. False: it had been before.
    pub fn disown(&self) -> bool {
        !self.unowned.swap(true, Ordering::SeqCst)
    }

    /// Whether its last report is out.
    pub fn has_reported(&self) -> bool {
        self.reported.load(Ordering::SeqCst)
    }

    pub fn reports_to(&self, queue: &Arc<Queue>) -> bool {
        matches!(&self.target, Target::Queue { queue: ours, .. } if Arc::ptr_eq(ours, queue))
    }

    pub fn info(&self) -> &Text {
        if let Some(outcome) = self.outcome.get() {
            return outcome.info();
        }
        let cell = if self.head.get().is_some() { &self.info_answered } else { &self.info_waiting };
        cell.get_or_init(|| {
            let attempts = self.attempts.load(Ordering::Relaxed);
            let head = self.head.get().cloned();
            let provider = head.as_ref().map(|head| head.provider);
            let facts = Facts { provider, head, attempts, metered: self.metered, ..Facts::default() };
            Text::new(info_json(None, &facts, None))
        })
    }
}

impl Reporting for Call {
    fn number(&self) -> u64 {
        self.number
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn cancel(&self) {
        Call::cancel(self);
    }

    fn reported(&self) {
        self.reported.store(true, Ordering::SeqCst);
        if self.unowned.load(Ordering::SeqCst) {
            (self.forget)(self.number);
        }
        if let Some(owner) = self.owner.upgrade() {
            owner.reported(self);
        }
    }

    fn schedule(self: Arc<Self>) {
        if let Some(owner) = self.owner.upgrade() {
            owner.schedule(self);
        }
    }
}

/// What a call has to do with metering, judged when it starts.
pub struct Metering {
    /// Environment, settings, scope and call, merged.
    pub metadata: Metadata,
    /// Where the records go. `None`: it leaves none.
    pub account: Option<Account>,
    pub capture: Capture,
    /// That the host chose.
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Metering {
    /// The next of the host's idempotency keys, for a call that is really made.
    pub fn next_key(&self) -> Option<CallKey> {
        self.idempotency_key.as_ref().map(IdempotencyKey::next)
    }
}

/// A record on its way to Revenium.
fn outgoing(record: Record) -> Outgoing {
    Outgoing {
        endpoint: Endpoint::COMPLETIONS,
        idempotency_key: record.idempotency_key,
        body: record.body.into(),
        transaction_id: record.transaction_id,
    }
}

/// What a call works on.
pub struct Job {
    pub request: Request,
    pub prepared: Box<dyn Prepared>,
    pub metering: Metering,
    pub key: Option<CallKey>,
    /// Of the calls that have one.
    pub span: Option<Begun>,
    pub max_retries: u32,
    pub timeout: Option<Duration>,
}

/// What is known when a call ends, however it ends.
struct Progress {
    started: SystemTime,
    clock: Instant,
    attempts: u32,
    /// The last attempt failed in a way that another might not.
    retryable: bool,
    /// Who was asked last.
    provider: Provider,
    fallback: Option<Fallback>,
    head: Option<Arc<Head>>,
    /// Where it is, for the span.
    server: Option<Server>,
    reader: Option<Reader>,
    first_token: Option<Duration>,
}

/// A call that still owes its one report. Dropping it reports too: a panic or the end of the runtime swallows none.
pub struct Unfinished {
    pub context: Arc<Context>,
    pub owner: Arc<dyn Owner>,
    pub call: Arc<Call>,
}

impl Unfinished {
    fn report(&self, outcome: Outcome) -> Option<WakeGuard<'_, Call>> {
        let outcome = Arc::new(outcome);
        self.call.outcome.set(outcome.clone()).ok()?;
        self.owner.ended(outcome.code);
        Some(self.call.target.result(&self.call, outcome))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.call.outcome.get().is_none() {
            let (code, text) = if std::thread::panicking() {
                (Code::Internal, "The call failed by a mistake of this library.")
            } else {
                (Code::Cancelled, "The library was shut down.")
            };
            drop(self.report(Outcome::error(&Error::new(code, text))));
        }
    }
}
