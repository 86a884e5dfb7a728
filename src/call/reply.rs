//! Reading a reply: whole, or event by event.

use super::silence::Silence;
use super::{Call, Progress, turn};
use crate::client::Engine;
use crate::common::error::{Code, Error, HttpError, Result};
use crate::completion::Bell;
use crate::messages::{Batch, Reader, Summary};
use crate::provider::{Body, Head, Provider, Reply};
use bytes::Bytes;
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

pub(super) fn is_json(head: &Head) -> bool {
    let kind = head.headers.get(reqwest::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("application/json")
}

pub(super) async fn whole(engine: &Engine, mut reply: Reply) -> Result<Arrived> {
    let mut silence = Silence::new(engine.silence());
    // Room for the NUL that C gets behind it, too.
    let mut body = Vec::with_capacity(reply.body.length().map_or(0, |length| length.min(LARGE_REPLY) as usize + 1));
    while let Some(chunk) = silence.broken_by(reply.body.next()).await?? {
        if body.len() + chunk.len() > engine.settings.max_response_bytes {
            return Err(Error::new(Code::Stream, "The reply is larger than max_response_bytes."));
        }
        body.extend_from_slice(&chunk);
    }
    match Summary::of(&body) {
        Ok(mut summary) => {
            if reply.head.provider == Provider::Bedrock {
                summary.usage.tokens.compare(&reply.head.tokens());
            }
            Ok(Arrived::Whole(body, Box::new(summary)))
        }
        Err(error) => Err(error.with_http(HttpError { status: reply.head.status, body, retry_after_ms: None })),
    }
}

pub(super) async fn stream(
    engine: &Engine,
    call: &Arc<Call>,
    progress: &mut Progress,
    mut reply: Reply,
    mut bell: Option<Bell<'_>>,
) -> Result<Arrived> {
    let reader = progress.reader.insert(Reader::new(reply.body.framing(), engine.settings.max_response_bytes));
    let mut silence = Silence::new(engine.silence());
    let wants_events = call.sink.wants_events();
    let mut untold = 0;
    loop {
        if wants_events && !call.sink.flow().has_room() {
            drop(bell.take());
            // A reader that is gone must not hold its connection for ever.
            let limit = engine.silence();
            let unread = |_| Error::new(Code::Timeout, format!("Nobody took the events for {} s.", limit.as_secs()));
            tokio::time::timeout(limit, call.sink.flow().room()).await.map_err(unread)?;
            silence.restart();
        }
        let chunk = next(&mut reply.body, &mut bell, &mut silence).await?;
        let mut batch = Batch::of_chunk(chunk.as_ref().map_or(0, Bytes::len));
        let read = match &chunk {
            Some(bytes) => reader.push(bytes, &mut batch),
            None => reader.end(&mut batch),
        };
        if progress.first_token.is_none() && reader.has_first_delta() {
            progress.first_token = Some(progress.clock.elapsed());
        }
        if wants_events && !batch.is_empty() {
            untold = if bell.is_some() { untold + batch.bytes() } else { batch.bytes() };
            call.sink.events(call, batch)?;
            bell.get_or_insert_with(|| Bell::of(call));
            if untold >= MAX_UNTOLD {
                drop(bell.take());
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
async fn next(body: &mut Body, bell: &mut Option<Bell<'_>>, silence: &mut Silence) -> Result<Option<Bytes>> {
    let mut next = pin!(body.next());
    if bell.is_some() {
        turn().await;
        if let Poll::Ready(chunk) = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await {
            silence.restart();
            return chunk;
        }
        drop(bell.take());
    }
    silence.broken_by(next).await?
}

/// Read a finished stream to its end, so that its connection can serve again.
async fn drain(mut reply: Reply) {
    let _ = tokio::time::timeout(DRAIN, async { while let Ok(Some(_)) = reply.body.next().await {} }).await;
}
