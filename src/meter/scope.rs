//! Scopes: metadata that many calls share, merged once, and the meter mark.

use crate::common::error::{Code, Error, Result};
use crate::common::json::edit::{object_of_request, spliced};
use crate::meter::Metadata;
use crate::settings::Choices;
use std::cell::RefCell;
use std::sync::Arc;

/// Metadata, choices and the meter mark. Never changes after it was made.
#[derive(Clone, Default)]
pub struct Scope {
    pub metadata: Metadata,
    /// Calls in here are metered even if metering is selective.
    pub meter: bool,
    /// For every call in here: the member `revenium` of the metadata it was made with.
    pub choices: Choices,
}

impl Scope {
    /// `beneath`: what the parent says wins.
    pub fn child(parent: Option<&Scope>, metadata: Option<&str>, meter: bool, beneath: bool) -> Result<Scope> {
        let mut scope = parent.cloned().unwrap_or_default();
        scope.meter |= meter;
        let Some(text) = metadata else { return Ok(scope) };
        let members =
            object_of_request(text).map_err(|_| Error::new(Code::Json, "The metadata is not a JSON object."))?;
        if let Some(choices) = members.get("revenium") {
            let own = Choices::parse(choices.get())?;
            scope.choices = if beneath { scope.choices.over(&own) } else { own.over(&scope.choices) };
        }
        let fields = spliced(text, &members, |name, _| name == "revenium", &[]);
        let own = Metadata::from_json(&String::from_utf8_lossy(&fields));
        scope.metadata = if beneath { own.overlay(&scope.metadata) } else { scope.metadata.overlay(&own) };
        Ok(scope)
    }
}

thread_local! {
    static STACK: RefCell<Vec<(u64, Arc<Scope>)>> = const { RefCell::new(Vec::new()) };
}

/// The scope that REVENIUM_SCOPE_THREAD means on this thread.
///
/// A thread that ends, or a process in its destructors, has no stack any more: E_CLOSED.
pub fn of_this_thread() -> Result<Option<Arc<Scope>>> {
    STACK.try_with(|stack| stack.borrow().last().map(|(_, scope)| scope.clone())).map_err(|_| ending())
}

fn ending() -> Error {
    Error::new(Code::Closed, "This thread is ending, and its scopes are gone.")
}

pub fn push(handle: u64, scope: Arc<Scope>) -> Result<()> {
    STACK.try_with(|stack| stack.borrow_mut().push((handle, scope))).map_err(|_| ending())
}

/// Undo the last push on this thread, which must have been of `handle`.
pub fn pop(handle: u64) -> Result<()> {
    let pop = |stack: &RefCell<Vec<(u64, Arc<Scope>)>>| {
        let top = stack.borrow().last().map(|(top, _)| *top);
        match top {
            // Dropped when nothing is borrowed any more.
            Some(top) if top == handle => Ok(stack.borrow_mut().pop()),
            Some(_) => Err(Error::new(Code::Handle, "Another scope was pushed last on this thread.")),
            None => Err(Error::new(Code::Handle, "No scope is pushed on this thread.")),
        }
    };
    STACK.try_with(pop).map_err(|_| ending())?.map(drop)
}
