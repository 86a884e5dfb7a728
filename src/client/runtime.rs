//! The threads that do the network's work.

use crate::common::error::{Code, Error, Result};
use crate::common::os;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::runtime::{self, Builder, Handle};
use tokio::sync::oneshot;

/// Threads that look up host names, and read the AWS files of those who use Bedrock.
const MAX_WAITING_THREADS: usize = 4;

/// How long the end waits for threads that look up a name.
const PATIENCE: Duration = Duration::from_millis(500);

/// One thread with an event loop of its own, or several that share the work.
///
/// One is the cheaper: a task never moves between threads, so no thread wakes another in the middle of a call.
pub struct Runtime {
    handle: Handle,
    threads: Threads,
}

enum Threads {
    /// Dropping the sender ends the thread.
    One(oneshot::Sender<()>, JoinHandle<()>),
    Many(runtime::Runtime),
}

impl Runtime {
    /// All threads block all signals.
    pub fn start(threads: usize) -> Result<Runtime> {
        os::with_signals_blocked(|| if threads == 1 { one() } else { many(threads) })
            .map_err(|fault| Error::new(Code::Internal, format!("No threads could be started: {fault}.")))
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits for the threads until `deadline`, and no longer: a name lookup that hangs must not hold up the host.
    pub fn stop(self, deadline: Instant) {
        match self.threads {
            Threads::One(stop, thread) => {
                drop(stop);
                os::join_by(thread, deadline);
            }
            Threads::Many(runtime) => {
                runtime.shutdown_timeout(PATIENCE.min(deadline.saturating_duration_since(Instant::now())));
            }
        }
    }
}

fn built(mut builder: Builder) -> io::Result<runtime::Runtime> {
    builder.thread_name("revenium-io").max_blocking_threads(MAX_WAITING_THREADS).enable_io().enable_time().build()
}

fn one() -> io::Result<Runtime> {
    let (stop, stopped) = oneshot::channel();
    let made = Arc::new(OnceLock::new());
    let told = made.clone();
    let thread = thread::Builder::new().name("revenium-io".to_owned()).spawn(move || {
        // Made here, as std keeps something for each thread that a runtime is made on: the host's live on.
        let runtime = match built(Builder::new_current_thread()) {
            Ok(runtime) => runtime,
            Err(fault) => return drop(told.set(Err(fault.kind()))),
        };
        let _ = told.set(Ok(runtime.handle().clone()));
        drop(told);
        let _ = runtime.block_on(stopped);
        runtime.shutdown_timeout(PATIENCE);
    })?;
    let handle = made.wait().clone()?;
    Ok(Runtime { handle, threads: Threads::One(stop, thread) })
}

/// Whether so many threads can run at a time. Tokio waits for ever for those that cannot start.
fn can_start(threads: usize) -> io::Result<()> {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let start = |_| {
        let held = held.clone();
        thread::Builder::new().name("revenium-io".to_owned()).spawn(move || {
            // Ends with the sender.
            let _ = held.lock().map(|held| held.recv());
        })
    };
    let started: io::Result<Vec<_>> = (0..threads).map(start).collect();
    drop(hold);
    // Gone before the runtime starts its own.
    started?.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

fn many(threads: usize) -> io::Result<Runtime> {
    can_start(threads)?;
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads);
    let runtime = built(builder)?;
    Ok(Runtime { handle: runtime.handle().clone(), threads: Threads::Many(runtime) })
}
