//! The sandbox as a command of its own, for tests and benchmarks; people start `revenium sandbox`.
//!
//! # Command line
//!
//! ```text
//! sandbox [--port N] [--bind IP] [--port-file PATH] [--quiet] [--no-requests] [--threads N]
//!         [--anthropic play|real] [--fail SERVICE:ANSWER]... [--until-stdin-closes] [--seconds N]
//! ```
//!
//! With `--anthropic real` only Revenium is played. The first line on stdout is `sandbox: http://127.0.0.1:PORT`, then one line for each new record unless `--quiet`.
//! `--no-requests` doesn't keep requests (for benchmarks). `--fail collector:status=503` answers every request to that
//! service (`anthropic`, `bedrock`, `collector`) that way unless the request or a plan says otherwise. It ends on SIGTERM and
//! SIGINT, when stdin closes if asked to, or after so many seconds.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use sandbox::Options;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("sandbox: {problem}");
            return ExitCode::from(2);
        }
    };
    let port_file = options.port_file.clone();
    match sandbox::run(options, |address| announce(address, port_file.as_deref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says where the server listens, only when it does.
fn announce(address: SocketAddr, port_file: Option<&Path>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "sandbox: http://{address}")?;
    stdout.flush()?;
    let Some(path) = port_file else { return Ok(()) };
    // Renamed into place, so that nobody reads half a number.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    std::fs::write(&temporary, format!("{}\n", address.port()))?;
    std::fs::rename(&temporary, path)
}
