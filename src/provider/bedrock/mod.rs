//! Claude through AWS Bedrock: InvokeModel and InvokeModelWithResponseStream.

mod aws;
mod body;
mod connector;
mod credentials;
mod frames;
mod model;
mod process;
mod reply;

pub use frames::Frames;

use super::head::request_id;
use super::{Backend, Direct, Failure, Head, Other, Provider, Reasons, Reply, Sent, Server};
use crate::common::error::{Code, Error, Result};
use crate::common::patience::within;
use crate::common::trace_context::{TRACEPARENT, TRACESTATE};
use crate::common::{http, log};
use crate::messages::Tokens;
use crate::messages::request::Request;
use crate::settings::{Environment, Settings};
use aws::{Aws, Target};
use aws_sdk_bedrockruntime::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_bedrockruntime::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_bedrockruntime::primitives::Blob;
use bytes::Bytes;
use credentials::aws_credentials;
use futures_util::future::BoxFuture;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

const JSON: &str = "application/json";
const BETA: &str = "anthropic-beta";
/// Bedrock reads it in the body only, as `user_profile_id`.
const USER_PROFILE: &str = "anthropic-user-profile-id";
/// Whose cost a call is, in AWS's books.
const PROJECT: HeaderName = HeaderName::from_static("x-amzn-bedrock-projectidentifier");

/// Headers that a caller may give for direct calls and that must not go to AWS, or go there otherwise.
const NOT_FOR_AWS: &[&str] =
    &["x-api-key", "authorization", "anthropic-version", BETA, USER_PROFILE, "host", "content-type"];

pub const ROW: Other = Other {
    provider: Provider::Bedrock,
    open: |settings| Arc::new(Bedrock::new(settings.clone())),
    barred: |settings| settings.bedrock_disable.then_some("bedrock_disable is set"),
    is_at: is_aws,
    has_credentials: |env| aws_credentials(env).is_some(),
    look_again: credentials::look_again,
    reasons: Reasons {
        calls_url: "the call's base URL is of AWS",
        base_url: "anthropic_base_url is of AWS",
        credentials: "there are AWS credentials and none of Anthropic",
        no_credentials: "no AWS credentials are configured",
    },
};

/// Bedrock as one run of the library asks it: nothing of AWS until the first call.
struct Bedrock {
    settings: Arc<Settings>,
    aws: Aws,
}

impl Bedrock {
    fn new(settings: Arc<Settings>) -> Bedrock {
        Bedrock { settings, aws: Aws::default() }
    }
}

impl Backend for Bedrock {
    fn prepare(
        self: Arc<Self>,
        request: &Request,
        explicit: bool,
        env: Environment<'_>,
    ) -> Result<Box<dyn super::Prepared>> {
        Ok(Box::new(Prepared::new(self, request, explicit, env)?))
    }

    fn for_direct(&self, request: &Request) -> Option<Direct> {
        if self.settings.bedrock_fallback { body::for_direct(&request.body) } else { None }
    }
}

struct Prepared {
    bedrock: Arc<Bedrock>,
    target: Target,
    model: String,
    body: Bytes,
    headers: HeaderMap,
    streamed: bool,
    region: OnceLock<String>,
    server: Arc<OnceLock<Server>>,
}

