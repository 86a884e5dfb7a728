//! What goes back to the client, and how its bytes are laid out in time.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    #[default]
    Ok,
    /// Closed in the middle: a chunked body without its last chunk, half of any other.
    Cut,
    /// Like a cut, with a TCP reset.
    Reset,
    /// Neither Content-Length nor chunks: the close is the end.
    CloseDelimited,
    /// Like a cut, but the connection stays open and silent until the client closes.
    Stall,
}

impl End {
    pub fn is_whole(self) -> bool {
        matches!(self, End::Ok | End::CloseDelimited)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// Before the first byte.
    pub delay: Duration,
    /// Between two pieces.
    pub gap: Duration,
    pub end: End,
    /// All pieces in one write.
    pub burst: bool,
}

/// A chunk of the body, sent `times` times: a stream of a million equal deltas costs no memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub bytes: Bytes,
    pub times: usize,
}

impl Piece {
    pub fn once(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), times: 1 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Not even a status line.
    Silent,
    Whole(Bytes),
    Pieces(Vec<Piece>),
}

pub type Header = (Cow<'static, str>, Cow<'static, str>);

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<Header>,
    pub body: Body,
    pub shape: Shape,
}

impl Reply {
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, "application/json", Body::Whole(body.into()))
    }

    pub fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", Body::Whole(body.into()))
    }

    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Whole(Bytes::new()), shape: Shape::default() }
    }

    pub fn new(status: u16, content_type: &'static str, body: Body) -> Self {
        let headers = vec![("content-type".into(), content_type.into())];
        Self { status, headers, body, shape: Shape::default() }
    }

    /// Sets a header, replacing one of the same name.
    pub fn set_header(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) {
        let (name, value) = (name.into(), value.into());
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(&name));
        self.headers.push((name, value));
    }
}
