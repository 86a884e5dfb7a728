//! Log lines: levels, redaction, where they go.

use std::fmt;

/// As in the header: `REVENIUM_LOG_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Level {
    Error = 1,
    Warn = 2,
    Info = 3,
    Debug = 4,
}

/// Write one line, if `level` is on. Use the macros `error!`, `warn!`, `info!`, `debug!` of this module.
pub fn write(level: Level, line: fmt::Arguments<'_>) {
    eprintln!("revenium: {level:?}: {line}");
}

macro_rules! error { ($($t:tt)*) => { $crate::log::write($crate::log::Level::Error, format_args!($($t)*)) } }
macro_rules! warn_ { ($($t:tt)*) => { $crate::log::write($crate::log::Level::Warn, format_args!($($t)*)) } }
macro_rules! info { ($($t:tt)*) => { $crate::log::write($crate::log::Level::Info, format_args!($($t)*)) } }
macro_rules! debug { ($($t:tt)*) => { $crate::log::write($crate::log::Level::Debug, format_args!($($t)*)) } }

#[allow(unused_imports)]
pub(crate) use {debug, error, info, warn_ as warn};
