//! How one call ended, or why something failed: what a result handle stands for.

use crate::common::error::{Code, Error};
use crate::common::json::writer::ObjectWriter;
use crate::completion::quote::with_quote;
use crate::messages::{Message, Summary, text_of};
use crate::provider::{Head, Provider};
use once_cell::sync::OnceCell;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// UTF-8 with a NUL behind it, for C. NULs inside are kept; the length tells.
pub struct Text(Box<[u8]>);

impl Text {
    pub fn new(text: impl Into<Vec<u8>>) -> Text {
        let mut bytes = text.into();
        // Not more than that: the box would be moved once more to lose it.
        bytes.reserve_exact(1);
        bytes.push(0);
        Text(bytes.into_boxed_slice())
    }

    /// Without the NUL.
    pub fn bytes(&self) -> &[u8] {
        &self.0[..self.0.len() - 1]
    }

    /// Points at the text, which the NUL follows.
    pub fn as_ptr(&self) -> *const std::ffi::c_char {
        self.0.as_ptr().cast()
    }
}

/// What kept another provider from answering, so that Anthropic was asked instead.
pub struct Fallback {
    pub from: Provider,
    pub error: Error,
}

/// What `info` tells beside the reply.
#[derive(Default)]
pub struct Facts {
    /// Who answered, or was asked last.
    pub provider: Option<Provider>,
    pub head: Option<Arc<Head>>,
    pub fallback: Option<Fallback>,
    pub model: Option<String>,
    pub stop_reason: Option<String>,
    pub transaction_id: Option<String>,
    pub duration: Duration,
    pub first_token: Option<Duration>,
    pub attempts: u32,
    pub metered: bool,
    /// The output tokens of a reply that broke off, where the record's are an estimate.
    pub estimated_output: Option<i64>,
}

/// The text of a reply: ready, or still to be taken out of its JSON.
enum Body {
    Whole,
    Streamed(String),
    None,
}

pub struct Outcome {
    pub code: Code,
    pub summary: Summary,
    pub facts: Facts,
    json: Text,
    message: Text,
    request_id: Text,
    body: Body,
    retry_after_ms: Option<u64>,
    /// Of an answer that has no head, as Revenium's platform gives it.
    http_status: Option<u16>,
    text: OnceCell<Text>,
    info: OnceCell<Text>,
}

impl Outcome {
    /// A reply that came whole. `json` is what the provider sent.
    pub fn reply(json: Vec<u8>, summary: Summary, facts: Facts) -> Outcome {
        Outcome::build(Code::Ok, json, String::new(), summary, facts, Body::Whole, None)
    }

    /// A streamed reply, put together.
    pub fn streamed(json: Vec<u8>, message: Message, facts: Facts) -> Outcome {
        let body = Body::Streamed(message.text());
        Outcome::build(Code::Ok, json, String::new(), message.summary().clone(), facts, body, None)
    }

    /// A call that failed. `message`: what had arrived of a stream. `quote`: say what the provider says of the request.
    pub fn failed(error: &Error, message: Option<&Message>, facts: Facts, quote: bool) -> Outcome {
        let sentence = if quote { with_quote(error) } else { error.message.clone() };
        let summary = message.map(|m| m.summary().clone()).unwrap_or_default();
        let body = message.map_or(Body::None, |m| Body::Streamed(m.text()));
        let retry_after = error.http.as_ref().and_then(|http| http.retry_after_ms);
        let outcome =
            Outcome::build(error.code, error_json(error, &sentence), sentence, summary, facts, body, retry_after);
        Outcome { http_status: error.status(), ..outcome }
    }

    /// Something other than a call that failed: a setting, an argument.
    pub fn error(error: &Error) -> Outcome {
        Outcome::failed(error, None, Facts::default(), false)
    }

    /// Something other than a call that has JSON to tell.
    pub fn document(json: Vec<u8>) -> Outcome {
        Outcome::document_with(json, Facts::default())
    }

