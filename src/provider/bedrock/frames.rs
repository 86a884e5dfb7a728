//! Event streams of AWS as bytes: what somebody else's call brings, in any chunks.

use super::reply::exception;
use crate::common::error::{Code, Error, Result};
use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use aws_smithy_types::base64;
use bytes::BytesMut;
use serde::Deserialize;
use std::borrow::Cow;

/// Bytes → the JSON events in their frames.
#[derive(Default)]
pub struct Frames {
    decoder: MessageFrameDecoder,
    unread: BytesMut,
}

/// The payload of a frame: one event.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    bytes: Cow<'a, str>,
}

impl Frames {
    /// Read on, calling `each` with every event. A frame of more than `max` bytes, or one that is damaged, ends the stream
    /// with an error; so does one that holds an error, which is AWS's.
    pub fn push(&mut self, bytes: &[u8], max: usize, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.unread.extend_from_slice(bytes);
        loop {
            match self.decoder.decode_frame(&mut self.unread) {
                Ok(DecodedFrame::Complete(frame)) => {
                    if let Some(error) = exception(&frame) {
                        return Err(error);
                    }
                    // A kind of frame that is newer than this library holds no event.
                    let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(frame.payload()) else { continue };
                    each(&base64::decode(&*chunk.bytes).map_err(|_| unreadable())?)?;
                }
                Ok(_) if self.unread.len() > max => return Err(unreadable()),
                Ok(_) => return Ok(()),
                Err(_) => return Err(unreadable()),
            }
        }
    }
}

fn unreadable() -> Error {
    Error::new(Code::Stream, "The provider's stream has a frame that cannot be read.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_eventstream::frame::write_message_to;
    use aws_smithy_types::event_stream::{Header, HeaderValue, Message};

    fn frame(headers: &[(&'static str, &'static str)], payload: String) -> Vec<u8> {
        let header =
            |&(name, value): &(&'static str, &'static str)| Header::new(name, HeaderValue::String(value.into()));
        let message = Message::new_from_parts(headers.iter().map(header).collect(), payload);
        let mut bytes = Vec::new();
        write_message_to(&message, &mut bytes).unwrap();
        bytes
    }

    fn event(json: &str) -> Vec<u8> {
        frame(&[(":message-type", "event")], format!(r#"{{"bytes":"{}","p":"abc"}}"#, base64::encode(json)))
    }

    fn read(stream: &[u8], chunk: usize) -> (Vec<String>, Result<()>) {
        let (mut frames, mut events) = (Frames::default(), Vec::new());
        let ended = stream.chunks(chunk).try_for_each(|bytes| {
            frames.push(bytes, 4096, |json| {
                events.push(String::from_utf8(json.into()).unwrap());
                Ok(())
            })
        });
        (events, ended)
    }

    #[test]
    fn events_come_out_however_their_bytes_are_cut() {
        let newer = frame(&[(":message-type", "event"), (":event-type", "tomorrow")], "{}".into());
        let stream = [event(r#"{"type":"ping"}"#), newer, event("{}")].concat();
        for chunk in [1, 7, 12, 13, 100, stream.len()] {
            let (events, ended) = read(&stream, chunk);
            assert_eq!(events, [r#"{"type":"ping"}"#, "{}"], "in chunks of {chunk}");
            assert!(ended.is_ok());
        }
    }

    #[test]
    fn errors_are_those_of_aws_and_damage_is_told() {
        let exception =
            frame(&[(":message-type", "exception"), (":exception-type", "throttlingException")], "{}".into());
        let (events, ended) = read(&[event("{}"), exception].concat(), 50);
        assert_eq!((events.len(), ended.unwrap_err().code), (1, Code::RateLimit));

        let mut damaged = event("{}");
        damaged[20] ^= 1;
        assert_eq!(read(&damaged, 9).1.unwrap_err().code, Code::Stream);
        assert_eq!(read(&[0, 255, 255, 255, 0, 0, 0, 0].repeat(1000), 100).1.unwrap_err().code, Code::Stream);
        assert_eq!(read(b"HTTP/1.1 200 OK, say", 3).1.map_err(|error| error.code), Ok(()), "not a frame yet");
    }
}
