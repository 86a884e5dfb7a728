//! AWS Bedrock: `POST /model/{id}/invoke` and `/invoke-with-response-stream`. Checks requests as the service does, but
//! for the signature's value: a test with a second implementation can verify that from what was recorded.

use std::sync::Arc;

use base64::Engine;
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::http::Request;
use crate::message::{Events, Message};
use crate::reply::{Body, Piece, Reply};
use crate::state::Sandbox;

pub const SERVICE: &str = "bedrock";

/// Members of a request that belong elsewhere: to the metering client, or into the path.
const LEAKS: &[&str] = &["usage_metadata", "revenium", "model", "stream"];
const VERSIONS: &[&str] = &["bedrock-2023-05-31", "2026-10-21"];
/// What answers for profiles and deployments, whose ids name no model.
const MODEL: &str = "claude-sonnet-4-5-20250929";
const STREAM: &str = "application/vnd.amazon.eventstream";

/// Id and whether it is streamed, from a path.
fn parse(path: &str) -> Option<(String, bool)> {
    let (id, operation) = path.strip_prefix("/model/")?.split_once('/')?;
    match operation {
        "invoke" => Some((decoded(id)?, false)),
        "invoke-with-response-stream" => Some((decoded(id)?, true)),
        _ => None,
    }
}

/// Without its percent signs. A segment with a character that has to be encoded is none.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => bytes.push(byte),
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok().filter(|id| !id.is_empty())
}

pub fn serves(path: &str) -> bool {
    parse(path).is_some()
}

pub fn reply(sandbox: &Sandbox, request: &Request, planned: Option<Arc<Answer>>) -> Reply {
    let n = sandbox.next_id();
    let mut reply = match answer(sandbox, request, planned, n) {
        Ok(reply) => reply,
        Err((status, kind, message)) => {
            let mut reply = Reply::json(status, json!({"message": message}).to_string());
            reply.set_header("x-amzn-errortype", kind);
            reply
        }
    };
    reply.headers.insert(0, ("x-amzn-requestid".into(), format!("00000000-0000-4000-8000-{n:012}").into()));
    reply
}

type Refusal = (u16, &'static str, String);

fn invalid(message: impl Into<String>) -> Refusal {
    (400, "ValidationException", message.into())
}

fn answer(sandbox: &Sandbox, request: &Request, planned: Option<Arc<Answer>>, n: u64) -> Result<Reply, Refusal> {
    let asked = match planned {
        Some(planned) => Some(planned),
        None => request.header("x-sandbox").map(Answer::from_pairs).transpose().map_err(invalid)?.map(Arc::new),
    };
    if let Some(answer) = asked.as_deref().filter(|answer| answer.is_complete()) {
        return Ok(complete(answer));
    }
    let (id, streamed) = parse(&request.path).ok_or_else(|| invalid("The path is malformed"))?;
    let body = check(request)?;
    let model = name_of(&id);
    let named = Answer::from_model(&model).transpose().map_err(invalid)?.map(Arc::new);
    let set = || sandbox.platform.answers.next("bedrock.invoke");
    let answer = asked.or(named).or_else(set).or_else(|| sandbox.failing(SERVICE)).unwrap_or_default();
    if answer.is_complete() {
        return Ok(complete(&answer));
    }
    let message = Message::new(n, &model, &body, &answer.message).of_bedrock();
    let mut reply = if streamed {
        stream(message.events(answer.shape.end), &message, &answer)
    } else {
        let mut reply = Reply::json(200, message.json());
        for (name, count) in message.counts() {
            reply.set_header(format!("X-Amzn-Bedrock-{name}-Token-Count"), count.to_string());
        }
        reply.set_header("X-Amzn-Bedrock-Invocation-Latency", "7");
        reply
    };
    answer.apply(&mut reply);
    Ok(reply)
}

fn complete(answer: &Answer) -> Reply {
    let mut reply = answer.complete(|_| json!({"message": "Planned by the sandbox"}).to_string());
    if reply.status >= 400 && !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("x-amzn-errortype")) {
        reply.set_header("x-amzn-errortype", error_type(reply.status));
    }
    reply
}

fn error_type(status: u16) -> &'static str {
    match status {
        400 => "ValidationException",
        403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        503 | 529 => "ServiceUnavailableException",
        _ => "InternalServerException",
    }
}

