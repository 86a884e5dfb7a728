//! What this project's own command, tests and benchmarks use of the crate. No interface for anybody else: it changes with
//! them.

pub use crate::abi::{library, messages as abi_messages, result, types};
pub use crate::client::process::process;
pub use crate::client::status;
pub use crate::common::http;
pub use crate::common::log::redact;
pub use crate::completion::backpressure::Backpressure;
pub use crate::completion::queue::Queue;
pub use crate::delivery::{
    Cause, Delivery, Destination, Endpoint, Fate, Options, Outgoing, Reason, Row, completions_url,
};
pub use crate::messages::request::{Request, Streaming};
pub use crate::messages::{Batch, Framing, Reader, Summary};
pub use crate::meter::capture::{Capture, mask};
pub use crate::meter::{CallFacts, End, Metadata, RecentIds, Times, records};
pub use crate::platform::budget::{Budgets, Caller, Rules};
pub use crate::platform::{Platform, rules_url};
pub use crate::provider::choice::choose;
pub use crate::provider::decoding::Decoder;
pub use crate::provider::messages_url;
pub use crate::settings::{AuthHeader, Credential, Provider, Settings, choices_markdown, environment, table_markdown};
pub use crate::telemetry::{Answered, Telemetry};

pub mod journal {
    pub use crate::delivery::journal::{
        Contents, Folder, Found, Look, Options, delete, fingerprint, fingerprints, hand_over, is_fingerprint, look,
        probe,
    };
}
