//! Revenium's times: UTC with milliseconds, `2026-11-23T00:03:53.412Z`, and whole milliseconds between them.

use super::Times;
use std::time::{Duration, UNIX_EPOCH};

/// The times of one call as its records carry them.
pub(super) struct Timestamps {
    pub request: String,
    pub response: String,
    pub completion_start: String,
    pub duration: u64,
    pub time_to_first_token: Option<u64>,
}

impl Timestamps {
    /// All stamps grow from the truncated start, so that their differences are exactly the durations.
    pub fn of(times: &Times, streamed: bool) -> Timestamps {
        let started = times.started.duration_since(UNIX_EPOCH).map_or(0, millis);
        let duration = millis(times.ended);
        let first_token = match streamed {
            true => times.first_token.map(|first| millis(first).min(duration)),
            false => Some(duration),
        };
        Timestamps {
            request: utc(started),
            response: utc(started.saturating_add(duration)),
            completion_start: utc(started.saturating_add(first_token.unwrap_or(duration))),
            duration,
            time_to_first_token: first_token,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A time as records have it.
pub(super) fn utc_of(time: std::time::SystemTime) -> String {
    utc(time.duration_since(UNIX_EPOCH).map_or(0, millis))
}

fn utc(millis: u64) -> String {
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    // By hand: three of these are written for each record, and `format!` costs ten times as much.
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (at, width, mut number) in
        [(0, 4, year), (5, 2, month), (8, 2, day), (11, 2, hour), (14, 2, minute), (17, 2, second), (20, 3, millis)]
    {
        for digit in text[at..at + width].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year, in cycles of 400 years (146 097 days).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (cycle, day_of_cycle) = (days / 146_097, days % 146_097);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (cycle * 400 + year_of_cycle + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_utc_with_milliseconds() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599_001, "2024-12-31T23:59:59.001Z"),
            (1_795_392_233_412, "2026-11-23T00:03:53.412Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc(millis), expected);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = civil(0);
        for days in 1..200_000 {
            let day = civil(days);
            let next_day = (day.0, day.1, day.2) == (before.0, before.1, before.2 + 1);
            let next_month = (day.0, day.1, day.2) == (before.0, before.1 + 1, 1) && before.2 >= 28;
            let next_year = day == (before.0 + 1, 1, 1) && before.1 == 12 && before.2 == 31;
            assert!(next_day || next_month || next_year, "{before:?} then {day:?}");
            before = day;
        }
        assert_eq!(before, (2517, 7, 31));
    }

    #[test]
    fn streams_count_to_the_first_token_and_others_to_the_end() {
        let started = UNIX_EPOCH + Duration::from_micros(1_999);
        let times = |first_token| Times { started, first_token, ended: Duration::from_micros(20_999) };
        let first = Some(Duration::from_micros(5_999));
        for (streamed, first_token, to_first, completion) in [
            (true, first, Some(5), "1970-01-01T00:00:00.006Z"),
            (true, None, None, "1970-01-01T00:00:00.021Z"),
            (false, first, Some(20), "1970-01-01T00:00:00.021Z"),
        ] {
            let stamps = Timestamps::of(&times(first_token), streamed);
            assert_eq!(stamps.time_to_first_token, to_first);
            assert_eq!(stamps.completion_start, completion);
            assert_eq!((stamps.request.as_str(), stamps.duration), ("1970-01-01T00:00:00.001Z", 20));
        }
    }
}
