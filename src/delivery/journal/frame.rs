//! The bytes of a segment. All numbers are little-endian.
//!
//! ```text
//! segment   = header frame*
//! header    = "revenium" version:u16 reserved:u16 process:u32 fingerprint:16 bytes crc32:u32
//! frame     = mark:FF 72 76 4A length:u32 crc32:u32 payload      (length is the payload's, crc32 of length and payload)
//! payload   = kind:u8 sequence:u64 rest
//! record    = kind 1, rest = created_ms:u64 endpoint key transaction_id body
//!             (the first three each with its length before it, u16; the body is what is left)
//! delivered = kind 2, rest empty: Revenium has the record of this sequence
//! given up  = kind 3, rest = reason:u8 status:u16: nobody shall send it any more. The reason is one of
//!             `Reason::NUMBERED`, 0 is a hand's; the status is what Revenium answered, or 0. Earlier versions wrote neither.
//! padding   = kind 0, rest without meaning
//! ```
//!
//! A frame is whole or it is nothing. Behind a damaged one reading goes on at the next mark, whose first byte stands in no
//! UTF-8 text, so in no record. Kinds are only ever added; a reader passes over those that it does not know.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use crate::delivery::counts::Reason;
use crate::delivery::record::{Cause, Endpoint, Fate, Outgoing, stored_bytes};

pub const VERSION: u16 = 1;
pub const HEADER: usize = 36;
/// Of a fingerprint, in hexadecimal digits.
pub const FINGERPRINT: usize = 16;

const MAGIC: [u8; 8] = *b"revenium";
const MARK: [u8; 4] = [0xff, b'r', b'v', b'J'];
const PREFIX: usize = 12;
/// Kind and sequence.
const LEAST: usize = 9;
/// Nothing so large is written, and no damaged length makes a reader look further.
const MOST: usize = 256 << 20;

const PADDING: u8 = 0;
const RECORD: u8 = 1;
const DELIVERED: u8 = 2;
const GIVEN_UP: u8 = 3;

pub struct Header {
    pub version: u16,
    /// The process that began the segment.
    pub process: u32,
    pub fingerprint: String,
}

impl Header {
    pub fn new(fingerprint: &str) -> Header {
        Header { version: VERSION, process: std::process::id(), fingerprint: fingerprint.to_owned() }
    }

