//! Reading a reply: whole, or event by event.

use super::idle::IdleTimeout;
use super::{Call, Context, Progress};
use crate::common::error::{Code, Error, HttpError, Result};
use crate::common::json::mend;
use crate::common::patience::yield_once;
use crate::completion::WakeGuard;
use crate::messages::{Batch, Framing, Reader, Summary, Written};
use crate::provider::{Body, Reply};
use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long the tail of a finished stream may take before its connection is given up instead of reused.
const DRAIN: Duration = Duration::from_secs(1);

/// Room for more than this is made as the bytes come, whatever the provider announces.
const LARGE_REPLY: u64 = 1 << 20;

/// A stream's reader is told of so many bytes at the latest, however fast more come.
const MAX_UNTOLD: usize = 64 << 10;

/// A reply that came whole, or one that is put together in the progress's reader.
pub(super) enum Arrived {
    Whole(Vec<u8>, Box<Summary>),
    Streamed,
}

/// What a reply is, whatever its content type says.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    Json,
    Events,
}

impl Form {
    /// Told by the first byte that is no space. `None`: not there yet.
    fn of(start: &[u8]) -> Option<Form> {
        let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start);
        match start.iter().find(|byte| !byte.is_ascii_whitespace())? {
            b'{' | b'[' | b'<' => Some(Form::Json),
            _ => Some(Form::Events),
        }
    }
}

/// The first bytes of a reply to a streamed request, and what they say it is.
pub(super) async fn begin(
    context: &Context,
    reply: &mut Reply,
    wake: &mut Option<WakeGuard<'_, Call>>,
) -> Result<(Bytes, Form)> {
    if reply.body.framing() != Framing::Sse {
        return Ok((Bytes::new(), Form::Events));
    }
    let mut idle = IdleTimeout::new(context.idle_timeout());
    let mut start = BytesMut::new();
    while let Some(chunk) = next(&mut *reply.body, wake, &mut idle).await? {
        if start.len() > context.settings.max_response_bytes {
            return Err(too_large());
        }
        let form = Form::of(&chunk);
        if start.is_empty() && form.is_some_and(|form| form == Form::Events) {
            return Ok((chunk, Form::Events));
        }
        start.extend_from_slice(&chunk);
        if let Some(form) = Form::of(&start) {
            return Ok((start.freeze(), form));
        }
    }
    Ok((start.freeze(), Form::Events))
}

pub(super) fn too_large() -> Error {
    Error::new(Code::Stream, "The reply is larger than max_response_bytes.")
}

/// A reply that is one JSON document; `start`: what has been read of it.
pub(super) async fn whole(context: &Context, mut reply: Reply, start: &[u8]) -> Result<Arrived> {
    let max = context.settings.max_response_bytes;
    let mut idle = IdleTimeout::new(context.idle_timeout());
    // Room for the NUL that C gets behind it, too.
    let mut body = Vec::with_capacity(reply.body.length().map_or(0, |length| length.min(LARGE_REPLY) as usize + 1));
    body.extend_from_slice(start);
    loop {
        match idle.within(reply.body.next()).await? {
            Ok(Some(chunk)) if body.len() + chunk.len() > max => return Err(too_large()),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            // One whose compression lost its last bytes may be whole all the same.
            Err(_) if Summary::of(&body).is_ok() => break,
            Err(fault) => return Err(fault),
        }
    }
    match read(&mut body, max) {
        Ok(mut summary) => {
            summary.usage.tokens.compare(&reply.head.tokens);
            Ok(Arrived::Whole(body, Box::new(summary)))
        }
        Err(error) if error.http.is_some() => Err(error),
        Err(error) => Err(error.with_http(HttpError { status: reply.head.status, body, retry_after_ms: None })),
    }
}

/// The facts of a whole reply. One that came as events is put together, one that was damaged on its way is mended, in
/// `body`.
pub(super) fn read(body: &mut Vec<u8>, max: usize) -> Result<Summary> {
    let mut summary = assembled(body, max)?;
    // Whether a refusal is billed depends on what it wrote.
    if summary.stop_reason.as_deref() == Some("refusal") {
        summary.written = Written::of(body);
    }
    Ok(summary)
}

