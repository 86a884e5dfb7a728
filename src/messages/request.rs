//! A request as the caller wrote it: checked, our two members taken out, the rest of its bytes left alone.

use crate::common::error::{Code, Error, Result};
use crate::common::json::edit::{Member, find, members, spliced};
use crate::common::log;
use crate::common::trace_context::{TRACEPARENT, TRACESTATE, TraceContext};
use crate::meter::idempotency::IdempotencyKey;
use crate::meter::{Metadata, RequestFacts};
use crate::settings::{ProviderChoice, Secret};
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::Duration;

/// The Messages API allows 32 MB; what is larger than this is surely a mistake.
const MAX_BYTES: usize = 256 << 20;

pub struct Request {
    /// What goes to the provider.
    pub body: Bytes,
    /// Whether the provider is asked to stream.
    pub streamed: bool,
    /// Whether the caller asked for a stream.
    pub wants_stream: bool,
    pub facts: RequestFacts,
    /// `usage_metadata` of this call.
    pub metadata: Option<Metadata>,
    /// Those of the request over those of its scope.
    pub choices: Choices,
    /// The member `revenium` as it stands in the body: data, which may have come from anywhere.
    pub own_choices: Option<Choices>,
}

/// The member `revenium`: choices for one call, or for those of a scope.
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

/// What the calling function wants of streaming, over what the request says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Streaming {
    /// As the request says; and where a plain reply would take over ten minutes, streamed underneath.
    AsRequested,
    /// Always: somebody waits for events.
    Always,
}

impl Request {
    /// Outside a scope with choices.
    pub fn parse(text: &str, streaming: Streaming) -> Result<Request> {
        Request::parse_within(text, streaming, &Choices::default())
    }

    /// `scope`: the choices of the call's scope.
    pub fn parse_within(text: &str, streaming: Streaming, scope: &Choices) -> Result<Request> {
        if text.len() > MAX_BYTES {
            return Err(Error::new(Code::RequestTooLarge, "The request is larger than 256 MiB."));
        }
        let members = members(text)?;
        let find = |name: &str| find(&members, name);
        let own_choices = find("revenium").map(|value| Choices::parse(value.get())).transpose()?;
        let choices = own_choices.clone().unwrap_or_default().over(scope);
        let metadata = find("usage_metadata").map(|value| Metadata::from_json(value.get()));
        let wants_stream = streaming == Streaming::Always || find("stream").is_some_and(|value| value.get() == "true");
        let streamed = wants_stream || (choices.timeout.is_none() && takes_long(find("model"), find("max_tokens")));
        let body = rewritten(text, &members, streamed);
        let facts = RequestFacts::of(members.iter().map(|member| (&*member.name, member.value)));
        Ok(Request { body, streamed, wants_stream, facts, metadata, choices, own_choices })
    }
}

/// A plain reply of so many tokens may take over ten minutes, the official SDKs' limit for unstreamed requests:
/// an hour for 128,000 tokens, and at most 8,192 tokens for the older Opus models.
fn takes_long(model: Option<&RawValue>, max_tokens: Option<&RawValue>) -> bool {
    let Some(max_tokens) = max_tokens.and_then(|value| value.get().parse::<u64>().ok()) else { return false };
    let model = model.map_or("", |value| value.get());
    let older_opus = [
        "claude-opus-4-0\"",
        "opus-4-20250514",
        "claude-opus-4@20250514",
        "anthropic.claude-opus-4-1",
        "claude-opus-4-1@",
    ]
    .iter()
    .any(|name| model.contains(name));
    max_tokens.saturating_mul(3600) > 128_000 * 600 || (older_opus && max_tokens > 8192)
}

/// The request's bytes without our members and with `stream` as decided; untouched where nothing is to change.
fn rewritten(text: &str, members: &[Member<'_>], streamed: bool) -> Bytes {
    let is_ours = |member: &Member<'_>| {
        // The last of several `stream` members counts; when it must change, all go and one comes.
        matches!(&*member.name, "usage_metadata" | "revenium") || (member.name == "stream" && !says(member, streamed))
    };
    let stream_missing = streamed && !members.iter().any(|member| member.name == "stream" && says(member, true));
    spliced(text, members, is_ours, if stream_missing { &[("stream", "true")] } else { &[] })
}

/// Whether a `stream` member may stay: it says what was decided, or something for the provider to judge.
fn says(member: &Member<'_>, streamed: bool) -> bool {
    match member.value.get() {
        "true" => streamed,
        _ => !streamed,
    }
}