impl Prepared {
    fn new(bedrock: Arc<Bedrock>, request: &Request, explicit: bool, env: Environment<'_>) -> Result<Prepared> {
        if request.choices.foreign {
            let text = "A request cannot name an endpoint for AWS Bedrock: its credentials are the process's. Set the URL in \
                        the settings or in a scope.";
            return Err(Error::new(Code::Config, text));
        }
        let settings = &bedrock.settings;
        let mut headers = HeaderMap::new();
        if !settings.anthropic_beta.is_empty() {
            let betas = HeaderValue::from_str(&settings.anthropic_beta.join(","));
            headers.insert(BETA, betas.map_err(|_| bad_header("anthropic_beta"))?);
        }
        if let Some(project) = &settings.bedrock_project_id {
            let project = HeaderValue::from_str(project).map_err(|_| bad_header("bedrock_project_id"))?;
            headers.insert(PROJECT, project);
        }
        for (name, text) in &settings.anthropic_custom_headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad_header("anthropic_custom_headers"))?;
            let value = HeaderValue::from_str(text.expose()).map_err(|_| bad_header("anthropic_custom_headers"))?;
            headers.insert(name, value);
        }
        request.choices.apply_headers(&mut headers);
        let betas = headers.get(BETA).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let betas: Vec<&str> = betas.split(',').map(str::trim).filter(|beta| !beta.is_empty()).collect();
        let profile = headers.get(USER_PROFILE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        for name in NOT_FOR_AWS {
            headers.remove(*name);
        }
        let (model, body) = body::for_bedrock(&request.body, &betas, profile.as_deref())?;
        let model = model::id(&model, settings);
        if !model::is_valid(&model) {
            return Err(Error::new(Code::Config, "The request's model is no Bedrock model id."));
        }
        let target = target(settings, request, &model, explicit, env)?;
        Ok(Prepared {
            bedrock,
            target,
            model,
            body,
            headers,
            streamed: request.streamed,
            region: OnceLock::new(),
            server: Arc::default(),
        })
    }

    /// One attempt, and another at once where AWS refused the first for this machine's clock. `silence`: how long the
    /// provider may say nothing.
    async fn sent(&self, http: &Client, silence: Duration) -> Sent {
        let clock = &self.bedrock.aws.clock;
        let mut sent = self.send_once(http, silence).await;
        if let Err(failure) = &sent
            && told_time(failure).is_some_and(|time| clock.learn(time))
        {
            log::warn!("this machine's clock is {} s off AWS's; requests are signed by AWS's", clock.ahead().abs());
            sent = self.send_once(http, silence).await;
        }
        sent.map_err(|mut failure| {
            if told_time(&failure).is_some() && clock.ahead() != 0 {
                let off = clock.ahead().abs();
                failure.error.message += &format!(" This machine's clock is {off} s off AWS's: set it.");
            }
            failure
        })
    }

    async fn send_once(&self, http: &Client, silence: Duration) -> Sent {
        let cell = self.bedrock.aws.client(&self.target, http, &self.bedrock.settings).await;
        let Some(regional) = cell.get() else {
            return Err(Failure::before_answer(Error::new(Code::Internal, "There is no AWS client."), false));
        };
        let _ = self.region.set(regional.region.clone());
        let head = Arc::new(OnceLock::new());
        let wire = Wire { headers: self.headers.clone(), head: head.clone(), server: self.server.clone() };
        let body = Blob::new(self.body.to_vec());
        let answered = async {
            let client = &regional.client;
            if self.streamed {
                let call = client.invoke_model_with_response_stream().model_id(&self.model).body(body);
                let sent = call.content_type(JSON).accept(JSON).customize().interceptor(wire).send().await;
                sent.map(|output| Box::new(reply::Events(output.body)) as Box<dyn super::Body>)
                    .map_err(|fault| reply::failed(&fault, head.get().cloned()))
            } else {
                let call = client.invoke_model().model_id(&self.model).body(body);
                let sent = call.content_type(JSON).accept(JSON).customize().interceptor(wire).send().await;
                sent.map(|output| Box::new(reply::Whole(Some(output.body.into_inner().into()))) as Box<dyn super::Body>)
                    .map_err(|fault| reply::failed(&fault, head.get().cloned()))
            }
        };
        let body = match within(silence, answered).await {
            Some(Ok(body)) => body,
            Some(Err(failure)) => {
                if failure.error.code == Code::Authentication {
                    self.bedrock.aws.forget(&self.target, &cell);
                }
                return Err(failure);
            }
            None => {
                let error = Error::new(Code::Timeout, format!("AWS Bedrock sent nothing for {} s.", silence.as_secs()));
                let head = head.get().cloned();
                // Once it answers, the tokens are used.
                return Err(Failure { head: head.clone(), ..Failure::before_answer(error, head.is_none()) });
            }
        };
        match head.get() {
            Some(head) => Ok(Reply { head: head.clone(), body }),
            None => Err(Failure::before_answer(Error::new(Code::Internal, "A reply came without its head."), false)),
        }
    }
}

