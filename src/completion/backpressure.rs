//! How much of one call its reader has not taken yet: past a bound the network is not read.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// A call's socket is not read while more than this of its events lies unread.
const MAX_UNREAD: usize = 1 << 20;

/// The bytes of one call that lie unread.
#[derive(Default)]
pub struct Backpressure {
    unread: AtomicUsize,
    /// The reader says that he has enough for now.
    paused: AtomicBool,
    room: Notify,
}

impl Backpressure {
    pub fn has_room(&self) -> bool {
        self.unread.load(Ordering::Acquire) < MAX_UNREAD && !self.paused.load(Ordering::Acquire)
    }

    /// Read nothing more until [`Backpressure::resume`], however little lies there.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::Release);
    }

    pub fn resume(&self) {
        if self.paused.swap(false, Ordering::AcqRel) {
            self.room.notify_waiters();
        }
    }

    /// Wait until the reader has caught up.
    pub async fn room(&self) {
        loop {
            let room = self.room.notified();
            if self.has_room() {
                return;
            }
            room.await;
        }
    }

    /// So many bytes more lie there.
    pub fn wrote(&self, bytes: usize) {
        self.unread.fetch_add(bytes, Ordering::AcqRel);
    }

    /// So many were taken.
    pub fn read(&self, bytes: usize) {
        let before = self.unread.fetch_sub(bytes, Ordering::AcqRel);
        if before >= MAX_UNREAD && before - bytes < MAX_UNREAD {
            self.room.notify_waiters();
        }
    }

    #[cfg(test)]
    pub fn unread(&self) -> usize {
        self.unread.load(Ordering::Acquire)
    }
}
