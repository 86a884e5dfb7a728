//! The reply of a call that somebody else made, in whatever form it passes by.

use crate::call::reply::{read, too_large};
use crate::common::error::Error;
use crate::messages::{Batch, Framing, Reader, Summary};
use crate::provider::Provider;
use crate::provider::bedrock::Frames;

/// A reply that is read as its bytes come.
pub struct ObservedReply {
    form: Form,
    max: usize,
    /// Of a stream, what ended it too soon.
    fault: Option<Error>,
    /// Events are looked at one after the other; nobody wants to keep them.
    seen: Batch,
}

enum Form {
    /// Nothing but spaces so far.
    Unknown,
    Json(Vec<u8>),
    Sse(Box<Reader>),
    Frames(Frames, Box<Reader>),
}

/// What a reply said, once it is over.
pub struct Read {
    pub summary: Option<Summary>,
    /// Why it is no whole message.
    pub fault: Option<Error>,
    pub was_streamed: bool,
    /// The message, put together where it was streamed.
    pub message: Option<Vec<u8>>,
}

impl ObservedReply {
    /// `max`: the most that one reply, or one event of it, may hold.
    pub fn new(max: usize) -> ObservedReply {
        ObservedReply { form: Form::Unknown, max, fault: None, seen: Batch::new() }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if self.fault.is_some() {
            return;
        }
        if let Form::Unknown = self.form {
            let Some(form) = self.form_of(bytes) else { return };
            self.form = form;
        }
        let (max, seen) = (self.max, &mut self.seen);
        let pushed = match &mut self.form {
            Form::Unknown => Ok(()),
            Form::Json(body) if body.len() + bytes.len() > max => {
                *body = Vec::new();
                Err(too_large())
            }
            Form::Json(body) => {
                body.extend_from_slice(bytes);
                Ok(())
            }
            Form::Sse(reader) => reader.push(bytes, seen),
            Form::Frames(_, reader) if reader.is_complete() => Ok(()),
            Form::Frames(frames, reader) => frames.push(bytes, max, |event| {
                seen.clear();
                reader.push(event, seen)
            }),
        };
        self.seen.clear();
        self.fault = pushed.err();
    }

    /// Told by its first byte: an event stream begins with a frame's length, which is never as large as a letter makes it.
    fn form_of(&self, start: &[u8]) -> Option<Form> {
        let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start);
        let reader = |framing| Box::new(Reader::new(framing, self.max));
        Some(match start.iter().find(|byte| !byte.is_ascii_whitespace())? {
            0 => Form::Frames(Frames::default(), reader(Framing::Events)),
            b'{' | b'[' | b'<' => Form::Json(Vec::new()),
            _ => Form::Sse(reader(Framing::Sse)),
        })
    }

    /// A `content_block_delta` was seen.
    pub fn has_first_delta(&self) -> bool {
        match &self.form {
            Form::Sse(reader) | Form::Frames(_, reader) => reader.has_first_delta(),
            Form::Unknown | Form::Json(_) => false,
        }
    }

    /// Who alone answers in this form.
    pub fn provider(&self) -> Option<Provider> {
        matches!(self.form, Form::Frames(..)).then_some(Provider::Bedrock)
    }

    /// Nothing more comes. `wanted`: somebody looks at the message.
    pub fn end(mut self, wanted: bool) -> Read {
        let was_streamed = matches!(self.form, Form::Sse(_) | Form::Frames(..));
        let (summary, fault, message) = match self.form {
            Form::Unknown => (None, None, None),
            Form::Json(mut body) => match self.fault.map_or_else(|| read(&mut body, self.max), Err) {
                Ok(summary) => (Some(summary), None, wanted.then_some(body)),
                Err(fault) => (None, Some(fault), None),
            },
            Form::Sse(mut reader) | Form::Frames(_, mut reader) => {
                let end = self.fault.take().map_or_else(|| reader.end(&mut self.seen), Err);
                let message = reader.into_message();
                let summary = message.has_facts().then(|| message.summary().clone());
                (summary, end.err(), if wanted { message.to_json().ok() } else { None })
            }
        };
        Read { summary, fault, was_streamed, message }
    }
}
