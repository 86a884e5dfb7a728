//! A request as the caller wrote it: checked, our two members taken out, the rest of its bytes left alone.

use crate::common::error::{Code, Error, Result};
use crate::common::json::edit::{object_of_request, spliced};
use crate::common::json::object::Object;
use crate::messages::RequestFacts;
use crate::settings::Choices;
use bytes::Bytes;
use serde_json::value::RawValue;

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
    /// `usage_metadata` of this call, as it is written.
    pub metadata: Option<String>,
    /// Those of the request over those of its scope.
    pub choices: Choices,
    /// The member `revenium` as it stands in the body: data, which may have come from anywhere.
    pub own_choices: Option<Choices>,
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
        let members = object_of_request(text)?;
        let find = |name: &str| members.get(name);
        let own_choices = find("revenium").map(|value| Choices::parse(value.get())).transpose()?;
        let choices = own_choices.clone().unwrap_or_default().over(scope);
        let metadata = find("usage_metadata").map(|value| value.get().to_owned());
        let wants_stream = streaming == Streaming::Always || find("stream").is_some_and(|value| value.get() == "true");
        let streamed = wants_stream || (choices.timeout.is_none() && takes_long(find("model"), find("max_tokens")));
        let body = rewritten(text, &members, streamed);
        let facts = RequestFacts::of(&members);
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
fn rewritten(text: &str, members: &Object<'_>, streamed: bool) -> Bytes {
    let is_ours = |name: &str, value: &RawValue| {
        // The last of several `stream` members counts; when it must change, all go and one comes.
        matches!(name, "usage_metadata" | "revenium") || (name == "stream" && !says(value, streamed))
    };
    let stream_missing = streamed && !members.iter().any(|(name, value)| name == "stream" && says(value, true));
    spliced(text, members, is_ours, if stream_missing { &[("stream", "true")] } else { &[] })
}

/// Whether a `stream` member may stay: it says what was decided, or something for the provider to judge.
fn says(value: &RawValue, streamed: bool) -> bool {
    match value.get() {
        "true" => streamed,
        _ => !streamed,
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
}
