//! One attempt to deliver one record, and what its answer means.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, Request, Response};

use super::counts::Reason;
use super::{Destination, Endpoint, Outgoing, retry};
use crate::common::error::Code;
use crate::common::http;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// An answer's body is read to reuse the connection; beyond these limits a new connection is cheaper.
const DRAIN_BYTES: usize = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// So much of an answer tells a web page from Revenium's JSON.
const START_BYTES: usize = 64;

/// What becomes of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    /// Try again, at the earliest after `after`. `outage`: other records would fail the same way.
    Retry {
        after: Option<Duration>,
        outage: bool,
    },
    /// Keep it and try slowly: the answer speaks of the account, or of the way to Revenium, not of this record.
    Astray,
    Drop(Reason),
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) struct Attempt {
    pub verdict: Verdict,
    pub status: Option<u16>,
    pub code: Code,
    /// One sentence; empty when delivered.
    pub message: String,
}

impl Attempt {
    fn without_answer(verdict: Verdict, code: Code, message: impl Into<String>) -> Self {
        Attempt { verdict, status: None, code, message: message.into() }
    }

    /// The name of this failure in reports.
    pub fn reason(&self) -> &'static str {
        match (self.verdict, self.status) {
            (Verdict::Drop(reason), _) => reason.as_str(),
            (Verdict::Astray, Some(401 | 403) | None) => "key_refused",
            (_, Some(_)) => "http_status",
            (_, None) if self.code == Code::Timeout => "timeout",
            (_, None) => "connection",
        }
    }
}

/// What all requests to one destination have in common.
pub(super) struct Template {
    destination: Arc<Destination>,
    /// Without a record. `None`: there is no usable key.
    request: Option<Request>,
}

impl Template {
    pub fn new(client: &Client, destination: Arc<Destination>) -> Template {
        let key = HeaderValue::from_str(&destination.key).ok().filter(|key| !key.is_empty());
        let request = key.and_then(|mut key| {
            key.set_sensitive(true);
            let request = client
                .post(destination.url.clone())
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .header(ACCEPT, HeaderValue::from_static("application/json"))
                .header(USER_AGENT, HeaderValue::from_static(concat!("librevenium/", env!("CARGO_PKG_VERSION"))))
                .header(API_KEY, key);
            request.build().ok()
        });
        Template { destination, request }
    }

    pub fn is_of(&self, destination: &Arc<Destination>) -> bool {
        Arc::ptr_eq(&self.destination, destination)
    }

    /// `None`: no HTTP request can be made of `record`.
    fn with(&self, empty: &Request, record: &Outgoing) -> Option<Request> {
        let mut request = empty.try_clone()?;
        let key = HeaderValue::from_str(&record.idempotency_key).ok()?;
        request.headers_mut().insert(IDEMPOTENCY_KEY, key);
        if record.endpoint != Endpoint::COMPLETIONS {
            let path = self.destination.path_of(&record.endpoint);
            request.url_mut().set_path(&path);
        }
        *request.body_mut() = Some(record.body.clone().into());
        Some(request)
    }
}

/// Send `record` once. The bytes and the idempotency key are the same at every attempt: Revenium compares them.
pub(super) async fn attempt(client: &Client, to: &Template, record: &Outgoing, timeout: Duration) -> Attempt {
    let Some(empty) = &to.request else {
        return Attempt::without_answer(Verdict::Astray, Code::Config, "there is no usable Revenium key");
    };
    let Some(request) = to.with(empty, record) else {
        let message = "the record does not make a valid HTTP request";
        return Attempt::without_answer(Verdict::Drop(Reason::Refused), Code::Internal, message);
    };

    let unreachable = Verdict::Retry { after: None, outage: true };
    let mut response = match tokio::time::timeout(timeout, client.execute(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) if error.is_timeout() => {
            return Attempt::without_answer(unreachable, Code::Timeout, "Revenium did not answer in time");
        }
        Ok(Err(error)) => return Attempt::without_answer(unreachable, Code::Connection, connection_trouble(&error)),
        Err(_) => {
            let message = format!("Revenium did not answer within {timeout:?}");
            return Attempt::without_answer(unreachable, Code::Timeout, message);
        }
    };

    let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
    let body = Body::of(&headers, &drain(response).await);
    let verdict = judge(status, &headers, body, SystemTime::now());
    if verdict == Verdict::Delivered {
        return Attempt { verdict, status: Some(status), code: Code::Ok, message: String::new() };
    }
    let code = if status < 400 { Code::Api } else { Code::of_status(status) };
    let hint = hint(status, body).map(|hint| format!(": {hint}")).unwrap_or_default();
    Attempt {
        verdict,
        status: Some(status),
        code,
        message: format!("Revenium answered with HTTP status {status}{hint}"),
    }
}

/// What an answer's body tells of who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Empty,
    /// A page for people: Revenium's interface sends none, a login page or a proxy does.
    Page,
    Other,
}

impl Body {
    fn of(headers: &HeaderMap, start: &[u8]) -> Body {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.trim_start().to_ascii_lowercase();
        let start = start.trim_ascii_start();
        if kind.starts_with("text/html") || kind.starts_with("application/xhtml") || start.starts_with(b"<") {
            return Body::Page;
        }
        if start.is_empty() { Body::Empty } else { Body::Other }
    }
}

