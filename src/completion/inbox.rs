//! Where one call's events and its result wait for the thread that takes them.

use crate::common::sync::{Condvar, Mutex};
use crate::completion::backpressure::Backpressure;
use crate::completion::outcome::Outcome;
use crate::messages::Batch;
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Default)]
pub struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
    pub backpressure: Backpressure,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    outcome: Option<Arc<Outcome>>,
}

/// What there is to take.
pub enum Item {
    Events(Batch),
    Result(Arc<Outcome>),
}

impl Inbox {
    /// To be followed by [`Inbox::wake_reader`].
    pub fn put_events(&self, batch: Batch) {
        self.backpressure.wrote(batch.bytes());
        self.state.lock().batches.push_back(batch);
    }

    /// To be followed by [`Inbox::wake_reader`].
    pub fn put_result(&self, outcome: Arc<Outcome>) {
        self.state.lock().outcome = Some(outcome);
    }

    /// Wake the reader that waits.
    pub fn wake_reader(&self) {
        self.arrived.notify_one();
    }

    /// Events first, the result last; `None` when nothing is there.
    pub fn try_take(&self) -> Option<Item> {
        self.pop(&mut self.state.lock())
    }

    pub fn has_items(&self) -> bool {
        let state = self.state.lock();
        !state.batches.is_empty() || state.outcome.is_some()
    }

    pub fn take(&self) -> Item {
        let mut state = self.state.lock();
        loop {
            match self.pop(&mut state) {
                Some(mail) => return mail,
                None => state = self.arrived.wait(state),
            }
        }
    }

    fn pop(&self, state: &mut State) -> Option<Item> {
        if let Some(batch) = state.batches.pop_front() {
            self.backpressure.read(batch.bytes());
            return Some(Item::Events(batch));
        }
        state.outcome.clone().map(Item::Result)
    }
}
