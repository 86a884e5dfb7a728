//! The queue's side of the journal: what is saved, what lies there only, what it is to forget.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use super::{Entry, Inner, Phase, RecordQueue, when};
use crate::delivery::counts::Reason;
use crate::delivery::record::{Fate, Row, Seq, Survey};

/// With fewer records ready than this, more are loaded from the journal: many when somebody waits for all of them, else
/// so few that nobody is held up by it.
const LOAD_BELOW: usize = 512;
const LOAD: usize = 128;
const LOAD_TO_FLUSH: usize = 1024;

/// What `load` may read.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::delivery) struct Load {
    pub range: RangeInclusive<Seq>,
    pub records: usize,
    pub bytes: u64,
}

/// Where the oldest record is that may be given up to make room in the journal.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::delivery) enum Oldest {
    /// It was in memory; it is given up.
    GivenUp,
    /// In this range of the journal, which is now taken out of the backlog.
    InJournal(RangeInclusive<Seq>),
    None,
}

impl RecordQueue {
    /// There is a journal, and nobody has looked yet what lies in it.
    pub fn expect_backlog(&self) {
        self.inner.lock().unexplored = true;
    }

    /// What lay in the journal is known; `more`: all but what waits until some of it is gone.
    pub fn explored(&self, more: bool) {
        let mut inner = self.inner.lock();
        inner.unexplored = false;
        inner.more = more;
        self.publish(&inner);
        self.tell_flushes(inner);
    }

    /// These numbers, which `number_old` gave, are in the journal only.
    pub fn add_backlog(&self, range: RangeInclusive<Seq>, size: Survey) {
        let mut inner = self.inner.lock();
        inner.backlog.add(range);
        inner.backlog.count(size);
        self.publish(&inner);
    }

    /// Whether records should be loaded from the journal now.
    pub fn wants_load(&self) -> bool {
        let inner = self.inner.lock();
        self.has_room(&inner) && !inner.backlog.is_empty()
    }

    fn has_room(&self, inner: &Inner) -> bool {
        !inner.closed
            && inner.loading.is_none()
            && inner.ready.len() < LOAD_BELOW.min(self.limits.records)
            && inner.entries.len() < self.limits.records
            && inner.bytes < self.limits.bytes
    }

    /// The next part of the journal to load. A promise to call `load`.
    pub fn begin_load(&self) -> Option<Load> {
        let mut inner = self.inner.lock();
        if !self.has_room(&inner) {
            return None;
        }
        let range = inner.backlog.take_first()?;
        inner.loading = Some(range.clone());
        let most = if inner.flushes.is_empty() { LOAD } else { LOAD_TO_FLUSH };
        let records = most.min(self.limits.records - inner.entries.len());
        let bytes = (self.limits.bytes - inner.bytes) / 2;
        Some(Load { range, records, bytes: bytes as u64 })
    }

    /// What was read, and the rest of the range that was not. True: the sender waits for this.
    pub fn load(&self, rows: Vec<Row>, rest: Option<RangeInclusive<Seq>>, now: Instant) -> bool {
        let mut inner = self.inner.lock();
        inner.loading = None;
        if let Some(rest) = rest {
            inner.backlog.add(rest);
        }
        let bytes = rows.iter().map(Row::bytes).sum();
        if inner.closed {
            for row in &rows {
                inner.backlog.add(row.seq..=row.seq);
            }
        } else {
            inner.backlog.discount(rows.len(), bytes);
            for row in rows {
                let pushed = when(row.created_ms, now);
                inner.insert(row, true, pushed);
            }
        }
        let wake = !inner.ready.is_empty() && std::mem::take(&mut inner.sender_idle);
        self.publish(&inner);
        self.tell_flushes(inner);
        wake
    }

    /// The oldest records that are in memory only.
    pub fn unsaved(&self, records: usize) -> Vec<Row> {
        let inner = self.inner.lock();
        let unsaved = inner.entries.iter().filter(|(_, entry)| !entry.saved);
        let row = |(&seq, entry): (&Seq, &Entry)| Row {
            seq,
            created_ms: entry.created_ms,
            record: Arc::clone(&entry.record),
        };
        unsaved.take(records).map(row).collect()
    }

    /// These are in the journal now. Those that are not pending any more are to leave it again.
    pub fn saved(&self, rows: &[Row]) {
        let mut inner = self.inner.lock();
        for row in rows {
            if let Some(entry) = inner.entries.get_mut(&row.seq) {
                if !std::mem::replace(&mut entry.saved, true) {
                    inner.saved_bytes += row.bytes();
                }
            } else if !inner.is_in_journal_only(row.seq) {
                inner.leaving.push((row.seq, Fate::Delivered));
            }
        }
        self.publish(&inner);
    }

    /// What was settled since, for the journal to note.
    pub fn take_leaving(&self) -> Vec<(Seq, Fate)> {
        std::mem::take(&mut self.inner.lock().leaving)
    }

    pub fn leaving(&self) -> usize {
        self.inner.lock().leaving.len()
    }

    /// These are not readable in the journal any more, with what they took there. What is in memory too is to be saved
    /// anew, the rest is lost.
    pub fn unreadable(&self, records: &[(Seq, u64)]) {
        let mut inner = self.inner.lock();
        let mut lost = 0;
        for (seq, bytes) in records {
            if let Some(entry) = inner.entries.get_mut(seq) {
                if std::mem::take(&mut entry.saved) {
                    let bytes = entry.row_bytes();
                    inner.saved_bytes -= bytes;
                }
            } else if inner.is_in_journal_only(*seq) {
                inner.backlog.discount(1, *bytes);
                lost += 1;
            }
        }
        self.counters.dropped(Reason::Corrupt, lost);
        self.publish(&inner);
        self.tell_flushes(inner);
    }

    /// What the records in the journal take there.
    pub fn spooled_bytes(&self) -> u64 {
        let inner = self.inner.lock();
        inner.saved_bytes + inner.backlog.size().bytes
    }

    /// Make room in the journal: give up the oldest record in it.
    pub fn give_up_oldest(&self) -> Oldest {
        let mut inner = self.inner.lock();
        let idle = |(_, entry): &(&Seq, &Entry)| entry.phase != Phase::InFlight && entry.saved;
        let in_memory = inner.entries.iter().find(idle).map(|(&seq, _)| seq);
        match (in_memory, inner.backlog.first()) {
            (Some(seq), first) if first.is_none_or(|first| seq < first) => {
                drop(inner.finish(seq, Reason::SpoolFull.into()));
                self.counters.dropped(Reason::SpoolFull, 1);
                self.publish(&inner);
                self.tell_flushes(inner);
                Oldest::GivenUp
            }
            (_, Some(_)) if inner.loading.is_none() => match inner.backlog.take_first() {
                Some(range) => {
                    inner.loading = Some(range.clone());
                    Oldest::InJournal(range)
                }
                None => Oldest::None,
            },
            _ => Oldest::None,
        }
    }

    /// These records of a range that `give_up_oldest` named are given up; the rest stays.
    pub fn given_up(&self, rows: &[Row], rest: Option<RangeInclusive<Seq>>) {
        let mut inner = self.inner.lock();
        inner.loading = None;
        inner.backlog.discount(rows.len(), rows.iter().map(Row::bytes).sum());
        if let Some(rest) = rest {
            inner.backlog.add(rest);
        }
        inner.leaving.extend(rows.iter().map(|row| (row.seq, Reason::SpoolFull.into())));
        self.counters.dropped(Reason::SpoolFull, rows.len());
        self.publish(&inner);
        self.tell_flushes(inner);
    }
}
