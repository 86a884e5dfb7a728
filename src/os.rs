//! What only the operating system can do for us: signal masks, fork, exit. The small unsafe room beside `abi`.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

/// How many forks lie between this process and the one that loaded the library.
static FORKS: AtomicU64 = AtomicU64::new(0);
static HANDLER_INSTALLED: AtomicBool = AtomicBool::new(false);

extern "C" fn after_fork_in_child() {
    // Only async-signal-safe work is allowed here. Whatever is per process notices the new count at its next use.
    FORKS.fetch_add(1, Ordering::SeqCst);
}

fn watch_forks() {
    // No Once: a child forked in the middle of one would wait for it for ever.
    if !HANDLER_INSTALLED.swap(true, Ordering::SeqCst) {
        // SAFETY: the handler is a plain function that lives as long as the library, which is never unloaded.
        unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) };
    }
}

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
        let forks = FORKS.load(Ordering::SeqCst);
        if let Some(slot) = old
            && slot.forks == forks
        {
            return &slot.value;
        }
        watch_forks();
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
        (slot.forks == FORKS.load(Ordering::SeqCst)).then_some(&slot.value)
    }
}

/// Run `body` with every signal blocked on this thread. Threads it starts inherit that for good, so no signal
/// handler of the host ever runs on a thread of ours, and no SIGPIPE from our sockets reaches the host.
pub fn with_signals_blocked<R>(body: impl FnOnce() -> R) -> R {
    struct Restore(libc::sigset_t);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: the set was filled by pthread_sigmask below.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
        }
    }
    // SAFETY: both sets are plain data that these calls fill before they are read.
    let _restore = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        Restore(before)
    };
    body()
}

/// Run `hook` when the process ends through exit(3) or a return from main.
pub fn at_exit(hook: extern "C" fn()) {
    // SAFETY: the function lives as long as the library, which is never unloaded.
    unsafe { libc::atexit(hook) };
}
