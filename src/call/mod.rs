//! One call from its start to its one result: attempts, deadlines, cancelling, and the record it leaves.

mod attempt;
pub mod observed;
mod reply;
mod silence;

use self::attempt::answered;
use self::reply::{Arrived, Form, begin, stream, whole};
use crate::client::accounts::Account;
use crate::client::handles::Registry;
use crate::client::process::core;
use crate::client::{Engine, Metering};
use crate::common::error::{Code, Error, Result};
use crate::common::log;
use crate::completion::callbacks;
use crate::completion::outcome::{Facts, Outcome, Text, info_json};
use crate::completion::queue::Queue;
use crate::completion::{Bell, Sink};
use crate::delivery::Pushing;
use crate::messages::request::Request;
use crate::messages::{Reader, Summary, Written};
use crate::meter::capture::Prompts;
use crate::meter::{self, End, Times};
use crate::provider::{Head, Prepared, Provider, Server};
use crate::telemetry::{Answered, Begun};
use once_cell::sync::OnceCell;
use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;

/// A call under way; once ended, its own result.
pub struct Call {
    pub number: u64,
    pub sink: Sink,
    engine: Weak<Engine>,
    /// Nobody holds its handle (any more): it leaves the registry when it has reported.
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
    pub fn new(engine: &Arc<Engine>, sink: Sink, owned: bool, metered: bool) -> Call {
        Call {
            number: Registry::next_number(),
            sink,
            engine: Arc::downgrade(engine),
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
        matches!(&self.sink, Sink::Queue { queue: ours, .. } if Arc::ptr_eq(ours, queue))
    }

    /// The last report is out.
    pub fn reported(&self) {
        self.reported.store(true, Ordering::SeqCst);
        if self.unowned.load(Ordering::SeqCst) {
            core().registry.remove(self.number);
        }
        if let Some(engine) = self.engine.upgrade() {
            engine.reported(self);
        }
    }

    /// Something for callbacks lies in the mailbox.
    pub fn schedule(self: &Arc<Self>) {
        if let Some(engine) = self.engine.upgrade() {
            engine.dispatchers.schedule(self.clone());
        }
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

impl callbacks::Dispatched for Call {
    fn number(&self) -> u64 {
        self.number
    }

    fn callbacks(&self) -> Option<&callbacks::Callbacks> {
        match &self.sink {
            Sink::Callbacks(callbacks) => Some(callbacks),
            _ => None,
        }
    }

    fn cancel(&self) {
        Call::cancel(self);
    }

    fn reported(&self) {
        Call::reported(self);
    }
}

/// What a call works on.
pub struct Job {
    pub request: Request,
    pub prepared: Prepared,
    pub metering: Metering,
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
    /// Why Bedrock did not answer, once Anthropic was asked instead.
    fallback: Option<Error>,
    head: Option<Arc<Head>>,
    /// Where it is, for the span.
    server: Option<Server>,
    reader: Option<Reader>,
    first_token: Option<Duration>,
}

/// A call that still owes its one report. Dropping it reports too: a panic or the end of the runtime swallows none.
pub struct Unfinished {
    pub engine: Arc<Engine>,
    pub call: Arc<Call>,
}

impl Unfinished {
    fn report(&self, outcome: Outcome) -> Option<Bell<'_>> {
        let outcome = Arc::new(outcome);
        self.call.outcome.set(outcome.clone()).ok()?;
        self.engine.ended(outcome.code);
        Some(self.call.sink.result(&self.call, outcome))
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

/// Run `job` to its end.
pub async fn run(unfinished: Unfinished, job: Job) {
    let Unfinished { engine, call } = &unfinished;
    let mut progress = Progress {
        started: SystemTime::now(),
        clock: Instant::now(),
        attempts: 0,
        retryable: false,
        provider: job.prepared.provider(),
        fallback: None,
        head: None,
        server: None,
        reader: None,
        first_token: None,
    };
    let deadline = async {
        match job.timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        biased;
        () = call.until_cancelled() => Err(Error::new(Code::Cancelled, "The call was cancelled.")),
        ended = drive(engine, call, &job, &mut progress) => ended,
        () = deadline => Err(Error::new(Code::Timeout, "The call took longer than its timeout.")),
    };
    let (outcome, pushing) = settle(engine, &job, progress, ended);
    if let Some((account, pushing)) = pushing {
        if engine.counters.in_flight.load(Ordering::Relaxed) > 1 {
            // Calls that end at the same time share a commit.
            turn().await;
        }
        engine.delivered(&account, pushing).await;
    }
    log::debug!(
        "call {}: {} after {} ms and {} attempts, {}",
        call.number,
        outcome.code.name(),
        outcome.facts.duration.as_millis(),
        outcome.facts.attempts,
        if job.metering.account.is_some() { "metered" } else { "not metered" }
    );
    let summary = engine.summary_of(&outcome, &job.metering.metadata);
    // The record is safe by now; its way to Revenium starts after the caller has the result.
    let bell = unfinished.report(outcome);
    if call.sink.is_shared() {
        turn().await;
    }
    drop(bell);
    if let Some(summary) = summary {
        engine.print_summary(summary);
    }
}

/// Run something other than a message: what it gives is the call's result. Nothing of it is metered.
pub async fn run_other(unfinished: Unfinished, timeout: Option<Duration>, work: impl Future<Output = Other>) {
    let Unfinished { call, .. } = &unfinished;
    let clock = Instant::now();
    let deadline = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let ended = |code, text| Other { result: Err(Error::new(code, text)), attempts: 0 };
    let Other { result, attempts } = tokio::select! {
        biased;
        () = call.until_cancelled() => ended(Code::Cancelled, "The call was cancelled."),
        other = work => other,
        () = deadline => ended(Code::Timeout, "The call took longer than its timeout."),
    };
    let facts = Facts { duration: clock.elapsed(), attempts, ..Facts::default() };
    let outcome = match result {
        Ok(json) => Outcome::document_with(json, facts),
        Err(error) => Outcome::failed(&error, None, facts, true),
    };
    drop(unfinished.report(outcome));
}

/// How something other than a message ended.
pub struct Other {
    /// JSON.
    pub result: Result<Vec<u8>>,
    pub attempts: u32,
}

/// Let everything that is ready have its turn. (Tokio's `yield_now` asks the kernel for news besides.)
async fn turn() {
    let mut had = false;
    poll_fn(|cx| match std::mem::replace(&mut had, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

async fn drive(engine: &Engine, call: &Arc<Call>, job: &Job, progress: &mut Progress) -> Result<Arrived> {
    let mut reply = answered(engine, call, job, progress).await?;
    if !job.request.streamed {
        return whole(engine, reply, &[]).await;
    }
    let mut bell = call.sink.head(call, &reply.head)?;
    let (start, form) = begin(engine, &mut reply, &mut bell).await?;
    if form == Form::Json {
        log::warn!("the provider answered a streamed request with one JSON document; there are no events for it");
        return whole(engine, reply, &start).await;
    }
    stream(engine, call, progress, reply, bell, start).await
}

/// Meter the call and say how it ended. The caller has its result only after the record is safe.
fn settle(
    engine: &Engine,
    job: &Job,
    mut progress: Progress,
    ended: Result<Arrived>,
) -> (Outcome, Option<(Account, Pushing)>) {
    let duration = progress.clock.elapsed();
    let message = progress.reader.take().map(Reader::into_message);
    // A message that never started is found only here.
    let ended = ended.and_then(|arrived| match arrived {
        Arrived::Whole(json, summary) => Ok((json, Some(summary))),
        Arrived::Streamed => match &message {
            Some(message) => Ok((message.to_json()?, None)),
            None => Err(Error::new(Code::Internal, "A stream ended that never began.")),
        },
    });
    let ended = ended.map(|(json, mut summary)| {
        if let Some(summary) = &mut summary
            && engine.ratios.wants(model_of(job, summary))
        {
            summary.written = Written::of(&json);
        }
        (json, summary)
    });
    let summary = match &ended {
        Ok((_, Some(summary))) => Some(&**summary),
        _ => message.as_ref().filter(|message| message.has_facts()).map(|message| message.summary()),
    };
    let estimated_output = match (&ended, summary) {
        (Err(_), Some(summary)) => engine.ratios.estimate(model_of(job, summary), summary),
        (Ok(_), Some(summary)) => {
            engine.ratios.learn(model_of(job, summary), summary);
            None
        }
        (_, None) => None,
    };
    // Of a stream that was cancelled, what had come.
    let partial = || message.as_ref().and_then(|message| message.to_json().ok());
    let error = ended.as_ref().err();
    // A failed call's record has none.
    let wanted = error.is_none_or(|error| error.code == Code::Cancelled);
    let prompts = (job.metering.capture.prompts && wanted).then(|| {
        let json = match &ended {
            Ok((json, _)) => Some(Cow::Borrowed(json.as_slice())),
            Err(_) => partial().map(Cow::Owned),
        };
        let request = &job.request;
        Prompts::of(&request.body, json.as_deref(), request.wants_stream, job.metering.capture.limit)
    });
    let seen = Seen { duration, summary, error, estimated_output, prompts: prompts.as_ref() };
    let (transaction_id, pushing) = record(engine, job, &progress, &seen);
    let facts = Facts {
        provider: Some(progress.provider),
        fallback: progress.fallback,
        head: progress.head,
        model: summary.and_then(|summary| summary.model.clone()),
        stop_reason: summary.and_then(|summary| summary.stop_reason.clone()),
        metered: transaction_id.is_some(),
        transaction_id,
        duration,
        first_token: progress.first_token,
        attempts: progress.attempts,
        estimated_output,
    };
    let outcome = match (ended, message) {
        (Ok((json, Some(summary))), _) => Outcome::reply(json, *summary, facts),
        (Ok((json, None)), Some(message)) => Outcome::streamed(json, message, facts),
        (Ok((json, None)), None) => Outcome::reply(json, Summary::default(), facts),
        (Err(error), message) => Outcome::failed(&error, message.as_ref(), facts, engine.settings.quote_errors),
    };
    (outcome, pushing)
}

/// What a record tells of a call's end.
struct Seen<'a> {
    duration: Duration,
    summary: Option<&'a Summary>,
    error: Option<&'a Error>,
    estimated_output: Option<i64>,
    prompts: Option<&'a Prompts>,
}

/// The model that answers, by its own name where it said so.
fn model_of<'a>(job: &'a Job, summary: &'a Summary) -> &'a str {
    summary.model.as_deref().unwrap_or(&job.request.facts.model)
}

/// Hand the call's records to delivery, and its span to telemetry. The main record's transaction id.
fn record(
    engine: &Engine,
    job: &Job,
    progress: &Progress,
    seen: &Seen<'_>,
) -> (Option<String>, Option<(Account, Pushing)>) {
    let error = seen.error;
    // A call of which nothing left this process is no use of anything; what AWS wants signed was not sent unsigned.
    let unsent = progress.attempts == 0 || error.is_some_and(|error| error.code == Code::Aws);
    let account = job.metering.account.as_ref();
    let is_tried_again = progress.retryable && error.is_some() && job.request.choices.meter_retryable == Some(false);
    if unsent || is_tried_again || account.is_none() && job.span.is_none() {
        if let Some(key) = &job.metering.key {
            key.give_back();
        }
        return (None, None);
    }
    let bedrock = match &job.prepared {
        Prepared::Bedrock(prepared) if progress.provider == Provider::Bedrock => Some(prepared),
        _ => None,
    };
    let call = meter::Call {
        service: progress.provider.into(),
        request: &job.request.facts,
        metadata: &job.metering.metadata,
        streamed: job.request.wants_stream,
        times: Times { started: progress.started, first_token: progress.first_token, ended: seen.duration },
        summary: seen.summary,
        estimated_output: seen.estimated_output,
        mark_unbilled_refusals: engine.settings.mark_unbilled_refusals,
        end: End::of(error),
        bedrock_model: bedrock.map(|prepared| prepared.model()),
        region: bedrock.and_then(|prepared| prepared.region()),
        batch: None,
        prompts: seen.prompts,
        capture: job.metering.capture,
        key: job.metering.key.as_ref(),
        recent_ids: &engine.recent_ids,
        middleware_source: &engine.settings.middleware_source,
    };
    let records = if account.is_some() { meter::records(&call) } else { Vec::new() };
    let transaction_id = records.first().map(|record| record.transaction_id.clone());
    if let (Some(span), Some(telemetry)) = (&job.span, engine.telemetry()) {
        let head = progress.head.as_deref();
        let answered = Answered {
            transaction_id: transaction_id.as_deref(),
            server: progress.server.as_ref().map(|server| (server.host.as_str(), server.port)),
            request_id: head.map(|head| head.request_id.as_str()),
            organization_id: head.and_then(|head| head.header("anthropic-organization-id")),
        };
        telemetry.end(span, &call, &answered);
    }
    (transaction_id, account.map(|account| (account.clone(), engine.deliver(account, records))))
}
