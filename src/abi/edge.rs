//! What every export has around it: no panic passes, out parameters are zeroed, pointers become text.

use crate::client::handles::Object;
use crate::client::process::process;
use crate::common::error::{Code, Error, Result};
use crate::common::log;
use crate::completion::outcome::Outcome;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Run the body of an export; a panic becomes `E_INTERNAL`.
pub fn guarded<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    report_panics();
    catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|_| Err(Error::new(Code::Internal, "This is a mistake of the library; the process is intact.")))
}

/// The place of a panic is logged, its text is not: it may hold what a request held.
fn report_panics() {
    static HOOKED: AtomicBool = AtomicBool::new(false);
    if !HOOKED.load(Ordering::Relaxed) && !HOOKED.swap(true, Ordering::SeqCst) {
        std::panic::set_hook(Box::new(|panic| match panic.location() {
            Some(at) => log::error!("a mistake of this library at {}:{}", at.file(), at.line()),
            None => log::error!("a mistake of this library"),
        }));
    }
}

/// An export that tells its code and nothing else.
pub fn code(body: impl FnOnce() -> Result<Code>) -> i32 {
    guarded(body).unwrap_or_else(|error| error.code) as i32
}

/// An export whose `out` receives a result in any case. `optional`: it may be NULL.
///
/// # Safety
/// `out` is NULL or points to room for a handle.
pub unsafe fn with_result(out: *mut u64, optional: bool, body: impl FnOnce() -> Result<Option<Arc<Outcome>>>) -> i32 {
    // SAFETY: as promised by the caller.
    if let Err(error) = unsafe { zero(out) }
        && !optional
    {
        return error.code as i32;
    }
    let (code, outcome) = match guarded(body) {
        Ok(Some(outcome)) => (outcome.code, Some(outcome)),
        Ok(None) => (Code::Ok, None),
        Err(error) => (error.code, Some(Arc::new(Outcome::error(&error)))),
    };
    if let Some(outcome) = outcome
        && !out.is_null()
    {
        // SAFETY: not NULL, so it points to room for a handle.
        unsafe { *out = process().handles.insert(Object::Outcome(outcome)) };
    }
    code as i32
}

/// An export whose `out` receives the handle of what it makes, or on an error a result that says why.
///
/// # Safety
/// `out` is NULL or points to room for a handle.
pub unsafe fn with_handle(out: *mut u64, optional: bool, body: impl FnOnce() -> Result<u64>) -> i32 {
    let mut made = 0;
    // SAFETY: as promised by the caller.
    let code = unsafe {
        with_result(out, optional, || {
            made = body()?;
            Ok(None)
        })
    };
    if made != 0 && !out.is_null() {
        // SAFETY: not NULL, so it points to room for a handle.
        unsafe { *out = made };
    }
    code
}

/// An out parameter starts as 0.
///
/// # Safety
/// `out` is NULL or points to room for a `T`.
pub unsafe fn zero<T: Default>(out: *mut T) -> Result<()> {
    if out.is_null() {
        return Err(Error::new(Code::Argument, "An out parameter is NULL."));
    }
    // SAFETY: not NULL, so there is room.
    unsafe { out.write(T::default()) };
    Ok(())
}

/// The bytes at `at`; none for NULL with length 0.
///
/// # Safety
/// `at` is NULL, or points to `len` bytes.
pub unsafe fn bytes<'a>(at: *const c_void, len: usize) -> Result<&'a [u8]> {
    match (at.is_null(), isize::try_from(len)) {
        (true, Ok(0)) => Ok(&[]),
        (true, _) => Err(Error::new(Code::Argument, "The bytes are NULL but their length is not 0.")),
        (_, Err(_)) => Err(Error::new(Code::Argument, "A length is larger than memory.")),
        // SAFETY: not NULL, so `len` bytes are readable there.
        (false, Ok(_)) => Ok(unsafe { std::slice::from_raw_parts(at.cast(), len) }),
    }
}

/// The text at `text`; `None` for NULL with length 0.
///
/// # Safety
/// `text` is NULL, or points to `len` bytes, or with REVENIUM_NTS to a NUL-terminated string.
pub unsafe fn text<'a>(text: *const c_char, len: usize) -> Result<Option<&'a str>> {
    if text.is_null() {
        return match len {
            0 | usize::MAX => Ok(None),
            _ => Err(Error::new(Code::Argument, "A text is NULL but its length is not 0.")),
        };
    }
    let len = match len {
        // SAFETY: REVENIUM_NTS promises a NUL.
        usize::MAX => unsafe { CStr::from_ptr(text) }.count_bytes(),
        len => len,
    };
    // SAFETY: `len` bytes are readable there.
    let bytes = unsafe { bytes(text.cast(), len)? };
    std::str::from_utf8(bytes)
        .map(Some)
        .map_err(|fault| Error::new(Code::Utf8, format!("The text is not UTF-8 at byte {}.", fault.valid_up_to())))
}

/// The same where a text must be given.
///
/// # Safety
/// As for [`text`].
pub unsafe fn required_text<'a>(at: *const c_char, len: usize) -> Result<&'a str> {
    // SAFETY: as promised by the caller.
    unsafe { text(at, len) }?.ok_or_else(|| Error::new(Code::Argument, "The request is NULL."))
}

/// The part of a sized struct that both sides know, zeroed: `min(theirs, ours)` bytes.
///
/// # Safety
/// `out` is NULL or points to as many bytes as its first member, a u32, says.
pub unsafe fn sized<T>(out: *mut T) -> Result<usize> {
    if out.is_null() {
        return Err(Error::new(Code::Argument, "An out parameter is NULL."));
    }
    // SAFETY: the first member is readable.
    let theirs = unsafe { out.cast::<u32>().read() } as usize;
    if theirs < 8 {
        return Err(Error::new(Code::Argument, "struct_size is not set."));
    }
    let shared = theirs.min(size_of::<T>());
    // SAFETY: so many bytes are theirs.
    unsafe { out.cast::<u8>().add(4).write_bytes(0, shared - 4) };
    Ok(shared)
}

/// Fill the shared part of a sized struct and say how much that was.
///
/// # Safety
/// `shared` comes from [`sized`] for the same `out`.
pub unsafe fn fill<T>(out: *mut T, shared: usize, ours: &T) {
    // SAFETY: both sides have `shared` bytes, and do not overlap.
    unsafe {
        out.cast::<u8>().copy_from_nonoverlapping(std::ptr::from_ref(ours).cast(), shared);
        out.cast::<u32>().write(shared as u32);
    }
}

/// Waiting in a callback could wait for itself.
pub fn may_wait() -> Result<()> {
    if crate::completion::callbacks::in_callback() {
        return Err(Error::new(Code::WouldDeadlock, "This function waits, and must not be called inside a callback."));
    }
    Ok(())
}

/// When `timeout_ms` is over; `None` for REVENIUM_FOREVER.
pub fn deadline(timeout_ms: i32) -> Result<Option<Instant>> {
    match u64::try_from(timeout_ms) {
        Ok(ms) => Ok(Some(Instant::now() + Duration::from_millis(ms))),
        Err(_) if timeout_ms == super::types::REVENIUM_FOREVER => Ok(None),
        Err(_) => Err(Error::new(Code::Argument, "A timeout is negative.")),
    }
}

/// A time so far away that it stands for no limit.
pub fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(86_400 * 365)
}
