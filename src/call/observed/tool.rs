//! One use of a tool, told when it is over.

use crate::call::{Context, Metering, outgoing};
use crate::common::error::Result;
use crate::completion::outcome::{Facts, Outcome, info_json};
use crate::delivery::{Endpoint, Outgoing};
use crate::messages::Summary;
use crate::meter;
use crate::telemetry::Begun;
use std::time::SystemTime;

/// The outcome tells of the record.
pub fn tool_event(context: &Context, text: &str, metering: &Metering, span: Option<&Begun>) -> Result<Outcome> {
    let source = &context.settings.middleware_source;
    let event = meter::tool_event(text, &metering.metadata, metering.capture, source, SystemTime::now())?;
    let transaction_id = metering.account.as_ref().map(|_| event.record.transaction_id.clone());
    if let (Some(span), Some(telemetry)) = (span, &context.telemetry) {
        telemetry.end_tool(span, &event, transaction_id.as_deref(), source);
    }
    if let Some(account) = &metering.account {
        // Tool events have a place of their own at Revenium.
        account.delivery.push([Outgoing { endpoint: Endpoint::TOOL_EVENTS, ..outgoing(event.record) }]);
    }
    let facts = Facts { metered: transaction_id.is_some(), transaction_id, ..Facts::default() };
    Ok(Outcome::reply(info_json(None, &facts, None), Summary::default(), facts))
}