impl Choices {
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
        self.api_key.is_some()
            || self
                .headers
                .iter()
                .any(|(name, value)| value.is_some() && matches!(name.as_str(), "x-api-key" | "authorization"))
    }

    pub fn parse(text: &str) -> Result<Choices> {
        let Ok(Value::Object(object)) = serde_json::from_str::<Value>(text) else {
            return Err(Error::new(Code::Config, "\"revenium\" must be an object of choices for this call."));
        };
        let mut choices = Choices::default();
        let (mut traceparent, mut tracestate) = (None, None);
        for (name, value) in object {
            let wrong = |wanted: &str| Error::new(Code::Config, format!("\"revenium\".\"{name}\" must be {wanted}."));
            if value.is_null() {
                continue;
            }
            match name.as_str() {
                "timeout_ms" => {
                    let ms =
                        value.as_u64().filter(|ms| *ms > 0).ok_or_else(|| wrong("a number of milliseconds above 0"))?;
                    choices.timeout = Some(Duration::from_millis(ms));
                }
                "provider" => {
                    choices.provider = Some(match value.as_str() {
                        Some("auto") => ProviderChoice::Auto,
                        Some("anthropic") => ProviderChoice::Anthropic,
                        Some("bedrock") => ProviderChoice::Bedrock,
                        _ => return Err(wrong("\"auto\", \"anthropic\" or \"bedrock\"")),
                    });
                }
                "api_key" => {
                    let key = value.as_str().map(str::trim).filter(|key| !key.is_empty());
                    choices.api_key = Some(key.ok_or_else(|| wrong("a key"))?.to_owned());
                }
                "base_url" => {
                    choices.base_url = Some(value.as_str().ok_or_else(|| wrong("a URL"))?.to_owned());
                }
                "aws_region" => {
                    let is_region = |text: &&str| {
                        !text.is_empty()
                            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                    };
                    let region = value.as_str().filter(is_region).ok_or_else(|| wrong("a region such as us-east-1"))?;
                    choices.aws_region = Some(region.to_owned());
                }
                "headers" => {
                    let object = value.as_object().ok_or_else(|| wrong("an object of header names and values"))?;
                    for (header, value) in object {
                        choices
                            .headers
                            .push(header_of(header, value).ok_or_else(|| wrong("an object of valid headers"))?);
                    }
                }
                "meter" => choices.meter = Some(value.as_bool().ok_or_else(|| wrong("true or false"))?),
                "meter_retryable" => {
                    choices.meter_retryable = Some(value.as_bool().ok_or_else(|| wrong("true or false"))?);
                }
                "max_retries" => {
                    let n = value.as_u64().filter(|n| *n <= 100).ok_or_else(|| wrong("a number from 0 to 100"))?;
                    choices.max_retries = Some(n as u32);
                }
                "capture_prompts" => {
                    choices.capture_prompts = Some(value.as_bool().ok_or_else(|| wrong("true or false"))?);
                }
                "capture_error_messages" => {
                    choices.capture_error_messages = Some(value.as_bool().ok_or_else(|| wrong("true or false"))?);
                }
                "max_prompt_size" => {
                    let size = value.as_u64().filter(|size| *size <= 10_000_000);
                    let size = size.ok_or_else(|| wrong("a number of characters up to 10000000"))?;
                    choices.max_prompt_size = Some((size as usize).max(200));
                }
                "metering_api_key" => {
                    let key = value.as_str().and_then(|key| Secret::metering_key(key).ok());
                    let key = key.ok_or_else(|| wrong("a Revenium key, which begins with hak_ or rev_"))?;
                    choices.metering_api_key = Some(key.expose().to_owned());
                }
                "metering_base_url" => {
                    choices.metering_base_url = Some(value.as_str().ok_or_else(|| wrong("a URL"))?.to_owned());
                }
                "idempotency_key" => {
                    let key = value.as_str().and_then(IdempotencyKey::new);
                    choices.idempotency_key = Some(key.ok_or_else(|| wrong("1 to 255 visible ASCII characters"))?);
                }
                "traceparent" | "tracestate" => {
                    let text = value.as_str().ok_or_else(|| wrong("text as the W3C's trace context has it"))?;
                    let slot = if name == "traceparent" { &mut traceparent } else { &mut tracestate };
                    *slot = Some(text.to_owned());
                }
                "dropin" => choices.dropin = Some(value.as_bool().ok_or_else(|| wrong("true or false"))?),
                _ => return Err(Error::new(Code::Config, format!("\"revenium\" has no choice named \"{name}\"."))),
            }
        }
        choices.trace = traceparent
            .and_then(|traceparent| read_trace(&traceparent, tracestate.as_deref()))
            .or_else(|| read_trace(choices.header(&TRACEPARENT)?, choices.header(&TRACESTATE)));
        Ok(choices)
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

/// null takes a default header away.
fn header_of(name: &str, value: &Value) -> Option<(HeaderName, Option<HeaderValue>)> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let value = match value {
        Value::Null => None,
        Value::String(text) => Some(HeaderValue::from_str(text).ok()?),
        _ => return None,
    };
    Some((name, value))
}

