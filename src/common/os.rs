//! What only the operating system can do for us: signal masks, fork, exit. The small unsafe room beside `abi`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many forks lie between this process and the one that loaded the library.
static FORKS: AtomicU64 = AtomicU64::new(0);
static HANDLER_INSTALLED: AtomicBool = AtomicBool::new(false);

/// Forks under way, and threads that would rather not be forked.
static FORKING: AtomicI64 = AtomicI64::new(0);
static BUSY: AtomicI64 = AtomicI64::new(0);

/// How often, and for how long at a time, a fork waits for them. Then it goes on: the host comes first.
const FORK_WAITS: u32 = 20_000;
const FORK_WAIT: Duration = Duration::from_micros(50);

extern "C" fn before_fork() {
    FORKING.fetch_add(1, Ordering::SeqCst);
    for _ in 0..FORK_WAITS {
        if BUSY.load(Ordering::SeqCst) <= 0 {
            break;
        }
        std::thread::sleep(FORK_WAIT);
    }
}

extern "C" fn after_fork_in_parent() {
    FORKING.fetch_sub(1, Ordering::SeqCst);
}

extern "C" fn after_fork_in_child() {
    // Only async-signal-safe work is allowed here. Whatever is per process notices the new count at its next use.
    FORKING.store(0, Ordering::SeqCst);
    BUSY.store(0, Ordering::SeqCst);
    FORKS.fetch_add(1, Ordering::SeqCst);
}

/// While one lives, no thread of this process forks. For short work inside a library whose global locks a forked
/// child would otherwise find locked for ever. Nothing of the host may be called meanwhile.
pub struct NoFork(());

pub fn no_fork() -> NoFork {
    watch_forks();
    loop {
        BUSY.fetch_add(1, Ordering::SeqCst);
        if FORKING.load(Ordering::SeqCst) <= 0 {
            return NoFork(());
        }
        BUSY.fetch_sub(1, Ordering::SeqCst);
        std::thread::sleep(FORK_WAIT);
    }
}

impl Drop for NoFork {
    fn drop(&mut self) {
        BUSY.fetch_sub(1, Ordering::SeqCst);
    }
}

fn watch_forks() {
    // No Once: a child forked in the middle of one would wait for it for ever.
    if !HANDLER_INSTALLED.swap(true, Ordering::SeqCst) {
        // SAFETY: the handlers are plain functions that live as long as the library, which is never unloaded.
        unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork_in_child)) };
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

/// Run `hook` when the process ends through exit(3) or a return from main.
pub fn at_exit(hook: extern "C" fn()) {
    // SAFETY: the function lives as long as the library, which is never unloaded.
    unsafe { libc::atexit(hook) };
}

/// The user this process acts for.
pub fn user() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Lock a file for this process. False: another process has it.
///
/// The lock is the process's: its forked children do not have it, it ends with the process at the latest, and it
/// ends when the process closes any descriptor of the file.
pub fn try_lock_file(file: &File) -> io::Result<bool> {
    let lock = whole_file();
    // SAFETY: the descriptor is open and the struct outlives the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &lock) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

/// The other process that has locked the file; 0 when it cannot be seen from here.
pub fn file_locked_by(file: &File) -> Option<u32> {
    let mut lock = whole_file();
    // SAFETY: the descriptor is open and the struct outlives the call.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut lock) };
    (asked == 0 && lock.l_type != libc::F_UNLCK as libc::c_short).then(|| u32::try_from(lock.l_pid).unwrap_or(0))
}

fn whole_file() -> libc::flock {
    // SAFETY: plain data; zeroes mean: from the start, to the end.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}
