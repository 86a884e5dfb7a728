//! EDGE: C in, C out. The functions of `include/revenium.h`, one file for each of its sections.
//! Together with `os.rs` the only unsafe code of the crate.
// The doc comments are the C header's: what it asks of its callers stands there.
#![allow(unsafe_code, non_camel_case_types, clippy::missing_safety_doc)]

mod edge;
pub mod library;
pub mod log;
pub mod messages;
pub mod observed;
pub mod platform;
pub mod queue;
pub mod result;
pub mod scope;
pub mod types;
