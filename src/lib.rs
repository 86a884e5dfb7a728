//! librevenium: call Claude, directly or through AWS Bedrock, with every call metered to Revenium.
//!
//! How a call flows through the rooms of this crate:
//!
//! ```text
//! abi → request → call → provider → stream → (result to the caller)
//!                   └──→ meter → delivery → Revenium
//! ```
//!
//! `abi` turns C into Rust and back; `process` holds what a process has, `engine` is one run of the library; `settings` is the table of what can be set.
//! The public interface is `include/revenium.h`; this crate's Rust items are for its own tests and benchmarks.

#![deny(unsafe_code)]

pub mod abi;
pub mod call;
pub mod delivery;
pub mod dispatch;
pub mod engine;
pub mod error;
pub mod flow;
pub mod http;
pub mod log;
pub mod mailbox;
pub mod meter;
pub mod os;
pub mod outcome;
pub mod process;
pub mod provider;
pub mod queue;
pub mod registry;
pub mod request;
pub mod retry;
pub mod runtime;
pub mod scope;
pub mod settings;
pub mod sink;
pub mod splice;
pub mod status;
pub mod stream;
pub mod writer;
