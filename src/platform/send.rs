//! One request to Revenium's platform, and when it is sent again.

use super::Platform;
use super::operations::{Method, Operation};
use crate::common::error::{Code, Error, HttpError};
use crate::common::{http, retry};
use crate::settings::Secret;
use parking_lot::Mutex;
use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use std::time::{Duration, SystemTime};

/// The first wait, doubled each time, and the longest: those of Revenium's own SDK.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(90);
/// Added to what the platform asks for, as in Revenium's own SDK.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Request {
    pub url: Url,
    pub body: Option<String>,
    pub key: Secret,
}

pub(super) struct Reply {
    pub body: Vec<u8>,
}

/// An operation that failed for good.
pub(super) struct Failure {
    pub error: Error,
    /// 0: there was no answer.
    pub status: u16,
    pub body: Vec<u8>,
    /// An earlier attempt of it may have been done, though its answer got lost.
    pub maybe_done: bool,
}

/// Whether the platform answers: after three operations in a row that it did not, each is sent just once, until one
/// succeeds. Nobody waits minutes for what is down, and nothing is refused unasked.
#[derive(Default)]
pub(super) struct Health(Mutex<u32>);

const FAILURES_TO_DOUBT: u32 = 3;

impl Health {
    fn is_doubted(&self) -> bool {
        *self.0.lock() >= FAILURES_TO_DOUBT
    }

    fn answered(&self) {
        *self.0.lock() = 0;
    }

    fn failed(&self) {
        let mut failures = self.0.lock();
        *failures = failures.saturating_add(1);
    }
}

/// One attempt's answer, whatever its status.
pub(super) struct Heard {
    pub status: u16,
    /// Seconds that it asks to wait before the next attempt.
    pub asked: Option<f64>,
    pub body: Vec<u8>,
}

/// Why there was none.
pub(super) struct Unheard {
    pub error: Error,
    /// It surely did not arrive.
    pub unsent: bool,
}

impl Platform {
    pub(super) async fn send(
        &self,
        client: &reqwest::Client,
        operation: &Operation,
        request: &Request,
        attempts: &mut u32,
    ) -> Result<Reply, Failure> {
        let most = if self.health.is_doubted() { 0 } else { self.settings.platform_max_retries };
        let (mut retries, mut maybe_done) = (0, false);
        loop {
            *attempts += 1;
            let (failure, again, asked) = match self.attempt(client, operation.method, request).await {
                Ok(heard) if (200..300).contains(&heard.status) => {
                    self.health.answered();
                    return content(operation, heard, maybe_done);
                }
                Ok(heard) => {
                    let again = operation.retried.contains(&heard.status);
                    maybe_done |= matches!(heard.status, 502..=504);
                    let asked = heard.asked;
                    (refused(operation, heard, maybe_done), again, asked)
                }
                Err(Unheard { error, unsent }) => {
                    maybe_done |= !unsent;
                    let failure = Failure { error, status: 0, body: Vec::new(), maybe_done };
                    (failure, unsent || operation.repeatable, None)
                }
            };
            if !again || retries >= most {
                match failure.status {
                    0 | 500.. => self.health.failed(),
                    _ => self.health.answered(),
                }
                return Err(failure);
            }
            tokio::time::sleep(wait(retries, asked)).await;
            retries += 1;
        }
    }

    pub(super) async fn attempt(
        &self,
        client: &reqwest::Client,
        method: Method,
        request: &Request,
    ) -> Result<Heard, Unheard> {
        let method = match method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
        };
        let mut builder = client
            .request(method, request.url.clone())
            .header("x-api-key", request.key.expose())
            .header(ACCEPT, "application/json");
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let unheard = |fault: reqwest::Error| Unheard {
            error: http::unanswered(&fault, "Revenium"),
            unsent: fault.is_connect() || fault.is_builder(),
        };
        let heard = async {
            let mut response = builder.send().await.map_err(unheard)?;
            let status = response.status().as_u16();
            let asked = retry::retry_after(response.headers(), SystemTime::now());
            let mut body = Vec::new();
            loop {
                match response.chunk().await {
                    Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                    Ok(None) => return Ok(Heard { status, asked, body }),
                    Err(fault) => return Err(Unheard { error: http::broken_off(&fault), unsent: false }),
                }
                if body.len() > self.settings.max_response_bytes {
                    let error = Error::new(Code::Stream, "The answer is larger than max_response_bytes.");
                    return Err(Unheard { error, unsent: false });
                }
            }
        };
        // Not reqwest's own limit, which counts as one for connecting.
        let limit = Duration::from_millis(self.settings.platform_timeout_ms);
        let late = |_| {
            let text = format!("Revenium did not answer within {limit:?}.");
            Err(Unheard { error: Error::new(Code::Timeout, text), unsent: false })
        };
        tokio::time::timeout(limit, heard).await.unwrap_or_else(late)
    }
}

