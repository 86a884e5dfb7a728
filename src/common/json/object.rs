//! JSON read without changing it and without giving up: objects as ordered lists whose values keep their exact text. What
//! a strict reader refuses (a member twice, half of a surrogate pair, a number beyond every range) is read all the same.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// An object's members in their order, borrowed from the text they were read from.
pub struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// The same, owned. A number stays the digits that the provider wrote.
#[derive(Default)]
pub struct Members(Vec<(String, Box<RawValue>)>);

impl<'a> Object<'a> {
    /// `None`: `json` is not a JSON object.
    pub fn parse(json: &'a str) -> Option<Object<'a>> {
        Object::read(json).ok()
    }

    /// The error says where, and whether it is JSON at all.
    pub fn read(json: &'a str) -> serde_json::Result<Object<'a>> {
        let mut parser = serde_json::Deserializer::from_str(json);
        let mut members = Vec::with_capacity(12);
        walk_members(&mut parser, |key, value| {
            members.push((Quoted::of(key).map(Quoted::text).unwrap_or_default(), value));
        })?;
        parser.end()?;
        Ok(Object(members))
    }

    pub fn of(value: &'a RawValue) -> Option<Object<'a>> {
        Object::parse(value.get())
    }

    /// Of a member named twice, the last one counts.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, value)| *value)
    }

    pub fn get_non_null(&self, name: &str) -> Option<&'a RawValue> {
        self.get(name).filter(|value| !is_null(value))
    }

    pub fn object(&self, name: &str) -> Option<Object<'a>> {
        self.get(name).and_then(Object::of)
    }

    pub fn string(&self, name: &str) -> Option<String> {
        self.get(name).and_then(string)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    pub fn to_members(&self) -> Members {
        Members(self.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

impl Members {
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_ref())
    }

    /// Replaces the member where it stands, or adds it at the end.
    pub fn set(&mut self, name: &str, value: &RawValue) {
        match self.0.iter_mut().rev().find(|(n, _)| n == name) {
            Some((_, former)) => *former = value.to_owned(),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Appends the object to `out`, with the values of `instead` (JSON) in place of its own.
    pub fn write(&self, out: &mut String, instead: &[(&str, String)]) {
        let own = self.0.iter().map(|(name, value)| {
            let other = instead.iter().find(|(n, _)| n == name);
            (name.as_str(), other.map_or(value.get(), |(_, value)| value))
        });
        let added = instead.iter().filter(|(name, _)| self.get(name).is_none());
        out.push('{');
        for (i, (name, value)) in own.chain(added.map(|(name, value)| (*name, value.as_str()))).enumerate() {
            if i > 0 {
                out.push(',');
            }
            out.push_str(&quote(name));
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
    }
}

/// Call `each` with the members of the object that `json` begins with, keys as they are written.
fn walk_members<'a>(
    json: &mut serde_json::Deserializer<serde_json::de::StrRead<'a>>,
    each: impl FnMut(&'a RawValue, &'a RawValue),
) -> serde_json::Result<()> {
    struct Walk<F>(F);
    impl<'de, F: FnMut(&'de RawValue, &'de RawValue)> Visitor<'de> for Walk<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            // A RawValue key borrows, and may hold what is no text.
            while let Some((key, value)) = map.next_entry()? {
                (self.0)(key, value);
            }
            Ok(())
        }
    }
    json.deserialize_map(Walk(each))
}

/// Call `each` with the members of a JSON object as they come, names as they are written. False: it is not an object.
pub fn members<'a>(json: &'a str, each: impl FnMut(&'a RawValue, &'a RawValue)) -> bool {
    walk_members(&mut serde_json::Deserializer::from_str(json), each).is_ok()
}

/// Call `each` with the elements of a JSON array, if it is one.
pub fn elements<'a>(json: &'a str, each: impl FnMut(&'a RawValue)) {
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

/// What stands between the quotes of a valid JSON string.
#[derive(Clone, Copy)]
pub struct Quoted<'a> {
    inner: &'a str,
    escaped: bool,
}

/// Where a JSON string ends.
pub enum StringEnd {
    /// The offset of the closing quote, and whether there are escapes before it.
    Closed { at: usize, escaped: bool },
    /// The text ends first.
    Open,
    /// This is no JSON string, however it goes on.
    Invalid,
}

impl StringEnd {
    /// `bytes` begin after the opening quote.
    pub fn find(bytes: &[u8]) -> StringEnd {
        let (mut at, mut escaped) = (0, false);
        loop {
            match bytes.get(at) {
                None => return StringEnd::Open,
                Some(b'"') => return StringEnd::Closed { at, escaped },
                Some(b'\\') => {
                    escaped = true;
                    match bytes.get(at + 1) {
                        None => return StringEnd::Open,
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                        Some(b'u') => {
                            let digits = &bytes[at + 2..bytes.len().min(at + 6)];
                            if !digits.iter().all(u8::is_ascii_hexdigit) {
                                return StringEnd::Invalid;
                            }
                            at += 6;
                        }
                        Some(_) => return StringEnd::Invalid,
                    }
                }
                Some(..0x20) => return StringEnd::Invalid,
                Some(_) => at += 1,
            }
        }
    }
}

impl<'a> Quoted<'a> {
    /// Reads a string from after its opening quote; gives it and what follows the closing quote.
    pub fn scan(text: &'a str) -> Option<(Quoted<'a>, &'a str)> {
        match StringEnd::find(text.as_bytes()) {
            StringEnd::Closed { at, escaped } => Some((Quoted { inner: &text[..at], escaped }, &text[at + 1..])),
            StringEnd::Open | StringEnd::Invalid => None,
        }
    }

