//! Idempotency keys that a host chooses: the records of a scope are numbered in the order of its calls.

use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;

/// Revenium takes no longer keys.
const LONGEST: usize = 255;

/// The key of a scope or call, and how many calls have used it.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    key: Arc<str>,
    numbers: Arc<Mutex<Numbers>>,
}

#[derive(Debug, Default)]
struct Numbers {
    last: u64,
    /// Of calls that left no record under their number: the next calls have them.
    given_back: BTreeSet<u64>,
}

impl IdempotencyKey {
    /// `None`: Revenium would refuse it. It takes 1 to 255 visible ASCII characters.
    pub fn new(key: &str) -> Option<IdempotencyKey> {
        let is_key = (1..=LONGEST).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        is_key.then(|| IdempotencyKey { key: key.into(), numbers: Arc::default() })
    }

    /// For the next call.
    pub fn next(&self) -> CallKey {
        let mut numbers = self.numbers.lock();
        let number = numbers.given_back.pop_first().unwrap_or_else(|| {
            numbers.last += 1;
            numbers.last
        });
        CallKey { key: self.key.clone(), number, numbers: self.numbers.clone(), is_settled: AtomicBool::new(false) }
    }
}

/// The key of one call.
#[derive(Debug)]
pub struct CallKey {
    key: Arc<str>,
    number: u64,
    numbers: Arc<Mutex<Numbers>>,
    /// The number is used up, or given back.
    is_settled: AtomicBool,
}

impl Drop for CallKey {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl CallKey {
    /// The call leaves no record under its number: whoever tries again has it, as he would have had without this attempt.
    pub fn give_back(&self) {
        if !self.is_settled.swap(true, Ordering::Relaxed) {
            self.numbers.lock().given_back.insert(self.number);
        }
    }

    /// For the record of this call: the key itself, then `:2`, `:3`. A failure gets one of its own, so that a repetition
    /// that succeeds is not taken for it.
    pub fn of_record(&self, failed: bool) -> String {
        if failed {
            self.give_back();
        } else {
            self.is_settled.store(true, Ordering::Relaxed);
        }
        let suffix = match (failed, self.number) {
            (true, _) => format!(":err:{:08x}", Uuid::new_v4().as_fields().0),
            (false, 1) => String::new(),
            (false, number) => format!(":{number}"),
        };
        self.with(&suffix)
    }

    /// For another record of the same call.
    pub fn with(&self, suffix: &str) -> String {
        if self.key.len() + suffix.len() <= LONGEST {
            return format!("{}{suffix}", self.key);
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, self.key.as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        hex + suffix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_numbered_in_the_order_of_calls() {
        let key = IdempotencyKey::new("job-1").unwrap();
        let inner = key.clone();
        let (first, second, third) = (key.next(), inner.next(), key.next());
        // Whatever ends first.
        assert_eq!(third.of_record(false), "job-1:3");
        assert_eq!(first.of_record(false), "job-1");
        assert_eq!(second.of_record(false), "job-1:2");
    }

    #[test]
    fn what_leaves_no_record_of_its_number_leaves_it_to_the_next_call() {
        let key = IdempotencyKey::new("job-1").unwrap();
        let (first, second, third) = (key.next(), key.next(), key.next());
        let failed = second.of_record(true);
        assert!(failed.starts_with("job-1:err:") && failed.len() == 18, "{failed}");
        first.give_back();
        drop(third);
        let again: Vec<_> = (0..4).map(|_| key.next()).collect();
        let again: Vec<_> = again.iter().map(|key| key.of_record(false)).collect();
        assert_eq!(again, ["job-1", "job-1:2", "job-1:3", "job-1:4"]);
        // Each is given back once, and none that was used.
        drop((first, second));
        assert_eq!(key.next().of_record(false), "job-1:5");
    }

    #[test]
    fn keys_are_what_revenium_takes() {
        for bad in ["", "a b", " a", "é", "a\n", &"x".repeat(256)] {
            assert!(IdempotencyKey::new(bad).is_none(), "{bad:?}");
        }
        let long = IdempotencyKey::new(&"x".repeat(255)).unwrap();
        assert_eq!(long.next().of_record(false), "x".repeat(255));
        let second = long.next().of_record(false);
        assert!(second.len() == 66 && second.ends_with(":2"), "{second}");
    }
}
