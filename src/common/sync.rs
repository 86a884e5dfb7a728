//! A mutex and a condition to wait for beside it, for those that threads of the host sleep on.
//!
//! On the standard library's: a waiting thread of parking_lot stands in a table of the whole process, which a child that is
//! forked just then would find locked for ever. parking_lot is for what is held shortly and never waited on.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

pub use std::sync::MutexGuard;

#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A panic of whoever held it changes nothing: exports turn panics into errors, and what is inside stays whole.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is waited for changes with the mutex held, or the mutex is taken between the change and the notice.
#[derive(Debug, Default)]
pub struct Condvar {
    condition: std::sync::Condvar,
    /// The standard library's asks the kernel at each notice, also where nobody waits.
    waiting: AtomicUsize,
}

impl Condvar {
    pub fn new() -> Condvar {
        Condvar::default()
    }

    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let guard = self.condition.wait(guard).unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    /// True: the time came first.
    pub fn wait_until<'a, T>(&self, guard: MutexGuard<'a, T>, deadline: Instant) -> (MutexGuard<'a, T>, bool) {
        let left = deadline.saturating_duration_since(Instant::now());
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let (guard, ended) = self.condition.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        (guard, ended.timed_out())
    }

    pub fn notify_one(&self) {
        if self.is_waited_for() {
            self.condition.notify_one();
        }
    }

    pub fn notify_all(&self) {
        if self.is_waited_for() {
            self.condition.notify_all();
        }
    }

    /// Whoever waits was counted with the mutex held, before it was free for the change that is told of now.
    fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}
