//! How a call ended, in Revenium's words.

use super::capture::{Capture, mask};
use super::{End, Summary};
use crate::common::error::{Code, Error};
use crate::common::log::redact;

/// The failure members of a record.
pub(super) struct Failure {
    /// The error's class. Its message only where the host wants it: that can quote the prompt.
    pub reason: String,
    pub code: Option<u16>,
}

/// `stopReason`. Any literal the API does not know costs the whole record.
pub(super) fn stop_reason(end: End<'_>, summary: Option<&Summary>) -> &'static str {
    match end {
        End::Failed(error) if error.code != Code::Cancelled => return "ERROR",
        End::Failed(_) | End::Cancelled => return "CANCELLED",
        End::Complete => {}
    }
    match summary.and_then(|summary| summary.stop_reason.as_deref()) {
        None | Some("end_turn" | "pause_turn" | "compaction") => "END",
        Some("stop_sequence" | "tool_use") => "END_SEQUENCE",
        Some("max_tokens" | "model_context_window_exceeded") => "TOKEN_LIMIT",
        Some("refusal" | "content_filter" | "content_filtered" | "guardrail_intervened") => "ERROR",
        Some(_) => {
            crate::common::log::debug!(
                "the provider gave a stop reason that is newer than this library; it is recorded as END"
            );
            "END"
        }
    }
}

/// `errorReason` and `errorCode`; nothing when the call did not fail.
pub(super) fn failure(end: End<'_>, capture: Capture) -> Option<Failure> {
    let End::Failed(error) = end else { return None };
    (error.code != Code::Cancelled).then(|| of(error, capture))
}

/// `errorReason` without the error's own words, whatever records tell.
pub fn error_reason(error: &Error) -> String {
    of(error, Capture::default()).reason
}

fn of(error: &Error, capture: Capture) -> Failure {
    let (class, status, code) = match status(error) {
        Some(status @ 400..) => (of_status(status).to_owned(), Some(status), Some(status)),
        // An error event inside a stream came with 200, which is no code of a failure.
        Some(status) if !matches!(error.code, Code::Connection | Code::Timeout | Code::Stream) => {
            ("APIStatusError".to_owned(), Some(status), None)
        }
        _ => (of_code(error.code), None, None),
    };
    let behind = status.map(|status| format!(" (HTTP {status})")).unwrap_or_default();
    // What a provider says can quote the prompt.
    let wanted = capture.error_messages && (capture.prompts || status.is_none());
    let reason = match wanted.then(|| message(error)).filter(|message| !message.is_empty()) {
        Some(message) => {
            let room = LONGEST_REASON.saturating_sub(class.len() + 2 + behind.len());
            let message: String = message.chars().take(room).collect();
            format!("{class}: {message}{behind}")
        }
        None => class + &behind,
    };
    Failure { reason, code }
}

/// Revenium stores no longer ones.
const LONGEST_REASON: usize = 255;

/// What the provider said, else what this library says, without secrets.
fn message(error: &Error) -> String {
    let body = error.http.as_ref().map(|http| http.body.as_slice()).unwrap_or_default();
    let said = serde_json::from_slice::<serde_json::Value>(body).ok();
    let said = said.as_ref().and_then(|body| body.get("error").unwrap_or(body).get("message")?.as_str());
    let text = mask(said.unwrap_or(&error.message)).replace("***REDACTED***", "[REDACTED]");
    redact(text.trim()).into_owned()
}

/// The HTTP status, where one came.
fn status(error: &Error) -> Option<u16> {
    error.status().filter(|status| *status != 0)
}

/// The official SDKs' error classes: dashboards group by them.
fn of_status(status: u16) -> &'static str {
    match status {
        400 => "BadRequestError",
        401 => "AuthenticationError",
        402 => "PaymentRequiredError",
        403 => "PermissionDeniedError",
        404 => "NotFoundError",
        408 => "RequestTimeoutError",
        409 => "ConflictError",
        413 => "ContentTooLargeError",
        422 => "UnprocessableEntityError",
        429 => "RateLimitError",
        503 => "ServiceUnavailableError",
        504 => "GatewayTimeoutError",
        529 => "OverloadedError",
        500.. => "InternalServerError",
        _ => "APIStatusError",
    }
}

