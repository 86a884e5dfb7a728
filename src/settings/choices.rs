//! What can be chosen for one call, or for those of a scope: the member `revenium`. `CHOICES` says everything about each
//! choice once; reading and the documentation follow it.

use super::idempotency::IdempotencyKey;
use super::{ProviderChoice, Secret, parse};
use crate::common::error::{Code, Error, Result};
use crate::common::log;
use crate::common::trace_context::{TRACEPARENT, TRACESTATE, TraceContext};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::fmt::Write;
use std::time::Duration;

/// The member `revenium`, read.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    pub timeout: Option<Duration>,
    pub provider: Option<ProviderChoice>,
    pub api_key: Option<String>,
    pub base_url: Option<String>,
    pub aws_region: Option<String>,
    pub headers: Vec<(HeaderName, Option<HeaderValue>)>,
    pub meter: Option<bool>,
    /// False: the caller tries again by himself, so a failure that may be tried again leaves no record.
    pub meter_retryable: Option<bool>,
    pub max_retries: Option<u32>,
    pub capture_prompts: Option<bool>,
    pub max_prompt_size: Option<usize>,
    pub capture_error_messages: Option<bool>,
    /// Another account of Revenium than the process's.
    pub metering_api_key: Option<String>,
    pub metering_base_url: Option<String>,
    pub idempotency_key: Option<IdempotencyKey>,
    /// Whose child the call is: `traceparent` and `tracestate`, or else the headers of these names.
    pub trace: Option<TraceContext>,
    /// The call is an SDK's, which makes spans of its own.
    pub dropin: Option<bool>,
    /// `base_url` was named by a body and is none of the host's: no secret of the process goes there.
    pub foreign: bool,
}

/// One row.
struct Choice {
    name: &'static str,
    /// To follow "must be".
    allowed: &'static str,
    /// `None`: the value is not allowed.
    take: fn(&mut Reading, &Value) -> Option<()>,
    meaning: &'static str,
}

/// Choices that are being read.
#[derive(Default)]
struct Reading {
    choices: Choices,
    traceparent: Option<String>,
    tracestate: Option<String>,
}

const FLAG: &str = "true or false";
const LARGEST_PROMPT: u64 = 10_000_000;
const SMALLEST_PROMPT: usize = 200;

