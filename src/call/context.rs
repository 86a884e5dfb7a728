//! What a call needs of whoever began it: what all calls of a client share, and what only the client can do.

use super::Call;
use crate::common::error::{Code, Result};
use crate::common::http;
use crate::completion::outcome::Outcome;
use crate::messages::request::Request;
use crate::meter::{Metadata, Ratios, RecentIds};
use crate::provider::{Prepared, Provider};
use crate::settings::{Settings, environment};
use crate::telemetry::Telemetry;
use once_cell::sync::OnceCell;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

/// What the calls of one client share.
pub struct Context {
    pub settings: Arc<Settings>,
    pub counters: Counters,
    /// Where the settings ask for spans.
    pub telemetry: Option<Arc<Telemetry>>,
    /// Transaction ids of this run's records.
    pub recent_ids: RecentIds,
    pub ratios: Ratios,
    http: OnceCell<http::Clients>,
}

#[derive(Default)]
pub struct Counters {
    /// Shared with delivery, which gives way to calls.
    pub in_flight: Arc<AtomicI64>,
    pub started: AtomicI64,
    pub failed: AtomicI64,
    /// Calls that something else made.
    pub observed: AtomicI64,
}

impl Context {
    pub fn new(settings: Arc<Settings>, telemetry: Option<Arc<Telemetry>>) -> Context {
        Context {
            settings,
            counters: Counters::default(),
            telemetry,
            recent_ids: RecentIds::default(),
            ratios: Ratios::default(),
            http: OnceCell::new(),
        }
    }

    /// They are made with the first call: a proxy that cannot be read refuses it.
    pub fn clients(&self) -> Result<&http::Clients> {
        self.http
            .get_or_try_init(|| http::clients(Duration::from_millis(self.settings.connect_timeout_ms), &environment))
    }

    /// How long a provider may say nothing.
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.settings.read_timeout_ms)
    }
}

/// Whoever began a call, as far as the call needs him.
pub trait Owner: Send + Sync {
    /// Something for callbacks lies in the call's inbox.
    fn schedule(&self, call: Arc<Call>);
    /// The same request for Anthropic itself, after `asked` could not answer it. `None`: it cannot or must not go there.
    fn direct_instead(&self, asked: Provider, request: &Request) -> Option<Box<dyn Prepared>>;
    /// A call has its outcome; its report follows.
    fn ended(&self, code: Code);
    /// A call's last report is out.
    fn reported(&self, call: &Call);
    /// The caller has the result of a call.
    fn finished(self: Arc<Self>, outcome: &Outcome, metadata: &Metadata);
}
