//! Completion queues: frames for readers that want no callback, bounds for each call, and a descriptor to wake them.

use crate::common::error::{Code, Error, Result};
use crate::common::log::{self, Level};
use crate::common::os::{self, Bell, Wake};
use crate::common::sync::{Condvar, Mutex};
use crate::completion::backpressure::Backpressure;
use crate::completion::outcome::Outcome;
use crate::messages::Batch;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Instant;

/// REVENIUM_FRAME_*
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum FrameKind {
    Event = 1,
    Result = 2,
    Log = 3,
    Metering = 4,
    Head = 5,
}

/// REVENIUM_TOPIC_*
pub const TOPIC_LOG: u32 = 1;
pub const TOPIC_METERING: u32 = 2;

/// The bytes of `revenium_frame`: size, body_size, call, tag, frame, code.
pub const HEADER: usize = 32;
/// While so many bytes of results lie unread, no further call may report here.
const MAX_UNREAD_RESULTS: usize = 256 << 20;
/// More log and metering frames than this are dropped and counted.
const MAX_NOTICES: usize = 1024;

/// Append one frame: header, body, a NUL, zeros up to a multiple of 8.
pub fn encode(out: &mut Vec<u8>, kind: FrameKind, code: i32, call: u64, tag: u64, body: &[u8]) -> Result<()> {
    let size = (HEADER + body.len() + 1).next_multiple_of(8);
    let too_large = |_| Error::new(Code::Internal, "A frame is larger than 4 GiB.");
    let start = out.len();
    out.reserve(size);
    out.extend_from_slice(&u32::try_from(size).map_err(too_large)?.to_ne_bytes());
    out.extend_from_slice(&u32::try_from(body.len()).map_err(too_large)?.to_ne_bytes());
    out.extend_from_slice(&call.to_ne_bytes());
    out.extend_from_slice(&tag.to_ne_bytes());
    out.extend_from_slice(&(kind as i32).to_ne_bytes());
    out.extend_from_slice(&code.to_ne_bytes());
    out.extend_from_slice(body);
    out.resize(start + size, 0);
    Ok(())
}

/// Frames that arrived together, and how far they are read.
struct Chunk {
    bytes: Vec<u8>,
    read: usize,
    backpressure: Option<Arc<Backpressure>>,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Chunk>,
    notices: usize,
    /// Results that lie here, and their bytes.
    results: usize,
    result_bytes: usize,
    bells: Vec<Bell>,
    /// A wake byte was sent since the reader last found the queue empty.
    signalled: bool,
    closed: bool,
}

#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    topics: AtomicU32,
    dropped_notices: AtomicUsize,
    /// The library was shut down and its calls have reported: what is not here does not come.
    over: Arc<AtomicBool>,
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Frames(usize),
    Empty,
    /// The next frame alone needs a buffer of this size.
    TooSmall(usize),
}

impl Queue {
    pub fn new(over: Arc<AtomicBool>) -> Queue {
        Queue { over, ..Queue::default() }
    }

    /// The events of one network read. To be followed by [`Queue::wake_reader`], as all that is pushed.
    pub fn push_events(&self, batch: &Batch, call: u64, tag: u64, backpressure: &Arc<Backpressure>) -> Result<()> {
        let mut bytes = Vec::with_capacity(batch.bytes() + batch.len() * (HEADER + 8));
        for event in batch.iter() {
            encode(&mut bytes, FrameKind::Event, event.kind as i32, call, tag, event.json.as_bytes())?;
        }
        backpressure.wrote(bytes.len());
        self.push(Chunk { bytes, read: 0, backpressure: Some(backpressure.clone()) }, false);
        Ok(())
    }

    pub fn push_head(&self, status: u16, json: &[u8], call: u64, tag: u64) -> Result<()> {
        let mut bytes = Vec::new();
        encode(&mut bytes, FrameKind::Head, status.into(), call, tag, json)?;
        self.push(Chunk { bytes, read: 0, backpressure: None }, false);
        Ok(())
    }

    /// The last frame of a call. It is never refused, or its submitter would wait for ever.
    pub fn push_result(&self, outcome: &Outcome, call: u64, tag: u64) {
        let mut bytes = Vec::new();
        let code = outcome.code as i32;
        if encode(&mut bytes, FrameKind::Result, code, call, tag, outcome.json().bytes()).is_err() {
            bytes.clear();
            // A body beyond 4 GiB: the result itself still has it.
            let _ = encode(&mut bytes, FrameKind::Result, code, call, tag, b"");
        }
        self.push(Chunk { bytes, read: 0, backpressure: None }, false);
    }

