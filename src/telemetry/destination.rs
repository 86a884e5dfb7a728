//! Where spans go, and in which form.

use crate::common::error::{Code, Error, Result};
use crate::common::log;
use crate::settings::{OtlpProtocol, Settings};
use reqwest::Url;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use std::time::Duration;

/// Revenium's own hosts end in these.
const REVENIUM: [&str; 2] = ["revenium.ai", "revenium.io"];

pub struct Destination {
    pub url: Url,
    /// For people: without user-info and query.
    pub shown: String,
    pub headers: HeaderMap,
    pub json: bool,
    pub gzip: bool,
    /// For one attempt.
    pub timeout: Duration,
    at_revenium: bool,
    grpc: bool,
}

impl Destination {
    pub fn new(settings: &Settings) -> Result<Destination> {
        let url = url_of(settings)?;
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let json = settings.otlp_protocol == OtlpProtocol::Json;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("librevenium/", env!("CARGO_PKG_VERSION"))));
        let form = if json { "application/json" } else { "application/x-protobuf" };
        for (name, text) in &settings.otlp_headers {
            let wrong = || Error::new(Code::Config, "otlp_headers holds what is no header.");
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(text.expose()).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(form));
        // An answer is a few bytes.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if settings.otlp_gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(Destination {
            shown: format!("{}://{host}{port}{}", url.scheme(), url.path()),
            headers,
            json,
            gzip: settings.otlp_gzip,
            timeout: Duration::from_millis(settings.otlp_timeout_ms),
            at_revenium: is_at_revenium(&url, &settings.metering_base_url),
            grpc: settings.otlp_protocol == OtlpProtocol::Grpc,
            url,
        })
    }

    /// Whether spans would be billed beside the records of the same calls.
    pub fn is_at_revenium(&self) -> bool {
        self.at_revenium
    }

    /// E_CONFIG then.
    pub fn refuse_revenium(&self) -> Result<()> {
        if !self.at_revenium {
            return Ok(());
        }
        let text = "The OTLP endpoint is Revenium's, where metered calls have their records: each call would be billed \
                    twice. Export spans to a backend of your own, or turn metering off.";
        Err(Error::new(Code::Config, text))
    }

    pub fn warn(&self) {
        if self.grpc {
            log::warn!(
                "spans go out over HTTP, not gRPC: set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL to http/protobuf and the endpoint \
                 to the Collector's HTTP port, which is 4318 by default"
            );
        }
    }
}

/// One of Revenium's hosts, or the place that records go to.
fn is_at_revenium(url: &Url, metering: &str) -> bool {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let is_at = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    REVENIUM.into_iter().any(is_at)
        || Url::parse(metering.trim()).is_ok_and(|metering| metering.origin() == url.origin())
}

/// An endpoint for traces is taken as it is; what all signals share gets the path for traces.
fn url_of(settings: &Settings) -> Result<Url> {
    let wrong = || Error::new(Code::Config, "The OTLP endpoint must be an http or https URL.");
    let own = settings.otlp_traces_endpoint.as_deref();
    let mut url = Url::parse(own.unwrap_or(&settings.otlp_endpoint)).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong());
    }
    if own.is_none() {
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(config: &str) -> Result<Destination> {
        let settings = Settings::load(Some(config), &|_| None).unwrap().0;
        Destination::new(&settings)
    }

    #[test]
    fn what_all_signals_share_gets_a_path_and_the_rest_is_taken_as_it_is() {
        for (config, wanted) in [
            ("{}", "http://localhost:4318/v1/traces"),
            (r#"{"otlp_endpoint":"https://c.example/"}"#, "https://c.example/v1/traces"),
            (r#"{"otlp_endpoint":"http://c:1/a/b"}"#, "http://c:1/a/b/v1/traces"),
            (r#"{"otlp_endpoint":"http://c:1","otlp_traces_endpoint":"http://d:2/x"}"#, "http://d:2/x"),
            (r#"{"otlp_traces_endpoint":"http://d:2"}"#, "http://d:2/"),
        ] {
            assert_eq!(with(config).unwrap().url.as_str(), wanted, "{config}");
        }
        let shown = with(r#"{"otlp_traces_endpoint":"http://u:secret@d:2/x?key=secret"}"#).unwrap().shown;
        assert_eq!(shown, "http://d:2/x");
    }

    #[test]
    fn what_is_meant_for_this_library_wins_over_what_is_meant_for_all() {
        let all: &[_] = &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:1"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:2"),
        ];
        let ours = ("REVENIUM_OTLP_ENDPOINT", "http://ours:3");
        for (config, more, wanted) in [
            ("{}", None, "http://traces:2/"),
            ("{}", Some(ours), "http://ours:3/v1/traces"),
            (r#"{"otlp_endpoint":"http://own:4"}"#, Some(ours), "http://own:4/v1/traces"),
            (r#"{"otlp_traces_endpoint":"http://own:5/x"}"#, Some(ours), "http://own:5/x"),
        ] {
            let set: Vec<_> = all.iter().copied().chain(more).collect();
            let env = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            let settings = Settings::load(Some(config), &env).unwrap().0;
            assert_eq!(Destination::new(&settings).unwrap().url.as_str(), wanted, "{config} {more:?}");
        }
    }

    #[test]
    fn revenium_and_the_metering_host_are_refused() {
        for (endpoint, refused) in [
            ("https://api.revenium.ai/meter/v2/otlp", true),
            ("https://API.Revenium.AI.", true),
            ("https://revenium.io", true),
            ("http://x.y.revenium.io:4318", true),
            ("https://notrevenium.ai", false),
            ("https://revenium.ai.example.com", false),
            ("https://meter.example.com/otlp", true),
            ("https://meter.example.com:443", true),
            ("https://meter.example.com:4318", false),
            ("http://localhost:4318", false),
        ] {
            let config =
                format!(r#"{{"otlp_endpoint":"{endpoint}","metering_base_url":"https://meter.example.com/meter"}}"#);
            assert_eq!(with(&config).unwrap().is_at_revenium(), refused, "{endpoint}");
        }
    }
}
