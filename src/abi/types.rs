//! The constants and structs of the header.

use std::ffi::{c_char, c_void};

/// Grows by one with each incompatible change; part of the soname.
pub const REVENIUM_ABI_VERSION: u32 = 1;

/// Scope argument: what this thread has pushed.
pub const REVENIUM_SCOPE_THREAD: u64 = 0;
/// Scope argument: nothing at all.
pub const REVENIUM_SCOPE_NONE: u64 = 1;
/// Timeouts are milliseconds. 0: do not wait. This: no limit.
pub const REVENIUM_FOREVER: i32 = -1;

/// ---- codes ----
pub const REVENIUM_OK: i32 = 0;
/// Nothing there right now.
pub const REVENIUM_EMPTY: i32 = 1;
/// A bug of ours; the process is intact.
pub const REVENIUM_E_INTERNAL: i32 = -1;
/// A NULL or a number out of range.
pub const REVENIUM_E_ARGUMENT: i32 = -2;
pub const REVENIUM_E_UTF8: i32 = -3;
pub const REVENIUM_E_JSON: i32 = -4;
/// Stale, foreign or of another kind.
pub const REVENIUM_E_HANDLE: i32 = -5;
/// A setting is missing or malformed.
pub const REVENIUM_E_CONFIG: i32 = -6;
/// Running with other settings.
pub const REVENIUM_E_ALREADY: i32 = -7;
/// After revenium_shutdown().
pub const REVENIUM_E_CLOSED: i32 = -8;
pub const REVENIUM_E_WOULD_DEADLOCK: i32 = -9;
pub const REVENIUM_E_TIMEOUT: i32 = -10;
pub const REVENIUM_E_CANCELLED: i32 = -11;
/// The buffer is too small.
pub const REVENIUM_E_BUFFER: i32 = -12;
/// More calls in flight than allowed.
pub const REVENIUM_E_BUSY: i32 = -13;
/// Begun in the parent process.
pub const REVENIUM_E_FORKED: i32 = -14;
/// Not on this platform, or not in this build.
pub const REVENIUM_E_UNSUPPORTED: i32 = -15;
/// DNS, TCP, TLS.
pub const REVENIUM_E_CONNECTION: i32 = -20;
/// Broke off or was not readable.
pub const REVENIUM_E_STREAM: i32 = -21;
/// AWS credentials or signing.
pub const REVENIUM_E_AWS: i32 = -22;
/// A budget at Revenium refuses the call: nothing was sent, and nothing is metered.
pub const REVENIUM_E_BUDGET: i32 = -23;
/// The provider answered with an error; from here on named as in Anthropic's own SDKs. Any other HTTP status.
pub const REVENIUM_E_API: i32 = -40;
/// HTTP 400
pub const REVENIUM_E_BAD_REQUEST: i32 = -41;
/// HTTP 401
pub const REVENIUM_E_AUTHENTICATION: i32 = -42;
/// HTTP 403
pub const REVENIUM_E_PERMISSION_DENIED: i32 = -43;
/// HTTP 404
pub const REVENIUM_E_NOT_FOUND: i32 = -44;
/// HTTP 409
pub const REVENIUM_E_CONFLICT: i32 = -45;
/// HTTP 413
pub const REVENIUM_E_REQUEST_TOO_LARGE: i32 = -46;
/// HTTP 422
pub const REVENIUM_E_UNPROCESSABLE: i32 = -47;
/// HTTP 429
pub const REVENIUM_E_RATE_LIMIT: i32 = -48;
/// HTTP 5xx
pub const REVENIUM_E_INTERNAL_SERVER: i32 = -49;
/// HTTP 529
pub const REVENIUM_E_OVERLOADED: i32 = -50;

/// ---- kinds ---- A type newer than this library.
pub const REVENIUM_EVENT_OTHER: i32 = 0;
pub const REVENIUM_EVENT_MESSAGE_START: i32 = 1;
pub const REVENIUM_EVENT_CONTENT_BLOCK_START: i32 = 2;
pub const REVENIUM_EVENT_CONTENT_BLOCK_DELTA: i32 = 3;
pub const REVENIUM_EVENT_CONTENT_BLOCK_STOP: i32 = 4;
pub const REVENIUM_EVENT_MESSAGE_DELTA: i32 = 5;
pub const REVENIUM_EVENT_MESSAGE_STOP: i32 = 6;
pub const REVENIUM_EVENT_PING: i32 = 7;

