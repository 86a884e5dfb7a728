//! What every room may use.

pub mod error;
pub mod http;
pub mod json;
pub mod log;
pub mod os;
pub mod patience;
pub mod proxy;
pub mod retry;
pub mod sync;
pub mod tls;
pub mod trace_context;
