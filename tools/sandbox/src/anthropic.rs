//! Anthropic's Messages API: `POST .../v1/messages`, whole or streamed. Checks requests as the API does.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::http::Request;
use crate::message::{Events, Message};
use crate::reply::{Body, Piece, Reply};
use crate::state::{Sandbox, rfc3339_in};

pub const SERVICE: &str = "anthropic";

/// Members of a request that belong to the metering client. The API refuses what it doesn't know, so a leak is seen.
const LEAKS: &[&str] = &["usage_metadata", "revenium"];
/// The longest message that is built in one piece.
const MAX_WHOLE: usize = 256 * 1024 * 1024;
const REQUESTS_PER_MINUTE: u64 = 4000;

pub fn serves(path: &str) -> bool {
    path.ends_with("/v1/messages")
}

pub fn reply(sandbox: &Sandbox, request: &Request, planned: Option<Arc<Answer>>) -> Reply {
    let n = sandbox.next_id();
    let mut reply = match answer(sandbox, request, planned, n) {
        Ok(reply) => reply,
        Err((status, message)) => Reply::json(status, error_body(status, &message, n)),
    };
    reply.headers.splice(
        0..0,
        [
            ("request-id".into(), format!("req_sandbox_{n}").into()),
            ("anthropic-ratelimit-requests-limit".into(), REQUESTS_PER_MINUTE.to_string().into()),
            ("anthropic-ratelimit-requests-remaining".into(), (REQUESTS_PER_MINUTE - 1).to_string().into()),
            ("anthropic-ratelimit-requests-reset".into(), rfc3339_in(60).into()),
        ],
    );
    reply
}

type Refusal = (u16, String);

fn answer(sandbox: &Sandbox, request: &Request, planned: Option<Arc<Answer>>, n: u64) -> Result<Reply, Refusal> {
    let complete = |answer: &Answer| answer.complete(|status| error_body(status, planned_message(status), n));
    let asked = match planned {
        Some(planned) => Some(planned),
        None => {
            request.header("x-sandbox").map(Answer::from_pairs).transpose().map_err(invalid("x-sandbox"))?.map(Arc::new)
        }
    };
    if let Some(answer) = asked.as_deref().filter(|answer| answer.is_complete()) {
        return Ok(complete(answer));
    }
    let (body, model) = check(request)?;
    let named = Answer::from_model(&model).transpose().map_err(|problem| (404, problem))?.map(Arc::new);
    let set = || sandbox.platform.answers.next("messages.create");
    let answer = asked.or(named).or_else(set).or_else(|| sandbox.failing(SERVICE)).unwrap_or_default();
    if answer.is_complete() {
        return Ok(complete(&answer));
    }
    let message = Message::new(n, &model, &body, &answer.message);
    let mut reply = if body.get("stream") == Some(&Value::Bool(true)) {
        sse(message.events(answer.shape.end))
    } else if message.length() > MAX_WHOLE {
        return Err((400, "deltas: too many for a message in one piece".into()));
    } else {
        Reply::json(200, message.json())
    };
    answer.apply(&mut reply);
    Ok(reply)
}

fn check(request: &Request) -> Result<(Map<String, Value>, String), Refusal> {
    if request.method != "POST" {
        return Err((405, "Method Not Allowed".into()));
    }
    let present = |name: &str| request.header(name).is_some_and(|value| !value.trim().is_empty());
    if !present("x-api-key") && !present("authorization") {
        return Err((401, "x-api-key header is required".into()));
    }
    if !present("anthropic-version") {
        return Err((400, "anthropic-version: header is required".into()));
    }
    let body: Value =
        serde_json::from_slice(&request.body).map_err(|e| (400, format!("The request body is not valid JSON: {e}")))?;
    let Value::Object(body) = body else { return Err((400, "Input should be an object".into())) };
    if let Some(leak) = LEAKS.iter().find(|name| body.contains_key(**name)) {
        return Err((400, format!("{leak}: Extra inputs are not permitted")));
    }
    let field = |name: &str| body.get(name).ok_or_else(|| (400, format!("{name}: Field required")));
    let Some(model) = field("model")?.as_str().map(str::to_owned) else {
        return Err((400, "model: Input should be a valid string".into()));
    };
    if model.is_empty() {
        return Err((400, "model: String should have at least 1 character".into()));
    }
    if field("max_tokens")?.as_u64().is_none_or(|tokens| tokens == 0) {
        return Err((400, "max_tokens: Input should be an integer greater than or equal to 1".into()));
    }
    match field("messages")?.as_array() {
        None => Err((400, "messages: Input should be a valid list".into())),
        Some(messages) if messages.is_empty() => Err((400, "messages: at least one message is required".into())),
        Some(_) => Ok((body, model)),
    }
}

fn invalid(place: &str) -> impl Fn(String) -> Refusal {
    move |problem| (400, format!("{place}: {problem}"))
}

/// One chunk opens the stream, each delta is one, and one closes it.
fn sse(events: Events) -> Reply {
    let group = |events: &[(&str, String)]| {
        Piece::once(events.iter().map(|(kind, json)| event(kind, json)).collect::<String>())
    };
    let mut pieces = vec![group(&events.opening)];
    let deltas = events.deltas.iter();
    pieces
        .extend(deltas.map(|(json, times)| Piece { bytes: event("content_block_delta", json).into(), times: *times }));
    pieces.push(group(&events.closing));
    let mut reply = Reply::new(200, "text/event-stream; charset=utf-8", Body::Pieces(pieces));
    reply.set_header("cache-control", "no-cache");
    reply
}

fn event(kind: &str, json: &str) -> String {
    format!("event: {kind}\ndata: {json}\n\n")
}

pub fn error_body(status: u16, message: &str, n: u64) -> String {
    let kind = match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let error = json!({"type": kind, "message": message});
    json!({"type": "error", "error": error, "request_id": format!("req_sandbox_{n}")}).to_string()
}

fn planned_message(status: u16) -> &'static str {
    match status {
        429 => "This request would exceed the rate limit (planned by the sandbox)",
        529 => "Overloaded (planned by the sandbox)",
        _ => "Planned by the sandbox",
    }
}
