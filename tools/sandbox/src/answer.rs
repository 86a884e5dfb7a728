//! A planned answer: what a test asked for in place of, or on top of, the default.
//!
//! One vocabulary serves a plan's JSON, the `x-sandbox` header, `--fail` and the model names `sandbox-<fault>`.

use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::bedrock::Metrics;
use crate::reply::{Body, End, Piece, Reply, Shape};

/// Model names `sandbox-<name>` that stand for an answer; `sandbox-<status>` is one too.
const FAULTS: &[(&str, &str)] = &[
    ("ok", ""),
    ("overloaded", "status=529"),
    ("rate-limited", "status=429; retry-after=1"),
    ("slow", "gap_ms=50"),
    ("burst", "burst=true"),
    ("close", "end=close"),
    ("cut", "end=cut"),
    ("reset", "end=reset"),
    ("stall", "end=stall"),
    ("error-event", "error=overloaded_error"),
    ("max-tokens", "stop_reason=max_tokens"),
    ("refusal", "stop_reason=refusal"),
];

/// What can be wrong with the frames of a Bedrock stream after its deltas.
const FRAME_FAULTS: &[&str] = &["bad-crc", "error", "unfinished", "no-stop"];

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    pub status: Option<u16>,
    pub headers: Vec<(String, String)>,
    pub body: Option<Body>,
    pub shape: Shape,
    pub message: Wanted,
}

/// What the default message should look like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    pub deltas: Option<usize>,
    pub delta_bytes: Option<usize>,
    pub reply: Option<String>,
    pub stop_reason: Option<String>,
    pub usage: Map<String, Value>,
    /// The type of an `error` event after the deltas of a stream.
    pub error: Option<String>,
    /// The type of an exception frame after the deltas of a Bedrock stream.
    pub exception: Option<String>,
    /// What is wrong with a Bedrock stream's frames.
    pub frames: Option<String>,
    pub metrics: Metrics,
}

