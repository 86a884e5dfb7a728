//! Windows: no forks, no signals, and locks that are about bytes.

use std::borrow::Cow;
use std::ffi::c_void;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::os::windows::io::{AsRawHandle, AsRawSocket, FromRawHandle, IntoRawSocket, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_LOCK_VIOLATION, HANDLE,
    HANDLE_FLAG_INHERIT, LocalFree, SetHandleInformation, WAIT_TIMEOUT,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{GetTokenInformation, SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER, TokenUser};
use windows_sys::Win32::Storage::FileSystem::{
    CreateDirectoryW, FILE_FLAG_OPEN_REPARSE_POINT, FILE_STANDARD_INFO, FileStandardInfo, GetFileInformationByHandleEx,
    LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx,
};
use windows_sys::Win32::System::IO::OVERLAPPED;
use windows_sys::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_PIN, GetModuleHandleExW,
};
use windows_sys::Win32::System::Pipes::PeekNamedPipe;
use windows_sys::Win32::System::Threading::{
    CREATE_NO_WINDOW, GetCurrentProcess, OpenProcess, OpenProcessToken, PROCESS_SYNCHRONIZE, WaitForSingleObject,
};

/// There are none.
pub struct NoFork(());

pub fn no_fork() -> NoFork {
    NoFork(())
}

pub(super) fn forks() -> u64 {
    0
}

/// To be called before something is kept that belongs to this process: threads of ours may run when a host unloads the
/// library, so it stays. The linker sees to that elsewhere.
pub(super) fn settle() {
    static PINNED: AtomicBool = AtomicBool::new(false);
    if !PINNED.swap(true, Ordering::SeqCst) {
        let mut module = std::ptr::null_mut();
        let by_address = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN;
        // SAFETY: any address in the library will do; the handle is not used.
        unsafe { GetModuleHandleExW(by_address, (&raw const PINNED).cast(), &mut module) };
    }
}

/// No handle of ours is inherited by the programs that a host starts.
#[derive(Debug)]
pub struct ClosedInChildren(());

pub fn close_in_children(_: &File) -> Option<ClosedInChildren> {
    Some(ClosedInChildren(()))
}

pub fn with_signals_blocked<R>(body: impl FnOnce() -> R) -> R {
    body()
}

/// What the system's shell makes of `command`.
pub fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    // As it stands: cmd has quoting rules of its own. A host without a console shall not have one flash up.
    shell.arg("/C").raw_arg(command).creation_flags(CREATE_NO_WINDOW);
    shell
}

/// How often a pipe is looked at: one that was not made for it cannot be waited for.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Wait until something can be read, or the end of it. False: `limit` came first.
pub fn readable_within(pipe: &impl AsRawHandle, limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let mut waiting = 0u32;
        let none = std::ptr::null_mut();
        // SAFETY: the handle is open, and nothing but the number of bytes is asked for.
        let looked =
            done(unsafe { PeekNamedPipe(pipe.as_raw_handle(), none, 0, none.cast(), &mut waiting, none.cast()) });
        if let Err(error) = looked {
            return if is(&error, ERROR_BROKEN_PIPE) { Ok(true) } else { Err(error) };
        }
        if waiting > 0 || Instant::now() >= deadline {
            return Ok(waiting > 0);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Nothing: at its end a process has lost all threads but one before a library hears of it, so nothing can be sent any
/// more. Records wait in the spool for the next process.
pub fn at_exit(_: extern "C" fn()) {}

/// What is not this user's, his ACL keeps from him.
pub fn is_ours(_: &Metadata) -> bool {
    true
}

/// The system, administrators and this user, for a directory and all in it, whatever is above it. The user by name: what an
/// elevated process makes belongs to the administrators.
fn private() -> io::Result<String> {
    Ok(format!("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;{})", this_user()?))
}

/// Who runs this process, as SDDL writes it.
fn this_user() -> io::Result<String> {
    let mut token = std::ptr::null_mut();
    // SAFETY: the process is this one, and there is room for the handle.
    done(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &mut token) })?;
    // SAFETY: the handle is open and nobody else's.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    // The struct, then what it points to, which is shorter than a hundred bytes.
    let mut user = [0u64; 32];
    let (room, mut used) = (size_of_val(&user) as u32, 0);
    // SAFETY: the handle is open, and there is as much room as is said.
    done(unsafe { GetTokenInformation(token.as_raw_handle(), TokenUser, (&raw mut user).cast(), room, &mut used) })?;
    let mut text: *mut u16 = std::ptr::null_mut();
    // SAFETY: the struct was written there, aligned for it; what it points to lives as long.
    done(unsafe { ConvertSidToStringSidW((*(&raw const user).cast::<TOKEN_USER>()).User.Sid, &mut text) })?;
    // SAFETY: the text ends with a NUL, and is freed once, after its use.
    unsafe {
        let length = (0..).take_while(|at| *text.add(*at) != 0).count();
        let user = String::from_utf16_lossy(std::slice::from_raw_parts(text, length));
        LocalFree(text.cast());
        Ok(user)
    }
}