    /// What was read as JSON is known to be whole: nothing is left to check.
    pub fn of(value: &'a RawValue) -> Option<Quoted<'a>> {
        let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
        Some(Quoted { inner, escaped: memchr(b'\\', inner.as_bytes()).is_some() })
    }

    /// What it stands for, borrowed where it is written plainly.
    pub fn text(self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.inner);
        }
        let mut out = String::with_capacity(self.inner.len());
        self.unescape_into(&mut out);
        Cow::Owned(out)
    }

    /// Whether half of a surrogate pair stands in it, which its text has U+FFFD for.
    pub fn is_broken(self) -> bool {
        let mut rest = self.inner;
        while let Some(at) = memchr(b'\\', rest.as_bytes()).filter(|_| self.escaped) {
            let after = &rest.as_bytes()[at + 1..];
            let (_, len) = escape(after);
            if len == 5 && matches!(unit(&after[1..]), 0xD800..0xE000) {
                return true;
            }
            rest = &rest[at + 1 + len..];
        }
        false
    }

    /// How long it is as written.
    pub fn written_len(self) -> usize {
        self.inner.len()
    }

    /// As [`Quoted::unescape_into`], for a piece of a text that may be cut between the halves of a surrogate pair: `half` is
    /// the first half that `out` ends with, as U+FFFD. The first half that it ends with now.
    pub fn unescape_after(mut self, half: Option<u32>, out: &mut String) -> Option<u32> {
        if self.inner.is_empty() {
            return half;
        }
        if !self.escaped {
            out.push_str(self.inner);
            return None;
        }
        if let (Some(high), Some(rest)) = (half, self.inner.strip_prefix("\\u"))
            && let low @ 0xDC00..0xE000 = unit(rest.as_bytes())
            && let Some(c) = char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
        {
            out.pop();
            out.push(c);
            self.inner = rest.get(4..).unwrap_or_default();
        }
        self.unescape_into(out);
        let bytes = self.inner.as_bytes();
        let (before, last) = bytes.split_at_checked(bytes.len().checked_sub(6)?)?;
        let backslashes = before.iter().rev().take_while(|&&byte| byte == b'\\').count();
        let high = last.strip_prefix(b"\\u").map(unit).filter(|high| (0xD800..0xDC00).contains(high));
        high.filter(|_| backslashes % 2 == 0)
    }