/// How long to wait before the next attempt. What the platform asks for counts, up to the longest wait.
fn wait(retries: u32, asked: Option<f64>) -> Duration {
    let own = FIRST_WAIT.saturating_mul(1u32.checked_shl(retries).unwrap_or(u32::MAX));
    let wait = match asked {
        Some(seconds) => Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(LONGEST_WAIT).saturating_add(PATIENCE),
        None => own,
    };
    wait.min(LONGEST_WAIT)
}

/// The JSON of a success.
fn content(operation: &Operation, heard: Heard, maybe_done: bool) -> Result<Reply, Failure> {
    let Heard { status, body, .. } = heard;
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Reply { body: operation.empty.as_bytes().to_vec() });
    }
    if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok() {
        return Ok(Reply { body });
    }
    let text = format!(
        "What answered {} with status {status} sent no JSON: is something between us and Revenium?",
        operation.name
    );
    let error = Error::new(Code::Stream, text).with_http(HttpError { status, ..HttpError::default() });
    Err(Failure { error, status, body, maybe_done })
}

/// An answer that is no success. The platform's own words stand in the JSON of the error alone.
fn refused(operation: &Operation, heard: Heard, maybe_done: bool) -> Failure {
    let Heard { status, asked, body } = heard;
    let code = if status < 400 { Code::Api } else { Code::of_status(status) };
    let hint = match status {
        300..=399 => ", a redirect, which is not followed",
        401 => ": it does not know the key",
        403 => ": the key may not do this",
        _ => "",
    };
    let error = Error::new(code, format!("Revenium answered {} with status {status}{hint}.", operation.name));
    let retry_after_ms = asked.filter(|seconds| *seconds > 0.0).map(|seconds| (seconds * 1000.0) as u64);
    let error = error.with_http(HttpError { status, body: Vec::new(), retry_after_ms });
    Failure { error, status, body, maybe_done }
}

impl Failure {
    /// The error as callers get it: its JSON holds what the platform said, and `facts` besides.
    pub(super) fn into_error(
        mut self,
        operation: &Operation,
        sentence: Option<String>,
        facts: serde_json::Value,
    ) -> Error {
        if let Some(sentence) = sentence {
            self.error.message = sentence;
        }
        let mut inner = serde_json::json!({
            "type": self.error.code.error_type(),
            "message": self.error.message,
            "operation": operation.name,
        });
        if let (Some(inner), serde_json::Value::Object(facts)) = (inner.as_object_mut(), facts) {
            inner.extend(facts);
        }
        if !self.body.is_empty() {
            inner["response"] = serde_json::from_slice(&self.body)
                .unwrap_or_else(|_| String::from_utf8_lossy(&self.body).into_owned().into());
        }
        let body = serde_json::json!({ "type": "error", "error": inner }).to_string().into_bytes();
        let http = self.error.http.take().map(|http| *http).unwrap_or_default();
        self.error.with_http(HttpError { body, ..http })
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

pub(super) type Sent = Result<Reply, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_what_is_asked_for_counts_within_the_cap() {
        let seconds = Duration::from_secs;
        for (retries, asked, expected) in [
            (0, None, seconds(2)),
            (1, None, seconds(4)),
            (6, None, seconds(90)),
            (99, None, seconds(90)),
            (5, Some(0.0), seconds(1)),
            (0, Some(7.0), seconds(8)),
            (0, Some(-7.0), seconds(1)),
            (0, Some(3600.0), seconds(90)),
            (0, Some(f64::INFINITY), seconds(90)),
        ] {
            assert_eq!(wait(retries, asked), expected, "{retries} {asked:?}");
        }
    }

    #[test]
    fn three_failures_are_doubt_and_one_answer_is_trust() {
        let health = Health::default();
        (0..2).for_each(|_| health.failed());
        assert!(!health.is_doubted());
        health.failed();
        assert!(health.is_doubted());
        health.answered();
        assert!(!health.is_doubted());
    }
}
