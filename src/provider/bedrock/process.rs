//! Credentials from the program that a profile names (`credential_process`).
//!
//! AWS's own provider runs it by tokio, whose watch for signals lets every runtime read one pipe: a forked child would
//! read whatever has that pipe's number by then.

use super::connector::Connector;
use crate::common::os;
use aws_config::profile::{self, Profile, ProfileSet};
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::{Map, Value};
use std::io::{self, Read};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// What such a program may say at most; credentials are a few thousand bytes.
const MAX_OUTPUT: usize = 64 << 10;
/// How often a program that has said everything is asked whether it has ended.
const ENDS_WITHIN: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub struct Process {
    /// For the service of roles.
    pub http: Connector,
    pub region: Region,
    /// The longest that the program may take.
    pub limit: Duration,
}

impl Process {
    async fn load(&self) -> provider::Result {
        let set = profile::load(&Default::default(), &Default::default(), &Default::default(), None).await;
        let source = set.ok().as_ref().and_then(Source::of);
        let source = source.ok_or_else(|| CredentialsError::not_loaded("the profile names no credential_process"))?;
        let mut credentials = run(source.command, self.limit).await?;
        if source.roles.is_empty() {
            return Ok(credentials);
        }
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12()).no_credentials();
        let config = config.http_client(self.http.clone()).region(self.region.clone()).load().await;
        for role in source.roles.into_iter().rev() {
            let mut assumed = AssumeRoleProvider::builder(role.arn).configure(&config);
            if let Some(id) = role.external_id {
                assumed = assumed.external_id(id);
            }
            if let Some(name) = role.session_name {
                assumed = assumed.session_name(name);
            }
            credentials = assumed.build_from_provider(credentials).await.provide_credentials().await?;
        }
        Ok(credentials)
    }
}

impl ProvideCredentials for Process {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

/// A program, and the roles to take on with what it says, the last one first.
#[derive(Debug, PartialEq)]
struct Source {
    command: String,
    roles: Vec<Role>,
}

#[derive(Debug, PartialEq)]
struct Role {
    arn: String,
    external_id: Option<String>,
    session_name: Option<String>,
}

impl Source {
    /// By AWS's rules of what comes before what. `None`: the selected profile does not lead to a program.
    fn of(set: &ProfileSet) -> Option<Source> {
        let mut seen: Vec<&str> = Vec::new();
        let mut roles = Vec::new();
        let mut name = set.selected_profile();
        loop {
            let profile = set.get_profile(name)?;
            if seen.contains(&name) || (!seen.is_empty() && has_keys(profile)) {
                return None;
            }
            seen.push(name);
            let role = profile.get("role_arn").filter(|_| profile.get("web_identity_token_file").is_none());
            let Some(arn) = role else { break };
            let owned = |key: &str| profile.get(key).map(str::to_owned);
            let (external_id, session_name) = (owned("external_id"), owned("role_session_name"));
            roles.push(Role { arn: arn.to_owned(), external_id, session_name });
            let next = profile.get("source_profile")?;
            if next == name {
                break;
            }
            name = next;
        }
        let profile = set.get_profile(name)?;
        let first = ["credential_source", "web_identity_token_file", "login_session"];
        let sign_on = ["sso_account_id", "sso_region", "sso_role_name", "sso_start_url", "sso_session"];
        if first.iter().chain(&sign_on).any(|key| profile.get(key).is_some()) {
            return None;
        }
        Some(Source { command: profile.get("credential_process")?.to_owned(), roles })
    }
}

fn has_keys(profile: &Profile) -> bool {
    profile.get("aws_access_key_id").is_some() && profile.get("aws_secret_access_key").is_some()
}

/// What the program says, heard on a thread of its own. It may hold secrets, so no error shows any of it.
async fn run(command: String, limit: Duration) -> provider::Result {
    let failed = |fault: io::Error| CredentialsError::provider_error(format!("credential_process: {}", fault.kind()));
    let (answer, answered) = oneshot::channel();
    let builder = thread::Builder::new().name("revenium-aws".to_owned());
    let work = move || drop(answer.send(output(&command, Instant::now() + limit)));
    os::with_signals_blocked(|| builder.spawn(work)).map_err(failed)?;
    let output = answered.await.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into())).map_err(failed)?;
    credentials(&output).ok_or_else(|| CredentialsError::provider_error("credential_process said no credentials"))
}

fn output(command: &str, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut shell = os::shell(command);
    let mut child = shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let heard = hear(&mut child, deadline);
    if heard.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    heard
}

fn hear(child: &mut Child, deadline: Instant) -> io::Result<Vec<u8>> {
    let Some(mut stdout) = child.stdout.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
    let left = || deadline.saturating_duration_since(Instant::now());
    let (mut heard, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        if !os::readable_within(&stdout, left())? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match stdout.read(&mut chunk)? {
            0 => break,
            got => heard.extend_from_slice(&chunk[..got]),
        }
        if heard.len() > MAX_OUTPUT {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(heard),
            Ok(Some(_)) => return Err(io::ErrorKind::Other.into()),
            Ok(None) if left().is_zero() => return Err(io::ErrorKind::TimedOut.into()),
            Ok(None) => thread::sleep(ENDS_WITHIN),
            // A host that ignores SIGCHLD, or waits for every child itself, has the status. What was said decides.
            Err(_) => return Ok(heard),
        }
    }
}

fn credentials(output: &[u8]) -> Option<Credentials> {
    let members: Map<String, Value> = serde_json::from_slice(output).ok()?;
    let member = |name: &str| members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let text = |name: &str| Some(member(name)?.as_str()?.to_owned());
    if member("Version")?.as_u64()? != 1 {
        return None;
    }
    let expires = match text("Expiration") {
        Some(at) => Some(SystemTime::try_from(DateTime::from_str(&at, Format::DateTimeWithOffset).ok()?).ok()?),
        None => None,
    };
    let (key, secret) = (text("AccessKeyId")?, text("SecretAccessKey")?);
    Some(Credentials::new(key, secret, text("SessionToken"), expires, "credential_process"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says() {
        for (output, want) in [
            (r#"{"Version":1,"AccessKeyId":"k","SecretAccessKey":"s"}"#, true),
            (r#"{"version":1,"accessKeyId":"k","secretAccessKey":"s","Expiration":"2099-01-02T03:04:05+01:00"}"#, true),
            (r#"{"Version":2,"AccessKeyId":"k","SecretAccessKey":"s"}"#, false),
            (r#"{"Version":1,"AccessKeyId":"k"}"#, false),
            (r#"{"Version":1,"AccessKeyId":"k","SecretAccessKey":"s","Expiration":"tomorrow"}"#, false),
            ("no credentials", false),
        ] {
            assert_eq!(credentials(output.as_bytes()).is_some(), want, "{output}");
        }
    }

    #[test]
    fn the_status_and_the_clock_decide_too() {
        let soon = || Instant::now() + Duration::from_secs(60);
        assert_eq!(output("echo out; echo err >&2", soon()).unwrap(), b"out\n");
        assert_eq!(output("X=y sh -c 'echo $X'", soon()).unwrap(), b"y\n");
        assert_eq!(output("cat /dev/null | echo out", soon()).unwrap(), b"out\n");
        assert!(output("echo out; exit 3", soon()).is_err());
        assert_eq!(output("sleep 600", Instant::now()).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(output("yes", soon()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
