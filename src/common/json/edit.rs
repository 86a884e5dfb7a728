//! JSON objects changed by cutting and adding members: what stays keeps its bytes, numbers their digits.

use super::object::Object;
use crate::common::error::{Code, Error, Result};
use bytes::Bytes;
use serde_json::value::RawValue;
use std::ops::Range;

/// The object that a request must be.
pub fn object_of_request(text: &str) -> Result<Object<'_>> {
    Object::read(text).map_err(|fault| {
        let place = format!("line {}, column {}", fault.line(), fault.column());
        let what = if fault.is_data() { "The request must be a JSON object" } else { "The request is not valid JSON" };
        Error::new(Code::Json, format!("{what} ({place})."))
    })
}

/// The object without the members that `remove` picks and with those of `append` (name and JSON) at its end; untouched
/// where nothing is to change.
pub fn spliced(
    text: &str,
    members: &Object<'_>,
    remove: impl Fn(&str, &RawValue) -> bool,
    append: &[(&str, &str)],
) -> Bytes {
    if append.is_empty() && !members.iter().any(|(name, value)| remove(name, value)) {
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
    for (name, value) in members.iter() {
        let end = span(text, value).end;
        let kept = &text[start..end];
        start = end;
        if !remove(name, value) {
            comma(&mut out);
            out.extend_from_slice(kept.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace()).as_bytes());
        }
    }
    for (name, json) in append {
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
