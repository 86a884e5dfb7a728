//! librevenium: call Claude, directly or through AWS Bedrock, with every call metered to Revenium.
//!
//! Twelve rooms; a call flows through them like this:
//!
//! ```text
//! abi → client → call → provider → messages → completion → (result to the caller)
//!           │      ├──→ meter → delivery → Revenium
//!           │      └──→ telemetry → the host's own OpenTelemetry backend
//!           └─→ platform → Revenium
//! ```
//!
//! | Room | What it does |
//! |---|---|
//! | `abi` | C in, C out: exports, types, panics, out parameters; the public interface is `include/revenium.h` |
//! | `client` | one run of the library: calls under way, settings of the process, fork, exit, handles, status |
//! | `call` | one call from its start to its one result: attempts, deadlines, cancelling, the record it leaves |
//! | `completion` | how a result reaches its caller: a waiting thread, callbacks, a queue |
//! | `provider` | who answers: a request → a head and bytes |
//! | `meter` | facts of one call → records; scopes and metadata |
//! | `delivery` | records → Revenium: queue, journal, retries |
//! | `platform` | what else Revenium offers: jobs and outcomes, economics, budgets, webhooks |
//! | `telemetry` | facts of one call → a span, over OTLP to the host's own backend |
//! | `messages` | the Messages API as bytes: request in, events and message out; no I/O |
//! | `settings` | what can be set, for the library and for one call |
//! | `common` | what every room may use: errors, logs, JSON, HTTP, the operating system |
//!
//! The arrows between them are read from the code by `tests/arrows.rs`. `inside` is for this project's own command, tests
//! and benchmarks: the library's interface is C.

#![deny(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod abi;
mod call;
mod client;
mod common;
mod completion;
mod delivery;
#[doc(hidden)]
pub mod inside;
mod messages;
mod meter;
mod platform;
mod provider;
mod settings;
mod telemetry;
