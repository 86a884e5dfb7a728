//! Jobs: made by the first record that names one, or outright.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::{Handled, Refusal, Shared, answer, listed};
use crate::state::{Sandbox, now_ms, rfc3339_in};

#[derive(Default)]
pub struct Jobs(Mutex<BTreeMap<String, Job>>);

#[derive(Default)]
pub struct Job {
    /// `agenticJobId`, `name`, `type`, `version`, `environment`.
    told: Map<String, Value>,
    created_at_ms: u64,
    records: u64,
    tokens: u64,
    cost: f64,
    /// Records whose model has no known price.
    unpriced: u64,
    /// Empty until it is reported.
    pub outcome: Map<String, Value>,
    pub metrics: Vec<Value>,
    /// Each report and amendment.
    pub history: Vec<Value>,
}

impl Job {
    fn new(told: Map<String, Value>) -> Self {
        Self { told, created_at_ms: now_ms(), ..Self::default() }
    }

    /// Grows with every change, as the API's does.
    pub fn version(&self) -> usize {
        self.history.len() + 1
    }

    pub fn resource(&self) -> Value {
        let mut resource = self.told.clone();
        resource.extend(self.outcome.clone());
        let more = json!({
            "resourceType": "job",
            "createdAtMs": self.created_at_ms,
            "entityVersion": self.version(),
            "updateCount": self.history.len().saturating_sub(1),
            "metrics": self.metrics,
            "transactionCount": self.records,
            "totalTokenCount": self.tokens,
            "totalCost": self.cost,
            "unpricedTransactions": self.unpriced,
        });
        resource.extend(more.as_object().cloned().unwrap_or_default());
        resource.into()
    }
}

impl Jobs {
    pub(super) fn count(&self, record: &Map<String, Value>, cost: Option<f64>) {
        let Some(id) = record.get("agenticJobId").and_then(Value::as_str) else { return };
        let mut jobs = self.0.lock();
        let job = jobs.entry(id.to_owned()).or_insert_with(|| {
            let names = [("name", "agenticJobName"), ("type", "agenticJobType"), ("version", "agenticJobVersion")];
            let names = names.into_iter().chain([("agenticJobId", "agenticJobId"), ("environment", "environment")]);
            Job::new(names.filter_map(|(name, field)| Some((name.to_owned(), record.get(field)?.clone()))).collect())
        });
        job.records += 1;
        job.tokens += record.get("totalTokenCount").and_then(Value::as_u64).unwrap_or(0);
        job.cost += cost.unwrap_or(0.0);
        job.unpriced += u64::from(cost.is_none());
    }

    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }

    pub(super) fn all(&self) -> Vec<Value> {
        self.0.lock().values().map(Job::resource).collect()
    }
}

/// What `change` makes of the job, or why it can't.
pub fn with<T>(sandbox: &Sandbox, id: &str, change: impl FnOnce(&mut Job) -> Result<T, Refusal>) -> Result<T, Refusal> {
    let mut jobs = sandbox.platform.jobs.0.lock();
    let job = jobs.get_mut(id).ok_or_else(|| Refusal::new(404, "not_found", "there is no such job, or not yet"))?;
    change(job)
}

type Asked = Query<Map<String, Value>>;

pub(super) async fn create(State(sandbox): Shared, Json(body): Json<Value>) -> Handled {
    let Some(id) = body["agenticJobId"].as_str().filter(|id| is_job_id(id)).map(str::to_owned) else {
        return Err(Refusal::new(400, "invalid_job", "agenticJobId must be a job id"));
    };
    let told = body.as_object().cloned().unwrap_or_default();
    let mut jobs = sandbox.platform.jobs.0.lock();
    if jobs.contains_key(&id) {
        return Err(Refusal::new(409, "conflict", "a job with this id exists already"));
    }
    let resource = jobs.entry(id).or_insert_with(|| Job::new(told)).resource();
    drop(jobs);
    sandbox.feed.state_changed();
    Ok(answer(201, resource))
}

fn is_job_id(id: &str) -> bool {
    let first = id.starts_with(|c: char| c.is_ascii_alphanumeric());
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    first && plain && id.len() <= 255 && !["types", "conversion-funnel"].contains(&id)
}

pub(super) async fn list(State(sandbox): Shared, Query(query): Asked) -> Json<Value> {
    let filters = ["type", "executionStatus", "outcomeType", "environment"];
    let fits = |job: &Value| filters.iter().all(|name| query.get(*name).is_none_or(|wanted| job[*name] == *wanted));
    let jobs = sandbox.platform.jobs.all().into_iter().filter(fits).collect();
    Json(listed("jobResourceList", jobs, &query))
}

pub(super) async fn one(State(sandbox): Shared, Path(id): Path<String>) -> Handled {
    with(&sandbox, &id, |job| Ok(answer(200, job.resource())))
}

/// What the job cost against what it brought.
pub(super) async fn roi(State(sandbox): Shared, Path(id): Path<String>) -> Handled {
    with(&sandbox, &id, |job| {
        let value = job.outcome.get("outcomeValue").and_then(Value::as_f64);
        let roi = value.filter(|_| job.cost > 0.0).map(|value| (value - job.cost) / job.cost);
        let currency = job.outcome.get("outcomeCurrency").cloned().unwrap_or_else(|| "USD".into());
        Ok(answer(
            200,
            json!({"agenticJobId": id, "totalCost": job.cost, "outcomeValue": value, "currency": currency, "roi": roi}),
        ))
    })
}

pub(super) async fn transactions(State(sandbox): Shared, Path(id): Path<String>, Query(query): Asked) -> Handled {
    with(&sandbox, &id, |_| Ok(()))?;
    let records = sandbox.ledger.all();
    let bodies = records.iter().filter_map(|record| serde_json::from_slice::<Value>(&record.request.body).ok());
    let ours = bodies.filter(|body| body["agenticJobId"] == id.as_str()).collect();
    Ok(answer(200, listed("aICompletionMetricResourceList", ours, &query)))
}

pub(super) async fn types(State(sandbox): Shared) -> Json<Value> {
    let mut types: Vec<String> = texts(&sandbox.platform.jobs.all(), "type").collect();
    types.sort();
    types.dedup();
    Json(json!(types))
}

pub(super) async fn funnel(State(sandbox): Shared, Query(query): Asked) -> Json<Value> {
    let wanted = |job: &Value| {
        query.get("jobType").is_none_or(|kind| job["type"] == *kind)
            && query.get("environment").is_none_or(|environment| job["environment"] == *environment)
    };
    let jobs: Vec<Value> = sandbox.platform.jobs.all().into_iter().filter(wanted).collect();
    let count = |name: &str| {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        texts(&jobs, name).for_each(|text| *counts.entry(text).or_default() += 1);
        counts
    };
    let (statuses, outcomes) = (count("executionStatus"), count("outcomeType"));
    Json(
        json!({"total": jobs.len(), "byExecutionStatus": statuses, "byOutcomeType": outcomes, "compiledAt": rfc3339_in(0)}),
    )
}

fn texts<'a>(jobs: &'a [Value], name: &'a str) -> impl Iterator<Item = String> + 'a {
    jobs.iter().filter_map(move |job| job[name].as_str().map(str::to_owned))
}