const CHOICES: &[Choice] = &[
    Choice {
        name: "timeout_ms",
        allowed: "a number of milliseconds above 0",
        take: |to, value| {
            let ms = value.as_u64().filter(|ms| *ms > 0)?;
            to.choices.timeout = Some(Duration::from_millis(ms));
            Some(())
        },
        meaning: "The whole call may take so long, its repetitions included.",
    },
    Choice {
        name: "provider",
        allowed: "\"auto\", \"anthropic\" or \"bedrock\"",
        take: |to, value| {
            to.choices.provider = Some(ProviderChoice::named(value.as_str()?)?);
            Some(())
        },
        meaning: "Who shall answer.",
    },
    Choice {
        name: "api_key",
        allowed: "a key",
        take: |to, value| {
            let key = value.as_str().map(str::trim).filter(|key| !key.is_empty())?;
            to.choices.api_key = Some(key.to_owned());
            Some(())
        },
        meaning: "The Anthropic key to call with.",
    },
    Choice {
        name: "base_url",
        allowed: "a URL",
        take: |to, value| text(value, &mut to.choices.base_url),
        meaning: "Where the call goes. In a request's body it takes only credentials that stand beside it.",
    },
    Choice {
        name: "aws_region",
        allowed: "a region such as us-east-1",
        take: |to, value| {
            let region = value.as_str().filter(|region| !region.is_empty())?;
            parse::region(region, &mut to.choices.aws_region).then_some(())
        },
        meaning: "The region of AWS Bedrock.",
    },
    Choice {
        name: "headers",
        allowed: "an object of valid header names and values",
        take: |to, value| {
            for (name, value) in value.as_object()? {
                to.choices.headers.push(header(name, value)?);
            }
            Some(())
        },
        meaning: "Further headers for the provider; null takes one away.",
    },
    Choice {
        name: "meter",
        allowed: FLAG,
        take: |to, value| flag(value, &mut to.choices.meter),
        meaning: "false: no record. true: one, also where metering is selective.",
    },
    Choice {
        name: "meter_retryable",
        allowed: FLAG,
        take: |to, value| flag(value, &mut to.choices.meter_retryable),
        meaning: "false: no record of a failure that may be tried again, for callers that do so themselves.",
    },
    Choice {
        name: "max_retries",
        allowed: "a number from 0 to 100",
        take: |to, value| {
            to.choices.max_retries = Some(value.as_u64().filter(|retries| *retries <= 100)? as u32);
            Some(())
        },
        meaning: "Repetitions after a failure that may pass.",
    },
    Choice {
        name: "capture_prompts",
        allowed: FLAG,
        take: |to, value| flag(value, &mut to.choices.capture_prompts),
        meaning: "Whether the record holds the prompt and the reply, masked and cut.",
    },
    Choice {
        name: "max_prompt_size",
        allowed: "a number of characters up to 10000000",
        take: |to, value| {
            let size = value.as_u64().filter(|size| *size <= LARGEST_PROMPT)? as usize;
            to.choices.max_prompt_size = Some(size.max(SMALLEST_PROMPT));
            Some(())
        },
        meaning: "So many characters of each are kept, and at least 200.",
    },
    Choice {
        name: "capture_error_messages",
        allowed: FLAG,
        take: |to, value| flag(value, &mut to.choices.capture_error_messages),
        meaning: "Whether the record of a failure holds the provider's sentence, masked.",
    },
    Choice {
        name: "metering_api_key",
        allowed: "a Revenium key, which begins with hak_ or rev_",
        take: |to, value| {
            let key = Secret::metering_key(value.as_str()?).ok()?;
            to.choices.metering_api_key = Some(key.expose().to_owned());
            Some(())
        },
        meaning: "Another account of Revenium for the record.",
    },
    Choice {
        name: "metering_base_url",
        allowed: "a URL",
        take: |to, value| text(value, &mut to.choices.metering_base_url),
        meaning: "Another place for the record. In a request's body it needs metering_api_key beside it.",
    },
    Choice {
        name: "idempotency_key",
        allowed: "1 to 255 visible ASCII characters",
        take: |to, value| {
            to.choices.idempotency_key = Some(IdempotencyKey::new(value.as_str()?)?);
            Some(())
        },
        meaning: "The record's Idempotency-Key; the calls of a scope are numbered (KEY, KEY:2, KEY:3).",
    },
    Choice {
        name: "traceparent",
        allowed: "text as the W3C's trace context has it",
        take: |to, value| text(value, &mut to.traceparent),
        meaning: "Whose child the call is in a trace.",
    },
    Choice {
        name: "tracestate",
        allowed: "text as the W3C's trace context has it",
        take: |to, value| text(value, &mut to.tracestate),
        meaning: "Goes with traceparent.",
    },
    Choice {
        name: "dropin",
        allowed: FLAG,
        take: |to, value| flag(value, &mut to.choices.dropin),
        meaning: "The call is an official SDK's, which makes spans of its own.",
    },
];

fn flag(value: &Value, to: &mut Option<bool>) -> Option<()> {
    *to = Some(value.as_bool()?);
    Some(())
}

fn text(value: &Value, to: &mut Option<String>) -> Option<()> {
    *to = Some(value.as_str()?.to_owned());
    Some(())
}

/// null takes a default header away.
fn header(name: &str, value: &Value) -> Option<(HeaderName, Option<HeaderValue>)> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let value = match value {
        Value::Null => None,
        Value::String(text) => Some(HeaderValue::from_str(text).ok()?),
        _ => return None,
    };
    Some((name, value))
}

/// The table as the documentation has it.
pub fn choices_markdown() -> String {
    let mut table = "| Choice | Value | Meaning |\n|---|---|---|\n".to_owned();
    for choice in CHOICES {
        let _ = writeln!(table, "| `{}` | {} | {} |", choice.name, choice.allowed, choice.meaning);
    }
    table
}

impl Choices {
    pub fn parse(text: &str) -> Result<Choices> {
        let Ok(Value::Object(object)) = serde_json::from_str::<Value>(text) else {
            return Err(Error::new(Code::Config, "\"revenium\" must be an object of choices for this call."));
        };
        let mut reading = Reading::default();
        for (name, value) in object.into_iter().filter(|(_, value)| !value.is_null()) {
            let choice = CHOICES
                .iter()
                .find(|choice| choice.name == name)
                .ok_or_else(|| Error::new(Code::Config, format!("\"revenium\" has no choice named \"{name}\".")))?;
            (choice.take)(&mut reading, &value).ok_or_else(|| {
                Error::new(Code::Config, format!("\"revenium\".\"{name}\" must be {}.", choice.allowed))
            })?;
        }
        let Reading { mut choices, traceparent, tracestate } = reading;
        choices.trace = traceparent
            .and_then(|traceparent| read_trace(&traceparent, tracestate.as_deref()))
            .or_else(|| read_trace(choices.header(&TRACEPARENT)?, choices.header(&TRACESTATE)));
        Ok(choices)
    }

