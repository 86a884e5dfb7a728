//! `revenium sandbox`: Anthropic, Bedrock and Revenium on loopback, for whoever writes a program.

use std::io::{self, Write};
use std::net::SocketAddr;

use ::sandbox::{Options, environment};
use lexopt::prelude::*;

const HELP: &str = "\
revenium sandbox: plays Anthropic, AWS Bedrock and Revenium on this machine

Usage:
  revenium sandbox [--port N] [--anthropic real] [--open] [--quiet] [--seconds N]

Prints the environment to copy into your program's shell, then one line for each usage record that arrives. Nothing
leaves the machine, nothing costs anything; it listens on 127.0.0.1 only and ends with Ctrl-C.

  --port N           the port; 7357 by default, 0 takes a free one
  --anthropic real   play Revenium only: calls go to the real provider, and their records come here
  --open             open the page in a browser
  --quiet            no line for each record
  --seconds N        end after so many seconds
";

const PORT: u16 = 7357;

#[derive(Debug)]
pub struct Sandbox {
    options: Options,
    open: bool,
}

/// `None`: the help was asked for, and shown.
pub fn parse(mut arguments: lexopt::Parser) -> Result<Option<Sandbox>, lexopt::Error> {
    let mut options = Options::default();
    options.address.set_port(PORT);
    let mut open = false;
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                say!("{}", HELP.trim_end());
                return Ok(None);
            }
            Long("port") => options.address.set_port(arguments.value()?.parse()?),
            Long("anthropic") => match arguments.value()?.string()?.as_str() {
                "real" => options.providers = false,
                "play" => options.providers = true,
                other => return Err(format!("--anthropic is real or play, not {other:?}").into()),
            },
            Long("open") => open = true,
            Long("quiet") => options.quiet = true,
            Long("seconds") => options.seconds = Some(arguments.value()?.parse()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(Sandbox { options, open }))
}

pub fn sandbox(asked: Sandbox) -> Result<(), String> {
    let Sandbox { options, open } = asked;
    let (providers, port) = (options.providers, options.address.port());
    let listening = |address: SocketAddr| {
        greet(address, providers)?;
        if open {
            show(&format!("http://{address}/"));
        }
        Ok(())
    };
    ::sandbox::run(options, listening).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => format!("port {port} is in use; choose another with --port, or 0 for a free one"),
        _ => format!("the sandbox cannot run: {error}"),
    })
}

fn greet(address: SocketAddr, providers: bool) -> io::Result<()> {
    let url = format!("http://{address}");
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "Copy this into the shell where your program runs:\n")?;
    for line in environment(&url, providers) {
        writeln!(stdout, "{line}")?;
    }
    let whose = if providers { "" } else { "; calls go to the real provider, with your own key" };
    writeln!(stdout, "\nWhat is metered: {url}/{whose}")?;
    stdout.flush()
}

/// Opens the page in the user's browser, or says that there is none.
pub fn show(url: &str) {
    if let Err(error) = open::that_detached(url) {
        eprintln!("revenium: no browser could be started ({error}); open {url}");
    }
}
