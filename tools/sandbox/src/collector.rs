//! Revenium's collector: `POST .../meter/v2/ai/completions`. Checks records as the API does and never stores one twice.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::answer::Answer;
use crate::feed::Item;
use crate::http::Request;
use crate::prices;
use crate::reply::Reply;
use crate::state::{Entered, Record, Sandbox, now_ms, rfc3339_in};
use crate::table;

pub const SERVICE: &str = "collector";

const STOP_REASONS: &[&str] =
    &["END", "END_SEQUENCE", "TIMEOUT", "TOKEN_LIMIT", "COST_LIMIT", "COMPLETION_LIMIT", "ERROR", "CANCELLED"];
const PRICING_TIERS: &[&str] = &["STANDARD", "BATCH"];
#[rustfmt::skip]
const OPERATION_TYPES: &[&str] = &[
    "CHAT", "GENERATE", "EMBED", "CLASSIFY", "SUMMARIZE", "TRANSLATE", "TOOL_CALL", "RERANK", "SEARCH", "MODERATION",
    "VISION", "TRANSFORM", "GUARDRAIL", "AUDIO", "VIDEO", "IMAGE", "OTHER",
];
const RECORDS_PER_SECOND: u64 = 1000;

pub fn serves(path: &str) -> bool {
    path.ends_with("/meter/v2/ai/completions")
}

/// A planned answer outside 2xx turns the record away. With any other the record is taken in first, so that a test can
/// lose or delay the answer to a record that was stored.
pub fn reply(sandbox: &Sandbox, request: &Arc<Request>, planned: Option<Arc<Answer>>) -> Reply {
    let set = || sandbox.platform.answers.next("completions.create");
    let answer = planned.or_else(set).or_else(|| sandbox.failing(SERVICE)).unwrap_or_default();
    let silent = matches!(answer.body, Some(crate::reply::Body::Silent));
    let mut reply = if silent || !(200..300).contains(&answer.status.unwrap_or(200)) {
        answer.complete(|status| error_body("planned", &format!("Status {status}, planned by the sandbox")))
    } else {
        match store(sandbox, request) {
            Err(Refusal { status, code, message }) => Reply::json(status, error_body(code, &message)),
            Ok(_) if answer.is_complete() => answer.complete(|_| String::new()),
            Ok(record) => {
                let mut reply = Reply::json(201, record.answer.clone());
                answer.apply(&mut reply);
                reply
            }
        }
    };
    reply.headers.splice(
        0..0,
        [
            ("x-ratelimit-limit".into(), RECORDS_PER_SECOND.to_string().into()),
            ("x-ratelimit-remaining".into(), (RECORDS_PER_SECOND - 1).to_string().into()),
            ("x-ratelimit-reset".into(), (now_ms() / 1000 + 1).to_string().into()),
            ("x-ratelimit-bucket".into(), "metering".into()),
        ],
    );
    reply
}

struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
}

fn store(sandbox: &Sandbox, request: &Arc<Request>) -> Result<Arc<Record>, Refusal> {
    if request.method != "POST" {
        return Err(Refusal::new(405, "method_not_allowed", "only POST is served here"));
    }
    let Some(account) = request.header("x-api-key").filter(|key| !key.trim().is_empty()) else {
        return Err(Refusal::new(401, "unauthorized", "x-api-key is missing"));
    };
    let key = request.header("idempotency-key").unwrap_or_default();
    if !valid_key(key) {
        let message = "Idempotency-Key must be 1 to 255 characters from '!' to '~'";
        return Err(Refusal::new(400, "invalid_idempotency_key", message));
    }
    let body: Value = serde_json::from_slice(&request.body)
        .map_err(|e| Refusal::new(400, "invalid_body", format!("the body is not JSON: {e}")))?;
    let Value::Object(body) = body else {
        return Err(Refusal::new(400, "invalid_body", "the body is not an object"));
    };
    check(&body).map_err(|problem| Refusal::new(400, "invalid_record", problem))?;

    let record = Arc::new(Record {
        request: request.clone(),
        idempotency_key: key.to_owned(),
        received_at_ms: now_ms(),
        answer: resource(sandbox.next_id()).into(),
        cost: prices::estimate(&body),
        repeats: AtomicU64::new(0),
    });
    match sandbox.ledger.enter(account, &record) {
        Entered::New(number) => {
            if let Some(printer) = &sandbox.printer {
                printer.line(table::line(number, &body));
            }
            sandbox.platform.metered(&body, record.cost);
            sandbox.feed.add(Item::Record(number, record.clone()));
            Ok(record)
        }
        Entered::Repeat(first) => Ok(first),
        Entered::Mismatch => {
            let message = "this Idempotency-Key was used for another body";
            Err(Refusal::new(409, "idempotency_key_mismatch", message))
        }
    }
}

