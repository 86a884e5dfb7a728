//! HTTP/1.1 on a plain socket. A library would not let a test say where the bytes are cut or the connection reset.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::reply::{Body, End, Piece, Reply};

/// Anthropic refuses larger bodies with 413.
const MAX_BODY: usize = 32_000_000;
const MAX_HEAD: usize = 256 * 1024;
const MAX_HEADERS: usize = 128;
/// How much a burst collects before it is written.
const BURST_BYTES: usize = 256 * 1024;

pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: String,
    /// In the order they came, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn query_value(&self, name: &str) -> Option<&str> {
        self.query.split('&').filter_map(|pair| pair.split_once('=')).find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}

pub enum ReadError {
    /// The client left in the middle of a request.
    Left,
    /// Answered with this status and sentence, then closed.
    Refused(u16, &'static str),
}

impl From<io::Error> for ReadError {
    fn from(_: io::Error) -> Self {
        ReadError::Left
    }
}

const MALFORMED: ReadError = ReadError::Refused(400, "the request is not valid HTTP/1.1");
const TOO_LARGE: ReadError = ReadError::Refused(413, "Request exceeds the maximum size");

/// The request line and headers, before the body is read.
struct Head {
    length: usize,
    request: Request,
    body: BodyLength,
    keep_alive: bool,
}

enum BodyLength {
    Known(usize),
    Chunked,
}

/// What is asked of a proxy names the host too.
fn origin_form(target: &str) -> &str {
    match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    }
}

fn parse_head(input: &[u8]) -> Result<Option<Head>, ReadError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(input) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if input.len() > MAX_HEAD => {
            return Err(ReadError::Refused(431, "headers too large"));
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(MALFORMED),
    };
    let target = origin_form(parsed.path.unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: parsed
            .headers
            .iter()
            .map(|h| (h.name.to_ascii_lowercase(), String::from_utf8_lossy(h.value).into_owned()))
            .collect(),
        body: Bytes::new(),
    };
    let body = match (request.header("transfer-encoding"), request.header("content-length")) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => BodyLength::Chunked,
        (Some(_), _) => return Err(MALFORMED),
        (None, None) => BodyLength::Known(0),
        (None, Some(length)) => BodyLength::Known(length.trim().parse().map_err(|_| MALFORMED)?),
    };
    let connection = request.header("connection").unwrap_or_default();
    let keep_alive = parsed.version == Some(1) && !connection.eq_ignore_ascii_case("close");
    Ok(Some(Head { length, request, body, keep_alive }))
}

/// What is left of a connection after a reply.
pub enum After {
    KeepAlive,
    Close,
}

