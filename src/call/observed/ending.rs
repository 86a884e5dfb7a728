//! How somebody else's call ended, in the words of whoever made it.

use crate::common::error::{Code, Error, HttpError, Result};
use serde_json::Value;

/// `{"status", "error"}` or `{"status", "type"}`; the error may be its type or the object that holds it. `None`: it ended
/// well.
pub fn of(ending: &Value) -> Result<Option<Error>> {
    let wrong = |what: &str| Err(Error::new(Code::Argument, format!("{what}.")));
    let Some(members) = ending.as_object() else {
        return wrong("An ending must be an object such as {\"status\":429}");
    };
    let status = match members.get("status") {
        None | Some(Value::Null) => None,
        Some(status) => match status.as_u64().and_then(|status| u16::try_from(status).ok()) {
            Some(status @ (0 | 100..=599)) => Some(status).filter(|status| *status > 0),
            _ => return wrong("\"status\" must be an HTTP status"),
        },
    };
    let named = ["error", "type"].iter().find_map(|name| members.get(*name).filter(|value| !value.is_null()));
    let kind = match named {
        None => None,
        Some(Value::String(kind)) => Some(kind.as_str()),
        Some(Value::Object(error)) => Some(error.get("type").and_then(Value::as_str).unwrap_or("error")),
        Some(_) => return wrong("\"error\" must be the error's type, or the object that holds it"),
    };
    let code = match (status, kind) {
        (Some(status @ 400..), _) => Code::of_status(status),
        (_, None) => return Ok(None),
        (_, Some("cancelled" | "canceled")) => Code::Cancelled,
        (_, Some("connection" | "connection_error")) => Code::Connection,
        (_, Some("stream" | "stream_error")) => Code::Stream,
        // The Messages API has an error of this name too, which comes with a status.
        (None, Some("timeout" | "timeout_error")) => Code::Timeout,
        (_, Some(kind)) => Code::of_error_type(kind).unwrap_or(Code::Api),
    };
    let error = Error::new(code, "The call failed.");
    let answered =
        status.is_some() || !matches!(code, Code::Cancelled | Code::Connection | Code::Stream | Code::Timeout);
    // An error that came without a status of its own came in a reply of 200.
    let http = HttpError { status: status.unwrap_or(200), ..HttpError::default() };
    Ok(Some(if answered { error.with_http(http) } else { error }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn endings_in_all_their_forms() {
        for (ending, code, status) in [
            (json!({"status": 429}), Some(Code::RateLimit), Some(429)),
            (json!({"status": 529, "error": "overloaded_error"}), Some(Code::Overloaded), Some(529)),
            (json!({"status": 200, "error": {"type": "overloaded_error"}}), Some(Code::Overloaded), Some(200)),
            (json!({"error": {"message": "who knows"}}), Some(Code::Api), Some(200)),
            (json!({"type": "invalid_request_error"}), Some(Code::BadRequest), Some(200)),
            (json!({"error": "connection"}), Some(Code::Connection), None),
            (json!({"status": 0, "error": "timeout"}), Some(Code::Timeout), None),
            (json!({"status": 504, "error": "timeout_error"}), Some(Code::InternalServer), Some(504)),
            (json!({"error": "cancelled"}), Some(Code::Cancelled), None),
            (json!({"status": 200}), None, None),
            (json!({}), None, None),
            (json!({"status": null, "error": null}), None, None),
        ] {
            let error = of(&ending).unwrap();
            assert_eq!(error.as_ref().map(|error| error.code), code, "{ending}");
            assert_eq!(error.and_then(|error| error.status()), status, "{ending}");
        }
        for ending in [json!([]), json!(null), json!({"status": "429"}), json!({"status": 70000}), json!({"error": 5})]
        {
            assert_eq!(of(&ending).unwrap_err().code, Code::Argument, "{ending}");
        }
    }
}