/// Make a directory that only this user can look into, and those above it. One that is there stays as it is.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        create_private_directory(above)?;
    }
    let sddl: Vec<u16> = private()?.encode_utf16().chain([0]).collect();
    let name: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    let mut descriptor: *mut c_void = std::ptr::null_mut();
    let size = std::ptr::null_mut();
    // SAFETY: both texts end with a NUL, and the descriptor is freed once, after its use.
    let made = unsafe {
        done(ConvertStringSecurityDescriptorToSecurityDescriptorW(
            sddl.as_ptr(),
            SDDL_REVISION_1,
            &mut descriptor,
            size,
        ))?;
        let security = SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: descriptor,
            bInheritHandle: 0,
        };
        let made = done(CreateDirectoryW(name.as_ptr(), &security));
        LocalFree(descriptor);
        made
    };
    match made {
        // Another process was faster.
        Err(error) if is(&error, ERROR_ALREADY_EXISTS) && path.is_dir() => Ok(()),
        made => made,
    }
}

/// See that a directory is one. Who may look into it was decided by whoever made it.
pub fn keep_private(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => Ok(()),
        false => Err(io::Error::new(ErrorKind::PermissionDenied, "the spool directory is none")),
    }
}

/// To make a file that only this user can read: its directory's ACL sees to that.
pub fn private_file() -> OpenOptions {
    OpenOptions::new()
}

/// The same for a file to be read, and written by [`append`]; never by way of a link.
pub fn appended_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    // Not `append`, with which a file cannot be cut.
    options.read(true).write(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
    options
}

/// A file from somewhere on.
struct At<'a>(&'a File, u64);

/// For WriteFile the end of the file, wherever that is by now; and it stays so.
const END: u64 = u64::MAX;

impl Read for At<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.0.seek_read(bytes, self.1)?;
        self.1 = self.1.saturating_add(read as u64);
        Ok(read)
    }
}

impl Write for At<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.seek_write(bytes, self.1)?;
        self.1 = self.1.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Write at the end, wherever that is by now.
pub fn append(file: &File, bytes: &[u8]) -> io::Result<()> {
    At(file, END).write_all(bytes)
}

pub fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    At(file, offset).read_exact(bytes)
}

pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    At(file, offset).write_all(bytes)
}

/// How it stands with an open file.
pub struct Standing {
    pub size: u64,
    /// It is still in a directory.
    pub linked: bool,
}

pub fn standing(file: &File) -> io::Result<Standing> {
    let mut found = FILE_STANDARD_INFO::default();
    let size = size_of::<FILE_STANDARD_INFO>() as u32;
    // SAFETY: the handle is open, and the struct is as large as is said.
    done(unsafe {
        GetFileInformationByHandleEx(file.as_raw_handle(), FileStandardInfo, (&raw mut found).cast(), size)
    })?;
    Ok(Standing {
        size: u64::try_from(found.EndOfFile).unwrap_or_default(),
        linked: found.NumberOfLinks > 0 && !found.DeletePending,
    })
}

