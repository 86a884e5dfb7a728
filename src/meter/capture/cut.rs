//! JSON that is made to fit: strings are cut before anything is left out, and what remains is JSON.

use super::mask::{least_of_label, mask, masked_by_label};
use crate::common::json::object as json;
use serde_json::value::RawValue;

pub const MARKER: &str = "...[TRUNCATED]";
/// Text beyond the limit and this is not looked at: a secret that begins before the limit is known by so much.
const MARGIN: usize = 8192;
/// Strings are not cut shorter; whole messages go instead.
const SHORTEST: usize = 40;
/// JSON is read so deep.
const MAX_DEPTH: usize = 32;

/// A text without secrets, cut to `limit` characters; whether it was cut.
pub fn text(text: &str, limit: usize) -> (String, bool) {
    let (masked, cut) = masked(text, limit);
    shortened(masked, limit, cut)
}

/// A text without secrets, maybe without its end.
fn masked(text: &str, limit: usize) -> (String, bool) {
    match text.char_indices().nth(limit + MARGIN) {
        Some((end, _)) => (mask(&text[..end]).into_owned(), true),
        None => (mask(text).into_owned(), false),
    }
}

fn shortened(text: String, limit: usize, is_cut: bool) -> (String, bool) {
    if !is_cut && text.char_indices().nth(limit).is_none() {
        return (text, false);
    }
    let kept: String = text.chars().take(limit.saturating_sub(MARKER.len())).collect();
    (kept + MARKER, true)
}

