//! STREAM: bytes → events → one message.
//!
//! ```text
//! transport → Reader ─→ Batch   (events, as the provider sent them)
//!                    └→ Message (what they add up to)
//! ```

mod batch;
mod delta;
mod json;
mod message;
mod partial;
pub mod request;
mod sse;
pub mod summary;

pub use batch::{Batch, Event, Kind};
pub use message::Message;
pub use summary::{Iteration, Summary, Tokens, Usage, text_of};

use serde::de::IgnoredAny;

use crate::common::error::{Code, Error, HttpError, Result};
use delta::Delta;
use json::Object;
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
            _ => Name::Kind(std::str::from_utf8(name).map_or(Kind::Other, Kind::of)),
        }
    }

    /// An event without which the message may have a hole.
    fn is_vital(self) -> bool {
        !matches!(self, Name::Missing | Name::Kind(Kind::Other | Kind::Ping))
    }
}

impl Reader {
    /// An event of more than `max_event_bytes` ends the stream with an error.
    pub fn new(framing: Framing, max_event_bytes: usize) -> Reader {
        let source = match framing {
            Framing::Sse => Source::Sse(Splitter::new(max_event_bytes)),
            Framing::Events => Source::Events { max: max_event_bytes },
        };
        Reader { source, progress: Progress::default() }
    }

    /// Reads what the transport gave and appends its events to `batch`.
    ///
    /// After an error the stream is over; the events before it are in `batch`. What comes after message_stop or after
    /// an error is ignored.
    pub fn push(&mut self, chunk: &[u8], batch: &mut Batch) -> Result<()> {
        let progress = &mut self.progress;
        if progress.is_over() {
            return Ok(());
        }
        let read = match &mut self.source {
            Source::Sse(splitter) => splitter.feed(chunk, |name, data| progress.event(name, data, batch)),
            Source::Events { max } if chunk.len() > *max => Err(sse::too_large(*max)),
            Source::Events { .. } => progress.event(Name::Framed, chunk, batch),
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

    /// A fault after message_stop is none.
    fn settle(&mut self, read: Result<()>) -> Result<()> {
        if self.is_complete {
            return Ok(());
        }
        self.has_failed |= read.is_err();
        read
    }

    fn event(&mut self, name: Name, data: &[u8], batch: &mut Batch) -> Result<()> {
        if self.is_complete || data.trim_ascii().is_empty() {
            return Ok(());
        }
        if name == Name::Error {
            return Err(provider_error(data));
        }
        let Ok(json) = std::str::from_utf8(data) else {
            return Err(Error::new(Code::Stream, "The stream has an event that is not UTF-8."));
        };
        if let Some(delta) = Delta::scan(json) {
            self.message.grow(&delta);
            self.deliver(Kind::ContentBlockDelta, json, Some(delta), batch);
            return Ok(());
        }
        match Object::parse(json) {
            Some(event) => self.other_event(name, json, &event, batch),
            None if name.is_vital() => Err(not_json()),
            // `[DONE]` and the like, which proxies add.
            None => Ok(()),
        }
    }

    /// An event without its blank line: it counts if it is whole.
    fn last_event(&mut self, name: Name, data: &[u8], batch: &mut Batch) -> Result<()> {
        match serde_json::from_slice::<IgnoredAny>(data) {
            Ok(_) => self.event(name, data, batch),
            Err(_) => Ok(()),
        }
    }

    /// The JSON's own `type` says what an event is, and where it has none, the name.
    fn other_event(&mut self, name: Name, json: &str, event: &Object<'_>, batch: &mut Batch) -> Result<()> {
        // In the last event, or alone in one without `type`.
        if let Some(metrics) = event.object(INVOCATION_METRICS) {
            self.message.compare(&Tokens::of_metrics(&metrics));
        }
        let kind = match (event.string("type").as_deref(), name) {
            (Some("error"), _) => return Err(provider_error(json.as_bytes())),
            (Some(kind), _) => Kind::of(kind),
            (None, Name::Kind(kind)) => kind,
            (None, Name::Missing | Name::Framed | Name::Error) => return Ok(()),
        };
        let delta = if kind == Kind::ContentBlockDelta { Delta::of(event) } else { None };
        match &delta {
            Some(delta) => self.message.grow(delta),
            None => self.message.apply(kind, event),
        }
        self.is_complete = kind == Kind::MessageStop;
        self.deliver(kind, json, delta, batch);
        Ok(())
    }

    fn deliver(&mut self, kind: Kind, json: &str, delta: Option<Delta<'_>>, batch: &mut Batch) {
        let text = delta.filter(|delta| delta.part == delta::Part::Text).map(|delta| delta.added);
        self.has_events = true;
        self.has_first_delta |= kind == Kind::ContentBlockDelta;
        batch.push(kind, json, text);
    }
}

fn not_json() -> Error {
    Error::new(Code::Stream, "The stream has an event that is not a JSON object.")
}

/// The error that the provider sent as an event. The sentence quotes no more than its type.
fn provider_error(data: &[u8]) -> Error {
    let event = std::str::from_utf8(data).ok().and_then(Object::parse);
    let kind = event.and_then(|event| event.object("error")?.string("type")).unwrap_or_default();
    let code = match kind.as_str() {
        "overloaded_error" => Code::Overloaded,
        "rate_limit_error" => Code::RateLimit,
        "api_error" | "timeout_error" => Code::InternalServer,
        "authentication_error" => Code::Authentication,
        "permission_error" => Code::PermissionDenied,
        "not_found_error" => Code::NotFound,
        "request_too_large" => Code::RequestTooLarge,
        "invalid_request_error" => Code::BadRequest,
        "conflict_error" => Code::Conflict,
        _ => Code::Api,
    };
    let is_word = (1..=64).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let what = if is_word { kind.as_str() } else { "an error" };
    let http = HttpError { status: 200, body: data.to_vec(), retry_after_ms: None };
    Error::new(code, format!("The provider ended the stream with {what}.")).with_http(http)
}

#[cfg(test)]
mod tests;
