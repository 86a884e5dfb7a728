//! JSON that a gateway damaged on its way, made readable: a paid answer is not thrown away for one bad byte.

use serde_json::value::RawValue;
use std::borrow::Cow;

/// `bytes` as text: without a byte order mark, and with U+FFFD for what is not UTF-8.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    // Nearly all is whole, which this sees word by word and the other one byte by byte.
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// `json` with the control characters inside its strings escaped. `None`: there are none.
pub fn escape_controls(json: &str) -> Option<String> {
    let mut out = String::with_capacity(json.len() + 16);
    let (mut in_string, mut escaped, mut changed) = (false, false, false);
    for c in json.chars() {
        if in_string && c < ' ' {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
            changed = true;
            escaped = false;
            continue;
        }
        match c {
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && c == '\\' && !escaped;
        out.push(c);
    }
    changed.then_some(out)
}

/// The values of a text that holds several, one after the other; none where it is anything else.
pub fn several(json: &str) -> Vec<&RawValue> {
    let values: Result<Vec<&RawValue>, _> = serde_json::Deserializer::from_str(json).into_iter().collect();
    values.ok().filter(|values| values.len() > 1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_is_damaged_changes() {
        for (json, want) in [
            ("{\"a\":\"x\u{1b}[1m\ty\"}", Some("{\"a\":\"x\\u001b[1m\\u0009y\"}")),
            ("{\n\"a\": \"b\\\"\"\t}", None),
            ("{\"a\\\\\":\"\n\"}", Some("{\"a\\\\\":\"\\u000a\"}")),
        ] {
            assert_eq!(escape_controls(json).as_deref(), want, "{json:?}");
        }
        assert_eq!(text(b"\xEF\xBB\xBF{\"a\":\"\xE8\xA1 ok\"}"), "{\"a\":\"\u{fffd} ok\"}");
        assert_eq!(several("{\"a\":1} {\"b\":2}").len(), 2);
        assert!(several("{\"a\":1}").is_empty() && several("{\"a\":1} {").is_empty());
    }

    proptest! {
        #[test]
        fn a_string_with_raw_controls_is_read_as_it_was_meant(value in any::<String>()) {
            let whole = serde_json::to_string(&value).unwrap();
            let raw = whole.replace("\\n", "\n").replace("\\t", "\t");
            prop_assume!(!value.contains('\\'));
            let mended = escape_controls(&raw).unwrap_or(raw);
            prop_assert_eq!(serde_json::from_str::<String>(&mended).unwrap(), value);
        }
    }
}
