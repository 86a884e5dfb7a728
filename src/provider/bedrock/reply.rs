//! What Bedrock answers: bodies, event streams, and failures in the words of the Messages API.

use super::aws::Missing;
use crate::common::error::{Code, Error, HttpError};
use crate::common::http;
use crate::messages::Framing;
use crate::provider::failure::sentence;
use crate::provider::{Body, Failure, Head};
use aws_sdk_bedrockruntime::primitives::event_stream::EventReceiver;
use aws_sdk_bedrockruntime::types::ResponseStream;
use aws_sdk_bedrockruntime::types::error::ResponseStreamError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::event_stream::{Message, RawMessage};
use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use http_body_util::LengthLimitError;
use std::error::Error as StdError;
use std::sync::Arc;

/// An error body is kept this far.
const MAX_ERROR_BYTES: usize = 1 << 20;

/// A reply that came at once.
pub(super) struct Whole(pub Option<Bytes>);

impl Body for Whole {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, Error>> {
        Box::pin(ready(Ok(self.0.take())))
    }

    fn framing(&self) -> Framing {
        Framing::Events
    }
}

/// Each frame holds one JSON event.
pub(super) struct Events(pub EventReceiver<ResponseStream, ResponseStreamError>);

impl Body for Events {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, Error>> {
        Box::pin(async {
            loop {
                match self.0.recv().await {
                    Ok(Some(ResponseStream::Chunk(part))) => {
                        if let Some(bytes) = part.bytes {
                            return Ok(Some(bytes.into_inner().into()));
                        }
                    }
                    // A kind of frame that is newer than this library.
                    Ok(Some(_)) => {}
                    Ok(None) => return Ok(None),
                    Err(fault) => return Err(broken(&fault)),
                }
            }
        })
    }

    fn framing(&self) -> Framing {
        Framing::Events
    }
}

/// How a stream ended before its time.
fn broken(fault: &SdkError<ResponseStreamError, RawMessage>) -> Error {
    let raw = match fault {
        SdkError::ServiceError(answer) => Some(answer.raw()),
        SdkError::ResponseError(answer) => Some(answer.raw()),
        _ => None,
    };
    if let Some(RawMessage::Decoded(frame)) = raw
        && let Some(error) = exception(frame)
    {
        return error;
    }
    match cause::<reqwest::Error>(fault) {
        Some(fault) => http::broken_off(fault),
        None => Error::new(Code::Stream, "The provider's stream has a frame that cannot be read."),
    }
}

/// The error that a frame holds.
pub(super) fn exception(frame: &Message) -> Option<Error> {
    let header = |name: &str| {
        let header = frame.headers().iter().find(|header| header.name().as_str() == name)?;
        header.value().as_string().ok().map(|text| text.as_str().to_owned())
    };
    let kind = match header(":message-type")?.as_str() {
        "exception" => header(":exception-type"),
        "error" => header(":error-code"),
        _ => return None,
    };
    let kind = word(kind.as_deref().unwrap_or_default());
    let mut body = frame.payload().to_vec();
    body.truncate(MAX_ERROR_BYTES);
    // What the model's own server said, where Bedrock passes it on.
    let original = serde_json::from_slice::<serde_json::Value>(&body).ok();
    let original = original.and_then(|value| u16::try_from(value.get("originalStatusCode")?.as_u64()?).ok());
    let code = match (code_of(kind), original) {
        (None, Some(status @ 400..)) => Code::of_status(status),
        (code, _) => code.unwrap_or(Code::InternalServer),
    };
    let what = if kind.is_empty() { "an error" } else { kind };
    let http = HttpError { status: 200, body, retry_after_ms: None };
    Some(Error::new(code, format!("The provider ended the stream with {what}.")).with_http(http))
}

/// AWS's name of an error, if it is one: it goes into sentences.
fn word(name: &str) -> &str {
    // `namespace#Name:http://address`
    let name = name.split(':').next().and_then(|name| name.rsplit('#').next()).unwrap_or_default().trim();
    if name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric()) { name } else { "" }
}

