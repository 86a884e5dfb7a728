//! Scopes: metadata that many calls share, merged once, and the meter mark.

use crate::common::error::{Code, Error, Result};
use crate::meter::Metadata;
use std::cell::RefCell;
use std::sync::Arc;

/// Metadata and the meter mark. Never changes after it was made.
#[derive(Clone, Default)]
pub struct Scope {
    pub metadata: Metadata,
    /// Calls in here are metered even if metering is selective.
    pub meter: bool,
}

impl Scope {
    pub fn child(parent: Option<&Scope>, metadata: Option<&str>, meter: bool) -> Scope {
        let inherited = parent.cloned().unwrap_or_default();
        Scope {
            metadata: match metadata {
                Some(json) => inherited.metadata.overlay(&Metadata::from_json(json)),
                None => inherited.metadata,
            },
            meter: meter || inherited.meter,
        }
    }
}

thread_local! {
    static STACK: RefCell<Vec<(u64, Arc<Scope>)>> = const { RefCell::new(Vec::new()) };
}

/// The scope that REVENIUM_SCOPE_THREAD means on this thread.
pub fn of_this_thread() -> Option<Arc<Scope>> {
    STACK.with_borrow(|stack| stack.last().map(|(_, scope)| scope.clone()))
}

pub fn push(handle: u64, scope: Arc<Scope>) {
    STACK.with_borrow_mut(|stack| stack.push((handle, scope)));
}

/// Undo the last push on this thread, which must have been of `handle`.
pub fn pop(handle: u64) -> Result<()> {
    STACK.with_borrow_mut(|stack| match stack.last() {
        Some((top, _)) if *top == handle => {
            stack.pop();
            Ok(())
        }
        Some(_) => Err(Error::new(Code::Handle, "Another scope was pushed last on this thread.")),
        None => Err(Error::new(Code::Handle, "No scope is pushed on this thread.")),
    })
}
