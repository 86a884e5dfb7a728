//! The transaction ids of late. Revenium takes two records with one transaction id for the same record and keeps the first:
//! providers and proxies do repeat message ids, and the second call was paid for too.

use parking_lot::Mutex;
use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;

/// So many ids are remembered, as hashes: 64 KiB. A repetition comes soon or never.
const REMEMBERED: usize = 4096;

#[derive(Default)]
pub struct RecentIds {
    hasher: RandomState,
    seen: Mutex<(HashSet<u64>, VecDeque<u64>)>,
}

impl RecentIds {
    /// Whether `id` was not used of late. From now on it was.
    pub(super) fn take(&self, id: &str) -> bool {
        let hash = self.hasher.hash_one(id);
        let mut seen = self.seen.lock();
        let (known, order) = &mut *seen;
        if !known.insert(hash) {
            return false;
        }
        order.push_back(hash);
        if order.len() > REMEMBERED
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once_and_the_memory_is_bounded() {
        let ids = RecentIds::default();
        assert!(ids.take("a") && !ids.take("a") && ids.take("b"));
        for n in 0..REMEMBERED {
            assert!(ids.take(&n.to_string()));
        }
        assert!(ids.take("a"), "forgotten by now");
        assert_eq!(ids.seen.lock().0.len(), REMEMBERED);
    }
}
