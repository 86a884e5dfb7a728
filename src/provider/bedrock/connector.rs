//! The AWS SDK's HTTP goes through the library's one client: one pool, one TLS, the same proxies and trust roots.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;
use reqwest::header::CONTENT_TYPE;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Connector {
    client: reqwest::Client,
    /// Of a response's body, event streams apart.
    max_bytes: usize,
    /// What the SDK allows its look-ups of credentials; its limit for connecting is the client's own.
    timeout: Option<Duration>,
}

impl Connector {
    pub fn new(client: reqwest::Client, max_bytes: usize) -> Connector {
        Connector { client, max_bytes, timeout: None }
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|fault| ConnectorError::user(fault.into()))?;
        let request = reqwest::Request::try_from(request.map(reqwest::Body::wrap));
        let answered = self.client.execute(request.map_err(|fault| ConnectorError::user(fault.into()))?);
        let answered = match self.timeout {
            None => answered.await,
            Some(limit) => {
                tokio::time::timeout(limit, answered).await.map_err(|over| ConnectorError::timeout(over.into()))?
            }
        };
        let response = http::Response::<reqwest::Body>::from(answered.map_err(failed)?);
        let is_stream =
            response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().ends_with(b"eventstream"));
        let response = match is_stream {
            true => response.map(SdkBody::from_body_1_x),
            false => response.map(|body| SdkBody::from_body_1_x(Limited::new(body, self.max_bytes))),
        };
        HttpResponse::try_from(response).map_err(|fault| ConnectorError::other(fault.into(), None))
    }
}

fn failed(fault: reqwest::Error) -> ConnectorError {
    match (fault.is_timeout(), fault.is_builder()) {
        (true, _) => ConnectorError::timeout(fault.into()),
        (_, true) => ConnectorError::user(fault.into()),
        _ => ConnectorError::io(fault.into()),
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().send(request))
    }
}

impl HttpClient for Connector {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector { timeout: settings.read_timeout(), ..self.clone() })
    }
}
