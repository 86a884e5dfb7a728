//! `Retry-After` as delivery takes it, and the circuit that spares a collector in trouble.

use std::time::{Duration, Instant, SystemTime};

use reqwest::header::HeaderMap;

use crate::common::retry;

/// The longest wait a `Retry-After` gets. Who asks for more is asked again after this.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(60);
/// Failures in a row that open the circuit.
const FAILURES_TO_OPEN: u32 = 3;

/// The wait that the answer asks for, at most a minute. `Some(0)`: asked for, but without a usable length: a negative or
/// past one is still a wish to wait.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let seconds = retry::retry_after(headers, now)?;
    Some(Duration::from_secs_f64(seconds.clamp(0.0, RETRY_AFTER_CAP.as_secs_f64())))
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
    fn retry_after_is_a_minute_at_most() {
        let now = SystemTime::now();
        for (value, seconds) in [("2.5", 2.5), ("3600", 60.0), ("1e300", 60.0), ("inf", 60.0), ("-5", 0.0)] {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().unwrap());
            assert_eq!(retry_after(&headers, now), Some(Duration::from_secs_f64(seconds)), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
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
