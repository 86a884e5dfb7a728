//! METER: the facts of one call become the records that go to Revenium.
//!
//! Pure: no I/O, no clock, no runtime. `metadata` reads what the user tells about the call
//! (`fields` is the table of what can be told, `value` how it is read), `record` writes it all down.

pub mod capture;
mod ending;
mod estimate;
mod fields;
mod metadata;
mod misspelt;
mod model;
mod recent;
mod record;
pub mod scope;
mod subscriber;
mod time;
mod tool;
mod value;

use crate::common::error::{Code, Error};
use crate::messages::{RequestFacts, Summary};
use crate::settings::{CallKey, Provider};
use std::time::{Duration, SystemTime};

pub use ending::error_reason;
pub use estimate::Ratios;
pub use metadata::{Attribution, Metadata, Told};
pub use recent::RecentIds;
pub use record::records;
pub use tool::{Event as ToolEvent, event as tool_event};

/// When things happened. The durations count from `started`.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub started: SystemTime,
    /// The first `content_block_delta` of a stream.
    pub first_token: Option<Duration>,
    pub ended: Duration,
}

/// How the call ended for its caller.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    Complete,
    Cancelled,
    Failed(&'a Error),
}

impl<'a> End<'a> {
    pub fn of(error: Option<&'a Error>) -> End<'a> {
        match error {
            None => End::Complete,
            Some(error) if error.code == Code::Cancelled => End::Cancelled,
            Some(error) => End::Failed(error),
        }
    }
}

/// Everything a record says about one call.
pub struct CallFacts<'a> {
    /// Who answered.
    pub provider: Provider,
    pub request: &'a RequestFacts,
    /// The layers already laid over one another: call over scope over environment.
    pub metadata: &'a Metadata,
    pub streamed: bool,
    pub times: Times,
    /// `None`: nothing of a reply arrived.
    pub summary: Option<&'a Summary>,
    pub end: End<'a>,
    /// The provider's own name for the model: a Bedrock id or ARN.
    pub called_model: Option<&'a str>,
    /// The region really called; recorded when the metadata names none.
    pub region: Option<&'a str>,
    /// The output tokens of a reply that broke off, where they had to be estimated.
    pub estimated_output: Option<i64>,
    /// Say of a refusal before any output, which Anthropic does not bill, that it is not billed.
    pub mark_unbilled_refusals: bool,
    /// One answer of a Message Batch: its transaction id, made of the batch's id and the request's own.
    pub batch: Option<&'a str>,
    /// What it was about, where the host wants that recorded.
    pub prompts: Option<&'a capture::Prompts>,
    pub capture: capture::Capture,
    /// The idempotency key that the host chose.
    pub key: Option<&'a CallKey>,
    /// A message id that is among these gets a suffix.
    pub recent_ids: &'a RecentIds,
    /// Which binding asked: `revenium-anthropic-c`, `-cpp`, `-go`, `-node`, `-python`.
    pub middleware_source: &'a str,
}

/// One record, frozen: these bytes and this key go out on every attempt, because Revenium
/// answers 409 to a known key with other bytes.
#[derive(Clone)]
pub struct Record {
    pub idempotency_key: String,
    pub body: Vec<u8>,
    pub transaction_id: String,
}