impl Answer {
    pub fn from_json(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(end) if ["close", "reset", "stall"].contains(&end.as_str()) => {
                let mut answer = Self { body: Some(Body::Silent), ..Self::default() };
                answer.shape.end = if end == "close" { End::Cut } else { parse_end(end)? };
                Ok(answer)
            }
            Value::Object(members) => {
                let mut answer = Self::default();
                for (name, value) in members {
                    answer.set(name, value).map_err(|problem| format!("{name}: {problem}"))?;
                }
                Ok(answer)
            }
            _ => Err("an answer is an object, or one of \"close\", \"reset\", \"stall\"".into()),
        }
    }

    /// `key=value; key=value`. A value is read as JSON if it is JSON, otherwise as text.
    pub fn from_pairs(pairs: &str) -> Result<Self, String> {
        let mut answer = Self::default();
        for pair in pairs.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
            let value = serde_json::from_str(value.trim()).unwrap_or_else(|_| Value::from(value.trim()));
            answer.set(name.trim(), &value).map_err(|problem| format!("{}: {problem}", name.trim()))?;
        }
        Ok(answer)
    }

    /// What a model's name asks for: `None` for names that aren't `sandbox-...`, an error for faults that don't exist.
    pub fn from_model(model: &str) -> Option<Result<Self, String>> {
        let fault = model.strip_prefix("sandbox-")?;
        Some(match FAULTS.iter().find(|(name, _)| *name == fault) {
            Some((_, pairs)) => Self::from_pairs(pairs),
            None if fault.len() == 3 && fault.parse::<u16>().is_ok() => Self::from_pairs(&format!("status={fault}")),
            None => Err(format!("model: {model}")),
        })
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<(), String> {
        match name {
            "status" => {
                let status = number(value)?;
                self.status = Some(u16::try_from(status).ok().filter(|s| (200..600).contains(s)).ok_or("200 to 599")?);
            }
            "headers" => {
                for (name, value) in value.as_object().ok_or("expected an object")? {
                    self.set_header(name, value)?;
                }
            }
            "retry-after" => self.set_header(name, value)?,
            "json" => self.body = Some(Body::Whole(value.to_string().into())),
            "text" => self.body = Some(Body::Whole(text(value)?.into())),
            "chunks" => {
                let chunks = value.as_array().ok_or("expected an array")?;
                self.body = Some(Body::Pieces(chunks.iter().map(piece).collect::<Result<_, _>>()?));
            }
            "delay_ms" => self.shape.delay = Duration::from_millis(number(value)?),
            "gap_ms" => self.shape.gap = Duration::from_millis(number(value)?),
            "burst" => {
                self.shape.burst =
                    value.as_bool().or_else(|| Some(value.as_u64()? > 0)).ok_or("expected true or false")?;
            }
            "end" => match text(value)?.as_str() {
                "close" => {
                    self.body = Some(Body::Silent);
                    self.shape.end = End::Cut;
                }
                end => self.shape.end = parse_end(end)?,
            },
            "deltas" => self.message.deltas = Some(count(value)?),
            "delta_bytes" => self.message.delta_bytes = Some(count(value)?),
            "reply" => self.message.reply = Some(text(value)?),
            "stop_reason" => self.message.stop_reason = Some(text(value)?),
            "usage" => self.message.usage = value.as_object().ok_or("expected an object")?.clone(),
            "error" => self.message.error = Some(text(value)?),
            "exception" => self.message.exception = Some(text(value)?),
            "frames" => match text(value)? {
                fault if FRAME_FAULTS.contains(&fault.as_str()) => self.message.frames = Some(fault),
                _ => return Err(format!("expected one of {}", FRAME_FAULTS.join(", "))),
            },
            "metrics" => {
                self.message.metrics = match text(value)?.as_str() {
                    "stop" => Metrics::InStop,
                    "alone" => Metrics::Alone,
                    "none" => Metrics::None,
                    _ => return Err("expected stop, alone or none".into()),
                }
            }
            _ => return Err("no such member of an answer".into()),
        }
        Ok(())
    }

    fn set_header(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if name.is_empty() || [name, &value].iter().any(|s| s.contains(['\r', '\n'])) {
            return Err("not a header".into());
        }
        self.headers.push((name.to_owned(), value));
        Ok(())
    }

    /// Whether the answer stands for itself, so that the service has no reply of its own to make.
    pub fn is_complete(&self) -> bool {
        self.body.is_some() || self.status.is_some_and(|status| status != 200)
    }

    /// The whole reply of a complete answer. `error_body` makes the service's usual body for a bare error status.
    pub fn complete(&self, error_body: impl FnOnce(u16) -> String) -> Reply {
        let status = self.status.unwrap_or(200);
        let mut reply = match &self.body {
            Some(body) => Reply::new(status, self.content_type(), body.clone()),
            None if status >= 400 => Reply::json(status, error_body(status)),
            None => Reply::empty(status),
        };
        self.apply(&mut reply);
        reply
    }

    /// Lays this answer's headers and shape over a reply.
    pub fn apply(&self, reply: &mut Reply) {
        for (name, value) in &self.headers {
            reply.set_header(name.clone(), value.clone());
        }
        reply.shape = self.shape;
    }

    fn content_type(&self) -> &'static str {
        match &self.body {
            Some(Body::Pieces(_)) => "text/event-stream; charset=utf-8",
            Some(Body::Whole(body)) if body.starts_with(b"{") || body.starts_with(b"[") => "application/json",
            _ => "text/plain; charset=utf-8",
        }
    }
}

fn parse_end(text: &str) -> Result<End, String> {
    Ok(match text {
        "ok" => End::Ok,
        "cut" => End::Cut,
        "reset" => End::Reset,
        "close_delimited" => End::CloseDelimited,
        "stall" => End::Stall,
        _ => return Err("expected ok, cut, reset, close_delimited, stall or close".into()),
    })
}

fn piece(value: &Value) -> Result<Piece, String> {
    if let Some(text) = value.as_str() {
        return Ok(Piece::once(text.to_owned()));
    }
    let encoded = value.get("base64").and_then(Value::as_str).ok_or("a chunk is a text or {\"base64\": text}")?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).map_err(|e| format!("base64: {e}"))?;
    Ok(Piece::once(Bytes::from(bytes)))
}

fn number(value: &Value) -> Result<u64, &'static str> {
    value.as_u64().ok_or("expected a whole number")
}

fn count(value: &Value) -> Result<usize, String> {
    // A typing error should not fill the memory of the machine.
    usize::try_from(number(value)?).ok().filter(|n| *n <= 100_000_000).ok_or_else(|| "too large".into())
}

