//! EDGE: C in, C out. The functions of `include/revenium.h`, one file for each of its sections.
//! Together with `os.rs` the only unsafe code of the crate.
#![allow(unsafe_code, non_camel_case_types)]

mod edge;
pub mod library;
pub mod log;
pub mod messages;
pub mod queue;
pub mod result;
pub mod scope;
pub mod types;
