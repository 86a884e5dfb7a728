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
    Budget = -23,
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

/// Each code, its name with a NUL behind it for C, and `error.type` as the Messages API calls it or would call it.
const CODES: &[(Code, &str, &str)] = &[
    (Code::Ok, "REVENIUM_OK\0", "client_error"),
    (Code::Empty, "REVENIUM_EMPTY\0", "client_error"),
    (Code::Internal, "REVENIUM_E_INTERNAL\0", "client_error"),
    (Code::Argument, "REVENIUM_E_ARGUMENT\0", "client_error"),
    (Code::Utf8, "REVENIUM_E_UTF8\0", "client_error"),
    (Code::Json, "REVENIUM_E_JSON\0", "client_error"),
    (Code::Handle, "REVENIUM_E_HANDLE\0", "client_error"),
    (Code::Config, "REVENIUM_E_CONFIG\0", "client_error"),
    (Code::Already, "REVENIUM_E_ALREADY\0", "client_error"),
    (Code::Closed, "REVENIUM_E_CLOSED\0", "client_error"),
    (Code::WouldDeadlock, "REVENIUM_E_WOULD_DEADLOCK\0", "client_error"),
    (Code::Timeout, "REVENIUM_E_TIMEOUT\0", "timeout_error"),
    (Code::Cancelled, "REVENIUM_E_CANCELLED\0", "cancelled"),
    (Code::Buffer, "REVENIUM_E_BUFFER\0", "client_error"),
    (Code::Busy, "REVENIUM_E_BUSY\0", "client_error"),
    (Code::Forked, "REVENIUM_E_FORKED\0", "client_error"),
    (Code::Unsupported, "REVENIUM_E_UNSUPPORTED\0", "client_error"),
    (Code::Connection, "REVENIUM_E_CONNECTION\0", "connection_error"),
    (Code::Stream, "REVENIUM_E_STREAM\0", "stream_error"),
    (Code::Aws, "REVENIUM_E_AWS\0", "aws_error"),
    (Code::Budget, "REVENIUM_E_BUDGET\0", "billing_error"),
    (Code::Api, "REVENIUM_E_API\0", "api_error"),
    (Code::BadRequest, "REVENIUM_E_BAD_REQUEST\0", "invalid_request_error"),
    (Code::Authentication, "REVENIUM_E_AUTHENTICATION\0", "authentication_error"),
    (Code::PermissionDenied, "REVENIUM_E_PERMISSION_DENIED\0", "permission_error"),
    (Code::NotFound, "REVENIUM_E_NOT_FOUND\0", "not_found_error"),
    (Code::Conflict, "REVENIUM_E_CONFLICT\0", "conflict_error"),
    (Code::RequestTooLarge, "REVENIUM_E_REQUEST_TOO_LARGE\0", "request_too_large"),
    (Code::Unprocessable, "REVENIUM_E_UNPROCESSABLE\0", "invalid_request_error"),
    (Code::RateLimit, "REVENIUM_E_RATE_LIMIT\0", "rate_limit_error"),
    (Code::InternalServer, "REVENIUM_E_INTERNAL_SERVER\0", "api_error"),
    (Code::Overloaded, "REVENIUM_E_OVERLOADED\0", "overloaded_error"),
];

impl Code {
    /// `REVENIUM_E_RATE_LIMIT` for `Code::RateLimit`.
    pub fn name(self) -> &'static str {
        Code::name_of_number(self as i32).trim_end_matches('\0')
    }

    /// The name of the code with this number, with a NUL behind it for C.
    pub fn name_of_number(number: i32) -> &'static str {
        let found = CODES.iter().find(|(code, ..)| *code as i32 == number);
        found.map_or("REVENIUM_E_UNKNOWN\0", |(_, name, _)| name)
    }

    /// `error.type` as the Messages API would call it.
    pub fn error_type(self) -> &'static str {
        CODES.iter().find(|(code, ..)| *code == self).map_or("client_error", |(.., kind)| kind)
    }

    /// The code for an `error.type` of the Messages API; `None`: it is newer, or somebody else's.
    pub fn of_error_type(kind: &str) -> Option<Code> {
        // What it answers with 500, and its own time limit.
        if matches!(kind, "api_error" | "timeout_error") {
            return Some(Code::InternalServer);
        }
        let answered = CODES.iter().filter(|(code, ..)| (*code as i32) < Code::Api as i32);
        answered.filter(|(.., known)| *known == kind).map(|(code, ..)| *code).next()
    }

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