    /// A log line or a metering report, if this queue wants it and is not full of them.
    pub fn push_notice(&self, kind: FrameKind, code: i32, body: &str) {
        let topic = if kind == FrameKind::Log { TOPIC_LOG } else { TOPIC_METERING };
        if self.topics.load(Ordering::Relaxed) & topic == 0 {
            return;
        }
        let mut bytes = Vec::new();
        if encode(&mut bytes, kind, code, 0, 0, body.as_bytes()).is_ok() {
            self.push(Chunk { bytes, read: 0, backpressure: None }, true);
            self.wake_reader();
        }
    }

    fn push(&self, chunk: Chunk, notice: bool) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        if frame_kind(&chunk.bytes) == FrameKind::Result as i32 {
            state.results += 1;
            state.result_bytes += chunk.bytes.len();
        }
        if notice {
            if state.notices >= MAX_NOTICES {
                self.dropped_notices.fetch_add(1, Ordering::Relaxed);
                return;
            }
            state.notices += 1;
        }
        state.chunks.push_back(chunk);
    }

    /// Wake a reader, unless one has come by himself.
    pub fn wake_reader(&self) {
        let mut state = self.state.lock();
        if state.chunks.is_empty() {
            return;
        }
        if !state.signalled && !state.bells.is_empty() {
            state.signalled = true;
            state.bells.retain_mut(Bell::ring);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Copy whole frames into `buffer`, waiting for the first until `deadline` (None: for ever).
    pub fn read(&self, buffer: &mut [u8], deadline: Option<Instant>) -> Result<Read> {
        let mut state = self.state.lock();
        while state.chunks.is_empty() {
            state.signalled = false;
            if state.closed || self.over.load(Ordering::Acquire) {
                return Err(Error::new(Code::Closed, "The queue is closed."));
            }
            match deadline {
                None => state = self.arrived.wait(state),
                Some(at) if at <= Instant::now() => return Ok(Read::Empty),
                Some(at) => (state, _) = self.arrived.wait_until(state, at),
            }
        }
        let mut used = 0;
        while let Some(chunk) = state.chunks.front_mut() {
            let rest = &chunk.bytes[chunk.read..];
            let fit = whole_frames(rest, buffer.len() - used);
            if fit == 0 {
                if used == 0 {
                    return Ok(Read::TooSmall(frame_size(rest)));
                }
                break;
            }
            buffer[used..used + fit].copy_from_slice(&rest[..fit]);
            used += fit;
            chunk.read += fit;
            if let Some(backpressure) = &chunk.backpressure {
                backpressure.read(fit);
            }
            if chunk.read < chunk.bytes.len() {
                break;
            }
            let (kind, bytes) = (frame_kind(&chunk.bytes), chunk.bytes.len());
            state.chunks.pop_front();
            if kind == FrameKind::Log as i32 || kind == FrameKind::Metering as i32 {
                state.notices -= 1;
            } else if kind == FrameKind::Result as i32 {
                state.results -= 1;
                state.result_bytes -= bytes;
            }
        }
        Ok(Read::Frames(used))
    }

    /// A new socket that turns readable when frames may have come.
    pub fn wake_socket(&self) -> io::Result<Wake> {
        let (mut bell, wake) = os::bell()?;
        let mut state = self.state.lock();
        if state.signalled || !state.chunks.is_empty() {
            bell.ring();
            state.signalled = true;
        }
        state.bells.push(bell);
        Ok(wake)
    }

    pub fn subscribe(&self, topics: u32) {
        self.topics.store(topics, Ordering::Relaxed);
    }

    /// No frame comes any more and what lies here is dropped; readers that wait are told.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for chunk in state.chunks.drain(..) {
            if let Some(backpressure) = chunk.backpressure {
                backpressure.read(chunk.bytes.len() - chunk.read);
            }
        }
        state.bells.clear();
        drop(state);
        self.arrived.notify_all();
    }

    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Whether another call may report here: not while `most` results, or many bytes of them, lie unread.
    pub fn has_room(&self, most: usize) -> bool {
        let state = self.state.lock();
        state.results < most && state.result_bytes < MAX_UNREAD_RESULTS
    }

    /// Have readers that wait look whether it is over.
    pub fn nudge(&self) {
        // With the lock, so that none is between looking and waiting.
        drop(self.state.lock());
        self.arrived.notify_all();
    }

    /// Log and metering frames that found the queue full.
    pub fn dropped_notices(&self) -> usize {
        self.dropped_notices.load(Ordering::Relaxed)
    }
}

impl log::Subscriber for Queue {
    fn log(&self, level: Level, line: &str) {
        self.push_notice(FrameKind::Log, level as i32, line);
    }
}

