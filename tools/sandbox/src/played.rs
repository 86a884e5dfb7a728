//! A reply as a response of the HTTP library: whole, or piece after piece with pauses.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;

use crate::reply::{self, End, Piece, Reply, Shape};
use crate::state::{Open, Sandbox};

/// Of the connection, or of the body's length: the library's own.
const OWN: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// The status and headers of a reply; `None` where no HTTP library would send it.
pub fn head(reply: &Reply) -> Option<Response> {
    if reply.shape.end != End::Ok || reply.body == reply::Body::Silent {
        return None;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(reply.status).ok()?;
    for (name, value) in &reply.headers {
        let (name, value) = header((name, value))?;
        response.headers_mut().append(name, value);
    }
    Some(response)
}

fn header((name, value): (&str, &str)) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| !OWN.contains(&name.as_str()))?;
    Some((name, HeaderValue::from_str(value).ok()?))
}

/// The rest of it, after its delay.
pub async fn play(mut response: Response, reply: Reply, sandbox: Arc<Sandbox>) -> Response {
    let open = || Open::new(&sandbox, |stats| &stats.streams_open);
    let _open = matches!(reply.body, reply::Body::Pieces(_)).then(open);
    let mut seen = Seen { sandbox: sandbox.clone(), whole: false };
    // A timer that is due takes its millisecond all the same.
    if !reply.shape.delay.is_zero() {
        tokio::time::sleep(reply.shape.delay).await;
    }
    *response.body_mut() = match reply.body {
        reply::Body::Silent => Body::empty(),
        reply::Body::Whole(body) => {
            seen.whole = true;
            body.into()
        }
        reply::Body::Pieces(pieces) => {
            let player = Player { pieces, at: 0, sent: 0, shape: reply.shape, started: false, seen, _open: open() };
            Body::from_stream(stream::unfold(player, |mut player| async {
                Some((Ok::<_, Infallible>(player.next().await?), player))
            }))
        }
    };
    response
}

/// Whether the client saw the end of an answer. Who did not has left.
struct Seen {
    sandbox: Arc<Sandbox>,
    whole: bool,
}

impl Drop for Seen {
    fn drop(&mut self) {
        if !self.whole {
            self.sandbox.stats.client_disconnects.fetch_add(1, Relaxed);
        }
    }
}

struct Player {
    pieces: Vec<Piece>,
    at: usize,
    /// How often the piece at `at` was.
    sent: usize,
    shape: Shape,
    started: bool,
    seen: Seen,
    _open: Open,
}

impl Player {
    async fn next(&mut self) -> Option<Bytes> {
        let bytes = loop {
            let Some(piece) = self.pieces.get(self.at) else {
                self.seen.whole = true;
                return None;
            };
            if self.sent < piece.times && !piece.bytes.is_empty() {
                self.sent += 1;
                break piece.bytes.clone();
            }
            (self.at, self.sent) = (self.at + 1, 0);
        };
        if self.started && !self.shape.gap.is_zero() {
            tokio::time::sleep(self.shape.gap).await;
        } else if !self.shape.burst {
            // What is there is written before more comes: the head and each piece are a write of their own.
            tokio::task::yield_now().await;
        }
        self.started = true;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_library_would_send_is_left_to_the_faults() {
        assert!(head(&Reply::json(529, "{}")).is_some());
        let with = |name: &'static str, value: &'static str| {
            let mut reply = Reply::empty(200);
            reply.set_header(name, value);
            reply
        };
        assert!(head(&with("X-Own", "a")).is_some());
        for (name, value) in [
            ("content-length", "7"),
            ("Transfer-Encoding", "x"),
            ("connection", "close"),
            ("a b", "c"),
            ("a", "\u{7f}"),
        ] {
            assert!(head(&with(name, value)).is_none(), "{name}");
        }
        for end in [End::Cut, End::Reset, End::Stall, End::CloseDelimited] {
            let mut reply = Reply::empty(200);
            reply.shape.end = end;
            assert!(head(&reply).is_none(), "{end:?}");
        }
        assert!(head(&Reply::new(200, "text/plain", reply::Body::Silent)).is_none());
    }
}