pub struct Connection {
    stream: TcpStream,
    input: BytesMut,
    keep_alive: bool,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, input: BytesMut::with_capacity(4096), keep_alive: true }
    }

    /// The next request, or `None` when the client closed between requests.
    pub async fn read_request(&mut self) -> Result<Option<Request>, ReadError> {
        let head = loop {
            if let Some(head) = parse_head(&self.input)? {
                break head;
            }
            if !self.read_more().await? {
                return if self.input.is_empty() { Ok(None) } else { Err(ReadError::Left) };
            }
        };
        let _ = self.input.split_to(head.length);
        self.keep_alive = head.keep_alive;
        let mut request = head.request;
        if request.header("expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue")) && self.input.is_empty() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        request.body = match head.body {
            BodyLength::Known(length) if length > MAX_BODY => return Err(TOO_LARGE),
            BodyLength::Known(length) => {
                self.fill(length).await?;
                self.input.split_to(length).freeze()
            }
            BodyLength::Chunked => self.read_chunked().await?,
        };
        Ok(Some(request))
    }

    async fn read_chunked(&mut self) -> Result<Bytes, ReadError> {
        let mut body = BytesMut::new();
        loop {
            let (line, size) = loop {
                match httparse::parse_chunk_size(&self.input).map_err(|_| MALFORMED)? {
                    httparse::Status::Complete((line, size)) => {
                        break (line, usize::try_from(size).map_err(|_| TOO_LARGE)?);
                    }
                    httparse::Status::Partial if !self.read_more().await? => return Err(ReadError::Left),
                    httparse::Status::Partial => {}
                }
            };
            if size > MAX_BODY || body.len() + size > MAX_BODY {
                return Err(TOO_LARGE);
            }
            // The last chunk has no data, and no client of ours sends trailers.
            self.fill(line + size + 2).await?;
            let chunk = self.input.split_to(line + size + 2);
            if !chunk.ends_with(b"\r\n") {
                return Err(MALFORMED);
            }
            if size == 0 {
                return Ok(body.freeze());
            }
            body.extend_from_slice(&chunk[line..line + size]);
        }
    }

    async fn fill(&mut self, length: usize) -> Result<(), ReadError> {
        self.input.reserve(length.saturating_sub(self.input.len()));
        while self.input.len() < length {
            if !self.read_more().await? {
                return Err(ReadError::Left);
            }
        }
        Ok(())
    }

    async fn read_more(&mut self) -> io::Result<bool> {
        if self.input.capacity() - self.input.len() < 512 {
            self.input.reserve(4096);
        }
        Ok(self.stream.read_buf(&mut self.input).await? > 0)
    }

    /// Writes a response as it comes, for as long as the client is there. An error means that it left, or sent
    /// something in between.
    pub async fn write_response(&mut self, response: axum::response::Response) -> io::Result<After> {
        let (parts, mut body) = response.into_parts();
        let mut reply = Reply::empty(parts.status.as_u16());
        for (name, value) in parts.headers.iter().filter(|(name, _)| *name != "content-length") {
            reply.set_header(name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned());
        }
        let has_body = parts.status != 204;
        let mut out = Vec::with_capacity(1024);
        head(&mut out, &reply, !self.keep_alive, if has_body { Framing::Chunked } else { Framing::None });
        self.flush(&mut out).await?;
        if has_body {
            self.write_frames(&mut body).await?;
        }
        if self.keep_alive {
            return Ok(After::KeepAlive);
        }
        self.stream.shutdown().await?;
        Ok(After::Close)
    }

    async fn write_frames(&mut self, body: &mut axum::body::Body) -> io::Result<()> {
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                more = self.read_more() => match more? {
                    true => continue,
                    false => return Err(closed()),
                },
            };
            let Some(frame) = frame else { return self.stream.write_all(b"0\r\n\r\n").await };
            let data = frame.map_err(io::Error::other)?.into_data().unwrap_or_default();
            if !data.is_empty() {
                self.stream.write_all(&chunk(&data)).await?;
            }
        }
    }

    /// Writes the reply as it was planned. An error means that the client left before the end.
    pub async fn write_reply(&mut self, reply: &Reply) -> io::Result<After> {
        let shape = reply.shape;
        if !shape.delay.is_zero() {
            self.pause(shape.delay).await?;
        }
        let close = !self.keep_alive || shape.end != End::Ok;
        let mut out = Vec::with_capacity(1024);
        match &reply.body {
            Body::Silent => {}
            Body::Whole(body) => {
                head(&mut out, reply, close, Framing::of_whole(reply.status, body, shape.end));
                let sent = if shape.end.is_whole() { body.len() } else { body.len() / 2 };
                out.extend_from_slice(&body[..sent]);
                self.stream.write_all(&out).await?;
            }
            Body::Pieces(pieces) => self.write_pieces(reply, pieces, close, out).await?,
        }
        match shape.end {
            End::Ok if !close => return Ok(After::KeepAlive),
            End::Reset => self.stream.set_zero_linger()?,
            End::Stall => return self.until_closed().await,
            End::Ok | End::Cut | End::CloseDelimited => self.stream.shutdown().await?,
        }
        Ok(After::Close)
    }

    async fn write_pieces(&mut self, reply: &Reply, pieces: &[Piece], close: bool, mut out: Vec<u8>) -> io::Result<()> {
        let shape = reply.shape;
        let chunked = shape.end != End::CloseDelimited;
        head(&mut out, reply, close, if chunked { Framing::Chunked } else { Framing::None });
        let mut first = true;
        // An empty chunk would be the last one.
        for piece in pieces.iter().filter(|piece| !piece.bytes.is_empty()) {
            let framed = if chunked { Cow::Owned(chunk(&piece.bytes)) } else { Cow::Borrowed(&piece.bytes[..]) };
            for _ in 0..piece.times {
                // A burst is one write as far as it fits; otherwise the head and each piece are a write of their own.
                if !shape.burst || out.len() >= BURST_BYTES {
                    self.flush(&mut out).await?;
                }
                if !first && !shape.gap.is_zero() {
                    self.flush(&mut out).await?;
                    self.pause(shape.gap).await?;
                }
                first = false;
                out.extend_from_slice(&framed);
            }
        }
        if chunked && shape.end == End::Ok {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        self.flush(&mut out).await
    }

    async fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if !out.is_empty() {
            self.stream.write_all(out).await?;
            out.clear();
        }
        Ok(())
    }

    /// Waits, but not for a client that has left.
    async fn pause(&mut self, length: Duration) -> io::Result<()> {
        let until = Instant::now() + length;
        loop {
            tokio::select! {
                () = sleep_until(until) => return Ok(()),
                more = self.read_more() => if !more? { return Err(closed()) },
            }
        }
    }

    /// Reads and forgets until the client closes.
    pub async fn until_closed(&mut self) -> io::Result<After> {
        while self.read_more().await? {
            self.input.clear();
        }
        Err(closed())
    }
}

