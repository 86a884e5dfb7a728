//! STREAM: bytes → events → one message.
//!
//! ```text
//! transport → Reader ─→ Batch   (events, as the provider sent them)
//!                    └→ Message (what they add up to)
//! ```

mod batch;
mod delta;
mod error;
mod facts;
mod message;
mod partial;
pub mod request;
mod sse;
pub mod summary;

pub use batch::{Batch, Event, Kind};
pub use facts::RequestFacts;
pub use message::Message;
pub use summary::{Iteration, Summary, Tokens, Written, text_of};

use serde::de::IgnoredAny;

use crate::common::error::{Code, Error, Result};
use crate::common::json::mend;
use crate::common::json::object::Object;
use delta::Delta;
use sse::Splitter;

/// Bedrock's own count of a call's tokens.
const INVOCATION_METRICS: &str = "amazon-bedrock-invocationMetrics";

/// How the transport marks off events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events in any chunks.
    Sse,
    /// Each push is one JSON event.
    Events,
}

/// One stream from its first byte to its end.
pub struct Reader {
    source: Source,
    max_bytes: usize,
    progress: Progress,
}

enum Source {
    Sse(Splitter),
    Events { max: usize },
}

/// How far the stream has come.
#[derive(Default)]
struct Progress {
    message: Message,
    has_events: bool,
    has_first_delta: bool,
    is_complete: bool,
    has_failed: bool,
    /// The last event, if it looks like an error. It is one unless more comes.
    farewell: Option<Error>,
}

/// What is known of an event before its data is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// It has no `event:` line.
    Missing,
    /// `event: error`
    Error,
    /// Any other `event:` line.
    Kind(Kind),
    /// It came in a frame of the transport, where there is nothing but JSON.
    Framed,
}

impl Name {
    fn of(name: &[u8]) -> Name {
        match name {
            b"" => Name::Missing,
            b"error" => Name::Error,
            _ => Name::Kind(Kind::of(name)),
        }
    }

    /// An event without which the message may have a hole.
    fn is_vital(self) -> bool {
        !matches!(self, Name::Missing | Name::Kind(Kind::Other | Kind::Ping))
    }
}

impl Reader {
    /// An event of more than `max_bytes`, or a message that grows beyond that, ends the stream with an error.
    pub fn new(framing: Framing, max_bytes: usize) -> Reader {
        let source = match framing {
            Framing::Sse => Source::Sse(Splitter::new(max_bytes)),
            Framing::Events => Source::Events { max: max_bytes },
        };
        Reader { source, max_bytes, progress: Progress::default() }
    }

    /// Reads what the transport gave and appends its events to `batch`.
    ///
    /// After an error the stream is over; the events before it are in `batch`. What comes after message_stop or after
    /// an error is ignored.
    pub fn push(&mut self, chunk: &[u8], batch: &mut Batch) -> Result<()> {
        let (progress, max_bytes) = (&mut self.progress, self.max_bytes);
        if progress.is_over() {
            return Ok(());
        }
        let read = match &mut self.source {
            Source::Sse(splitter) => splitter.feed(chunk, |name, data| {
                progress.event(name, data, batch)?;
                progress.within(max_bytes)
            }),
            Source::Events { max } if chunk.len() > *max => Err(sse::too_large(*max)),
            Source::Events { .. } => {
                progress.event(Name::Framed, chunk, batch).and_then(|()| progress.within(max_bytes))
            }
        };
        progress.settle(read)
    }

    /// The transport ended cleanly. `Code::Stream`: but the stream had not.
    pub fn end(&mut self, batch: &mut Batch) -> Result<()> {
        let progress = &mut self.progress;
        if let Source::Sse(splitter) = &mut self.source
            && !progress.is_over()
        {
            let read = splitter.finish(|name, data| progress.last_event(name, data, batch));
            progress.settle(read)?;
        }
        if let Some(error) = progress.farewell.take() {
            return Err(error);
        }
        let reason = match (progress.is_complete, progress.has_events) {
            (true, _) => return Ok(()),
            (false, true) => "The stream ended before its message_stop.",
            (false, false) => "The stream ended without any event.",
        };
        Err(Error::new(Code::Stream, reason))
    }

    /// message_stop was seen.
    pub fn is_complete(&self) -> bool {
        self.progress.is_complete
    }

    /// A content_block_delta was seen.
    pub fn has_first_delta(&self) -> bool {
        self.progress.has_first_delta
    }

    pub fn message(&self) -> &Message {
        &self.progress.message
    }

    pub fn into_message(self) -> Message {
        self.progress.message
    }
}

impl Progress {
    fn is_over(&self) -> bool {
        self.is_complete || self.has_failed
    }

