//! ---- queues: results without callbacks ----

use super::edge;
use super::types::*;
use crate::client::handles::Object;
use crate::client::process::process;
use crate::common::error::{Code, Error};
use crate::common::log::Level;
use crate::completion::queue::{Read, TOPIC_LOG, TOPIC_METERING};
use std::sync::Arc;

/// Make a queue.
/// A queue for each call is a pull iterator; one queue for all is an event
/// loop. Several threads may submit to a queue; one at a time should read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_queue_new(out: *mut revenium_queue) -> i32 {
    // SAFETY: the header asks for valid pointers.
    unsafe {
        edge::with_handle(out, false, || {
            process().check_open()?;
            Ok(process().handles.insert(Object::Queue(Arc::new(process().new_queue()))))
        })
    }
}

/// Copy as many whole frames as fit into `buffer`, which is aligned to 8.
/// Waits up to `timeout_ms` for the first one; with 0 it never waits and may be
/// used inside a callback.
/// used: receives the bytes written.
/// REVENIUM_OK: at least one frame. REVENIUM_EMPTY: none came in time.
/// REVENIUM_E_BUFFER: the next frame alone is larger; `used` says how large.
/// REVENIUM_E_CLOSED: none is left, and after revenium_shutdown() none comes.
/// A call stops reading from the network while too much of it lies unread:
/// a slow reader costs no memory and loses nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_queue_read(
    queue: revenium_queue,
    buffer: *mut std::ffi::c_void,
    buffer_size: usize,
    timeout_ms: i32,
    used: *mut usize,
) -> i32 {
    edge::code(|| {
        // SAFETY: the header asks for valid pointers.
        unsafe { edge::zero(used)? };
        if buffer.is_null() || !buffer.cast::<u64>().is_aligned() {
            return Err(Error::new(Code::Argument, "The buffer is NULL or not aligned to 8."));
        }
        if isize::try_from(buffer_size).is_err() {
            return Err(Error::new(Code::Argument, "A length is larger than memory."));
        }
        let deadline = edge::deadline(timeout_ms)?;
        if timeout_ms != 0 {
            edge::may_wait()?;
        }
        let queue = process().handles.queue(queue)?;
        // SAFETY: `buffer` points to `buffer_size` bytes that are the caller's to write.
        let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), buffer_size) };
        let (code, bytes) = match queue.read(buffer, deadline)? {
            Read::Frames(bytes) => (Code::Ok, bytes),
            Read::Empty => (Code::Empty, 0),
            Read::TooSmall(bytes) => (Code::Buffer, bytes),
        };
        // SAFETY: `used` was not NULL.
        unsafe { *used = bytes };
        Ok(code)
    })
}

/// A file descriptor that turns readable when the queue may have frames, for
/// epoll, libuv, asyncio or Go's netpoller. It is yours to close. When it is
/// readable: read and drop its bytes, then revenium_queue_read() with timeout 0
/// until REVENIUM_EMPTY. It is non-blocking and a socket: no SIGPIPE.
/// On Windows it is a SOCKET, for select() or WSAPoll(); closesocket() closes it.
/// fd: receives -1 on an error, as 0 is a descriptor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_queue_wake_fd(queue: revenium_queue, fd: *mut i32) -> i32 {
    edge::code(|| {
        if fd.is_null() {
            return Err(Error::new(Code::Argument, "An out parameter is NULL."));
        }
        // SAFETY: not NULL, so there is room. 0 is a descriptor, -1 is none.
        unsafe { *fd = -1 };
        let wake = process().handles.queue(queue)?.wake_socket();
        let wake = wake.map_err(|fault| Error::new(Code::Internal, format!("No wake descriptor: {fault}.")))?;
        // SAFETY: as above.
        unsafe { *fd = wake.into_descriptor() };
        Ok(Code::Ok)
    })
}

/// Also send LOG frames up to `log_level`, and METERING frames, to this queue.
/// topics: REVENIUM_TOPIC_* or 0 for none. If it is full these are dropped and
/// counted, never waited for.
#[unsafe(no_mangle)]
pub extern "C" fn revenium_queue_subscribe(queue: revenium_queue, topics: u32, log_level: i32) -> i32 {
    edge::code(|| {
        if topics & !(TOPIC_LOG | TOPIC_METERING) != 0 {
            return Err(Error::new(Code::Argument, "Unknown topics."));
        }
        let level = Level::of_number(log_level);
        if topics & TOPIC_LOG != 0 && level.is_none() {
            return Err(Error::new(Code::Argument, "Unknown log level."));
        }
        process().subscribe(&process().handles.queue(queue)?, topics, level);
        Ok(Code::Ok)
    })
}
