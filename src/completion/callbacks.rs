//! The threads that run callbacks: never an I/O thread, so a slow callback holds up no socket.

use crate::common::error::{Code, Error, Result};
use crate::common::os;
use crate::completion::inbox::{Inbox, Item};
use crate::completion::outcome::Outcome;
use crate::completion::{Reporting, Target};
use crate::messages::{Batch, Event};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs a callback of this library, where waiting could wait for itself.
pub fn in_callback() -> bool {
    IN_CALLBACK.get()
}

/// Run a callback of the host.
pub fn as_callback<R>(body: impl FnOnce() -> R) -> R {
    let outer = IN_CALLBACK.replace(true);
    let result = body();
    IN_CALLBACK.set(outer);
    result
}

/// What a started call reports to. The two are never called at the same time.
pub trait Handlers: Send + Sync {
    /// `Break` stops the stream and cancels the call.
    fn event(&self, call: u64, event: &Event<'_>) -> ControlFlow<()>;
    fn done(&self, call: u64, outcome: &Arc<Outcome>);
}

/// A started call's inbox, bound to one thread thread.
pub struct Callbacks {
    pub inbox: Inbox,
    handlers: Box<dyn Handlers>,
    /// It stands in its thread's line, or is being run.
    scheduled: AtomicBool,
    stopped: AtomicBool,
    pub wants_events: bool,
}

impl Callbacks {
    pub fn new(handlers: Box<dyn Handlers>, wants_events: bool) -> Callbacks {
        let flag = || AtomicBool::new(false);
        Callbacks { inbox: Inbox::default(), handlers, scheduled: flag(), stopped: flag(), wants_events }
    }
}

/// The pool. Threads start with the first call that needs one.
pub struct CallbackPool {
    size: usize,
    threads: OnceCell<Vec<CallbackThread>>,
    muted: Arc<AtomicBool>,
}

/// One thread, and the calls that stand in its line; `None`: there will be none.
struct CallbackThread {
    line: Sender<Option<Arc<dyn Reporting>>>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl CallbackPool {
    pub fn new(size: usize) -> CallbackPool {
        CallbackPool { size: size.max(1), threads: OnceCell::new(), muted: Arc::default() }
    }

    /// To be called before the first call with callbacks: without its threads it could never report.
    pub fn start(&self) -> Result<()> {
        let threads = || (0..self.size).map(|n| spawn(n, self.muted.clone())).collect::<io::Result<_>>();
        let started = self.threads.get_or_try_init(threads).map(drop);
        started
            .map_err(|fault| Error::new(Code::Internal, format!("No thread for callbacks could be started: {fault}.")))
    }

    /// Something lies in the call's inbox.
    pub fn schedule(&self, call: Arc<dyn Reporting>) {
        let Some(callbacks) = callbacks_of(&*call) else { return };
        if callbacks.scheduled.swap(true, Ordering::SeqCst) {
            return;
        }
        let Some(threads) = self.threads.get() else { return };
        let thread = &threads[call.number() as usize % threads.len()];
        // The thread ends only with the last sender, or when every call has reported.
        let _ = thread.line.send(Some(call));
    }

    /// Every call has reported: wait until `deadline` for the threads to end.
    pub fn stop(&self, deadline: Instant) {
        let threads = self.threads.get().map(Vec::as_slice).unwrap_or_default();
        for thread in threads {
            let _ = thread.line.send(None);
        }
        for thread in threads {
            if let Some(handle) = thread.handle.lock().take() {
                os::join_by(handle, deadline);
            }
        }
    }

    /// Run no callback any more: the process is ending and the host's objects may be gone.
    pub fn mute(&self) {
        self.muted.store(true, Ordering::Release);
    }
}

fn spawn(number: usize, muted: Arc<AtomicBool>) -> io::Result<CallbackThread> {
    let (sender, line) = channel::<Option<Arc<dyn Reporting>>>();
    let body = move || {
        // Calls take turns, one batch each, so a fast stream holds up nobody.
        let mut turns = VecDeque::new();
        let mut was_last = false;
        loop {
            for next in line.try_iter() {
                was_last |= next.is_none();
                turns.extend(next);
            }
            let call: Arc<dyn Reporting> = match turns.pop_front() {
                Some(call) => call,
                None if was_last => return,
                None => match line.recv() {
                    Ok(Some(call)) => call,
                    Ok(None) | Err(_) => return,
                },
            };
            if as_callback(|| step(&*call, &muted)) {
                turns.push_back(call);
            }
        }
    };
    let builder = thread::Builder::new().name(format!("revenium-cb-{number}"));
    let thread = os::with_signals_blocked(|| builder.spawn(body))?;
    Ok(CallbackThread { line: sender, handle: Mutex::new(Some(thread)) })
}

fn callbacks_of(call: &dyn Reporting) -> Option<&Callbacks> {
    match call.target() {
        Target::Callbacks(callbacks) => Some(callbacks),
        _ => None,
    }
}

/// Run one batch of callbacks. True: the call wants another turn.
fn step(call: &dyn Reporting, muted: &AtomicBool) -> bool {
    let Some(callbacks) = callbacks_of(call) else { return false };
    let muted = muted.load(Ordering::Acquire);
    match callbacks.inbox.try_take() {
        Some(Item::Events(batch)) => {
            if !muted {
                deliver(call, callbacks, &batch);
            }
            true
        }
        Some(Item::Result(outcome)) => {
            if !muted {
                callbacks.handlers.done(call.number(), &outcome);
            }
            call.reported();
            // `scheduled` stays set: nothing comes after the result.
            false
        }
        None => {
            callbacks.scheduled.store(false, Ordering::SeqCst);
            // Something may have come between the last look and the line above.
            callbacks.inbox.has_items() && !callbacks.scheduled.swap(true, Ordering::SeqCst)
        }
    }
}

fn deliver(call: &dyn Reporting, callbacks: &Callbacks, batch: &Batch) {
    for event in batch.iter() {
        if callbacks.stopped.load(Ordering::Relaxed) {
            return;
        }
        if callbacks.handlers.event(call.number(), &event).is_break() {
            callbacks.stopped.store(true, Ordering::Relaxed);
            call.cancel();
        }
    }
}
