//! Tool events: `POST .../meter/v2/tool/events`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use parking_lot::Mutex;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Handled, Refusal, Shared, answer};
use crate::collector::valid_key;
use crate::state::now_ms;

#[derive(Default)]
pub struct ToolEvents(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    events: Vec<Arc<Event>>,
    /// By account and Idempotency-Key.
    by_key: HashMap<(String, String), Arc<Event>>,
}

struct Event {
    key: String,
    body: Bytes,
    received_at_ms: u64,
}

impl ToolEvents {
    pub fn len(&self) -> usize {
        self.0.lock().events.len()
    }

    /// As `GET /sandbox/tool-events` shows them.
    pub fn all(&self) -> Vec<Value> {
        let events = self.0.lock().events.clone();
        let shown = |event: &Arc<Event>| {
            let body: Value = serde_json::from_slice(&event.body).unwrap_or_default();
            json!({"body": body, "idempotency_key": event.key, "received_at_ms": event.received_at_ms})
        };
        events.iter().map(shown).collect()
    }

    pub(super) fn forget(&self) {
        *self.0.lock() = Inner::default();
    }
}

pub(super) async fn create(State(sandbox): Shared, headers: HeaderMap, body: Bytes) -> Handled {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (account, key) = (text("x-api-key"), text("idempotency-key"));
    if !valid_key(&key) {
        let message = "Idempotency-Key must be 1 to 255 characters from '!' to '~'";
        return Err(Refusal::new(400, "invalid_idempotency_key", message));
    }
    let event: Value = serde_json::from_slice(&body)
        .map_err(|problem| Refusal::new(400, "invalid_body", &format!("the body is not JSON: {problem}")))?;
    check(&event).map_err(|problem| Refusal::new(400, "invalid_event", problem))?;
    let mut inner = sandbox.platform.tool_events.0.lock();
    if let Some(first) = inner.by_key.get(&(account.clone(), key.clone())) {
        return if first.body == body {
            Ok(answer(201, json!({"resourceType": "metering"})))
        } else {
            Err(Refusal::new(409, "idempotency_key_mismatch", "this Idempotency-Key was used for another body"))
        };
    }
    let kept = Arc::new(Event { key: key.clone(), body, received_at_ms: now_ms() });
    inner.by_key.insert((account, key.clone()), kept.clone());
    inner.events.push(kept.clone());
    let number = inner.events.len();
    drop(inner);
    sandbox.feed.push(&json!({"kind": "tool", "n": number, "at": kept.received_at_ms, "key": key, "body": event}));
    Ok(answer(201, json!({"resourceType": "metering"})))
}

/// What the API demands of an event.
fn check(event: &Value) -> Result<(), &'static str> {
    let text = |name: &str| event[name].as_str().filter(|text| !text.is_empty());
    text("toolId").ok_or("toolId is required")?;
    let timestamp = text("timestamp").ok_or("timestamp is required")?;
    OffsetDateTime::parse(timestamp, &Rfc3339).map_err(|_| "timestamp must be an ISO 8601 time with its zone")?;
    let whole = |name: &str| event.get(name).is_none_or(|value| value.is_null() || value.is_u64());
    let flag = |name: &str| event.get(name).is_none_or(|value| value.is_null() || value.is_boolean());
    match (whole("durationMs"), flag("success")) {
        (false, _) => Err("durationMs must be a whole number"),
        (_, false) => Err("success must be true or false"),
        _ => Ok(()),
    }
}
