//! Secrets out of captured text: what identifies a key stays, the rest of it goes.
//!
//! All patterns run in linear time, whatever the text (the `regex` crate has no others). A shape counts where a run of
//! letters and digits begins: inside a longer word it is something else.

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use memchr::memmem;
use regex::Regex;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::LazyLock;

const REDACTED: &str = "***REDACTED***";
const REDACTED_JWT: &str = "***REDACTED_JWT***";

/// JSON inside the text of JSON is read so deep.
const MAX_NESTED: usize = 4;

/// Prefixes that announce a key, how many characters must follow, and of which. Longest first where one begins another.
const KEYS: &[(&str, usize, &str)] = &[
    ("sk-ant-", 20, WORD),
    ("sk-proj-", 48, WORD),
    ("sk-", 20, WORD),
    ("pplx-", 20, WORD),
    ("xai-", 20, WORD),
    ("gsk_", 20, WORD),
    ("hf_", 30, ALNUM),
    ("AIza", 30, WORD),
    ("ghp_", 36, ALNUM),
    ("ghs_", 36, ALNUM),
    ("gho_", 36, ALNUM),
    ("ghu_", 36, ALNUM),
    ("ghr_", 36, ALNUM),
    ("github_pat_", 22, "A-Za-z0-9_"),
    ("rev_sk_", 16, WORD),
    ("rev_mk_", 16, WORD),
    ("rev_rk_", 16, WORD),
    ("hak_", 16, WORD),
];
const WORD: &str = "A-Za-z0-9_-";
const ALNUM: &str = "A-Za-z0-9";
/// fal.ai: an id, and behind the colon the secret.
const FAL: &str = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}:[0-9a-fA-F]{32,}";
const UUID_AND_COLON: usize = 37;

/// How labels of secrets end, and how long the value must be.
const LABELS: [(&str, usize); 2] = [
    ("password|passwd|pwd|secrets?", 8),
    (
        "token|apikey|credentials?|(?:secret|private|access|api|auth|signing|client|session|master|encryption|account\
         |storage)[_ .-]?key",
        20,
    ),
];

static KEY: LazyLock<Regex> = LazyLock::new(|| {
    let keys: Vec<_> = KEYS.iter().map(|(prefix, least, of)| format!("{prefix}[{of}]{{{least},}}")).collect();
    let others = format!("A[KS]IA[A-Z0-9]{{16}}|xox[abprse]-[0-9]{{6,}}-[A-Za-z0-9-]{{8,}}|{FAL}");
    pattern(&format!("(?:^|[^A-Za-z0-9])(?:{}|{others})", keys.join("|")))
});
static JWT: LazyLock<Regex> = LazyLock::new(|| pattern(r"eyJ[A-Za-z0-9_-]*\.eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+"));
static AUTHORIZATION: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?:^|[^A-Za-z0-9])(?i-u:bearer|basic)[ \t]+[A-Za-z0-9._~+/=-]{8,}"));
static SIGNED_URL: LazyLock<Regex> = LazyLock::new(|| {
    let names = "X-Amz-Signature|X-Amz-Security-Token|X-Goog-Signature|Signature|sig";
    pattern(&format!(r#"[?&](?i-u:{names})=[^& \t\r\n"'<>#\\]+"#))
});
static URL_PASSWORD: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"[A-Za-z0-9]://[^/?#:@ \t\r\n"'<>\\]*:[^/?#@ \t\r\n"'<>\\]+@"#));
static LABELLED: LazyLock<Regex> = LazyLock::new(|| {
    let value = r#"(?:[^ \t\r\n"',;&\\]|\\[^"'nrtu])"#;
    let each =
        LABELS.map(|(names, least)| format!(r#"(?i-u:{names})\\?["']?[ \t]*[:=][ \t]*\\?["']?{value}{{{least},}}"#));
    pattern(&each.join("|"))
});
static LABEL: LazyLock<[Regex; 2]> = LazyLock::new(|| LABELS.map(|(names, _)| pattern(&format!("(?i-u:{names})$"))));
static PEM: LazyLock<Regex> = LazyLock::new(|| pattern("-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----"));
static PEM_LINES: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(?:(?:\r?\n|\\r|\\n)[A-Za-z0-9+/=]+)*"));
static DIGITS: LazyLock<Regex> = LazyLock::new(|| pattern("[0-9](?:[ -]?[0-9]){12,}"));

/// Of the constants above, which a test compiles.
fn pattern(text: &str) -> Regex {
    #[expect(clippy::expect_used)]
    Regex::new(text).expect("a pattern of this file")
}

/// `text` without its secrets. Text that is JSON is masked value by value, and keeps its form.
pub fn mask(text: &str) -> Cow<'_, str> {
    mask_nested(text, 0)
}

fn mask_nested(text: &str, nested: usize) -> Cow<'_, str> {
    let is_json = nested < MAX_NESTED
        && text.trim_start().starts_with(['{', '['])
        && serde_json::from_str::<&RawValue>(text).is_ok();
    if is_json { mask_json(text, nested) } else { mask_plain(text) }
}

fn mask_plain(text: &str) -> Cow<'_, str> {
    let mut text = mask_pem(text);
    for pass in [keys, tokens, authorizations, signatures, url_passwords, labelled, cards] {
        if let Some(masked) = pass(&text) {
            text = Cow::Owned(masked);
        }
    }
    text
}

