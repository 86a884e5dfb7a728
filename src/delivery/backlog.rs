//! Which records lie in the journal only, not in memory: ranges of numbers, and how much they come to.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::record::{Seq, Survey};

#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// First to last, apart from each other. Not every number in between need be a record.
    ranges: BTreeMap<Seq, Seq>,
    size: Survey,
}

impl Backlog {
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn contains(&self, seq: Seq) -> bool {
        self.ranges.range(..=seq).next_back().is_some_and(|(_, &last)| seq <= last)
    }

    /// The smallest number that may be a record's.
    pub fn first(&self) -> Option<Seq> {
        self.ranges.first_key_value().map(|(&first, _)| first)
    }

    /// As far as it is counted.
    pub fn size(&self) -> Survey {
        self.size
    }

    /// Add numbers without counting what they stand for.
    pub fn add(&mut self, range: RangeInclusive<Seq>) {
        let (mut first, mut last) = range.into_inner();
        if let Some((&before, &end)) = self.ranges.range(..=first).next_back()
            && end.saturating_add(1) >= first
        {
            (first, last) = (before, last.max(end));
        }
        while let Some((&next, &end)) = self.ranges.range(first..).next()
            && next <= last.saturating_add(1)
        {
            self.ranges.remove(&next);
            last = last.max(end);
        }
        self.ranges.insert(first, last);
    }

    pub fn count(&mut self, size: Survey) {
        self.size += size;
    }

    /// Take the oldest range out, to read it.
    pub fn take_first(&mut self) -> Option<RangeInclusive<Seq>> {
        self.ranges.pop_first().map(|(first, last)| first..=last)
    }

    /// These are no longer here only.
    pub fn discount(&mut self, records: usize, bytes: u64) {
        self.size.records = self.size.records.saturating_sub(records);
        self.size.bytes = self.size.bytes.saturating_sub(bytes);
        if self.size.records == 0 {
            self.size.oldest_ms = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_come_out_in_order() {
        let mut backlog = Backlog::default();
        for range in [10..=12, 20..=20, 14..=15, 13..=13, 30..=40, 35..=36, 19..=29, 5..=5] {
            backlog.add(range);
        }
        assert_eq!(backlog.first(), Some(5));
        for (seq, there) in [(4, false), (5, true), (6, false), (14, true), (16, false), (40, true), (41, false)] {
            assert_eq!(backlog.contains(seq), there, "{seq}");
        }
        let all: Vec<_> = std::iter::from_fn(|| backlog.take_first()).collect();
        assert_eq!(all, [5..=5, 10..=15, 19..=40]);
        assert!(backlog.is_empty());
    }
}
