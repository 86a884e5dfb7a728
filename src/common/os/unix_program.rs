//! Programs that we start: the one that gives AWS credentials.

use std::borrow::Cow;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// What the system's shell makes of `command`. It ends at the latest with the thread that starts it, however this process
/// ends, where the system can see to that (Linux).
pub fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(in_place_of_the_shell(command).as_ref());
    ends_with_this_thread(&mut shell);
    shell
}

/// A single program takes the shell's place, so that what ends the shell ends the program. Not all shells see to that.
fn in_place_of_the_shell(command: &str) -> Cow<'_, str> {
    let first = command.split_whitespace().next().unwrap_or_default();
    let is_program = !first.contains('=') && ![".", "!", "command", "eval", "exec"].contains(&first);
    match is_program && !command.contains([';', '|', '&', '(', '\n']) {
        true => format!("exec {command}").into(),
        false => command.into(),
    }
}

/// A host that ignores SIGCHLD does so for itself: the program starts without.
fn ends_with_this_thread(command: &mut Command) {
    let us = std::process::id();
    let in_child = move || {
        // SAFETY: both calls are async-signal-safe and take plain numbers.
        unsafe {
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
            #[cfg(target_os = "linux")]
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        }
        match std::os::unix::process::parent_id() == us {
            true => Ok(()),
            // Gone before it could be said.
            false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    };
    // SAFETY: the closure takes no lock and allocates nothing.
    unsafe { command.pre_exec(in_child) };
}

/// Wait until something can be read, or the end of it. False: `limit` came first.
pub fn readable_within(file: &impl AsRawFd, limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which outlives the call.
        let found = unsafe { libc::poll(&mut poll, 1, i32::try_from(left).unwrap_or(i32::MAX)) };
        match found {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            -1 => return Err(io::Error::last_os_error()),
            found => return Ok(found > 0),
        }
    }
}
