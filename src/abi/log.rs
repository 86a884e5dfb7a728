//! ---- log ----

use super::edge;
use super::types::*;
use crate::common::error::{Code, Error};
use crate::common::log::{self, Level};
use crate::completion::callbacks::as_callback;
use std::ffi::{CString, c_void};

/// Where log lines go in the host.
struct HostLog {
    log: unsafe extern "C" fn(*mut c_void, i32, *const std::ffi::c_char, usize),
    user: *mut c_void,
}

// SAFETY: the header says that the callback runs on any thread, so `user` is made for that.
unsafe impl Send for HostLog {}
// SAFETY: one line at a time.
unsafe impl Sync for HostLog {}

impl HostLog {
    fn write(&self, level: Level, line: &str) {
        let len = line.len();
        // A NUL inside would end the text early for C: such a line is cut there.
        let text = CString::new(line).unwrap_or_else(|fault| {
            let end = fault.nul_position();
            CString::new(&line[..end]).unwrap_or_default()
        });
        let len = len.min(text.as_bytes().len());
        // SAFETY: the host gave both to be called together; the text lives until the callback returns.
        as_callback(|| unsafe { (self.log)(self.user, level as i32, text.as_ptr(), len) });
    }
}

/// Send log lines up to `level` to `log` instead of standard error; NULL turns
/// that back. Runs on any thread, one line at a time, and must not call
/// revenium_set_log() itself. After this returns the former function is not
/// running and never will again, so its `user` may go. Waits for it.
#[unsafe(no_mangle)]
pub extern "C" fn revenium_set_log(log: revenium_log_fn, user: *mut c_void, level: i32) -> i32 {
    edge::code(|| {
        edge::may_wait()?;
        let level = Level::of_number(level).ok_or_else(|| Error::new(Code::Argument, "Unknown log level."))?;
        let host = log.map(|log| HostLog { log, user });
        log::set_sink(host.map(|host| -> log::Sink { Box::new(move |level, line| host.write(level, line)) }), level)?;
        Ok(Code::Ok)
    })
}