/// The file system sees to the names in it.
pub fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Lock an open file. False: somebody else has it.
///
/// The lock belongs to what was opened here, and ends when that is closed or its process ends. It is on a byte that no
/// file has: others may read and write what there is.
pub fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: plain data; zeroes mean: no event, from the start.
    let mut at: OVERLAPPED = unsafe { std::mem::zeroed() };
    at.Anonymous.Anonymous.OffsetHigh = 0x4000_0000;
    let how = LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY;
    // SAFETY: the handle is open, and the struct outlives the call, which does not wait.
    match done(unsafe { LockFileEx(file.as_raw_handle(), how, 0, 1, 0, &mut at) }) {
        Ok(()) => Ok(true),
        Err(error) if is(&error, ERROR_LOCK_VIOLATION) || is(&error, ERROR_IO_PENDING) => Ok(false),
        Err(error) => Err(error),
    }
}

/// There is no limit but the disk's.
pub fn largest_file() -> u64 {
    u64::MAX
}

/// Whether a process of this number lives, as far as can be told from here.
pub fn is_alive(process: u32) -> bool {
    // SAFETY: takes plain numbers.
    let handle = unsafe { OpenProcess(PROCESS_SYNCHRONIZE, 0, process) };
    if handle.is_null() {
        return is(&io::Error::last_os_error(), ERROR_ACCESS_DENIED);
    }
    // SAFETY: the handle is open and nobody else's.
    let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
    // SAFETY: as above; it does not wait.
    unsafe { WaitForSingleObject(handle.as_raw_handle(), 0) == WAIT_TIMEOUT }
}

pub(super) use std::net::TcpStream as Socket;

/// There are no pairs: a connection of the loopback interface, and not with somebody who was faster. The host has the end
/// that connected.
pub(super) fn socket_pair() -> io::Result<(Socket, Socket)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let theirs = Socket::connect(listener.local_addr()?)?;
    let them = theirs.local_addr()?;
    loop {
        let (ours, from) = listener.accept()?;
        if from == them {
            // Of all sockets, those that are accepted may be inherited unless that is said.
            // SAFETY: the handle is open.
            done(unsafe { SetHandleInformation(ours.as_raw_socket() as HANDLE, HANDLE_FLAG_INHERIT, 0) })?;
            ours.set_nodelay(true)?;
            return Ok((ours, theirs));
        }
    }
}

/// Handles have no more than 32 bits that say something, as programs of 32 bits use them, too.
pub(super) fn into_descriptor(socket: Socket) -> i32 {
    socket.into_raw_socket() as i32
}

pub fn stderr() -> io::Result<io::Stderr> {
    Ok(io::stderr())
}

/// Environment variables by the names that the system knows them by: whatever the case.
pub fn variable(name: &str) -> Cow<'_, str> {
    name.to_ascii_uppercase().into()
}

/// Where a user has his files, as AWS's SDKs find it.
#[cfg(feature = "bedrock")]
pub fn home(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    ["HOME", "USERPROFILE"].into_iter().find_map(|name| env(name).filter(|home| !home.is_empty())).map(PathBuf::from)
}

/// Where a user's programs keep what they need the next time: not with what follows him to other machines.
pub fn state_directory(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    env("LOCALAPPDATA").map(PathBuf::from).filter(|path| path.is_absolute())
}

/// What of the environment decides that.
pub const STATE_DIRECTORY_IS_BY: &str = "no LOCALAPPDATA";

/// What most functions of Windows give: zero is an error.
fn done(answer: i32) -> io::Result<()> {
    match answer {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == i32::try_from(code).ok()
}