    pub fn to_bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.process.to_le_bytes());
        for (to, from) in bytes[16..32].iter_mut().zip(self.fingerprint.bytes()) {
            *to = from;
        }
        let crc = crc32fast::hash(&bytes[..32]);
        bytes[32..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None`: it is damaged, or no header.
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let mut input = Input(bytes.get(..HEADER)?);
        if input.take(8)? != MAGIC || crc32fast::hash(&bytes[..32]).to_le_bytes() != bytes[32..HEADER] {
            return None;
        }
        let (version, _, process) = (input.u16()?, input.u16()?, input.u32()?);
        let fingerprint = String::from_utf8_lossy(input.take(FINGERPRINT)?).into_owned();
        Some(Header { version, process, fingerprint })
    }
}

/// A frame that was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    Record(Stored<'a>),
    Settled {
        sequence: u64,
        fate: Fate,
    },
    /// Padding, or of a kind that a later version knows.
    Unknown,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    pub sequence: u64,
    pub created_ms: u64,
    endpoint: &'a str,
    idempotency_key: &'a str,
    transaction_id: &'a str,
    body: &'a [u8],
}

impl Stored<'_> {
    /// As of the record that this becomes.
    pub fn stored_bytes(&self) -> u64 {
        stored_bytes(self.body.len() + self.idempotency_key.len() + self.transaction_id.len())
    }

    pub fn to_outgoing(&self) -> Outgoing {
        Outgoing {
            endpoint: Endpoint::of(self.endpoint),
            idempotency_key: self.idempotency_key.to_owned(),
            transaction_id: self.transaction_id.to_owned(),
            body: Bytes::copy_from_slice(self.body),
        }
    }
}

/// Append a record's frame; where in `into` it lies. `None`: it is too large for one.
pub fn push_record(into: &mut Vec<u8>, sequence: u64, created_ms: u64, record: &Outgoing) -> Option<Range<usize>> {
    let texts = [record.endpoint.path(), &record.idempotency_key, &record.transaction_id];
    if record.size() > MOST / 2 || texts.iter().any(|text| text.len() > usize::from(u16::MAX)) {
        return None;
    }
    let start = begin(into, RECORD, sequence);
    into.extend_from_slice(&created_ms.to_le_bytes());
    for text in texts {
        into.extend_from_slice(&(text.len() as u16).to_le_bytes());
        into.extend_from_slice(text.as_bytes());
    }
    into.extend_from_slice(&record.body);
    end(into, start);
    Some(start..into.len())
}

pub fn push_settled(into: &mut Vec<u8>, sequence: u64, fate: Fate) {
    let start = match fate {
        Fate::Delivered => begin(into, DELIVERED, sequence),
        Fate::GivenUp(Cause { reason, http_status }) => {
            let start = begin(into, GIVEN_UP, sequence);
            let number = reason.and_then(|reason| Reason::NUMBERED.iter().position(|known| *known == reason));
            into.push(number.map_or(0, |at| at as u8 + 1));
            into.extend_from_slice(&http_status.unwrap_or_default().to_le_bytes());
            start
        }
    };
    end(into, start);
}

/// A frame that says nothing.
pub fn push_padding(into: &mut Vec<u8>, size: usize) {
    let start = begin(into, PADDING, 0);
    into.resize(into.len() + size, 0);
    end(into, start);
}

fn begin(into: &mut Vec<u8>, kind: u8, sequence: u64) -> usize {
    let start = into.len();
    into.extend_from_slice(&MARK);
    into.extend_from_slice(&[0; PREFIX - 4]);
    into.push(kind);
    into.extend_from_slice(&sequence.to_le_bytes());
    start
}

fn end(into: &mut [u8], start: usize) {
    let length = ((into.len() - start - PREFIX) as u32).to_le_bytes();
    into[start + 4..start + 8].copy_from_slice(&length);
    let crc = checksum(length, &into[start + PREFIX..]);
    into[start + 8..start + PREFIX].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&length);
    crc.update(payload);
    crc.finalize()
}

/// The whole frame that `bytes` begin with, and its size.
pub fn read(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let mut input = Input(bytes);
    if input.take(4)? != MARK {
        return None;
    }
    let (length, crc) = (input.u32()?, input.u32()?);
    let size = usize::try_from(length).ok().filter(|size| (LEAST..=MOST).contains(size))?;
    let payload = input.take(size)?;
    if checksum(length.to_le_bytes(), payload) != crc {
        return None;
    }
    let mut payload = Input(payload);
    let (kind, sequence) = (payload.u8()?, payload.u64()?);
    let frame = match kind {
        RECORD => Frame::Record(Stored {
            sequence,
            created_ms: payload.u64()?,
            endpoint: payload.text()?,
            idempotency_key: payload.text()?,
            transaction_id: payload.text()?,
            body: payload.0,
        }),
        DELIVERED => Frame::Settled { sequence, fate: Fate::Delivered },
        GIVEN_UP => Frame::Settled { sequence, fate: Fate::GivenUp(cause(&mut payload)) },
        _ => Frame::Unknown,
    };
    Some((frame, PREFIX + size))
}

fn cause(rest: &mut Input<'_>) -> Cause {
    let number = rest.u8().and_then(|number| usize::from(number).checked_sub(1));
    Cause {
        reason: number.and_then(|at| Reason::NUMBERED.get(at).copied()),
        http_status: rest.u16().filter(|status| *status > 0),
    }
}

/// Where the frame that `bytes` begin with says that it ends.
fn end_of(bytes: &[u8]) -> Option<usize> {
    let mut input = Input(bytes);
    (input.take(4)? == MARK).then_some(())?;
    usize::try_from(input.u32()?).ok()?.checked_add(PREFIX)
}

/// All whole frames of a segment, wherever they begin.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    damaged: usize,
}

impl<'a> Scan<'a> {
    fn new(bytes: &'a [u8], from: usize) -> Scan<'a> {
        Scan { bytes, at: from, damaged: 0 }
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = (Range<usize>, Frame<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
            if let Some((frame, size)) = read(rest) {
                let start = self.at;
                self.at += size;
                return Some((start..self.at, frame));
            }
            self.damaged += 1;
            let next = rest.get(1..).and_then(|rest| memmem::find(rest, &MARK)).map_or(rest.len(), |next| 1 + next);
            // Where it says that it ends before the next mark, that is another one.
            self.damaged += usize::from(end_of(rest).is_some_and(|end| end < next));
            self.at += next;
        }
    }
}

/// What a whole segment holds.
pub struct Contents<'a> {
    /// `None`: it is damaged.
    pub header: Option<Header>,
    /// The records that wait, in the order of the file, and where each lies.
    pub waiting: Vec<(Range<usize>, Stored<'a>)>,
    /// The others of which there is a trace still.
    pub settled: Vec<(Stored<'a>, Fate)>,
    /// Places where something stood that is no frame.
    pub damaged: usize,
    /// Nothing in it is this library's.
    pub is_foreign: bool,
}

impl<'a> Contents<'a> {
    pub fn of(bytes: &'a [u8]) -> Contents<'a> {
        Contents::read(bytes, || {})
    }

    /// The same; `between` is called after each frame.
    pub fn read(bytes: &'a [u8], mut between: impl FnMut()) -> Contents<'a> {
        let header = Header::read(bytes);
        let mut scan = Scan::new(bytes, if header.is_some() { HEADER } else { 0 });
        let (mut records, mut settled, mut first) = (Vec::new(), Vec::new(), None);
        let mut waiting: HashMap<u64, usize> = HashMap::new();
        for (range, frame) in scan.by_ref() {
            between();
            first.get_or_insert(range.start);
            match frame {
                Frame::Record(stored) => match waiting.entry(stored.sequence) {
                    // A record that was written again is the same one.
                    Entry::Occupied(at) => {
                        if let Some(record) = records.get_mut(*at.get()) {
                            *record = Some((range, stored));
                        }
                    }
                    Entry::Vacant(at) => {
                        at.insert(records.len());
                        records.push(Some((range, stored)));
                    }
                },
                Frame::Settled { sequence, fate } => {
                    let record = waiting.remove(&sequence).and_then(|at| records.get_mut(at)?.take());
                    settled.extend(record.map(|(_, stored)| (stored, fate)));
                }
                Frame::Unknown => {}
            }
        }
        // What stands where the header should be is none of the records.
        let damaged = scan.damaged - usize::from(first == Some(HEADER) && header.is_none());
        let is_foreign = header.is_none() && first.is_none();
        Contents { header, waiting: records.into_iter().flatten().collect(), settled, damaged, is_foreign }
    }
}

/// Bytes that are read from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.u16()?;
        std::str::from_utf8(self.take(usize::from(length))?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(n: u64, body: &str) -> Outgoing {
        Outgoing {
            endpoint: if n.is_multiple_of(2) { Endpoint::COMPLETIONS } else { Endpoint::TOOL_EVENTS },
            idempotency_key: format!("key-{n}"),
            transaction_id: format!("msg_{n}"),
            body: body.to_owned().into(),
        }
    }

    /// The sequences and bodies of the records in `bytes`, how many others there are, and what is damaged.
    fn read_all(bytes: &[u8]) -> (Vec<(u64, String)>, usize, usize) {
        let mut scan = Scan::new(bytes, 0);
        let (mut records, mut others) = (Vec::new(), 0);
        for (_, frame) in scan.by_ref() {
            match frame {
                Frame::Record(stored) => {
                    let outgoing = stored.to_outgoing();
                    assert_eq!(outgoing.idempotency_key, format!("key-{}", stored.sequence));
                    records.push((stored.sequence, String::from_utf8(outgoing.body.to_vec()).unwrap()));
                }
                _ => others += 1,
            }
        }
        (records, others, scan.damaged)
    }

    #[test]
    fn headers_tell_their_account_and_nothing_else_is_one() {
        let header = Header::new("0123456789abcdef").to_bytes();
        let read = Header::read(&header).unwrap();
        assert_eq!((read.version, read.fingerprint.as_str()), (VERSION, "0123456789abcdef"));
        assert_eq!(read.process, std::process::id());
        for at in 0..HEADER {
            let mut other = header;
            other[at] ^= 1;
            assert!(Header::read(&other).is_none(), "{at}");
            assert!(Header::read(&header[..at]).is_none(), "{at}");
        }
    }

    #[test]
    fn kinds_of_a_later_version_are_passed_over() {
        let mut bytes = Vec::new();
        let start = begin(&mut bytes, 77, 5);
        bytes.extend_from_slice(b"whatever it holds");
        end(&mut bytes, start);
        push_record(&mut bytes, 6, 1, &record(6, "{}")).unwrap();
        assert_eq!(read_all(&bytes), (vec![(6, "{}".into())], 1, 0));
    }

    #[test]
    fn a_record_that_was_given_up_says_why() {
        let told = |reason, http_status| Fate::GivenUp(Cause { reason, http_status });
        let fates = Reason::NUMBERED.map(Fate::from).into_iter();
        for fate in fates.chain([told(Some(Reason::Refused), Some(422)), told(None, None), Fate::Delivered]) {
            let mut bytes = Vec::new();
            push_settled(&mut bytes, 7, fate);
            assert_eq!(read(&bytes), Some((Frame::Settled { sequence: 7, fate }, bytes.len())));
        }
        // As earlier versions wrote it, and a later one may, with reasons of its own and more behind them.
        for (rest, wanted) in [(&[][..], None), (&[99, 0x90, 1, 5], Some(400))] {
            let mut bytes = Vec::new();
            let start = begin(&mut bytes, GIVEN_UP, 7);
            bytes.extend_from_slice(rest);
            end(&mut bytes, start);
            let fate = told(None, wanted);
            assert_eq!(read(&bytes), Some((Frame::Settled { sequence: 7, fate }, bytes.len())));
        }
    }

    #[test]
    fn what_fits_in_no_frame_is_not_written() {
        let mut bytes = Vec::new();
        let long = Outgoing { transaction_id: "x".repeat(70_000), ..record(1, "") };
        assert!(push_record(&mut bytes, 1, 1, &long).is_none());
        assert!(bytes.is_empty());
    }

    fn frames() -> impl Strategy<Value = Vec<(Option<String>, u64)>> {
        prop::collection::vec((prop::option::of(".{0,40}"), 0..1000u64), 0..20)
    }

    fn write(frames: &[(Option<String>, u64)]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (body, n) in frames {
            match body {
                Some(body) => drop(push_record(&mut bytes, *n, n * 7, &record(*n, body)).unwrap()),
                None => push_settled(&mut bytes, *n, Fate::Delivered),
            }
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    proptest! {
        #[test]
        fn any_prefix_gives_exactly_its_whole_frames(frames in frames(), cut in 0.0..=1.0f64) {
            let (bytes, ends) = write(&frames);
            let cut = (bytes.len() as f64 * cut) as usize;
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let (records, others, damaged) = read_all(&bytes[..cut]);
            let wanted: Vec<_> = frames[..whole].iter().filter_map(|(body, n)| Some((*n, body.clone()?))).collect();
            prop_assert_eq!(&records, &wanted);
            prop_assert_eq!(records.len() + others, whole);
            let torn = whole.checked_sub(1).map_or(0, |last| ends[last]) != cut;
            prop_assert_eq!(damaged, usize::from(torn));
        }

        #[test]
        fn corruption_costs_only_the_frames_it_hits(frames in frames(), hits in prop::collection::vec((any::<u16>(), 1..=255u8), 0..6)) {
            let (mut bytes, ends) = write(&frames);
            let mut hit = vec![false; frames.len()];
            for (at, flip) in hits {
                if bytes.is_empty() { break }
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= flip;
                hit[ends.iter().position(|end| at < *end).unwrap()] = true;
            }
            let (records, ..) = read_all(&bytes);
            // A byte that was hit twice may be what it was.
            let untouched = frames.iter().zip(&hit).filter(|(_, hit)| !**hit);
            for (body, n) in untouched.filter_map(|((body, n), _)| Some((body.as_ref()?, n))) {
                prop_assert!(records.contains(&(*n, body.clone())));
            }
            for record in &records {
                prop_assert!(frames.iter().any(|(body, n)| body.as_ref() == Some(&record.1) && *n == record.0));
            }
        }

        #[test]
        fn nothing_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut marked = MARK.to_vec();
            marked.extend_from_slice(&bytes);
            let _ = (read_all(&bytes), read_all(&marked), Header::read(&bytes));
        }
    }
}
