//! The `revenium` command: what lies in the spool, what is wrong, and a sandbox to try things in.

/// A line on standard output. Who closes it has read enough, and what is to be done is done all the same.
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($line)*);
    }};
}

mod doctor;
mod sandbox;
mod spool;
mod status;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;
use revenium::inside::{Settings, environment};

const HELP: &str = "\
revenium: looks into the spool of librevenium, tells what is wrong, and plays a sandbox

Usage:
  revenium status [--json]       settings, provider, and what waits in the spool
  revenium spool list [--json]   the records that wait, oldest first
  revenium spool show ID         one record as it will be sent, e-mail addresses and keys left out
  revenium spool send [--timeout SECONDS] [--from FINGERPRINT]
                                 send what no living process is sending; 60 seconds by default
  revenium spool drop ID         give up one record
  revenium spool drop --all      give up all records of this account that no living process is sending
  revenium doctor [--json] [--timeout SECONDS]
                                 check configuration, credentials, spool and network
  revenium sandbox [...]         Anthropic, Bedrock and Revenium played on this machine, with a page that shows what
                                 is metered; `revenium sandbox --help` has its options
  revenium watch [...]           the same page for a real program: what waits in its spool and what becomes of it, read
                                 only; `revenium watch --help` has its options

An ID is the transaction id that `spool list` shows, or as much of its beginning as tells it from the others.
FINGERPRINT names the records of another key or address, as `status` shows it: after the key was changed, --from sends
what was recorded under the old one with the new one.

The settings are those of the library, from the environment. Only REVENIUM_SPOOL_DIR, REVENIUM_METERING_API_KEY and
REVENIUM_METERING_BASE_URL decide which records are meant.

Exit status:
  0  all is well, or what was asked is done
  1  something is wrong: doctor found it, records could not be sent, there is no such record, it is in use
  2  the command was not understood
";

enum Command {
    Status { json: bool },
    List { json: bool },
    Show { id: String },
    Send { timeout: Duration, from: Option<String> },
    Drop { id: Option<String> },
    Doctor { timeout: Duration, json: bool },
    Sandbox(sandbox::Sandbox),
    Watch(watch::Watch),
}

fn main() -> ExitCode {
    let command = match parse(lexopt::Parser::from_env()) {
        Ok(Some(command)) => command,
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("revenium: {problem}; see revenium --help");
            return ExitCode::from(2);
        }
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            if !problem.is_empty() {
                eprintln!("revenium: {problem}");
            }
            ExitCode::FAILURE
        }
    }
}

/// `Err`: one sentence, or nothing when everything has been said.
fn run(command: Command) -> Result<(), String> {
    let load = || Settings::load(None, &environment).map_err(|error| error.message);
    match command {
        Command::Status { json } => status::status(&load()?.0, json),
        Command::List { json } => spool::list(&load()?.0, json),
        Command::Show { id } => spool::show(&load()?.0, &id),
        Command::Send { timeout, from } => spool::send(&load()?.0, timeout, from.as_deref()),
        Command::Drop { id } => spool::drop(&load()?.0, id.as_deref()),
        Command::Doctor { timeout, json } => doctor::doctor(timeout, json),
        Command::Sandbox(asked) => sandbox::sandbox(asked),
        Command::Watch(asked) => watch::watch(asked),
    }
}

/// `None`: the help was asked for, and shown.
fn parse(mut arguments: lexopt::Parser) -> Result<Option<Command>, lexopt::Error> {
    let (mut words, mut json, mut all) = (Vec::new(), false, false);
    let (mut timeout, mut from) = (None, None);
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                say!("{}", HELP.trim_end());
                return Ok(None);
            }
            Short('V') | Long("version") => {
                say!("revenium {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            Long("json") => json = true,
            Long("all") => all = true,
            Long("timeout") => timeout = Some(Duration::from_secs(arguments.value()?.parse::<u32>()?.into())),
            Long("from") => from = Some(arguments.value()?.string()?),
            Value(word) if words.is_empty() && word == "sandbox" => {
                return Ok(sandbox::parse(arguments)?.map(Command::Sandbox));
            }
            Value(word) if words.is_empty() && word == "watch" => {
                return Ok(watch::parse(arguments)?.map(Command::Watch));
            }
            Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let command = match words[..] {
        ["status"] => Command::Status { json },
        ["spool", "list"] => Command::List { json },
        ["spool", "show", id] => Command::Show { id: id.to_owned() },
        ["spool", "send"] => Command::Send { timeout: timeout.unwrap_or(Duration::from_secs(60)), from: from.take() },
        ["spool", "drop"] if all => Command::Drop { id: None },
        ["spool", "drop", id] if !all => Command::Drop { id: Some(id.to_owned()) },
        ["doctor"] => Command::Doctor { timeout: timeout.unwrap_or(Duration::from_secs(10)), json },
        ["spool", command @ ("show" | "drop")] => {
            let all = if command == "drop" { ", or --all" } else { "" };
            return Err(format!("spool {command} wants the ID of a record{all}").into());
        }
        ["spool", "drop", _] => return Err("spool drop takes an ID or --all, not both".into()),
        ["spool"] => return Err("spool wants list, show, send or drop".into()),
        [] => return Err("no command".into()),
        _ => return Err(format!("{:?} is no command", words.join(" ")).into()),
    };
    let wants_json = matches!(command, Command::Status { .. } | Command::List { .. } | Command::Doctor { .. });
    let wants_timeout = matches!(command, Command::Send { .. } | Command::Doctor { .. });
    let wants_all = matches!(command, Command::Drop { .. });
    if json && !wants_json || timeout.is_some() && !wants_timeout || all && !wants_all || from.is_some() {
        return Err("an option that this command does not have".into());
    }
    Ok(Some(command))
}
