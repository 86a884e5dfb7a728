//! One error type: a code, a sentence for a person, and what HTTP said.

use std::fmt;

/// The codes of the C ABI. `REVENIUM_E_RATE_LIMIT` is `Code::RateLimit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Code {
    Ok = 0,
    Empty = 1,
    Internal = -1,
    Argument = -2,
    Utf8 = -3,
    Json = -4,
    Handle = -5,
    Config = -6,
    Already = -7,
    Closed = -8,
    WouldDeadlock = -9,
    Timeout = -10,
    Cancelled = -11,
    Buffer = -12,
    Busy = -13,
    Forked = -14,
    Unsupported = -15,
    Connection = -20,
    Stream = -21,
    Aws = -22,
    Api = -40,
    BadRequest = -41,
    Authentication = -42,
    PermissionDenied = -43,
    NotFound = -44,
    Conflict = -45,
    RequestTooLarge = -46,
    Unprocessable = -47,
    RateLimit = -48,
    InternalServer = -49,
    Overloaded = -50,
}

impl Code {
    /// The code for an HTTP status of 400 and above.
    pub fn of_status(status: u16) -> Code {
        match status {
            400 => Code::BadRequest,
            401 => Code::Authentication,
            403 => Code::PermissionDenied,
            404 => Code::NotFound,
            409 => Code::Conflict,
            413 => Code::RequestTooLarge,
            422 => Code::Unprocessable,
            429 => Code::RateLimit,
            529 => Code::Overloaded,
            500.. => Code::InternalServer,
            _ => Code::Api,
        }
    }
}

/// Why something did not work. `message` is one sentence and never holds a key or a prompt.
#[derive(Clone, Debug)]
pub struct Error {
    pub code: Code,
    pub message: String,
    /// What the provider answered, where it answered.
    pub http: Option<Box<HttpError>>,
}

/// The provider's answer behind an [`Error`].
#[derive(Clone, Debug, Default)]
pub struct HttpError {
    /// The HTTP status. 200 for an error that came inside a stream.
    pub status: u16,
    /// The body as it came, or empty.
    pub body: Vec<u8>,
    /// How long the provider asked us to wait.
    pub retry_after_ms: Option<u64>,
}

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error { code, message: message.into(), http: None }
    }

    pub fn with_http(mut self, http: HttpError) -> Self {
        self.http = Some(Box::new(http));
        self
    }

    /// The HTTP status behind this error, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        self.http.as_ref().map(|http| http.status)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

pub type Result<T> = std::result::Result<T, Error>;
