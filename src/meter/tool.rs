//! Tool events: one use of a tool that is billed or watched by itself, beside the calls of a model.

use super::Record;
use super::capture::{Capture, mask};
use super::fields::Field;
use super::metadata::Metadata;
use super::time::utc_of;
use super::value::cut;
use crate::common::error::{Code, Error, Result};
use crate::common::json::writer::ObjectWriter;
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// Revenium stores no longer ones.
const LONGEST: usize = 255;
const LONGEST_ERROR: usize = 2048;

/// The names of an event, in camelCase as Revenium has them. snake_case is accepted, too.
const NAMES: &[&str] = &[
    "toolId",
    "operation",
    "durationMs",
    "success",
    "timestamp",
    "errorType",
    "errorMessage",
    "transactionId",
    "usageMetadata",
    "costUsd",
    "agent",
    "organizationName",
    "productName",
    "subscriberCredential",
    "workflowId",
    "traceId",
    "agenticJobId",
];

/// One use of a tool: its record, and what else is to be told of it.
pub struct Event {
    pub record: Record,
    pub tool: String,
    pub started: SystemTime,
    pub duration: Duration,
    /// `None`: it went well.
    pub error_type: Option<String>,
    /// The scope's, under what the event says itself.
    pub metadata: Metadata,
}

/// The record of one event. `text`: the object of `revenium_tool_event()`; `metadata`: of its scope.
pub fn event(text: &str, metadata: &Metadata, capture: Capture, source: &str, now: SystemTime) -> Result<Event> {
    let told = Told::parse(text)?;
    let wrong = |what: &str| Error::new(Code::Argument, format!("{what}."));
    let tool = told.text("toolId")?.ok_or_else(|| wrong("A tool event needs \"toolId\""))?;
    let duration = match told.get("durationMs") {
        None => 0,
        Some(value) => {
            let millis = value.as_f64().filter(|millis| (0.0..1e12).contains(millis));
            millis.ok_or_else(|| wrong("\"durationMs\" must be milliseconds"))? as u64
        }
    };
    let failed = told.text("errorType")?.or(told.text("errorMessage")?.map(|_| "Error"));
    let success = match told.get("success") {
        None => failed.is_none(),
        Some(value) => value.as_bool().ok_or_else(|| wrong("\"success\" must be true or false"))?,
    };
    let (started, timestamp) = match told.get("timestamp") {
        None => {
            let started = now.checked_sub(Duration::from_millis(duration)).unwrap_or(now);
            (started, utc_of(started))
        }
        Some(value) => {
            let wrong = || wrong("\"timestamp\" must be a time such as 2026-11-23T00:03:53.412Z");
            time_of(value).ok_or_else(wrong)?
        }
    };
    let mut usage = match told.get("usageMetadata") {
        None => Map::new(),
        Some(Value::Object(usage)) => usage.clone(),
        Some(_) => return Err(wrong("\"usageMetadata\" must be an object")),
    };
    let own = |name, field| Ok::<_, Error>(told.text(name)?.or(metadata.text(field).map(|text| &**text)));
    let mut trace = own("traceId", Field::TraceId)?;
    // The host's id may be that of many events: it names what they have in common, and none is taken for another.
    let transaction_id = Uuid::new_v4().to_string();
    if let Some(id) = told.text("transactionId")? {
        match trace {
            None => trace = Some(id),
            Some(_) => drop(usage.insert("callerTransactionId".into(), id.into())),
        }
    }

    let mut object = ObjectWriter::new(512);
    object.put("transactionId", &transaction_id);
    object.put("toolId", cut(tool, LONGEST));
    object.put("operation", told.text("operation")?.map_or("execute", |text| cut(text, LONGEST)));
    object.put("durationMs", &duration);
    object.put("success", &success);
    object.put("timestamp", &timestamp);
    object.put("middlewareSource", source);
    if let Some(class) = failed {
        let said = told.text("errorMessage")?.filter(|_| capture.error_messages);
        let said = said.map(|said| format!("{class}: {}", mask(said)));
        object.put("errorMessage", cut(said.as_deref().unwrap_or(class), LONGEST_ERROR));
    }
    if !usage.is_empty() {
        object.put("usageMetadata", &usage);
    }
    let cost = told.get("costUsd").map(|cost| cost.as_f64().ok_or_else(|| wrong("\"costUsd\" must be a number")));
    object.maybe("costUsd", cost.transpose()?.as_ref());
    let of_scope = [
        ("agent", own("agent", Field::Agent)?),
        ("organizationName", own("organizationName", Field::OrganizationName)?),
        ("productName", own("productName", Field::ProductName)?),
        ("traceId", trace),
        ("agenticJobId", own("agenticJobId", Field::AgenticJobId)?),
    ];
    let of_event =
        [("subscriberCredential", told.text("subscriberCredential")?), ("workflowId", told.text("workflowId")?)];
    for (name, value) in of_scope.into_iter().chain(of_event) {
        object.maybe(name, value.map(|text| cut(text, LONGEST)));
    }
    let told_here = of_scope.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Ok(Event {
        metadata: metadata.overlay(&Metadata::from_pairs(told_here)),
        record: Record { idempotency_key: transaction_id.clone(), body: object.finish(), transaction_id },
        tool: tool.to_owned(),
        started,
        duration: Duration::from_millis(duration),
        error_type: (!success).then(|| failed.unwrap_or("Error").to_owned()),
    })
}

