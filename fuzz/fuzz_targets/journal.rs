//! The bytes of a segment that anything may have happened to: what is read of it are whole frames, each once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revenium::inside::journal::Contents;

fuzz_target!(|data: &[u8]| {
    let contents = Contents::of(data);
    let mut end = 0;
    for (range, stored) in &contents.waiting {
        assert!(range.end <= data.len() && stored.to_outgoing().body.len() < range.len());
        end = end.max(range.end);
    }
    assert!(end == 0 || !contents.is_foreign);
});
