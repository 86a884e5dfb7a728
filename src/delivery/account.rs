//! One account of Revenium, as its users hold it.

use super::Delivery;
use std::sync::Arc;

/// A delivery, in use as long as this lives.
#[derive(Clone)]
pub struct Account {
    pub delivery: Arc<Delivery>,
    uses: Arc<()>,
}

impl Account {
    pub fn new(delivery: Arc<Delivery>) -> Account {
        Account { delivery, uses: Arc::default() }
    }

    /// Besides by the one who keeps it.
    pub fn is_used(&self) -> bool {
        Arc::strong_count(&self.uses) > 1
    }
}
