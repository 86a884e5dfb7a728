//! In a crowd: whose turn it is, and how fast those leave that have waited long already.
//!
//! A backlog leaves beside calls, on the same processor and often to a collector on the same machine. Whatever leaves
//! together stands before the next call, so it leaves in small groups: a call waits for one of them at most.

use std::time::{Duration, Instant};

use super::{BASE, Entry, Inner};
use crate::delivery::record::Seq;

/// With more records ready than this, those just made go before the others, and the others at a bounded rate.
const CROWD: usize = 64;
const JUST_MADE: Duration = Duration::from_secs(1);
/// With nobody calling, 5,000 a second.
const ALONE: Duration = Duration::from_micros(200);
/// When there were calls lately, 2,000 a second: a group for each tick of the timer.
const BETWEEN_CALLS: Duration = Duration::from_micros(500);
/// Even where a call is always under way a backlog gets smaller: 500 a second.
const BESIDE_A_CALL: Duration = Duration::from_millis(2);
/// A sender that was held up may catch up on so much. Not less than two ticks of the timer, or the rates are not reached.
const CATCH_UP: Duration = Duration::from_millis(2);

#[derive(Default)]
pub(super) struct Pace {
    /// When a record that waited long may be taken next.
    next: Option<Instant>,
    /// Whether the last one out of a crowd was just made.
    newest_first: bool,
    /// When a record was made last.
    pub pushed: Option<Instant>,
}

impl Pace {
    /// The time between two records that waited long.
    fn interval(&self, now: Instant, calling: bool) -> Duration {
        match self.pushed {
            _ if calling => BESIDE_A_CALL,
            Some(pushed) if now.saturating_duration_since(pushed) < JUST_MADE => BETWEEN_CALLS,
            _ => ALONE,
        }
    }
}

impl Inner {
    /// Whose turn it is among those that are ready, or when it will be somebody's. `calling`: calls are under way.
    pub(super) fn whose_turn(&mut self, now: Instant, calling: bool) -> Result<Option<Seq>, Instant> {
        let (Some(&oldest), Some(&newest)) = (self.ready.first(), self.ready.last()) else { return Ok(None) };
        if self.ready.len() <= CROWD || !self.flushes.is_empty() || self.is_just_made(oldest, now) {
            return Ok(Some(oldest));
        }
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        let next = self.pace.next.map_or(earliest, |next| next.max(earliest));
        if self.is_just_made(newest, now) && (next > now || !self.pace.newest_first) {
            self.pace.newest_first = true;
            return Ok(Some(newest));
        }
        if next > now {
            return Err(next);
        }
        self.pace.newest_first = false;
        self.pace.next = Some(next + self.pace.interval(now, calling));
        Ok(Some(oldest))
    }

    /// By this process, and not tried yet.
    fn is_just_made(&self, seq: Seq, now: Instant) -> bool {
        let is = |entry: &Entry| entry.attempts == 0 && now.saturating_duration_since(entry.pushed) < JUST_MADE;
        seq >= BASE && self.entries.get(&seq).is_some_and(is)
    }
}
