//! Linux, macOS and their like.

use std::borrow::Cow;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

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
    close_inherited();
    FORKS.fetch_add(1, Ordering::SeqCst);
}

/// While one lives, no thread of this process forks. For short work that a forked child must find done or not begun.
/// Nothing of the host may be called meanwhile.
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

/// How many forks lie between this process and the one that loaded the library.
pub(super) fn forks() -> u64 {
    FORKS.load(Ordering::SeqCst)
}

/// To be called before something is kept that belongs to this process alone.
pub(super) fn settle() {
    watch_forks();
}

fn watch_forks() {
    // No Once: a child forked in the middle of one would wait for it for ever.
    if !HANDLER_INSTALLED.swap(true, Ordering::SeqCst) {
        // SAFETY: the handlers are plain functions that live as long as the library, which is never unloaded.
        unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork_in_child)) };
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

/// Whether a file belongs to the user this process acts for.
pub fn is_ours(found: &Metadata) -> bool {
    // SAFETY: takes nothing and cannot fail.
    found.uid() == unsafe { libc::geteuid() }
}

/// Make a directory that only this user can look into, and those above it. One that is there stays as it is.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// See that a directory is this user's, and private.
pub fn keep_private(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() || !is_ours(&found) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the spool directory belongs to another user"));
    }
    match found.mode() & 0o077 {
        0 => Ok(()),
        _ => fs::set_permissions(path, fs::Permissions::from_mode(0o700)),
    }
}

/// To make a file that only this user can read.
pub fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// The same for a file to be read, and written by [`append`]; never by way of a link.
pub fn appended_file() -> OpenOptions {
    let mut options = private_file();
    options.read(true).append(true).custom_flags(libc::O_NOFOLLOW);
    options
}

/// Write at the end, wherever that is by now.
pub fn append(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)
}

pub fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(bytes, offset)
}

pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// How it stands with an open file.
pub struct Standing {
    pub size: u64,
    /// It is still in a directory.
    pub linked: bool,
}

pub fn standing(file: &File) -> io::Result<Standing> {
    let found = file.metadata()?;
    Ok(Standing { size: found.len(), linked: found.nlink() > 0 })
}

/// The names in a directory reach the disk.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(super) use std::os::unix::net::UnixStream as Socket;

pub(super) fn socket_pair() -> io::Result<(Socket, Socket)> {
    Socket::pair()
}

pub(super) fn into_descriptor(socket: Socket) -> i32 {
    socket.into_raw_fd()
}

/// Standard error without `io::stderr()`'s lock, which may be held for ever by a thread that a fork left behind.
pub fn stderr() -> io::Result<File> {
    io::stderr().as_fd().try_clone_to_owned().map(File::from)
}

/// Environment variables by the names that the system knows them by.
pub fn variable(name: &str) -> Cow<'_, str> {
    name.into()
}

/// Where a user has his files.
#[cfg(feature = "bedrock")]
pub fn home(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    env("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// Where a user's programs keep what they need the next time.
pub fn state_directory(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))
}

/// What of the environment decides that.
pub const STATE_DIRECTORY_IS_BY: &str = "neither HOME nor XDG_STATE_HOME";

/// Lock an open file. False: somebody else has it.
///
/// The lock belongs to what was opened here, not to the process: a second copy of this library in the process does not
/// have it, and no close of another descriptor of the file ends it. It ends when the last copy of this descriptor is
/// closed, for which forked children see to theirs ([`close_in_children`]).
pub fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: the descriptor is open, and the struct outlives the call.
    #[cfg(target_os = "linux")]
    let locked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &whole_file()) };
    // SAFETY: the descriptor is open.
    #[cfg(not(target_os = "linux"))]
    let locked = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if locked == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

#[cfg(target_os = "linux")]
fn whole_file() -> libc::flock {
    // SAFETY: plain data; zeroes mean: from the start, to the end.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

/// Descriptors that a forked child closes before anything else happens in it, each one more than it is; 0: free.
static CLOSED_IN_CHILDREN: [AtomicI32; 256] = [const { AtomicI32::new(0) }; 256];

fn close_inherited() {
    for slot in &CLOSED_IN_CHILDREN {
        let fd = slot.swap(0, Ordering::SeqCst) - 1;
        if fd >= 0 {
            // SAFETY: it was open at the fork, and in the child nobody else knows of it. close() may be called here.
            unsafe { libc::close(fd) };
        }
    }
}

/// As long as one lives, forked children close their copy of a descriptor. To be dropped before the descriptor is closed.
#[derive(Debug)]
pub struct ClosedInChildren(&'static AtomicI32);

/// `None`: there are too many such descriptors already.
pub fn close_in_children(file: &File) -> Option<ClosedInChildren> {
    watch_forks();
    let fd = file.as_raw_fd() + 1;
    let free = |slot: &&AtomicI32| slot.compare_exchange(0, fd, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    CLOSED_IN_CHILDREN.iter().find(free).map(ClosedInChildren)
}

impl Drop for ClosedInChildren {
    fn drop(&mut self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

/// The largest file that this process may write. Beyond it, a write would also send SIGXFSZ to the host.
pub fn largest_file() -> u64 {
    // SAFETY: the struct is plain data that the call fills.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        match libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) {
            0 if limit.rlim_cur != libc::RLIM_INFINITY => limit.rlim_cur as u64,
            _ => u64::MAX,
        }
    }
}

/// Whether a process of this number lives, as far as can be told from here.
pub fn is_alive(process: u32) -> bool {
    let Ok(process) = i32::try_from(process) else { return false };
    // SAFETY: signal 0 sends nothing.
    process > 0
        && (unsafe { libc::kill(process, 0) } == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM))
}
