//! A sandbox of a test's own, and a client that sees every chunk and every kind of end.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

pub struct Sandbox {
    pub child: Child,
    pub stdout: BufReader<std::process::ChildStdout>,
    pub address: String,
}

impl Sandbox {
    pub fn start(options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sandbox"))
            .arg("--until-stdin-closes")
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        let address = first.trim().strip_prefix("sandbox: http://").unwrap_or_else(|| panic!("{first}")).to_owned();
        assert!(address.starts_with("127.0.0.1:"));
        Self { child, stdout, address }
    }

    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(&self.address).unwrap();
        // Only so that a mistake fails instead of hanging.
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Client { input: BufReader::new(stream) }
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.connect().send(method, path, headers, body)
    }

    pub fn create(&self, body: Value) -> Answer {
        self.create_with("", body)
    }

    pub fn create_with(&self, wish: &str, body: Value) -> Answer {
        self.connect().create("/v1/messages", wish, body)
    }

    pub fn meter(&self, key: &str, record: &Value) -> Answer {
        let headers = [("x-api-key", "rev_mk_sandbox"), ("idempotency-key", key)];
        self.send("POST", "/meter/v2/ai/completions", &headers, record.to_string().as_bytes())
    }

    pub fn plan(&self, path: &str, answers: Value) {
        let plan = json!({"path": path, "answers": answers}).to_string();
        let answer = self.send("POST", "/sandbox/plan", &[], plan.as_bytes());
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    pub fn get(&self, path: &str) -> Value {
        self.send("GET", path, &[], b"").json()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug, PartialEq)]
pub enum End {
    Ok,
    Cut,
    Reset,
}

#[derive(Debug)]
pub struct Answer {
    /// 0 when the connection ended without an answer.
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// One, unless the body was chunked.
    pub chunks: Vec<Vec<u8>>,
    pub end: End,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.chunks.concat()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn error(&self) -> (u16, String, String) {
        let error = &self.json()["error"];
        (self.status, error["type"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
    }

    /// The data of an event stream, each checked to be named like its type.
    pub fn events(&self) -> Vec<Value> {
        self.text()
            .split_terminator("\n\n")
            .map(|event| {
                let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
                let data: Value = serde_json::from_str(data).unwrap();
                assert_eq!(data["type"], name);
                data
            })
            .collect()
    }
}

pub struct Client {
    pub input: BufReader<TcpStream>,
}

impl Client {
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.write(method, path, headers, body);
        let mut answer = Answer { status: 0, headers: Vec::new(), chunks: Vec::new(), end: End::Ok };
        answer.end = match self.read_answer(&mut answer) {
            Ok(()) => End::Ok,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => End::Cut,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
            Err(error) => panic!("{method} {path}: {error}"),
        };
        answer
    }

    /// With the headers as given, Host too.
    pub fn send_as(&mut self, headers: &[(&str, &str)], method: &str, path: &str) -> Answer {
        let headers = headers.iter().filter(|(name, _)| !name.is_empty());
        let lines: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        write!(self.input.get_mut(), "{method} {path} HTTP/1.1\r\n{lines}\r\n").unwrap();
        let mut answer = Answer { status: 0, headers: Vec::new(), chunks: Vec::new(), end: End::Ok };
        self.read_answer(&mut answer).unwrap();
        answer
    }

    /// The next chunk of a chunked body.
    pub fn chunk(&mut self) -> String {
        let size = usize::from_str_radix(&self.line().unwrap(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.input.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        String::from_utf8(chunk).unwrap()
    }

    pub fn write(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: sandbox\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        self.input.get_mut().write_all(&[request.as_bytes(), body].concat()).unwrap();
    }

    pub fn create(&mut self, path: &str, wish: &str, body: Value) -> Answer {
        let mut request = json!({"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "hello there"}]});
        for (name, value) in body.as_object().unwrap() {
            request[name] = value.clone();
        }
        let headers = [("x-api-key", "sk-ant-sandbox"), ("anthropic-version", "2023-06-01"), ("x-sandbox", wish)];
        self.send("POST", path, &headers, request.to_string().as_bytes())
    }

    pub fn read_answer(&mut self, answer: &mut Answer) -> std::io::Result<()> {
        let status = self.line()?;
        let fields: Vec<(String, String)> = std::iter::from_fn(|| {
            self.line()
                .ok()
                .filter(|line| !line.is_empty())
                .and_then(|l| l.split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned())))
        })
        .collect();
        answer.status = status.split(' ').nth(1).unwrap().parse().unwrap();
        answer.headers = fields;
        if answer.header("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(&self.line()?, 16).unwrap();
                let mut chunk = vec![0; size + 2];
                self.input.read_exact(&mut chunk)?;
                chunk.truncate(size);
                if size == 0 {
                    return Ok(());
                }
                answer.chunks.push(chunk);
            }
        }
        let length = answer.header("content-length").map(|length| length.parse::<u64>().unwrap());
        let mut body = Vec::new();
        let read = match length {
            Some(length) => self.input.by_ref().take(length).read_to_end(&mut body),
            None if answer.status == 204 => Ok(0),
            None => self.input.read_to_end(&mut body),
        };
        answer.chunks.push(body);
        let read = read? as u64;
        if length.is_some_and(|length| read < length) { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    pub fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        match self.input.read_line(&mut line)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

pub fn record(id: &str) -> Value {
    json!({
        "model": "claude-sonnet-4-5-20250929", "provider": "ANTHROPIC", "transactionId": id, "inputTokenCount": 12,
        "outputTokenCount": 7, "totalTokenCount": 19, "requestTime": "2026-11-23T00:00:00.000Z",
        "responseTime": "2026-11-23T00:00:00.185Z", "completionStartTime": "2026-11-23T00:00:00.100Z",
        "requestDuration": 185, "stopReason": "END", "costType": "AI", "isStreamed": true,
        "middlewareSource": "revenium-anthropic-c", "organizationName": "Acme", "subscriber": {"id": "u1"},
    })
}
