//! Calls that something else makes, and uses of tools: what this client has to do with them.

use super::Client;
use crate::call::observed::{Observed, Tap, Told, record, tool_event};
use crate::common::error::Result;
use crate::completion::outcome::Outcome;
use crate::messages::request::{Request, Streaming};
use crate::meter::scope::Scope;
use std::sync::Arc;

impl Client {
    /// revenium_record()
    pub fn record(&self, text: &str, scope: Option<Arc<Scope>>) -> Result<Outcome> {
        let told = Told::parse_over(text)?;
        let observed = self.observe(&told, scope)?;
        Ok(record(&told, &observed, || self.ledger()))
    }

    /// revenium_tap_new()
    pub fn tap(&self, text: &str, scope: Option<Arc<Scope>>) -> Result<Tap> {
        let told = Told::parse_begun(text)?;
        Ok(Tap::new(self.observe(&told, scope)?, &told))
    }

    /// revenium_tool_event()
    pub fn tool_event(&self, text: &str, scope: Option<Arc<Scope>>) -> Result<Outcome> {
        let scope = scope.unwrap_or_default();
        let request = Request::parse_within("{}", Streaming::AsRequested, &scope.choices)?;
        let metering = self.metering(&request, &scope, None)?;
        let span = self.begin_span(&request, &scope)?;
        tool_event(&self.context, text, &metering, span.as_ref())
    }

    fn observe(&self, told: &Told<'_>, scope: Option<Arc<Scope>>) -> Result<Observed> {
        let scope = scope.unwrap_or_default();
        let mut request = Request::parse_within(told.body(), Streaming::AsRequested, &scope.choices)?;
        self.mistrust(&mut request, &scope)?;
        let metering = self.metering(&request, &scope, told.region.as_deref())?;
        // An answer of a batch is no call: nobody waited for it.
        let span = if told.batch.is_some() { None } else { self.begin_span(&request, &scope)? };
        Ok(Observed::new(self.context.clone(), told, request, metering, span))
    }
}
