//! ---- results ----

use super::edge;
use super::types::*;
use crate::client::handles::Object;
use crate::client::process::process;
use crate::common::error::{Code, Error, Result};
use crate::completion::outcome::{Outcome, Text};
use std::ffi::c_char;
use std::ptr;
use std::sync::Arc;

/// The outcome behind a result, or behind a call that has ended; `None`: it runs.
fn outcome(handle: revenium_result) -> Result<Option<Arc<Outcome>>> {
    match process().handles.get(handle)? {
        Object::Outcome(outcome) => Ok(Some(outcome)),
        Object::Call(call) => Ok(call.outcome().cloned()),
        _ => Err(Error::new(Code::Handle, "This handle is not a result.")),
    }
}

/// A text that belongs to the handle: the handles keeps its owner until the handle is released.
///
/// # Safety
/// `len` is NULL or points to room for a length.
unsafe fn reader(len: *mut usize, text: impl FnOnce() -> Result<Option<(*const c_char, usize)>>) -> *const c_char {
    let (text, bytes) = edge::guarded(text).ok().flatten().unwrap_or((ptr::null(), 0));
    if !len.is_null() {
        // SAFETY: not NULL, so there is room.
        unsafe { *len = bytes };
    }
    text
}

fn pointed(text: &Text) -> (*const c_char, usize) {
    (text.as_ptr(), text.bytes().len())
}

/// REVENIUM_OK, or why the call failed; REVENIUM_EMPTY while it runs.
///
/// This and the other readers work on any result, and on a call that has ended;
/// on anything else: NULL, or REVENIUM_E_HANDLE. len: may be NULL.
#[unsafe(no_mangle)]
pub extern "C" fn revenium_result_code(result: revenium_result) -> i32 {
    edge::code(|| Ok(outcome(result)?.map_or(Code::Empty, |outcome| outcome.code)))
}

/// The reply's body, or on an error {"type":"error","error":{...}}, byte for
/// byte what the provider sent where it sent one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_result_json(result: revenium_result, len: *mut usize) -> *const c_char {
    // SAFETY: the header asks for valid pointers.
    unsafe { reader(len, || Ok(outcome(result)?.map(|outcome| pointed(outcome.json())))) }
}

/// The text blocks of the reply, joined; "" if none. On a stream that broke off:
/// the text that arrived.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_result_text(result: revenium_result, len: *mut usize) -> *const c_char {
    // SAFETY: the header asks for valid pointers.
    unsafe { reader(len, || Ok(outcome(result)?.map(|outcome| pointed(outcome.text())))) }
}

/// One sentence for a person; "" on success. Never holds a key. Of a request that
/// the provider refused it quotes the provider's own message, at most 200
/// characters, which can repeat a part of the request; the setting
/// `quote_errors` turns that off.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_result_message(result: revenium_result, len: *mut usize) -> *const c_char {
    // SAFETY: the header asks for valid pointers.
    unsafe { reader(len, || Ok(outcome(result)?.map(|outcome| pointed(outcome.message())))) }
}

/// The provider's request id, "" if it gave none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_result_request_id(result: revenium_result, len: *mut usize) -> *const c_char {
    // SAFETY: the header asks for valid pointers.
    unsafe { reader(len, || Ok(outcome(result)?.map(|outcome| pointed(outcome.request_id())))) }
}

/// JSON about the call rather than its content: code, http_status, request_id,
/// retry_after_ms, provider, fallback (why Bedrock did not answer), model,
/// stop_reason, transaction_id, duration_ms, time_to_first_token_ms, attempts,
/// metered, headers, usage_estimated (true where a stream broke off and its
/// record counts estimated_output_tokens, by the text that had come); what does
/// not apply is left out. On a call that still runs:
/// what is known so far, from the provider's first answer on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_result_info(result: revenium_result, len: *mut usize) -> *const c_char {
    // SAFETY: the header asks for valid pointers.
    unsafe {
        reader(len, || match process().handles.get(result)? {
            Object::Outcome(outcome) => Ok(Some(pointed(outcome.info()))),
            Object::Call(call) => Ok(Some(pointed(call.info()))),
            _ => Ok(None),
        })
    }
}

/// Fill `out` (set out->struct_size first). On a stream that broke off: what the
/// provider had reported until then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_result_usage(result: revenium_result, out: *mut revenium_usage) -> i32 {
    edge::code(|| {
        // SAFETY: the header asks for a struct with its size set.
        let shared = unsafe { edge::sized(out)? };
        let Some(outcome) = outcome(result)? else {
            return Err(Error::new(Code::Handle, "The call still runs."));
        };
        let tokens = &outcome.summary.usage.tokens;
        let usage = revenium_usage {
            struct_size: 0,
            metered: i32::from(outcome.facts.metered),
            input_tokens: tokens.input.unwrap_or(-1),
            output_tokens: tokens.output.unwrap_or(-1),
            cache_creation_input_tokens: tokens.cache_creation.unwrap_or(-1),
            cache_read_input_tokens: tokens.cache_read.unwrap_or(-1),
        };
        // SAFETY: `shared` is of this `out`.
        unsafe { edge::fill(out, shared, &usage) };
        Ok(Code::Ok)
    })
}
