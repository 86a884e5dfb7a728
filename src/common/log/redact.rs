//! Secrets and addresses out of a line of text, in one pass.

use std::borrow::Cow;

const REDACTED: &str = "[REDACTED]";

/// Prefixes that announce a key, and how many characters must follow. The prefix stays readable. Longest first where
/// one begins another.
const KEYS: &[(&str, usize)] = &[
    ("sk-ant-", 1),
    ("sk-", 8),
    // Revenium's: metering, write, read-only, others to come, and the older full-access kind.
    ("rev_mk_", 1),
    ("rev_sk_", 1),
    ("rev_rk_", 1),
    ("rev_", 16),
    ("hak_", 1),
    // AWS: long-term and temporary access key ids, Bedrock API keys.
    ("AKIA", 8),
    ("ASIA", 8),
    ("ABSK", 8),
    // A JSON Web Token, or anything else that is JSON in base64.
    ("eyJ", 10),
];

/// `label: value`, `label=value`, `"label": "value"`: how labels end, and how long a value must be.
const LABELS: &[(&str, usize)] = &[
    ("x-api-key", 1),
    ("authorization", 1),
    ("password", 1),
    ("passwd", 1),
    ("cookie", 8),
    ("secret", 8),
    ("api_key", 16),
    ("api-key", 16),
    ("apikey", 16),
    ("access_key", 16),
    ("access-key", 16),
    ("signature", 16),
    ("token", 16),
];

/// `line` with keys, tokens, passwords and queries of URLs, and e-mail addresses replaced.
///
/// Keeps what identifies without giving access: a key's prefix, a URL's host and path.
pub fn redact(line: &str) -> Cow<'_, str> {
    let mut scan = Scan { line, bytes: line.as_bytes(), out: String::new(), copied: 0, url_end: 0 };
    let mut at = 0;
    while at < scan.bytes.len() {
        at = match scan.secret_at(at) {
            Some((start, end)) => {
                scan.replace(start, end);
                // The last word of an address or a query may be the label of a secret that follows it.
                if matches!(scan.bytes[at], b'@' | b'?' | b'#') { at + 1 } else { end }
            }
            None => at + 1,
        };
    }
    scan.finish()
}

struct Scan<'a> {
    line: &'a str,
    bytes: &'a [u8],
    out: String,
    /// How much of `line` is in `out`.
    copied: usize,
    /// Where the URL under way ends; a lower number than the position when there is none.
    url_end: usize,
}

impl<'a> Scan<'a> {
    /// The stretch to replace that shows at `at`. Every stretch starts and ends beside an ASCII character, and no
    /// byte is looked at more than a few times.
    fn secret_at(&mut self, at: usize) -> Option<(usize, usize)> {
        let starts_word = at == 0 || !self.bytes[at - 1].is_ascii_alphanumeric();
        if starts_word && let Some(key) = self.key(at) {
            return Some(key);
        }
        match self.bytes[at] {
            b'?' | b'#' if at < self.url_end => nonempty(at + 1, self.url_end),
            b':' if self.bytes[at..].starts_with(b"://") => self.userinfo(at + 3),
            b':' | b'=' => self.labelled(at),
            b'@' => self.email(at),
            b'B' | b'b' if starts_word => self.credentials(at),
            _ => None,
        }
    }

    fn key(&self, at: usize) -> Option<(usize, usize)> {
        let (prefix, least) = KEYS.iter().find(|(prefix, _)| self.bytes[at..].starts_with(prefix.as_bytes()))?;
        let start = at + prefix.len();
        if self.bytes[start..].starts_with(REDACTED.as_bytes()) {
            return Some((start, start + REDACTED.len())); // Done before: nobody else shall touch it.
        }
        let end = self.run(start, is_token);
        (end - start >= *least).then_some((start, end))
    }

    /// `Bearer x`, `Basic x`.
    fn credentials(&self, at: usize) -> Option<(usize, usize)> {
        let start = self.scheme(at)?;
        if start < self.copied || self.key(start).is_some() {
            return None; // Done, or found when the scan gets there, and keeps its prefix.
        }
        let end = self.run(start, is_token);
        (end - start >= 8).then_some((start, end))
    }

    /// Where the credentials begin if an HTTP authentication scheme stands at `at`.
    fn scheme(&self, at: usize) -> Option<usize> {
        let rest = &self.bytes[at..];
        let scheme = [&b"bearer"[..], b"basic"].into_iter().find(|scheme| starts_with_any_case(rest, scheme))?;
        let gap = at + scheme.len();
        let start = self.run(gap, |byte| byte == b' ');
        (start > gap).then_some(start)
    }

