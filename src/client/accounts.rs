//! Several accounts of Revenium in one process: a delivery for each that a scope or call names, beside the process's own.

use crate::common::error::Result;
use crate::delivery::{Account, Circuit, Counts, Delivery, Destination, Dropped};
use parking_lot::Mutex;
use std::sync::Arc;

/// So many are kept besides those that calls are using. What one that goes had left stays in the spool, for when its
/// account is named again.
const KEPT: usize = 64;

#[derive(Default)]
pub struct Accounts {
    /// The latest used last.
    known: Mutex<Vec<(Destination, Account)>>,
}

impl Accounts {
    /// The account behind this destination; `make` begins its delivery.
    pub fn get(
        &self,
        destination: Destination,
        make: impl FnOnce(Destination) -> Result<Arc<Delivery>>,
    ) -> Result<Account> {
        let mut known = self.known.lock();
        if let Some(at) = known.iter().position(|(other, _)| *other == destination) {
            let entry = known.remove(at);
            let account = entry.1.clone();
            known.push(entry);
            return Ok(account);
        }
        let account = Account::new(make(destination.clone())?);
        known.push((destination, account.clone()));
        let goes = match known.len() > KEPT {
            true => Accounts::to_go(&known).map(|at| known.remove(at)),
            false => None,
        };
        drop(known);
        if let Some((_, gone)) = goes {
            gone.delivery.stop();
        }
        Ok(account)
    }

    /// One that nobody uses: best with nothing to deliver, else one whose records are safe in the spool.
    fn to_go(known: &[(Destination, Account)]) -> Option<usize> {
        let unused = |account: &Account| !account.is_used();
        let idle = known.iter().position(|(_, account)| unused(account) && account.delivery.pending() == 0);
        idle.or_else(|| known.iter().position(|(_, account)| unused(account) && is_spooled(&account.delivery)))
    }

    pub fn all(&self) -> Vec<Arc<Delivery>> {
        self.known.lock().iter().map(|(_, account)| account.delivery.clone()).collect()
    }
}

fn is_spooled(delivery: &Delivery) -> bool {
    delivery.spool_state().is_some_and(|spool| spool.trouble.is_none())
}

/// The counters of two deliveries as if they were one.
pub fn together(one: Counts, other: Counts) -> Counts {
    let last_error = match (one.last_error, other.last_error) {
        (Some(one), Some(other)) => Some(if other.at > one.at { other } else { one }),
        (one, other) => one.or(other),
    };
    Counts {
        pending: one.pending + other.pending,
        pending_bytes: one.pending_bytes + other.pending_bytes,
        spooled_bytes: one.spooled_bytes + other.spooled_bytes,
        delivered: one.delivered + other.delivered,
        retried: one.retried + other.retried,
        dropped: one.dropped + other.dropped,
        refused: one.refused + other.refused,
        dropped_by: Dropped {
            queue_full: one.dropped_by.queue_full + other.dropped_by.queue_full,
            refused: one.dropped_by.refused + other.dropped_by.refused,
            expired: one.dropped_by.expired + other.dropped_by.expired,
            shutdown: one.dropped_by.shutdown + other.dropped_by.shutdown,
            spool_full: one.dropped_by.spool_full + other.dropped_by.spool_full,
            corrupt: one.dropped_by.corrupt + other.dropped_by.corrupt,
        },
        oldest_age_ms: one.oldest_age_ms.max(other.oldest_age_ms),
        circuit: if one.circuit == Circuit::Open { one.circuit } else { other.circuit },
        last_error,
    }
}
