//! Whether a call is metered, for whom, and what its record tells.

use super::Client;
use crate::call::Metering;
use crate::common::error::Result;
use crate::common::log;
use crate::delivery::{self, Account, Destination};
use crate::messages::request::Request;
use crate::meter::Metadata;
use crate::meter::capture::Capture;
use crate::meter::scope::Scope;
use crate::settings::{Choices, environment};
use crate::telemetry;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Client {
    /// What a call of `request` has to do with metering. `region`: that is called, where it is known.
    pub(super) fn metering(&self, request: &Request, scope: &Scope, region: Option<&str>) -> Result<Metering> {
        let choices = &request.choices;
        let metered = self.has_key(choices) && self.wants_record(request, scope);
        let account = if metered { self.account(choices)? } else { None };
        let mut metadata = self.metadata(request, scope, region);
        let settings = &self.context.settings;
        if let Some(trace) = choices.trace.as_ref().filter(|_| account.is_some() && settings.trace_id_from_context) {
            // Where nobody names another, the trace joins the record with what else was traced.
            metadata = Metadata::from_pairs([("traceId", &*trace.trace_id.to_string())]).overlay(&metadata);
        }
        let content = self.context.telemetry.is_some() && settings.otlp_content;
        Ok(Metering {
            metadata,
            capture: Capture {
                // Where neither a record nor a span has them, nobody reads them.
                prompts: (account.is_some() || content) && choices.capture_prompts.unwrap_or(settings.capture_prompts),
                error_messages: choices.capture_error_messages.unwrap_or(settings.capture_error_messages),
                blocks: content,
                limit: choices.max_prompt_size.unwrap_or(settings.max_prompt_size),
            },
            idempotency_key: choices.idempotency_key.clone().filter(|_| account.is_some()),
            account,
        })
    }

    /// Environment, settings, scope and call, merged.
    pub(super) fn metadata(&self, request: &Request, scope: &Scope, region: Option<&str>) -> Metadata {
        let metadata = match region {
            // The environment tells of another region than the one that is called.
            Some(region) if self.context.settings.aws_region.as_deref() != Some(region) => {
                self.base_metadata.overlay(&Metadata::from_pairs([("region", region)])).overlay(&scope.metadata)
            }
            _ => self.base_metadata.overlay(&scope.metadata),
        };
        match &request.metadata {
            Some(over) => metadata.overlay(&Metadata::from_json(over)),
            None => metadata,
        }
    }

    /// Whose records they are. `None`: without a way to Revenium the call goes on unmetered.
    fn account(&self, choices: &Choices) -> Result<Option<Account>> {
        if choices.metering_api_key.is_none() && choices.metering_base_url.is_none() {
            return Ok(self.delivery().ok().cloned().map(Account::new));
        }
        let url = match &choices.metering_base_url {
            Some(base) => delivery::completions_url(base)?.0,
            None => self.metering_url.clone(),
        };
        let own = || Some(self.context.settings.metering_key(&environment)?.expose().to_owned());
        let Some(key) = choices.metering_api_key.clone().or_else(own) else { return Ok(None) };
        let destination = Destination { url, key };
        if self.destination().is_ok_and(|ours| *ours == destination) {
            return Ok(self.delivery().ok().cloned().map(Account::new));
        }
        self.accounts.get(destination, |destination| self.new_delivery(Arc::new(destination))).map(Some)
    }

    /// Whether this call is one to be metered, if there is a key, judged when it starts.
    pub(super) fn wants_record(&self, request: &Request, scope: &Scope) -> bool {
        if request.choices.meter == Some(false) {
            return false;
        }
        let marked = scope.meter || request.choices.meter == Some(true);
        if self.context.settings.selective_metering && !marked {
            if self.has_key(&request.choices) && !self.skipped_before.swap(true, Ordering::Relaxed) {
                log::info!("selective metering is on: calls outside a metered scope are not metered");
            }
            return false;
        }
        true
    }

    /// The span of a call that leaves a record. An SDK that calls through us makes one of its own: one for each call is
    /// enough.
    pub(super) fn begin_span(&self, request: &Request, scope: &Scope) -> Result<Option<telemetry::Begun>> {
        let Some(telemetry) = self.context.telemetry.as_ref().filter(|_| self.wants_record(request, scope)) else {
            return Ok(None);
        };
        if request.choices.dropin == Some(true) && !self.context.settings.otlp_dropin {
            return Ok(None);
        }
        let begun = telemetry.begin(request.choices.trace.as_ref(), self.has_key(&request.choices));
        if begun.is_some() {
            telemetry.start(self.runtime()?, &self.context.clients()?.metering);
        }
        Ok(begun)
    }

    fn has_key(&self, choices: &Choices) -> bool {
        choices.metering_api_key.is_some() || self.has_metering_key()
    }

    pub fn has_metering_key(&self) -> bool {
        self.delivery.get().is_some() || self.context.settings.metering_key(&environment).is_some()
    }
}
