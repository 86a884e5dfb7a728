//! Budget rules, as `GET .../v2/api/ai/enforcement-rules/{team}` answers them. They are set as that answer; what a rule
//! leaves out about its state is counted from the records.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use time::{Month, OffsetDateTime, Time, UtcDateTime, format_description::well_known::Rfc3339};

use super::{Handled, Refusal, Shared, answer, listed};
use crate::state::rfc3339_in;

type Record = Map<String, Value>;

#[derive(Default)]
pub struct Budgets(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// What was set: `rules` and, beside it, what else the answer holds.
    set: Map<String, Value>,
    /// One for each rule.
    counted: Vec<Counted>,
}

#[derive(Default)]
struct Counted {
    all: f64,
    by_group: BTreeMap<String, f64>,
}

impl Budgets {
    pub(super) fn count(&self, record: &Record, cost: Option<f64>) {
        let mut inner = self.0.lock();
        let Inner { set, counted } = &mut *inner;
        for (rule, counted) in rules(set).iter().zip(counted) {
            counted.add(rule, record, cost);
        }
    }

    pub(super) fn forget(&self) {
        self.0.lock().counted.iter_mut().for_each(|counted| *counted = Counted::default());
    }

    /// What was set and what it comes to.
    pub(super) fn state(&self) -> Value {
        let inner = self.0.lock();
        json!({"set": inner.set, "answer": inner.answer()})
    }
}

impl Inner {
    /// `None`: there are no rules.
    fn answer(&self) -> Option<Map<String, Value>> {
        if self.set.is_empty() {
            return None;
        }
        let mut answer = self.set.clone();
        answer.entry("compiledAt").or_insert_with(|| rfc3339_in(0).into());
        let rules = rules(&self.set).iter().zip(&self.counted);
        answer.insert("rules".into(), rules.enumerate().map(|(at, (rule, counted))| counted.rule(at, rule)).collect());
        Some(answer)
    }
}