pub fn valid_key(key: &str) -> bool {
    (1..=255).contains(&key.len()) && key.bytes().all(|b| (b'!'..=b'~').contains(&b))
}

/// Finds the first field the API would refuse the record for.
fn check(body: &Map<String, Value>) -> Result<(), String> {
    type Test = fn(&Value) -> bool;
    const REQUIRED: &[(&str, &str, Test)] = &[
        ("model", "a text", is_text),
        ("provider", "a text", is_text),
        ("transactionId", "a text", is_text),
        ("inputTokenCount", "a whole number", Value::is_u64),
        ("outputTokenCount", "a whole number", Value::is_u64),
        ("totalTokenCount", "a whole number", Value::is_u64),
        ("requestTime", "an ISO 8601 time with its zone", is_time),
        ("responseTime", "an ISO 8601 time with its zone", is_time),
        ("completionStartTime", "an ISO 8601 time with its zone", is_time),
        ("requestDuration", "a whole number", Value::is_u64),
        ("stopReason", "one of the eight stop reasons", |v| one_of(v, STOP_REASONS)),
        ("costType", "AI", |v| v == "AI"),
        ("isStreamed", "true or false", Value::is_boolean),
    ];
    const OPTIONAL: &[(&str, &str, Test)] = &[
        ("operationType", "an operation type", |v| one_of(v, OPERATION_TYPES)),
        ("pricingTier", "STANDARD or BATCH", |v| one_of(v, PRICING_TIERS)),
        ("effort", "[A-Za-z0-9_-]{1,16}", |v| is_name(v, "_-", 16)),
        ("speed", "[A-Za-z0-9_-]{1,16}", |v| is_name(v, "_-", 16)),
        ("querySource", "[A-Za-z0-9._:-]{1,128}", |v| is_name(v, "._:-", 128)),
        ("subagentType", "[A-Za-z0-9._:-]{1,128}", |v| is_name(v, "._:-", 128)),
        ("clientSurface", "[A-Za-z0-9._-]{1,64}", |v| is_name(v, "._-", 64)),
        ("entrypoint", "[A-Za-z0-9._-]{1,64}", |v| is_name(v, "._-", 64)),
        ("promptId", "[A-Za-z0-9_-]{1,64}", |v| is_name(v, "_-", 64)),
        ("promptLength", "0 to 2147483647", |v| {
            decimal(v).is_some_and(|n| (0.0..=2147483647.0).contains(&n) && n.fract() == 0.0)
        }),
        ("responseQualityScore", "a number below 999.995", |v| decimal(v).is_some_and(|n| n.abs() < 999.995)),
        ("costMultiplier", "a number", |v| decimal(v).is_some()),
        ("agenticJobId", "a job id", is_job_id),
        ("subscriber", "an object", Value::is_object),
    ];
    let set = |name: &str| body.get(name).filter(|value| !value.is_null());
    for (name, expected, test) in REQUIRED {
        let value = set(name).ok_or_else(|| format!("{name} is required"))?;
        if !test(value) {
            return Err(format!("{name} must be {expected}"));
        }
    }
    match OPTIONAL.iter().find(|(name, _, test)| set(name).is_some_and(|value| !test(value))) {
        Some((name, expected, _)) => Err(format!("{name} must be {expected}")),
        None => Ok(()),
    }
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| OffsetDateTime::parse(text, &Rfc3339).is_ok())
}

fn one_of(value: &Value, allowed: &[&str]) -> bool {
    value.as_str().is_some_and(|text| allowed.contains(&text))
}