    /// These, and where they say nothing, those of `outer`.
    pub fn over(self, outer: &Choices) -> Choices {
        Choices {
            timeout: self.timeout.or(outer.timeout),
            provider: self.provider.or(outer.provider),
            api_key: self.api_key.or_else(|| outer.api_key.clone()),
            base_url: self.base_url.or_else(|| outer.base_url.clone()),
            aws_region: self.aws_region.or_else(|| outer.aws_region.clone()),
            // The last of a name counts.
            headers: outer.headers.iter().cloned().chain(self.headers).collect(),
            meter: self.meter.or(outer.meter),
            meter_retryable: self.meter_retryable.or(outer.meter_retryable),
            max_retries: self.max_retries.or(outer.max_retries),
            capture_prompts: self.capture_prompts.or(outer.capture_prompts),
            max_prompt_size: self.max_prompt_size.or(outer.max_prompt_size),
            capture_error_messages: self.capture_error_messages.or(outer.capture_error_messages),
            metering_api_key: self.metering_api_key.or_else(|| outer.metering_api_key.clone()),
            metering_base_url: self.metering_base_url.or_else(|| outer.metering_base_url.clone()),
            idempotency_key: self.idempotency_key.or_else(|| outer.idempotency_key.clone()),
            trace: self.trace.or_else(|| outer.trace.clone()),
            dropin: self.dropin.or(outer.dropin),
            foreign: self.foreign,
        }
    }

    /// Whether a key, or a header with one, is among these.
    pub fn has_credential(&self) -> bool {
        let is_credential = |name: &HeaderName| matches!(name.as_str(), "x-api-key" | "authorization");
        self.api_key.is_some() || self.headers.iter().any(|(name, value)| value.is_some() && is_credential(name))
    }

    /// Lay these headers over `headers`.
    pub fn apply_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            match value {
                Some(value) => drop(headers.insert(name, value.clone())),
                None => drop(headers.remove(name)),
            }
        }
    }

    /// The value of a header, the last of its name.
    fn header(&self, name: &HeaderName) -> Option<&str> {
        let (_, value) = self.headers.iter().rev().find(|(header, _)| header == name)?;
        value.as_ref()?.to_str().ok()
    }

    /// Hand this context on, in place of any other.
    pub fn send_trace(&mut self, trace: &TraceContext) {
        self.headers.extend(trace.headers());
    }
}

/// A malformed one counts as none, as the W3C has it: tracing never fails a call.
fn read_trace(traceparent: &str, tracestate: Option<&str>) -> Option<TraceContext> {
    let trace = TraceContext::parse(traceparent, tracestate);
    if trace.is_none() {
        log::debug!("a traceparent is malformed; it is ignored");
    }
    trace
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_trace_context_that_can_be_read_counts() {
        let of = |span: &str| format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{span}-01");
        let (one, two) = (of("00f067aa0ba902b7"), of("00f067aa0ba902b8"));
        let cases = [
            (format!(r#"{{"traceparent":"{one}"}}"#), "{}".to_owned(), Some(&one)),
            (format!(r#"{{"traceparent":"{one}"}}"#), format!(r#"{{"traceparent":"{two}"}}"#), Some(&one)),
            (
                format!(r#"{{"headers":{{"Traceparent":"{one}"}}}}"#),
                format!(r#"{{"traceparent":"{two}"}}"#),
                Some(&one),
            ),
            (format!(r#"{{"headers":{{"traceparent":"{two}"}},"traceparent":"{one}"}}"#), "{}".into(), Some(&one)),
            (format!(r#"{{"headers":{{"traceparent":"{two}"}},"traceparent":"?"}}"#), "{}".into(), Some(&two)),
            ("{}".into(), format!(r#"{{"headers":{{"traceparent":"{two}"}}}}"#), Some(&two)),
            (r#"{"traceparent":"?","headers":{"traceparent":null}}"#.into(), "{}".into(), None),
            ("{}".into(), r#"{"tracestate":"a=1"}"#.into(), None),
        ];
        for (own, scope, wanted) in cases {
            let choices = Choices::parse(&own).unwrap().over(&Choices::parse(&scope).unwrap());
            let [(_, sent), _] = choices.trace.map_or([const { None }; 2].map(|v| (TRACEPARENT, v)), |t| t.headers());
            let sent = sent.as_ref().map(|sent| sent.to_str().unwrap());
            assert_eq!(sent, wanted.map(String::as_str), "{own} over {scope}");
        }
    }
}
