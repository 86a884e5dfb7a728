//! What a caller gives becomes a request, or a sentence about what is wrong with it, before anything is sent.

use serde_json::{Map, Value};
use std::time::Duration;

use super::operations::{Body, Kind, OPERATIONS, Operation, Param, Place};
use crate::common::error::{Code, Error, Result};

/// An operation with all it takes, checked.
pub struct Asked {
    pub operation: &'static Operation,
    /// Wanted for this request alone.
    pub team: Option<String>,
    /// Most time for it with all its attempts.
    pub timeout: Option<Duration>,
    /// The parameters of the path by their names.
    pub path: Vec<(&'static str, String)>,
    pub query: Vec<(&'static str, String)>,
    pub body: Option<Value>,
}

/// Members that every operation takes.
const TEAM: &str = "teamId";
const TIMEOUT: &str = "timeoutMs";

fn wrong(text: String) -> Error {
    Error::new(Code::Argument, text)
}

/// `name` in camelCase, as Revenium spells it.
fn camel(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for letter in name.chars() {
        match letter {
            '_' => upper = true,
            letter if std::mem::take(&mut upper) => camel.push(letter.to_ascii_uppercase()),
            letter => camel.push(letter),
        }
    }
    camel
}

fn closest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest = known.map(|name| (strsim::osa_distance(given, name), name)).min();
    let near = nearest.filter(|(distance, name)| *distance <= name.len() / 2);
    near.map(|(_, name)| format!("; did you mean {name:?}?")).unwrap_or_default()
}

pub fn operation(name: &str) -> Result<&'static Operation> {
    OPERATIONS.iter().find(|row| row.name == name).ok_or_else(|| {
        let hint = closest(name, OPERATIONS.iter().map(|row| row.name));
        // As much of it as a name can be: it is whatever somebody handed over.
        let name: String = name.chars().take(64).collect();
        wrong(format!("There is no operation {name:?}{hint}{}", if hint.is_empty() { "." } else { "" }))
    })
}

/// `params`: a JSON object, or nothing where nothing is needed.
pub fn read(operation: &'static Operation, params: Option<&str>) -> Result<Asked> {
    let params: Map<String, Value> = match params.map(serde_json::from_str) {
        None => Map::new(),
        Some(Ok(Value::Object(params))) => params,
        Some(Ok(_)) => return Err(Error::new(Code::Json, "The parameters are not a JSON object.")),
        Some(Err(fault)) => {
            let place = format!("line {}, column {}", fault.line(), fault.column());
            return Err(Error::new(Code::Json, format!("The parameters are not valid JSON ({place}).")));
        }
    };
    let mut given = Map::new();
    for (name, value) in params {
        let wire = camel(&name);
        // Revenium's own spelling wins over the other, as in usage metadata.
        if !value.is_null() && (name == wire || !given.contains_key(&wire)) {
            given.insert(wire, value);
        }
    }
    let mut asked = Asked {
        operation,
        team: None,
        timeout: None,
        path: Vec::new(),
        query: Vec::new(),
        body: matches!(operation.body, Body::Object).then(|| Value::Object(Map::new())),
    };
    if let Some(team) = given.remove(TEAM) {
        asked.team = Some(scalar(&team).ok_or_else(|| must_be(operation, TEAM, "text"))?);
    }
    if let Some(timeout) = given.remove(TIMEOUT) {
        let ms = timeout.as_u64().filter(|ms| *ms > 0);
        asked.timeout =
            Some(Duration::from_millis(ms.ok_or_else(|| must_be(operation, TIMEOUT, "milliseconds, 1 or more"))?));
    }
    for param in operation.params {
        let value = given.remove(param.name).or_else(|| given.remove(param.wire));
        match value {
            Some(value) => take(&mut asked, param, value)?,
            None if param.required => return Err(wrong(format!("{} needs {:?}.", operation.name, param.name))),
            None => {}
        }
    }
    if let Some(unknown) = given.keys().next() {
        // Revenium would answer 200 and leave it out.
        let known = operation.params.iter().map(|param| param.name).chain([TEAM, TIMEOUT]);
        let hint = closest(unknown, known);
        let unknown: String = unknown.chars().take(64).collect();
        let end = if hint.is_empty() { "." } else { "" };
        return Err(wrong(format!("{} takes no {unknown:?}{hint}{end}", operation.name)));
    }
    together(&mut asked)?;
    Ok(asked)
}

fn must_be(operation: &Operation, name: &str, what: &str) -> Error {
    wrong(format!("{name:?} of {} must be {what}.", operation.name))
}

