//! A request, as the services and the tests look at it.

use axum::http::request::Parts;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// Anthropic refuses larger bodies with 413.
const MAX_BODY: usize = 32_000_000;

pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Request {
    /// `None`: its body is too large. An error: the client left in the middle of it.
    pub async fn read(request: hyper::Request<Incoming>) -> Result<Option<Self>, hyper::Error> {
        let (Parts { method, uri, headers, .. }, mut incoming) = request.into_parts();
        let (mut body, mut is_too_large) = (BytesMut::new(), false);
        while let Some(frame) = incoming.frame().await {
            let data = frame?.into_data().unwrap_or_default();
            // The rest is read and forgotten: an answer in the middle of it might never be seen.
            is_too_large |= body.len() + data.len() > MAX_BODY;
            if !is_too_large {
                body.extend_from_slice(&data);
            }
        }
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        Ok((!is_too_large).then(|| Self {
            method: method.as_str().to_owned(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            headers: headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect(),
            body: body.freeze(),
        }))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn query_value(&self, name: &str) -> Option<&str> {
        self.query.split('&').filter_map(|pair| pair.split_once('=')).find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}