    /// Appends what the string stands for. Half of a surrogate pair, which UTF-8 cannot hold, becomes U+FFFD.
    pub fn unescape_into(self, out: &mut String) {
        if !self.escaped {
            return out.push_str(self.inner);
        }
        let mut rest = self.inner;
        while let Some(at) = memchr(b'\\', rest.as_bytes()) {
            out.push_str(&rest[..at]);
            let (c, len) = escape(&rest.as_bytes()[at + 1..]);
            out.push(c);
            rest = &rest[at + 1 + len..];
        }
        out.push_str(rest);
    }
}

/// The character of an escape that has passed [`StringEnd::find`], and how much follows its backslash.
fn escape(after: &[u8]) -> (char, usize) {
    match after.first() {
        Some(b'b') => ('\u{8}', 1),
        Some(b'f') => ('\u{c}', 1),
        Some(b'n') => ('\n', 1),
        Some(b'r') => ('\r', 1),
        Some(b't') => ('\t', 1),
        Some(b'u') => {
            let first = unit(&after[1..]);
            if let (0xD800..0xDC00, Some(b"\\u")) = (first, after.get(5..7)) {
                let second = unit(&after[7..]);
                if let 0xDC00..0xE000 = second {
                    let point = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                    return (char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER), 11);
                }
            }
            (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 5)
        }
        Some(&c) => (char::from(c), 1),
        None => (char::REPLACEMENT_CHARACTER, 0),
    }
}

/// Four hexadecimal digits.
fn unit(digits: &[u8]) -> u32 {
    digits.iter().take(4).fold(0, |unit, &digit| unit << 4 | char::from(digit).to_digit(16).unwrap_or(0))
}

pub fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// `None`: not a string.
pub fn string(value: &RawValue) -> Option<String> {
    text(value).map(Cow::into_owned)
}

/// The same, borrowed where it is written plainly.
pub fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    Quoted::of(value).map(Quoted::text)
}

/// A number that counts something, however a gateway writes it: `1`, `1.0`, `1e2`, `"1"`; a fraction is cut off. `None`:
/// anything else.
pub fn count(value: &RawValue) -> Option<i64> {
    let text = value.get().trim_matches('"').trim();
    let whole = text.parse::<i64>().ok().or_else(|| {
        // Every whole number up to 2^53 is exact as f64.
        text.parse::<f64>().ok().map(f64::trunc).filter(|n| n.abs() <= 9_007_199_254_740_992.0).map(|n| n as i64)
    });
    whole.filter(|n| *n >= 0)
}

