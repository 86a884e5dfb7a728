//! Text that nobody may print.

use std::fmt;

use crate::common::error::{Code, Error, Result};

/// A key or a token. Prints as nothing but a mark, so that it can stand in any structure that is logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// `text` without the white space around it, which must be able to stand in an HTTP header.
    pub fn new(text: &str) -> Result<Secret> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::new(Code::Config, "a key must be one word of visible ASCII characters"));
        }
        Ok(Secret(text.to_string()))
    }

    /// A key for Revenium: `rev_`, followed by what it may do, or the older `hak_`.
    pub fn metering_key(text: &str) -> Result<Secret> {
        let key = Secret::new(text)?;
        if !key.0.starts_with("rev_") && !key.0.starts_with("hak_") {
            return Err(Error::new(Code::Config, "a Revenium key must begin with hak_ or rev_"));
        }
        Ok(key)
    }

    /// The value of a header, which may hold spaces and may be empty.
    pub fn of_header(text: &str) -> Option<Secret> {
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
