//! What happened to the records so far.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Instant, SystemTime};

use parking_lot::Mutex;

use crate::common::error::Code;

/// No record is pending.
const NONE: i64 = i64::MIN;

/// Why a record was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The queue was at its limits and this was the oldest record.
    QueueFull,
    /// Revenium refused it in a way that no repetition would change.
    Refused,
    /// It waited longer than `Options::max_age`.
    Expired,
    /// It was still waiting when delivery stopped, and not in the spool.
    Shutdown,
    /// The spool was at its limit and this was the oldest record.
    SpoolFull,
    /// It lay in the journal and could not be read.
    Corrupt,
}

impl Reason {
    const COUNT: usize = 6;

    /// As the journal numbers them, from 1. Only ever added to.
    pub(super) const NUMBERED: [Reason; Reason::COUNT] =
        [Reason::QueueFull, Reason::Refused, Reason::Expired, Reason::Shutdown, Reason::SpoolFull, Reason::Corrupt];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::QueueFull => "queue_full",
            Reason::Refused => "refused",
            Reason::Expired => "expired",
            Reason::Shutdown => "shutdown",
            Reason::SpoolFull => "spool_full",
            Reason::Corrupt => "corrupt",
        }
    }
}

/// Whether records flow (`Closed`) or wait for the next probe (`Open`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Circuit {
    #[default]
    Closed,
    Open,
}

/// The newest failed attempt.
#[derive(Clone, Debug)]
pub struct LastError {
    pub code: Code,
    pub http_status: Option<u16>,
    pub message: String,
    pub at: SystemTime,
}

/// Records given up, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    pub queue_full: u64,
    pub refused: u64,
    pub expired: u64,
    pub shutdown: u64,
    pub spool_full: u64,
    pub corrupt: u64,
}

/// A look at the counters. Every record pushed is in exactly one of `pending`, `delivered` and `dropped`.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub pending: usize,
    pub pending_bytes: usize,
    /// What the pending records take in the spool.
    pub spooled_bytes: u64,
    pub delivered: u64,
    /// Attempts after the first of their record.
    pub retried: u64,
    pub dropped: u64,
    /// Answers that no repetition would change; also in `dropped`.
    pub refused: u64,
    pub dropped_by: Dropped,
    /// Age of the oldest pending record; 0 when none is pending.
    pub oldest_age_ms: u64,
    pub circuit: Circuit,
    pub last_error: Option<LastError>,
}

/// The counters behind [`Counts`]. The queue keeps them while it holds its own lock, so whoever has waited for a
/// record finds it counted.
pub(super) struct Counters {
    epoch: Instant,
    pending: AtomicUsize,
    pending_bytes: AtomicUsize,
    spooled_bytes: AtomicU64,
    /// When the oldest pending record came, in milliseconds after `epoch`; `NONE`: none is pending.
    oldest: AtomicI64,
    delivered: AtomicU64,
    retried: AtomicU64,
    dropped: [AtomicU64; Reason::COUNT],
    circuit_open: AtomicBool,
    cut_off: AtomicBool,
    last_error: Mutex<Option<LastError>>,
}

impl Counters {
    pub fn new() -> Self {
        Counters {
            epoch: Instant::now(),
            pending: AtomicUsize::new(0),
            pending_bytes: AtomicUsize::new(0),
            spooled_bytes: AtomicU64::new(0),
            oldest: AtomicI64::new(NONE),
            delivered: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            dropped: Default::default(),
            circuit_open: AtomicBool::new(false),
            cut_off: AtomicBool::new(false),
            last_error: Mutex::new(None),
        }
    }

    pub fn pending(&self) -> usize {
        self.pending.load(Relaxed)
    }

    pub fn set_pending(&self, records: usize, bytes: usize, oldest: Option<Instant>) {
        self.pending.store(records, Relaxed);
        self.pending_bytes.store(bytes, Relaxed);
        self.oldest.store(oldest.map_or(NONE, |at| self.millis(at)), Relaxed);
    }

    pub fn set_spooled(&self, bytes: u64) {
        self.spooled_bytes.store(bytes, Relaxed);
    }

    pub fn read_spooled(&self) -> u64 {
        self.spooled_bytes.load(Relaxed)
    }

    pub fn circuit_is_open(&self) -> bool {
        self.circuit_open.load(Relaxed)
    }

    /// The newest attempt came to no answer.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off.load(Relaxed)
    }

    pub fn set_cut_off(&self, cut_off: bool) {
        self.cut_off.store(cut_off, Relaxed);
    }

    pub fn delivered(&self) {
        self.delivered.fetch_add(1, Relaxed);
    }

    pub fn retried(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    pub fn dropped(&self, reason: Reason, records: usize) {
        self.dropped[reason as usize].fetch_add(records as u64, Relaxed);
    }

    pub fn set_circuit(&self, circuit: Circuit) {
        self.circuit_open.store(circuit == Circuit::Open, Relaxed);
    }

    pub fn failed(&self, error: LastError) {
        *self.last_error.lock() = Some(error);
    }

    pub fn read(&self) -> Counts {
        let dropped = |reason: Reason| self.dropped[reason as usize].load(Relaxed);
        let by = Dropped {
            queue_full: dropped(Reason::QueueFull),
            refused: dropped(Reason::Refused),
            expired: dropped(Reason::Expired),
            shutdown: dropped(Reason::Shutdown),
            spool_full: dropped(Reason::SpoolFull),
            corrupt: dropped(Reason::Corrupt),
        };
        let oldest = self.oldest.load(Relaxed);
        Counts {
            pending: self.pending(),
            pending_bytes: self.pending_bytes.load(Relaxed),
            spooled_bytes: self.spooled_bytes.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            retried: self.retried.load(Relaxed),
            dropped: self.dropped.iter().map(|reason| reason.load(Relaxed)).sum(),
            refused: by.refused,
            dropped_by: by,
            oldest_age_ms: if oldest == NONE { 0 } else { (self.millis(Instant::now()) - oldest).max(0) as u64 },
            circuit: if self.circuit_open.load(Relaxed) { Circuit::Open } else { Circuit::Closed },
            last_error: self.last_error.lock().clone(),
        }
    }

    /// Negative for records of earlier processes.
    fn millis(&self, at: Instant) -> i64 {
        let before = || self.epoch.saturating_duration_since(at).as_millis() as i64;
        at.checked_duration_since(self.epoch).map_or_else(|| -before(), |after| after.as_millis() as i64)
    }
}
