//! Masking and redacting end, and what they have hidden once stays hidden.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revenium::inside::{mask, redact};

const KEY: &str = "sk-ant-api03-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZg";

fuzz_target!(|text: &str| {
    let with_key = format!("{text} {KEY} {text}");
    assert!(!mask(&with_key).contains(KEY));
    assert!(!redact(&with_key).contains(KEY));
    let once = mask(text).into_owned();
    assert!(once.len() <= text.len() * 4 + 64);
});