impl Choices {
    /// Lay this call's headers over `headers`.
    pub fn apply_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            match value {
                Some(value) => drop(headers.insert(name, value.clone())),
                None => drop(headers.remove(name)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str, streaming: Streaming) -> String {
        String::from_utf8(Request::parse(text, streaming).unwrap().body.to_vec()).unwrap()
    }

    #[test]
    fn bytes_stay_as_they_are_but_for_our_members_and_stream() {
        use Streaming::*;
        for (text, streaming, want) in [
            (
                r#" { "b" : 1.0e2 , "a":12345678901234567890 } "#,
                AsRequested,
                r#" { "b" : 1.0e2 , "a":12345678901234567890 } "#,
            ),
            (r#"{"a":1,"usage_metadata":{"x":[1,2]},"b":2}"#, AsRequested, r#"{"a":1,"b":2}"#),
            (r#"{"usage_metadata":1,"a": {"k" : "é\n"}}"#, AsRequested, r#"{"a": {"k" : "é\n"}}"#),
            (r#"{"a":1,"revenium":{},"usage_metadata":null}"#, AsRequested, r#"{"a":1}"#),
            (r#"{"usage_metadata":{}}"#, AsRequested, "{}"),
            (r#"{"usage\u005fmetadata":{},"a":1}"#, AsRequested, r#"{"a":1}"#),
            (r#"{"usage_metadata":{},"a":1,"usage_metadata":2}"#, AsRequested, r#"{"a":1}"#),
            (r#"{"a":1}"#, Always, r#"{"a":1,"stream":true}"#),
            (r#"{"stream":false,"a":1}"#, Always, r#"{"a":1,"stream":true}"#),
            (r#"{"stream":true,"a":1}"#, Always, r#"{"stream":true,"a":1}"#),
            (r#"{"a":1,"stream":false}"#, AsRequested, r#"{"a":1,"stream":false}"#),
            (r#"{"stream":true,"stream":false}"#, AsRequested, r#"{"stream":false}"#),
            ("{}", Always, r#"{"stream":true}"#),
            (
                r#"{"a":"{\"revenium\":1}","c":{"revenium":1}}"#,
                AsRequested,
                r#"{"a":"{\"revenium\":1}","c":{"revenium":1}}"#,
            ),
        ] {
            assert_eq!(body(text, streaming), want, "{text}");
        }
    }

    #[test]
    fn long_replies_are_streamed_underneath() {
        for (text, streamed) in [
            (r#"{"max_tokens":21333}"#, false),
            (r#"{"max_tokens":21334}"#, true),
            (r#"{"max_tokens":21334,"revenium":{"timeout_ms":5}}"#, false),
            (r#"{"model":"claude-opus-4-20250514","max_tokens":8193}"#, true),
            (r#"{"model":"claude-opus-4-7","max_tokens":8193}"#, false),
        ] {
            let request = Request::parse(text, Streaming::AsRequested).unwrap();
            assert_eq!((request.streamed, request.wants_stream), (streamed, false), "{text}");
        }
    }

    #[test]
    fn bad_requests_say_what_is_wrong() {
        for (text, code, part) in [
            ("", Code::Json, "line 1"),
            ("[1]", Code::Json, "object"),
            ("{\"a\":\n nope}", Code::Json, "line 2, column"),
            ("{} x", Code::Json, "line 1"),
            (r#"{"revenium":3}"#, Code::Config, "object"),
            (r#"{"revenium":{"timeout":3}}"#, Code::Config, "\"timeout\""),
            (r#"{"revenium":{"timeout_ms":-3}}"#, Code::Config, "timeout_ms"),
            (r#"{"revenium":{"provider":"azure"}}"#, Code::Config, "bedrock"),
            (r#"{"revenium":{"aws_region":"US East"}}"#, Code::Config, "aws_region"),
            (r#"{"revenium":{"headers":{"a b":"c"}}}"#, Code::Config, "headers"),
            (r#"{"revenium":{"meter":1}}"#, Code::Config, "true or false"),
            (r#"{"revenium":{"capture_prompts":"yes"}}"#, Code::Config, "true or false"),
            (r#"{"revenium":{"max_prompt_size":-1}}"#, Code::Config, "max_prompt_size"),
            (r#"{"revenium":{"metering_api_key":"sk-other"}}"#, Code::Config, "hak_"),
            (r#"{"revenium":{"idempotency_key":"a b"}}"#, Code::Config, "visible ASCII"),
            (r#"{"revenium":{"traceparent":1}}"#, Code::Config, "trace context"),
        ] {
            let error = Request::parse(text, Streaming::AsRequested).err().unwrap();
            assert_eq!(error.code, code, "{text}");
            assert!(error.message.contains(part), "{text}: {}", error.message);
        }
    }

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