fn rules(set: &Map<String, Value>) -> &[Value] {
    set.get("rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

impl Counted {
    fn add(&mut self, rule: &Value, record: &Record, cost: Option<f64>) {
        let filters = rule["filters"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !filters.iter().all(|filter| matches(filter, record)) {
            return;
        }
        let amount = match rule["metric"].as_str() {
            Some("REQUEST_COUNT") => 1.0,
            Some("TOKEN_COUNT") => record.get("totalTokenCount").and_then(Value::as_f64).unwrap_or(0.0),
            _ => cost.unwrap_or(0.0),
        };
        self.all += amount;
        if let Some(group) = rule["groupBy"].as_str().and_then(|dimension| value_of(dimension, record)) {
            *self.by_group.entry(group).or_default() += amount;
        }
    }

    /// The rule as the API answers it. What was set stays as it was set.
    fn rule(&self, at: usize, rule: &Value) -> Value {
        let mut answer = rule.as_object().cloned().unwrap_or_default();
        let threshold = rule["threshold"].as_f64().unwrap_or(0.0);
        let window_end = window_end(rule["periodType"].as_str().unwrap_or("MONTHLY"));
        let groups: Vec<Value> = self
            .by_group
            .iter()
            .map(|(group, amount)| json!({"groupValue": group, "currentValue": amount, "breached": *amount >= threshold}))
            .collect();
        let computed = json!({
            "ruleId": at + 1, "name": format!("rule {}", at + 1), "action": "BLOCK", "shadowMode": false,
            "periodType": "MONTHLY", "threshold": threshold, "currentValue": self.all, "breached": self.all >= threshold,
            "windowEnd": window_end, "resetsAt": rule.get("windowEnd").cloned().unwrap_or(window_end.into()),
        });
        for (name, value) in computed.as_object().into_iter().flatten() {
            answer.entry(name.as_str()).or_insert_with(|| value.clone());
        }
        if answer.get("groupBy").is_some_and(|group| !group.is_null()) {
            answer.entry("groupBreakdown").or_insert_with(|| groups.into());
        }
        answer.into()
    }
}

/// What a record says about a filter's dimension.
fn value_of(dimension: &str, record: &Record) -> Option<String> {
    let field = match dimension {
        "MODEL" => "model",
        "PROVIDER" => "provider",
        "AGENT" => "agent",
        "TASK_TYPE" => "taskType",
        "PRODUCT" => "productName",
        "ORGANIZATION" => "organizationName",
        "SUBSCRIBER" => {
            let subscriber = record.get("subscriber")?;
            let email = subscriber["email"].as_str().map(|email| email.trim().to_lowercase());
            return email.or_else(|| Some(subscriber["id"].as_str()?.to_owned()));
        }
        "CREDENTIAL" => return Some(record.get("subscriber")?["credential"]["name"].as_str()?.to_owned()),
        _ => return None,
    };
    Some(record.get(field)?.as_str()?.to_owned())
}

fn matches(filter: &Value, record: &Record) -> bool {
    let operator = filter["operator"].as_str().unwrap_or_default();
    let Some(value) = filter["dimension"].as_str().and_then(|dimension| value_of(dimension, record)) else {
        return operator == "IS_NOT";
    };
    let value = value.to_lowercase();
    let wanted = filter["value"].as_str().unwrap_or_default().to_lowercase();
    match operator {
        "IS" => value == wanted,
        "IS_NOT" => value != wanted,
        "CONTAINS" => value.contains(&wanted),
        "STARTS_WITH" => value.starts_with(&wanted),
        "ENDS_WITH" => value.ends_with(&wanted),
        "IN" => filter["values"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one.as_str().is_some_and(|one| one.to_lowercase() == value))),
        // A cap is never weakened by what isn't understood.
        _ => true,
    }
}

/// The end of the day, week or month that now is in, in UTC.
fn window_end(period: &str) -> String {
    let today = UtcDateTime::now().date();
    let end = match period {
        "DAILY" => today.next_day(),
        "WEEKLY" => Some(today.next_occurrence(time::Weekday::Monday)),
        _ => {
            let year = today.year() + i32::from(today.month() == Month::December);
            time::Date::from_calendar_date(year, today.month().next(), 1).ok()
        }
    };
    let end = end.map(|date| OffsetDateTime::new_utc(date, Time::MIDNIGHT));
    end.and_then(|end| end.format(&Rfc3339).ok()).unwrap_or_default()
}

type Asked = Query<Map<String, Value>>;

pub(super) async fn list(State(sandbox): Shared, Query(query): Asked) -> Response {
    let answered = sandbox.platform.budgets.0.lock().answer();
    let Some(mut answered) = answered else { return StatusCode::NO_CONTENT.into_response() };
    if let Some(wanted) = query.get("ruleId").and_then(Value::as_str) {
        let rules: Vec<Value> = rules(&answered).iter().filter(|rule| is_rule(rule, wanted)).cloned().collect();
        if rules.is_empty() {
            return StatusCode::NO_CONTENT.into_response();
        }
        answered.insert("rules".into(), rules.into());
    }
    answer(200, answered.into())
}

/// Ids are numbers on the wire, or texts.
fn is_rule(rule: &Value, wanted: &str) -> bool {
    match &rule["ruleId"] {
        Value::String(id) => id == wanted,
        id => wanted.parse().is_ok_and(|wanted: u64| id.as_u64() == Some(wanted)),
    }
}

/// Who stands where under a rule: `?ruleId=`; 204 while nothing was counted.
pub(super) async fn roster(State(sandbox): Shared, Query(query): Asked) -> Response {
    let answered = sandbox.platform.budgets.0.lock().answer().unwrap_or_default();
    let wanted = query.get("ruleId").and_then(Value::as_str).unwrap_or_default();
    let rule = rules(&answered).iter().find(|rule| is_rule(rule, wanted));
    let Some(groups) = rule.and_then(|rule| rule["groupBreakdown"].as_array()).filter(|groups| !groups.is_empty())
    else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let blocked = groups.iter().filter(|group| group["breached"] == true).count();
    let mut body = listed("rows", groups.clone(), &query);
    body["rows"] = body["_embedded"]["rows"].take();
    body["blockedCount"] = json!(blocked);
    body["warnedCount"] = json!(0);
    body["underCount"] = json!(groups.len() - blocked);
    answer(200, body)
}

/// `PUT /sandbox/budgets`; an empty object takes all rules away.
pub(super) async fn set(State(sandbox): Shared, Json(body): Json<Value>) -> Handled {
    let refused = |message: &str| Err(Refusal::new(400, "invalid_budgets", message));
    let Some(set) = body.as_object().cloned() else { return refused("expected an object with rules") };
    let given = rules(&set);
    if !set.is_empty() && !set.get("rules").is_some_and(Value::is_array) || given.iter().any(|rule| !rule.is_object()) {
        return refused("rules: expected a list of objects");
    }
    let mut counted: Vec<Counted> = given.iter().map(|_| Counted::default()).collect();
    let mut inner = sandbox.platform.budgets.0.lock();
    // Records count as they come, so those that are there already are counted now.
    for record in sandbox.ledger.all() {
        let Ok(Value::Object(body)) = serde_json::from_slice(&record.request.body) else { continue };
        for (rule, counted) in given.iter().zip(&mut counted) {
            counted.add(rule, &body, record.cost);
        }
    }
    *inner = Inner { set, counted };
    drop(inner);
    sandbox.feed.state_changed();
    Ok(StatusCode::NO_CONTENT.into_response())
}
