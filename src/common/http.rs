//! The one HTTP client: both providers and delivery share its connections and its TLS.

use crate::common::error::{Code, Error, Result};
use crate::common::log;
use once_cell::sync::OnceCell;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

/// A client that follows no redirect (`x-api-key` would go along), retries nothing by itself, sets no deadline but
/// the one for connecting, and honours HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.
pub fn client(connect_timeout: Duration) -> Result<reqwest::Client> {
    let provider = Arc::new(ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|fault| Error::new(Code::Internal, format!("TLS cannot be set up: {fault}.")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(LazyRoots { provider, verifier: OnceCell::new() }))
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .build()
        .map_err(|fault| Error::new(Code::Internal, format!("The HTTP client cannot be set up: {fault}.")))
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
            WebPkiServerVerifier::builder_with_provider(Arc::new(trust_roots()), self.provider.clone())
                .build()
                .map_err(|fault| rustls::Error::General(fault.to_string()))
        })
    }
}

/// The system's roots (or those of SSL_CERT_FILE, SSL_CERT_DIR); Mozilla's where there are none, as in bare containers.
fn trust_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (_, unreadable) = roots.add_parsable_certificates(native.certs);
    if unreadable > 0 {
        log::debug!("{unreadable} of the system's trust roots are not readable");
    }
    if roots.is_empty() {
        log::info!("no system trust roots found; using the built-in ones");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
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
    while let Some(deeper) = cause.and_then(|cause| cause.source()) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| "the reason is not known".to_owned(), |cause| cause.to_string())
}

/// E_CONNECTION: `host` was asked and nothing came back.
pub fn unanswered(fault: &reqwest::Error, host: &str) -> Error {
    let text = match (fault.is_connect(), fault.is_timeout()) {
        (_, true) => format!("Connecting to {host} took too long."),
        (true, _) => format!("Could not connect to {host}: {}.", cause(fault)),
        _ => format!("The connection to {host} failed before an answer came: {}.", cause(fault)),
    };
    Error::new(Code::Connection, text)
}

/// E_STREAM: an answer began and did not come to its end.
pub fn broken_off(fault: &reqwest::Error) -> Error {
    Error::new(Code::Stream, format!("The connection broke off in the reply: {}.", cause(fault)))
}