fn check(request: &Request) -> Result<Map<String, Value>, Refusal> {
    if request.method != "POST" {
        return Err((405, "UnknownOperationException", "Method Not Allowed".into()));
    }
    authenticate(request)?;
    if request.header("x-api-key").is_some() {
        return Err(invalid("a key for Anthropic was sent to AWS"));
    }
    if request.header("content-type") != Some("application/json") {
        return Err(invalid("content-type: expected application/json"));
    }
    let body: Value = serde_json::from_slice(&request.body)
        .map_err(|e| invalid(format!("Malformed input request: {e}, please reformat your input and try again.")))?;
    let Value::Object(body) = body else { return Err(invalid("Malformed input request: expected type: JSONObject")) };
    if let Some(leak) = LEAKS.iter().find(|name| body.contains_key(**name)) {
        return Err(invalid(format!("{leak}: Extra inputs are not permitted")));
    }
    let version = body.get("anthropic_version").and_then(Value::as_str).unwrap_or_default();
    if !VERSIONS.contains(&version) {
        return Err(invalid("anthropic_version: Field required"));
    }
    if body.get("anthropic_beta").is_some_and(|betas| !betas.is_array()) {
        return Err(invalid("anthropic_beta: Input should be a valid list"));
    }
    if body.get("max_tokens").and_then(Value::as_u64).is_none_or(|tokens| tokens == 0) {
        return Err(invalid("max_tokens: Field required"));
    }
    match body.get("messages").and_then(Value::as_array) {
        None => Err(invalid("messages: Input should be a valid list")),
        Some(messages) if messages.is_empty() => Err(invalid("messages: at least one message is required")),
        Some(_) => Ok(body),
    }
}

/// A signature of version 4 for Bedrock with all it needs, or a Bedrock API key.
fn authenticate(request: &Request) -> Result<(), Refusal> {
    let refused = |kind, message: &str| Err((403, kind, message.to_owned()));
    let Some(authorization) = request.header("authorization") else {
        return refused("MissingAuthenticationTokenException", "Missing Authentication Token");
    };
    if authorization.strip_prefix("Bearer ").is_some_and(|key| !key.is_empty()) {
        return Ok(());
    }
    let Some(parts) = authorization.strip_prefix("AWS4-HMAC-SHA256 ") else {
        return refused("IncompleteSignatureException", "Authorization header is not a signature");
    };
    let part = |name: &str| parts.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let (Some(credential), Some(signed), Some(signature)) =
        (part("Credential"), part("SignedHeaders"), part("Signature"))
    else {
        return refused("IncompleteSignatureException", "Authorization header lacks a part");
    };
    let date = request.header("x-amz-date").unwrap_or_default();
    let scope: Vec<&str> = credential.split('/').collect();
    let [key, day, region, "bedrock", "aws4_request"] = scope[..] else {
        return refused("InvalidSignatureException", "Credential should be scoped to a valid service");
    };
    let is_whole = !key.is_empty() && !region.is_empty() && !day.is_empty() && date.starts_with(day);
    let is_hex = signature.len() == 64 && signature.bytes().all(|b| b.is_ascii_hexdigit());
    let mut must_be_signed = vec!["host", "x-amz-date"];
    must_be_signed.extend(request.header("x-amz-security-token").map(|_| "x-amz-security-token"));
    let is_signed = must_be_signed.iter().all(|name| signed.split(';').any(|signed| signed == *name));
    if !(is_whole && is_hex && is_signed) {
        return refused("InvalidSignatureException", "The request signature does not hold");
    }
    Ok(())
}

/// The Anthropic name that a reply gives its model.
fn name_of(id: &str) -> String {
    let Some((_, name)) = id.rsplit_once("anthropic.") else { return MODEL.to_owned() };
    let name = name.split(':').next().unwrap_or_default();
    let version = name.rsplit_once("-v").filter(|(_, version)| version.bytes().all(|b| b.is_ascii_digit()));
    version.map_or(name, |(name, _)| name).to_owned()
}

/// One chunk opens the stream, each delta is one, and one closes it.
fn stream(events: Events, message: &Message, answer: &Answer) -> Reply {
    let wanted = &answer.message;
    let fault = wanted.frames.as_deref().unwrap_or_default();
    let mut pieces = vec![Piece::once(events.opening.iter().flat_map(|(_, json)| chunk(json)).collect::<Vec<u8>>())];
    let mut deltas: Vec<Piece> =
        events.deltas.iter().map(|(json, times)| Piece { bytes: chunk(json).into(), times: *times }).collect();
    if fault == "bad-crc"
        && let Some(last) = deltas.last_mut()
    {
        let mut bytes = last.bytes.to_vec();
        if let Some(byte) = bytes.last_mut() {
            *byte ^= 0xff;
        }
        *last = Piece::once(bytes);
    }
    pieces.append(&mut deltas);
    let closing: Vec<u8> = match (&wanted.exception, fault) {
        (Some(kind), _) => exception(kind),
        (None, "error") => frame(
            &[(":message-type", "error"), (":error-code", "InternalError"), (":error-message", "An internal error")],
            b"",
        ),
        (None, "unfinished") => chunk(r#"{"type":"ping"}"#)[..20].to_vec(),
        (None, "no-stop") => Vec::new(),
        (None, _) => {
            events.closing.iter().flat_map(|(kind, json)| closed(kind, json, message, wanted.metrics)).collect()
        }
    };
    pieces.push(Piece::once(closing));
    let mut reply = Reply::new(200, STREAM, Body::Pieces(pieces));
    reply.set_header("X-Amzn-Bedrock-Content-Type", "application/json");
    reply
}

/// Where a stream says what it cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Metrics {
    /// In message_stop, as the service does.
    #[default]
    InStop,
    /// In a chunk of their own before it.
    Alone,
    None,
}

