//! The process's environment as it was a moment ago: reading it while the host changes it can crash the process, so
//! it is read at a start, and after that at most once a second, by one thread at a time.

use crate::common::os::{self, PerProcess};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long what was read counts.
const HOLDS: Duration = Duration::from_secs(1);

static SEEN: PerProcess<Seen> = PerProcess::empty();

struct Seen {
    variables: RwLock<BTreeMap<String, String>>,
    /// When; held while somebody reads.
    read: Mutex<Instant>,
}

fn seen() -> &'static Seen {
    SEEN.get(|_| Seen { variables: RwLock::new(variables()), read: Mutex::new(Instant::now()) })
}

/// What is not UTF-8 counts as not set.
fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((os::variable(name.to_str()?).into_owned(), value.into_string().ok()?)))
        .collect()
}

/// A variable of the process's own environment.
pub fn environment(name: &str) -> Option<String> {
    let seen = seen();
    if let Some(mut read) = seen.read.try_lock()
        && read.elapsed() >= HOLDS
    {
        *seen.variables.write() = variables();
        *read = Instant::now();
    }
    seen.variables.read().get(&*os::variable(name)).cloned()
}

/// Read it afresh: somebody starts the library, and has made his environment for it.
pub fn look_again() {
    let seen = seen();
    let mut read = seen.read.lock();
    *seen.variables.write() = variables();
    *read = Instant::now();
}
