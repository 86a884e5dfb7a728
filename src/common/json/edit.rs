//! JSON objects changed by cutting and adding members: what stays keeps its bytes, numbers their digits.

use crate::common::error::{Code, Error, Result};
use bytes::Bytes;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

pub struct Member<'a> {
    pub name: Cow<'a, str>,
    pub value: &'a RawValue,
}

/// The members of the object that `text` is, in order.
pub fn members(text: &str) -> Result<Vec<Member<'_>>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<Member<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
            let mut members = Vec::with_capacity(12);
            // A RawValue key borrows; a String would not, and Cow copies without `borrow`.
            while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                members.push(Member { name: unquoted(name.get()), value });
            }
            Ok(members)
        }
    }
    let mut parser = serde_json::Deserializer::from_str(text);
    let members = parser.deserialize_map(Members).and_then(|members| parser.end().map(|()| members));
    members.map_err(|fault| {
        let place = format!("line {}, column {}", fault.line(), fault.column());
        let what = if fault.is_data() { "The request must be a JSON object" } else { "The request is not valid JSON" };
        Error::new(Code::Json, format!("{what} ({place})."))
    })
}

/// A JSON string's text. Invalid escapes cannot match a name of ours, so they may stay as they are.
fn unquoted(raw: &str) -> Cow<'_, str> {
    if raw.contains('\\') {
        return Cow::Owned(serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned()));
    }
    Cow::Borrowed(raw.trim_matches('"'))
}

/// The member of that name that counts: the last one.
pub fn find<'a>(members: &[Member<'a>], name: &str) -> Option<&'a RawValue> {
    members.iter().rev().find(|member| member.name == name).map(|member| member.value)
}

/// The object without the members that `goes` picks and with those of `comes` (name and JSON) at its end; untouched
/// where nothing is to change.
pub fn spliced(
    text: &str,
    members: &[Member<'_>],
    goes: impl Fn(&Member<'_>) -> bool,
    comes: &[(&str, &str)],
) -> Bytes {
    if comes.is_empty() && !members.iter().any(&goes) {
        return Bytes::copy_from_slice(text.as_bytes());
    }
    let mut out = Vec::with_capacity(text.len() + 64);
    out.push(b'{');
    let mut start = text.find('{').map_or(0, |at| at + 1);
    let comma = |out: &mut Vec<u8>| {
        if out.len() > 1 {
            out.push(b',');
        }
    };
    for member in members {
        let value = span(text, member.value);
        let kept = &text[start..value.end];
        start = value.end;
        if !goes(member) {
            comma(&mut out);
            out.extend_from_slice(kept.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace()).as_bytes());
        }
    }
    for (name, json) in comes {
        comma(&mut out);
        out.extend_from_slice(format!("\"{name}\":{json}").as_bytes());
    }
    out.push(b'}');
    Bytes::from(out)
}

/// Where `value`, a slice of `text`, lies in it.
fn span(text: &str, value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr() as usize - text.as_ptr() as usize;
    start..start + value.get().len()
}
