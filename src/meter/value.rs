//! A value that a user tells: how it is given, and what becomes of it.

use crate::common::json::object::Quoted;
use serde_json::Number;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;

/// A value as somebody gave it.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    Json(&'a RawValue),
    /// From outside of JSON, where every value is text.
    Plain(&'a str),
}

enum Scalar<'a> {
    Null,
    Text {
        text: Cow<'a, str>,
        /// Half of a surrogate pair was replaced by U+FFFD.
        mended: bool,
    },
    Number(&'a str),
    Other,
}

impl<'a> Input<'a> {
    fn scalar(self) -> Scalar<'a> {
        match self {
            Input::Plain(text) => Scalar::Text { text: text.trim().into(), mended: false },
            Input::Json(raw) => match raw.get().as_bytes().first() {
                Some(b'n') => Scalar::Null,
                Some(b'"') => Quoted::of(raw)
                    .map_or(Scalar::Other, |quoted| Scalar::Text { text: quoted.text(), mended: quoted.is_broken() }),
                Some(b'-' | b'0'..=b'9') => Scalar::Number(raw.get()),
                _ => Scalar::Other,
            },
        }
    }
}

/// What became of a value. The words are for a warning: they never hold the value itself.
pub(super) enum Parsed<T> {
    /// Null or blank, which says nothing.
    Unset,
    Set(T),
    /// Set, and worth a warning.
    Warned(T, &'static str),
    Rejected(&'static str),
}

impl<T> Parsed<T> {
    pub fn map<U>(self, other: impl FnOnce(T) -> U) -> Parsed<U> {
        match self {
            Parsed::Unset => Parsed::Unset,
            Parsed::Set(value) => Parsed::Set(other(value)),
            Parsed::Warned(value, note) => Parsed::Warned(other(value), note),
            Parsed::Rejected(note) => Parsed::Rejected(note),
        }
    }

    /// With a note, where `note` has one.
    pub fn noting(self, note: impl FnOnce(&T) -> Option<&'static str>) -> Parsed<T> {
        match self {
            Parsed::Set(value) => match note(&value) {
                Some(note) => Parsed::Warned(value, note),
                None => Parsed::Set(value),
            },
            other => other,
        }
    }
}

const NOT_TEXT: &str = "is not text";
const NOT_A_NUMBER: &str = "is not a number in its range";
pub(super) const MALFORMED: &str = "is malformed";

/// Text trimmed and cut at `limit` characters.
pub(super) fn text(given: Input<'_>, limit: usize) -> Parsed<Arc<str>> {
    let (text, mended) = match given.scalar() {
        Scalar::Null => return Parsed::Unset,
        Scalar::Text { text, mended } => (text, mended),
        Scalar::Number(digits) => (digits.into(), false),
        Scalar::Other => return Parsed::Rejected(NOT_TEXT),
    };
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Parsed::Unset;
    }
    let cut = cut(trimmed, limit).trim_end();
    let value = cut.into();
    if cut.len() < trimmed.len() {
        Parsed::Warned(value, "is too long and was cut")
    } else if mended {
        Parsed::Warned(value, "held half a character, which was replaced")
    } else {
        Parsed::Set(value)
    }
}

/// At most `limit` characters of `text`.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    match text.len() > limit {
        true => text.char_indices().nth(limit).map_or(text, |(end, _)| &text[..end]),
        false => text,
    }
}

/// Text that goes out only whole and as it is, a line break at its end included.
pub(super) fn matching(given: Input<'_>, matches: impl FnOnce(&str) -> bool) -> Parsed<Arc<str>> {
    let text: Cow<str> = match given.scalar() {
        Scalar::Null => return Parsed::Unset,
        Scalar::Text { text, .. } => text,
        Scalar::Number(digits) => digits.into(),
        Scalar::Other => return Parsed::Rejected(NOT_TEXT),
    };
    if text.trim().is_empty() {
        Parsed::Unset
    } else if matches(&text) {
        Parsed::Set(text.into())
    } else {
        Parsed::Rejected(MALFORMED)
    }
}

/// What `value` makes of a number; `None`: it is not in range.
pub(super) fn number<T>(given: Input<'_>, value: impl FnOnce(Number) -> Option<T>) -> Parsed<T> {
    let read = match given.scalar() {
        Scalar::Null => return Parsed::Unset,
        Scalar::Text { text, .. } if text.trim().is_empty() => return Parsed::Unset,
        Scalar::Text { text, .. } => numeral(text.trim()),
        Scalar::Number(digits) => numeral(digits),
        Scalar::Other => None,
    };
    read.and_then(value).map_or(Parsed::Rejected(NOT_A_NUMBER), Parsed::Set)
}

/// A finite number, in JSON's way of writing or with a sign or a point where JSON has none.
fn numeral(text: &str) -> Option<Number> {
    serde_json::from_str(text).ok().or_else(|| Number::from_f64(text.parse().ok()?))
}

/// Whether `name` is the camelCase name `wire`, or the same in snake_case.
pub(super) fn is_spelled(name: &str, wire: &str) -> bool {
    if name == wire {
        return true;
    }
    let mut given = name.bytes();
    let same = wire.bytes().all(|expected| match expected.is_ascii_uppercase() {
        true => given.next() == Some(b'_') && given.next() == Some(expected.to_ascii_lowercase()),
        false => given.next() == Some(expected),
    });
    same && given.next().is_none()
}
