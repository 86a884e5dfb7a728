//! What a journal knows of its segments, and of the records in them.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use once_cell::sync::OnceCell;

use super::frame::{self, HEADER};
use super::segment::{Appended, Segment};
use crate::delivery::counts::Reason;
use crate::delivery::record::{Cause, Fate, Row, Seq};

#[derive(Default)]
pub(super) struct State {
    pub batch: Batch,
    pub segments: BTreeMap<SegmentId, Held>,
    /// Nothing in them matters any more; locked until they are deleted.
    pub emptied: Vec<Arc<Segment>>,
    /// The one that is written to.
    pub current: Option<SegmentId>,
    pub next_id: SegmentId,
    /// Every record that is in a segment and not settled.
    pub index: BTreeMap<Seq, Slot>,
    /// Why nothing can be written at the moment.
    pub fault: Option<String>,
    /// What the log should know.
    pub notes: Vec<String>,
    /// Files that are not ours, and that the log knows of.
    pub foreign: HashSet<PathBuf>,
    pub closed: bool,
}

pub(super) type SegmentId = u32;

/// A segment that this process has locked.
pub(super) struct Held {
    pub segment: Arc<Segment>,
    /// Begun by this process, not adopted.
    pub ours: bool,
    pub end: u64,
    /// How many of its records are in the index.
    pub pending: usize,
    /// Frames that say what is settled, to be written.
    pub settled: Vec<u8>,
    /// When Revenium last refused one of its records.
    pub refused: Option<Instant>,
}

/// Where a record lies.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub segment: SegmentId,
    /// In the file. The first process's number, which an adopter's differs from.
    pub sequence: u64,
    pub offset: u32,
    pub size: u32,
}

/// Records on their way into the journal: those of calls that end in the same turn share a write.
#[derive(Default)]
pub(super) struct Batch {
    pub frames: Frames,
    pub group: Arc<Group>,
}

/// The records of one write.
#[derive(Default)]
pub(in crate::delivery) struct Group {
    pub(super) saved: OnceCell<Option<SyncTicket>>,
}

pub(super) type SyncTicket = u64;

/// Records as they are written, and where in the bytes each is.
#[derive(Default)]
pub(super) struct Frames {
    pub bytes: Vec<u8>,
    pub rows: Vec<(Seq, Range<usize>)>,
}

impl State {
    pub fn hold(&mut self, segment: Segment, ours: bool, end: u64) -> SegmentId {
        let id = self.next_id;
        self.next_id += 1;
        let segment = Arc::new(segment);
        self.segments.insert(id, Held { segment, ours, end, pending: 0, settled: Vec::new(), refused: None });
        id
    }

    /// The records that were written at `offset` lie there now, and nowhere else.
    pub fn place(&mut self, segment: SegmentId, offset: u64, rows: Vec<(Seq, Range<usize>)>) {
        if let Some(held) = self.segments.get_mut(&segment) {
            held.pending += rows.len();
        }
        for (seq, range) in rows {
            let (offset, size) = ((offset as usize + range.start) as u32, range.len() as u32);
            if let Some(before) = self.index.insert(seq, Slot { segment, sequence: seq, offset, size }) {
                self.settle(before, Fate::Delivered);
            }
        }
    }

    /// The record at `slot`, which is in the index no longer, needs nobody's attention.
    pub fn settle(&mut self, slot: Slot, fate: Fate) {
        if let Some(held) = self.segments.get_mut(&slot.segment) {
            held.pending -= 1;
            if matches!(fate, Fate::GivenUp(Cause { reason: Some(Reason::Refused), .. })) {
                held.refused = Some(Instant::now());
            }
            frame::push_settled(&mut held.settled, slot.sequence, fate);
        }
    }
}

impl Frames {
    /// False: no frame can hold it.
    pub fn push(&mut self, row: &Row) -> bool {
        let range = frame::push_record(&mut self.bytes, row.seq, row.created_ms, &row.record);
        let fits = range.is_some();
        self.rows.extend(range.map(|range| (row.seq, range)));
        fits
    }
}

impl Held {
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<Appended> {
        let appended = self.segment.append(self.end, bytes)?;
        self.end = appended.offset + bytes.len() as u64;
        Ok(appended)
    }

    /// Write what was settled.
    pub fn note(&mut self) -> io::Result<()> {
        if !self.settled.is_empty() {
            let settled = std::mem::take(&mut self.settled);
            if let Err(error) = self.append(&settled) {
                self.settled = settled;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Nothing in it matters any more, so nothing needs to be noted either.
    pub fn cut(&mut self) {
        if self.segment.cut().is_ok() {
            self.end = HEADER as u64;
            self.settled.clear();
        }
    }
}

/// The record at `slot`, if that is what lies there.
pub(super) fn read_slot(segment: &Segment, seq: Seq, slot: Slot) -> Option<Row> {
    let bytes = segment.read(u64::from(slot.offset), slot.size as usize).ok()?;
    match frame::read(&bytes)? {
        (frame::Frame::Record(stored), _) if stored.sequence == slot.sequence => {
            Some(Row { seq, created_ms: stored.created_ms, record: Arc::new(stored.to_outgoing()) })
        }
        _ => None,
    }
}
