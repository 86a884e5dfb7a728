//! Idempotency keys that a host chooses: the records of a scope are numbered in the order of its calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// Revenium takes no longer keys.
const LONGEST: usize = 255;

/// The key of a scope or call, and how many calls have used it.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    key: Arc<str>,
    used: Arc<AtomicU64>,
}

impl IdempotencyKey {
    /// `None`: Revenium would refuse it. It takes 1 to 255 visible ASCII characters.
    pub fn new(key: &str) -> Option<IdempotencyKey> {
        let is_key = (1..=LONGEST).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        is_key.then(|| IdempotencyKey { key: key.into(), used: Arc::default() })
    }

    /// For the next call.
    pub fn next(&self) -> CallKey {
        CallKey { key: self.key.clone(), number: self.used.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

/// The key of one call.
#[derive(Clone, Debug)]
pub struct CallKey {
    key: Arc<str>,
    number: u64,
}

impl CallKey {
    /// For the record of this call: the key itself, then `:2`, `:3`. A failure gets one of its own, so that a repetition
    /// that succeeds is not taken for it.
    pub fn of_record(&self, failed: bool) -> String {
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
        let failed = third.of_record(true);
        assert!(failed.starts_with("job-1:err:") && failed.len() == 18, "{failed}");
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
