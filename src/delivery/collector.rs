//! A small HTTP server for this room's tests.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;

/// What the collector has seen of one request.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Seen {
    pub fn key(&self) -> &str {
        &self.headers["idempotency-key"]
    }
}

pub(super) enum Answer {
    Reply(String),
    /// Read, then say nothing until the client goes.
    Hang,
    /// Close without an answer.
    Cut,
}

pub(super) fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    Answer::Reply(format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()))
}

type Script = dyn Fn(&Seen, usize) -> Answer + Send + Sync;

/// A small HTTP server that answers as its script says; the script gets the request and how many came before it.
pub(super) struct Collector {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    connections: Mutex<Vec<TcpStream>>,
    closed: AtomicBool,
}

impl Collector {
    pub fn new(script: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) -> Collector {
        Collector::on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// Answer the first requests with `answers`, all later ones with 201.
    pub fn scripted(answers: Vec<Answer>) -> Collector {
        let answers = Mutex::new(answers.into_iter());
        Collector::new(move |_, _| answers.lock().next().unwrap_or_else(|| reply(201, &[], "{}")))
    }

    pub fn on(listener: TcpListener, script: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) -> Collector {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            seen: Mutex::default(),
            connections: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let server = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if server.closed.load(SeqCst) {
                    break;
                }
                server.connections.lock().push(stream.try_clone().unwrap());
                let server = Arc::clone(&server);
                thread::spawn(move || while server.serve(&stream).is_some() {});
            }
        });
        Collector { address, shared }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.shared.connections.lock().len()
    }

    pub fn bodies(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| String::from_utf8(seen.body).unwrap()).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.shared.closed.store(true, SeqCst);
        for connection in self.shared.connections.lock().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    /// One request on a connection; `None`: it is over.
    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            assert!(headers.insert(name.to_ascii_lowercase(), value.to_owned()).is_none(), "{name} twice");
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        reader.read_exact(&mut body).ok()?;
        let seen = Seen { path, headers, body, at: Instant::now() };
        let before = {
            let mut all = self.seen.lock();
            all.push(seen.clone());
            all.len() - 1
        };
        match (self.script)(&seen, before) {
            Answer::Reply(text) => (&*stream).write_all(text.as_bytes()).ok(),
            Answer::Hang => reader.read(&mut [0]).ok().filter(|_| false).map(drop),
            Answer::Cut => {
                let _ = stream.shutdown(Shutdown::Both);
                None
            }
        }
    }
}
