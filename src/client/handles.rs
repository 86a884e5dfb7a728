//! Number → thing. A number is given out once in the life of a process and of its forked children.

use crate::call::Call;
use crate::call::observed::Tap;
use crate::common::error::{Code, Error, Result};
use crate::completion::outcome::Outcome;
use crate::completion::queue::Queue;
use crate::meter::scope::Scope;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Below lie the numbers with a meaning of their own (REVENIUM_SCOPE_*).
const FIRST: u64 = 16;
static NEXT: AtomicU64 = AtomicU64::new(FIRST);

#[derive(Clone)]
pub enum Object {
    Scope(Arc<Scope>),
    Outcome(Arc<Outcome>),
    Call(Arc<Call>),
    Queue(Arc<Queue>),
    Tap(Arc<Tap>),
}

pub struct Handles {
    /// Handles below were made by a parent process.
    floor: u64,
    shards: [Mutex<BTreeMap<u64, Object>>; 16],
}

impl Default for Handles {
    fn default() -> Self {
        Handles { floor: NEXT.load(Ordering::SeqCst), shards: Default::default() }
    }
}

impl Handles {
    pub fn next_number() -> u64 {
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    pub fn insert(&self, object: Object) -> u64 {
        let number = Self::next_number();
        self.insert_as(number, object);
        number
    }

    pub fn insert_as(&self, number: u64, object: Object) {
        self.shard(number).lock().insert(number, object);
    }

    pub fn remove(&self, number: u64) -> Option<Object> {
        self.shard(number).lock().remove(&number)
    }

    pub fn get(&self, number: u64) -> Result<Object> {
        self.shard(number).lock().get(&number).cloned().ok_or_else(|| self.unknown(number))
    }

    pub fn scope(&self, number: u64) -> Result<Arc<Scope>> {
        match self.get(number)? {
            Object::Scope(scope) => Ok(scope),
            _ => Err(wrong_kind("a scope")),
        }
    }

    pub fn call(&self, number: u64) -> Result<Arc<Call>> {
        match self.get(number)? {
            Object::Call(call) => Ok(call),
            _ => Err(wrong_kind("a call")),
        }
    }

    pub fn queue(&self, number: u64) -> Result<Arc<Queue>> {
        match self.get(number)? {
            Object::Queue(queue) => Ok(queue),
            _ => Err(wrong_kind("a queue")),
        }
    }

    pub fn tap(&self, number: u64) -> Result<Arc<Tap>> {
        match self.get(number)? {
            Object::Tap(tap) => Ok(tap),
            _ => Err(wrong_kind("a tap")),
        }
    }

    pub fn queues(&self) -> Vec<Arc<Queue>> {
        self.all(|object| match object {
            Object::Queue(queue) => Some(queue.clone()),
            _ => None,
        })
    }

    pub fn taps(&self) -> Vec<Arc<Tap>> {
        self.all(|object| match object {
            Object::Tap(tap) => Some(tap.clone()),
            _ => None,
        })
    }

    fn all<T>(&self, pick: impl Fn(&Object) -> Option<T>) -> Vec<T> {
        self.shards.iter().flat_map(|shard| shard.lock().values().filter_map(&pick).collect::<Vec<_>>()).collect()
    }

    /// Why `number` names nothing here.
    pub fn unknown(&self, number: u64) -> Error {
        if (FIRST..self.floor).contains(&number) {
            Error::new(Code::Forked, "This handle was made before fork() and belongs to the parent process.")
        } else {
            Error::new(Code::Handle, "No such handle: it was released, or is not one of this library's.")
        }
    }

    fn shard(&self, number: u64) -> &Mutex<BTreeMap<u64, Object>> {
        &self.shards[(number % 16) as usize]
    }
}

fn wrong_kind(wanted: &str) -> Error {
    Error::new(Code::Handle, format!("This handle is not {wanted}."))
}