/// The code for an error that the HTTP status alone does not tell. In streams the names begin in lower case.
fn code_of(name: &str) -> Option<Code> {
    let name = name.strip_suffix("Exception").unwrap_or(name).to_ascii_lowercase();
    Some(match name.as_str() {
        "throttling" | "throttled" | "servicequotaexceeded" | "modelnotready" | "toomanyrequests" => Code::RateLimit,
        "accessdenied" | "optinrequired" => Code::PermissionDenied,
        "expiredtoken"
        | "unrecognizedclient"
        | "invalidsignature"
        | "incompletesignature"
        | "invalidclienttokenid"
        | "missingauthenticationtoken"
        | "signaturedoesnotmatch"
        | "requestexpired"
        | "invalidaccesskeyid" => Code::Authentication,
        "validation" => Code::BadRequest,
        "resourcenotfound" => Code::NotFound,
        "internalserver" | "serviceunavailable" | "modeltimeout" => Code::InternalServer,
        _ => return None,
    })
}

/// Whether the Messages API may answer what Bedrock did not. Not after the request may have been worked on, and not
/// where it would say the same.
fn helps_to_ask_directly(status: u16, kind: &str, body: &[u8]) -> bool {
    match (status, kind) {
        // It timed out in the model.
        (408 | 504, _) | (_, "ModelTimeoutException") => false,
        (400, "ValidationException" | "") => is_about_the_model(body),
        (413 | 422 | 424, _) => false,
        _ => true,
    }
}

/// Bedrock says by 400 that it has no such model, or not in this region without a profile.
fn is_about_the_model(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    ["model identifier", "on-demand throughput", "inference profile"].iter().any(|part| text.contains(part))
}

/// A request that got no good answer. `head`: the answer, if one began.
pub fn failed<E: StdError + 'static>(fault: &SdkError<E, HttpResponse>, head: Option<Arc<Head>>) -> Failure {
    let Some(head) = head else { return not_sent(fault) };
    let raw = fault.raw_response();
    if (200..300).contains(&head.status) {
        // It answered, so the tokens are used: nobody is asked again.
        return Failure { head: Some(head), ..Failure::before_answer(unreadable(fault), false) };
    }
    let mut body = raw.and_then(|raw| raw.body().bytes()).unwrap_or_default().to_vec();
    body.truncate(MAX_ERROR_BYTES);
    let kind = error_name(&head, &body);
    let mut failure = Failure::of_answer(head.clone(), body);
    failure.error.message = sentence(&head, &kind);
    if let Some(code) = code_of(&kind).filter(|code| !matches!(code, Code::InternalServer)) {
        failure.error.code = code;
    }
    match failure.error.code {
        Code::PermissionDenied => {
            failure.error.message += " The credentials need bedrock:InvokeModel and \
                bedrock:InvokeModelWithResponseStream for this model, and the account access to it.";
        }
        Code::Authentication => failure.error.message += " Renew or correct the AWS credentials.",
        _ => {}
    }
    let body = failure.error.http.as_ref().map(|http| http.body.as_slice()).unwrap_or_default();
    failure.ask_directly = helps_to_ask_directly(head.status, &kind, body);
    failure
}

/// The error's name: from its header, else from its body.
fn error_name(head: &Head, body: &[u8]) -> String {
    let header = head.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let inside = || {
        let body = serde_json::from_slice::<serde_json::Value>(body).ok()?;
        ["__type", "code"].iter().find_map(|name| body.get(name)?.as_str().map(str::to_owned))
    };
    match header.map(word) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => word(&inside().unwrap_or_default()).to_owned(),
    }
}

