//! Which proxy a request takes, by the environment: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, as curl and Go read
//! them. (reqwest's own reading goes past a proxy whose password holds `#`, and takes an empty variable for a set one.)

use crate::common::error::{Code, Error, Result};
use crate::common::os::PerProcess;
use ipnet::IpNet;
use parking_lot::Mutex;
use reqwest::Url;
use std::net::IpAddr;
use std::sync::Arc;

/// A proxy and the variable that names it.
#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    pub url: Url,
    variable: &'static str,
}

impl Proxy {
    /// For people: where it is and who says so, without its password.
    pub fn name(&self) -> String {
        let port = self.url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
        let unknown = match self.url.scheme() {
            "http" | "https" => String::new(),
            scheme => format!("; {scheme} is not supported"),
        };
        format!("{}{port} ({}{unknown})", self.url.host_str().unwrap_or_default(), self.variable)
    }
}

#[derive(Debug, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    except: Vec<Except>,
}

/// One entry of NO_PROXY.
#[derive(Debug, PartialEq)]
enum Except {
    All,
    Network(IpNet),
    /// The host and what is below it, at this port or at any.
    Host(String, Option<u16>),
}

/// Those of this process's clients: errors name the proxy.
static IN_USE: PerProcess<Mutex<Arc<Proxies>>> = PerProcess::empty();

/// The proxy that requests to `url` take.
pub fn in_use(url: &Url) -> Option<Proxy> {
    let proxies = IN_USE.peek()?.lock().clone();
    proxies.of(url).cloned()
}

impl Proxies {
    pub fn from_environment(env: &dyn Fn(&str) -> Option<String>) -> Result<Proxies> {
        let set = |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        // A web server's CGI program gets the header `Proxy` of strangers as HTTP_PROXY.
        if set("REQUEST_METHOD").is_some() {
            return Ok(Proxies::default());
        }
        let first = |names: &[&'static str]| {
            let found = names.iter().find_map(|name| Some((*name, set(name)?)));
            found.map(|(name, text)| proxy(name, &text)).transpose()
        };
        let except = set("NO_PROXY").or_else(|| set("no_proxy")).unwrap_or_default();
        Ok(Proxies {
            http: first(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])?,
            https: first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])?,
            except: except.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).map(Except::parse).collect(),
        })
    }

    /// From now on errors name these.
    pub fn put_in_use(self: &Arc<Self>) {
        *IN_USE.get(|_| Mutex::default()).lock() = self.clone();
    }

    pub fn is_empty(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }

    pub fn of(&self, url: &Url) -> Option<&Proxy> {
        let proxy = match url.scheme() {
            "http" => self.http.as_ref(),
            "https" => self.https.as_ref(),
            _ => None,
        }?;
        let host = url.host_str()?.trim_end_matches('.');
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = url.port_or_known_default();
        (!self.except.iter().any(|except| except.covers(host, port))).then_some(proxy)
    }
}

/// `[scheme://][user[:password]@]host[:port]`. The user and the password may hold what a URL would cut off.
fn proxy(variable: &'static str, text: &str) -> Result<Proxy> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    let url = Url::parse(&format!("{scheme}://{host}")).ok().filter(Url::has_host);
    let url = url.and_then(|mut url| {
        let (name, password) = user.map_or(("", None), |user| match user.split_once(':') {
            Some((name, password)) => (name, Some(password)),
            None => (user, None),
        });
        // What is encoded already stays as it is.
        url.set_username(name).ok()?;
        url.set_password(password).ok()?;
        Some(url)
    });
    // The value may hold a password.
    let wrong = || Error::new(Code::Config, format!("{variable} must be the URL of a proxy."));
    Ok(Proxy { url: url.ok_or_else(wrong)?, variable })
}

impl Except {
    fn parse(entry: &str) -> Except {
        if entry == "*" {
            return Except::All;
        }
        let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        if let Some(network) = entry.parse().ok().or_else(|| bare(entry).map(IpNet::from)) {
            return Except::Network(network);
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => match port.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) => (entry, None),
            },
            None => (entry, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let host = host.strip_prefix('*').unwrap_or(host).trim_start_matches('.');
        Except::Host(host.to_ascii_lowercase(), port)
    }

