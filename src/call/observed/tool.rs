//! One use of a tool, told when it is over.

use crate::client::Engine;
use crate::common::error::Result;
use crate::completion::outcome::{Facts, Outcome, info_json};
use crate::messages::Summary;
use crate::messages::request::{Request, Streaming};
use crate::meter;
use crate::meter::scope::Scope;
use std::sync::Arc;
use std::time::SystemTime;

/// revenium_tool_event(). The outcome tells of the record.
pub fn tool_event(engine: &Engine, text: &str, scope: Option<Arc<Scope>>) -> Result<Outcome> {
    let scope = scope.unwrap_or_default();
    let request = Request::parse_within("{}", Streaming::AsRequested, &scope.choices)?;
    let metering = engine.metering(&request, &scope, None)?;
    let source = &engine.settings.middleware_source;
    let event = meter::tool_event(text, &metering.metadata, metering.capture, source, SystemTime::now())?;
    let transaction_id = metering.account.as_ref().map(|_| event.record.transaction_id.clone());
    let span = engine.begin_span(&request, &scope);
    if let (Some(span), Some(telemetry)) = (&span, engine.telemetry()) {
        engine.start_export()?;
        telemetry.end_tool(span, &event, transaction_id.as_deref(), source);
    }
    if let Some(account) = &metering.account {
        engine.deliver_tool_event(account, event.record);
    }
    let facts = Facts { metered: transaction_id.is_some(), transaction_id, ..Facts::default() };
    Ok(Outcome::reply(info_json(None, &facts, None), Summary::default(), facts))
}
