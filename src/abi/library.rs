//! ---- library ----

use super::edge;
use super::types::*;
use crate::client::handles::Object;
use crate::client::process::process;
use crate::client::status::{MeteringState, status, would_meter};
use crate::common::error::Code;
use crate::completion::outcome::Outcome;
use std::ffi::c_char;
use std::sync::Arc;

/// "0.1.0". Static; works before init and after shutdown.
#[unsafe(no_mangle)]
pub extern "C" fn revenium_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// REVENIUM_ABI_VERSION of the loaded library. A binding compares it with the
/// one it was written for and refuses to run on a difference.
#[unsafe(no_mangle)]
pub extern "C" fn revenium_abi_version() -> u32 {
    REVENIUM_ABI_VERSION
}

/// "REVENIUM_E_RATE_LIMIT" for -48. Static; "REVENIUM_E_UNKNOWN" otherwise.
#[unsafe(no_mangle)]
pub extern "C" fn revenium_code_name(code: i32) -> *const c_char {
    Code::name_of_number(code).as_ptr().cast()
}

/// Start the library.
///
/// config: a JSON object, or NULL to take everything from the environment.
///   A setting in `config` wins over the environment, which wins over the
///   default. The keys are the environment names in lower case without their
///   prefix (see docs/settings.md); an unknown key is an error.
/// detail: may be NULL. 0 on success.
///
/// Optional: the first call starts the library from the environment.
/// Counted: each success wants one revenium_shutdown(). With NULL, or the same
/// settings again, a running library just counts; with other settings:
/// REVENIUM_E_ALREADY, and nothing changes.
/// Opens no connection and starts no thread; the first call does. A missing
/// Revenium key is no error: calls work, unmetered, and revenium_status() says
/// so; a key that appears in the environment later is used from then on.
/// The environment is read here and after that at most once a second, during
/// calls of this library and, for AWS Bedrock, on its own threads: a program
/// that has threads must not change it then, as with any use of getenv(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_init(config: *const c_char, config_len: usize, detail: *mut revenium_result) -> i32 {
    // SAFETY: the header asks for valid pointers.
    unsafe {
        edge::with_result(detail, true, || {
            process().init(edge::text(config, config_len)?)?;
            Ok(None)
        })
    }
}

/// Wait until every metering event known now is delivered or given up, those
/// that earlier processes left in the spool among them. Cheap when there is
/// none: call it before a serverless host freezes you.
/// Waits. REVENIUM_E_TIMEOUT: some are still pending; they stay queued.
/// Spans that wait for export are sent, too, within the same time; the code
/// tells of metering events only (revenium_status_json() counts the spans).
#[unsafe(no_mangle)]
pub extern "C" fn revenium_flush(timeout_ms: i32) -> i32 {
    edge::code(|| {
        edge::may_wait()?;
        let deadline = edge::deadline(timeout_ms)?.unwrap_or_else(edge::far_away);
        if process().is_closed() {
            return Ok(Code::Closed);
        }
        // Where the library cannot start there is nothing to wait for.
        let flushed = process().client().is_ok_and(|client| client.flush(deadline)) || process().running().is_none();
        Ok(if flushed { Code::Ok } else { Code::Timeout })
    })
}

/// Undo one revenium_init(). The last one cancels the calls under way (each
/// still reports its result), flushes within `timeout_ms` and stops the threads.
/// Waits, never longer than `timeout_ms` plus 100 ms. REVENIUM_E_TIMEOUT: the
/// rest stays in the spool for the next run (without a spool: counted dropped).
/// Afterwards every function is still safe to call; those that would begin or
/// wait for something return REVENIUM_E_CLOSED. What was got before can still
/// be read and released, and revenium_init() starts afresh.
/// A host that exits through exit(3) without this is flushed for up to
/// `flush_at_exit_ms`; what is then unsent lies in the spool for the next run.
/// Go, and a process killed by a signal, do not exit so.
#[unsafe(no_mangle)]
pub extern "C" fn revenium_shutdown(timeout_ms: i32) -> i32 {
    edge::code(|| {
        edge::may_wait()?;
        let deadline = edge::deadline(timeout_ms)?.unwrap_or_else(edge::far_away);
        process().shutdown(deadline)?;
        Ok(Code::Ok)
    })
}

/// 1 when calls made now would be metered: the library has started, or can start
/// from the environment, and has a Revenium key; else 0. Never waits.
#[unsafe(no_mangle)]
pub extern "C" fn revenium_is_initialized() -> i32 {
    edge::guarded(|| Ok(i32::from(would_meter()))).unwrap_or(0)
}

/// Fill `out` (set out->struct_size first). Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_status(out: *mut revenium_state) -> i32 {
    edge::code(|| {
        // SAFETY: the header asks for a struct with its size set.
        let shared = unsafe { edge::sized(out)? };
        let status = status()?;
        let counts = &status.delivery;
        let wide = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let state = revenium_state {
            struct_size: 0,
            initialized: i32::from(status.initialized),
            provider: status.provider.provider.row().number.unwrap_or(REVENIUM_PROVIDER_UNKNOWN),
            metering: match status.metering {
                MeteringState::Off => 0,
                MeteringState::On => 1,
                MeteringState::Selective => 2,
            },
            calls_in_flight: status.calls_in_flight,
            calls_started: status.calls_started,
            calls_failed: status.calls_failed,
            events_pending: wide(counts.pending as u64),
            events_delivered: wide(counts.delivered),
            events_retried: wide(counts.retried),
            events_dropped: wide(counts.dropped),
            last_error: counts.last_error.as_ref().map_or(0, |error| error.code as i32),
            last_http_status: counts.last_error.as_ref().and_then(|error| error.http_status).map_or(0, i32::from),
        };
        // SAFETY: `shared` is of this `out`.
        unsafe { edge::fill(out, shared, &state) };
        Ok(Code::Ok)
    })
}

/// The same and more as JSON: settings in force without secrets, provider and
/// why it was chosen, queue depth, notices that found their completion queue full,
/// last error in words. Read it with
/// revenium_result_json().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_status_json(out: *mut revenium_result) -> i32 {
    // SAFETY: the header asks for valid pointers.
    unsafe {
        edge::with_result(out, false, || {
            let json = status()?.to_json().to_string();
            Ok(Some(Arc::new(Outcome::document(json.into_bytes()))))
        })
    }
}

/// Give back any handle. Releasing 0 is REVENIUM_OK. A call whose handle is
/// released goes on and still reports; releasing a queue cancels its calls.
#[unsafe(no_mangle)]
pub extern "C" fn revenium_release(handle: revenium_handle) -> i32 {
    edge::code(|| {
        if handle == 0 {
            return Ok(Code::Ok);
        }
        let handles = &process().handles;
        match handles.get(handle)? {
            Object::Call(call) => {
                if !call.disown() {
                    return Err(handles.unknown(handle));
                }
                if call.has_reported() {
                    handles.remove(handle);
                }
            }
            Object::Queue(queue) => {
                handles.remove(handle).ok_or_else(|| handles.unknown(handle))?;
                queue.close();
                if let Some(client) = process().running() {
                    client.cancel(|call| call.reports_to(&queue));
                }
            }
            Object::Scope(_) | Object::Outcome(_) => {
                handles.remove(handle).ok_or_else(|| handles.unknown(handle))?;
            }
            Object::Tap(tap) => {
                handles.remove(handle).ok_or_else(|| handles.unknown(handle))?;
                tap.abandon();
            }
        }
        Ok(Code::Ok)
    })
}
