//! The state of the library: what revenium_status() and revenium_status_json() tell.

use crate::client::Client;
use crate::client::process::process;
use crate::common::error::{Code, Error, Result};
use crate::delivery::{Circuit, Counts, SpoolState};
pub use crate::provider::Provider;
use crate::provider::choice::{Choice, choose};
use crate::settings::{Settings, environment};
use crate::telemetry;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeteringState {
    /// No key.
    Off,
    On,
    Selective,
}

/// A look at the library, running or not.
pub struct Status {
    pub initialized: bool,
    /// Who would be asked by a call without its own choice.
    pub provider: Choice,
    pub metering: MeteringState,
    pub calls_in_flight: i64,
    pub calls_started: i64,
    pub calls_failed: i64,
    /// Calls that something else made.
    calls_observed: i64,
    pub delivery: Counts,
    /// Log and metering frames that found their queue full of them.
    notices_dropped: usize,
    spool: Option<SpoolState>,
    /// `None`: the library does not run.
    budgets: Option<Value>,
    /// Where spans go, and what became of them.
    spans: Option<(String, telemetry::Counts)>,
    settings: Arc<Settings>,
}

/// Before the start: what a start from the environment would give. After shutdown: E_CLOSED.
pub fn status() -> Result<Status> {
    if let Some(client) = process().running() {
        return Ok(of(&client));
    }
    if process().is_closed() {
        return Err(Error::new(Code::Closed, "The library was shut down."));
    }
    let (settings, _) = Settings::load(None, &environment)?;
    Ok(Status {
        initialized: false,
        provider: choose(&settings, None, &environment),
        metering: metering(&settings, settings.metering_key(&environment).is_some()),
        calls_in_flight: 0,
        calls_started: 0,
        calls_failed: 0,
        calls_observed: 0,
        delivery: Counts::default(),
        notices_dropped: notices_dropped(),
        spool: configured_spool(&settings),
        budgets: None,
        spans: None,
        settings: Arc::new(settings),
    })
}

/// Whether a call made now would be metered, selective metering apart.
pub fn would_meter() -> bool {
    status().is_ok_and(|status| status.metering != MeteringState::Off)
}

fn of(client: &Client) -> Status {
    let counter = |counter: &std::sync::atomic::AtomicI64| counter.load(Ordering::Relaxed);
    Status {
        initialized: client.is_used(),
        provider: choose(&client.context.settings, None, &environment),
        metering: metering(&client.context.settings, client.has_metering_key()),
        calls_in_flight: counter(&client.context.counters.in_flight),
        calls_started: counter(&client.context.counters.started),
        calls_failed: counter(&client.context.counters.failed),
        calls_observed: counter(&client.context.counters.observed),
        delivery: client.delivery_counts(),
        notices_dropped: notices_dropped(),
        spool: client.spool_state().or_else(|| configured_spool(&client.context.settings)),
        budgets: Some(client.budgets.status()),
        spans: client.context.telemetry.as_ref().map(|telemetry| (telemetry.endpoint().to_owned(), telemetry.counts())),
        settings: client.context.settings.clone(),
    }
}

fn spans(endpoint: &str, counts: &telemetry::Counts) -> Value {
    let dropped = &counts.dropped;
    json!({
        "endpoint": endpoint,
        "pending": counts.pending,
        "pending_bytes": counts.pending_bytes,
        "exported": counts.exported,
        "rejected": counts.rejected,
        "dropped": dropped.total(),
        "dropped_by": {
            "queue_full": dropped.queue_full,
            "refused": dropped.refused,
            "expired": dropped.expired,
            "shutdown": dropped.shutdown,
        },
        "circuit": if counts.circuit_open { "open" } else { "closed" },
        "last_error": counts.last_error,
    })
}

fn notices_dropped() -> usize {
    process().handles.queues().iter().map(|queue| queue.dropped_notices()).sum()
}

fn configured_spool(settings: &Settings) -> Option<SpoolState> {
    settings.spool_directory(&environment).map(|directory| SpoolState { directory, trouble: None })
}

fn metering(settings: &Settings, has_key: bool) -> MeteringState {
    match (has_key, settings.selective_metering) {
        (false, _) => MeteringState::Off,
        (true, true) => MeteringState::Selective,
        (true, false) => MeteringState::On,
    }
}

impl Status {
    pub fn to_json(&self) -> Value {
        let counts = &self.delivery;
        let metering = match self.metering {
            MeteringState::Off => "off: no Revenium key",
            MeteringState::On => "on",
            MeteringState::Selective => "selective",
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "initialized": self.initialized,
            "provider": self.provider.provider.name(),
            "provider_reason": self.provider.reason,
            "metering": metering,
            "calls": {
                "in_flight": self.calls_in_flight,
                "started": self.calls_started,
                "failed": self.calls_failed,
                "observed": self.calls_observed,
            },
            "events": {
                "pending": counts.pending,
                "pending_bytes": counts.pending_bytes,
                "oldest_age_ms": counts.oldest_age_ms,
                "spooled_bytes": counts.spooled_bytes,
                "delivered": counts.delivered,
                "retried": counts.retried,
                "refused": counts.refused,
                "dropped": counts.dropped,
                "dropped_by": {
                    "queue_full": counts.dropped_by.queue_full,
                    "refused": counts.dropped_by.refused,
                    "expired": counts.dropped_by.expired,
                    "shutdown": counts.dropped_by.shutdown,
                    "spool_full": counts.dropped_by.spool_full,
                    "corrupt": counts.dropped_by.corrupt,
                },
                "circuit": match counts.circuit { Circuit::Closed => "closed", Circuit::Open => "open" },
            },
            "notices_dropped": self.notices_dropped,
            "spool": match &self.spool {
                None => json!("off: records are in memory only"),
                Some(spool) => json!({
                    "directory": spool.directory,
                    "usable": spool.trouble.is_none(),
                    "trouble": spool.trouble,
                }),
            },
            "budgets": self.budgets,
            "spans": self.spans.as_ref().map(|(endpoint, counts)| spans(endpoint, counts)),
            "last_error": counts.last_error.as_ref().map(|error| json!({
                "code": error.code.name(),
                "http_status": error.http_status,
                "message": error.message,
                "seconds_ago": SystemTime::now().duration_since(error.at).map_or(0, |age| age.as_secs()),
            })),
            "settings": self.settings.in_force(),
        })
    }
}
