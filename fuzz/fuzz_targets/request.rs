//! A request is refused, or goes out as JSON without what is ours.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revenium::inside::{Request, Streaming};
use serde_json::Value;

fuzz_target!(|text: &str| {
    let Ok(request) = Request::parse(text, Streaming::Always) else { return };
    // Not everything that we pass on can be made a tree of: half of a surrogate pair, or a number beyond every range.
    if let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&request.body) {
        assert!(!body.contains_key("revenium") && !body.contains_key("usage_metadata"));
        assert_eq!(body["stream"], true);
    }
});