impl super::Prepared for Prepared {
    fn provider(&self) -> Provider {
        Provider::Bedrock
    }

    fn send<'a>(&'a self, http: &'a http::Clients, _attempt: u32, idle: Duration) -> BoxFuture<'a, Sent> {
        Box::pin(self.sent(&http.aws, idle))
    }

    /// The id or ARN that is called.
    fn model(&self) -> Option<&str> {
        Some(&self.model)
    }

    /// The region that is called: before the first attempt, if it is not left to the profile.
    fn region(&self) -> Option<&str> {
        self.region.get().or(self.target.region.as_ref()).map(String::as_str)
    }

    /// Where the requests went, once one has been sent.
    fn server(&self) -> Option<Server> {
        self.server.get().cloned()
    }
}

/// The time by AWS's clock, where AWS did not take the signature.
fn told_time(failure: &Failure) -> Option<SystemTime> {
    let head = failure.head.as_ref().filter(|head| matches!(head.status, 401 | 403))?;
    httpdate::parse_http_date(head.headers.get("date")?.to_str().ok()?).ok()
}

fn bad_header(setting: &str) -> Error {
    Error::new(Code::Config, format!("{setting} holds characters that no header may."))
}

/// Where the call goes. A base URL of AWS says it with its host; of the call's own, any base URL does.
fn target(settings: &Settings, request: &Request, model: &str, explicit: bool, env: Environment<'_>) -> Result<Target> {
    let named = |name: &str| env(name).filter(|url| !url.trim().is_empty());
    let names = ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL"];
    let endpoint = names.into_iter().find_map(|name| Some((name, named(name)?)));
    if let Some((name, url)) = &endpoint
        && endpoint_of(url).is_none()
    {
        // AWS's own tools would pass over it and ask AWS itself.
        return Err(Error::new(Code::Config, format!("{name} must be an http or https URL.")));
    }
    let endpoint = endpoint.map(|(_, url)| url);
    let base = match &request.choices.base_url {
        Some(base) => Some((base, true)),
        None if is_aws(&settings.anthropic_base_url) => Some((&settings.anthropic_base_url, endpoint.is_none())),
        None => None,
    };
    let base = match base {
        None => None,
        Some((base, used)) => Some((
            endpoint_of(base).ok_or_else(|| Error::new(Code::Config, "The base URL must be an http or https URL."))?,
            used,
        )),
    };
    let of_base = base.as_ref().and_then(|(url, _)| region_of(url.host_str()?));
    // What is signed must name the region of the host that is asked, and that of the model's own.
    let endpoint = endpoint.and_then(|url| Url::parse(url.trim()).ok());
    let of_endpoint = endpoint.as_ref().and_then(|url| region_of(url.host_str()?));
    let own = request.choices.aws_region.as_deref();
    let region = own.or(of_base).or(of_endpoint).or_else(|| region_of_arn(model)).or(settings.aws_region.as_deref());
    Ok(Target {
        region: region.map(str::to_owned),
        endpoint: base.as_ref().filter(|(_, used)| *used).map(|(url, _)| url.origin().ascii_serialization()),
        ask_instance: explicit,
    })
}

/// Whether the host of `base` is AWS's.
fn is_aws(base: &str) -> bool {
    // Asked for every call, and reading a URL costs far more than this look.
    if !base.as_bytes().windows(4).any(|part| part.eq_ignore_ascii_case(b"naws") || part.eq_ignore_ascii_case(b".aws"))
    {
        return false;
    }
    let url = Url::parse(base.trim()).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    let host = host.trim_end_matches('.');
    [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|domain| host.ends_with(domain))
}