    /// `host`: in lower case, as URLs have it.
    fn covers(&self, host: &str, port: Option<u16>) -> bool {
        match self {
            Except::All => true,
            Except::Network(network) => host.parse::<IpAddr>().is_ok_and(|address| network.contains(&address)),
            Except::Host(name, only) => {
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                below && !name.is_empty() && only.is_none_or(|only| Some(only) == port)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(vars: &[(&str, &str)], url: &str) -> Option<String> {
        let env = |name: &str| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let proxies = Proxies::from_environment(&env).unwrap();
        proxies.of(&Url::parse(url).unwrap()).map(|proxy| proxy.url.to_string())
    }

    #[test]
    fn the_first_variable_that_is_not_empty_counts() {
        let (to, proxy) = ("https://api.anthropic.com", Some("http://p:1/".to_owned()));
        for (vars, want) in [
            (&[][..], None),
            (&[("HTTPS_PROXY", "http://p:1")], proxy.clone()),
            (&[("HTTPS_PROXY", ""), ("https_proxy", "p:1")], proxy.clone()),
            (&[("HTTPS_PROXY", " "), ("ALL_PROXY", "p:1")], proxy.clone()),
            (&[("HTTP_PROXY", "p:1")], None),
            (&[("HTTPS_PROXY", "p:1"), ("NO_PROXY", ""), ("no_proxy", "anthropic.com")], None),
            (&[("HTTPS_PROXY", "p:1"), ("REQUEST_METHOD", "GET")], None),
        ] {
            assert_eq!(chosen(vars, to), want, "{vars:?}");
        }
    }

    #[test]
    fn a_password_may_hold_anything() {
        for (text, want) in [
            ("http://u:a#b@p:1", "http://u:a%23b@p:1/"),
            ("http://u:a/?b@c@p:1", "http://u:a%2F%3Fb%40c@p:1/"),
            ("u:a%23b@p:1", "http://u:a%23b@p:1/"),
            ("https://u@p", "https://u@p/"),
        ] {
            assert_eq!(chosen(&[("HTTPS_PROXY", text)], "https://h").as_deref(), Some(want), "{text}");
        }
        for text in ["http://", "u:a@", "http://a b"] {
            let error = Proxies::from_environment(&|name| (name == "ALL_PROXY").then(|| text.to_owned())).unwrap_err();
            assert_eq!(error.code, Code::Config, "{text}");
        }
    }

    #[test]
    fn what_takes_no_proxy() {
        for (except, url, want) in [
            ("*", "https://h", true),
            ("*", "https://10.0.0.1", true),
            ("anthropic.com", "https://api.anthropic.com", true),
            (".anthropic.com", "https://anthropic.com", true),
            ("*.anthropic.com", "https://api.anthropic.com", true),
            ("anthropic.com", "https://notanthropic.com", false),
            ("ANTHROPIC.com.", "https://api.anthropic.com.", true),
            ("other.com, anthropic.com", "https://anthropic.com", true),
            ("other.com anthropic.com", "https://anthropic.com", true),
            ("anthropic.com:443", "https://anthropic.com", true),
            ("anthropic.com:8443", "https://anthropic.com", false),
            ("127.0.0.1:80", "https://127.0.0.1:80", true),
            ("127.0.0.1:80", "https://127.0.0.1:81", false),
            ("10.0.0.0/8", "https://10.1.2.3", true),
            ("10.0.0.0/8", "https://11.1.2.3", false),
            ("::1", "https://[::1]:7", true),
            ("[::1]", "https://[::1]", true),
            ("[::1]:7", "https://[::1]:7", true),
            (".", "https://h.", false),
        ] {
            let vars = [("ALL_PROXY", "p:1"), ("NO_PROXY", except)];
            assert_eq!(chosen(&vars, url).is_none(), want, "{except} {url}");
        }
    }

    #[test]
    fn its_name_tells_no_password() {
        let proxy = proxy("HTTPS_PROXY", "u:secret@p:1").unwrap();
        assert_eq!(proxy.name(), "p:1 (HTTPS_PROXY)");
        let proxy = super::proxy("ALL_PROXY", "socks5://u:secret@p").unwrap();
        assert_eq!(proxy.name(), "p (ALL_PROXY; socks5 is not supported)");
    }
}
