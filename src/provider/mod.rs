//! PROVIDER: a request → a stream of response bytes. Knows nothing of metering.
//!
//! A provider is one implementation of [`Backend`], in a file or folder of its own, and one row in `others`; what it is
//! called everywhere is its row in `settings::provider`.

mod anthropic;
#[cfg(feature = "bedrock")]
pub mod bedrock;
#[cfg(not(feature = "bedrock"))]
#[path = "without_bedrock.rs"]
pub mod bedrock;
pub mod choice;
pub mod decoding;
mod failure;
mod head;
mod http_body;
mod others;
mod providers;

pub use crate::settings::Provider;
pub use anthropic::messages_url;
pub use failure::Failure;
pub use head::Head;
pub use others::look_again;
pub use providers::Providers;

use crate::common::error::Result;
use crate::common::http;
use crate::messages::Framing;
use crate::messages::request::Request;
use crate::settings::{Environment, Settings};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// A provider, ready to be asked. Nothing is looked for before the first call.
pub trait Backend: Send + Sync {
    /// `explicit`: somebody chose this provider, so that credentials may be looked for on the network. What fails here is
    /// not sent.
    fn prepare(self: Arc<Self>, request: &Request, explicit: bool, env: Environment<'_>) -> Result<Box<dyn Prepared>>;

    /// The same request as Anthropic itself takes it, for when this provider does not answer. `None`: it cannot or must
    /// not go there.
    fn for_direct(&self, _: &Request) -> Option<Direct> {
        None
    }
}

/// Another provider than Anthropic itself.
pub struct Other {
    pub provider: Provider,
    pub open: fn(&Arc<Settings>) -> Arc<dyn Backend>,
    /// Why it must not be asked, where the settings say so.
    pub barred: fn(&Settings) -> Option<&'static str>,
    /// Whether a base URL leads to it.
    pub is_at: fn(&str) -> bool,
    /// Whether its credentials lie about.
    pub has_credentials: fn(Environment<'_>) -> bool,
    /// What was found of them counts no more.
    pub look_again: fn(),
    pub reasons: Reasons,
}

/// Why it is asked, or is not, though nobody named it: to follow "because".
pub struct Reasons {
    pub calls_url: &'static str,
    pub base_url: &'static str,
    pub credentials: &'static str,
    pub no_credentials: &'static str,
}

/// A request for another provider, as the Messages API wants it.
pub struct Direct {
    pub body: Bytes,
    /// Beta features that the body named, to go into the header.
    pub betas: Vec<String>,
}

/// A request ready to be sent to its provider, any number of times, with the same bytes.
pub trait Prepared: Send + Sync {
    /// Who is asked.
    fn provider(&self) -> Provider;

    /// One attempt. `idle`: how long the provider may say nothing.
    fn send<'a>(&'a self, http: &'a http::Clients, attempt: u32, idle: Duration) -> BoxFuture<'a, Sent>;

    /// The provider's own name for the model, where it has one.
    fn model(&self) -> Option<&str> {
        None
    }

    /// The region that is asked, as far as it is known.
    fn region(&self) -> Option<&str> {
        None
    }

    /// Where requests go, as far as it is known.
    fn server(&self) -> Option<Server>;
}

/// How an attempt ended.
pub type Sent = std::result::Result<Reply, Failure>;

/// Where a provider is.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    pub host: String,
    pub port: u16,
}

/// A provider that answered with success: the head now, the bytes as they come.
pub struct Reply {
    pub head: Arc<Head>,
    pub body: Box<dyn Body>,
}

/// The bytes of a reply.
pub trait Body: Send {
    /// The next bytes; `None` at a clean end.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>>>;

    /// How many bytes are still to come, where the provider said so.
    fn length(&self) -> Option<u64> {
        None
    }

    /// How the bytes of a stream are cut into events.
    fn framing(&self) -> Framing;
}
