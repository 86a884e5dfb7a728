//! ---- messages ----

use super::types::*;
use super::{edge, scope};
use crate::call::Call;
use crate::client::Begin;
use crate::client::process::process;
use crate::common::error::{Code, Error, Result};
use crate::completion::Target;
use crate::completion::backpressure::Backpressure;
use crate::completion::callbacks::{Callbacks, Handlers};
use crate::completion::inbox::{Inbox, Item};
use crate::completion::outcome::Outcome;
use crate::messages::Event;
use crate::messages::request::Streaming;
use std::ffi::{c_char, c_void};
use std::ops::ControlFlow;
use std::sync::Arc;

fn begin(request: &str, streaming: Streaming, scope: revenium_scope, target: Target, owned: bool) -> Result<Arc<Call>> {
    let scope = scope::named(scope)?;
    process().client()?.begin(Begin { request, streaming, scope, target, owned })
}

pub(super) fn caller(wants_events: bool) -> Target {
    Target::Caller { inbox: Inbox::default(), wants_events }
}

/// Take the call's mail on this thread until its result comes.
pub(super) fn wait(call: &Call, mut on_event: impl FnMut(&Event<'_>) -> ControlFlow<()>) -> Result<Arc<Outcome>> {
    let Target::Caller { inbox, .. } = &call.target else {
        return Err(Error::new(Code::Internal, "The call reports elsewhere."));
    };
    let mut stopped = false;
    loop {
        match inbox.take() {
            Item::Result(outcome) => return Ok(outcome),
            Item::Events(batch) => {
                for event in batch.iter() {
                    if !stopped && on_event(&event).is_break() {
                        stopped = true;
                        call.cancel();
                    }
                }
            }
        }
    }
}

/// Hand one event to a C callback.
///
/// # Safety
/// `on_event` may be called with `user`.
unsafe fn hand_over(
    on_event: unsafe extern "C" fn(*mut c_void, *const revenium_event) -> i32,
    user: *mut c_void,
    call: revenium_call,
    event: &Event<'_>,
) -> ControlFlow<()> {
    let (text, text_len) = match event.text_with_nul() {
        Some(text) => (text.as_ptr().cast(), text.len() - 1),
        None => (std::ptr::null(), 0),
    };
    let event = revenium_event {
        struct_size: size_of::<revenium_event>() as u32,
        kind: event.kind as i32,
        call,
        json: event.json_with_nul().as_ptr().cast(),
        json_len: event.json.len(),
        text,
        text_len,
    };
    // SAFETY: as promised by the caller; the event lives until the callback returns.
    if unsafe { on_event(user, &event) } == 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// ---- The four ways to call ----
///
/// request: the body of POST /v1/messages as JSON, sent on as it is, except for
///   two members that the library takes out:
///     "usage_metadata": {...}  fields for this one call, over the scope's;
///     "revenium": {"timeout_ms", "provider", "api_key", "base_url",
///                  "aws_region", "headers", "meter", "meter_retryable",
///                  "max_retries", "traceparent", "tracestate", "dropin"}
///     choices for this call. A body may be a user's: a "base_url" here takes only credentials that stand beside it
///     ("api_key", or an authorization in "headers"), else CONFIG, unless it is
///     of the origin that the settings or the scope name. The setting
///     `body_choices` turns the member off; a scope can hold choices, too.
///     "traceparent" and "tracestate" are the W3C trace context that the call is
///     made in: the provider gets it (or our span's, where the setting `otlp` is
///     on), and the record its trace id. A malformed one counts as none. Without
///     them the request's own "headers" of these names count, then the scope's.
///     "dropin": true of the calls of an SDK that makes spans of its own: they
///     get none of ours unless the setting `otlp_dropin` is on.
/// scope: a scope, REVENIUM_SCOPE_THREAD or REVENIUM_SCOPE_NONE.
/// All four functions check the request before anything is sent; these errors
/// (ARGUMENT, UTF8, JSON, HANDLE, CONFIG, BUSY, BUDGET, CLOSED) start no call,
/// and no callback or frame comes for them.
///
/// Send a message and wait for the reply. Waits. With "stream": true in the
/// request, or by itself where `max_tokens` allows a reply of more than ten
/// minutes and the call has no "timeout_ms", it is streamed underneath, so that no
/// proxy's time runs out; the result is the same.
/// result: receives a handle with the reply, or with the reason of an error;
///   yours to release in both cases. Returns the same code that it holds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_messages_create(
    request: *const c_char,
    request_len: usize,
    scope: revenium_scope,
    result: *mut revenium_result,
) -> i32 {
    // SAFETY: the header asks for valid pointers.
    unsafe {
        edge::with_result(result, false, || {
            edge::may_wait()?;
            let request = edge::required_text(request, request_len)?;
            let call = begin(request, Streaming::AsRequested, scope, caller(false), false)?;
            wait(&call, |_| ControlFlow::Continue(())).map(Some)
        })
    }
}

/// The same with "stream": true. Waits; `on_event` runs on this very thread,
/// once for each event, in order. The result is the whole message put together.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_messages_stream(
    request: *const c_char,
    request_len: usize,
    scope: revenium_scope,
    on_event: revenium_event_fn,
    user: *mut c_void,
    result: *mut revenium_result,
) -> i32 {
    // SAFETY: the header asks for valid pointers, and for a callback that takes `user`.
    unsafe {
        edge::with_result(result, false, || {
            edge::may_wait()?;
            let on_event = on_event.ok_or_else(|| Error::new(Code::Argument, "on_event is NULL."))?;
            let request = edge::required_text(request, request_len)?;
            let call = begin(request, Streaming::Always, scope, caller(true), false)?;
            wait(&call, |event| hand_over(on_event, user, 0, event)).map(Some)
        })
    }
}