fn assembled(body: &mut Vec<u8>, max: usize) -> Result<Summary> {
    let fault = match Summary::of(body) {
        Err(error) if error.code == Code::Stream => error,
        read => return read,
    };
    if Form::of(body) == Some(Form::Events) {
        let (message, summary) = put_together(Framing::Sse, max, [&body[..]], fault)?;
        *body = message;
        return Ok(summary);
    }
    let text = mend::text(body);
    // Events without any framing: as a list, or one after the other.
    let events = serde_json::from_str::<Vec<&RawValue>>(&text).unwrap_or_else(|_| mend::several(&text));
    if !events.is_empty() {
        let events = events.into_iter().map(|event| event.get().as_bytes());
        let (message, summary) = put_together(Framing::Events, max, events, fault)?;
        *body = message;
        return Ok(summary);
    }
    let mended = mend::escape_controls(&text).unwrap_or_else(|| text.into_owned());
    match Summary::of(mended.as_bytes()) {
        Err(error) if error.code == Code::Stream => Err(fault),
        read => {
            *body = mended.into_bytes();
            read
        }
    }
}

/// The message that events make, and its facts. `fault`: what is wrong with a reply that holds none, a page, say.
fn put_together<'a>(
    framing: Framing,
    max: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    fault: Error,
) -> Result<(Vec<u8>, Summary)> {
    let (mut reader, mut batch) = (Reader::new(framing, max), Batch::new());
    let pushed = pieces.into_iter().try_for_each(|piece| reader.push(piece, &mut batch));
    match pushed.and_then(|()| reader.end(&mut batch)) {
        Err(error) if batch.is_empty() && error.code == Code::Stream => return Err(fault),
        read => read?,
    }
    let message = reader.into_message();
    Ok((message.to_json()?, message.summary().clone()))
}

pub(super) async fn stream(
    context: &Context,
    call: &Arc<Call>,
    progress: &mut Progress,
    mut reply: Reply,
    mut wake: Option<WakeGuard<'_, Call>>,
    start: Bytes,
) -> Result<Arrived> {
    let reader = progress.reader.insert(Reader::new(reply.body.framing(), context.settings.max_response_bytes));
    let mut idle = IdleTimeout::new(context.idle_timeout());
    let wants_events = call.target.wants_events();
    let mut untold = 0;
    let mut start = Some(start).filter(|start| !start.is_empty());
    loop {
        if wants_events && !call.target.backpressure().has_room() {
            drop(wake.take());
            // A reader that is gone must not hold its connection for ever.
            let limit = context.idle_timeout();
            let unread = |_| Error::new(Code::Timeout, format!("Nobody took the events for {} s.", limit.as_secs()));
            tokio::time::timeout(limit, call.target.backpressure().room()).await.map_err(unread)?;
            idle.restart();
        }
        let chunk = match start.take() {
            Some(start) => Some(start),
            None => next(&mut *reply.body, &mut wake, &mut idle).await?,
        };
        let mut batch = Batch::of_chunk(chunk.as_ref().map_or(0, Bytes::len));
        let read = match &chunk {
            Some(bytes) => reader.push(bytes, &mut batch),
            None => reader.end(&mut batch),
        };
        if progress.first_token.is_none() && reader.has_first_delta() {
            progress.first_token = Some(progress.clock.elapsed());
        }
        if wants_events && !batch.is_empty() {
            untold = if wake.is_some() { untold + batch.bytes() } else { batch.bytes() };
            call.target.events(call, batch)?;
            wake.get_or_insert_with(|| WakeGuard::of(call));
            if untold >= MAX_UNTOLD {
                drop(wake.take());
            }
        }
        let over = read.is_err() || reader.is_complete();
        if over && chunk.is_some() {
            tokio::spawn(drain(reply));
            return read.map(|()| Arrived::Streamed);
        }
        read?;
        if over {
            return Ok(Arrived::Streamed);
        }
    }
}

/// The next bytes of a stream. A reader that has something to read is told when nothing more is at hand.
async fn next(
    body: &mut dyn Body,
    wake: &mut Option<WakeGuard<'_, Call>>,
    idle: &mut IdleTimeout,
) -> Result<Option<Bytes>> {
    let mut next = pin!(body.next());
    if wake.is_some() {
        yield_once().await;
        if let Poll::Ready(chunk) = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await {
            idle.restart();
            return chunk;
        }
        drop(wake.take());
    }
    idle.within(next).await?
}

/// Read a finished stream to its end, so that its connection can serve again.
async fn drain(mut reply: Reply) {
    let _ = tokio::time::timeout(DRAIN, async { while let Ok(Some(_)) = reply.body.next().await {} }).await;
}
