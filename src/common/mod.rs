//! What every room may use.

pub mod error;
pub mod http;
pub mod json;
pub mod log;
pub mod os;
pub mod retry;
pub mod trace_context;
