//! Errors that a provider or gateway sends where a message was expected: in a stream, or as the body of a 200.

use super::json::{Object, count};
use crate::common::error::{Code, Error, HttpError};

/// Whether `object` is an error envelope: the Messages API's, or one of the other shapes that gateways use.
pub(super) fn is_error(object: &Object<'_>) -> bool {
    match object.string("type") {
        Some(kind) => kind == "error",
        None => {
            ["error", "errors", "detail"].into_iter().any(|name| object.get_non_null(name).is_some())
                // A message_start without its type has an object there.
                || object.string("message").is_some()
                || object.get("success").is_some_and(|success| success.get() == "false")
        }
    }
}

/// What `data`, an error envelope, says. The sentence quotes no more than its type. `whence` begins the sentence.
pub(super) fn of(data: &[u8], whence: &str) -> Error {
    let object = std::str::from_utf8(data).ok().and_then(Object::parse);
    let inner = object.as_ref().and_then(|object| object.object("error"));
    let part = |name: &str| [&inner, &object].into_iter().flatten().find_map(|object| object.get_non_null(name));
    let kind = inner.as_ref().and_then(|inner| inner.string("type")).unwrap_or_default();
    let status = ["code", "status", "statusCode"].into_iter().filter_map(part).find_map(count);
    let code = match kind.as_str() {
        "overloaded_error" => Code::Overloaded,
        "rate_limit_error" => Code::RateLimit,
        "api_error" | "timeout_error" => Code::InternalServer,
        "authentication_error" => Code::Authentication,
        "permission_error" => Code::PermissionDenied,
        "not_found_error" => Code::NotFound,
        "request_too_large" => Code::RequestTooLarge,
        "invalid_request_error" => Code::BadRequest,
        "conflict_error" => Code::Conflict,
        _ => match status {
            Some(status @ 400..=599) => Code::of_status(u16::try_from(status).unwrap_or_default()),
            _ => Code::Api,
        },
    };
    let is_word = (1..=64).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let what = if is_word { kind.as_str() } else { "an error" };
    let http = HttpError { status: 200, body: data.to_vec(), retry_after_ms: None };
    Error::new(code, format!("{whence} {what}.")).with_http(http)
}
