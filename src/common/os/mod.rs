//! What only the operating system can do for us: forks, locks, private files, signals, exit. The small unsafe room beside
//! `abi`. Everything that differs from system to system is in here, under the same names in `unix` and in `windows`.
#![expect(unsafe_code)]

#[cfg(unix)]
mod unix;
#[cfg(all(unix, feature = "bedrock"))]
mod unix_program;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use self::unix as system;
#[cfg(windows)]
use self::windows as system;

pub use self::system::*;
#[cfg(all(unix, feature = "bedrock"))]
pub use self::unix_program::{readable_within, shell};

use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A value that a forked child replaces instead of touching: its locks may be held by threads that do not exist
/// there, and its sockets belong to the parent. The parent's value is leaked in the child on purpose.
pub struct PerProcess<T: 'static> {
    slot: AtomicPtr<Slot<T>>,
}

struct Slot<T> {
    forks: u64,
    value: T,
}

impl<T: Send + Sync> PerProcess<T> {
    pub const fn empty() -> Self {
        PerProcess { slot: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// This process's value. `make` builds it, from the parent's one in a forked child; it must not lock that one.
    pub fn get(&'static self, make: impl FnOnce(Option<&'static T>) -> T) -> &'static T {
        let seen = self.slot.load(Ordering::Acquire);
        // SAFETY: a slot that was published is never freed.
        let old = unsafe { seen.as_ref() };
        let forks = forks();
        if let Some(slot) = old
            && slot.forks == forks
        {
            return &slot.value;
        }
        settle();
        let fresh = Box::into_raw(Box::new(Slot { forks, value: make(old.map(|slot| &slot.value)) }));
        match self.slot.compare_exchange(seen, fresh, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: just published, so never freed.
            Ok(_) => unsafe { &(*fresh).value },
            Err(theirs) => {
                // SAFETY: `fresh` was not published and is ours alone; `theirs` was published.
                unsafe {
                    drop(Box::from_raw(fresh));
                    &(*theirs).value
                }
            }
        }
    }

    /// This process's value, if it has one by now.
    pub fn peek(&'static self) -> Option<&'static T> {
        // SAFETY: a slot that was published is never freed.
        let slot = unsafe { self.slot.load(Ordering::Acquire).as_ref() }?;
        (slot.forks == forks()).then_some(&slot.value)
    }
}

/// Our end of a pair of sockets whose other end a host waits at.
pub struct Bell(Socket);

/// The host's end: a non-blocking socket.
pub struct Wake(Socket);

pub fn bell() -> io::Result<(Bell, Wake)> {
    let (ours, theirs) = socket_pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    Ok((Bell(ours), Wake(theirs)))
}

impl Bell {
    /// The other end turns readable. False: it is gone.
    pub fn ring(&mut self) -> bool {
        // One that is full is readable already.
        !self.0.write_all(&[1]).is_err_and(|fault| fault.kind() != ErrorKind::WouldBlock)
    }
}

impl Wake {
    /// It is the caller's to close.
    pub fn into_descriptor(self) -> i32 {
        into_descriptor(self.0)
    }
}

impl Read for Wake {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// Wait for the end of `thread`, but not for longer than `deadline`.
pub fn join_by(thread: JoinHandle<()>, deadline: Instant) {
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = thread.join();
}
