//! `revenium sandbox` as a developer starts it: the lines it prints are evaluated by a shell, and what they say works.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

fn revenium(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_revenium"));
    command.args(arguments).stdin(Stdio::null());
    command
}

struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// What was printed up to the address of the page.
    greeting: String,
    address: String,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = revenium(&["sandbox", "--port", "0", "--seconds", "120"]);
        let mut child =
            command.args(arguments).envs(environment.iter().copied()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "ended after {greeting}");
            greeting.push_str(&line);
            if let Some(rest) = line.strip_prefix("What is metered: http://") {
                break rest.split('/').next().unwrap().to_owned();
            }
        };
        Self { child, stdout, greeting, address }
    }

    /// Runs a command in a shell that has evaluated the lines to copy.
    fn shell(&self, command: &str) -> Output {
        let exports: Vec<&str> = self.greeting.lines().filter(|line| line.starts_with("export ")).collect();
        let script = format!("{}\n{command}", exports.join("\n"));
        Command::new("sh").args(["-c", &script]).env_clear().env("HOME", std::env::temp_dir()).output().unwrap()
    }

    fn request(&self, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let length = body.len();
        write!(
            stream,
            "{head}\r\nhost: {}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}",
            self.address
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn create(&self) -> String {
        self.request(
            "POST /v1/messages HTTP/1.1\r\nx-api-key: k\r\nanthropic-version: 2023-06-01",
            r#"{"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}"#,
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_lines_to_copy_lead_to_the_sandbox() {
    let sandbox = Running::start(&[]);
    assert!(sandbox.address.starts_with("127.0.0.1:"), "{}", sandbox.address);
    let shown = sandbox.shell("echo $ANTHROPIC_BASE_URL $AWS_ENDPOINT_URL_BEDROCK_RUNTIME $REVENIUM_METERING_BASE_URL");
    let url = format!("http://{}", sandbox.address);
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), format!("{url} {url} {url}"));

    // The library's own settings, keys and network find it.
    let doctor = sandbox.shell(&format!("REVENIUM_SPOOL_DIR= exec {} doctor", env!("CARGO_BIN_EXE_revenium")));
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("Revenium: 127.0.0.1 takes the key") && !said.contains("WRONG"), "{said}");
    assert!(sandbox.create().contains("You said: hello"));
}

#[test]
fn with_the_real_provider_only_revenium_is_played() {
    let sandbox = Running::start(&["--anthropic", "real", "--quiet"]);
    assert!(!sandbox.greeting.contains("ANTHROPIC_") && !sandbox.greeting.contains("AWS_"), "{}", sandbox.greeting);
    assert!(sandbox.greeting.contains("export REVENIUM_METERING_BASE_URL="));
    let refused = sandbox.create();
    assert!(refused.starts_with("HTTP/1.1 404") && refused.contains("plays Revenium only"), "{refused}");
}

#[test]
fn a_line_is_printed_for_each_record_unless_quiet() {
    let record = r#"{"model": "claude-sonnet-5-5", "provider": "ANTHROPIC", "transactionId": "msg_1", "inputTokenCount": 12,
        "outputTokenCount": 7, "totalTokenCount": 19, "costType": "AI", "requestTime": "2026-11-23T00:00:00Z",
        "responseTime": "2026-11-23T00:00:01Z", "completionStartTime": "2026-11-23T00:00:00Z", "requestDuration": 185,
        "stopReason": "END", "isStreamed": false}"#;
    for (options, wanted) in [(&[][..], "record 1: claude-sonnet-5-5"), (&["--quiet"], "")] {
        let mut sandbox = Running::start(options);
        let head = "POST /meter/v2/ai/completions HTTP/1.1\r\nx-api-key: rev_sk_x\r\nidempotency-key: k";
        let answer = sandbox.request(head, record);
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        rustix::process::kill_process(rustix::process::Pid::from_child(&sandbox.child), rustix::process::Signal::TERM)
            .unwrap();
        let mut rest = String::new();
        sandbox.stdout.read_to_string(&mut rest).unwrap();
        assert!(sandbox.child.wait().unwrap().success());
        assert!(rest.starts_with(wanted) && (!wanted.is_empty() || rest.is_empty()), "{options:?}: {rest}");
    }
}

#[test]
fn the_page_is_opened_in_the_users_browser() {
    use std::os::unix::fs::PermissionsExt;
    let place = std::env::temp_dir().join(format!("revenium-open-{}", std::process::id()));
    std::fs::create_dir(&place).unwrap();
    let (opener, opened) = (place.join("xdg-open"), place.join("opened"));
    // Renamed, so that nobody reads half of it.
    let script = format!("#!/bin/sh\n/bin/echo \"$1\" >{0}.part && /bin/mv {0}.part {0}\n", opened.to_str().unwrap());
    std::fs::write(&opener, script).unwrap();
    std::fs::set_permissions(&opener, std::fs::Permissions::from_mode(0o755)).unwrap();
    let sandbox = Running::start_with(&["--open"], &[("PATH", place.to_str().unwrap())]);
    let url = loop {
        match std::fs::read_to_string(&opened) {
            Ok(url) => break url,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    assert_eq!(url.trim(), format!("http://{}/", sandbox.address));
    std::fs::remove_dir_all(&place).unwrap();
}

#[test]
fn mistakes_are_said_in_a_sentence() {
    for (arguments, code, part) in [
        (&["sandbox", "--port", "99999"][..], 2, "99999"),
        (&["sandbox", "--anthropic", "maybe"], 2, "maybe"),
        (&["sandbox", "--loud"], 2, "--loud"),
    ] {
        let output = revenium(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(part) && said.lines().count() == 1, "{said}");
    }
    let sandbox = Running::start(&["--quiet"]);
    let port = sandbox.address.rsplit(':').next().unwrap();
    let taken = revenium(&["sandbox", "--port", port]).output().unwrap();
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert!(taken.status.code() == Some(1) && said.contains(&format!("port {port} is in use")), "{said}");

    let help = revenium(&["sandbox", "--help"]).output().unwrap();
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--anthropic real"));
}
