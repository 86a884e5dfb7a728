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
    /// As it stands in the documentation; empty: not there.
    example: &'static str,
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
        example: "2000",
        meaning: "Most time for the call with its retries. With it, a long reply is not streamed underneath.",
    },
    Choice {
        name: "provider",
        allowed: "\"auto\", \"anthropic\" or \"bedrock\"",
        take: |to, value| {
            to.choices.provider = Some(ProviderChoice::named(value.as_str()?)?);
            Some(())
        },
        example: r#""bedrock""#,
        meaning: "Who answers: `auto`, `anthropic` or `bedrock`.",
    },
    Choice {
        name: "api_key",
        allowed: "a key",
        take: |to, value| {
            let key = value.as_str().map(str::trim).filter(|key| !key.is_empty())?;
            to.choices.api_key = Some(key.to_owned());
            Some(())
        },
        example: r#""sk-ant-...""#,
        meaning: "The provider's key.",
    },
    Choice {
        name: "base_url",
        allowed: "a URL",
        take: |to, value| text(value, &mut to.choices.base_url),
        example: r#""https://gateway.example""#,
        meaning: "Where the provider is.",
    },
    Choice {
        name: "aws_region",
        allowed: "a region such as us-east-1",
        take: |to, value| {
            let region = value.as_str().filter(|region| !region.is_empty())?;
            parse::region(region, &mut to.choices.aws_region).then_some(())
        },
        example: r#""eu-west-1""#,
        meaning: "Bedrock's region.",
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
        example: r#"{"x-team": "blue", "anthropic-beta": null}"#,
        meaning: "Headers for the provider; null takes a default one away.",
    },
    Choice {
        name: "meter",
        allowed: FLAG,
        take: |to, value| flag(value, &mut to.choices.meter),
        example: "false",
        meaning: "Whether the call is metered; `true` with `selective_metering`.",
    },
    Choice {
        name: "meter_retryable",
        allowed: FLAG,
        take: |to, value| flag(value, &mut to.choices.meter_retryable),
        example: "false",
        meaning: "Whether a failure that another attempt may mend leaves a record: not where you try again by yourself.",
    },
    Choice {
        name: "max_retries",
        allowed: "a number from 0 to 100",
        take: |to, value| {
            to.choices.max_retries = Some(value.as_u64().filter(|retries| *retries <= 100)? as u32);
            Some(())
        },
        example: "0",
        meaning: "Attempts after the first.",
    },
    Choice {
        name: "capture_prompts",
        allowed: FLAG,
        take: |to, value| flag(value, &mut to.choices.capture_prompts),
        example: "true",
        meaning: "Record the system prompt, messages and reply; keys, tokens, passwords and card numbers in them are masked, images and thinking left out. Failed calls record none.",
    },
    Choice {
        name: "max_prompt_size",
        allowed: "a number of characters up to 10000000",
        take: |to, value| {
            let size = value.as_u64().filter(|size| *size <= LARGEST_PROMPT)? as usize;
            to.choices.max_prompt_size = Some(size.max(SMALLEST_PROMPT));
            Some(())
        },
        example: "4000",
        meaning: "Most characters of each; JSON stays JSON.",
    },
    Choice {
        name: "capture_error_messages",
        allowed: FLAG,
        take: |to, value| flag(value, &mut to.choices.capture_error_messages),
        example: "true",
        meaning: "Record the sentence of a failure beside its class; a provider's only with `capture_prompts`.",
    },
    Choice {
        name: "metering_api_key",
        allowed: "a Revenium key, which begins with hak_ or rev_",
        take: |to, value| {
            let key = Secret::metering_key(value.as_str()?).ok()?;
            to.choices.metering_api_key = Some(key.expose().to_owned());
            Some(())
        },
        example: r#""hak_other""#,
        meaning: "Another Revenium account than the process's.",
    },
    Choice {
        name: "metering_base_url",
        allowed: "a URL",
        take: |to, value| text(value, &mut to.choices.metering_base_url),
        example: r#""https://api.revenium.example""#,
        meaning: "Its address. In a request's body it needs the key beside it.",
    },
    Choice {
        name: "idempotency_key",
        allowed: "1 to 255 visible ASCII characters",
        take: |to, value| {
            to.choices.idempotency_key = Some(IdempotencyKey::new(value.as_str()?)?);
            Some(())
        },
        example: r#""order-17""#,
        meaning: "1 to 255 visible ASCII characters. The scope's records get `KEY`, `KEY:2`, `KEY:3` in the order of its calls, failures `KEY:err:…`; an attempt that is tried again leaves its number to the next.",
    },
    Choice {
        name: "traceparent",
        allowed: "text as the W3C's trace context has it",
        take: |to, value| text(value, &mut to.traceparent),
        example: r#""00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01""#,
        meaning: "Whose child the call is, as the W3C's trace context has it.",
    },
    Choice {
        name: "tracestate",
        allowed: "text as the W3C's trace context has it",
        take: |to, value| text(value, &mut to.tracestate),
        example: r#""vendor=value""#,
        meaning: "Its companion.",
    },
    Choice {
        name: "dropin",
        allowed: FLAG,
        take: |to, value| flag(value, &mut to.choices.dropin),
        example: "",
        meaning: "The bindings' own: the call is an official SDK's, which makes spans of its own.",
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
    let mut table = "| Choice | Value | Meaning |\n| --- | --- | --- |\n".to_owned();
    for Choice { name, example, meaning, .. } in CHOICES.iter().filter(|choice| !choice.example.is_empty()) {
        let _ = writeln!(table, "| `{name}` | `{example}` | {meaning} |");
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

    #[test]
    fn every_example_is_taken() {
        for Choice { name, example, .. } in CHOICES.iter().filter(|choice| !choice.example.is_empty()) {
            Choices::parse(&format!(r#"{{"{name}": {example}}}"#))
                .unwrap_or_else(|error| panic!("{name}: {}", error.message));
        }
    }
}
