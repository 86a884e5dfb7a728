//! When to try again: back-off, `Retry-After`, and the circuit that spares a collector in trouble.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

/// No back-off is longer, and no success hurries waiting records more often than this.
pub(super) const BACKOFF_CAP: Duration = Duration::from_secs(8);
/// The longest wait a `Retry-After` gets. Who asks for more is asked again after this.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(60);
/// Failures in a row that open the circuit.
const FAILURES_TO_OPEN: u32 = 3;

/// How long to wait after attempt number `attempt` (from 1) failed.
pub(super) fn backoff(base: Duration, attempt: u32) -> Duration {
    let doubled = base.saturating_mul(1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
    // A fresh hasher is seeded at random: enough to keep many processes from knocking in step.
    let random = RandomState::new().hash_one(attempt);
    doubled.min(BACKOFF_CAP).mul_f64(0.75 + 0.25 * (random as f64 / u64::MAX as f64))
}

/// The wait that the answer asks for, at most a minute. `Some(0)`: asked for, but without a usable length.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let length = |value: f64| {
        // A negative, infinite or absurd number is still a wish to wait.
        (!value.is_nan()).then(|| Duration::from_secs_f64(value.clamp(0.0, RETRY_AFTER_CAP.as_secs_f64())))
    };
    if let Some(wait) = text("retry-after-ms").and_then(|ms| ms.parse::<f64>().ok()).and_then(|ms| length(ms / 1000.0))
    {
        return Some(wait);
    }
    let value = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = value.parse::<f64>() {
        return length(seconds);
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default().min(RETRY_AFTER_CAP))
}

/// `at + wait`, and far away instead of a panic when that is beyond the clock.
pub(super) fn later(at: Instant, wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
    at.checked_add(wait).unwrap_or_else(|| at + FAR)
}

/// Whether the next record may be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// As many as there is room for.
    Free,
    /// One, to see whether the collector is back.
    Probe,
    /// None before this.
    At(Instant),
    /// None before the probe has its answer.
    Probing,
}

/// Opens after three failures in a row; then one probe at a time; the first success closes it.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    probe_at: Instant,
    probing: bool,
}

impl Circuit {
    pub fn permit(&self, now: Instant) -> Permit {
        match &self.open {
            None => Permit::Free,
            Some(open) if open.probing => Permit::Probing,
            Some(open) if now < open.probe_at => Permit::At(open.probe_at),
            Some(_) => Permit::Probe,
        }
    }

    pub fn probe_started(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = true;
        }
    }

    /// A record was delivered. True: that closed the circuit.
    pub fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.open.take().is_some()
    }

    /// An attempt failed in a way that would hit the next record too; probe again after `interval`.
    /// True: that opened the circuit.
    pub fn failed(&mut self, now: Instant, probe: bool, interval: Duration) -> bool {
        self.failures = self.failures.saturating_add(1);
        let next = Open { probe_at: later(now, interval), probing: false };
        match &mut self.open {
            // What was under way before the circuit opened says nothing new.
            Some(open) if probe => *open = next,
            Some(_) => {}
            None if self.failures >= FAILURES_TO_OPEN => {
                self.open = Some(next);
                return true;
            }
            None => {}
        }
        false
    }

    /// The collector answered, but with something about this one record. Probe again after `interval`.
    pub fn answered(&mut self, now: Instant, probe: bool, interval: Duration) {
        if let Some(open) = self.open.as_mut().filter(|_| probe) {
            *open = Open { probe_at: later(now, interval), probing: false };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_up_to_its_cap_with_jitter_downwards() {
        let base = Duration::from_millis(500);
        for (attempt, full) in
            [(1, 500), (2, 1000), (3, 2000), (4, 4000), (5, 8000), (6, 8000), (40, 8000), (u32::MAX, 8000)]
        {
            for _ in 0..50 {
                let wait = backoff(base, attempt);
                assert!(wait <= Duration::from_millis(full), "{attempt}: {wait:?}");
                assert!(wait >= Duration::from_millis(full) * 3 / 4, "{attempt}: {wait:?}");
            }
        }
        let different: std::collections::HashSet<_> = (0..20).map(|_| backoff(base, 1)).collect();
        assert!(different.len() > 1);
    }

    #[test]
    fn retry_after_in_all_its_forms() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let s = Duration::from_secs_f64;
        for (name, value, expected) in [
            ("retry-after", "1", Some(s(1.0))),
            ("retry-after", " 2.5 ", Some(s(2.5))),
            ("retry-after", "60", Some(s(60.0))),
            ("retry-after", "3600", Some(s(60.0))),
            ("retry-after", "1e300", Some(s(60.0))),
            ("retry-after", "inf", Some(s(60.0))),
            ("retry-after", "0", Some(s(0.0))),
            ("retry-after", "-5", Some(s(0.0))),
            ("retry-after", "NaN", None),
            ("retry-after", "soon", None),
            ("retry-after", "", None),
            ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT", Some(s(10.0))),
            ("retry-after", "Sun, 06 Nov 1994 09:49:37 GMT", Some(s(60.0))),
            ("retry-after", "Sun, 06 Nov 1994 08:49:30 GMT", Some(s(0.0))),
            ("retry-after-ms", "250", Some(s(0.25))),
            ("retry-after-ms", "x", None),
            ("x-other", "1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(retry_after(&headers, now), expected, "{name}: {value}");
        }
        let mut both = HeaderMap::new();
        both.insert("retry-after", "5".parse().unwrap());
        both.insert("retry-after-ms", "100".parse().unwrap());
        assert_eq!(retry_after(&both, now), Some(s(0.1)));
        both.insert("retry-after-ms", "?".parse().unwrap());
        assert_eq!(retry_after(&both, now), Some(s(5.0)));
    }

    #[test]
    fn three_failures_in_a_row_open_and_one_success_closes() {
        let (now, interval) = (Instant::now(), Duration::from_secs(5));
        let mut circuit = Circuit::default();
        for _ in 0..3 {
            assert!(!circuit.failed(now, false, interval));
            assert!(!circuit.failed(now, false, interval));
            assert!(!circuit.succeeded());
        }
        assert!(!circuit.failed(now, false, interval));
        assert!(!circuit.failed(now, false, interval));
        assert_eq!(circuit.permit(now), Permit::Free);
        assert!(circuit.failed(now, false, interval));
        assert_eq!(circuit.permit(now), Permit::At(now + interval));

        // Stragglers change nothing; the probe is alone; its failure puts the next one off.
        let then = now + interval;
        assert!(!circuit.failed(then, false, interval));
        circuit.answered(now, false, Duration::ZERO);
        assert_eq!(circuit.permit(now), Permit::At(then));
        assert_eq!(circuit.permit(then), Permit::Probe);
        circuit.probe_started();
        assert_eq!(circuit.permit(then), Permit::Probing);
        assert!(!circuit.failed(then, true, interval));
        assert_eq!(circuit.permit(then), Permit::At(then + interval));

        // An answer about one record leaves it open, but the next probe may go.
        circuit.probe_started();
        circuit.answered(then, true, Duration::ZERO);
        assert_eq!(circuit.permit(then), Permit::Probe);
        assert!(circuit.succeeded());
        assert_eq!(circuit.permit(now), Permit::Free);
    }

    #[test]
    fn later_never_panics() {
        let now = Instant::now();
        assert!(later(now, Duration::MAX) > now);
        assert_eq!(later(now, Duration::from_secs(1)), now + Duration::from_secs(1));
    }
}
