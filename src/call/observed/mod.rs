//! Calls that something else makes: what is known of one, and the record it leaves. Nothing is sent to a provider here,
//! and nothing waits for the network.
//!
//! `record` takes a call that is over, `tap` one whose reply passes by; `reply` reads that, `ending` how it ended.

mod ending;
pub mod ledger;
mod record;
mod reply;
mod tap;
mod told;
mod tool;

pub use record::record;
pub use tap::Tap;
pub use told::Told;
pub use tool::tool_event;

use super::{Context, Metering, outgoing};
use crate::common::error::{Code, Error};
use crate::messages::request::Request;
use crate::messages::{RequestFacts, Summary};
use crate::meter::capture::Prompts;
use crate::meter::{self, End, Times};
use crate::provider::Provider;
use crate::settings::{CallKey, Choices, ProviderChoice};
use crate::telemetry::{Answered, Begun};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A call of somebody else, as far as it is known before its reply.
pub struct Observed {
    context: Arc<Context>,
    facts: RequestFacts,
    metering: Metering,
    key: Option<CallKey>,
    /// Of the calls that have one.
    span: Option<Begun>,
    choices: Choices,
    /// The request, where it shall be recorded.
    body: Option<Bytes>,
    /// `None`: nobody said; the reply may.
    provider: Option<Provider>,
    /// The id or ARN that was called, where the body does not name it.
    model: Option<String>,
    region: Option<String>,
    streamed: Option<bool>,
}

impl Observed {
    /// `request`: what was told of it, read.
    pub fn new(
        context: Arc<Context>,
        told: &Told<'_>,
        mut request: Request,
        mut metering: Metering,
        span: Option<Begun>,
    ) -> Observed {
        context.counters.observed.fetch_add(1, Ordering::Relaxed);
        if let Some(over) = &told.metadata {
            metering.metadata = metering.metadata.overlay(over);
        }
        let chosen = request.choices.provider.and_then(ProviderChoice::provider);
        let provider = told.provider.or_else(|| told::provider_of(told.body())).or(chosen);
        if request.facts.model.is_empty() {
            request.facts.model.clone_from(&told.model.clone().unwrap_or_default());
        }
        Observed {
            context,
            key: if told.batch.is_some() { None } else { metering.next_key() },
            body: metering.capture.prompts.then_some(request.body),
            metering,
            span,
            choices: request.choices,
            provider,
            model: told.model.clone().or_else(|| Some(request.facts.model.clone()).filter(|model| !model.is_empty())),
            region: told.region.clone(),
            streamed: told.streamed.or(request.wants_stream.then_some(true)),
            facts: request.facts,
        }
    }

    /// Whether anybody wants to know what comes of it.
    fn is_watched(&self) -> bool {
        self.metering.account.is_some() || self.span.is_some()
    }

    /// Hand the call's records to delivery, and its span to telemetry. The main record's transaction id; `None`: it
    /// leaves none.
    fn record(&self, seen: &Seen<'_>) -> Option<String> {
        let retryable = seen.error.is_some_and(is_retryable);
        let account = self.metering.account.as_ref();
        if !self.is_watched() || retryable && self.choices.meter_retryable == Some(false) {
            self.key.iter().for_each(CallKey::give_back);
            return None;
        }
        let wanted = seen.error.is_none_or(|error| error.code == Code::Cancelled);
        let prompts = self.body.as_ref().filter(|_| wanted);
        let prompts = prompts.map(|body| Prompts::of(body, seen.message, seen.streamed, self.metering.capture));
        let provider = self.provider.or(seen.provider).unwrap_or(Provider::Anthropic);
        let estimated_output = seen.summary.filter(|_| seen.error.is_some()).and_then(|summary| {
            let model = summary.model.as_deref().or(self.model.as_deref()).unwrap_or_default();
            self.context.ratios.estimate(model, summary)
        });
        let call = meter::CallFacts {
            provider,
            request: &self.facts,
            metadata: &self.metering.metadata,
            streamed: seen.streamed,
            times: seen.times,
            summary: seen.summary,
            end: End::of(seen.error),
            called_model: self.model.as_deref(),
            region: self.region.as_deref(),
            batch: seen.batch,
            estimated_output,
            mark_unbilled_refusals: self.context.settings.mark_unbilled_refusals,
            prompts: prompts.as_ref(),
            capture: self.metering.capture,
            key: self.key.as_ref(),
            recent_ids: &self.context.recent_ids,
            middleware_source: &self.context.settings.middleware_source,
        };
        let records = if account.is_some() { meter::records(&call) } else { Vec::new() };
        let transaction_id = records.first().map(|record| record.transaction_id.clone());
        if let (Some(span), Some(telemetry)) = (&self.span, &self.context.telemetry) {
            telemetry.end(span, &call, &Answered { transaction_id: transaction_id.as_deref(), ..Answered::default() });
        }
        if let Some(account) = account {
            account.delivery.push(records.into_iter().map(outgoing));
        }
        transaction_id
    }
}

/// What was seen of a reply.
struct Seen<'a> {
    provider: Option<Provider>,
    streamed: bool,
    times: Times,
    summary: Option<&'a Summary>,
    error: Option<&'a Error>,
    batch: Option<&'a str>,
    /// The reply as one message.
    message: Option<&'a [u8]>,
}

/// Whether whoever made the call may well try again.
fn is_retryable(error: &Error) -> bool {
    match error.status().filter(|status| *status >= 400) {
        Some(status) => matches!(status, 408 | 409 | 429 | 500..),
        None => matches!(error.code, Code::Connection | Code::Timeout),
    }
}
