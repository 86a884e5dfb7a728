//! What a job of a type is worth: its economics, its baselines, its facts. Kept as they came.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Handled, Refusal, Shared, answer};

#[derive(Default)]
pub struct Economics(Mutex<HashMap<String, OfType>>);

#[derive(Default)]
struct OfType {
    economics: Option<Value>,
    baselines: Vec<Value>,
    facts: Vec<Value>,
}

impl Economics {
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }
}

pub(super) async fn get(State(sandbox): Shared, Path(kind): Path<String>) -> Handled {
    let all = sandbox.platform.economics.0.lock();
    let of_type = all.get(&kind);
    let Some(mut economics) = of_type.and_then(|of_type| of_type.economics.clone()) else {
        return Err(Refusal::new(404, "not_found", "this job type has no economics"));
    };
    economics["jobType"] = json!(kind);
    economics["facts"] = json!(of_type.map(|of_type| of_type.facts.len()));
    Ok(answer(200, economics))
}

pub(super) async fn put(State(sandbox): Shared, Path(kind): Path<String>, Json(body): Json<Value>) -> Handled {
    if !body.is_object() {
        return Err(Refusal::new(400, "invalid_body", "the body is not an object"));
    }
    sandbox.platform.economics.0.lock().entry(kind).or_default().economics = Some(body.clone());
    Ok(answer(200, body))
}

pub(super) async fn baselines(State(sandbox): Shared, Path(kind): Path<String>) -> Handled {
    let all = sandbox.platform.economics.0.lock();
    Ok(answer(200, json!(all.get(&kind).map(|of_type| of_type.baselines.clone()).unwrap_or_default())))
}

pub(super) async fn add_baseline(State(sandbox): Shared, Path(kind): Path<String>, Json(body): Json<Value>) -> Handled {
    if body["effectiveFrom"].as_str().is_none() || !body["costPerUnit"].is_number() {
        return Err(Refusal::new(400, "invalid_body", "effectiveFrom and costPerUnit are required"));
    }
    sandbox.platform.economics.0.lock().entry(kind).or_default().baselines.push(body.clone());
    Ok(answer(201, body))
}

pub(super) async fn add_facts(State(sandbox): Shared, Path(kind): Path<String>, Json(body): Json<Value>) -> Handled {
    let Some(facts) = body.as_array().filter(|facts| facts.iter().all(|fact| fact["key"].is_string())) else {
        return Err(Refusal::new(400, "invalid_body", "the body is a list of facts, each with a key"));
    };
    sandbox.platform.economics.0.lock().entry(kind).or_default().facts.extend_from_slice(facts);
    Ok(StatusCode::CREATED.into_response())
}