    pub fn document_with(json: Vec<u8>, facts: Facts) -> Outcome {
        Outcome::build(Code::Ok, json, String::new(), Summary::default(), facts, Body::None, None)
    }

    fn build(
        code: Code,
        json: Vec<u8>,
        message: String,
        summary: Summary,
        facts: Facts,
        body: Body,
        retry_after_ms: Option<u64>,
    ) -> Outcome {
        let request_id = facts.head.as_ref().map(|head| head.request_id.clone()).unwrap_or_default();
        Outcome {
            code,
            summary,
            facts,
            json: Text::new(json),
            message: Text::new(message),
            request_id: Text::new(request_id),
            body,
            retry_after_ms,
            http_status: None,
            text: OnceCell::new(),
            info: OnceCell::new(),
        }
    }

    pub fn json(&self) -> &Text {
        &self.json
    }

    pub fn message(&self) -> &Text {
        &self.message
    }

    pub fn request_id(&self) -> &Text {
        &self.request_id
    }

    pub fn text(&self) -> &Text {
        self.text.get_or_init(|| match &self.body {
            Body::Whole => Text::new(text_of(self.json.bytes())),
            Body::Streamed(text) => Text::new(text.as_str()),
            Body::None => Text::new(""),
        })
    }

    pub fn info(&self) -> &Text {
        self.info.get_or_init(|| {
            let mut info = info(Some(self.code), &self.facts, self.retry_after_ms);
            if self.facts.head.is_none() {
                info.maybe("http_status", self.http_status.as_ref());
            }
            Text::new(info.finish())
        })
    }
}

/// The members of `revenium_result_info()`; `code` is absent while the call runs.
pub fn info_json(code: Option<Code>, facts: &Facts, retry_after_ms: Option<u64>) -> Vec<u8> {
    info(code, facts, retry_after_ms).finish()
}

fn info(code: Option<Code>, facts: &Facts, retry_after_ms: Option<u64>) -> ObjectWriter {
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let mut info = ObjectWriter::new(1024);
    info.put("attempts", &facts.attempts);
    info.put("metered", &facts.metered);
    info.maybe("code", code.map(Code::name));
    info.maybe("duration_ms", code.map(|_| millis(facts.duration)).as_ref());
    info.maybe("provider", facts.provider.map(Provider::name));
    if let Some(Fallback { from, error }) = &facts.fallback {
        let told = json!({ "from": from.name(), "code": error.code.name(), "message": error.message });
        info.put("fallback", &told);
    }
    if let Some(head) = &facts.head {
        info.put("http_status", &head.status);
        info.put("headers", &head.headers_json());
        info.maybe("request_id", Some(&*head.request_id).filter(|id| !id.is_empty()));
    }
    info.maybe("retry_after_ms", retry_after_ms.as_ref());
    info.maybe("model", facts.model.as_ref());
    info.maybe("stop_reason", facts.stop_reason.as_ref());
    info.maybe("transaction_id", facts.transaction_id.as_ref());
    if let Some(output) = facts.estimated_output {
        info.put("usage_estimated", &true);
        info.put("estimated_output_tokens", &output);
    }
    info.maybe("time_to_first_token_ms", facts.first_token.map(millis).as_ref());
    info
}

/// `{"type":"error","error":{...}}`: the provider's own where it sent one, else in the same shape.
fn error_json(error: &Error, sentence: &str) -> Vec<u8> {
    let body = error.http.as_ref().map(|http| http.body.as_slice()).unwrap_or_default();
    if matches!(serde_json::from_slice::<Value>(body), Ok(Value::Object(object)) if object.contains_key("error")) {
        return body.to_vec();
    }
    let mut inner = json!({ "type": error.code.error_type(), "message": sentence });
    if !body.is_empty() {
        // Not an error object: a proxy's page, say. Keep it, so that nothing the provider said is lost.
        inner["body"] = String::from_utf8_lossy(body).into();
    }
    json!({ "type": "error", "error": inner }).to_string().into_bytes()
}
