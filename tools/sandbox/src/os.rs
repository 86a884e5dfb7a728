//! What differs from system to system.

use std::io;
use tokio::sync::oneshot;

/// Ten thousand streams need as many descriptors; the usual limit is 1024. Where it can't be raised, fewer fit.
pub fn allow_many_sockets() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

/// Ends with the first signal. Not tokio's: what this crate asks of tokio, the library built beside it has too, and
/// tokio's watch for signals reads in a forked child what the parent had open.
#[cfg(unix)]
pub fn told_to_end() -> io::Result<oneshot::Receiver<()>> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let (told, wait) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        signals.forever().next();
        drop(told);
    });
    Ok(wait)
}

/// Never ends: without signals the system ends the process by itself.
#[cfg(not(unix))]
pub fn told_to_end() -> io::Result<oneshot::Receiver<()>> {
    let (told, wait) = oneshot::channel::<()>();
    std::mem::forget(told);
    Ok(wait)
}
