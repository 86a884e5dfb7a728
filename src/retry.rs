//! The back-off that both providers and delivery share: that of the official SDKs.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(8);

/// Half a second, doubled for each retry already made, at most eight, shortened at random by up to a quarter.
pub fn delay(retries_made: u32) -> Duration {
    let full = FIRST.saturating_mul(1u32 << retries_made.min(16)).min(LONGEST);
    full.mul_f64(1.0 - 0.25 * random())
}

/// From 0 up to 1. From the system, so that a forked child does not repeat its parent's.
fn random() -> f64 {
    let bits = uuid::Uuid::new_v4().as_u128() as u32;
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_eight_seconds_with_jitter_down_to_three_quarters() {
        for (made, full) in [(0, 500), (1, 1000), (2, 2000), (3, 4000), (4, 8000), (5, 8000), (40, 8000)] {
            for _ in 0..50 {
                let ms = delay(made).as_millis();
                assert!((full * 3 / 4..=full).contains(&ms), "{made}: {ms}");
            }
        }
    }
}
