//! The threads that run callbacks: never an I/O thread, so a slow callback holds up no socket.

use crate::common::error::{Code, Error, Result};
use crate::common::os;
use crate::completion::inbox::{Mail, Mailbox};
use crate::completion::outcome::Outcome;
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

/// A started call's mailbox, bound to one dispatcher thread.
pub struct Callbacks {
    pub mailbox: Mailbox,
    handlers: Box<dyn Handlers>,
    /// It stands in its dispatcher's line, or is being run.
    scheduled: AtomicBool,
    stopped: AtomicBool,
    pub wants_events: bool,
}

impl Callbacks {
    pub fn new(handlers: Box<dyn Handlers>, wants_events: bool) -> Callbacks {
        let flag = || AtomicBool::new(false);
        Callbacks { mailbox: Mailbox::default(), handlers, scheduled: flag(), stopped: flag(), wants_events }
    }
}

/// What a dispatcher needs of a call.
pub trait Dispatched: Send + Sync {
    fn number(&self) -> u64;
    fn callbacks(&self) -> Option<&Callbacks>;
    fn cancel(&self);
    /// on_done has returned.
    fn reported(&self);
}

/// The pool. Threads start with the first call that needs one.
pub struct Dispatchers {
    size: usize,
    threads: OnceCell<Vec<Dispatcher>>,
    muted: Arc<AtomicBool>,
}

/// One thread, and the calls that stand in its line; `None`: there will be none.
struct Dispatcher {
    line: Sender<Option<Arc<dyn Dispatched>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Dispatchers {
    pub fn new(size: usize) -> Dispatchers {
        Dispatchers { size: size.max(1), threads: OnceCell::new(), muted: Arc::default() }
    }

    /// To be called before the first call with callbacks: without its threads it could never report.
    pub fn start(&self) -> Result<()> {
        let threads = || (0..self.size).map(|n| spawn(n, self.muted.clone())).collect::<io::Result<_>>();
        let started = self.threads.get_or_try_init(threads).map(drop);
        started
            .map_err(|fault| Error::new(Code::Internal, format!("No thread for callbacks could be started: {fault}.")))
    }

    /// Something lies in the call's mailbox.
    pub fn schedule(&self, call: Arc<dyn Dispatched>) {
        let Some(callbacks) = call.callbacks() else { return };
        if callbacks.scheduled.swap(true, Ordering::SeqCst) {
            return;
        }
        let Some(threads) = self.threads.get() else { return };
        let dispatcher = &threads[call.number() as usize % threads.len()];
        // The thread ends only with the last sender, or when every call has reported.
        let _ = dispatcher.line.send(Some(call));
    }

    /// Every call has reported: wait until `deadline` for the threads to end.
    pub fn stop(&self, deadline: Instant) {
        let threads = self.threads.get().map(Vec::as_slice).unwrap_or_default();
        for dispatcher in threads {
            let _ = dispatcher.line.send(None);
        }
        for dispatcher in threads {
            if let Some(thread) = dispatcher.thread.lock().take() {
                os::join_by(thread, deadline);
            }
        }
    }

    /// Run no callback any more: the process is ending and the host's objects may be gone.
    pub fn mute(&self) {
        self.muted.store(true, Ordering::Release);
    }
}

fn spawn(number: usize, muted: Arc<AtomicBool>) -> io::Result<Dispatcher> {
    let (sender, line) = channel::<Option<Arc<dyn Dispatched>>>();
    let body = move || {
        // Calls take turns, one batch each, so a fast stream holds up nobody.
        let mut turns = VecDeque::new();
        let mut was_last = false;
        loop {
            for next in line.try_iter() {
                was_last |= next.is_none();
                turns.extend(next);
            }
            let call: Arc<dyn Dispatched> = match turns.pop_front() {
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
    Ok(Dispatcher { line: sender, thread: Mutex::new(Some(thread)) })
}

/// Run one batch of callbacks. True: the call wants another turn.
fn step(call: &dyn Dispatched, muted: &AtomicBool) -> bool {
    let Some(callbacks) = call.callbacks() else { return false };
    let muted = muted.load(Ordering::Acquire);
    match callbacks.mailbox.try_take() {
        Some(Mail::Events(batch)) => {
            if !muted {
                deliver(call, callbacks, &batch);
            }
            true
        }
        Some(Mail::Result(outcome)) => {
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
            callbacks.mailbox.has_mail() && !callbacks.scheduled.swap(true, Ordering::SeqCst)
        }
    }
}

fn deliver(call: &dyn Dispatched, callbacks: &Callbacks, batch: &Batch) {
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
