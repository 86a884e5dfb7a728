//! The one task that exports: a batch at a time, by OTLP's rules of what may be tried again.

use super::Telemetry;
use super::otlp::{ExportRequest, ExportResponse, PartialSuccess, ResourceSpans, Scope, ScopeSpans, Span};
use super::queue::End;
use crate::common::http;
use crate::common::log::{self, debug, error, info, warn};
use crate::common::retry;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use prost::Message;
use reqwest::{Client, Method};
use std::collections::HashSet;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Failures in a row after which a Collector is only probed.
const FAILURES_TO_OPEN: u32 = 3;
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// A batch that could not be exported for so long is dropped.
const GIVE_UP: Duration = Duration::from_secs(300);
/// No wait that a Collector asks for is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// An answer is read this far.
const MAX_ANSWER: usize = 64 << 10;
/// Of what a backend says of its own.
const MAX_SAID: usize = 200;

/// Export for ever. A panic costs a batch, not the rest.
pub async fn run(telemetry: Arc<Telemetry>, client: Client) {
    let mut exporter = Exporter { telemetry: &telemetry, client, failures: 0, said: HashSet::new() };
    loop {
        let batch = telemetry.queue.batch().await;
        let end = AssertUnwindSafe(exporter.export(batch)).catch_unwind().await.unwrap_or_else(|_| {
            error!("the exporter of spans panicked; a batch is lost");
            End::Refused
        });
        telemetry.queue.end(end);
    }
}

struct Exporter<'a> {
    telemetry: &'a Telemetry,
    client: Client,
    /// Attempts in a row that got no answer, or one that says to come again.
    failures: u32,
    /// What the log has been told.
    said: HashSet<String>,
}

enum Answer {
    Taken(PartialSuccess),
    /// This batch will never be taken.
    Refused(String),
    /// Another attempt may help. `after`: when the Collector wants it.
    Later {
        why: String,
        after: Option<Duration>,
    },
}

impl Exporter<'_> {
    async fn export(&mut self, spans: Vec<Span>) -> End {
        let queue = &self.telemetry.queue;
        let (count, first) = (spans.len(), Instant::now());
        let Some(body) = self.encoded(spans).await else { return End::Refused };
        let mut retries = 0;
        loop {
            match self.attempt(&body).await {
                Answer::Taken(partial) => {
                    self.reached();
                    let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
                    if rejected > 0 || !partial.error_message.is_empty() {
                        let why = format!("the Collector rejected {rejected} spans: {}", said(&partial.error_message));
                        self.tell(format!("rejected {}", rejected > 0), &why);
                    }
                    debug!("{count} spans exported");
                    return End::Exported { rejected };
                }
                Answer::Refused(why) => {
                    self.reached();
                    self.tell(why.clone(), &format!("{why}: spans are dropped"));
                    return End::Refused;
                }
                Answer::Later { why, after } => {
                    self.failures = self.failures.saturating_add(1);
                    let open = self.failures >= FAILURES_TO_OPEN;
                    queue.note(why.clone());
                    debug!("{why}");
                    if self.failures == FAILURES_TO_OPEN {
                        warn!("{why}: spans wait, and are dropped when there are too many");
                    }
                    let backoff = if open { PROBE_INTERVAL } else { retry::backoff(retry::FIRST, retries) };
                    let now = Instant::now();
                    let not_before = now + after.unwrap_or_default();
                    let until = not_before.max(now + backoff);
                    if until.duration_since(first) > GIVE_UP && retries > 0 {
                        queue.failed(open);
                        return End::Expired;
                    }
                    queue.failed(open);
                    queue.pause(until, not_before).await;
                    retries += 1;
                }
            }
        }
    }

    fn reached(&mut self) {
        if self.failures >= FAILURES_TO_OPEN {
            info!("spans reach the Collector again");
        }
        self.failures = 0;
        self.telemetry.queue.reachable();
    }

    /// Say it in the status, and in the log the first time.
    fn tell(&mut self, kind: String, what: &str) {
        self.telemetry.queue.note(what.to_owned());
        // What a backend says can differ each time.
        if self.said.len() < 16 && self.said.insert(kind) {
            warn!("{what}");
        } else {
            debug!("{what}");
        }
    }

    /// On a thread of its own: this one serves calls. `None`: it cannot be encoded, which does not happen.
    async fn encoded(&self, spans: Vec<Span>) -> Option<Bytes> {
        let request = ExportRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.telemetry.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(Scope {
                        name: env!("CARGO_PKG_NAME").to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                    }),
                    spans,
                }],
            }],
        };
        let (json, gzip) = (self.telemetry.destination.json, self.telemetry.destination.gzip);
        let encoding = tokio::task::spawn_blocking(move || {
            let plain = if json { serde_json::to_vec(&request).ok()? } else { request.encode_to_vec() };
            if !gzip {
                return Some(plain);
            }
            let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
            encoder.write_all(&plain).and_then(|()| encoder.finish()).ok()
        });
        encoding.await.ok().flatten().map(Bytes::from)
    }

    async fn attempt(&self, body: &Bytes) -> Answer {
        let destination = &self.telemetry.destination;
        let mut request = reqwest::Request::new(Method::POST, destination.url.clone());
        *request.headers_mut() = destination.headers.clone();
        *request.body_mut() = Some(body.clone().into());
        let later = |why: String| Answer::Later { why, after: None };
        let exchange = async {
            let mut response = self.client.execute(request).await.map_err(|fault| {
                let host = destination.url.host_str().unwrap_or("the Collector");
                http::unanswered(&fault, host).message
            })?;
            let (status, after) =
                (response.status().as_u16(), retry::retry_after(response.headers(), SystemTime::now()));
            let mut answer = Vec::new();
            while let Ok(Some(chunk)) = response.chunk().await {
                answer.extend_from_slice(&chunk);
                if answer.len() > MAX_ANSWER {
                    break;
                }
            }
            Ok((status, after, answer))
        };
        let (status, after, answer) = match tokio::time::timeout(destination.timeout, exchange).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(why)) => return later(why),
            Err(_) => return later(format!("The Collector did not answer within {:?}.", destination.timeout)),
        };
        match status {
            200..300 => Answer::Taken(partial(&answer, destination.json)),
            429 | 502..=504 => {
                let after = after.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(LONGEST_WAIT));
                let why = format!("The Collector answered with HTTP {status}.");
                Answer::Later { why, after: after.map(|after| after.min(LONGEST_WAIT)) }
            }
            _ => Answer::Refused(format!("The Collector answered with HTTP {status}")),
        }
    }
}

/// What the Collector did not take of what it took. An answer that cannot be read says nothing.
fn partial(answer: &[u8], json: bool) -> PartialSuccess {
    let read = if json { serde_json::from_slice(answer).ok() } else { ExportResponse::decode(answer).ok() };
    read.and_then(|response: ExportResponse| response.partial_success).unwrap_or_default()
}

/// A backend's own words, on one line and not too many; they may hold what nobody shall read.
fn said(text: &str) -> String {
    log::redact(text).chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SAID).collect()
}
