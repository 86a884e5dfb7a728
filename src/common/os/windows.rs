//! Windows: no forks, no signals, and locks that are about bytes.

use std::borrow::Cow;
use std::ffi::c_void;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_LOCK_VIOLATION, LocalFree,
    WAIT_TIMEOUT,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::Storage::FileSystem::{
    CreateDirectoryW, FILE_FLAG_OPEN_REPARSE_POINT, FILE_STANDARD_INFO, FileStandardInfo, GetFileInformationByHandleEx,
    LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx,
};
use windows_sys::Win32::System::IO::OVERLAPPED;
use windows_sys::Win32::System::LibraryLoader::{
    GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_PIN, GetModuleHandleExW,
};
use windows_sys::Win32::System::Pipes::PeekNamedPipe;
use windows_sys::Win32::System::Threading::{CREATE_NO_WINDOW, OpenProcess, PROCESS_SYNCHRONIZE, WaitForSingleObject};

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
        let looked = unsafe { PeekNamedPipe(pipe.as_raw_handle(), none, 0, none.cast(), &mut waiting, none.cast()) };
        if looked == 0 {
            let error = io::Error::last_os_error();
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

/// The system, administrators and who makes it, for it and all in it, whatever is above it.
const PRIVATE: &str = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)";

/// Make a directory that only this user can look into, and those above it. One that is there stays as it is.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        create_private_directory(above)?;
    }
    let sddl: Vec<u16> = PRIVATE.encode_utf16().chain([0]).collect();
    let name: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    let mut descriptor: *mut c_void = std::ptr::null_mut();
    // SAFETY: both texts end with a NUL, and the descriptor is freed once, after its use.
    let made = unsafe {
        if ConvertStringSecurityDescriptorToSecurityDescriptorW(
            sddl.as_ptr(),
            SDDL_REVISION_1,
            &mut descriptor,
            std::ptr::null_mut(),
        ) == 0
        {
            return Err(io::Error::last_os_error());
        }
        let security = SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: descriptor,
            bInheritHandle: 0,
        };
        let made = match CreateDirectoryW(name.as_ptr(), &security) {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        };
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

/// Write at the end, wherever that is by now.
pub fn append(file: &File, mut bytes: &[u8]) -> io::Result<()> {
    // WriteFile takes it for the end of the file.
    const END: u64 = u64::MAX;
    while !bytes.is_empty() {
        match file.seek_write(bytes, END) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.seek_read(bytes, offset) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                bytes = bytes.get_mut(read..).unwrap_or_default();
                offset += read as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.seek_write(bytes, offset) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
    let told =
        unsafe { GetFileInformationByHandleEx(file.as_raw_handle(), FileStandardInfo, (&raw mut found).cast(), size) };
    match told {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(Standing {
            size: u64::try_from(found.EndOfFile).unwrap_or_default(),
            linked: found.NumberOfLinks > 0 && !found.DeletePending,
        }),
    }
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
    if unsafe { LockFileEx(file.as_raw_handle(), how, 0, 1, 0, &mut at) } != 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match is(&error, ERROR_LOCK_VIOLATION) || is(&error, ERROR_IO_PENDING) {
        true => Ok(false),
        false => Err(error),
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

/// There is none: what a host waits at here takes no descriptor of another kind.
pub enum Bell {}

pub enum Wake {}

pub fn bell() -> io::Result<(Bell, Wake)> {
    Err(ErrorKind::Unsupported.into())
}

impl Bell {
    pub fn ring(&mut self) -> bool {
        match *self {}
    }
}

impl Wake {
    pub fn into_descriptor(self) -> i32 {
        match self {}
    }
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

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == i32::try_from(code).ok()
}