/// Replace what `pattern` finds by what `instead` makes of it. `None`: nothing was found, or nothing replaced.
fn replaced(
    text: &str,
    pattern: &Regex,
    instead: impl Fn(&str) -> Option<(usize, Cow<'static, str>)>,
) -> Option<String> {
    let (mut out, mut copied) = (String::new(), 0);
    for found in pattern.find_iter(text) {
        if let Some((kept, instead)) = instead(found.as_str()) {
            out.push_str(&text[copied..found.start() + kept]);
            out.push_str(&instead);
            copied = found.end();
        }
    }
    (copied > 0).then(|| {
        out.push_str(&text[copied..]);
        out
    })
}

/// The character before a shape that must begin a run belongs to the match, but not to the shape.
fn skip_before(found: &str) -> usize {
    found.chars().next().filter(|first| !first.is_ascii_alphanumeric()).map_or(0, char::len_utf8)
}

fn keys(text: &str) -> Option<String> {
    replaced(text, &KEY, |found| {
        let before = skip_before(found);
        let key = &found[before..];
        let known =
            KEYS.iter().find(|(prefix, least, _)| key.starts_with(prefix) && key.len() - prefix.len() >= *least);
        let prefix = match known {
            Some((prefix, ..)) => prefix.len(),
            None if key.starts_with("xox") => 5,
            None if key.as_bytes().get(UUID_AND_COLON - 1) == Some(&b':') => UUID_AND_COLON,
            None => 4,
        };
        Some((before + prefix, REDACTED.into()))
    })
}

fn tokens(text: &str) -> Option<String> {
    replaced(text, &JWT, |_| Some((0, REDACTED_JWT.into())))
}

fn authorizations(text: &str) -> Option<String> {
    replaced(text, &AUTHORIZATION, |found| {
        let value = found.rfind([' ', '\t'])? + 1;
        let is_basic = found.as_bytes()[skip_before(found)..].get(1).is_some_and(|b| b.eq_ignore_ascii_case(&b'a'));
        if is_basic {
            // Otherwise it is a word behind "basic". A sentence's end belongs to neither.
            let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
            let run = found[value..].split(|c| !is_base64(c)).next()?;
            let credentials = BASE64_STANDARD_NO_PAD.decode(run).ok()?;
            credentials.contains(&b':').then_some(())?;
        }
        Some((value, REDACTED.into()))
    })
}

fn signatures(text: &str) -> Option<String> {
    replaced(text, &SIGNED_URL, |found| Some((found.find('=')? + 1, REDACTED.into())))
}

fn url_passwords(text: &str) -> Option<String> {
    replaced(text, &URL_PASSWORD, |found| {
        let user = found.find("://")? + 3;
        let password = user + found[user..].find(':')? + 1;
        Some((password, format!("{REDACTED}@").into()))
    })
}

fn labelled(text: &str) -> Option<String> {
    replaced(text, &LABELLED, |found| {
        let bytes = found.as_bytes();
        let mut at = found.find([':', '='])? + 1;
        while matches!(bytes.get(at), Some(b' ' | b'\t')) {
            at += 1;
        }
        let escaped = usize::from(bytes.get(at) == Some(&b'\\') && matches!(bytes.get(at + 1), Some(b'"' | b'\'')));
        let quoted = usize::from(matches!(bytes.get(at + escaped), Some(b'"' | b'\'')));
        Some((at + escaped + quoted, REDACTED.into()))
    })
}

/// Private keys: the header stays, what follows goes, to the end of the block where there is one.
fn mask_pem(text: &str) -> Cow<'_, str> {
    let (mut out, mut copied) = (String::new(), 0);
    // Looked for once in vain, no later header has an end either.
    let mut has_ends = true;
    for header in PEM.find_iter(text) {
        if header.start() < copied {
            continue;
        }
        let rest = &text[header.end()..];
        let end = if has_ends { memmem::find(rest.as_bytes(), b"PRIVATE KEY-----") } else { None };
        let is_end =
            |at: usize| rest[..at].rfind("-----").is_some_and(|dashes| rest[dashes..at].starts_with("-----END"));
        has_ends &= end.is_some();
        let block = match end.filter(|at| is_end(*at)) {
            Some(at) => at + b"PRIVATE KEY-----".len(),
            None => PEM_LINES.find(rest).map_or(0, |lines| lines.end()),
        };
        out.push_str(&text[copied..header.end()]);
        // What was masked before stays as it is.
        if block > 0 || !rest.starts_with(REDACTED) {
            out.push_str(REDACTED);
        }
        copied = header.end() + block;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

// ---- card numbers ----

fn cards(text: &str) -> Option<String> {
    replaced(text, &DIGITS, |run| {
        if is_card(run.bytes()) {
            return Some((0, REDACTED.into()));
        }
        // A card beside other numbers, in the groups in which cards are printed.
        let groups = groups(run);
        let layouts: [&[usize]; 2] = [&[4, 4, 4, 4], &[4, 6, 5]];
        let (mut out, mut copied, mut at) = (String::new(), 0, 0);
        while at < groups.len() {
            let fits = |layout: &&&[usize]| {
                let window = groups.get(at..at + layout.len())?;
                window.iter().map(|group| group.len()).eq(layout.iter().copied()).then_some(())?;
                let card = window.first()?.start..window.last()?.end;
                is_card(run[card.clone()].bytes()).then_some((layout.len(), card))
            };
            match layouts.iter().find_map(|layout| fits(&layout)) {
                Some((length, card)) => {
                    out.push_str(&run[copied..card.start]);
                    out.push_str(REDACTED);
                    copied = card.end;
                    at += length;
                }
                None => at += 1,
            }
        }
        (copied > 0).then(|| {
            out.push_str(&run[copied..]);
            (0, out.into())
        })
    })
}

fn groups(run: &str) -> Vec<std::ops::Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    for (at, _) in run.match_indices([' ', '-']) {
        groups.push(start..at);
        start = at + 1;
    }
    groups.push(start..run.len());
    groups
}

/// 13 to 19 digits that begin as cards do and pass Luhn's check.
fn is_card(bytes: impl DoubleEndedIterator<Item = u8> + Clone) -> bool {
    let digits = bytes.filter(u8::is_ascii_digit).map(|byte| u32::from(byte - b'0'));
    let count = digits.clone().count();
    let sum: u32 = digits
        .clone()
        .rev()
        .enumerate()
        .map(|(at, digit)| match (at % 2, digit) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => 2 * digit - 9,
            (_, digit) => 2 * digit,
        })
        .sum();
    (13..=19).contains(&count) && matches!(digits.clone().next(), Some(2..=6)) && sum.is_multiple_of(10)
}