/// Body: the event as the provider sent it.
pub const REVENIUM_FRAME_EVENT: i32 = 1;
/// Body: what revenium_result_json() gives; last of its call.
pub const REVENIUM_FRAME_RESULT: i32 = 2;
/// Body: the text; code: the level.
pub const REVENIUM_FRAME_LOG: i32 = 3;
/// Body: the report of one failed or dropped delivery, JSON with "reason", "http_status", "records", "dropped", "message".
pub const REVENIUM_FRAME_METERING: i32 = 4;
/// Streamed calls, before the first EVENT: the provider has answered; body: JSON, "http_status", "headers", "provider".
pub const REVENIUM_FRAME_HEAD: i32 = 5;

pub const REVENIUM_LOG_ERROR: i32 = 1;
pub const REVENIUM_LOG_WARN: i32 = 2;
pub const REVENIUM_LOG_INFO: i32 = 3;
pub const REVENIUM_LOG_DEBUG: i32 = 4;

pub const REVENIUM_TOPIC_LOG: u32 = 1;
pub const REVENIUM_TOPIC_METERING: u32 = 2;

/// Calls in this scope are metered even if metering is selective.
pub const REVENIUM_SCOPE_METER: u32 = 1;
/// The fields and choices of this scope lie beneath those of its parent, which win.
pub const REVENIUM_SCOPE_BENEATH: u32 = 256;

pub const REVENIUM_PROVIDER_UNKNOWN: i32 = 0;
pub const REVENIUM_PROVIDER_ANTHROPIC: i32 = 1;
pub const REVENIUM_PROVIDER_BEDROCK: i32 = 2;

/// ---- types ---- A number that stands for a thing of the library. 0: none.
pub type revenium_handle = u64;
/// How one call ended, or why one failed.
pub type revenium_result = revenium_handle;
/// Metadata that many calls share.
pub type revenium_scope = revenium_handle;
/// A call under way; once ended, its own result.
pub type revenium_call = revenium_handle;
/// Where events and results arrive.
pub type revenium_queue = revenium_handle;
/// A call of something else that is being watched.
pub type revenium_tap = revenium_handle;

/// One streamed event. Valid until the callback returns.
#[repr(C)]
#[derive(Debug)]
pub struct revenium_event {
    /// Bytes the library filled; fields are only ever appended.
    pub struct_size: u32,
    /// REVENIUM_EVENT_*
    pub kind: i32,
    /// 0 in revenium_messages_stream()
    pub call: revenium_call,
    /// The event as the provider sent it.
    pub json: *const c_char,
    pub json_len: usize,
    /// The new text of a text delta, else NULL.
    pub text: *const c_char,
    pub text_len: usize,
}

/// Token counts; -1 where the provider did not say.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct revenium_usage {
    /// In: sizeof(revenium_usage). Out: the bytes the library filled.
    pub struct_size: u32,
    /// 1: handed to metering; 0: not (selective, or no key).
    pub metered: i32,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cache_creation_input_tokens: i64,
    pub cache_read_input_tokens: i64,
}

/// The state of the library. Counters run since revenium_init().
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct revenium_state {
    /// In: sizeof(revenium_state). Out: the bytes the library filled.
    pub struct_size: u32,
    /// 1 between init and shutdown.
    pub initialized: i32,
    /// REVENIUM_PROVIDER_* for a call without its own choice.
    pub provider: i32,
    /// 1: on; 2: selective; 0: off, no key.
    pub metering: i32,
    pub calls_in_flight: i64,
    pub calls_started: i64,
    pub calls_failed: i64,
    /// Metering events not yet acknowledged.
    pub events_pending: i64,
    pub events_delivered: i64,
    pub events_retried: i64,
    /// Given up for good; 0 is the healthy value.
    pub events_dropped: i64,
    /// Code of the last failed delivery, 0 if none.
    pub last_error: i32,
    /// And its HTTP status, 0 if none.
    pub last_http_status: i32,
}

