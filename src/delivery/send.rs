//! One attempt to deliver one record, and what its answer means.

use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, Response};

use super::counts::Reason;
use super::{Destination, Outgoing, retry};
use crate::common::error::Code;
use crate::common::http;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// An answer's body is read to reuse the connection; beyond these limits a new connection is cheaper.
const DRAIN_BYTES: usize = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// What becomes of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    /// Try again, at the earliest after `after`. `outage`: other records would fail the same way.
    Retry {
        after: Option<Duration>,
        outage: bool,
    },
    /// Keep it: the operator can repair the key, and the same record is fine then.
    KeyRefused,
    Drop(Reason),
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub verdict: Verdict,
    pub status: Option<u16>,
    pub code: Code,
    /// One sentence; empty when delivered.
    pub message: String,
}

impl Outcome {
    fn without_answer(verdict: Verdict, code: Code, message: impl Into<String>) -> Self {
        Outcome { verdict, status: None, code, message: message.into() }
    }

    /// The name of this failure in reports.
    pub fn reason(&self) -> &'static str {
        match (self.verdict, self.status) {
            (Verdict::Drop(reason), _) => reason.as_str(),
            (Verdict::KeyRefused, _) => "key_refused",
            (_, Some(_)) => "http_status",
            (_, None) if self.code == Code::Timeout => "timeout",
            (_, None) => "connection",
        }
    }
}

/// Send `record` once. The bytes and the idempotency key are the same at every attempt: Revenium compares them.
pub(super) async fn attempt(client: &Client, to: &Destination, record: &Outgoing, timeout: Duration) -> Outcome {
    let Some(mut key) = HeaderValue::from_str(&to.key).ok().filter(|key| !key.is_empty()) else {
        return Outcome::without_answer(Verdict::KeyRefused, Code::Config, "there is no usable Revenium key");
    };
    key.set_sensitive(true);
    let request = client
        .post(to.url.clone())
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(ACCEPT, HeaderValue::from_static("application/json"))
        .header(USER_AGENT, HeaderValue::from_static(concat!("librevenium/", env!("CARGO_PKG_VERSION"))))
        .header(API_KEY, key)
        .header(IDEMPOTENCY_KEY, record.idempotency_key.as_str())
        .body(record.body.clone())
        .build();
    let Ok(request) = request else {
        let message = "the record does not make a valid HTTP request";
        return Outcome::without_answer(Verdict::Drop(Reason::Refused), Code::Internal, message);
    };

    let unreachable = Verdict::Retry { after: None, outage: true };
    let response = match tokio::time::timeout(timeout, client.execute(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) if error.is_timeout() => {
            return Outcome::without_answer(unreachable, Code::Timeout, "Revenium did not answer in time");
        }
        Ok(Err(error)) => return Outcome::without_answer(unreachable, Code::Connection, connection_trouble(&error)),
        Err(_) => {
            let message = format!("Revenium did not answer within {timeout:?}");
            return Outcome::without_answer(unreachable, Code::Timeout, message);
        }
    };

    let status = response.status().as_u16();
    let verdict = judge(status, response.headers(), SystemTime::now());
    drain(response).await;
    if verdict == Verdict::Delivered {
        return Outcome { verdict, status: Some(status), code: Code::Ok, message: String::new() };
    }
    let code = if status < 400 { Code::Api } else { Code::of_status(status) };
    Outcome { verdict, status: Some(status), code, message: format!("Revenium answered with HTTP status {status}") }
}

/// What an answer means for the record. Its body does not matter.
fn judge(status: u16, headers: &HeaderMap, now: SystemTime) -> Verdict {
    match status {
        200..=299 => return Verdict::Delivered,
        300..=399 => return Verdict::Drop(Reason::Redirect),
        _ => {}
    }
    let key_refused = matches!(status, 401 | 403);
    let outage = matches!(status, 408 | 429 | 500..);
    let after = retry::retry_after(headers, now);
    let retry = match headers.get("x-should-retry").map(HeaderValue::as_bytes) {
        Some(b"true") => true,
        Some(b"false") => false,
        // Who says when to come again wants us to: a 409 for a key still in progress does, one for other bytes under
        // the same key does not.
        _ => outage || after.is_some(),
    };
    if retry {
        Verdict::Retry { after, outage }
    } else if key_refused {
        Verdict::KeyRefused
    } else {
        Verdict::Drop(Reason::Refused)
    }
}

/// Read what is left, so that the connection can be used again. Whether that works changes nothing.
async fn drain(mut response: Response) {
    let read = async {
        let mut left = DRAIN_BYTES;
        while let Ok(Some(chunk)) = response.chunk().await {
            if chunk.len() > left {
                break;
            }
            left -= chunk.len();
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, read).await;
}

fn connection_trouble(error: &reqwest::Error) -> String {
    let what = if error.is_connect() { "Revenium could not be reached" } else { "the connection to Revenium broke" };
    format!("{what}: {}", http::cause(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_retry_table() {
        const REFUSED: Verdict = Verdict::Drop(Reason::Refused);
        const REDIRECT: Verdict = Verdict::Drop(Reason::Redirect);
        let retry = |after: Option<u64>, outage| Verdict::Retry { after: after.map(Duration::from_secs), outage };
        let outage = retry(None, true);
        for (status, header, expected) in [
            (200, None, Verdict::Delivered),
            (201, None, Verdict::Delivered),
            (204, Some(("x-should-retry", "true")), Verdict::Delivered),
            (299, None, Verdict::Delivered),
            (301, None, REDIRECT),
            (304, None, REDIRECT),
            (307, Some(("x-should-retry", "true")), REDIRECT),
            (307, Some(("retry-after", "1")), REDIRECT),
            (400, None, REFUSED),
            (404, None, REFUSED),
            (413, None, REFUSED),
            (422, None, REFUSED),
            (499, None, REFUSED),
            (400, Some(("x-should-retry", "true")), retry(None, false)),
            (400, Some(("retry-after", "7")), retry(Some(7), false)),
            (401, None, Verdict::KeyRefused),
            (403, None, Verdict::KeyRefused),
            (403, Some(("x-should-retry", "false")), Verdict::KeyRefused),
            (403, Some(("retry-after", "9")), retry(Some(9), false)),
            (408, None, outage),
            (409, None, REFUSED),
            (409, Some(("retry-after", "1")), retry(Some(1), false)),
            (409, Some(("retry-after", "soon")), REFUSED),
            (429, None, outage),
            (429, Some(("retry-after", "120")), retry(Some(60), true)),
            (429, Some(("x-should-retry", "false")), REFUSED),
            (500, None, outage),
            (503, Some(("retry-after-ms", "2000")), retry(Some(2), true)),
            (503, Some(("x-should-retry", "false")), REFUSED),
            (503, Some(("x-should-retry", "perhaps")), outage),
            (529, None, outage),
            (599, None, outage),
        ] {
            let mut headers = HeaderMap::new();
            if let Some((name, value)) = header {
                headers.insert(name, value.parse().unwrap());
            }
            assert_eq!(judge(status, &headers, SystemTime::now()), expected, "{status} {header:?}");
        }
    }
}
