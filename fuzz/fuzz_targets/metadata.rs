//! What users tell of a call: whatever it holds, what is taken of it lies over itself without a change.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revenium::inside::Metadata;

fuzz_target!(|text: &str| {
    let metadata = Metadata::from_json(text);
    assert!(metadata.overlay(&metadata) == metadata);
    assert!(metadata.told().count() < 64);
});
