//! From the configured metering address to the URL that takes completion records.

use reqwest::Url;

use crate::common::error::{Code, Error};

/// The URL for completion records behind `configured`, and a warning when a part of `configured` was left out.
///
/// People configure the host, the host and `/meter`, `/meter/v2`, or the whole endpoint, behind a proxy's prefix or
/// not; all of them mean the same place. An error says that this is no http or https URL, without showing it.
pub fn completions_url(configured: &str) -> Result<(Url, Option<String>), Error> {
    let not_http = || Error::new(Code::Config, "the metering URL is not an absolute http or https URL");
    let mut url = Url::parse(configured.trim()).map_err(|_| not_http())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(not_http());
    }

    let warning = (url.query().is_some() || url.fragment().is_some())
        .then(|| "the query and fragment of the metering URL are ignored".to_owned());
    url.set_query(None);
    url.set_fragment(None);

    // Whole segments are compared: `/metering` is a prefix like any other.
    let mut segments: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
    if let Some(meter) = segments.iter().rposition(|segment| segment.eq_ignore_ascii_case("meter")) {
        segments.truncate(meter + 1);
    } else {
        segments.pop_if(|last| last.eq_ignore_ascii_case("v2"));
        segments.push("meter");
    }
    let path = format!("/{}/v2/ai/completions", segments.join("/"));
    url.set_path(&path);
    Ok((url, warning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_the_address_leads_to_the_endpoint() {
        for (path, expected) in [
            ("", "/meter/v2/ai/completions"),
            ("/", "/meter/v2/ai/completions"),
            ("/meter", "/meter/v2/ai/completions"),
            ("/meter/", "/meter/v2/ai/completions"),
            ("/meter/v2", "/meter/v2/ai/completions"),
            ("/meter/v2/", "/meter/v2/ai/completions"),
            ("/meter/v2/ai", "/meter/v2/ai/completions"),
            ("/meter/v2/ai/completions", "/meter/v2/ai/completions"),
            ("/v2", "/meter/v2/ai/completions"),
            ("/V2/", "/meter/v2/ai/completions"),
            ("/proxy/v2", "/proxy/meter/v2/ai/completions"),
            ("/v2/proxy", "/v2/proxy/meter/v2/ai/completions"),
            ("/METER/V2", "/METER/v2/ai/completions"),
            ("/proxy/rev", "/proxy/rev/meter/v2/ai/completions"),
            ("/proxy/meter/v2/", "/proxy/meter/v2/ai/completions"),
            ("/meter/x/meter/y", "/meter/x/meter/v2/ai/completions"),
            ("/metering", "/metering/meter/v2/ai/completions"),
            ("/a%20b%2Fc", "/a%20b%2Fc/meter/v2/ai/completions"),
            ("//meter//v2", "/meter/v2/ai/completions"),
        ] {
            let (url, warning) = completions_url(&format!("  https://api.revenium.ai{path}\n")).unwrap();
            assert_eq!(url.as_str(), format!("https://api.revenium.ai{expected}"), "{path}");
            assert_eq!(warning, None, "{path}");
        }
    }

    #[test]
    fn query_and_fragment_go_with_a_warning_and_the_rest_stays() {
        for configured in [
            "http://u:secret@[::1]:8080/?a=b",
            "http://u:secret@[::1]:8080/meter?x=secret#f",
            "http://u:secret@[::1]:8080#f",
        ] {
            let (url, warning) = completions_url(configured).unwrap();
            assert_eq!(url.as_str(), "http://u:secret@[::1]:8080/meter/v2/ai/completions");
            assert!(!warning.unwrap().contains("secret"));
        }
    }

    #[test]
    fn other_schemes_are_errors_that_do_not_show_the_address() {
        for configured in [
            "",
            "   ",
            "api.revenium.ai",
            "secret.host:8080",
            "ftp://u:secret@h/",
            "/meter",
            "https://",
            "http://u:secret@:x/",
        ] {
            let error = completions_url(configured).unwrap_err();
            assert_eq!(error.code, Code::Config, "{configured}");
            assert!(!error.message.contains("secret"), "{configured}");
        }
    }
}
