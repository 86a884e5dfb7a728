//! The head of an answer.

use super::Provider;
use crate::messages::Tokens;
use reqwest::header::HeaderMap;
use serde::{Serialize, Serializer};

/// The provider's answer to a call, known from its first byte on.
#[derive(Clone, Debug)]
pub struct Head {
    pub provider: Provider,
    pub status: u16,
    pub headers: HeaderMap,
    pub request_id: String,
    /// What was used, where the head says so.
    pub tokens: Tokens,
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

/// The request id that `headers` tell, as far as it looks like one: it goes into error texts.
pub(super) fn request_id(headers: &HeaderMap, name: &str) -> String {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':' | b'/' | b'+' | b'=');
    let id = headers.get(name).and_then(|id| id.to_str().ok()).unwrap_or_default();
    id.chars().filter(|c| u8::try_from(*c).is_ok_and(is_token)).take(128).collect()
}
