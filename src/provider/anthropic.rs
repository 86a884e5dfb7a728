//! The direct way: Anthropic's own Messages API over HTTP/1.1.

use super::decoding::Decoder;
use super::head::request_id;
use super::http_body::HttpBody;
use super::{Backend, Body, Direct, Failure, Head, Provider, Reply, Sent, Server};
use crate::common::error::{Code, Error, Result};
use crate::common::patience::within;
use crate::common::{http, proxy};
use crate::messages::Tokens;
use crate::messages::request::Request;
use crate::settings::{AuthHeader, Choices, Credential, Environment, Settings};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use once_cell::sync::OnceCell;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use reqwest::{Client, Method, Url};
use std::sync::Arc;
use std::time::Duration;

/// The default of the setting.
const DEFAULT_BASE_URL: &str = "https://api.anthropic.com";

const BETA: HeaderName = HeaderName::from_static("anthropic-beta");
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Gateways log it; the official SDKs send it too.
const RETRY_COUNT: HeaderName = HeaderName::from_static("x-stainless-retry-count");
/// An error body is read this far.
const MAX_ERROR_BYTES: usize = 1 << 20;

/// Anthropic as one run of the library asks it.
pub struct Anthropic {
    settings: Arc<Settings>,
    url: Url,
    /// The base URL is another provider's.
    elsewhere: bool,
    /// Made with the first call, which a header that is none then refuses.
    endpoint: OnceCell<Endpoint>,
}

impl Anthropic {
    /// Fails with E_CONFIG for a base URL that is none.
    pub fn new(settings: Arc<Settings>, elsewhere: bool) -> Result<Anthropic> {
        let url = messages_url(&settings.anthropic_base_url)?;
        Ok(Anthropic { settings, url, elsewhere, endpoint: OnceCell::new() })
    }

    /// A request that another provider did not answer.
    pub fn instead(&self, request: &Request, direct: Direct, env: Environment<'_>) -> Result<Box<dyn super::Prepared>> {
        let prepared = self.prepared(self.elsewhere.then_some(DEFAULT_BASE_URL), request, env)?;
        Ok(Box::new(prepared.with(direct.body, &direct.betas)))
    }

    /// `base`: where this call goes instead.
    fn prepared(&self, base: Option<&str>, request: &Request, env: Environment<'_>) -> Result<Prepared> {
        let endpoint = self.endpoint.get_or_try_init(|| Endpoint::new(&self.settings, self.url.clone()))?;
        let credential = if request.choices.foreign { None } else { self.settings.anthropic_credential(env) };
        Prepared::new(endpoint, base, &self.settings, credential, request)
    }
}

impl Backend for Anthropic {
    fn prepare(
        self: Arc<Self>,
        request: &Request,
        _explicit: bool,
        env: Environment<'_>,
    ) -> Result<Box<dyn super::Prepared>> {
        Ok(Box::new(self.prepared(request.choices.base_url.as_deref(), request, env)?))
    }
}

/// What the requests of one run have in common.
struct Endpoint {
    url: Url,
    /// All but the credential, for which there is room.
    headers: HeaderMap,
}

impl Endpoint {
    fn new(settings: &Settings, url: Url) -> Result<Endpoint> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("librevenium/", env!("CARGO_PKG_VERSION"))));
        headers.insert(API_KEY, HeaderValue::from_static(""));
        headers.insert(RETRY_COUNT, HeaderValue::from_static("0"));
        headers.insert(VERSION, value(&settings.anthropic_version, "anthropic_version")?);
        if !settings.anthropic_beta.is_empty() {
            headers.insert(BETA, value(&settings.anthropic_beta.join(","), "anthropic_beta")?);
        }
        Ok(Endpoint { url, headers })
    }
}

struct Prepared {
    url: Url,
    headers: HeaderMap,
    /// The caller tries again by himself and has his own count of it.
    counts_himself: bool,
    body: Bytes,
    max_response_bytes: usize,
}