fn text(value: &Value) -> Result<String, &'static str> {
    value.as_str().map(str::to_owned).ok_or("expected a text")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_member_is_read() {
        let answer = Answer::from_json(&json!({
            "status": 200, "headers": {"x-a": "b", "n": 3}, "delay_ms": 10, "gap_ms": 20, "end": "cut", "burst": true,
            "chunks": ["event: ping\n", {"base64": "AP8="}], "deltas": 3, "delta_bytes": 4, "reply": "hi",
            "stop_reason": "max_tokens", "usage": {"output_tokens": 9}, "error": "api_error"
        }))
        .unwrap();
        assert_eq!(answer.status, Some(200));
        assert_eq!(answer.headers, [("n".into(), "3".into()), ("x-a".into(), "b".into())]);
        let shape =
            Shape { delay: Duration::from_millis(10), gap: Duration::from_millis(20), end: End::Cut, burst: true };
        assert_eq!(answer.shape, shape);
        assert_eq!(answer.body, Some(Body::Pieces(vec![Piece::once("event: ping\n"), Piece::once(&[0u8, 0xff][..])])));
        assert_eq!((answer.message.deltas, answer.message.delta_bytes), (Some(3), Some(4)));
        assert_eq!(answer.message.reply.as_deref(), Some("hi"));
        assert_eq!(answer.message.stop_reason.as_deref(), Some("max_tokens"));
        assert_eq!(answer.message.usage["output_tokens"], 9);
        assert_eq!(answer.message.error.as_deref(), Some("api_error"));
    }

    #[test]
    fn bare_answers_say_nothing() {
        for (name, end) in [("close", End::Cut), ("reset", End::Reset), ("stall", End::Stall)] {
            let answer = Answer::from_json(&json!(name)).unwrap();
            assert_eq!((answer.body, answer.shape.end), (Some(Body::Silent), end), "{name}");
        }
        assert_eq!(Answer::from_json(&json!({"end": "close"})), Answer::from_json(&json!("close")));
    }

    #[test]
    fn pairs_speak_the_same_language() {
        let cases = [
            ("", json!({})),
            ("status=529", json!({"status": 529})),
            ("status=429;retry-after=2", json!({"status": 429, "headers": {"retry-after": "2"}})),
            (" deltas=10 ; delta_bytes = 32; gap_ms=5 ", json!({"deltas": 10, "delta_bytes": 32, "gap_ms": 5})),
            ("end=reset; burst", json!({"end": "reset", "burst": true})),
            ("burst=1; reply=so be it", json!({"burst": true, "reply": "so be it"})),
            (r#"usage={"output_tokens":1}"#, json!({"usage": {"output_tokens": 1}})),
        ];
        for (pairs, json) in cases {
            assert_eq!(Answer::from_pairs(pairs), Answer::from_json(&json), "{pairs}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (json, part) in [
            (json!({"statsu": 200}), "statsu"),
            (json!({"status": 99}), "status"),
            (json!({"status": 70000}), "status"),
            (json!({"delay_ms": -1}), "delay_ms"),
            (json!({"end": "maybe"}), "end"),
            (json!({"chunks": [1]}), "chunks"),
            (json!({"chunks": [{"base64": "?"}]}), "base64"),
            (json!({"headers": {"a": "b\r\nc: d"}}), "headers"),
            (json!({"frames": "odd"}), "frames"),
            (json!({"metrics": "odd"}), "metrics"),
            (json!("soon"), "an answer is"),
        ] {
            let problem = Answer::from_json(&json).unwrap_err();
            assert!(problem.contains(part), "{json}: {problem}");
        }
    }

    #[test]
    fn model_names_stand_for_faults() {
        for (name, pairs) in FAULTS {
            let answer = Answer::from_model(&format!("sandbox-{name}")).unwrap();
            assert!(answer.is_ok(), "{name}");
            assert_eq!(answer, Answer::from_pairs(pairs), "{name}");
        }
        assert_eq!(Answer::from_model("sandbox-503").unwrap().unwrap().status, Some(503));
        assert!(Answer::from_model("sandbox-surprise").unwrap().is_err());
        assert!(Answer::from_model("sandbox-999").unwrap().is_err());
        assert!(Answer::from_model("claude-sonnet-4-5").is_none());
    }

    #[test]
    fn an_answer_is_complete_when_it_leaves_nothing_to_the_service() {
        for (json, complete) in [
            (json!({}), false),
            (json!({"status": 200, "delay_ms": 5}), false),
            (json!({"end": "cut"}), false),
            (json!({"status": 204}), true),
            (json!({"status": 503}), true),
            (json!({"text": ""}), true),
            (json!("close"), true),
        ] {
            assert_eq!(Answer::from_json(&json).unwrap().is_complete(), complete, "{json}");
        }
    }
}