/// What revenium_queue_read() writes before each body, in host byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct revenium_frame {
    /// From this frame to the next, a multiple of 8.
    pub size: u32,
    /// Bytes of body after this header; a NUL follows them.
    pub body_size: u32,
    /// 0 for LOG and METERING.
    pub call: revenium_call,
    /// What revenium_messages_submit() was given.
    pub tag: u64,
    /// REVENIUM_FRAME_*
    pub frame: i32,
    /// EVENT: REVENIUM_EVENT_*; RESULT: the code; LOG: level; HEAD: the HTTP status; METERING: the HTTP status or 0.
    pub code: i32,
}

/// Return 0 to go on; anything else stops the stream and cancels the call.
pub type revenium_event_fn = Option<unsafe extern "C" fn(user: *mut c_void, event: *const revenium_event) -> i32>;

/// Called exactly once for each started call. `result` is the call's own handle
/// and lives until this returns, or longer if you took it from start().
pub type revenium_done_fn = Option<unsafe extern "C" fn(user: *mut c_void, result: revenium_result)>;

pub type revenium_log_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, level: i32, text: *const c_char, text_len: usize)>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::error::Code;

    #[test]
    fn the_frame_header_is_what_the_queue_writes() {
        assert_eq!(size_of::<revenium_frame>(), crate::completion::queue::HEADER);
    }

    #[test]
    fn the_constants_are_the_codes() {
        for (constant, code) in [
            (REVENIUM_OK, Code::Ok),
            (REVENIUM_EMPTY, Code::Empty),
            (REVENIUM_E_INTERNAL, Code::Internal),
            (REVENIUM_E_ARGUMENT, Code::Argument),
            (REVENIUM_E_UTF8, Code::Utf8),
            (REVENIUM_E_JSON, Code::Json),
            (REVENIUM_E_HANDLE, Code::Handle),
            (REVENIUM_E_CONFIG, Code::Config),
            (REVENIUM_E_ALREADY, Code::Already),
            (REVENIUM_E_CLOSED, Code::Closed),
            (REVENIUM_E_WOULD_DEADLOCK, Code::WouldDeadlock),
            (REVENIUM_E_TIMEOUT, Code::Timeout),
            (REVENIUM_E_CANCELLED, Code::Cancelled),
            (REVENIUM_E_BUFFER, Code::Buffer),
            (REVENIUM_E_BUSY, Code::Busy),
            (REVENIUM_E_FORKED, Code::Forked),
            (REVENIUM_E_UNSUPPORTED, Code::Unsupported),
            (REVENIUM_E_CONNECTION, Code::Connection),
            (REVENIUM_E_STREAM, Code::Stream),
            (REVENIUM_E_AWS, Code::Aws),
            (REVENIUM_E_BUDGET, Code::Budget),
            (REVENIUM_E_API, Code::Api),
            (REVENIUM_E_BAD_REQUEST, Code::BadRequest),
            (REVENIUM_E_AUTHENTICATION, Code::Authentication),
            (REVENIUM_E_PERMISSION_DENIED, Code::PermissionDenied),
            (REVENIUM_E_NOT_FOUND, Code::NotFound),
            (REVENIUM_E_CONFLICT, Code::Conflict),
            (REVENIUM_E_REQUEST_TOO_LARGE, Code::RequestTooLarge),
            (REVENIUM_E_UNPROCESSABLE, Code::Unprocessable),
            (REVENIUM_E_RATE_LIMIT, Code::RateLimit),
            (REVENIUM_E_INTERNAL_SERVER, Code::InternalServer),
            (REVENIUM_E_OVERLOADED, Code::Overloaded),
        ] {
            assert_eq!(constant, code as i32, "{code:?}");
        }
    }

    #[test]
    fn providers_have_their_numbers() {
        use crate::settings::Provider;
        assert_eq!(Provider::Anthropic.row().number, Some(REVENIUM_PROVIDER_ANTHROPIC));
        assert_eq!(Provider::Bedrock.row().number, Some(REVENIUM_PROVIDER_BEDROCK));
    }
}
