//! When to try again: what calls and delivery have in common, which is the way of the official SDKs.

use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

/// The first back-off of the official SDKs.
pub const FIRST: Duration = Duration::from_millis(500);
/// No back-off is longer.
pub const LONGEST: Duration = Duration::from_secs(8);

/// `first`, doubled for each retry already made, at most eight seconds, shortened at random by up to a quarter.
pub fn backoff(first: Duration, retries_made: u32) -> Duration {
    let doubled = first.saturating_mul(1u32.checked_shl(retries_made).unwrap_or(u32::MAX));
    // A fresh hasher is seeded at random: enough to keep many processes from knocking in step.
    let random = RandomState::new().hash_one(retries_made);
    doubled.min(LONGEST).mul_f64(0.75 + 0.25 * (random as f64 / u64::MAX as f64))
}

/// The delay in seconds that an answer asks for: `retry-after-ms` in milliseconds, else `retry-after` in seconds or as a
/// date. As it stands there: maybe negative or endless, never NaN.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<f64> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| !number.is_nan());
    if let Some(ms) = text("retry-after-ms").and_then(number) {
        return Some(ms / 1000.0);
    }
    let after = text(RETRY_AFTER.as_str())?;
    number(after).or_else(|| {
        let date = httpdate::parse_http_date(after).ok()?;
        Some(match date.duration_since(now) {
            Ok(ahead) => ahead.as_secs_f64(),
            Err(behind) => -behind.duration().as_secs_f64(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn back_off_doubles_up_to_its_cap_with_jitter_downwards() {
        for (made, full) in
            [(0, 500), (1, 1000), (2, 2000), (3, 4000), (4, 8000), (5, 8000), (39, 8000), (u32::MAX, 8000)]
        {
            let full = Duration::from_millis(full);
            for _ in 0..50 {
                let wait = backoff(FIRST, made);
                assert!(wait <= full && wait >= full * 3 / 4, "{made}: {wait:?}");
            }
        }
        let different: HashSet<_> = (0..20).map(|_| backoff(FIRST, 0)).collect();
        assert!(different.len() > 1);
    }

    #[test]
    fn what_is_asked_in_all_its_forms() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (ms, after, wanted) in [
            ("", "1", Some(1.0)),
            ("", " 2.5 ", Some(2.5)),
            ("", "0", Some(0.0)),
            ("", "-5", Some(-5.0)),
            ("", "inf", Some(f64::INFINITY)),
            ("", "NaN", None),
            ("", "soon", None),
            ("", "", None),
            ("", "Sun, 06 Nov 1994 08:49:47 GMT", Some(10.0)),
            ("", "Sun, 06 Nov 1994 08:49:30 GMT", Some(-7.0)),
            ("250", "9", Some(0.25)),
            ("?", "5", Some(5.0)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after-ms", ms.parse().unwrap());
            headers.insert("retry-after", after.parse().unwrap());
            assert_eq!(retry_after(&headers, now), wanted, "{ms}, {after}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
