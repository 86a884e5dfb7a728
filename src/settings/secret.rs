//! Text that nobody may print.

use std::fmt;

/// A key or a token. Prints as nothing but a mark, so that it can stand in any structure that is logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// `text` without the white space around it. `None` if that is empty or could not stand in an HTTP header.
    pub fn new(text: &str) -> Option<Secret> {
        let text = text.trim();
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Secret(text.to_string()))
    }

    /// The value of a header, which may hold spaces and may be empty.
    pub(super) fn of_header(text: &str) -> Option<Secret> {
        let text = text.trim();
        text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ').then(|| Secret(text.to_string()))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// Whom Anthropic shall bill, and how to say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Sent as `x-api-key`, or as the setting `auth_header` says.
    ApiKey(Secret),
    /// Always sent as `Authorization: Bearer`.
    AuthToken(Secret),
}
