//! JSON that breaks off: keep what is certainly complete.

use serde::de::IgnoredAny;

use crate::common::json::object::StringEnd;

/// Makes whole JSON of the begin of one: drops a string, number, key or literal that is cut, and closes what is open.
/// Empty when nothing is certain yet. `None`: this is not the begin of any JSON.
pub(super) fn repair(text: &str) -> Option<String> {
    // How to close what is open.
    let mut open: Vec<u8> = Vec::new();
    let mut next = Next::Value;
    let mut at = 0;
    // Up to here all is certain. Opening and closing move it, so `open` always fits.
    let mut certain = 0;
    while let Some(&byte) = text.as_bytes().get(at) {
        let rest = &text[at..];
        let (then, token) = match (next, byte) {
            (_, b' ' | b'\n' | b'\r' | b'\t') => (next, Token::Whole(1)),
            (Next::Value | Next::FirstValue, b'{') => {
                open.push(b'}');
                (Next::FirstKey, Token::Whole(1))
            }
            (Next::Value | Next::FirstValue, b'[') => {
                open.push(b']');
                (Next::FirstValue, Token::Whole(1))
            }
            (Next::FirstKey | Next::FirstValue | Next::After, b'}' | b']') if open.last() == Some(&byte) => {
                open.pop();
                (Next::After, Token::Whole(1))
            }
            (Next::After, b',') => match open.last()? {
                b'}' => (Next::Key, Token::Whole(1)),
                _ => (Next::Value, Token::Whole(1)),
            },
            (Next::Key | Next::FirstKey, b'"') => (Next::Colon, string(rest)),
            (Next::Colon, b':') => (Next::Value, Token::Whole(1)),
            (Next::Value | Next::FirstValue, _) => (Next::After, scalar(byte, rest)),
            _ => return None,
        };
        match token {
            Token::Whole(len) => at += len,
            Token::Cut => break,
            Token::Invalid => return None,
        }
        next = then;
        if matches!(next, Next::FirstKey | Next::FirstValue | Next::After) {
            certain = at;
        }
    }
    let mut whole = text[..certain].to_owned();
    whole.extend(open.iter().rev().map(|&close| char::from(close)));
    Some(whole)
}

/// What may come next.
#[derive(Clone, Copy)]
enum Next {
    Value,
    /// Or the end of the list.
    FirstValue,
    Key,
    /// Or the end of the object.
    FirstKey,
    Colon,
    /// A comma or an end.
    After,
}

enum Token {
    /// So many bytes.
    Whole(usize),
    /// The text ends before it does.
    Cut,
    Invalid,
}

fn scalar(first: u8, text: &str) -> Token {
    match first {
        b'"' => string(text),
        b'-' | b'0'..=b'9' => number(text),
        b't' => literal(text, "true"),
        b'f' => literal(text, "false"),
        b'n' => literal(text, "null"),
        _ => Token::Invalid,
    }
}

fn string(text: &str) -> Token {
    match StringEnd::find(&text.as_bytes()[1..]) {
        StringEnd::Closed { at, .. } => Token::Whole(at + 2),
        StringEnd::Open => Token::Cut,
        StringEnd::Invalid => Token::Invalid,
    }
}

/// A number at the end of the text may have more digits: only what follows a number makes it whole.
fn number(text: &str) -> Token {
    let is_number = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    match text.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')) {
        Some(len) if is_number(&text[..len]) => Token::Whole(len),
        None if is_number(text) || is_number(&format!("{text}0")) => Token::Cut,
        _ => Token::Invalid,
    }
}

fn literal(text: &str, literal: &str) -> Token {
    if text.starts_with(literal) {
        Token::Whole(literal.len())
    } else if literal.starts_with(text) {
        Token::Cut
    } else {
        Token::Invalid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cut_json_is_closed() {
        for (text, want) in [
            ("", ""),
            (" \n", ""),
            ("{ ", "{ }"),
            ("{", "{}"),
            (r#"{"a"#, "{}"),
            (r#"{"a""#, "{}"),
            (r#"{"a":"#, "{}"),
            (r#"{"a": "long str"#, "{}"),
            (r#"{"a": "x\"#, "{}"),
            (r#"{"a": "x\u12"#, "{}"),
            (r#"{"a": "x", "#, r#"{"a": "x"}"#),
            (r#"{"a":"\ud83c\udf0d","b":"\ud83c"#, r#"{"a":"\ud83c\udf0d"}"#),
            (r#"{"a":1,"b":[1,2"#, r#"{"a":1,"b":[1]}"#),
            (r#"{"a":1,"b":[1,2 "#, r#"{"a":1,"b":[1,2 ]}"#),
            (
                r#"{"a":1.0,"b":[ {"c":12345678901234567890}, [1e2,"#,
                r#"{"a":1.0,"b":[ {"c":12345678901234567890}, [1e2]]}"#,
            ),
            (r#"{"a":-"#, "{}"),
            (r#"{"a":1."#, "{}"),
            (r#"{"a":1e+"#, "{}"),
            (r#"{"a":[tru"#, r#"{"a":[]}"#),
            (r#"{"a":[true"#, r#"{"a":[true]}"#),
            (r#"{"a":null,"b":fals"#, r#"{"a":null}"#),
            (r#"[{},[],"{[""#, r#"[{},[],"{["]"#),
            (r#"{"a":{"b":{}}"#, r#"{"a":{"b":{}}}"#),
            (r#""top"#, ""),
            ("12", ""),
            (r#"{"a":1} "#, r#"{"a":1} "#),
        ] {
            assert_eq!(repair(text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn what_can_never_be_json() {
        for text in [
            r#"{"a": tru,}"#,
            r#"{"a": trux"#,
            r#"{"a":1,}"#,
            "[1,]",
            "[,",
            "{,",
            "{1",
            "[1}",
            r#"{"a"}"#,
            r#"{"a" 1"#,
            r#"{"a":}"#,
            r#"{"a":1 "b""#,
            "[01",
            "[1.2.3",
            "[--",
            "[+1",
            r#"["\x"#,
            r#"["\u12g"#,
            "[\"\n",
            "{} x",
            "]",
            "x",
            "é",
        ] {
            assert_eq!(repair(text), None, "{text}");
        }
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
            any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            let member = (any::<String>(), inner.clone())
                .prop_map(|(name, value)| format!("{} :{value}", serde_json::to_string(&name).unwrap()));
            prop_oneof![
                prop::collection::vec(inner, 0..5).prop_map(|list| format!("[{}]", list.join(", "))),
                prop::collection::vec(member, 0..5).prop_map(|list| format!("{{{}}}", list.join(","))),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_begin_of_json_is_repaired(json in json()) {
            for (cut, _) in json.char_indices() {
                let repaired = repair(&json[..cut]);
                prop_assert!(repaired.is_some(), "{}", &json[..cut]);
                let repaired = repaired.unwrap();
                prop_assert!(repaired.is_empty() || serde_json::from_str::<IgnoredAny>(&repaired).is_ok(), "{}", repaired);
            }
        }

        #[test]
        fn what_is_not_repaired_has_no_json_in_it(text in "[\\[\\]{}:,\"a1\\-.etrufalsn \\\\]{0,12}") {
            match repair(&text) {
                Some(json) => prop_assert!(json.is_empty() || serde_json::from_str::<IgnoredAny>(&json).is_ok(), "{}", json),
                None => prop_assert!(serde_json::from_str::<IgnoredAny>(&text).is_err(), "{}", text),
            }
        }
    }
}
