//! ---- calls that something else makes ----

use super::types::*;
use super::{edge, scope};
use crate::client::handles::Object;
use crate::client::process::process;
use crate::common::error::Code;
use std::ffi::{c_char, c_void};
use std::sync::Arc;

/// Meter a call that this library did not make: one of any HTTP client, a
/// gateway, Google Vertex AI, Microsoft Foundry, AWS Bedrock, or one answer of a
/// Message Batch. Each record is one billable transaction at Revenium: record a
/// call once, and never one that this library made.
///
/// record: a JSON object.
///   "request": the request's body; its "usage_metadata" and "revenium" count
///     as they do in a call of this library. May be absent.
///   "response": the message, or the body of the error; or "events": the text
///     of its stream (server-sent events); or "error": {"status", "type"}, the
///     type being the provider's, or "timeout", "connection" or "cancelled".
///   "provider": "anthropic", "bedrock", "vertex" or "foundry". Else the
///     request's "anthropic_version" tells, else it is Anthropic.
///   "model": what was called where the request does not say it, as the id in a
///     URL of Bedrock or Vertex AI. "region": likewise.
///   "streamed": true or false. "started_at": RFC 3339, or milliseconds since
///     1970. "duration_ms", "time_to_first_token_ms", "attempts": numbers.
///   "usage_metadata": over the scope's and the request's.
///   "batch": true for an answer of a Message Batch, with "batch_id" and the
///     members of a line of its results ("custom_id", "result"). Such an answer
///     is recorded once, however often the results are read: what was recorded
///     is remembered for 30 days, beside the spool. Requests that were cancelled
///     or expired used nothing and leave no record.
///   An unknown member is REVENIUM_E_ARGUMENT.
/// detail: may be NULL. On success a result whose info tells "metered" and
///   "transaction_id", and whose usage is the reply's.
/// With the setting `otlp` on, the call is a span as well, in the trace context
///   that the request's "revenium" or the scope names; answers of a batch are
///   none, since nobody waited for them.
/// Never waits for the network: the record is on disk when this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_record(
    record: *const c_char,
    record_len: usize,
    scope: revenium_scope,
    detail: *mut revenium_result,
) -> i32 {
    // SAFETY: the header asks for valid pointers.
    unsafe {
        edge::with_result(detail, true, || {
            let record = edge::required_text(record, record_len)?;
            let outcome = process().client()?.record(record, scope::named(scope)?)?;
            Ok(Some(Arc::new(outcome)))
        })
    }
}

/// Begin to watch a call that something else is making now. Its reply goes
/// through revenium_tap_write() as its bytes come, and the record is made when
/// it ends.
///
/// request: the request's body; or, with a member "request" that holds it, the
///   object of revenium_record() without what came of the call: "provider",
///   "model", "region", "streamed", "usage_metadata". With `otlp` on it is a span,
///   as in revenium_record(); "dropin" in its "revenium" says that its SDK makes
///   one of its own.
/// tap: receives a handle to release; or, on an error, a result with its reason.
/// Never waits. One tap may be used by any thread, by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_tap_new(
    request: *const c_char,
    request_len: usize,
    scope: revenium_scope,
    tap: *mut revenium_tap,
) -> i32 {
    // SAFETY: the header asks for valid pointers.
    unsafe {
        edge::with_handle(tap, false, || {
            let request = edge::required_text(request, request_len)?;
            let tap = process().client()?.tap(request, scope::named(scope)?)?;
            Ok(process().handles.insert(Object::Tap(Arc::new(tap))))
        })
    }
}

/// More bytes of the reply's body, without its content coding (gzip, say): one
/// JSON document, server-sent events or an AWS event stream, cut anywhere. What
/// cannot be read shows in the record and is no error here. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_tap_write(tap: revenium_tap, bytes: *const c_void, len: usize) -> i32 {
    edge::code(|| {
        let tap = process().handles.tap(tap)?;
        // SAFETY: the header asks for so many readable bytes.
        let bytes = unsafe { edge::bytes(bytes, len)? };
        if !bytes.is_empty() {
            tap.write(bytes);
        }
        Ok(Code::Ok)
    })
}

/// The call is over, and leaves its record. Once: a second time is REVENIUM_OK
/// and changes nothing.
///
/// ending: NULL when the reply came as the provider sent it. Else a JSON object
///   {"status", "error"}: the HTTP status of a reply that was no success; what
///   broke the call, as the "type" in revenium_record().
/// A tap that is released, or alive at revenium_shutdown(), without this is a
/// call that was cancelled, with what was used until then. Never waits for the
/// network.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_tap_end(tap: revenium_tap, ending: *const c_char, ending_len: usize) -> i32 {
    edge::code(|| {
        let tap = process().handles.tap(tap)?;
        // SAFETY: the header asks for valid pointers.
        tap.end(unsafe { edge::text(ending, ending_len)? })?;
        Ok(Code::Ok)
    })
}

/// Meter one use of a tool: a search, a crawl, a run of code, anything that costs
/// beside the model's tokens. Each event is one billable transaction at Revenium.
///
/// event: a JSON object, its names in camelCase or snake_case. "toolId" is
///   needed. "operation" ("execute"), "durationMs", "success" (true, unless there
///   is an error), "timestamp" (its begin; RFC 3339, or milliseconds since 1970),
///   "errorType", "errorMessage" (sent with `capture_error_messages` only),
///   "transactionId" (yours: events that share one are told apart), "costUsd",
///   "usageMetadata": an object of what the tool used or made. Who it was for:
///   "agent", "organizationName", "productName", "traceId", "agenticJobId", else
///   the scope's; "workflowId", "subscriberCredential".
///   An unknown member is REVENIUM_E_ARGUMENT.
/// detail: may be NULL. On success a result whose info tells "metered" and
///   "transaction_id".
/// With the setting `otlp` on, it is a span "execute_tool TOOL" as well, in the
///   trace context that the scope names.
/// Never waits for the network: the event is on disk when this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_tool_event(
    event: *const c_char,
    event_len: usize,
    scope: revenium_scope,
    detail: *mut revenium_result,
) -> i32 {
    // SAFETY: the header asks for valid pointers.
    unsafe {
        edge::with_result(detail, true, || {
            let event = edge::required_text(event, event_len)?;
            let outcome = process().client()?.tool_event(event, scope::named(scope)?)?;
            Ok(Some(Arc::new(outcome)))
        })
    }
}
