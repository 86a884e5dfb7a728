//! Calls that something else makes: what is known of one, and the record it leaves. Nothing is sent to a provider here,
//! and nothing waits for the network.
//!
//! `record` takes a call that is over, `tap` one whose reply passes by; `reply` reads that, `ending` how it ended.

mod ending;
pub mod record;
mod reply;
pub mod tap;
mod told;
pub mod tool;

use self::told::Told;
use crate::client::{Engine, Metering};
use crate::common::error::{Code, Error, Result};
use crate::messages::Summary;
use crate::messages::request::{Choices, Request, Streaming};
use crate::meter::capture::Prompts;
use crate::meter::scope::Scope;
use crate::meter::{self, End, RequestFacts, Service, Times};
use bytes::Bytes;
use std::sync::Arc;

/// A call of somebody else, as far as it is known before its reply.
struct Observed {
    engine: Arc<Engine>,
    facts: RequestFacts,
    metering: Metering,
    choices: Choices,
    /// The request, where it shall be recorded.
    body: Option<Bytes>,
    /// `None`: nobody said; the reply may.
    service: Option<Service>,
    /// The id or ARN that was called, where the body does not name it.
    model: Option<String>,
    region: Option<String>,
    streamed: Option<bool>,
}

impl Observed {
    fn new(engine: Arc<Engine>, told: &Told<'_>, scope: Option<Arc<Scope>>) -> Result<Observed> {
        let scope = scope.unwrap_or_default();
        let body = told.request.unwrap_or("{}");
        let mut request = Request::parse_within(body, Streaming::AsRequested, &scope.choices)?;
        engine.mistrust(&mut request, &scope)?;
        let mut metering = engine.metering(&request, &scope, told.region.as_deref())?;
        if let Some(over) = &told.metadata {
            metering.metadata = metering.metadata.overlay(over);
        }
        let service =
            told.service.or_else(|| told::service_of(body)).or(request.choices.provider.and_then(told::chosen));
        if request.facts.model.is_empty() {
            request.facts.model.clone_from(&told.model.clone().unwrap_or_default());
        }
        Ok(Observed {
            engine,
            body: metering.capture.prompts.then_some(request.body),
            metering,
            choices: request.choices,
            service,
            model: told.model.clone().or_else(|| Some(request.facts.model.clone()).filter(|model| !model.is_empty())),
            region: told.region.clone(),
            streamed: told.streamed.or(request.wants_stream.then_some(true)),
            facts: request.facts,
        })
    }

    /// Hand the call's records to delivery. The main record's transaction id; `None`: it leaves none.
    fn record(&self, seen: &Seen<'_>) -> Option<String> {
        let retryable = seen.error.is_some_and(is_retryable);
        let account = self.metering.account.as_ref()?;
        if retryable && self.choices.meter_retryable == Some(false) {
            if let Some(key) = &self.metering.key {
                key.give_back();
            }
            return None;
        }
        let wanted = seen.error.is_none_or(|error| error.code == Code::Cancelled);
        let prompts = self.body.as_ref().filter(|_| wanted);
        let prompts = prompts.map(|body| Prompts::of(body, seen.message, seen.streamed, self.metering.capture.limit));
        let service = self.service.or(seen.service).unwrap_or(Service::Anthropic);
        let estimated_output = seen.summary.filter(|_| seen.error.is_some()).and_then(|summary| {
            let model = summary.model.as_deref().or(self.model.as_deref()).unwrap_or_default();
            self.engine.ratios.estimate(model, summary)
        });
        let records = meter::records(&meter::Call {
            service,
            request: &self.facts,
            metadata: &self.metering.metadata,
            streamed: seen.streamed,
            times: seen.times,
            summary: seen.summary,
            end: End::of(seen.error),
            bedrock_model: self.model.as_deref(),
            region: self.region.as_deref(),
            batch: seen.batch,
            estimated_output,
            mark_unbilled_refusals: self.engine.settings.mark_unbilled_refusals,
            prompts: prompts.as_ref(),
            capture: self.metering.capture,
            key: self.metering.key.as_ref(),
            recent_ids: &self.engine.recent_ids,
            middleware_source: &self.engine.settings.middleware_source,
        });
        let transaction_id = records.first().map(|record| record.transaction_id.clone());
        self.engine.deliver_now(account, records);
        transaction_id
    }
}

/// What was seen of a reply.
struct Seen<'a> {
    service: Option<Service>,
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
