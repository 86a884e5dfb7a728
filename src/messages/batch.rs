//! Events as they go to the caller.

use crate::common::json::object::Quoted;

/// As in the header: `REVENIUM_EVENT_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Kind {
    /// A type newer than this library.
    Other = 0,
    MessageStart = 1,
    ContentBlockStart = 2,
    ContentBlockDelta = 3,
    ContentBlockStop = 4,
    MessageDelta = 5,
    MessageStop = 6,
    Ping = 7,
}

impl Kind {
    /// The kind of the event type that the provider calls `name`.
    pub(super) fn of(name: &[u8]) -> Kind {
        match name {
            b"message_start" => Kind::MessageStart,
            b"content_block_start" => Kind::ContentBlockStart,
            b"content_block_delta" => Kind::ContentBlockDelta,
            b"content_block_stop" => Kind::ContentBlockStop,
            b"message_delta" => Kind::MessageDelta,
            b"message_stop" => Kind::MessageStop,
            b"ping" => Kind::Ping,
            _ => Kind::Other,
        }
    }
}

/// Bytes of a delta with its framing.
const TYPICAL_EVENT: usize = 128;

/// The events of one network read in one buffer; each JSON and each text is followed by a NUL, for C.
#[derive(Default)]
pub struct Batch {
    buffer: String,
    entries: Vec<Entry>,
}

/// Offsets into the buffer; a NUL is at each end.
#[derive(Clone, Copy)]
struct Entry {
    kind: Kind,
    start: usize,
    json_end: usize,
    /// The text begins after the NUL of the JSON.
    text_end: Option<usize>,
}

impl Batch {
    pub fn new() -> Batch {
        Batch::default()
    }

    /// With room for the events in `chunk` bytes from the network.
    pub fn of_chunk(chunk: usize) -> Batch {
        Batch { buffer: String::with_capacity(chunk), entries: Vec::with_capacity(chunk / TYPICAL_EVENT + 1) }
    }

    /// How many events.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Empties the batch and keeps its memory for the next read.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.entries.clear();
    }

    /// The size of the events in bytes, NULs included.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        self.entries.iter().map(|&entry| Event::new(&self.buffer, entry))
    }

    pub(super) fn push(&mut self, kind: Kind, json: &str, text: Option<Quoted<'_>>) {
        let start = self.buffer.len();
        self.buffer.push_str(json);
        let json_end = self.buffer.len();
        self.buffer.push('\0');
        let text_end = text.map(|text| {
            text.unescape_into(&mut self.buffer);
            let end = self.buffer.len();
            self.buffer.push('\0');
            end
        });
        self.entries.push(Entry { kind, start, json_end, text_end });
    }
}

/// One streamed event.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    pub kind: Kind,
    /// The event as the provider sent it.
    pub json: &'a str,
    /// The new text of a text delta.
    pub text: Option<&'a str>,
    buffer: &'a str,
    entry: Entry,
}

impl<'a> Event<'a> {
    fn new(buffer: &'a str, entry: Entry) -> Event<'a> {
        let json = &buffer[entry.start..entry.json_end];
        let text = entry.text_end.map(|end| &buffer[entry.json_end + 1..end]);
        Event { kind: entry.kind, json, text, buffer, entry }
    }

    /// `json` and the NUL behind it.
    pub fn json_with_nul(&self) -> &'a [u8] {
        &self.buffer.as_bytes()[self.entry.start..=self.entry.json_end]
    }

    /// `text` and the NUL behind it.
    pub fn text_with_nul(&self) -> Option<&'a [u8]> {
        self.entry.text_end.map(|end| &self.buffer.as_bytes()[self.entry.json_end + 1..=end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_followed_by_nul() {
        let mut batch = Batch::new();
        assert!(batch.is_empty() && batch.iter().next().is_none());
        let (text, _) = Quoted::scan(r#"é\u0000\n""#).unwrap();
        batch.push(Kind::Ping, "{}", None);
        batch.push(Kind::ContentBlockDelta, "{\"é\":1}", Some(text));
        let (empty, _) = Quoted::scan("\"").unwrap();
        batch.push(Kind::Other, "{ }", Some(empty));

        let events: Vec<_> = batch.iter().collect();
        let seen: Vec<_> = events.iter().map(|e| (e.kind, e.json, e.text)).collect();
        let want = [
            (Kind::Ping, "{}", None),
            (Kind::ContentBlockDelta, "{\"é\":1}", Some("é\0\n")),
            (Kind::Other, "{ }", Some("")),
        ];
        assert_eq!(seen, want);
        for event in &events {
            assert_eq!(event.json_with_nul(), [event.json.as_bytes(), b"\0"].concat());
            assert_eq!(event.text_with_nul(), event.text.map(|text| [text.as_bytes(), b"\0"].concat()).as_deref());
        }
        assert_eq!((batch.len(), batch.bytes()), (3, 3 + 9 + 5 + 4 + 1));
        batch.clear();
        assert!(batch.is_empty() && batch.bytes() == 0);
    }
}