    /// The value of a label that ends before the separator at `at`.
    fn labelled(&self, at: usize) -> Option<(usize, usize)> {
        let is_wrapping = |byte: u8| matches!(byte, b'"' | b'\'' | b'\\' | b' ');
        // A closing quote, escaped in JSON inside JSON, and a space: no more is looked at, to stay linear.
        let wrapped = self.bytes[..at].iter().rev().take(3).take_while(|byte| is_wrapping(**byte)).count();
        let label = &self.bytes[..at - wrapped];
        let (_, least) = LABELS.iter().find(|(name, _)| ends_with_any_case(label, name.as_bytes()))?;
        let mut start = self.run(at + 1, is_wrapping);
        start = self.scheme(start).unwrap_or(start);
        if start < self.copied || self.key(start).is_some() || self.bytes[start..].starts_with(REDACTED.as_bytes()) {
            return None;
        }
        let is_value = |byte: u8| !is_wrapping(byte) && !matches!(byte, b',' | b';' | b'&' | b')' | b'}' | b']');
        let end = self.run(start, |byte| is_value(byte) && !byte.is_ascii_whitespace());
        (end - start >= *least).then_some((start, end))
    }

    /// `user:password@` where the authority of a URL begins.
    fn userinfo(&mut self, start: usize) -> Option<(usize, usize)> {
        if start > self.url_end {
            self.url_end = self
                .run(start, |byte| !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'<' | b'>' | b'`' | b'\\'));
        }
        let slash = self.run(start, |byte| !matches!(byte, b'/' | b'?' | b'#'));
        let authority = &self.bytes[start..slash.min(self.url_end)];
        let at_sign = authority.iter().rposition(|byte| *byte == b'@')?;
        nonempty(start, start + at_sign)
    }

    /// The address around the `@` at `at`.
    fn email(&self, at: usize) -> Option<(usize, usize)> {
        let is_local = |byte: &&u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"._%+-".contains(*byte);
        let before = self.bytes.get(self.copied..at)?;
        let start = at - before.iter().rev().take_while(is_local).count();
        let is_domain = |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || matches!(byte, b'.' | b'-');
        let domain = self.line[at + 1..self.run(at + 1, is_domain)].trim_end_matches(['.', '-']);
        let (_, top) = domain.rsplit_once('.')?;
        // `claude-x@20250514` and `crate@1.2` are no addresses.
        (start < at && top.starts_with(char::is_alphabetic)).then_some((start, at + 1 + domain.len()))
    }

    /// Where the run of bytes that `belongs` accepts, beginning at `start`, ends.
    fn run(&self, start: usize, belongs: impl Fn(u8) -> bool) -> usize {
        start + self.bytes[start..].iter().take_while(|byte| belongs(**byte)).count()
    }

    fn replace(&mut self, start: usize, end: usize) {
        if start > self.copied || self.out.is_empty() {
            self.out.push_str(&self.line[self.copied..start]);
            self.out.push_str(REDACTED);
        }
        self.copied = self.copied.max(end);
    }

    fn finish(mut self) -> Cow<'a, str> {
        if self.copied == 0 {
            return Cow::Borrowed(self.line);
        }
        self.out.push_str(&self.line[self.copied..]);
        Cow::Owned(self.out)
    }
}

fn nonempty(start: usize, end: usize) -> Option<(usize, usize)> {
    (start < end).then_some((start, end))
}

/// What keys and tokens are made of: base64 in both alphabets, and the dots of a JWT.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'+' | b'/' | b'=')
}

fn starts_with_any_case(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start))
}

