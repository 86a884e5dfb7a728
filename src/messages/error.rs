//! Errors that a provider or gateway sends where a message was expected: in a stream, or as the body of a 200.

use crate::common::error::{Code, Error, HttpError};
use crate::common::json::object::{Object, count};

/// Whether `object`, an event, is an error: the Messages API's, or without `type`, as gateways send it.
pub(super) fn is_error(object: &Object<'_>) -> bool {
    let kind = object.string("type");
    kind.as_deref() == Some("error") || kind.is_none() && object.get_non_null("error").is_some()
}

/// Whether `object` has a shape in which others than the Messages API tell of errors. A message never ends so, but
/// what a gateway says on the way may look alike.
pub(super) fn may_be_error(object: &Object<'_>) -> bool {
    ["error", "errors", "detail"].into_iter().any(|name| object.get_non_null(name).is_some())
        || object.string("message").is_some()
        || object.get("success").is_some_and(|success| success.get() == "false")
}

/// Whether `object` came where a whole message belongs, and tells of an error instead.
pub(super) fn instead_of_message(object: &Object<'_>) -> bool {
    object.get_non_null("content").is_none()
        && match object.string("type").as_deref() {
            Some("error") => true,
            Some("message") => false,
            _ => may_be_error(object),
        }
}

/// What `data`, an error envelope, says. The sentence quotes no more than its type. `whence` begins the sentence.
pub(super) fn of(data: &[u8], whence: &str) -> Error {
    let object = std::str::from_utf8(data).ok().and_then(Object::parse);
    let inner = object.as_ref().and_then(|object| object.object("error"));
    let part = |name: &str| [&inner, &object].into_iter().flatten().find_map(|object| object.get_non_null(name));
    let kind = inner.as_ref().and_then(|inner| inner.string("type")).unwrap_or_default();
    let status = ["code", "status", "statusCode"].into_iter().filter_map(part).find_map(count);
    let code = Code::of_error_type(&kind).unwrap_or(match status {
        Some(status @ 400..=599) => Code::of_status(u16::try_from(status).unwrap_or_default()),
        _ => Code::Api,
    });
    let is_word = (1..=64).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let what = if is_word { kind.as_str() } else { "an error" };
    let http = HttpError { status: 200, body: data.to_vec(), retry_after_ms: None };
    Error::new(code, format!("{whence} {what}.")).with_http(http)
}
