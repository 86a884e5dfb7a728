//! The events that make up nearly all of a stream: a piece of text, of thinking, or of a tool's input.

use crate::common::json::object::{Object, Quoted, count};

/// Which part of a content block grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text,
    Thinking,
    Input,
}

impl Part {
    /// What grows in a block of type `block`.
    pub fn of_block(block: &str) -> Option<Part> {
        match block {
            "text" => Some(Part::Text),
            "thinking" => Some(Part::Thinking),
            // tool_use, server_tool_use, mcp_tool_use
            _ if block.ends_with("tool_use") => Some(Part::Input),
            _ => None,
        }
    }

    /// The member of the block that holds it.
    pub fn member(self) -> &'static str {
        match self {
            Part::Text => "text",
            Part::Thinking => "thinking",
            Part::Input => "input",
        }
    }
}

/// A `content_block_delta` that makes one part of one block longer.
#[derive(Clone, Copy)]
pub(super) struct Delta<'a> {
    pub index: u64,
    pub part: Part,
    pub added: Quoted<'a>,
}

impl<'a> Delta<'a> {
    /// Reads a delta event written in the provider's own way: in this order and without spaces, except before the
    /// closing braces, where the provider pads. `None`: read it as any other event. What this takes is valid JSON.
    pub fn scan(json: &'a str) -> Option<Delta<'a>> {
        let rest = json.strip_prefix(r#"{"type":"content_block_delta","index":"#)?;
        let (index, rest) = index(rest)?;
        let rest = rest.strip_prefix(r#","delta":{"type":""#)?;
        let (part, rest) = if let Some(rest) = rest.strip_prefix(r#"text_delta","text":""#) {
            (Part::Text, rest)
        } else if let Some(rest) = rest.strip_prefix(r#"input_json_delta","partial_json":""#) {
            (Part::Input, rest)
        } else {
            (Part::Thinking, rest.strip_prefix(r#"thinking_delta","thinking":""#)?)
        };
        let (added, rest) = Quoted::scan(rest)?;
        let rest = close(close(rest)?)?;
        skip_space(rest).is_empty().then_some(Delta { index, part, added })
    }

    /// The same from an event of any form. `None`: another delta, or none that can be read.
    pub fn of(event: &Object<'a>) -> Option<Delta<'a>> {
        let delta = event.object("delta")?;
        let (part, added) = match delta.string("type")?.as_str() {
            "text_delta" => (Part::Text, "text"),
            "input_json_delta" => (Part::Input, "partial_json"),
            "thinking_delta" => (Part::Thinking, "thinking"),
            _ => return None,
        };
        Some(Delta { index: index_of(event)?, part, added: Quoted::of(delta.get(added)?)? })
    }
}

/// The `index` of an event about a block.
pub(super) fn index_of(event: &Object<'_>) -> Option<u64> {
    event.get("index").and_then(count).map(i64::unsigned_abs)
}

/// A number of up to nine digits, without leading zeros.
fn index(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take(10).take_while(u8::is_ascii_digit).count();
    match (text.as_bytes().first()?, digits) {
        (b'0', 1) | (b'1'..=b'9', 1..=9) => Some((text[..digits].parse().ok()?, &text[digits..])),
        _ => None,
    }
}

fn close(text: &str) -> Option<&str> {
    skip_space(text).strip_prefix('}')
}

fn skip_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\n', '\r', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(delta: Option<Delta<'_>>) -> Option<(u64, Part, String)> {
        delta.map(|delta| {
            let mut added = String::new();
            delta.added.unescape_into(&mut added);
            (delta.index, delta.part, added)
        })
    }

    #[test]
    fn deltas_in_the_usual_form() {
        for (json, want) in [
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" \"é\"\n"}}"#,
                (0, Part::Text, " \"é\"\n"),
            ),
            (
                r#"{"type":"content_block_delta","index":12,"delta":{"type":"thinking_delta","thinking":""} }"#,
                (12, Part::Thinking, ""),
            ),
            (
                r#"{"type":"content_block_delta","index":999999999,"delta":{"type":"input_json_delta","partial_json":"{\"a"}    }  "#,
                (999_999_999, Part::Input, "{\"a"),
            ),
        ] {
            let want = Some((want.0, want.1, want.2.to_owned()));
            assert_eq!(parts(Delta::scan(json)), want, "{json}");
            assert_eq!(parts(Delta::of(&Object::parse(json).unwrap())), want, "{json}");
        }
    }

    #[test]
    fn other_forms_are_left_to_the_parser() {
        for json in [
            r#"{"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta", "text": "x"}}"#,
            r#"{"index":3,"type":"content_block_delta","delta":{"text":"x","type":"text_delta"}}"#,
            r#"{"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"x","new":1}}"#,
            r#"{"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"x"},"new":1}"#,
            r#"{"type":"content_block_delta","index":3.0,"delta":{"type":"text_delta","text":"\u0078"}}"#,
        ] {
            assert!(Delta::scan(json).is_none(), "{json}");
            assert_eq!(parts(Delta::of(&Object::parse(json).unwrap())), Some((3, Part::Text, "x".into())), "{json}");
        }
    }

    #[test]
    fn what_is_no_delta() {
        for json in [
            r#"{"type":"content_block_delta","index":01,"delta":{"type":"text_delta","text":"x"}}"#,
            r#"{"type":"content_block_delta","index":-1,"delta":{"type":"text_delta","text":"x"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\x"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","thinking":"x"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"new_delta","text":"x"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":5}}"#,
            r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}"#,
            r#"{"type":"content_block_delta","index":0}"#,
            "",
        ] {
            assert!(Delta::scan(json).is_none(), "{json}");
            assert!(Object::parse(json).is_none_or(|event| Delta::of(&event).is_none()), "{json}");
        }
    }
}
