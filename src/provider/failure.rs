//! An attempt that failed: what is told of it, and whether another may help.

use super::Head;
use crate::common::error::{Code, Error, HttpError};
use crate::common::retry;
use reqwest::header::HeaderMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// One attempt that failed, and whether another may help.
pub struct Failure {
    pub error: Error,
    pub head: Option<Arc<Head>>,
    pub retry: bool,
    /// The delay that the provider asked for.
    pub retry_after: Option<Duration>,
    /// Whether Anthropic itself may be asked instead.
    pub ask_directly: bool,
}

impl Failure {
    /// Nothing came back, or it could not be sent.
    pub fn before_answer(error: Error, retry: bool) -> Failure {
        Failure { error, head: None, retry, retry_after: None, ask_directly: false }
    }

    /// The provider answered with something other than success. `body`: as far as it could be read.
    pub fn of_answer(head: Arc<Head>, body: Vec<u8>) -> Failure {
        let status = head.status;
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let retry = match header("x-should-retry") {
            Some("true") => true,
            Some("false") => false,
            _ => matches!(status, 408 | 409 | 429 | 500..),
        };
        let retry_after = retry_after(&head.headers);
        let mut error = Error::new(
            if status < 400 { Code::Api } else { Code::of_status(status) },
            sentence(&head, &error_type(&body)),
        );
        error = error.with_http(HttpError {
            status,
            body,
            retry_after_ms: retry_after.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
        });
        Failure { error, head: Some(head), retry, retry_after, ask_directly: false }
    }
}

/// The provider's own message may quote the prompt, so only its status, type and request id are told.
pub(super) fn sentence(head: &Head, kind: &str) -> String {
    let mut text = format!("The provider answered {}", head.status);
    if !kind.is_empty() {
        text += &format!(" {kind}");
    }
    if (300..400).contains(&head.status) {
        text += ", a redirect, which is not followed";
    }
    if !head.request_id.is_empty() {
        text += &format!(" (request {})", head.request_id);
    }
    text + "."
}

/// `error.type` of an error body, if it looks like one.
fn error_type(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Envelope {
        error: Inner,
    }
    #[derive(serde::Deserialize)]
    struct Inner {
        r#type: String,
    }
    serde_json::from_slice::<Envelope>(body)
        .map(|envelope| envelope.error.r#type)
        .ok()
        .filter(|kind| kind.len() <= 64 && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        .unwrap_or_default()
}

/// The delay that the provider asks for. Only one above zero counts.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = retry::retry_after(headers, SystemTime::now())?;
    Duration::try_from_secs_f64(seconds).ok().filter(|delay| !delay.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::RETRY_AFTER;

    #[test]
    fn retry_after_counts_only_above_zero() {
        for (value, wanted) in
            [("0.3", Some(300)), ("2", Some(2000)), ("0", None), ("-5", None), ("inf", None), ("x", None)]
        {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            assert_eq!(retry_after(&headers), wanted.map(Duration::from_millis), "{value}");
        }
    }

    #[test]
    fn an_error_type_is_told_only_when_it_looks_like_one() {
        assert_eq!(
            error_type(br#"{"type":"error","error":{"type":"rate_limit_error","message":"m"}}"#),
            "rate_limit_error"
        );
        assert_eq!(error_type(br#"{"error":{"type":"my secret words"}}"#), "");
        assert_eq!(error_type(b"<html>"), "");
    }
}
