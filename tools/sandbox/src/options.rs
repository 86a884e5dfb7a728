//! The command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::answer::Answer;
use crate::{anthropic, bedrock, collector, platform};

#[derive(Debug)]
pub struct Options {
    /// Port 0 takes a free one.
    pub address: SocketAddr,
    pub port_file: Option<PathBuf>,
    /// Whether Anthropic and Bedrock are played too, not only Revenium.
    pub providers: bool,
    pub quiet: bool,
    pub keep_requests: bool,
    pub threads: Option<usize>,
    pub(crate) fail: Vec<(String, Arc<Answer>)>,
    pub until_stdin_closes: bool,
    pub seconds: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            port_file: None,
            providers: true,
            quiet: false,
            keep_requests: true,
            threads: None,
            fail: Vec::new(),
            until_stdin_closes: false,
            seconds: None,
        }
    }
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--port" => options.address.set_port(parse(&name, &value()?)?),
                "--bind" => options.address.set_ip(parse(&name, &value()?)?),
                "--port-file" => options.port_file = Some(value()?.into()),
                "--anthropic" => match value()?.as_str() {
                    "play" => options.providers = true,
                    "real" => options.providers = false,
                    other => return Err(format!("--anthropic can't be {other}")),
                },
                "--quiet" => options.quiet = true,
                "--no-requests" => options.keep_requests = false,
                "--threads" => options.threads = Some(parse(&name, &value()?)?).filter(|threads| *threads > 0),
                "--fail" => options.fail.push(fail(&value()?)?),
                "--until-stdin-closes" => options.until_stdin_closes = true,
                "--seconds" => options.seconds = Some(parse(&name, &value()?)?),
                _ => return Err(format!("unknown option {name}")),
            }
        }
        Ok(options)
    }
}

fn parse<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} can't be {value}"))
}

fn fail(value: &str) -> Result<(String, Arc<Answer>), String> {
    let (service, answer) = value.split_once(':').ok_or("--fail needs SERVICE:ANSWER")?;
    if ![anthropic::SERVICE, bedrock::SERVICE, collector::SERVICE, platform::SERVICE].contains(&service) {
        return Err(format!("--fail: no service {service}"));
    }
    let answer = Answer::from_pairs(answer).map_err(|problem| format!("--fail: {problem}"))?;
    Ok((service.to_owned(), Arc::new(answer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read_and_mistakes_named() {
        let options =
            parse_line("--port 81 --quiet --no-requests --seconds 5 --anthropic real --fail collector:status=503")
                .unwrap();
        assert_eq!(options.address, "127.0.0.1:81".parse().unwrap());
        assert!(options.quiet && !options.providers && !options.keep_requests && !options.until_stdin_closes);
        assert_eq!((options.seconds, options.fail.len()), (Some(5), 1));
        assert_eq!(options.fail[0].1.status, Some(503));
        for (line, part) in [
            ("--port", "--port"),
            ("--port 99999", "99999"),
            ("--loud", "--loud"),
            ("--anthropic maybe", "maybe"),
            ("--fail collector", "SERVICE"),
            ("--fail moon:status=503", "moon"),
            ("--fail collector:status=1", "status"),
        ] {
            assert!(parse_line(line).err().is_some_and(|problem| problem.contains(part)), "{line}");
        }
    }
}
