//! STREAM: bytes → events → one message.

pub mod summary;

pub use summary::{Iteration, Summary, Tokens, Usage};
