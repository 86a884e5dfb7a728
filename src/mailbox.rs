//! Where one call's events and its result wait for the thread that takes them.

use crate::outcome::Outcome;
use crate::queue::MAX_UNREAD;
use crate::stream::Batch;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Notify;

#[derive(Default)]
pub struct Mailbox {
    state: Mutex<State>,
    arrived: Condvar,
    room: Notify,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    unread: usize,
    outcome: Option<Arc<Outcome>>,
}

/// What there is to take.
pub enum Mail {
    Events(Batch),
    Result(Arc<Outcome>),
}

impl Mailbox {
    pub fn has_room(&self) -> bool {
        self.state.lock().unread < MAX_UNREAD
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

    /// To be followed by [`Mailbox::ring`].
    pub fn put_events(&self, batch: Batch) {
        let mut state = self.state.lock();
        state.unread += batch.bytes();
        state.batches.push_back(batch);
    }

    /// To be followed by [`Mailbox::ring`].
    pub fn put_result(&self, outcome: Arc<Outcome>) {
        self.state.lock().outcome = Some(outcome);
    }

    /// Wake the reader that waits.
    pub fn ring(&self) {
        self.arrived.notify_one();
    }

    /// Events first, the result last; `None` when nothing is there.
    pub fn try_take(&self) -> Option<Mail> {
        Self::pop(&mut self.state.lock(), &self.room)
    }

    pub fn has_mail(&self) -> bool {
        let state = self.state.lock();
        !state.batches.is_empty() || state.outcome.is_some()
    }

    pub fn take(&self) -> Mail {
        let mut state = self.state.lock();
        loop {
            match Self::pop(&mut state, &self.room) {
                Some(mail) => return mail,
                None => self.arrived.wait(&mut state),
            }
        }
    }

    fn pop(state: &mut State, room: &Notify) -> Option<Mail> {
        if let Some(batch) = state.batches.pop_front() {
            let before = state.unread;
            state.unread -= batch.bytes();
            if before >= MAX_UNREAD && state.unread < MAX_UNREAD {
                room.notify_waiters();
            }
            return Some(Mail::Events(batch));
        }
        state.outcome.clone().map(Mail::Result)
    }
}
