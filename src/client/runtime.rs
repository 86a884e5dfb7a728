//! The threads that do the network's work.

use crate::common::error::{Code, Error, Result};
use crate::common::os;
use std::thread;
use tokio::runtime::{self, Builder, Handle};
use tokio::sync::oneshot;

/// Threads that look up host names, and read the AWS files of those who use Bedrock.
const MAX_WAITING_THREADS: usize = 4;

/// One thread with an event loop of its own, or several that share the work.
///
/// One is the cheaper: a task never moves between threads, so no thread wakes another in the middle of a call.
pub struct Runtime {
    handle: Handle,
    threads: Threads,
}

enum Threads {
    /// Dropping the sender ends the thread.
    One(#[allow(dead_code)] oneshot::Sender<()>),
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

    /// Does not wait: a name lookup that hangs must not hold up the host.
    pub fn stop(self) {
        match self.threads {
            Threads::One(stop) => drop(stop),
            Threads::Many(runtime) => runtime.shutdown_background(),
        }
    }
}

fn built(mut builder: Builder) -> std::io::Result<runtime::Runtime> {
    builder.thread_name("revenium-io").max_blocking_threads(MAX_WAITING_THREADS).enable_io().enable_time().build()
}

fn one() -> std::io::Result<Runtime> {
    let runtime = built(Builder::new_current_thread())?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel();
    thread::Builder::new().name("revenium-io".to_owned()).spawn(move || {
        let _ = runtime.block_on(stopped);
        runtime.shutdown_background();
    })?;
    Ok(Runtime { handle, threads: Threads::One(stop) })
}

/// Whether so many threads can run at a time. Tokio waits for ever for those that cannot start.
fn can_start(threads: usize) -> std::io::Result<()> {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Arc::new(std::sync::Mutex::new(held));
    let start = |_| {
        let held = held.clone();
        thread::Builder::new().name("revenium-io".to_owned()).spawn(move || {
            // Ends with the sender.
            let _ = held.lock().map(|held| held.recv());
        })
    };
    let started: std::io::Result<Vec<_>> = (0..threads).map(start).collect();
    drop(hold);
    // Gone before the runtime starts its own.
    started?.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

fn many(threads: usize) -> std::io::Result<Runtime> {
    can_start(threads)?;
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads);
    let runtime = built(builder)?;
    Ok(Runtime { handle: runtime.handle().clone(), threads: Threads::Many(runtime) })
}
