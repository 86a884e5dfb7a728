//! The one HTTP client: both providers and delivery share its connections and its TLS.

use crate::common::error::{Code, Error, Result};
use crate::common::proxy::{self, Proxies, Proxy};
use crate::common::{log, os, tls};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::error::Error as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;

/// The clients of one run.
pub struct Clients {
    /// Hands over bodies as they came: they are decoded by what they are rather than by what their headers say.
    pub direct: reqwest::Client,
    pub aws: reqwest::Client,
    /// With connections and look-ups of its own, so that nothing of metering stands before a call.
    pub metering: reqwest::Client,
}

/// Clients that follow no redirect (`x-api-key` would go along), retries nothing by itself, sets no deadline but
/// the one for connecting, and honours HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.
///
/// `env`: how to look up a variable of the environment.
pub fn clients(connect_timeout: Duration, env: &dyn Fn(&str) -> Option<String>) -> Result<Clients> {
    let proxies = Arc::new(Proxies::from_environment(env)?);
    proxies.put_in_use();
    let provider = Arc::new(ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|fault| Error::new(Code::Internal, format!("TLS cannot be set up: {fault}.")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(LazyRoots { provider, verifier: OnceCell::new() }))
        .with_no_client_auth();
    let builder = || {
        let mut builder = reqwest::Client::builder().no_proxy();
        if !proxies.is_empty() {
            let proxies = proxies.clone();
            let of = move |url: &Url| proxies.of(url).map(|proxy| proxy.url.clone());
            builder = builder.proxy(reqwest::Proxy::custom(of));
        }
        builder
            .tls_backend_preconfigured(tls.clone())
            .connect_timeout(connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
    };
    let built = |builder: reqwest::ClientBuilder| {
        let client = builder.build();
        client.map_err(|fault| Error::new(Code::Internal, format!("The HTTP client cannot be set up: {fault}.")))
    };
    let direct = builder().no_gzip().no_deflate().no_brotli().no_zstd();
    let metering = builder().dns_resolver(Lookups::default());
    Ok(Clients { direct: built(direct)?, aws: built(builder())?, metering: built(metering)? })
}

/// Host names looked up on threads of their own, which start with the first look-up and end with the client.
#[derive(Default)]
struct Lookups(OnceCell<mpsc::Sender<(String, Answer)>>);

type Addresses = std::io::Result<Vec<SocketAddr>>;
type Answer = oneshot::Sender<Addresses>;

/// As many look-ups may hang before others wait.
const LOOKUP_THREADS: usize = 2;

impl Lookups {
    fn start() -> std::io::Result<mpsc::Sender<(String, Answer)>> {
        let (sender, asked) = mpsc::channel::<(String, Answer)>();
        let asked = Arc::new(Mutex::new(asked));
        for _ in 0..LOOKUP_THREADS {
            let asked = asked.clone();
            let work = move || {
                loop {
                    let Ok((name, answer)) = asked.lock().recv() else { return };
                    if !answer.is_closed() {
                        let _ = answer.send((name.as_str(), 0).to_socket_addrs().map(Iterator::collect));
                    }
                }
            };
            let builder = std::thread::Builder::new().name("revenium-dns".to_owned());
            os::with_signals_blocked(|| builder.spawn(work))?;
        }
        Ok(sender)
    }

    fn ask(&self, name: String) -> std::io::Result<oneshot::Receiver<Addresses>> {
        let (answer, answered) = oneshot::channel();
        self.0.get_or_try_init(Self::start)?.send((name, answer)).map_err(std::io::Error::other)?;
        Ok(answered)
    }
}

impl Resolve for Lookups {
    fn resolve(&self, name: Name) -> Resolving {
        let asked = self.ask(name.as_str().to_owned());
        Box::pin(async move {
            let addresses = asked?.await??;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Loads the trust roots at the first TLS handshake: milliseconds that a process without TLS never pays.
/// Everything is judged by webpki's own verifier.
#[derive(Debug)]
struct LazyRoots {
    provider: Arc<CryptoProvider>,
    verifier: OnceCell<Arc<WebPkiServerVerifier>>,
}

impl LazyRoots {
    fn verifier(&self) -> std::result::Result<&Arc<WebPkiServerVerifier>, rustls::Error> {
        self.verifier.get_or_try_init(|| {
            WebPkiServerVerifier::builder_with_provider(Arc::new(trust_roots()?), self.provider.clone())
                .build()
                .map_err(|fault| rustls::Error::General(fault.to_string()))
        })
    }
}

/// The system's roots (or those of SSL_CERT_FILE, SSL_CERT_DIR); Mozilla's where there are none, as in bare containers.
fn trust_roots() -> std::result::Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (_, unreadable) = roots.add_parsable_certificates(native.certs);
    if unreadable > 0 {
        log::debug!("{unreadable} of the system's trust roots are not readable");
    }
    // Who names the roots to trust means these and no others.
    let named = |name: &'static str| Some((name, std::env::var_os(name).filter(|path| !path.is_empty())?));
    if roots.is_empty()
        && let Some((name, path)) = named("SSL_CERT_FILE").or_else(|| named("SSL_CERT_DIR"))
    {
        let text = format!("no trust roots can be read from {}, which {name} names", path.to_string_lossy());
        return Err(rustls::Error::General(text));
    }
    if roots.is_empty() {
        log::info!("no system trust roots found; using the built-in ones");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(roots)
}

impl ServerCertVerifier for LazyRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        self.verifier()?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What went wrong below HTTP: the innermost cause says it best. The outermost may show the URL and is left out.
pub fn cause(fault: &reqwest::Error) -> String {
    let mut cause = fault.source();
    while let Some(this) = cause {
        // An I/O error hides what it wraps from `source`.
        let wrapped = this.downcast_ref::<std::io::Error>().and_then(|fault| fault.get_ref());
        let wrapped = wrapped.and_then(|fault| fault.downcast_ref());
        if let Some(fault) = wrapped.or_else(|| this.downcast_ref::<rustls::Error>()) {
            return tls::sentence(fault);
        }
        match this.source() {
            Some(deeper) => cause = Some(deeper),
            None => break,
        }
    }
    cause.map_or_else(|| "the reason is not known".to_owned(), |cause| cause.to_string())
}

/// Whether the request may be sent again: not when it could not be made, and not when an answer began that cannot be
/// read (hyper takes 100 headers), for then it was worked on and is paid for.
pub fn may_repeat(fault: &reqwest::Error) -> bool {
    !fault.is_builder() && !answer_began(fault)
}

fn answer_began(fault: &reqwest::Error) -> bool {
    let mut cause = fault.source();
    while let Some(this) = cause {
        if this.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        cause = this.source();
    }
    false
}

/// E_CONNECTION: `host` was asked and nothing came back. E_STREAM: what came is no answer.
pub fn unanswered(fault: &reqwest::Error, host: &str) -> Error {
    if answer_began(fault) {
        return Error::new(Code::Stream, format!("{host} answered with a head that cannot be read: {}.", cause(fault)));
    }
    let proxy = fault.url().and_then(proxy::in_use);
    let through = proxy.as_ref().map(|proxy| format!(" through the proxy {}", proxy.name())).unwrap_or_default();
    let text = match (fault.is_connect(), fault.is_timeout(), &proxy) {
        (_, true, _) => format!("Connecting to {host}{through} took too long."),
        (true, _, Some(proxy)) => by_proxy(fault, host, proxy),
        (true, _, None) => format!("Could not connect to {host}: {}.", cause(fault)),
        _ => format!("The connection to {host}{through} failed before an answer came: {}.", cause(fault)),
    };
    Error::new(Code::Connection, text)
}

/// Why there is no connection through a proxy.
fn by_proxy(fault: &reqwest::Error, host: &str, proxy: &Proxy) -> String {
    let name = proxy.name();
    let mut causes = std::iter::successors(fault.source(), |&cause| cause.source());
    // The type of this error is not public.
    let tunnel = causes.find_map(|cause| cause.to_string().strip_prefix("tunnel error: ").map(str::to_owned));
    match tunnel.as_deref() {
        Some("proxy authorization required") => format!("The proxy {name} does not take the credentials it is given."),
        Some("unsuccessful") => format!("The proxy {name} refused to connect to {host}."),
        Some("failed to create underlying connection") => {
            format!("Could not connect to the proxy {name}: {}.", cause(fault))
        }
        Some(_) => format!("The proxy {name} did not connect to {host}: {}.", cause(fault)),
        // A forwarded request connects to nobody but the proxy; behind a tunnel it is the host's TLS.
        None if fault.url().is_some_and(|url| url.scheme() == "http") => {
            format!("Could not connect to the proxy {name}: {}.", cause(fault))
        }
        None => format!("Could not connect to {host} through the proxy {name}: {}.", cause(fault)),
    }
}

/// E_STREAM: an answer began and did not come to its end.
pub fn broken_off(fault: &reqwest::Error) -> Error {
    Error::new(Code::Stream, format!("The connection broke off in the reply: {}.", cause(fault)))
}
