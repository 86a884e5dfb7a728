//! Answers that no HTTP library would give: cut in the middle, reset, never ended, ended by the close alone, or none at all.
//! The connection is taken from the library before the first byte, and ends with the answer.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::reply::{Body, End, Piece, Reply};

/// How much a burst collects before it is written.
const BURST_BYTES: usize = 256 * 1024;

/// Writes the reply as it was planned. An error means that the client left before the end.
pub async fn write(mut stream: TcpStream, reply: &Reply) -> io::Result<()> {
    let shape = reply.shape;
    pause(&mut stream, shape.delay).await?;
    let mut out = Vec::with_capacity(1024);
    match &reply.body {
        Body::Silent => {}
        Body::Whole(body) => {
            head(&mut out, reply, Framing::of_whole(reply.status, body, shape.end));
            let sent = if shape.end.is_whole() { body.len() } else { body.len() / 2 };
            out.extend_from_slice(&body[..sent]);
            stream.write_all(&out).await?;
        }
        Body::Pieces(pieces) => write_pieces(&mut stream, reply, pieces, out).await?,
    }
    match shape.end {
        End::Reset => stream.set_zero_linger(),
        End::Stall => until_closed(&mut stream).await,
        End::Ok | End::Cut | End::CloseDelimited => stream.shutdown().await,
    }
}

async fn write_pieces(stream: &mut TcpStream, reply: &Reply, pieces: &[Piece], mut out: Vec<u8>) -> io::Result<()> {
    let shape = reply.shape;
    let chunked = shape.end != End::CloseDelimited;
    head(&mut out, reply, if chunked { Framing::Chunked } else { Framing::None });
    let mut first = true;
    // An empty chunk would be the last one.
    for piece in pieces.iter().filter(|piece| !piece.bytes.is_empty()) {
        let framed = if chunked { Cow::Owned(chunk(&piece.bytes)) } else { Cow::Borrowed(&piece.bytes[..]) };
        for _ in 0..piece.times {
            // A burst is one write as far as it fits; otherwise the head and each piece are a write of their own.
            if !shape.burst || out.len() >= BURST_BYTES {
                flush(stream, &mut out).await?;
            }
            if !first && !shape.gap.is_zero() {
                flush(stream, &mut out).await?;
                pause(stream, shape.gap).await?;
            }
            first = false;
            out.extend_from_slice(&framed);
        }
    }
    if chunked && shape.end == End::Ok {
        out.extend_from_slice(b"0\r\n\r\n");
    }
    flush(stream, &mut out).await
}

async fn flush(stream: &mut TcpStream, out: &mut Vec<u8>) -> io::Result<()> {
    if !out.is_empty() {
        stream.write_all(out).await?;
        out.clear();
    }
    Ok(())
}

/// Waits, but not for a client that has left.
async fn pause(stream: &mut TcpStream, length: Duration) -> io::Result<()> {
    let until = Instant::now() + length;
    tokio::select! {
        () = sleep_until(until) => Ok(()),
        left = until_closed(stream) => left,
    }
}

/// Reads and forgets until the client closes.
async fn until_closed(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Err(io::ErrorKind::UnexpectedEof.into())
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

fn head(out: &mut Vec<u8>, reply: &Reply, framing: Framing) {
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
    line("connection: ", &"close");
    line("", &"");
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    framed
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Status")
}