fn of_code(code: Code) -> String {
    let class = match code {
        Code::Connection => "APIConnectionError",
        Code::Timeout => "APITimeoutError",
        Code::Stream => "RemoteProtocolError",
        Code::Api => "APIStatusError",
        Code::RequestTooLarge => of_status(413),
        Code::Unprocessable => of_status(422),
        other => return format!("{other:?}Error"),
    };
    class.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::error::HttpError;

    #[test]
    fn stop_reasons_are_always_known_literals() {
        let of = |reason: Option<&str>| {
            let summary = Summary { stop_reason: reason.map(Into::into), ..Default::default() };
            stop_reason(End::Complete, Some(&summary))
        };
        for (given, expected) in [
            (Some("end_turn"), "END"),
            (Some("stop_sequence"), "END_SEQUENCE"),
            (Some("tool_use"), "END_SEQUENCE"),
            (Some("max_tokens"), "TOKEN_LIMIT"),
            (Some("model_context_window_exceeded"), "TOKEN_LIMIT"),
            (Some("pause_turn"), "END"),
            (Some("refusal"), "ERROR"),
            (Some("compaction"), "END"),
            (Some("content_filtered"), "ERROR"),
            (Some("guardrail_intervened"), "ERROR"),
            (Some("of tomorrow"), "END"),
            (None, "END"),
        ] {
            assert_eq!(of(given), expected, "{given:?}");
        }
        assert_eq!(stop_reason(End::Complete, None), "END");
        assert_eq!(stop_reason(End::Cancelled, None), "CANCELLED");
        assert_eq!(stop_reason(End::Failed(&Error::new(Code::Timeout, "")), None), "ERROR");
        assert_eq!(stop_reason(End::Failed(&Error::new(Code::Cancelled, "")), None), "CANCELLED");
    }

    #[test]
    fn failures_are_named_by_class_and_never_quote() {
        let answered = |code, status| {
            let http = HttpError { status, body: b"secret-word".to_vec(), retry_after_ms: None };
            Error::new(code, "secret-word").with_http(http)
        };
        for (error, reason, code) in [
            (answered(Code::BadRequest, 400), "BadRequestError (HTTP 400)", Some(400)),
            (answered(Code::Authentication, 401), "AuthenticationError (HTTP 401)", Some(401)),
            (answered(Code::Api, 402), "PaymentRequiredError (HTTP 402)", Some(402)),
            (answered(Code::PermissionDenied, 403), "PermissionDeniedError (HTTP 403)", Some(403)),
            (answered(Code::NotFound, 404), "NotFoundError (HTTP 404)", Some(404)),
            (answered(Code::Api, 408), "RequestTimeoutError (HTTP 408)", Some(408)),
            (answered(Code::Conflict, 409), "ConflictError (HTTP 409)", Some(409)),
            (answered(Code::RequestTooLarge, 413), "ContentTooLargeError (HTTP 413)", Some(413)),
            (answered(Code::Api, 418), "APIStatusError (HTTP 418)", Some(418)),
            (answered(Code::Unprocessable, 422), "UnprocessableEntityError (HTTP 422)", Some(422)),
            (answered(Code::RateLimit, 429), "RateLimitError (HTTP 429)", Some(429)),
            (answered(Code::InternalServer, 500), "InternalServerError (HTTP 500)", Some(500)),
            (answered(Code::InternalServer, 502), "InternalServerError (HTTP 502)", Some(502)),
            (answered(Code::InternalServer, 503), "ServiceUnavailableError (HTTP 503)", Some(503)),
            (answered(Code::InternalServer, 504), "GatewayTimeoutError (HTTP 504)", Some(504)),
            (answered(Code::Overloaded, 529), "OverloadedError (HTTP 529)", Some(529)),
            (answered(Code::Overloaded, 200), "APIStatusError (HTTP 200)", None),
            (answered(Code::Stream, 200), "RemoteProtocolError", None),
            (answered(Code::RateLimit, 0), "RateLimitError", None),
            (Error::new(Code::Connection, "secret-word"), "APIConnectionError", None),
            (Error::new(Code::Timeout, "secret-word"), "APITimeoutError", None),
            (Error::new(Code::Stream, "secret-word"), "RemoteProtocolError", None),
            (Error::new(Code::Aws, "secret-word"), "AwsError", None),
            (Error::new(Code::RequestTooLarge, "secret-word"), "ContentTooLargeError", None),
        ] {
            let failure = failure(End::Failed(&error), Capture::default()).unwrap();
            assert_eq!((failure.reason.as_str(), failure.code), (reason, code));
        }
        assert!(failure(End::Complete, Capture::default()).is_none());
        assert!(failure(End::Cancelled, Capture::default()).is_none());
        assert!(failure(End::Failed(&Error::new(Code::Cancelled, "")), Capture::default()).is_none());
    }

    #[test]
    fn a_message_shows_only_where_it_is_wanted_and_without_secrets() {
        let key = "sk-ant-ahov29GNUbipw3AHOVcj";
        let body = format!(r#"{{"type":"error","error":{{"type":"x","message":"bad {key} {}"}}}}"#, "y".repeat(400));
        let http = HttpError { status: 400, body: body.into_bytes(), retry_after_ms: None };
        let answered = Error::new(Code::BadRequest, "sentence").with_http(http);
        let unanswered = Error::new(Code::Connection, "nobody there");
        for (prompts, error_messages, said, sentence) in [
            (false, false, false, false),
            (true, false, false, false),
            (false, true, false, true),
            (true, true, true, true),
        ] {
            let capture = Capture { prompts, error_messages, ..Capture::default() };
            let reason = failure(End::Failed(&answered), capture).unwrap().reason;
            assert_eq!(reason.contains("bad"), said, "{reason}");
            assert!(
                reason.ends_with(" (HTTP 400)") && reason.chars().count() <= 255 && !reason.contains(key),
                "{reason}"
            );
            let reason = failure(End::Failed(&unanswered), capture).unwrap().reason;
            assert_eq!(reason, if sentence { "APIConnectionError: nobody there" } else { "APIConnectionError" });
        }
    }
}
