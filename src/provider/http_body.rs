//! A body as it came over HTTP, decoded.

use super::Body;
use super::decoding::Decoder;
use crate::common::error::Result;
use crate::common::http;
use crate::messages::Framing;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::Response;

pub struct HttpBody {
    response: Response,
    decoder: Decoder,
}

impl HttpBody {
    pub fn new(response: Response, decoder: Decoder) -> HttpBody {
        HttpBody { response, decoder }
    }
}

impl Body for HttpBody {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(async {
            while let Some(chunk) = self.response.chunk().await.map_err(|fault| http::broken_off(&fault))? {
                let plain = self.decoder.push(chunk)?;
                if !plain.is_empty() {
                    return Ok(Some(plain));
                }
            }
            Ok(Some(self.decoder.end()?).filter(|rest| !rest.is_empty()))
        })
    }

    fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    fn framing(&self) -> Framing {
        Framing::Sse
    }
}