fn ends_with_any_case(text: &[u8], end: &[u8]) -> bool {
    text.len() >= end.len() && text[text.len() - end.len()..].eq_ignore_ascii_case(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        for (line, expected) in [
            // Keys keep their prefix, wherever they stand.
            ("sk-ant-api03-AbC_-9", "sk-ant-[REDACTED]"),
            ("bad key sk-ant-x, try again", "bad key sk-ant-[REDACTED], try again"),
            ("sk-proj-abcdef123456", "sk-[REDACTED]"),
            (
                "(rev_mk_a1) 'rev_sk_b' rev_rk_c|hak_d",
                "(rev_mk_[REDACTED]) 'rev_sk_[REDACTED]' rev_rk_[REDACTED]|hak_[REDACTED]",
            ),
            ("AKIAIOSFODNN7EXAMPLE ASIAIOSFODNN7EXAMPLE", "AKIA[REDACTED] ASIA[REDACTED]"),
            ("ABSKQmVkcm9jaw+/== end", "ABSK[REDACTED] end"),
            ("eyJhbGciOiJI.eyJzdWIiOiIx.SflKxw-_w", "eyJ[REDACTED]"),
            // HTTP credentials and labelled values.
            ("Authorization: Bearer abc", "Authorization: Bearer [REDACTED]"),
            ("got bearer abcdefgh12 there", "got bearer [REDACTED] there"),
            ("Basic dXNlcjpwYXNz", "Basic [REDACTED]"),
            ("Bearer sk-ant-abc", "Bearer sk-ant-[REDACTED]"),
            (r#"{"x-api-key":"abc","n":1}"#, r#"{"x-api-key":"[REDACTED]","n":1}"#),
            (r#"{\"X-Api-Key\": \"abc\"}"#, r#"{\"X-Api-Key\": \"[REDACTED]\"}"#),
            ("x-api-key: sk-ant-abc", "x-api-key: sk-ant-[REDACTED]"),
            ("x-api-key=abc&b=2", "x-api-key=[REDACTED]&b=2"),
            ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "aws_secret_access_key = [REDACTED]"),
            ("password=hunter2", "password=[REDACTED]"),
            // Addresses.
            ("from Ann.O+x@mail.example.org.", "from [REDACTED]."),
            ("<jörg@müller.de>", "<[REDACTED]>"),
            ("a@b@c.de", "a@[REDACTED]"),
            // URLs.
            ("https://user:pw@host/p/?q=1#f done", "https://[REDACTED]@host/p/?[REDACTED] done"),
            ("\"https://host:8080/a?sig=b\" x?y", "\"https://host:8080/a?[REDACTED]\" x?y"),
            ("https://a@b:c@host", "https://[REDACTED]@host"),
            ("see https://host/?Bearer abcdefgh12", "see https://host/?[REDACTED] [REDACTED]"),
            ("http://proxy/https://u:p@host/?x", "http://proxy/https://[REDACTED]@host/?[REDACTED]"),
        ] {
            assert_eq!(redact(line), expected);
            assert_eq!(redact(expected), expected, "a second time");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for line in [
            "",
            "REVENIUM_METERING_API_KEY is ignored: it must begin with hak_ or rev_",
            "a risk-assessment for sk-SK, task-1234567890",
            "claude-opus-4@20250514 and crate@1.2.3",
            "us.anthropic.claude-opus-4-6-v1:0 max_tokens: 1024 input_tokens=17",
            "basic auth, Bearer of bad news",
            "https://api.anthropic.com/v1/messages answered 529",
            "is it? yes #1",
            "10:30:00 token: none",
            "größer als 日本語 = viel",
        ] {
            assert!(matches!(redact(line), Cow::Borrowed(same) if same == line), "{}", redact(line));
        }
    }

    proptest! {
        #[test]
        fn what_is_not_replaced_stays_in_order(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "sk-ant-", "rev_", "eyJ", "Bearer ", "x-api-key", "token", ":", "=", "\"", "\\", " ", "@", ".",
                    "://", "/", "?", "#", "&", "]", "a", "Zz09", "0123456789abcdef", "é", "日本",
                ]),
                0..24,
            ),
            noise in ".{0,12}",
        ) {
            let line = parts.concat() + &noise;
            let redacted = redact(&line);
            let mut rest = line.as_str();
            for kept in redacted.split(REDACTED) {
                let at = rest.find(kept);
                prop_assert!(at.is_some(), "{line} became {redacted}");
                rest = &rest[at.unwrap_or(0) + kept.len()..];
            }
        }

        #[test]
        fn a_key_never_survives(before in "[^a-zA-Z0-9]{0,8}", key in "[a-zA-Z0-9]{24}", after in "[^a-zA-Z0-9]{0,8}") {
            for prefix in ["sk-ant-", "sk-", "rev_mk_", "hak_", "Bearer ", "x-api-key: ", "https://h/?k=", "https://u:"] {
                let after = if prefix == "https://u:" { "@h" } else { &after };
                let line = format!("{before}{prefix}{key}{after}");
                prop_assert!(!redact(&line).contains(&key), "{}", line);
            }
        }
    }
}
