//! A call that is over: its request, its reply and its times are told at once.

use super::ledger::Ledger;
use super::reply::ObservedReply;
use super::told::Told;
use super::{Observed, Seen};
use crate::common::error::Code;
use crate::completion::outcome::{Facts, Outcome, info_json};
use crate::messages::Summary;
use crate::meter::Times;
use std::time::{Duration, SystemTime};

/// The outcome tells of the record, and its usage is that of the reply. `ledger`: of the answers of batches.
pub fn record<'a>(told: &Told<'_>, observed: &Observed, ledger: impl FnOnce() -> &'a Ledger) -> Outcome {
    let mut reply = ObservedReply::new(usize::MAX);
    if let Some(bytes) = told.events.as_deref().or(told.response) {
        reply.push(bytes.as_bytes());
    }
    let provider = reply.provider();
    let read = reply.end(observed.body.is_some());
    let duration = told.duration.unwrap_or_default();
    let error = told.error.as_ref().or(read.fault.as_ref());
    let batch = told.batch.as_ref();
    let batch_id = batch.map(|batch| batch.transaction_id().unwrap_or_else(|| invented(read.summary.as_ref())));
    let seen = Seen {
        provider,
        streamed: told.streamed.or(observed.streamed).unwrap_or(read.was_streamed),
        times: Times {
            started: told
                .started_at
                .unwrap_or_else(|| SystemTime::now().checked_sub(duration).unwrap_or(SystemTime::now())),
            first_token: told.first_token,
            ended: duration,
        },
        summary: read.summary.as_ref(),
        error,
        batch: batch_id.as_deref(),
        message: read.message.as_deref(),
    };
    let transaction_id = match &batch_id {
        _ if told.unused => None,
        Some(id) => ledger().once(id, || observed.record(&seen)),
        None => observed.record(&seen),
    };
    outcome(told, read.summary, transaction_id, duration)
}

/// For a batch that does not say which request this was: the message's own id.
fn invented(summary: Option<&Summary>) -> String {
    let id = summary.and_then(|summary| summary.id.clone()).filter(|id| !id.trim().is_empty());
    id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string())
}

fn outcome(told: &Told<'_>, summary: Option<Summary>, transaction_id: Option<String>, duration: Duration) -> Outcome {
    let summary = summary.unwrap_or_default();
    let facts = Facts {
        model: summary.model.clone(),
        stop_reason: summary.stop_reason.clone(),
        metered: transaction_id.is_some(),
        transaction_id,
        duration,
        first_token: told.first_token,
        attempts: told.attempts,
        ..Facts::default()
    };
    Outcome::reply(info_json(Some(Code::Ok), &facts, None), summary, facts)
}
