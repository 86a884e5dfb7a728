//! What became of a job: reported once, amended with the version it amends.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use super::jobs::{Job, with};
use super::{Handled, Refusal, Shared, answer};
use crate::state::rfc3339_in;

const STATUSES: &[&str] = &["SUCCESS", "FAILED", "CANCELLED"];
const TYPES: &[&str] = &["CONVERTED", "ESCALATED", "DEFLECTED", "UNSUCCESSFUL", "CUSTOM"];
#[rustfmt::skip]
const CURRENCIES: &[&str] =
    &["USD", "EUR", "CAD", "GBP", "JPY", "CNY", "MXN", "COP", "ARS", "ZMW", "AUD", "ZWG"];
/// The API ignores any other member without a word.
const MEMBERS: &[&str] =
    &["executionStatus", "outcomeType", "outcomeValue", "outcomeCurrency", "outcomeReason", "metadata", "reportedBy"];

pub(super) async fn report(State(sandbox): Shared, Path(id): Path<String>, Json(body): Json<Value>) -> Handled {
    let told = known(&body)?;
    let done = with(&sandbox, &id, |job| {
        if !job.outcome.is_empty() {
            let details = json!({
                "guidance": "Use PATCH to amend it",
                "reportedAt": job.outcome.get("reportedAt"),
                "updateCount": job.history.len().saturating_sub(1),
                "currentEntityVersion": job.version(),
            });
            return Err(Refusal::new(409, "conflict", "the outcome of this job was reported already").with(details));
        }
        if !told.contains_key("executionStatus") {
            return Err(Refusal::new(400, "invalid_outcome", "executionStatus is required"));
        }
        worth(&told)?;
        job.outcome = told;
        job.outcome.insert("reportedAt".into(), rfc3339_in(0).into());
        job.metrics.extend(body["metrics"].as_array().cloned().unwrap_or_default());
        Ok(revised(job, &body))
    })?;
    sandbox.feed.state_changed();
    Ok(answer(200, done))
}

pub(super) async fn amend(State(sandbox): Shared, Path(id): Path<String>, Json(body): Json<Value>) -> Handled {
    let told = known(&body)?;
    let done = with(&sandbox, &id, |job| {
        if job.outcome.is_empty() {
            return Err(Refusal::new(422, "not_reported", "the outcome of this job was not reported yet"));
        }
        if body["reason"].as_str().is_some_and(|reason| reason.trim().is_empty()) {
            return Err(Refusal::new(422, "invalid_outcome", "the reason is blank"));
        }
        let version = job.version();
        let expected =
            body["expectedEntityVersion"].as_u64().or_else(|| body["expectedEntityVersion"].as_str()?.parse().ok());
        if expected.is_some_and(|expected| expected != version as u64) {
            let message = format!("the job was changed; current version is {version}");
            return Err(Refusal::new(409, "conflict", &message).with(json!({"currentEntityVersion": version})));
        }
        let mut outcome = job.outcome.clone();
        outcome.extend(told);
        worth(&outcome)?;
        job.outcome = outcome;
        Ok(revised(job, &body))
    })?;
    sandbox.feed.state_changed();
    Ok(answer(200, done))
}

pub(super) async fn metrics(State(sandbox): Shared, Path(id): Path<String>, Json(body): Json<Value>) -> Handled {
    let whole = |metric: &Value| metric["key"].is_string() && metric["value"].is_number();
    let Some(metrics) = body.as_array().filter(|metrics| metrics.iter().all(whole)) else {
        return Err(Refusal::new(400, "invalid_metrics", "the body is a list of metrics, each with key and value"));
    };
    with(&sandbox, &id, |job| {
        job.metrics.extend_from_slice(metrics);
        Ok(())
    })?;
    sandbox.feed.state_changed();
    Ok(StatusCode::CREATED.into_response())
}

pub(super) async fn history(State(sandbox): Shared, Path(id): Path<String>) -> Handled {
    with(&sandbox, &id, |job| Ok(answer(200, json!(job.history))))
}

fn known(body: &Value) -> Result<Map<String, Value>, Refusal> {
    let refused = |message: &str| Err(Refusal::new(400, "invalid_outcome", message));
    let Some(body) = body.as_object() else { return refused("the body is not an object") };
    let told: Map<String, Value> =
        body.iter().filter(|(name, _)| MEMBERS.contains(&name.as_str())).map(|(n, v)| (n.clone(), v.clone())).collect();
    let text =
        |name: &str, allowed: &[&str]| told.get(name).is_none_or(|v| v.as_str().is_some_and(|t| allowed.contains(&t)));
    if !text("executionStatus", STATUSES) {
        return refused("executionStatus must be SUCCESS, FAILED or CANCELLED");
    }
    if !text("outcomeType", TYPES) {
        return refused("outcomeType is none of the API's");
    }
    if !text("outcomeCurrency", CURRENCIES) {
        return refused("outcomeCurrency is none of the API's");
    }
    if told.get("metadata").is_some_and(|metadata| !metadata.is_string()) {
        return refused("metadata must be a text that holds JSON");
    }
    if told.get("outcomeReason").is_some_and(|r| r.as_str().is_none_or(|r| r.chars().count() > 2048)) {
        return refused("outcomeReason must be a text of at most 2048 characters");
    }
    Ok(told)
}

fn worth(outcome: &Map<String, Value>) -> Result<(), Refusal> {
    match (outcome.get("outcomeValue"), outcome.get("outcomeType")) {
        (Some(value), _) if !value.is_number() => {
            Err(Refusal::new(400, "invalid_outcome", "outcomeValue must be a number"))
        }
        (Some(_), None) => Err(Refusal::new(400, "invalid_outcome", "an outcomeValue needs an outcomeType")),
        _ => Ok(()),
    }
}

fn revised(job: &mut Job, change: &Value) -> Value {
    let revision =
        json!({"revision": job.history.len() + 1, "at": rfc3339_in(0), "change": change, "outcome": job.outcome});
    job.history.push(revision);
    job.resource()
}
