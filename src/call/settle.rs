//! The end of a call: its outcome, the record it leaves, its span.

use super::reply::Arrived;
use super::{Context, Job, Progress, outgoing};
use crate::common::error::{Code, Error, Result};
use crate::completion::outcome::{Facts, Outcome};
use crate::delivery::{Account, Pushing};
use crate::messages::{Reader, Summary, Written};
use crate::meter::capture::Prompts;
use crate::meter::{self, End, Times};
use crate::settings::CallKey;
use crate::telemetry::Answered;
use std::borrow::Cow;
use std::time::Duration;

/// Meter the call and say how it ended. The caller has its result only after the record is safe.
pub(super) fn settle(
    context: &Context,
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
            && context.ratios.wants(model_of(job, summary))
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
        (Err(_), Some(summary)) => context.ratios.estimate(model_of(job, summary), summary),
        (Ok(_), Some(summary)) => {
            context.ratios.learn(model_of(job, summary), summary);
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
        Prompts::of(&request.body, json.as_deref(), request.wants_stream, job.metering.capture)
    });
    let seen = Seen { duration, summary, error, estimated_output, prompts: prompts.as_ref() };
    let (transaction_id, pushing) = record(context, job, &progress, &seen);
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
        (Err(error), message) => Outcome::failed(&error, message.as_ref(), facts, context.settings.quote_errors),
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
    context: &Context,
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
        job.key.iter().for_each(CallKey::give_back);
        return (None, None);
    }
    // Where another was asked instead, what was prepared says nothing of who answered.
    let asked = Some(&job.prepared).filter(|prepared| prepared.provider() == progress.provider);
    let call = meter::CallFacts {
        provider: progress.provider,
        request: &job.request.facts,
        metadata: &job.metering.metadata,
        streamed: job.request.wants_stream,
        times: Times { started: progress.started, first_token: progress.first_token, ended: seen.duration },
        summary: seen.summary,
        estimated_output: seen.estimated_output,
        mark_unbilled_refusals: context.settings.mark_unbilled_refusals,
        end: End::of(error),
        called_model: asked.and_then(|asked| asked.model()),
        region: asked.and_then(|asked| asked.region()),
        batch: None,
        prompts: seen.prompts,
        capture: job.metering.capture,
        key: job.key.as_ref(),
        recent_ids: &context.recent_ids,
        middleware_source: &context.settings.middleware_source,
    };
    let records = if account.is_some() { meter::records(&call) } else { Vec::new() };
    let transaction_id = records.first().map(|record| record.transaction_id.clone());
    if let (Some(span), Some(telemetry)) = (&job.span, &context.telemetry) {
        let head = progress.head.as_deref();
        let answered = Answered {
            transaction_id: transaction_id.as_deref(),
            server: progress.server.as_ref().map(|server| (server.host.as_str(), server.port)),
            request_id: head.map(|head| head.request_id.as_str()),
            organization_id: head.and_then(|head| head.header("anthropic-organization-id")),
        };
        telemetry.end(span, &call, &answered);
    }
    (
        transaction_id,
        account.map(|account| (account.clone(), account.delivery.begin_push(records.into_iter().map(outgoing)))),
    )
}
