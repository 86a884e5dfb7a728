//! The test's side: `/sandbox/...` plans answers and reads what arrived.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::http::Request;
use crate::reply::Reply;
use crate::state::{Kept, Record, Sandbox};
use crate::table;

pub fn serves(path: &str) -> bool {
    path == "/records" || path.starts_with("/sandbox/")
}

pub async fn reply(sandbox: &Sandbox, request: &Request) -> Reply {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/records" | "/sandbox/records") => list(sandbox.ledger.all().iter().map(|record| record_json(record))),
        ("DELETE", "/records" | "/sandbox/records") => {
            sandbox.ledger.clear();
            sandbox.platform.forget();
            sandbox.feed.clear();
            Reply::empty(204)
        }
        ("GET", "/sandbox/tool-events") => {
            Reply::json(200, Value::from(sandbox.platform.tool_events.all()).to_string())
        }
        ("GET", "/sandbox/table") => Reply::text(200, table::table(&sandbox.ledger.all())),
        ("GET", "/sandbox/requests") => {
            let service = request.query_value("service");
            // Without a choice, what went to the providers.
            let to_revenium = |service: &str| [crate::collector::SERVICE, crate::platform::SERVICE].contains(&service);
            let chosen = |kept: &Kept| service.map_or(!to_revenium(kept.service), |s| s == kept.service);
            list(sandbox.requests.all().iter().filter(|kept| chosen(kept)).map(request_json))
        }
        ("DELETE", "/sandbox/requests") => {
            sandbox.requests.clear();
            sandbox.stats.requests.store(0, Relaxed);
            sandbox.stats.collector_requests.store(0, Relaxed);
            sandbox.stats.platform_requests.store(0, Relaxed);
            Reply::empty(204)
        }
        ("POST", "/sandbox/plan") => match plan(sandbox, &request.body) {
            Ok(()) => Reply::empty(204),
            Err(problem) => Reply::json(400, json!({"error": problem}).to_string()),
        },
        ("DELETE", "/sandbox/plan") => {
            sandbox.plans.clear();
            Reply::empty(204)
        }
        ("GET", "/sandbox/stats") => Reply::json(200, stats(sandbox).to_string()),
        ("GET", "/sandbox/wait") => wait(sandbox, request).await,
        _ => Reply::json(404, json!({"error": "no such control"}).to_string()),
    }
}

fn plan(sandbox: &Sandbox, body: &[u8]) -> Result<(), String> {
    let plan: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let path =
        plan.get("path").and_then(Value::as_str).filter(|path| path.starts_with('/')).ok_or("path: expected /...")?;
    let answers =
        plan.get("answers").and_then(Value::as_array).filter(|a| !a.is_empty()).ok_or("answers: expected some")?;
    let answers = answers.iter().map(|answer| Answer::from_json(answer).map(Arc::new)).collect::<Result<_, _>>()?;
    sandbox.plans.set(path.to_owned(), answers);
    Ok(())
}

fn stats(sandbox: &Sandbox) -> Value {
    sandbox
        .counters()
        .into_iter()
        .map(|(name, count)| (name.to_owned(), Value::from(count)))
        .collect::<Map<_, _>>()
        .into()
}

/// Waits until each counter named in the query is at least as high as asked.
async fn wait(sandbox: &Sandbox, request: &Request) -> Reply {
    let mut limit = Duration::from_secs(10);
    let mut asked = Vec::new();
    for (name, value) in request.query.split('&').filter_map(|pair| pair.split_once('=')) {
        let Ok(value) = value.parse::<u64>() else {
            return Reply::json(400, json!({"error": format!("{name}: expected a number")}).to_string());
        };
        match sandbox.counters().iter().position(|(counter, _)| *counter == name) {
            _ if name == "timeout_ms" => limit = Duration::from_millis(value),
            Some(counter) => asked.push((counter, value)),
            None => return Reply::json(400, json!({"error": format!("{name}: no such counter")}).to_string()),
        }
    }
    let reached = async {
        loop {
            let counters = sandbox.counters();
            if asked.iter().all(|(counter, least)| counters[*counter].1 >= *least) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let status = if tokio::time::timeout(limit, reached).await.is_ok() { 200 } else { 408 };
    Reply::json(status, stats(sandbox).to_string())
}

fn list(items: impl Iterator<Item = String>) -> Reply {
    Reply::json(200, format!("[{}]", items.collect::<Vec<_>>().join(",\n")))
}

/// The body stands in the JSON as it was received, not parsed and written anew.
fn record_json(record: &Record) -> String {
    let key = Value::from(record.idempotency_key.as_str());
    let (repeats, at) = (record.repeats.load(Relaxed), record.received_at_ms);
    let (body, headers) = (raw(&record.request.body), headers(&record.request));
    format!(
        r#"{{"body":{body},"headers":{headers},"idempotency_key":{key},"repeats":{repeats},"received_at_ms":{at}}}"#
    )
}

fn request_json(kept: &Kept) -> String {
    let request = &kept.request;
    let (service, path, query) =
        (kept.service, Value::from(request.path.as_str()), Value::from(request.query.as_str()));
    let method = Value::from(request.method.as_str());
    let (body, headers) = (raw(&request.body), headers(request));
    let text = Value::from(String::from_utf8_lossy(&request.body).into_owned());
    format!(
        r#"{{"service":"{service}","method":{method},"path":{path},"query":{query},"headers":{headers},"body":{body},"raw":{text}}}"#
    )
}

/// `null` unless the bytes are JSON.
fn raw(body: &[u8]) -> &str {
    serde_json::from_slice::<&RawValue>(body).map_or("null", RawValue::get)
}

fn headers(request: &Request) -> Value {
    request
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect::<Map<_, _>>()
        .into()
}