fn closed(kind: &str, json: &str, message: &Message, metrics: Metrics) -> Vec<u8> {
    if kind != "message_stop" || metrics == Metrics::None {
        return chunk(json);
    }
    let [input, output, cache_read, cache_write] = message.counts().map(|(_, count)| count);
    let counts = json!({
        "inputTokenCount": input, "outputTokenCount": output, "invocationLatency": 7, "firstByteLatency": 3,
        "cacheReadInputTokenCount": cache_read, "cacheWriteInputTokenCount": cache_write,
    });
    match metrics {
        Metrics::Alone => {
            [chunk(&json!({ "amazon-bedrock-invocationMetrics": counts }).to_string()), chunk(json)].concat()
        }
        _ => chunk(&format!(r#"{{"type":"message_stop","amazon-bedrock-invocationMetrics":{counts}}}"#)),
    }
}

fn exception(kind: &str) -> Vec<u8> {
    let headers = [(":message-type", "exception"), (":exception-type", kind), (":content-type", "application/json")];
    frame(&headers, json!({"message": "Planned by the sandbox"}).to_string().as_bytes())
}

/// A frame with one event. The padding hides the length of what the model said.
fn chunk(json: &str) -> Vec<u8> {
    let bytes = base64::engine::general_purpose::STANDARD.encode(json);
    let padding = &"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[..json.len() % 62];
    let payload = format!(r#"{{"bytes":"{bytes}","p":"{padding}"}}"#);
    let headers = [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")];
    frame(&headers, payload.as_bytes())
}

/// Length, length of the headers, checksum of both; headers; payload; checksum of all that.
fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    const STRING: u8 = 7;
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(name.len() as u8);
        block.extend_from_slice(name.as_bytes());
        block.push(STRING);
        block.extend_from_slice(&(value.len() as u16).to_be_bytes());
        block.extend_from_slice(value.as_bytes());
    }
    let total = 12 + block.len() + payload.len() + 4;
    let mut frame = Vec::with_capacity(total);
    frame.extend_from_slice(&(total as u32).to_be_bytes());
    frame.extend_from_slice(&(block.len() as u32).to_be_bytes());
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&block);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_from_paths() {
        for (path, want) in [
            ("/model/anthropic.claude-x-v1%3A0/invoke", Some(("anthropic.claude-x-v1:0", false))),
            ("/model/us.anthropic.claude-x/invoke-with-response-stream", Some(("us.anthropic.claude-x", true))),
            ("/model/arn%3Aaws%3Abedrock%3Ar%3A1%3Ax%2Fy/invoke", Some(("arn:aws:bedrock:r:1:x/y", false))),
            ("/model/arn:aws:x/y/invoke", None),
            ("/model//invoke", None),
            ("/model/a%2/invoke", None),
            ("/model/a b/invoke", None),
            ("/v1/messages", None),
        ] {
            assert_eq!(parse(path), want.map(|(id, streamed)| (id.to_owned(), streamed)), "{path}");
        }
    }

    #[test]
    fn ids_name_models() {
        for (id, want) in [
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
            ("anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
            ("anthropic.claude-opus-4-7", "claude-opus-4-7"),
            ("arn:aws:bedrock:r:1:application-inference-profile/x", MODEL),
        ] {
            assert_eq!(name_of(id), want, "{id}");
        }
    }

    #[test]
    fn a_frame_is_laid_out_as_the_format_says() {
        // An example of the format's own: no headers, no payload.
        assert_eq!(frame(&[], b""), [0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff]);
        let frame = frame(&[("a", "bc")], b"xyz");
        assert_eq!(frame.len(), 12 + 7 + 3 + 4);
        assert_eq!(&frame[12..22], b"\x01a\x07\x00\x02bcxyz");
    }
}
