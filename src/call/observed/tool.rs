//! One use of a tool, told when it is over.

use crate::call::{Metering, outgoing};
use crate::common::error::Result;
use crate::completion::outcome::{Facts, Outcome, info_json};
use crate::delivery::{Endpoint, Outgoing};
use crate::messages::Summary;
use crate::meter;
use std::time::SystemTime;

/// The outcome tells of the record. `source`: what made it, by name.
pub fn tool_event(text: &str, metering: &Metering, source: &str) -> Result<Outcome> {
    let record = meter::tool_event(text, &metering.metadata, metering.capture, source, SystemTime::now())?;
    let transaction_id = metering.account.as_ref().map(|account| {
        let id = record.transaction_id.clone();
        // Tool events have a place of their own at Revenium.
        account.delivery.push([Outgoing { endpoint: Endpoint::TOOL_EVENTS, ..outgoing(record) }]);
        id
    });
    let facts = Facts { metered: transaction_id.is_some(), transaction_id, ..Facts::default() };
    Ok(Outcome::reply(info_json(None, &facts, None), Summary::default(), facts))
}
