//! ---- scopes: metadata and the meter mark ----

use super::edge;
use super::types::*;
use crate::client::handles::Object;
use crate::client::process::process;
use crate::common::error::{Code, Error, Result};
use crate::meter::scope::{self, Scope};
use std::ffi::c_char;
use std::sync::Arc;

/// The scope that an argument names.
pub(super) fn named(handle: revenium_scope) -> Result<Option<Arc<Scope>>> {
    match handle {
        REVENIUM_SCOPE_THREAD => scope::of_this_thread(),
        REVENIUM_SCOPE_NONE => Ok(None),
        _ => process().handles.scope(handle).map(Some),
    }
}

/// Make a scope: the fields of `metadata` over those of `parent`.
///
/// metadata: a JSON object as in Revenium's usage_metadata, or NULL for none.
///   Its member "revenium" holds choices for every call of the scope, the same
///   as a request's; inner scopes win over outer ones and calls over scopes.
///   A "base_url" here is the host's own word: the process's keys go there.
/// parent: a scope, REVENIUM_SCOPE_THREAD or REVENIUM_SCOPE_NONE.
/// flags: 0, REVENIUM_SCOPE_METER (the mark is inherited), REVENIUM_SCOPE_BENEATH
///   (what the parent says wins, for what a host knows of every call), or both.
///
/// A scope never changes after this, is merged once, here, and may be used by
/// any number of threads, goroutines or async tasks at a time. A call takes
/// its own copy when it starts, so the scope may be released while it runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_scope_new(
    parent: revenium_scope,
    metadata: *const c_char,
    metadata_len: usize,
    flags: u32,
    out: *mut revenium_scope,
) -> i32 {
    // SAFETY: the header asks for valid pointers.
    unsafe {
        edge::with_handle(out, false, || {
            let metadata = edge::text(metadata, metadata_len)?;
            if flags & !(REVENIUM_SCOPE_METER | REVENIUM_SCOPE_BENEATH) != 0 {
                return Err(Error::new(Code::Argument, "Unknown scope flags."));
            }
            process().check_open()?;
            let parent = named(parent)?;
            let (meter, beneath) = (flags & REVENIUM_SCOPE_METER != 0, flags & REVENIUM_SCOPE_BENEATH != 0);
            let scope = Scope::child(parent.as_deref(), metadata, meter, beneath)?;
            Ok(process().handles.insert(Object::Scope(Arc::new(scope))))
        })
    }
}

/// Make `scope` the one that REVENIUM_SCOPE_THREAD means on this OS thread,
/// until the matching pop. For C, C++ and other code that stays on its thread.
/// Not for goroutines or async tasks: they move, so hand the scope itself to
/// the call. Keeps its own reference: `scope` may be released meanwhile.
#[unsafe(no_mangle)]
pub extern "C" fn revenium_scope_push(scope: revenium_scope) -> i32 {
    edge::code(|| {
        if process().is_closed() {
            return Ok(Code::Closed);
        }
        scope::push(scope, process().handles.scope(scope)?)?;
        Ok(Code::Ok)
    })
}

/// Undo the last push on this thread. `scope` must be what that push got, else
/// REVENIUM_E_HANDLE and nothing changes: a pop on the wrong thread shows.
#[unsafe(no_mangle)]
pub extern "C" fn revenium_scope_pop(scope: revenium_scope) -> i32 {
    edge::code(|| {
        scope::pop(scope)?;
        Ok(Code::Ok)
    })
}
