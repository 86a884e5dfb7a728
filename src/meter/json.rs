//! Reading JSON a member at a time, without trees and without giving up: a request or its metadata may hold
//! what a strict reader refuses (a member twice, half a surrogate pair, a number beyond every range).

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Call `each` with the members of a JSON object, keys as they are written. False: it is not an object.
pub(super) fn members<'a>(json: &'a str, each: impl FnMut(&'a RawValue, &'a RawValue)) -> bool {
    struct Walk<F>(F);
    impl<'de, F: FnMut(&'de RawValue, &'de RawValue)> Visitor<'de> for Walk<F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((key, value)) = map.next_entry()? {
                (self.0)(key, value);
            }
            Ok(())
        }
    }
    serde_json::Deserializer::from_str(json).deserialize_map(Walk(each)).is_ok()
}

/// Call `each` with the elements of a JSON array, if it is one.
pub(super) fn elements<'a>(json: &'a str, each: impl FnMut(&'a RawValue)) {
    struct Walk<F>(F);
    impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for Walk<F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
            while let Some(element) = seq.next_element()? {
                (self.0)(element);
            }
            Ok(())
        }
    }
    // Not an array has no elements; an array that breaks off cannot come, the text was checked before.
    let _ = serde_json::Deserializer::from_str(json).deserialize_seq(Walk(each));
}

/// A JSON string's text.
pub(super) struct Text<'a> {
    pub text: Cow<'a, str>,
    /// Half a surrogate pair was replaced by U+FFFD.
    pub mended: bool,
}

/// The text of a JSON string; `None` for every other value.
pub(super) fn text(raw: &RawValue) -> Option<Text<'_>> {
    let raw = raw.get();
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inside.contains('\\') {
        return Some(Text { text: inside.into(), mended: false });
    }
    match serde_json::from_str::<String>(raw) {
        Ok(text) => Some(Text { text: text.into(), mended: false }),
        Err(_) => Some(Text { text: serde_json::from_str::<String>(&mend(raw)).ok()?.into(), mended: true }),
    }
}

/// Replace the escapes of half surrogate pairs by that of U+FFFD.
fn mend(raw: &str) -> String {
    let unit = |at: &str| u16::from_str_radix(at.strip_prefix("\\u")?.get(..4)?, 16).ok();
    let mut mended = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        mended.push_str(&rest[..at]);
        rest = &rest[at..];
        let (kept, length) = match unit(rest) {
            None => (true, 2),
            Some(0xD800..=0xDBFF) if matches!(unit(&rest[6..]), Some(0xDC00..=0xDFFF)) => (true, 12),
            Some(0xD800..=0xDFFF) => (false, 6),
            Some(_) => (true, 6),
        };
        let Some((escape, after)) = rest.split_at_checked(length) else { break };
        mended.push_str(if kept { escape } else { "\\ufffd" });
        rest = after;
    }
    mended.push_str(rest);
    mended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_decoded_whatever_they_hold() {
        for (json, expected, mended) in [
            (r#""plain ü""#, Some("plain ü"), false),
            (r#""a\n\"\\\u0041""#, Some("a\n\"\\A"), false),
            (r#""\ud83d\ude00""#, Some("😀"), false),
            (r#""x\ud800y""#, Some("x\u{FFFD}y"), true),
            (r#""\udc00\ud83d\ude00\uD800""#, Some("\u{FFFD}😀\u{FFFD}"), true),
            (r#""\ud800\ud800\udc00""#, Some("\u{FFFD}\u{10000}"), true),
            (r#""\\ud800 \ud800\\""#, Some("\\ud800 \u{FFFD}\\"), true),
            ("12", None, false),
            ("{}", None, false),
        ] {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            let read = text(raw);
            assert_eq!(read.as_ref().map(|text| &*text.text), expected, "{json}");
            assert_eq!(read.is_some_and(|text| text.mended), mended, "{json}");
        }
    }

    #[test]
    fn members_come_in_order_with_repeats_and_odd_keys() {
        let mut seen = Vec::new();
        let object = r#"{"a":1,"a":1e999,"\ud800":{"deep":[]}}"#;
        assert!(members(object, |key, value| seen.push((key.get(), value.get()))));
        assert_eq!(seen, [(r#""a""#, "1"), (r#""a""#, "1e999"), (r#""\ud800""#, r#"{"deep":[]}"#)]);
        for other in ["[1]", "null", "\"text\"", ""] {
            assert!(!members(other, |_, _| panic!("{other} has no members")), "{other}");
        }
    }
}