fn word(frames: &[u8], at: usize) -> u32 {
    frames.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

fn frame_size(frames: &[u8]) -> usize {
    word(frames, 0) as usize
}

fn frame_kind(frames: &[u8]) -> i32 {
    word(frames, 24) as i32
}

/// The length of the whole frames at the start of `frames` that fit into `room`.
fn whole_frames(frames: &[u8], room: usize) -> usize {
    if frames.len() <= room {
        return frames.len();
    }
    let mut fit = 0;
    while fit < frames.len() && fit + frame_size(&frames[fit..]) <= room {
        fit += frame_size(&frames[fit..]);
    }
    fit
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read as _;

    fn decode(frames: &[u8]) -> Vec<(i32, i32, u64, u64, Vec<u8>)> {
        let (mut out, mut at) = (Vec::new(), 0);
        while at < frames.len() {
            let frame = &frames[at..];
            let long = |at: usize| u64::from_ne_bytes(frame[at..at + 8].try_into().unwrap());
            let body = word(frame, 4) as usize;
            assert_eq!(frame[HEADER + body], 0);
            assert_eq!(frame_size(frame) % 8, 0);
            out.push((
                frame_kind(frame),
                word(frame, 28) as i32,
                long(8),
                long(16),
                frame[HEADER..HEADER + body].to_vec(),
            ));
            at += frame_size(frame);
        }
        out
    }

    proptest! {
        #[test]
        fn frames_round_trip(bodies in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..100), any::<i32>(), any::<u64>(), any::<u64>()), 0..20), buffer in 160usize..400) {
            let queue = Queue::default();
            let backpressure = Arc::new(Backpressure::default());
            for (body, code, call, tag) in &bodies {
                let mut bytes = Vec::new();
                encode(&mut bytes, FrameKind::Event, *code, *call, *tag, body).unwrap();
                backpressure.wrote(bytes.len());
                queue.push(Chunk { bytes, read: 0, backpressure: Some(backpressure.clone()) }, false);
            }
            let mut got = Vec::new();
            let mut buffer = vec![0; buffer];
            loop {
                match queue.read(&mut buffer, Some(Instant::now())).unwrap() {
                    Read::Frames(n) => got.extend(decode(&buffer[..n])),
                    Read::Empty => break,
                    Read::TooSmall(n) => panic!("{n} in {}", buffer.len()),
                }
            }
            let want: Vec<_> = bodies.iter().map(|(body, code, call, tag)| (FrameKind::Event as i32, *code, *call, *tag, body.clone())).collect();
            prop_assert_eq!(got, want);
            prop_assert_eq!(backpressure.unread(), 0);
        }
    }

    #[test]
    fn a_small_buffer_is_told_what_it_takes_and_loses_nothing() {
        let queue = Queue::default();
        queue.push_head(200, "x".repeat(100).as_bytes(), 7, 9).unwrap();
        let mut small = [0; 64];
        assert_eq!(queue.read(&mut small, Some(Instant::now())).unwrap(), Read::TooSmall(136));
        let mut large = [0; 136];
        assert_eq!(queue.read(&mut large, Some(Instant::now())).unwrap(), Read::Frames(136));
        assert_eq!(queue.read(&mut large, Some(Instant::now())).unwrap(), Read::Empty);
    }

    #[test]
    fn one_wake_byte_from_empty_to_non_empty() {
        let queue = Queue::default();
        let mut wake = queue.wake_socket().unwrap();
        let mut buffer = [0; 1024];
        for _ in 0..3 {
            for _ in 0..5 {
                queue.push_head(200, b"{}", 1, 2).unwrap();
                queue.wake_reader();
            }
            assert_eq!(wake.read(&mut buffer).unwrap(), 1);
            while queue.read(&mut buffer, Some(Instant::now())).unwrap() != Read::Empty {}
            queue.wake_reader();
            assert_eq!(wake.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock, "all was read");
        }
    }

    #[test]
    fn notices_beyond_the_bound_are_dropped_and_counted() {
        let queue = Queue::default();
        queue.push_notice(FrameKind::Log, 1, "nobody subscribed");
        queue.subscribe(TOPIC_LOG);
        queue.push_notice(FrameKind::Metering, 0, "another topic");
        for _ in 0..MAX_NOTICES + 5 {
            queue.push_notice(FrameKind::Log, 2, "line");
        }
        assert_eq!(queue.dropped_notices(), 5);
        let mut buffer = vec![0; 64 * (MAX_NOTICES + 10)];
        let Read::Frames(used) = queue.read(&mut buffer, Some(Instant::now())).unwrap() else { panic!() };
        assert_eq!(decode(&buffer[..used]).len(), MAX_NOTICES);
        queue.push_notice(FrameKind::Log, 2, "room again");
        assert!(matches!(queue.read(&mut buffer, Some(Instant::now())).unwrap(), Read::Frames(_)));
    }
}