/// JSON as it was given, its strings masked, what is no text for people left out.
pub enum Node<'a> {
    /// A number, true, false or null.
    Raw(&'a str),
    Text(String),
    List(Vec<Node<'a>>),
    /// The names as they are written, with their quotes.
    Object(Vec<(&'a str, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// `None`: a block that is not captured. Sets `cut` where a text was longer than `limit`.
    pub fn of(value: &'a RawValue, limit: usize, cut: &mut bool) -> Option<Node<'a>> {
        Node::within(value, limit, cut, None, 0)
    }

    fn within(
        value: &'a RawValue,
        limit: usize,
        cut: &mut bool,
        least: Option<usize>,
        depth: usize,
    ) -> Option<Node<'a>> {
        if depth > MAX_DEPTH {
            *cut = true;
            return Some(Node::Raw("null"));
        }
        let raw = value.get();
        Some(match raw.as_bytes().first() {
            Some(b'{') => {
                let (mut members, mut kind, mut data) = (Vec::new(), None, None);
                json::members(raw, |name, value| {
                    match name.get() {
                        r#""type""# => kind = json::string(value),
                        r#""data""# => data = Some((members.len(), value.get().len().saturating_sub(2))),
                        _ => {}
                    }
                    members.push((name.get(), value));
                });
                if matches!(kind.as_deref(), Some("thinking" | "redacted_thinking")) {
                    return None;
                }
                // Images and documents: nobody reads them here.
                let data = data.filter(|_| kind.as_deref() == Some("base64"));
                let member = |(at, (name, value)): (usize, (&'a str, &'a RawValue))| match data {
                    Some((place, length)) if place == at => {
                        Some((name, Node::Text(format!("[base64 data, {length} characters]"))))
                    }
                    _ => {
                        let least = least_of_label(name.trim_matches('"'));
                        Node::within(value, limit, cut, least, depth + 1).map(|node| (name, node))
                    }
                };
                Node::Object(members.into_iter().enumerate().filter_map(member).collect())
            }
            Some(b'[') => {
                let mut nodes = Vec::new();
                json::elements(raw, |value| nodes.extend(Node::within(value, limit, cut, least, depth + 1)));
                Node::List(nodes)
            }
            Some(b'"') => {
                let given = json::text(value)?;
                if let Some(masked) = masked_by_label(least, &given) {
                    return Some(Node::Text(masked.into()));
                }
                let (text, is_cut) = masked(&given, limit);
                let (text, is_cut) = if is_cut { shortened(text, limit, true) } else { (text, false) };
                *cut |= is_cut;
                Node::Text(text)
            }
            _ => Node::Raw(raw),
        })
    }

    /// The JSON, with no string of more than `longest` characters.
    pub fn write(&self, longest: usize, out: &mut String) {
        match self {
            Node::Raw(raw) => out.push_str(raw),
            Node::Text(text) => {
                let end = text.char_indices().nth(longest).map(|_| longest.saturating_sub(MARKER.len()));
                let kept = match end.and_then(|end| text.char_indices().nth(end)) {
                    Some((end, _)) => format!("{}{MARKER}", &text[..end]),
                    None => return out.push_str(&serde_json::to_string(text).unwrap_or_default()),
                };
                out.push_str(&serde_json::to_string(&kept).unwrap_or_default());
            }
            Node::List(nodes) => {
                out.push('[');
                for (at, node) in nodes.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    node.write(longest, out);
                }
                out.push(']');
            }
            Node::Object(members) => {
                out.push('{');
                for (at, (name, node)) in members.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    out.push_str(name);
                    out.push(':');
                    node.write(longest, out);
                }
                out.push('}');
            }
        }
    }

    /// How many characters [`Node::write`] writes.
    fn length(&self, longest: usize) -> usize {
        match self {
            Node::Raw(raw) => raw.len(),
            Node::Text(text) => {
                let is_cut = text.len() > longest && text.char_indices().nth(longest).is_some();
                let (kept, marker) =
                    if is_cut { (longest.saturating_sub(MARKER.len()), MARKER.len()) } else { (usize::MAX, 0) };
                2 + marker + text.chars().take(kept).map(escaped_length).sum::<usize>()
            }
            Node::List(nodes) => 1 + nodes.len().max(1) + nodes.iter().map(|node| node.length(longest)).sum::<usize>(),
            Node::Object(members) => {
                let of = |(name, node): &(&str, Node<'_>)| name.chars().count() + 1 + node.length(longest);
                1 + members.len().max(1) + members.iter().map(of).sum::<usize>()
            }
        }
    }
}

/// As serde_json escapes.
fn escaped_length(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => 1,
    }
}

/// A JSON array of these in at most `limit` characters; whether anything is missing. The longest strings are cut first,
/// then the first elements go.
pub fn array(mut nodes: Vec<Node<'_>>, limit: usize) -> (String, bool) {
    let whole = |nodes: &[Node<'_>], longest: usize| {
        1 + nodes.len().max(1) + nodes.iter().map(|node| node.length(longest)).sum::<usize>()
    };
    let (mut longest, mut cut) = (usize::MAX, false);
    if whole(&nodes, longest) > limit {
        cut = true;
        let mut left = whole(&nodes, SHORTEST);
        let mut gone = 0;
        while left > limit && gone < nodes.len() {
            left = left.saturating_sub(nodes[gone].length(SHORTEST) + 1);
            gone += 1;
        }
        nodes.drain(..gone);
        // The most that fits.
        let (mut fits, mut too_long) = (SHORTEST, limit + 1);
        while too_long - fits > 1 {
            let middle = fits + (too_long - fits) / 2;
            match whole(&nodes, middle) <= limit {
                true => fits = middle,
                false => too_long = middle,
            }
        }
        longest = fits;
    }
    let mut out = String::new();
    Node::List(nodes).write(longest, &mut out);
    (out, cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn array_of(json: &str, limit: usize) -> (String, bool) {
        let mut cut = false;
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let Some(Node::List(nodes)) = Node::of(raw, limit, &mut cut) else { panic!("{json}") };
        let (text, is_cut) = array(nodes, limit);
        (text, cut || is_cut)
    }

    #[test]
    fn text_is_cut_to_fit_exactly() {
        assert_eq!(text(&"é".repeat(200), 200), ("é".repeat(200), false));
        let (cut, is_cut) = text(&"é".repeat(201), 200);
        assert_eq!((cut.chars().count(), is_cut), (200, true));
        assert!(cut.ends_with(MARKER));
        // A secret across the limit is masked before anything is cut.
        let (cut, _) = text(&format!("{} sk-ant-{}", "x".repeat(180), "A1".repeat(5000)), 200);
        assert!(!cut.contains("A1A1"), "{cut}");
    }

    #[test]
    fn what_fits_stays_as_it_was() {
        let json = r#"[{"role":"user","content":"é\n"},{"n":1.50,"x":[true,null,{}],"y":[]}]"#;
        assert_eq!(array_of(json, 200), (json.into(), false));
    }

    #[test]
    fn the_longest_strings_are_cut_first_and_the_first_messages_go_last() {
        let message = |text: &str| format!(r#"{{"role":"user","content":"{text}"}}"#);
        let json = format!("[{},{}]", message(&"a".repeat(900)), message("short"));
        let (fitted, cut) = array_of(&json, 300);
        assert!(cut && fitted.len() == 300 && fitted.contains("short") && fitted.contains(MARKER), "{fitted}");
        let many: Vec<_> = (0..31).map(|n| message(&format!("{n} {}", "b".repeat(100)))).collect();
        let (fitted, cut) = array_of(&format!("[{}]", many.join(",")), 400);
        assert!(cut && fitted.len() <= 400 && fitted.contains("\"30 ") && !fitted.contains("\"0 "), "{fitted}");
        assert_eq!(array_of(&format!("[[{}1]]", "1,".repeat(500)), 200), ("[]".into(), true));
    }

    #[test]
    fn data_and_thinking_are_left_out() {
        let json = r#"[{"content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},
            {"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"t"}]}]"#;
        let (text, cut) = array_of(json, 1000);
        assert!(text.contains("[base64 data, 4 characters]") && !text.contains("hm") && !cut, "{text}");
    }

    proptest! {
        #[test]
        fn whatever_is_given_fits_and_is_json(texts in prop::collection::vec(any::<String>(), 0..30), limit in 200..2000usize) {
            let json = serde_json::to_string(&texts.iter().map(|text| serde_json::json!({"role": "user", "content": [text]})).collect::<Vec<_>>()).unwrap();
            let (fitted, cut) = array_of(&json, limit);
            prop_assert!(fitted.chars().count() <= limit);
            prop_assert!(serde_json::from_str::<Vec<serde_json::Value>>(&fitted).is_ok());
            prop_assert!(cut || json.chars().count() <= limit || fitted != json);
        }
    }
}
