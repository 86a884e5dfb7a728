//! Webhooks: whether a request really comes from Revenium.
//!
//! `X-Revenium-Signature-256: sha256=<hex>[, sha256=<hex>]` and `X-Revenium-Webhook-Timestamp: <unix seconds>`; the
//! signature is the HMAC-SHA256 of `<timestamp>.<body>`.

use ring::hmac;

/// More signatures than these are not looked at.
const MAX_SIGNATURES: usize = 10;

/// Whether one of `signatures` is `secret`'s, and `timestamp` at most `tolerance_s` away from `now`, in unix seconds.
/// Takes as long for a signature that is nearly right as for any other.
pub fn verify(secret: &[u8], timestamp: &str, signatures: &str, body: &[u8], tolerance_s: u64, now: u64) -> bool {
    let timestamp = timestamp.trim();
    if secret.is_empty() || timestamp.is_empty() || !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    if timestamp.parse::<u64>().map_or(true, |at| at.abs_diff(now) > tolerance_s) {
        return false;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut signed = Vec::with_capacity(timestamp.len() + 1 + body.len());
    signed.extend_from_slice(timestamp.as_bytes());
    signed.push(b'.');
    signed.extend_from_slice(body);
    let mut valid = false;
    for signature in signatures.split(',').take(MAX_SIGNATURES) {
        let digest = signature.trim().strip_prefix("sha256=").and_then(bytes);
        valid |= digest.is_some_and(|digest| hmac::verify(&key, &signed, &digest).is_ok());
    }
    valid
}

/// The bytes of a SHA-256 in hexadecimal.
fn bytes(hex: &str) -> Option<[u8; 32]> {
    let hex: &[u8; 64] = hex.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Case {
        why: String,
        secrets: Vec<String>,
        signature: String,
        timestamp: String,
        body: String,
        now: u64,
        tolerance_s: u64,
        valid: bool,
    }

    /// What Revenium's own SDK says to these.
    #[test]
    fn judges_as_the_vendor_does() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/platform/webhooks.json");
        let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            // Several secrets are the bindings' affair: an empty one spoils them all.
            let (now, tolerance) = (case.now, case.tolerance_s);
            let by = |secret: &String| {
                verify(secret.as_bytes(), &case.timestamp, &case.signature, case.body.as_bytes(), tolerance, now)
            };
            let valid = case.secrets.iter().all(|secret| !secret.is_empty()) && case.secrets.iter().any(by);
            assert_eq!(valid, case.valid, "{}", case.why);
        }
    }
}
