//! PROVIDER: a request → a stream of response bytes. Knows nothing of metering.

pub mod anthropic;
#[cfg(feature = "bedrock")]
pub mod bedrock;
#[cfg(not(feature = "bedrock"))]
#[path = "without_bedrock.rs"]
pub mod bedrock;
pub mod choice;
pub mod credentials;
pub mod decoding;

use crate::common::error::{Code, Error, HttpError};
use crate::common::http;
use crate::common::retry;
use crate::messages::{Framing, Tokens};
pub use crate::settings::Provider;
use bytes::Bytes;
use decoding::Decoder;
use reqwest::Client;
use reqwest::header::HeaderMap;
use serde::{Serialize, Serializer};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The provider's answer to a call, known from its first byte on.
#[derive(Clone, Debug)]
pub struct Head {
    pub provider: Provider,
    pub status: u16,
    pub headers: HeaderMap,
    pub request_id: String,
}

impl Head {
    /// Response headers as one JSON object: names in lower case, repeated ones joined, cookies left out.
    pub fn headers_json(&self) -> impl Serialize + '_ {
        HeadersJson(&self.headers)
    }

    /// The value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What Bedrock counted, where it says so.
    pub fn tokens(&self) -> Tokens {
        let counted = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Tokens {
            input: counted("x-amzn-bedrock-input-token-count"),
            output: counted("x-amzn-bedrock-output-token-count"),
            cache_creation: counted("x-amzn-bedrock-cache-write-input-token-count"),
            cache_read: counted("x-amzn-bedrock-cache-read-input-token-count"),
            ..Tokens::default()
        }
    }
}

struct HeadersJson<'a>(&'a HeaderMap);

impl Serialize for HeadersJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = self.0.keys().filter(|name| *name != reqwest::header::SET_COOKIE);
        serializer.collect_map(names.map(|name| {
            let mut values = self.0.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
            let first = values.next().unwrap_or_default();
            (name.as_str(), values.fold(first, |all, value| all + ", " + value))
        }))
    }
}

/// A request ready to be sent to its provider, any number of times, with the same bytes.
#[cfg_attr(not(feature = "bedrock"), expect(clippy::large_enum_variant))]
pub enum Prepared {
    Anthropic(anthropic::Prepared),
    Bedrock(bedrock::Prepared),
}

impl Prepared {
    /// One attempt. `idle`: how long the provider may say nothing.
    pub async fn send(&self, client: &Client, attempt: u32, idle: Duration) -> Result<Reply, Failure> {
        match self {
            Prepared::Anthropic(prepared) => prepared.send(client, attempt, idle).await,
            // Boxed, so that a call that has nothing to do with AWS does not carry room for its futures.
            Prepared::Bedrock(prepared) => Box::pin(prepared.send(client, idle)).await,
        }
    }

    /// The provider's own name for the model, where it has one.
    pub fn model(&self) -> Option<&str> {
        match self {
            Prepared::Anthropic(_) => None,
            Prepared::Bedrock(prepared) => Some(prepared.model()),
        }
    }

    /// The AWS region that is asked, as far as it is known.
    pub fn region(&self) -> Option<&str> {
        match self {
            Prepared::Anthropic(_) => None,
            Prepared::Bedrock(prepared) => prepared.region(),
        }
    }

    /// Where requests go, as far as it is known.
    pub fn server(&self) -> Option<Server> {
        match self {
            Prepared::Anthropic(prepared) => prepared.server(),
            Prepared::Bedrock(prepared) => prepared.server(),
        }
    }

    /// Who is asked.
    pub fn provider(&self) -> Provider {
        match self {
            Prepared::Anthropic(_) => Provider::Anthropic,
            Prepared::Bedrock(_) => Provider::Bedrock,
        }
    }
}

/// Where a provider is.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    pub host: String,
    pub port: u16,
}

/// A provider that answered with success: the head now, the bytes as they come.
pub struct Reply {
    pub head: Arc<Head>,
    pub body: Body,
}

#[cfg_attr(not(feature = "bedrock"), expect(clippy::large_enum_variant))]
pub enum Body {
    Http(HttpBody),
    Bedrock(bedrock::Body),
}

/// A body as it came over HTTP, decoded.
pub struct HttpBody {
    response: reqwest::Response,
    decoder: Decoder,
}

impl HttpBody {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(chunk) = self.response.chunk().await.map_err(|fault| http::broken_off(&fault))? {
            let plain = self.decoder.push(chunk)?;
            if !plain.is_empty() {
                return Ok(Some(plain));
            }
        }
        Ok(Some(self.decoder.end()?).filter(|rest| !rest.is_empty()))
    }
}

impl Body {
    /// The next bytes; `None` at a clean end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self {
            Body::Http(body) => body.next().await,
            Body::Bedrock(body) => Box::pin(body.next()).await,
        }
    }

    /// How many bytes are still to come, where the provider said so.
    pub fn length(&self) -> Option<u64> {
        match self {
            Body::Http(body) => body.response.content_length(),
            Body::Bedrock(_) => None,
        }
    }

    /// How the bytes of a stream are cut into events.
    pub fn framing(&self) -> Framing {
        match self {
            Body::Http(_) => Framing::Sse,
            Body::Bedrock(_) => Framing::Events,
        }
    }
}

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
fn sentence(head: &Head, kind: &str) -> String {
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

/// The request id that `headers` tell, as far as it looks like one: it goes into error texts.
fn request_id(headers: &HeaderMap, name: &str) -> String {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':' | b'/' | b'+' | b'=');
    let id = headers.get(name).and_then(|id| id.to_str().ok()).unwrap_or_default();
    id.chars().filter(|c| u8::try_from(*c).is_ok_and(is_token)).take(128).collect()
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