/// The callbacks of one started call.
struct HostHandlers {
    on_event: revenium_event_fn,
    on_done: unsafe extern "C" fn(*mut c_void, revenium_result),
    user: *mut c_void,
}

// SAFETY: the header says that the callbacks run on threads of the library, so `user` is made for that.
unsafe impl Send for HostHandlers {}
// SAFETY: and never two at a time for one call.
unsafe impl Sync for HostHandlers {}

impl Handlers for HostHandlers {
    fn event(&self, call: u64, event: &Event<'_>) -> ControlFlow<()> {
        match self.on_event {
            // SAFETY: the host gave both to be called together.
            Some(on_event) => unsafe { hand_over(on_event, self.user, call, event) },
            None => ControlFlow::Continue(()),
        }
    }

    fn done(&self, call: u64, _: &Arc<Outcome>) {
        // SAFETY: the host gave both to be called together; the handle is registered until this returns.
        unsafe { (self.on_done)(self.user, call) };
    }
}

/// Begin a call and return at once. The callbacks run on threads of this
/// library: for one call never two at a time and in order, for two calls
/// possibly at once. Keep them short: they hold up other calls' callbacks.
/// on_event: may be NULL; else the request is streamed. on_done comes last.
/// call: may be NULL. Else yours to release: a handle to cancel the call by
///   and, after on_done, to read its result from.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_messages_start(
    request: *const c_char,
    request_len: usize,
    scope: revenium_scope,
    on_event: revenium_event_fn,
    on_done: revenium_done_fn,
    user: *mut c_void,
    call: *mut revenium_call,
) -> i32 {
    // SAFETY: the header asks for valid pointers.
    unsafe {
        edge::with_handle(call, true, || {
            let on_done = on_done.ok_or_else(|| Error::new(Code::Argument, "on_done is NULL."))?;
            let request = edge::required_text(request, request_len)?;
            let streaming = if on_event.is_some() { Streaming::Always } else { Streaming::AsRequested };
            let handlers = Box::new(HostHandlers { on_event, on_done, user });
            let target = Target::Callbacks(Callbacks::new(handlers, on_event.is_some()));
            begin(request, streaming, scope, target, !call.is_null()).map(|call| call.number)
        })
    }
}

/// Begin a call whose events (if the request says "stream": true) and result go
/// to `queue`, each marked with `tag`. Runs no callback. `call` as in start:
/// read the result from it when the RESULT frame has come.
/// REVENIUM_E_BUSY while as many RESULT frames lie unread in the queue as the
/// setting `max_in_flight` allows calls, or 256 MiB of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_messages_submit(
    request: *const c_char,
    request_len: usize,
    scope: revenium_scope,
    queue: revenium_queue,
    tag: u64,
    call: *mut revenium_call,
) -> i32 {
    // SAFETY: the header asks for valid pointers.
    unsafe {
        edge::with_handle(call, true, || {
            let request = edge::required_text(request, request_len)?;
            let target = Target::Queue {
                queue: process().handles.queue(queue)?,
                tag,
                backpressure: Arc::<Backpressure>::default(),
            };
            begin(request, Streaming::AsRequested, scope, target, !call.is_null()).map(|call| call.number)
        })
    }
}

/// Ask a call to end. Returns at once; asking twice, or too late, is
/// REVENIUM_OK. The call still reports its one result: REVENIUM_E_CANCELLED,
/// or how it ended if that was sooner. What was used until then is metered.
#[unsafe(no_mangle)]
pub extern "C" fn revenium_call_cancel(call: revenium_call) -> i32 {
    edge::code(|| {
        process().handles.call(call)?.cancel();
        Ok(Code::Ok)
    })
}

/// Read nothing more of a streamed call's events from the network until
/// revenium_call_resume(): for a reader of many calls who keeps the frames of
/// one that is read slowly. Events that had arrived by then still come. Returns
/// at once; pausing twice, or a call that has ended, is REVENIUM_OK. A call that
/// stays paused for `read_timeout_ms` fails with REVENIUM_E_TIMEOUT.
#[unsafe(no_mangle)]
pub extern "C" fn revenium_call_pause(call: revenium_call) -> i32 {
    edge::code(|| {
        process().handles.call(call)?.target.backpressure().pause();
        Ok(Code::Ok)
    })
}

/// Undo revenium_call_pause(). Returns at once; REVENIUM_OK also where the call
/// was not paused, or has ended.
#[unsafe(no_mangle)]
pub extern "C" fn revenium_call_resume(call: revenium_call) -> i32 {
    edge::code(|| {
        process().handles.call(call)?.target.backpressure().resume();
        Ok(Code::Ok)
    })
}