// ---- JSON ----

/// How long a value must be to be the secret that its name announces.
pub fn least_of_label(name: &str) -> Option<usize> {
    LABEL.iter().zip(LABELS).find(|(label, _)| label.is_match(name)).map(|(_, (_, least))| least)
}

/// Whether `value` stands under such a name.
pub fn masked_by_label(least: Option<usize>, value: &str) -> Option<&'static str> {
    least.filter(|least| value.chars().nth(least - 1).is_some()).map(|_| REDACTED)
}

/// `text` is valid JSON, so that a scan for its strings is enough.
fn mask_json(text: &str, nested: usize) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    let mut objects = Vec::new();
    let mut expects_name = false;
    let mut least = None;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' => {
                objects.push(true);
                (expects_name, least) = (true, None);
            }
            b'[' => {
                objects.push(false);
                expects_name = false;
            }
            b'}' | b']' => {
                objects.pop();
                least = None;
            }
            b',' => {
                expects_name = objects.last() == Some(&true);
                least = least.filter(|_| !expects_name);
            }
            b'"' => {
                let end = string_end(bytes, at);
                let raw = &text[at..end];
                if expects_name {
                    (expects_name, least) = (false, least_of_label(raw.trim_matches('"')));
                } else if let Some(masked) = masked_string(raw, least, nested) {
                    out.push_str(&text[copied..at]);
                    out.push_str(&masked);
                    copied = end;
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Behind the closing quote of the string that begins at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The JSON string `raw` masked; `None`: it may stay.
fn masked_string(raw: &str, least: Option<usize>, nested: usize) -> Option<String> {
    // Half a surrogate pair: the text is masked with its escapes.
    let Ok(text) = serde_json::from_str::<String>(raw) else {
        return match mask_plain(raw) {
            Cow::Owned(masked) => Some(masked),
            Cow::Borrowed(_) => None,
        };
    };
    let masked = match masked_by_label(least, &text) {
        Some(masked) => masked.to_owned(),
        None => match mask_nested(&text, nested + 1) {
            Cow::Owned(masked) => masked,
            Cow::Borrowed(_) => return None,
        },
    };
    serde_json::to_string(&masked).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRETS: &[&str] = &[
        "sk-ant-ahov29GNUbipw3AHOVcj",
        "sk-proj-ahov29GNUbipw3AHOVcjqx4BIPWdkry5CJQXelsz6DKRYfmt",
        "ghp_ahov29GNUbipw3AHOVcjqx4BIPWdkry5CJQX",
        "github_pat_ahov29GNUbipw3AHOVcjqx",
        "AKIAAHOV29GNU18FMT07",
        "xoxb-1234567890-ahov29GNUbip",
        "hak_ahov29GNUbipw3AH",
        "123e4567-e89b-12d3-a456-426614174000:0123456789abcdef0123456789abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "Bearer ahov29GNUbip",
        "Basic dXNlcjpwYXNzd29yZA==",
        "https://user:hunter2secret@host/",
        "https://h/?X-Amz-Signature=ahov29GNUbip",
        "password=hunter2hunter2",
        "api_key: ahov29GNUbipw3AHOVcj",
        "4111 1111 1111 1111",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----",
    ];

    /// What of each must not be seen afterwards.
    fn hidden(secret: &str) -> &str {
        let start = secret.char_indices().rev().nth(6).map_or(0, |(at, _)| at);
        match secret {
            pem if pem.contains("PRIVATE") => "MIIEvQIBADANBgkq",
            url if url.contains('@') => "hunter2secret",
            _ => &secret[start..],
        }
    }

    #[test]
    fn what_stays_and_what_goes() {
        for (text, masked) in [
            ("my key is sk-ant-ahov29GNUbipw3AHOVc ok", "my key is sk-***REDACTED*** ok"),
            ("my key is sk-ant-ahov29GNUbipw3AHOVcj ok", "my key is sk-ant-***REDACTED*** ok"),
            ("xsk-ant-ahov29GNUbipw3AHOVcjqx4B glued", "xsk-ant-ahov29GNUbipw3AHOVcjqx4B glued"),
            ("AKIAAHOV29GNU18FMT07E", "AKIA***REDACTED***E"),
            ("token xoxb-1234567890-ahov29GNUbip", "token xoxb-***REDACTED***"),
            (
                "-----BEGIN PRIVATE KEY-----\nMIIE\nabc\n-----END PRIVATE KEY-----",
                "-----BEGIN PRIVATE KEY-----***REDACTED***",
            ),
            ("-----BEGIN PRIVATE KEY----- cut off", "-----BEGIN PRIVATE KEY-----***REDACTED*** cut off"),
            (
                "-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----",
                "-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----",
            ),
            ("card 4111 1111 1111 1111 exp", "card ***REDACTED*** exp"),
            ("card 4111 1111 1111 1111 12/26", "card ***REDACTED*** 12/26"),
            ("order 41111111111111111111", "order 41111111111111111111"),
            ("xeyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "x***REDACTED_JWT***"),
            ("BEARER   spaced12345", "BEARER   ***REDACTED***"),
            ("Basic dXNlcjpwYXNzd29yZA==", "Basic ***REDACTED***"),
            ("basic understanding of things", "basic understanding of things"),
            ("https://h/x?X-Goog-Signature=ahov29&z=1", "https://h/x?X-Goog-Signature=***REDACTED***&z=1"),
            ("ftp://a:b@c", "ftp://a:***REDACTED***@c"),
            ("https://host:8080/a@b", "https://host:8080/a@b"),
            ("token:ahov29GNUbipw3AHOVcjqx4BIPWdkr,next", "token:***REDACTED***,next"),
            ("password=`tick12345`", "password=***REDACTED***"),
            ("max_tokens=ahov29GNUbipw3AHOVcj", "max_tokens=ahov29GNUbipw3AHOVcj"),
            (
                r#"{"a": {"password": "hunter2hunter2", "n": [1, {"api_key": "ahov29GNUbipw3AHOVcjqx4BI"}]}, "t": "fine"}"#,
                r#"{"a": {"password": "***REDACTED***", "n": [1, {"api_key": "***REDACTED***"}]}, "t": "fine"}"#,
            ),
            (r#"{"broken": "password=hunter2hunter2""#, r#"{"broken": "password=***REDACTED***""#),
            (r#"{"text":"{\"secret\":\"hunter2hunter2\"}"}"#, r#"{"text":"{\"secret\":\"***REDACTED***\"}"}"#),
            (r#"{"half":"\ud800 sk-ant-ahov29GNUbipw3AHOVcj"}"#, r#"{"half":"\ud800 sk-ant-***REDACTED***"}"#),
        ] {
            assert_eq!(mask(text), masked, "{text}");
        }
    }

    #[test]
    fn every_secret_goes() {
        for secret in SECRETS {
            assert!(!mask(secret).contains(hidden(secret)), "{secret}: {}", mask(secret));
        }
    }

    proptest! {
        #[test]
        fn a_secret_goes_wherever_it_stands(before in "[ -~é\n]{0,40}", at in 0..SECRETS.len(), after in "[ \n.,;)é]{0,1}[a-z ]{0,20}") {
            let secret = SECRETS[at];
            // Glued to a word or a number it is something else; behind "Basic " it may be part of a longer word.
            let text = format!("{before} {secret}{}{after}", if after.starts_with(|c: char| c.is_ascii_lowercase()) { " " } else { "" });
            let masked = mask(&text);
            prop_assert!(!masked.contains(hidden(secret)), "{text}: {masked}");
            prop_assert_eq!(mask(&masked), masked.clone(), "nothing grows back");
        }

        #[test]
        fn any_text_is_masked_without_harm(text in any::<String>()) {
            let masked = mask(&text).into_owned();
            prop_assert!(masked.len() <= text.len() + 20 * (text.len() / 2 + 1));
            let as_json = serde_json::to_string(&[text]).unwrap();
            prop_assert!(serde_json::from_str::<Vec<String>>(&mask(&as_json)).is_ok());
        }
    }
}