/// Text that is not blank, or a number, as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn take(asked: &mut Asked, param: &'static Param, value: Value) -> Result<()> {
    let must = |what: &str| must_be(asked.operation, param.name, what);
    let in_body = param.place == Place::Body;
    let value = match param.kind {
        Kind::Text if in_body && !value.is_string() => return Err(must("text")),
        Kind::Text => Value::String(scalar(&value).ok_or_else(|| must("text that is not blank"))?),
        Kind::Free(most) => match value {
            Value::String(text) if text.chars().count() <= most => Value::String(text),
            _ => return Err(must(&format!("text of at most {most} characters"))),
        },
        Kind::Word(words) => {
            let given = value.as_str().unwrap_or_default().trim();
            let word = words.iter().find(|word| word.eq_ignore_ascii_case(given));
            Value::from(*word.ok_or_else(|| must(&format!("one of {}", words.join(", "))))?)
        }
        Kind::Currency => {
            let code = value.as_str().unwrap_or_default().trim().to_ascii_uppercase();
            if code.len() != 3 || !code.bytes().all(|letter| letter.is_ascii_uppercase()) {
                return Err(must("a currency's three letters, such as USD"));
            }
            Value::String(code)
        }
        Kind::Number if value.is_number() => value,
        Kind::Number => return Err(must("a number")),
        Kind::Count => {
            // Some languages hand digits over as text.
            let digits = || value.as_str().and_then(|text| text.trim().parse().ok());
            Value::from(value.as_u64().or_else(digits).ok_or_else(|| must("a whole number, 0 or more"))?)
        }
        Kind::Object if value.is_object() => value,
        Kind::Object => return Err(must("an object")),
        Kind::Objects
            if value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_object)) =>
        {
            value
        }
        Kind::Objects => return Err(must("an array of objects that is not empty")),
        Kind::JsonText => match value {
            Value::String(text) if serde_json::from_str::<Value>(&text).is_ok() => Value::String(text),
            Value::Object(_) => Value::String(value.to_string()),
            _ => return Err(must("an object, or JSON as text")),
        },
        Kind::Metrics => metrics(value).ok_or_else(|| must("an array of objects with \"key\" and \"value\""))?,
    };
    match param.place {
        Place::Path => {
            let text = scalar(&value).unwrap_or_default();
            if matches!(text.as_str(), "." | "..")
                || (param.name == "id" && matches!(&*text, "types" | "conversion-funnel"))
            {
                return Err(must("an id: this is a place of its own at Revenium"));
            }
            asked.path.push((param.name, text));
        }
        Place::Query => asked.query.push((param.wire, scalar(&value).unwrap_or_default())),
        Place::Body => match (&mut asked.body, asked.operation.body) {
            (Some(Value::Object(body)), _) => drop(body.insert(param.wire.into(), value)),
            (body, _) => *body = Some(value),
        },
    }
    Ok(())
}

/// Sent as they are written, once each has what Revenium needs.
fn metrics(value: Value) -> Option<Value> {
    let has = |entry: &Value, name| entry.get(name).is_some_and(|value| !value.is_null());
    let items = value.as_array()?;
    let whole = |entry: &Value| entry.get("key").is_some_and(Value::is_string) && has(entry, "value");
    (!items.is_empty() && items.iter().all(whole)).then_some(value)
}