fn endpoint_of(text: &str) -> Option<Url> {
    Url::parse(text.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// `eu-west-1` of `bedrock-runtime.eu-west-1.amazonaws.com` and its kin.
fn region_of(host: &str) -> Option<&str> {
    let mut labels = host.split('.');
    labels.find(|label| matches!(*label, "bedrock-runtime" | "bedrock-runtime-fips"))?;
    labels.next().filter(|region| region.contains('-'))
}

/// `us-gov-west-1` of `arn:aws-us-gov:bedrock:us-gov-west-1:1:inference-profile/x`.
fn region_of_arn(model: &str) -> Option<&str> {
    let region = model.strip_prefix("arn:")?.split(':').nth(2)?;
    let is_region = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (!region.is_empty() && region.bytes().all(is_region)).then_some(region)
}

/// Puts the caller's headers on the request before it is signed, and keeps where it went and the head of the answer.
#[derive(Debug)]
struct Wire {
    headers: HeaderMap,
    head: Arc<OnceLock<Arc<Head>>>,
    server: Arc<OnceLock<Server>>,
}

/// A proxy on the way may change these, and must not break the signature by it.
fn is_unsigned(name: &HeaderName) -> bool {
    [TRACEPARENT, TRACESTATE].contains(name)
}

impl Intercept for Wire {
    fn name(&self) -> &'static str {
        "revenium"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> std::result::Result<(), aws_sdk_bedrockruntime::error::BoxError> {
        for (name, value) in self.headers.iter().filter(|(name, _)| !is_unsigned(name)) {
            context.request_mut().headers_mut().try_insert(name.as_str().to_owned(), value.to_str()?.to_owned())?;
        }
        Ok(())
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> std::result::Result<(), aws_sdk_bedrockruntime::error::BoxError> {
        for (name, value) in self.headers.iter().filter(|(name, _)| is_unsigned(name)) {
            context.request_mut().headers_mut().try_insert(name.as_str().to_owned(), value.to_str()?.to_owned())?;
        }
        if let Ok(url) = Url::parse(context.request().uri())
            && let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default())
        {
            let _ = self.server.set(Server { host: host.to_owned(), port });
        }
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> std::result::Result<(), aws_sdk_bedrockruntime::error::BoxError> {
        let response = context.response();
        let mut headers = HeaderMap::new();
        for (name, value) in response.headers() {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
                headers.append(name, value);
            }
        }
        let request_id = request_id(&headers, "x-amzn-requestid");
        let status = response.status().as_u16();
        let _ = self.head.set(Arc::new(Head {
            provider: Provider::Bedrock,
            status,
            tokens: counted(&headers),
            headers,
            request_id,
        }));
        Ok(())
    }
}

/// What Bedrock counted, where it says so.
fn counted(headers: &HeaderMap) -> Tokens {
    let counted = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Tokens {
        input: counted("x-amzn-bedrock-input-token-count"),
        output: counted("x-amzn-bedrock-output-token-count"),
        cache_creation: counted("x-amzn-bedrock-cache-write-input-token-count"),
        cache_read: counted("x-amzn-bedrock-cache-read-input-token-count"),
        ..Tokens::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::request::Streaming;

    fn target_of(call: &str, vars: &[(&str, &str)]) -> Target {
        let env = |name: &str| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let (settings, _) = Settings::load(None, &env).unwrap();
        let request = Request::parse(&format!(r#"{{"model":"m","revenium":{call}}}"#), Streaming::Always).unwrap();
        target(&settings, &request, "m", true, &env).unwrap()
    }

    #[test]
    fn where_a_call_goes() {
        let aws = ("ANTHROPIC_BASE_URL", "https://bedrock-runtime.eu-west-1.amazonaws.com/anthropic");
        let region = ("AWS_REGION", "us-west-2");
        let own = ("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
        let aws_origin = Some("https://bedrock-runtime.eu-west-1.amazonaws.com");
        for (call, vars, want_region, want_endpoint) in [
            ("{}", &[][..], None, None),
            ("{}", &[region], Some("us-west-2"), None),
            ("{}", &[("AWS_DEFAULT_REGION", "sa-east-1")], Some("sa-east-1"), None),
            ("{}", &[region, own], Some("us-west-2"), None),
            ("{}", &[region, aws], Some("eu-west-1"), aws_origin),
            ("{}", &[aws, own], Some("eu-west-1"), None),
            (r#"{"aws_region":"ap-south-1"}"#, &[region, aws], Some("ap-south-1"), aws_origin),
            (r#"{"base_url":"http://127.0.0.1:7/x"}"#, &[region, own], Some("us-west-2"), Some("http://127.0.0.1:7")),
        ] {
            let target = target_of(call, vars);
            assert_eq!(
                (target.region.as_deref(), target.endpoint.as_deref()),
                (want_region, want_endpoint),
                "{vars:?}"
            );
        }
    }

    #[test]
    fn the_models_arn_names_its_region() {
        for (model, want) in [
            ("arn:aws-us-gov:bedrock:us-gov-west-1:1:inference-profile/x", Some("us-gov-west-1")),
            ("arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-opus-4-7", Some("eu-west-1")),
            ("arn:aws:bedrock:evil.example/:1:x/y", None),
            ("arn:aws:bedrock", None),
            ("anthropic.claude-opus-4-7", None),
        ] {
            assert_eq!(region_of_arn(model), want, "{model}");
        }
    }

    #[test]
    fn a_private_endpoint_names_its_region() {
        let vpce = ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "https://vpce-0a.bedrock-runtime.eu-west-1.vpce.amazonaws.com");
        assert_eq!(target_of("{}", &[vpce, ("AWS_REGION", "us-west-2")]).region.as_deref(), Some("eu-west-1"));
    }

    #[test]
    fn hosts_name_their_region() {
        for (host, want) in [
            ("bedrock-runtime.us-east-1.amazonaws.com", Some("us-east-1")),
            ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", Some("us-gov-west-1")),
            ("vpce-0a.bedrock-runtime.eu-west-1.vpce.amazonaws.com", Some("eu-west-1")),
            ("bedrock-runtime.amazonaws.com", None),
            ("x.execute-api.us-east-1.amazonaws.com", None),
        ] {
            assert_eq!(region_of(host), want, "{host}");
        }
    }

    #[test]
    fn a_key_for_anthropic_stays_away_from_aws() {
        let env = |name: &str| {
            (name == "ANTHROPIC_CUSTOM_HEADERS").then(|| "x-api-key: k\nX-Amzn-Bedrock-Trace: ENABLED".to_owned())
        };
        let (settings, _) = Settings::load(None, &env).unwrap();
        let bedrock = Arc::new(Bedrock::new(Arc::new(settings)));
        let text = r#"{"model":"m","revenium":{"headers":{"authorization":"Bearer t","anthropic-beta":"a, b"}}}"#;
        let request = Request::parse(text, Streaming::Always).unwrap();
        let prepared = Prepared::new(bedrock, &request, true, &env).unwrap();
        assert_eq!(prepared.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-amzn-bedrock-trace"]);
        assert!(std::str::from_utf8(&prepared.body).unwrap().contains(r#""anthropic_beta":["a","b"]"#));
    }

    #[test]
    fn the_host_alone_says_whether_an_address_is_of_aws() {
        for (base, want) in [
            ("https://bedrock-runtime.us-east-1.amazonaws.com", true),
            ("https://BEDROCK-RUNTIME.us-east-1.AMAZONAWS.com:443/x", true),
            ("https://bedrock-runtime.cn-north-1.amazonaws.com.cn/", true),
            ("https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com", true),
            ("https://bedrock-runtime.us-east-1.api.aws", true),
            ("https://api.aws.example", false),
            ("https://amazonaws.com.example", false),
            ("https://notamazonaws.com", false),
            ("https://example.com/amazonaws.com", false),
            ("https://api.anthropic.com", false),
            ("amazonaws.com", false),
        ] {
            assert_eq!(is_aws(base), want, "{base}");
        }
    }
}