/// As it goes out, too: what was given as text stays that text.
fn time_of(value: &Value) -> Option<(SystemTime, String)> {
    if let Value::String(text) = value {
        let time = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
        return Some((time.into(), text.clone()));
    }
    let millis = value.as_u64().filter(|millis| *millis < 253_402_300_800_000)?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
    Some((time, utc_of(time)))
}

/// An event as it was told, its names in camelCase.
struct Told(Map<String, Value>);

impl Told {
    fn parse(text: &str) -> Result<Told> {
        let object = match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(object)) => object,
            _ => return Err(Error::new(Code::Json, "The event is not a JSON object.")),
        };
        let mut told = Map::new();
        for (name, value) in object {
            let camel = NAMES.iter().find(|known| **known == name || is_snake_of(&name, known));
            let Some(camel) = camel else {
                return Err(Error::new(Code::Argument, format!("A tool event has no member named {name:?}.")));
            };
            if !value.is_null() && (name == **camel || !told.contains_key(*camel)) {
                told.insert((*camel).into(), value);
            }
        }
        Ok(Told(told))
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// `None`: absent or blank.
    fn text(&self, name: &str) -> Result<Option<&str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(_) => Err(Error::new(Code::Argument, format!("\"{name}\" must be text."))),
        }
    }
}

fn is_snake_of(name: &str, camel: &str) -> bool {
    let plain = name.chars().filter(|c| *c != '_');
    name.contains('_') && plain.eq(camel.chars().map(|c| c.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::UNIX_EPOCH;

    fn body(text: &str, metadata: &str, capture: Capture) -> Value {
        let now = UNIX_EPOCH + Duration::from_millis(1_795_392_233_412);
        let record = event(text, &Metadata::from_json(metadata), capture, "revenium-anthropic-c", now).unwrap().record;
        assert_eq!(record.idempotency_key, record.transaction_id);
        let body: Value = serde_json::from_slice(&record.body).unwrap();
        assert_eq!(body["transactionId"], record.transaction_id.as_str());
        body
    }

    #[test]
    fn an_event_with_all_that_can_be_told() {
        let text = r#"{"toolId":"man","operation":"fetch","duration_ms":1234,"success":true,"usage_metadata":{"records":42},
            "transactionId":"my-tx","traceId":"tr","workflow_id":"w","subscriberCredential":"sc","costUsd":0.5}"#;
        let mut body = body(
            text,
            r#"{"agent":"a","organizationName":"O","productName":"P","traceId":"outer"}"#,
            Capture::default(),
        );
        body["transactionId"].take();
        assert_eq!(
            body,
            json!({
                "transactionId": null, "toolId": "man", "operation": "fetch", "durationMs": 1234, "success": true,
                "timestamp": "2026-11-23T00:03:52.178Z", "middlewareSource": "revenium-anthropic-c",
                "usageMetadata": {"records": 42, "callerTransactionId": "my-tx"}, "costUsd": 0.5, "agent": "a",
                "organizationName": "O", "productName": "P", "subscriberCredential": "sc", "workflowId": "w", "traceId": "tr",
            })
        );
    }

    #[test]
    fn little_is_enough_and_a_transaction_id_becomes_the_trace() {
        let plain = body(r#"{"tool_id":"t"}"#, "{}", Capture::default());
        assert_eq!(
            (&plain["operation"], &plain["success"], &plain["durationMs"]),
            (&json!("execute"), &json!(true), &json!(0))
        );
        let one = body(r#"{"toolId":"t","transactionId":"x"}"#, "{}", Capture::default());
        let two = body(r#"{"toolId":"t","transactionId":"x"}"#, "{}", Capture::default());
        assert_eq!((&one["traceId"], &two["traceId"]), (&json!("x"), &json!("x")));
        assert_ne!(one["transactionId"], two["transactionId"]);
    }

    #[test]
    fn failures_name_their_class_and_say_more_only_where_it_is_wanted() {
        let text = r#"{"toolId":"t","errorType":"IOError","errorMessage":"no sk-ant-ahov29GNUbipw3AHOVcj"}"#;
        let silent = body(text, "{}", Capture::default());
        assert_eq!((&silent["success"], &silent["errorMessage"]), (&json!(false), &json!("IOError")));
        let told = body(text, "{}", Capture { error_messages: true, ..Capture::default() });
        assert_eq!(told["errorMessage"], "IOError: no sk-ant-***REDACTED***");
    }

    #[test]
    fn bad_events_are_refused_in_words() {
        for (text, part) in [
            ("{}", "toolId"),
            (r#"{"toolId":5}"#, "toolId"),
            (r#"{"toolId":"t","durationMs":-1}"#, "durationMs"),
            (r#"{"toolId":"t","success":"yes"}"#, "success"),
            (r#"{"toolId":"t","timestamp":"now"}"#, "timestamp"),
            (r#"{"toolId":"t","usageMetadata":[]}"#, "usageMetadata"),
            (r#"{"toolId":"t","tool":1}"#, "\"tool\""),
        ] {
            let error = event(text, &Metadata::default(), Capture::default(), "s", UNIX_EPOCH).err().unwrap();
            assert!(error.code == Code::Argument && error.message.contains(part), "{text}: {}", error.message);
        }
        assert_eq!(
            event("[]", &Metadata::default(), Capture::default(), "s", UNIX_EPOCH).err().unwrap().code,
            Code::Json
        );
    }
}
