//! What a failed TLS handshake means, as a sentence for a person.

use rustls::{AlertDescription, CertificateError, Error};

/// To follow "Could not connect to HOST:".
pub fn sentence(fault: &Error) -> String {
    let text = match fault {
        Error::InvalidCertificate(fault) => certificate(fault),
        Error::AlertReceived(alert) => return format!("it ended the TLS handshake: {}", words(*alert)),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::PeerSentOversizedRecord => {
            "what it sends is not TLS; is this a server for plain HTTP?"
        }
        Error::PeerIncompatible(_) => "it takes no version or cipher suite of TLS that is safe",
        Error::PeerMisbehaved(_) | Error::DecryptError | Error::InappropriateHandshakeMessage { .. } => {
            "it does not keep to the rules of TLS"
        }
        Error::NoCertificatesPresented => "it shows no certificate",
        // Our own words, about the trust roots.
        Error::General(text) => return text.clone(),
        _ => "the TLS handshake failed",
    };
    text.to_owned()
}

fn certificate(fault: &CertificateError) -> &'static str {
    use CertificateError::*;
    match fault {
        Expired | ExpiredContext { .. } => "its certificate has expired, or this machine's clock is wrong",
        NotValidYet | NotValidYetContext { .. } => "its certificate is not valid yet, or this machine's clock is wrong",
        UnknownIssuer => {
            "its certificate is signed by nobody who is trusted here; SSL_CERT_FILE names a file of whom to trust"
        }
        NotValidForName | NotValidForNameContext { .. } => "its certificate is for another name",
        Revoked => "its certificate was revoked",
        BadEncoding => "its certificate cannot be read",
        InvalidPurpose | InvalidPurposeContext { .. } => "its certificate is not one of a server",
        _ => "its certificate is not acceptable",
    }
}

/// `handshake failure` of `HandshakeFailure`.
fn words(alert: AlertDescription) -> String {
    let name = format!("{alert:?}");
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return format!("alert {}", u8::from(alert));
    }
    let mut words = String::new();
    for (at, letter) in name.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{InvalidMessage, PeerIncompatible};
    use std::time::Duration;

    #[test]
    fn no_failure_shows_as_a_dump() {
        let name = ServerName::try_from("secret.example").unwrap();
        let time = UnixTime::since_unix_epoch(Duration::from_secs(9));
        for (fault, part) in [
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), "nobody who is trusted"),
            (Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after: time }), "has expired"),
            (
                Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                    expected: name,
                    presented: vec!["other.example".into()],
                }),
                "another name",
            ),
            (Error::InvalidCertificate(CertificateError::BadSignature), "not acceptable"),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), "handshake failure"),
            (Error::AlertReceived(AlertDescription::UnknownCA), "unknown"),
            (Error::AlertReceived(AlertDescription::Unknown(200)), "alert 200"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "plain HTTP"),
            (Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered), "no version or cipher suite"),
            (Error::General("no trust roots can be read".into()), "no trust roots"),
            (Error::FailedToGetCurrentTime, "handshake failed"),
        ] {
            let text = sentence(&fault);
            assert!(text.contains(part), "{text}");
            assert!(!text.contains(['{', '(', '"']) && !text.contains("example"), "{text}");
        }
    }
}