fn is_name(value: &Value, others: &str, longest: usize) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    value.as_str().is_some_and(|text| (1..=longest).contains(&text.len()) && text.chars().all(allowed))
}

fn is_job_id(value: &Value) -> bool {
    is_name(value, "._-", 255)
        && value.as_str().is_some_and(|id| {
            id.starts_with(|c: char| c.is_ascii_alphanumeric()) && !["types", "conversion-funnel"].contains(&id)
        })
}

/// The API takes decimal numbers as texts too.
fn decimal(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).filter(|number| number.is_finite())
}

fn resource(n: u64) -> String {
    let (id, now) = (format!("sandbox{n}"), rfc3339_in(0));
    json!({
        "id": id, "label": id, "resourceType": "metering", "signature": format!("sandbox-signature-{n}"),
        "created": now, "updated": now, "_links": {},
    })
    .to_string()
}

fn error_body(code: &str, message: &str) -> String {
    json!({"error": code, "message": message}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Value {
        json!({
            "model": "claude-sonnet-4-5-20250929", "provider": "ANTHROPIC", "transactionId": "msg_1",
            "inputTokenCount": 12, "outputTokenCount": 7, "totalTokenCount": 19, "costType": "AI",
            "requestTime": "2026-11-23T00:00:00.000Z", "responseTime": "2026-11-23T01:00:00.185+01:00",
            "completionStartTime": "2026-11-23T00:00:00Z", "requestDuration": 185, "stopReason": "END", "isStreamed": false,
        })
    }

    fn problem_with(name: &str, value: Value) -> Option<String> {
        let mut record = record();
        record[name] = value;
        check(record.as_object().unwrap()).err()
    }

    #[test]
    fn each_required_field_is_missed_and_checked() {
        assert_eq!(check(record().as_object().unwrap()), Ok(()));
        for name in record().as_object().unwrap().keys() {
            for wrong in [Value::Null, json!([]), json!("?\n"), json!(-1)] {
                if matches!(name.as_str(), "model" | "provider" | "transactionId") && wrong.is_string() {
                    continue;
                }
                let problem = problem_with(name, wrong.clone()).unwrap_or_else(|| panic!("{name} = {wrong} passed"));
                assert!(problem.starts_with(name.as_str()), "{problem}");
            }
        }
        for (name, wrong) in [
            ("stopReason", json!("end_turn")),
            ("stopReason", json!("CONTENT_FILTER")),
            ("requestTime", json!("2026-11-23T00:00:00")),
            ("requestTime", json!("2026-13-23T00:00:00Z")),
            ("inputTokenCount", json!(1.5)),
        ] {
            assert!(problem_with(name, wrong.clone()).is_some(), "{name} = {wrong}");
        }
    }

    #[test]
    fn optional_fields_are_checked_when_set() {
        for (name, right, wrong) in [
            ("effort", json!("high"), json!("very high")),
            ("querySource", json!("a:b.c"), json!("")),
            ("promptLength", json!("12"), json!(2147483648u64)),
            ("responseQualityScore", json!("0.5"), json!(1000)),
            ("pricingTier", json!("BATCH"), json!("batch")),
            ("operationType", json!("CHAT"), json!("TALK")),
            ("agenticJobId", json!("loan-9"), json!("types")),
            ("agenticJobId", json!("9"), json!("-9")),
            ("subscriber", json!({"id": "u"}), json!("u")),
            ("effort", Value::Null, json!(1)),
        ] {
            assert_eq!(problem_with(name, right.clone()), None, "{name} = {right}");
            assert!(problem_with(name, wrong.clone()).is_some_and(|p| p.starts_with(name)), "{name} = {wrong}");
        }
    }

    #[test]
    fn idempotency_keys_are_visible_ascii() {
        let long = "k".repeat(255);
        for (key, valid) in
            [("a", true), ("!~", true), (long.as_str(), true), ("", false), ("a b", false), ("é", false)]
        {
            assert_eq!(valid_key(key), valid, "{key}");
        }
        assert!(!valid_key(&"k".repeat(256)));
    }
}