/// What an answer means for the record. Given up is a record only for an answer that judges the record itself; all else
/// speaks of the account or of the way there, which somebody can repair.
fn judge(status: u16, headers: &HeaderMap, body: Body, now: SystemTime) -> Verdict {
    if (200..300).contains(&status) && body != Body::Page {
        return Verdict::Delivered;
    }
    let outage = matches!(status, 408 | 425 | 429 | 500..);
    let after = retry::retry_after(headers, now);
    let asked_again = headers.get("x-should-retry").is_some_and(|value| value.as_bytes() == b"true");
    // Who says when to come again wants us to: a 409 for a key still in progress does, one for other bytes under the
    // same key does not.
    if outage || ((400..500).contains(&status) && (asked_again || after.is_some())) {
        return Verdict::Retry { after, outage };
    }
    match (status, body) {
        (400 | 413 | 415 | 422, _) | (409, Body::Other) => Verdict::Drop(Reason::Refused),
        _ => Verdict::Astray,
    }
}

/// Who probably answered, and where to look.
fn hint(status: u16, body: Body) -> Option<&'static str> {
    Some(match status {
        200..=299 if body == Body::Page => "a web page, as of a login or a proxy, and not Revenium's answer",
        300..=399 => "a redirect, which is not followed; see metering_base_url",
        401 | 403 => "the key is not accepted",
        402 => "the account wants attention",
        407 | 511 => "a proxy or network on the way wants a login",
        404 | 405 | 410 | 421 => "nothing takes records at this address; see metering_base_url",
        451 => "something on the way blocks it",
        _ if body == Body::Page => "with a web page, as of a proxy",
        _ => return None,
    })
}

/// Read what is left, so that the connection can be used again, and give its beginning. Whether that works changes nothing.
async fn drain(mut response: Response) -> Vec<u8> {
    let mut start = Vec::new();
    let read = async {
        let mut left = DRAIN_BYTES;
        while let Ok(Some(chunk)) = response.chunk().await {
            start.extend_from_slice(&chunk[..chunk.len().min(START_BYTES - start.len().min(START_BYTES))]);
            if chunk.len() > left {
                break;
            }
            left -= chunk.len();
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, read).await;
    start
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
        let retry = |after: Option<u64>, outage| Verdict::Retry { after: after.map(Duration::from_secs), outage };
        let outage = retry(None, true);
        for (status, header, expected) in [
            (200, None, Verdict::Delivered),
            (201, None, Verdict::Delivered),
            (204, Some(("x-should-retry", "true")), Verdict::Delivered),
            (299, None, Verdict::Delivered),
            (301, None, Verdict::Astray),
            (302, None, Verdict::Astray),
            (304, None, Verdict::Astray),
            (307, Some(("x-should-retry", "true")), Verdict::Astray),
            (307, Some(("retry-after", "1")), Verdict::Astray),
            (400, None, REFUSED),
            (413, None, REFUSED),
            (415, None, REFUSED),
            (422, None, REFUSED),
            (400, Some(("x-should-retry", "true")), retry(None, false)),
            (400, Some(("retry-after", "7")), retry(Some(7), false)),
            (401, None, Verdict::Astray),
            (402, None, Verdict::Astray),
            (403, None, Verdict::Astray),
            (403, Some(("x-should-retry", "false")), Verdict::Astray),
            (403, Some(("retry-after", "9")), retry(Some(9), false)),
            (404, None, Verdict::Astray),
            (405, None, Verdict::Astray),
            (407, None, Verdict::Astray),
            (408, None, outage),
            (409, None, REFUSED),
            (409, Some(("retry-after", "1")), retry(Some(1), false)),
            (409, Some(("retry-after", "soon")), REFUSED),
            (410, None, Verdict::Astray),
            (421, None, Verdict::Astray),
            (423, None, Verdict::Astray),
            (425, None, outage),
            (429, None, outage),
            (429, Some(("retry-after", "120")), retry(Some(60), true)),
            (429, Some(("x-should-retry", "false")), outage),
            (451, None, Verdict::Astray),
            (499, None, Verdict::Astray),
            (500, None, outage),
            (503, Some(("retry-after-ms", "2000")), retry(Some(2), true)),
            (503, Some(("x-should-retry", "false")), outage),
            (503, Some(("x-should-retry", "perhaps")), outage),
            (511, None, outage),
            (529, None, outage),
            (599, None, outage),
        ] {
            let mut headers = HeaderMap::new();
            if let Some((name, value)) = header {
                headers.insert(name, value.parse().unwrap());
            }
            assert_eq!(judge(status, &headers, Body::Other, SystemTime::now()), expected, "{status} {header:?}");
        }
    }

    #[test]
    fn a_page_is_not_revenium_and_an_empty_conflict_judges_nothing() {
        let headers = HeaderMap::new();
        let judged = |status, body| judge(status, &headers, body, SystemTime::now());
        assert_eq!(judged(200, Body::Page), Verdict::Astray);
        assert_eq!(judged(200, Body::Empty), Verdict::Delivered);
        assert_eq!(judged(409, Body::Empty), Verdict::Astray);
        let html = HeaderMap::from_iter([(CONTENT_TYPE, "Text/HTML; charset=utf-8".parse().unwrap())]);
        for (headers, start, wanted) in [
            (&html, "", Body::Page),
            (&headers, " \n<!doctype html>", Body::Page),
            (&headers, "  ", Body::Empty),
            (&headers, "{\"resourceType\":\"metering\"}", Body::Other),
        ] {
            assert_eq!(Body::of(headers, start.as_bytes()), wanted, "{start:?}");
        }
    }
}