/// Where messages go: `/v1/messages` below the base, whose path stays.
pub fn messages_url(base: &str) -> Result<Url> {
    let wrong = || Error::new(Code::Config, "The Anthropic base URL must be an http or https URL.");
    let mut url = Url::parse(base.trim()).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong());
    }
    let path = format!("{}/v1/messages", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

impl Prepared {
    /// Fails with E_CONFIG when there is no credential.
    fn new(
        endpoint: &Endpoint,
        base: Option<&str>,
        settings: &Settings,
        credential: Option<Credential>,
        request: &Request,
    ) -> Result<Prepared> {
        let choices = &request.choices;
        let url = base.map_or_else(|| Ok(endpoint.url.clone()), messages_url)?;
        let mut headers = endpoint.headers.clone();
        // Who compresses all the same is understood, but it delays events.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        authenticate(&mut headers, settings, credential, choices)?;
        let mut counts_himself = false;
        // They may hold secrets of the process.
        let customs: &[_] = if choices.foreign { &[] } else { &settings.anthropic_custom_headers };
        for (name, text) in customs {
            let name = HeaderName::from_bytes(name.as_bytes());
            let name =
                name.map_err(|_| Error::new(Code::Config, "anthropic_custom_headers holds a bad header name."))?;
            replaces_credential(&name, &mut headers);
            counts_himself |= name == RETRY_COUNT;
            headers.insert(name, value(text.expose(), "anthropic_custom_headers")?);
        }
        for (name, value) in &choices.headers {
            if value.is_some() {
                replaces_credential(name, &mut headers);
            }
            counts_himself |= *name == RETRY_COUNT;
        }
        choices.apply_headers(&mut headers);
        if !headers.contains_key(API_KEY) && !headers.contains_key(AUTHORIZATION) {
            return Err(Error::new(Code::Config, "No Anthropic key: set ANTHROPIC_API_KEY or anthropic_api_key."));
        }
        Ok(Prepared {
            url,
            headers,
            counts_himself,
            body: request.body.clone(),
            max_response_bytes: settings.max_response_bytes,
        })
    }

    /// The same with another body and further beta features.
    fn with(mut self, body: Bytes, betas: &[String]) -> Prepared {
        self.body = body;
        let known = self.headers.get(BETA).and_then(|value| value.to_str().ok());
        let all: Vec<_> = known.into_iter().chain(betas.iter().map(String::as_str)).collect();
        if let Ok(value) = HeaderValue::from_str(&all.join(","))
            && !betas.is_empty()
        {
            self.headers.insert(BETA, value);
        }
        self
    }

    async fn sent(&self, client: &Client, attempt: u32, silence: Duration) -> Sent {
        let mut request = reqwest::Request::new(Method::POST, self.url.clone());
        *request.headers_mut() = self.headers.clone();
        if attempt > 0 && !self.counts_himself {
            request.headers_mut().insert(RETRY_COUNT, attempt.into());
        }
        *request.body_mut() = Some(self.body.clone().into());
        let mut response = match within(silence, client.execute(request)).await {
            Some(Ok(response)) => response,
            Some(Err(fault)) => {
                return Err(Failure::before_answer(http::unanswered(&fault, self.host()), http::may_repeat(&fault)));
            }
            None => {
                let text = format!("{} sent nothing for {} s.", self.host(), silence.as_secs());
                return Err(Failure::before_answer(Error::new(Code::Timeout, text), true));
            }
        };
        let mut head = head_of(&mut response);
        let is_success = response.status().is_success();
        let max = if is_success { self.max_response_bytes } else { MAX_ERROR_BYTES };
        let body = HttpBody::new(response, Decoder::new(&mut head.headers, max));
        let head = Arc::new(head);
        if is_success {
            return Ok(Reply { head, body: Box::new(body) });
        }
        let mut failure = Failure::of_answer(head, error_body(body, silence).await);
        // Such a request is read by the proxy, which may answer it by itself.
        if self.url.scheme() == "http"
            && let Some(proxy) = proxy::in_use(&self.url)
        {
            failure.error.message += &format!(" It came through the proxy {}.", proxy.name());
        }
        Err(failure)
    }

    fn host(&self) -> &str {
        self.url.host_str().unwrap_or("the provider")
    }
}

impl super::Prepared for Prepared {
    fn provider(&self) -> Provider {
        Provider::Anthropic
    }

    fn send<'a>(&'a self, http: &'a http::Clients, attempt: u32, idle: Duration) -> BoxFuture<'a, Sent> {
        Box::pin(self.sent(&http.direct, attempt, idle))
    }

    fn server(&self) -> Option<Server> {
        Some(Server { host: self.url.host_str()?.to_owned(), port: self.url.port_or_known_default()? })
    }
}

/// Exactly one credential is sent: the call's own key, else the one from the settings.
fn authenticate(
    headers: &mut HeaderMap,
    settings: &Settings,
    credential: Option<Credential>,
    choices: &Choices,
) -> Result<()> {
    let (name, text) = match (&choices.api_key, &credential) {
        (Some(key), _) => key_header(settings, key),
        (None, Some(Credential::ApiKey(key))) => key_header(settings, key.expose()),
        (None, Some(Credential::AuthToken(token))) => (AUTHORIZATION, format!("Bearer {}", token.expose())),
        (None, None) => {
            headers.remove(API_KEY);
            return Ok(());
        }
    };
    if name != API_KEY {
        headers.remove(API_KEY);
    }
    let mut value = value(&text, "The Anthropic key")?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

fn key_header(settings: &Settings, key: &str) -> (HeaderName, String) {
    match settings.auth_header {
        AuthHeader::XApiKey => (API_KEY, key.to_owned()),
        AuthHeader::Bearer => (AUTHORIZATION, format!("Bearer {key}")),
    }
}

/// A credential that the caller puts into a header of his own takes the place of ours.
fn replaces_credential(name: &HeaderName, headers: &mut HeaderMap) {
    if *name == API_KEY || *name == AUTHORIZATION {
        headers.remove(API_KEY);
        headers.remove(AUTHORIZATION);
    }
}

fn value(text: &str, what: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text)
        .map_err(|_| Error::new(Code::Config, format!("{what} holds characters that no header may.")))
}

/// Takes the headers out of `response`: nobody looks for them there again.
fn head_of(response: &mut reqwest::Response) -> Head {
    let headers = std::mem::take(response.headers_mut());
    let request_id = request_id(&headers, "request-id");
    let status = response.status().as_u16();
    Head { provider: Provider::Anthropic, status, headers, request_id, tokens: Tokens::default() }
}

/// The body of an error, as far as it comes.
async fn error_body(mut coming: HttpBody, silence: Duration) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(Ok(Some(chunk))) = within(silence, coming.next()).await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ERROR_BYTES {
            body.truncate(MAX_ERROR_BYTES);
            break;
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_urls_path_stays() {
        for (base, want) in [
            ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
            ("https://api.anthropic.com/", "https://api.anthropic.com/v1/messages"),
            ("http://127.0.0.1:8/proxy/x/", "http://127.0.0.1:8/proxy/x/v1/messages"),
            (" https://h/a?b=c ", "https://h/a/v1/messages?b=c"),
        ] {
            assert_eq!(messages_url(base).unwrap().as_str(), want);
        }
        for base in ["", "api.anthropic.com", "ftp://h", "file:///etc"] {
            assert_eq!(messages_url(base).unwrap_err().code, Code::Config, "{base}");
        }
    }
}