fn closed() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

enum Framing {
    Length(usize),
    Chunked,
    None,
}

impl Framing {
    fn of_whole(status: u16, body: &Bytes, end: End) -> Self {
        match status {
            204 | 304 => Framing::None,
            _ if end == End::CloseDelimited => Framing::None,
            _ => Framing::Length(body.len()),
        }
    }
}

fn head(out: &mut Vec<u8>, reply: &Reply, close: bool, framing: Framing) {
    use std::io::Write;
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing into a Vec can't fail.
        let _ = write!(out, "{name}{value}\r\n");
    };
    line("HTTP/1.1 ", &format_args!("{} {}", reply.status, reason(reply.status)));
    for (name, value) in &reply.headers {
        line(name, &format_args!(": {value}"));
    }
    match framing {
        Framing::Length(length) => line("content-length: ", &length),
        Framing::Chunked => line("transfer-encoding: ", &"chunked"),
        Framing::None => {}
    }
    if close {
        line("connection: ", &"close");
    }
    line("", &"");
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    framed
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        529 => "Overloaded",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_when_whole_and_refused_when_wrong() {
        let whole =
            b"POST /p/v1/messages?beta=true&x=1 HTTP/1.1\r\nHost: h\r\nX-API-Key: k\r\nContent-Length: 3\r\n\r\nabc";
        for cut in 0..whole.len() - 3 {
            assert!(matches!(parse_head(&whole[..cut]), Ok(None)), "cut at {cut}");
        }
        let Ok(Some(head)) = parse_head(whole) else { panic!("not read") };
        let request = head.request;
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/p/v1/messages"));
        assert_eq!((request.query_value("x"), request.query_value("y")), (Some("1"), None));
        assert_eq!(request.header("x-api-key"), Some("k"));
        assert!(matches!(head.body, BodyLength::Known(3)) && head.keep_alive);
        assert_eq!(&whole[head.length..], b"abc");

        for (target, want) in [("/a?b", "/a?b"), ("http://h:1/a?b", "/a?b"), ("http://h", "/"), ("*", "*")] {
            assert_eq!(origin_form(target), want);
        }
        for wrong in ["GARBAGE\r\n\r\n", "POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n"] {
            assert!(matches!(parse_head(wrong.as_bytes()), Err(ReadError::Refused(400, _))), "{wrong}");
        }
        for (text, keep) in
            [("HTTP/1.0\r\n\r\n", false), ("HTTP/1.1\r\nConnection: close\r\n\r\n", false), ("HTTP/1.1\r\n\r\n", true)]
        {
            let Ok(Some(head)) = parse_head(format!("GET / {text}").as_bytes()) else { panic!("{text}") };
            assert_eq!(head.keep_alive, keep, "{text}");
        }
    }
}