    /// Whether the message put together is no larger than it may be.
    fn within(&self, max_bytes: usize) -> Result<()> {
        match self.message.bytes() > max_bytes {
            true => Err(Error::new(Code::Stream, "The reply is larger than max_response_bytes.")),
            false => Ok(()),
        }
    }

    /// A fault after message_stop is none.
    fn settle(&mut self, read: Result<()>) -> Result<()> {
        if self.is_complete {
            return Ok(());
        }
        self.has_failed |= read.is_err();
        read
    }

    fn event(&mut self, name: Name, data: &[u8], batch: &mut Batch) -> Result<()> {
        let data = unframed(data);
        if self.is_complete || data.trim_ascii().is_empty() {
            return Ok(());
        }
        if name == Name::Error {
            return Err(provider_error(data));
        }
        let json = &*mend::text(data);
        if let Some(delta) = Delta::scan(json) {
            self.message.grow(&delta);
            self.deliver(Kind::ContentBlockDelta, json, Some(delta), batch);
            return Ok(());
        }
        match Object::parse(json) {
            Some(event) => self.other_event(name, json, &event, batch),
            None => self.damaged_event(name, json, batch),
        }
    }

    /// What is no JSON object, but may have been one before somebody passed it on.
    fn damaged_event(&mut self, name: Name, json: &str, batch: &mut Batch) -> Result<()> {
        if json.trim().trim_matches('"') == "[DONE]" && self.message.summary().stop_reason.is_some() {
            // Gateways end a stream so; a message that has its stop_reason is whole by then.
            self.is_complete = true;
            return Ok(());
        }
        if let Some(escaped) = mend::escape_controls(json)
            && let Some(event) = Object::parse(&escaped)
        {
            return self.other_event(name, &escaped, &event, batch);
        }
        let several: Vec<_> = mend::several(json).into_iter().map(|value| (value, Object::of(value))).collect();
        if !several.is_empty() && several.iter().all(|(_, event)| event.is_some()) {
            return several.iter().filter_map(|(value, event)| Some((value, event.as_ref()?))).try_for_each(
                |(value, event)| match self.is_complete {
                    true => Ok(()),
                    false => self.other_event(name, value.get(), event, batch),
                },
            );
        }
        match name.is_vital() {
            true => Err(not_json()),
            false => Ok(()),
        }
    }

    /// An event without its blank line: it counts if it is whole.
    fn last_event(&mut self, name: Name, data: &[u8], batch: &mut Batch) -> Result<()> {
        match serde_json::from_slice::<IgnoredAny>(unframed(data)) {
            Err(_) if unframed(data).trim_ascii() != b"[DONE]" => Ok(()),
            _ => self.event(name, data, batch),
        }
    }

    /// The JSON's own `type` says what an event is, and where it has none, the name.
    fn other_event(&mut self, name: Name, json: &str, event: &Object<'_>, batch: &mut Batch) -> Result<()> {
        // In the last event, or alone in one without `type`.
        if let Some(metrics) = event.object(INVOCATION_METRICS) {
            self.message.compare(&Tokens::of_metrics(&metrics));
        }
        let kind = match (event.string("type").as_deref(), name) {
            _ if error::is_error(event) => return Err(provider_error(json.as_bytes())),
            (Some(kind), _) => Kind::of(kind.as_bytes()),
            (None, Name::Kind(kind)) => kind,
            (None, Name::Missing | Name::Framed | Name::Error) => {
                self.farewell = error::may_be_error(event).then(|| provider_error(json.as_bytes()));
                return Ok(());
            }
        };
        let delta = if kind == Kind::ContentBlockDelta { Delta::of(event) } else { None };
        match &delta {
            Some(delta) => self.message.grow(delta),
            None => self.message.apply(kind, event),
        }
        // A gateway that does not stream may send the message as one event.
        self.is_complete = kind == Kind::MessageStop || kind == Kind::Other && self.message.take_whole(event);
        self.deliver(kind, json, delta, batch);
        Ok(())
    }

    fn deliver(&mut self, kind: Kind, json: &str, delta: Option<Delta<'_>>, batch: &mut Batch) {
        let text = delta.filter(|delta| delta.part == delta::Part::Text).map(|delta| delta.added);
        self.has_events = true;
        self.farewell = None;
        self.has_first_delta |= kind == Kind::ContentBlockDelta;
        batch.push(kind, json, text);
    }
}

/// `data` without the framing of a gateway that framed what was framed already: `data: data: {}`.
fn unframed(mut data: &[u8]) -> &[u8] {
    while let Some(inner) = data.trim_ascii_start().strip_prefix(b"data:") {
        data = inner;
    }
    data
}

fn not_json() -> Error {
    Error::new(Code::Stream, "The stream has an event that is not a JSON object.")
}

/// The error that the provider sent as an event.
fn provider_error(data: &[u8]) -> Error {
    error::of(data, "The provider ended the stream with")
}

#[cfg(test)]
mod tests;
