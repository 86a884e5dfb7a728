//! A record on its way: its bytes, its number, where it goes.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::counts::Reason;

/// Numbers records in the order they came, within one process.
pub type Seq = u64;

/// What a record takes in the journal besides its own bytes, roughly.
const OVERHEAD: u64 = 48;

/// Where a record goes: a path below `/meter/v2/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Cow<'static, str>);

impl Endpoint {
    pub const COMPLETIONS: Endpoint = Endpoint(Cow::Borrowed("ai/completions"));
    pub const TOOL_EVENTS: Endpoint = Endpoint(Cow::Borrowed("tool/events"));

    /// As a journal names it. What a later version knows besides is a path like any other.
    pub(super) fn of(path: &str) -> Endpoint {
        let known = [Endpoint::COMPLETIONS, Endpoint::TOOL_EVENTS];
        known.into_iter().find(|known| known.0 == path).unwrap_or_else(|| Endpoint(path.to_owned().into()))
    }

    pub fn path(&self) -> &str {
        &self.0
    }
}

/// One record, ready to send. Neither its bytes nor its key ever change: Revenium recognises a repetition by both.
pub struct Outgoing {
    pub endpoint: Endpoint,
    pub idempotency_key: String,
    pub body: Bytes,
    pub transaction_id: String,
}

impl Outgoing {
    pub(super) fn size(&self) -> usize {
        self.body.len() + self.idempotency_key.len() + self.transaction_id.len()
    }

    /// What it takes in the journal, roughly.
    pub(super) fn stored_bytes(&self) -> u64 {
        stored_bytes(self.size())
    }
}

/// `size`: of a record's body and names.
pub(super) fn stored_bytes(size: usize) -> u64 {
    size as u64 + OVERHEAD
}

impl fmt::Debug for Outgoing {
    /// Without the body: it may hold prompts and e-mail addresses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("endpoint", &self.endpoint.path())
            .field("transaction_id", &self.transaction_id)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A record with its number and age.
#[derive(Clone, Debug)]
pub struct Row {
    pub seq: Seq,
    /// When the record was made, in milliseconds since 1970.
    pub created_ms: u64,
    pub record: Arc<Outgoing>,
}

impl Row {
    pub fn bytes(&self) -> u64 {
        self.record.stored_bytes()
    }
}

/// How a record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    GivenUp(Cause),
}

/// Why a record was given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// `None`: somebody dropped it by hand, or an earlier version of the library did not say.
    pub reason: Option<Reason>,
    /// What Revenium answered to it.
    pub http_status: Option<u16>,
}

impl From<Reason> for Fate {
    fn from(reason: Reason) -> Fate {
        Fate::GivenUp(Cause { reason: Some(reason), http_status: None })
    }
}

/// How many records lie in the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    pub records: usize,
    pub bytes: u64,
    pub oldest_ms: Option<u64>,
}

impl Survey {
    pub(super) fn of(row: &Row) -> Survey {
        Survey { records: 1, bytes: row.bytes(), oldest_ms: Some(row.created_ms) }
    }
}

impl std::ops::AddAssign for Survey {
    fn add_assign(&mut self, other: Survey) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.oldest_ms = [self.oldest_ms, other.oldest_ms].into_iter().flatten().min();
    }
}