/// What one parameter means for another.
fn together(asked: &mut Asked) -> Result<()> {
    let name = asked.operation.name;
    let Some(Value::Object(body)) = &mut asked.body else { return Ok(()) };
    match name {
        "jobs.report_outcome" if body.contains_key("outcomeValue") => {
            if !body.contains_key("outcomeType") {
                return Err(wrong("\"outcomeValue\" of jobs.report_outcome needs \"outcomeType\" beside it.".into()));
            }
            body.entry("outcomeCurrency").or_insert_with(|| "USD".into());
        }
        "jobs.amend_outcome" if body.keys().all(|key| matches!(&**key, "reason" | "expectedEntityVersion")) => {
            return Err(wrong("jobs.amend_outcome needs something to amend, such as \"outcomeValue\".".into()));
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(name: &str, params: &str) -> Result<Asked> {
        read(operation(name)?, Some(params))
    }

    #[test]
    fn each_parameter_goes_to_its_place() {
        let report = asked(
            "jobs.report_outcome",
            r#"{"id":" loan 9/é","execution_status":"success","outcomeType":"CONVERTED","outcomeValue":500.0,
                "metadata":{"a":1},"metrics":[{"key":"q","value":0.5,"source":"x"}],"team_id":"T","timeoutMs":5}"#,
        )
        .unwrap();
        assert_eq!(report.path, [("id", "loan 9/é".to_owned())]);
        assert_eq!(report.team.as_deref(), Some("T"));
        assert_eq!(report.timeout, Some(Duration::from_millis(5)));
        assert_eq!(
            report.body.unwrap(),
            json!({"executionStatus": "SUCCESS", "outcomeType": "CONVERTED", "outcomeValue": 500.0,
                "outcomeCurrency": "USD", "metadata": "{\"a\":1}",
                "metrics": [{"key": "q", "value": 0.5, "source": "x"}]})
        );
        let list = asked("jobs.list", r#"{"type":"loan","page":"2","size":7,"sort":null}"#).unwrap();
        let pair = |name, value: &str| (name, value.to_owned());
        assert_eq!(list.query, [pair("type", "loan"), pair("page", "2"), pair("size", "7")]);
        let metrics = asked("jobs.append_metrics", r#"{"id":7,"metrics":[{"key":"q","value":1}]}"#).unwrap();
        assert_eq!((metrics.path, metrics.body), (vec![pair("id", "7")], Some(json!([{"key": "q", "value": 1}]))));
        let create = asked("jobs.create", r#"{"agenticJobId":"j1","name":"N"}"#).unwrap();
        assert_eq!(create.body, Some(json!({"agenticJobId": "j1", "name": "N"})));
        assert!(read(operation("jobs.types").unwrap(), None).is_ok());
    }

    #[test]
    fn what_is_wrong_is_told_before_anything_is_sent() {
        for (name, params, code, part) in [
            ("jobs.raport_outcome", "{}", Code::Argument, "did you mean \"jobs.report_outcome\"?"),
            ("nothing", "{}", Code::Argument, "no operation \"nothing\"."),
            ("jobs.get", "{}", Code::Argument, "jobs.get needs \"id\""),
            ("jobs.get", r#"{"id":" "}"#, Code::Argument, "not blank"),
            ("jobs.get", r#"{"id":".."}"#, Code::Argument, "a place of its own"),
            ("jobs.get", r#"{"id":"types"}"#, Code::Argument, "a place of its own"),
            ("jobs.get", r#"{"id":[1]}"#, Code::Argument, "must be text"),
            ("jobs.get", "[]", Code::Json, "not a JSON object"),
            ("jobs.get", "{", Code::Json, "line 1"),
            ("jobs.get", r#"{"id":"a","timeoutMs":0}"#, Code::Argument, "milliseconds"),
            ("jobs.list", r#"{"page":-1}"#, Code::Argument, "whole number"),
            ("jobs.report_outcome", r#"{"id":"a"}"#, Code::Argument, "needs \"executionStatus\""),
            ("jobs.report_outcome", r#"{"id":"a","executionStatus":"DONE"}"#, Code::Argument, "one of SUCCESS, FAILED"),
            (
                "jobs.report_outcome",
                r#"{"id":"a","executionStatus":"SUCCESS","outcomeVal":1}"#,
                Code::Argument,
                "did you mean \"outcomeValue\"?",
            ),
            (
                "jobs.report_outcome",
                r#"{"id":"a","executionStatus":"SUCCESS","outcomeValue":"many"}"#,
                Code::Argument,
                "must be a number",
            ),
            (
                "jobs.report_outcome",
                r#"{"id":"a","executionStatus":"SUCCESS","outcomeValue":1}"#,
                Code::Argument,
                "needs \"outcomeType\"",
            ),
            (
                "jobs.report_outcome",
                r#"{"id":"a","executionStatus":"SUCCESS","metrics":[{"key":"q"}]}"#,
                Code::Argument,
                "\"key\" and \"value\"",
            ),
            ("jobs.amend_outcome", r#"{"id":"a","reason":" ","outcomeValue":1}"#, Code::Argument, "not blank"),
            ("jobs.amend_outcome", r#"{"id":"a","reason":"r"}"#, Code::Argument, "something to amend"),
            ("economics.put", r#"{"type":"t","economics":[]}"#, Code::Argument, "an object"),
            ("economics.add_facts", r#"{"type":"t","facts":[]}"#, Code::Argument, "not empty"),
            ("budgets.list", r#"{"include":"all"}"#, Code::Argument, "one of advisory"),
            ("completions.cost", "{}", Code::Argument, "needs \"transactionId\""),
        ] {
            let error = asked(name, params).err().unwrap_or_else(|| panic!("{name} {params}"));
            assert_eq!(error.code, code, "{name} {params}");
            assert!(error.message.contains(part), "{name} {params}: {}", error.message);
        }
    }
}
