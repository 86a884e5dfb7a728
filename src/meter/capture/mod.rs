//! Prompts and replies for the record, where the host asks for them: secrets masked, cut to a limit, JSON where they were.

mod cut;
mod mask;

pub use mask::mask;

use crate::common::json::object as json;
use cut::Node;
use serde_json::value::RawValue;

/// What a call's record shall hold of its content. Nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Capture {
    pub prompts: bool,
    pub error_messages: bool,
    /// The reply's blocks as well, for a span.
    pub blocks: bool,
    /// Characters of each field.
    pub limit: usize,
}

/// The content of one call, as its record holds it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompts {
    /// The text, or the JSON of its blocks.
    pub system: Option<String>,
    /// JSON, an array.
    pub input: Option<String>,
    pub(super) output: Option<String>,
    /// What `output` is made of, as JSON: an array.
    pub blocks: Option<String>,
    pub(super) truncated: bool,
}

impl Prompts {
    /// `request`: the body that was sent. `reply`: the message, put together where it was streamed; of a streamed one only
    /// the text is kept.
    pub fn of(request: &[u8], reply: Option<&[u8]>, streamed: bool, capture: Capture) -> Prompts {
        let limit = capture.limit;
        let mut prompts = Prompts::default();
        let cut = &mut prompts.truncated;
        json::members(std::str::from_utf8(request).unwrap_or_default(), |name, value| match name.get() {
            r#""system""# => prompts.system = system(value, limit, cut),
            r#""messages""# => {
                prompts.input = array(value, limit, cut);
            }
            _ => {}
        });
        let mut parts: Vec<String> = Vec::new();
        json::members(std::str::from_utf8(reply.unwrap_or_default()).unwrap_or_default(), |name, value| {
            if name.get() == r#""content""# {
                prompts.blocks = if capture.blocks { array(value, limit, &mut false) } else { None };
                parts.clear();
                json::elements(value.get(), |block| parts.extend(part(block, streamed, limit, cut)));
            }
        });
        if !parts.is_empty() {
            let (text, is_cut) = cut::text(&parts.join("\n"), limit);
            *cut |= is_cut;
            prompts.output = Some(text);
        }
        prompts
    }
}

fn array(value: &RawValue, limit: usize, cut: &mut bool) -> Option<String> {
    let Some(Node::List(nodes)) = Node::of(value, limit, cut) else { return None };
    let (text, is_cut) = cut::array(nodes, limit);
    *cut |= is_cut;
    Some(text)
}

fn system(value: &RawValue, limit: usize, cut: &mut bool) -> Option<String> {
    let (text, is_cut) = match json::text(value) {
        Some(text) => cut::text(&text, limit),
        None if value.get() == "null" => return None,
        None => {
            let mut json = String::new();
            Node::of(value, limit, cut)?.write(usize::MAX, &mut json);
            cut::text(&json, limit)
        }
    };
    *cut |= is_cut;
    Some(text)
}

/// One block of a reply: its text, or the block as JSON. Thinking is nobody's output.
fn part(block: &RawValue, streamed: bool, limit: usize, cut: &mut bool) -> Option<String> {
    let (mut kind, mut text) = (None, None);
    json::members(block.get(), |name, value| match name.get() {
        r#""type""# => kind = json::string(value),
        r#""text""# => text = json::string(value),
        _ => {}
    });
    if kind.as_deref() == Some("text") {
        return text.filter(|text| !text.is_empty());
    }
    if streamed {
        return None;
    }
    let mut json = String::new();
    Node::of(block, limit, cut)?.write(usize::MAX, &mut json);
    Some(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(limit: usize) -> Capture {
        Capture { limit, ..Capture::default() }
    }

    #[test]
    fn what_is_captured() {
        let request =
            r#"{"model":"m","system":[{"type":"text","text":"A"}],"messages":[{"role":"user","content":"hi"}]}"#;
        let reply = br#"{"content":[{"type":"thinking","thinking":"no"},{"type":"text","text":"One"},
            {"type":"tool_use","id":"t","name":"n","input":{"api_key":"ahov29GNUbipw3AHOVcjqx4BI"}},{"type":"text","text":"Two"}]}"#;
        let prompts = Prompts::of(request.as_bytes(), Some(reply), false, limit(1000));
        assert_eq!(prompts.system.as_deref(), Some(r#"[{"type":"text","text":"A"}]"#));
        assert_eq!(prompts.input.as_deref(), Some(r#"[{"role":"user","content":"hi"}]"#));
        let tool = r#"{"type":"tool_use","id":"t","name":"n","input":{"api_key":"***REDACTED***"}}"#;
        assert_eq!(prompts.output, Some(format!("One\n{tool}\nTwo")));
        assert!(!prompts.truncated && prompts.blocks.is_none());
        let wanted = Capture { blocks: true, ..limit(1000) };
        let blocks = Prompts::of(request.as_bytes(), Some(reply), true, wanted).blocks;
        let texts = [r#"{"type":"text","text":"One"}"#, tool, r#"{"type":"text","text":"Two"}"#];
        assert_eq!(blocks, Some(format!("[{}]", texts.join(","))));
        assert_eq!(Prompts::of(request.as_bytes(), Some(reply), true, limit(1000)).output.as_deref(), Some("One\nTwo"));
        let tool_only = br#"{"content":[{"type":"tool_use"}]}"#;
        assert_eq!(Prompts::of(b"{}", Some(tool_only), true, limit(1000)), Prompts::default());
    }

    #[test]
    fn odd_requests_capture_less_and_never_fail() {
        for (request, reply) in [("[]", "{}"), ("{", "x"), (r#"{"system":5,"messages":"text"}"#, r#"{"content":7}"#)] {
            let prompts = Prompts::of(request.as_bytes(), Some(reply.as_bytes()), false, limit(200));
            assert!(prompts.input.is_none() && prompts.output.is_none(), "{request}");
        }
        assert_eq!(Prompts::of(&[0xff], None, false, limit(200)), Prompts::default());
    }
}
