//! Drives the built binary over real sockets.

mod page;
mod platform;
mod services;
mod support;
