//! What the provider says of a request that it refused, for a person to read.

use crate::common::error::{Code, Error};
use crate::common::log::redact;
use serde::Deserialize;

/// Enough for a sentence; a prompt that it may quote is cut.
const MAX_CHARS: usize = 200;

/// `error`'s own sentence, and the provider's behind it where there is one about the request.
pub fn with_quote(error: &Error) -> String {
    match of(error) {
        Some(quote) => format!("{} It says: \"{quote}\"", error.message),
        None => error.message.clone(),
    }
}

fn of(error: &Error) -> Option<String> {
    let about_the_request = matches!(
        error.code,
        Code::BadRequest
            | Code::Authentication
            | Code::PermissionDenied
            | Code::NotFound
            | Code::Conflict
            | Code::RequestTooLarge
            | Code::Unprocessable
            | Code::RateLimit
    );
    let body = error.http.as_ref().filter(|_| about_the_request)?.body.as_slice();
    let said = said(body)?;
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    // Redacted before it is cut, as half a key would not be known for one.
    let line = redact(&line);
    let mut quote: String = line.chars().take(MAX_CHARS).collect();
    if quote.len() < line.len() {
        quote.push('…');
    }
    Some(quote).filter(|quote| !quote.is_empty())
}

/// The message of an error body: the Messages API's, or AWS's.
fn said(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Anthropic {
        error: Message,
    }
    #[derive(Deserialize)]
    struct Message {
        #[serde(alias = "Message")]
        message: String,
    }
    let anthropic = || serde_json::from_slice::<Anthropic>(body).map(|body| body.error.message);
    let aws = || serde_json::from_slice::<Message>(body).map(|body| body.message);
    anthropic().or_else(|_| aws()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::error::HttpError;

    fn told(code: Code, body: &str) -> String {
        let http = HttpError { status: 400, body: body.into(), retry_after_ms: None };
        with_quote(&Error::new(code, "It failed.").with_http(http))
    }

    #[test]
    fn what_the_provider_says_of_a_request_is_quoted() {
        for (body, quote) in [
            (
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: Field required"}}"#,
                "max_tokens: Field required",
            ),
            (r#"{"error":{"message":" model:\n\tclaude-x\u0000 "}}"#, "model: claude-x"),
            (r#"{"message":"The provided model identifier is invalid."}"#, "The provided model identifier is invalid."),
            (r#"{"Message":"User is not authorized"}"#, "User is not authorized"),
            (r#"{"error":{"message":"no user ada@example.com"}}"#, "no user [REDACTED]"),
        ] {
            assert_eq!(told(Code::BadRequest, body), format!("It failed. It says: \"{quote}\""), "{body}");
        }
        for body in
            ["", "<html>no</html>", r#"{"error":"no"}"#, r#"{"error":{"message":7}}"#, r#"{"message":""}"#, "[]"]
        {
            assert_eq!(told(Code::BadRequest, body), "It failed.", "{body}");
        }
        // Not about the request.
        assert_eq!(told(Code::Overloaded, r#"{"error":{"message":"Overloaded"}}"#), "It failed.");
    }

    #[test]
    fn a_long_quote_is_cut_between_characters() {
        let long = told(Code::BadRequest, &format!(r#"{{"error":{{"message":"{}"}}}}"#, "ü".repeat(201)));
        assert_eq!(long, format!("It failed. It says: \"{}…\"", "ü".repeat(200)));
        let fits = told(Code::BadRequest, &format!(r#"{{"error":{{"message":"{}"}}}}"#, "ü".repeat(200)));
        assert_eq!(fits, format!("It failed. It says: \"{}\"", "ü".repeat(200)));
        let key = format!("{} sk-ant-{}", "x".repeat(190), "k".repeat(40));
        assert!(!told(Code::BadRequest, &format!(r#"{{"error":{{"message":"{key}"}}}}"#)).contains("kk"));
    }
}