/// `text` as a JSON string.
pub fn quote(text: &str) -> String {
    // A string always serialises.
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn strings_are_unescaped() {
        for (json, want) in [
            (r#""""#, ""),
            (r#""plain é 🌍""#, "plain é 🌍"),
            (r#""a\"b\\c\/d\b\f\n\r\te""#, "a\"b\\c/d\u{8}\u{c}\n\r\te"),
            (r#""\u00e9\u0000\uFFFF""#, "é\0\u{ffff}"),
            (r#""\ud83c\udf0d!""#, "🌍!"),
            (r#""x\ud83c""#, "x\u{fffd}"),
            (r#""\udf0dy""#, "\u{fffd}y"),
            (r#""\ud83c\u0041""#, "\u{fffd}A"),
            (r#""\ud83c\n""#, "\u{fffd}\n"),
            (r#""\ud83c\ud83c\udf0d""#, "\u{fffd}🌍"),
            (r#""\udc00\ud83d\ude00\uD800""#, "\u{FFFD}😀\u{FFFD}"),
            (r#""\\ud800 \ud800\\""#, "\\ud800 \u{FFFD}\\"),
        ] {
            assert_eq!(string(&raw(json)).as_deref(), Some(want), "{json}");
            assert_eq!(
                Quoted::of(&raw(json)).unwrap().is_broken(),
                want.contains(char::REPLACEMENT_CHARACTER),
                "{json}"
            );
        }
        for json in ["1", "null", "[]", "{}", "true"] {
            assert_eq!(string(&raw(json)), None, "{json}");
        }
    }

    #[test]
    fn a_pair_cut_between_two_pieces_is_one_character() {
        for (pieces, want) in [
            (&[r#""a\ud83c""#, r#""\udf0db""#][..], "a🌍b"),
            (&[r#""\ud83c""#, r#""""#, r#""\udf0d\ud83c""#, r#""\udf0d""#], "🌍🌍"),
            (&[r#""\ud83c""#, r#""x""#, r#""\udf0d""#], "\u{fffd}x\u{fffd}"),
            (&[r#""\\ud83c""#, r#""\udf0d""#], "\\ud83c\u{fffd}"),
            (&[r#""\ud83c""#, r#""\n""#], "\u{fffd}\n"),
        ] {
            let (mut out, mut half) = (String::new(), None);
            for piece in pieces {
                half = Quoted::of(&raw(piece)).unwrap().unescape_after(half, &mut out);
            }
            assert_eq!(out, want, "{pieces:?}");
        }
    }

    #[test]
    fn a_string_that_is_none_is_not_scanned() {
        for text in ["", "open", r"open\", r"open\u00", "ctrl\u{1}\"", r#"\x""#, r#"\u00g0""#, "tab\t\""] {
            assert!(Quoted::scan(text).is_none(), "{text:?}");
        }
        let (quoted, rest) = Quoted::scan(r#"a\"b" ,1"#).unwrap();
        assert_eq!((quoted.inner, quoted.escaped, rest), (r#"a\"b"#, true, " ,1"));
    }

    #[test]
    fn quoted_text_comes_back() {
        for text in ["", "a\"b\\", "\0\u{1f}\u{7f}\u{2028}", "🌍\n"] {
            assert_eq!(string(&raw(&quote(text))).as_deref(), Some(text));
        }
    }

    #[test]
    fn counts() {
        for (json, want) in [
            ("0", Some(0)),
            ("12", Some(12)),
            ("9223372036854775807", Some(i64::MAX)),
            ("1.0", Some(1)),
            ("1e2", Some(100)),
            ("640.8", Some(640)),
            ("140.0", Some(140)),
            ("-1", None),
            ("1e300", None),
            ("12345678901234567890", None),
            ("\"3\"", Some(3)),
            ("\"many\"", None),
            ("\"nan\"", None),
            ("null", None),
        ] {
            assert_eq!(count(&raw(json)), want, "{json}");
        }
    }

    #[test]
    fn members_come_in_order_with_repeats_and_odd_keys() {
        let mut seen = Vec::new();
        let object = r#"{"a":1,"a":1e999,"\ud800":{"deep":[]}}"#;
        assert!(members(object, |key, value| seen.push((key.get(), value.get()))));
        assert_eq!(seen, [(r#""a""#, "1"), (r#""a""#, "1e999"), (r#""\ud800""#, r#"{"deep":[]}"#)]);
        assert_eq!(Object::parse(object).unwrap().get("\u{fffd}").unwrap().get(), r#"{"deep":[]}"#);
        for other in ["[1]", "null", "\"text\"", ""] {
            assert!(!members(other, |_, _| panic!("{other} has no members")), "{other}");
        }
    }

    #[test]
    fn members_keep_order_and_text() {
        let object = Object::parse(r#" {"b":1.0,"a" : {"x": 1e2} ,"n\u0061":null,"b":2} "#).unwrap();
        assert_eq!(object.get("b").unwrap().get(), "2");
        assert!(object.get("na").is_some() && object.get_non_null("na").is_none() && object.get("c").is_none());
        let mut members = object.to_members();
        members.set("a", &raw("[ 12345678901234567890 ]"));
        members.set("c", &raw("true"));
        let mut out = String::new();
        members.write(&mut out, &[("na", "\"x\"".into()), ("d", "{}".into())]);
        assert_eq!(out, r#"{"b":1.0,"a":[ 12345678901234567890 ],"na":"x","b":2,"c":true,"d":{}}"#);
        for text in ["", "[]", "1", "{", "{} x", "{\"a\":}", "null"] {
            assert!(Object::parse(text).is_none(), "{text}");
        }
    }
}