fn unreadable(fault: &(dyn StdError + 'static)) -> Error {
    match (cause::<LengthLimitError>(fault), cause::<reqwest::Error>(fault)) {
        (Some(_), _) => Error::new(Code::Stream, "The reply is larger than max_response_bytes."),
        (_, Some(fault)) => http::broken_off(fault),
        _ => Error::new(Code::Stream, "The provider's reply cannot be read."),
    }
}

/// Nothing came back.
fn not_sent(fault: &(dyn StdError + 'static)) -> Failure {
    if let Some(missing) = cause::<Missing>(fault) {
        let failure = Failure::before_answer(Error::new(Code::Aws, missing.to_string()), false);
        return Failure { ask_directly: true, ..failure };
    }
    let Some(fault) = cause::<reqwest::Error>(fault) else {
        let text = "The request could not be signed or addressed: check the AWS region, endpoint and credentials.";
        return Failure { ask_directly: true, ..Failure::before_answer(Error::new(Code::Aws, text), false) };
    };
    let failure = Failure::before_answer(http::unanswered(fault, "AWS Bedrock"), http::may_repeat(fault));
    // Once connected, the request may be on its way through the model.
    Failure { ask_directly: fault.is_connect(), ..failure }
}

/// The first of this type in the chain of causes.
fn cause<'a, T: StdError + 'static>(fault: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut fault = Some(fault);
    while let Some(this) = fault {
        if let Some(found) = this.downcast_ref() {
            return Some(found);
        }
        fault = this.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Tokens;
    use crate::provider::Provider;
    use aws_smithy_types::event_stream::{Header, HeaderValue};
    use reqwest::header::HeaderMap;

    fn frame(headers: &[(&'static str, &'static str)], payload: &'static str) -> Message {
        let message = Message::new(payload.as_bytes());
        headers.iter().fold(message, |message, (name, value)| {
            message.add_header(Header::new(*name, HeaderValue::String((*value).into())))
        })
    }

    #[test]
    fn frames_that_end_a_stream() {
        let event = |kind| [(":message-type", "exception"), (":exception-type", kind)];
        for (kind, payload, code) in [
            ("throttlingException", r#"{"message":"secret-word"}"#, Code::RateLimit),
            ("validationException", "{}", Code::BadRequest),
            ("internalServerException", "", Code::InternalServer),
            ("serviceUnavailableException", "{}", Code::InternalServer),
            ("modelTimeoutException", "{}", Code::InternalServer),
            ("modelStreamErrorException", "{}", Code::InternalServer),
            ("modelStreamErrorException", r#"{"originalStatusCode":529}"#, Code::Overloaded),
            ("ofTomorrowException", "{}", Code::InternalServer),
            ("no word", "{}", Code::InternalServer),
        ] {
            let error = exception(&frame(&event(kind), payload)).unwrap();
            assert_eq!(error.code, code, "{kind}");
            assert!(!error.message.contains("secret-word"));
            assert_eq!((error.status(), error.http.unwrap().body.as_slice()), (Some(200), payload.as_bytes()));
        }
        let error = frame(&[(":message-type", "error"), (":error-code", "InternalError"), (":error-message", "x")], "");
        assert!(exception(&error).unwrap().message.contains("InternalError"));
        assert!(exception(&frame(&[(":message-type", "event")], "{}")).is_none());
        assert!(exception(&frame(&[], "{}")).is_none());
    }

    #[test]
    fn names_of_errors() {
        let head = |kind: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(kind) = kind {
                headers.insert("x-amzn-errortype", kind.parse().unwrap());
            }
            Head {
                provider: Provider::Bedrock,
                status: 400,
                headers,
                request_id: String::new(),
                tokens: Tokens::default(),
            }
        };
        for (header, body, want) in [
            (Some("ValidationException:http://internal.amazon.com/"), "", "ValidationException"),
            (Some("ThrottlingException"), r#"{"__type":"Other"}"#, "ThrottlingException"),
            (None, r#"{"__type":"com.amazon.coral.service#ExpiredTokenException"}"#, "ExpiredTokenException"),
            (None, r#"{"code":"AccessDeniedException"}"#, "AccessDeniedException"),
            (None, "<html>", ""),
            (Some("not a word!"), "", ""),
            (Some(""), r#"{"code":"AccessDeniedException"}"#, "AccessDeniedException"),
        ] {
            assert_eq!(error_name(&head(header), body.as_bytes()), want);
        }
    }

    #[test]
    fn asking_directly_never_repeats_a_billable_call_or_a_sure_refusal() {
        for (status, kind, body, want) in [
            (403, "AccessDeniedException", "", true),
            (403, "ExpiredTokenException", "", true),
            (404, "ResourceNotFoundException", "", true),
            (429, "ThrottlingException", "", true),
            (503, "ServiceUnavailableException", "", true),
            (400, "ServiceQuotaExceededException", "", true),
            (400, "ValidationException", r#"{"message":"messages: at least one message is required"}"#, false),
            (400, "ValidationException", r#"{"message":"The provided model identifier is invalid."}"#, true),
            (400, "ValidationException", "Invocation of model ID x with on-demand throughput isn’t supported", true),
            (408, "ModelTimeoutException", "", false),
            (413, "", "", false),
            (424, "ModelErrorException", "", false),
        ] {
            assert_eq!(helps_to_ask_directly(status, kind, body.as_bytes()), want, "{status} {kind} {body}");
        }
    }
}
