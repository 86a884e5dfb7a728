//! A call's way from its first attempt to its report.

use super::attempt::answered;
use super::reply::{Arrived, Form, begin, stream, whole};
use super::settle::settle;
use super::{Job, Progress, Unfinished};
use crate::common::error::{Code, Error, Result};
use crate::common::log;
use crate::common::patience::yield_once;
use crate::completion::outcome::{Facts, Outcome};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// Run `job` to its end.
pub async fn run(unfinished: Unfinished, job: Job) {
    let Unfinished { context, owner, call } = &unfinished;
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
    let ended = tokio::select! {
        biased;
        () = call.until_cancelled() => Err(Error::new(Code::Cancelled, "The call was cancelled.")),
        ended = drive(&unfinished, &job, &mut progress) => ended,
        () = after(job.timeout) => Err(Error::new(Code::Timeout, "The call took longer than its timeout.")),
    };
    let (outcome, pushing) = settle(context, &job, progress, ended);
    if let Some((account, pushing)) = pushing {
        if context.counters.in_flight.load(Ordering::Relaxed) > 1 {
            // Calls that end at the same time share a commit.
            yield_once().await;
        }
        account.delivery.finish_push(pushing).await;
    }
    log::debug!(
        "call {}: {} after {} ms and {} attempts, {}",
        call.number,
        outcome.code.name(),
        outcome.facts.duration.as_millis(),
        outcome.facts.attempts,
        if job.metering.account.is_some() { "metered" } else { "not metered" }
    );
    // The record is safe by now; its way to Revenium starts after the caller has the result.
    let wake = unfinished.report(outcome);
    if call.target.is_shared() {
        yield_once().await;
    }
    drop(wake);
    if let Some(outcome) = call.outcome() {
        owner.clone().finished(outcome, &job.metering.metadata);
    }
}

/// Run something other than a message: what it gives is the call's result. Nothing of it is metered.
pub async fn run_other(unfinished: Unfinished, timeout: Option<Duration>, work: impl Future<Output = Other>) {
    let Unfinished { call, .. } = &unfinished;
    let clock = Instant::now();
    let ended = |code, text| Other { result: Err(Error::new(code, text)), attempts: 0 };
    let Other { result, attempts } = tokio::select! {
        biased;
        () = call.until_cancelled() => ended(Code::Cancelled, "The call was cancelled."),
        other = work => other,
        () = after(timeout) => ended(Code::Timeout, "The call took longer than its timeout."),
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

/// Without a limit: never.
async fn after(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

async fn drive(unfinished: &Unfinished, job: &Job, progress: &mut Progress) -> Result<Arrived> {
    let Unfinished { context, call, .. } = unfinished;
    let mut reply = answered(unfinished, job, progress).await?;
    if !job.request.streamed {
        return whole(context, reply, &[]).await;
    }
    let mut wake = call.target.head(call, &reply.head)?;
    let (start, form) = begin(context, &mut reply, &mut wake).await?;
    if form == Form::Json {
        log::warn!("the provider answered a streamed request with one JSON document; there are no events for it");
        return whole(context, reply, &start).await;
    }
    stream(context, call, progress, reply, wake, start).await
}
