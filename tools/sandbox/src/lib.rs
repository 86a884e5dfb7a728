//! The sandbox plays Anthropic's Messages API, AWS Bedrock and Revenium on loopback, so that programs can be shown and
//! tested without keys, network or cost. By default it echoes; a test plans everything else. A page shows what is metered.
//!
//! # Services
//!
//! - `POST .../v1/messages`: Anthropic. Any prefix; `"stream": true` for SSE; `tool_choice` of type `tool` or `any` is obeyed.
//! - `POST /model/{id}/invoke` and `/invoke-with-response-stream`: Bedrock, for Claude's ids. Signed or with an API key.
//! - `POST .../meter/v2/ai/completions`: the collector, with Idempotency-Key.
//! - `.../meter/v2/tool/events`, `.../profitstream/v2/api/...`, `.../v2/api/ai/enforcement-rules/...`: the rest of Revenium, the
//!   service `platform`; its answers can be set by operation, see `src/platform/mod.rs`.
//! - `GET /`: the page, which reads `GET /sandbox/live`, a stream of server-sent events.
//!
//! # Answers
//!
//! `POST /sandbox/plan` with `{"path": "/exact/path", "answers": [...]}`: used in order, the last one repeats. Without a
//! plan for the path, a provider's request may ask by the header `x-sandbox: key=value; key=value` or by a model name
//! (`sandbox-529` and other statuses, `sandbox-overloaded`, `-rate-limited`, `-slow`, `-burst`, `-close`, `-cut`,
//! `-reset`, `-stall`, `-error-event`, `-max-tokens`, `-refusal`, `-ok`). The members of an answer, in all three places:
//!
//! | member | meaning |
//! | --- | --- |
//! | `status`, `headers` | of the answer; an error status alone gets the service's usual error body |
//! | `retry-after` | that header |
//! | `json`, `text` | the whole body |
//! | `chunks` | texts or `{"base64": text}`, each written as one chunk of a chunked body |
//! | `delay_ms` | before the first byte |
//! | `gap_ms` | between chunks |
//! | `burst` | all chunks in one write |
//! | `end` | `ok`; `cut`: closed without the last chunk, or after half of a body in one piece; `reset`: the same by RST; `stall`: the same, silent until the client closes; `close_delimited`: no length, the close is the end; `close`: no answer at all |
//! | `deltas`, `delta_bytes` | so many text deltas of so many bytes |
//! | `reply`, `stop_reason`, `usage` | of the default message; `usage` is laid over the counted one |
//! | `error` | a stream's `error` event of this type after its deltas |
//! | `exception` | Bedrock: the exception frame of this type after a stream's deltas |
//! | `frames` | Bedrock, after a stream's deltas: `bad-crc`, `error` (an error frame), `unfinished` (a clean end inside a frame), `no-stop` (a clean end) |
//! | `metrics` | Bedrock: what a stream cost, in its last event (`stop`), `alone` in a chunk before it, or `none` |
//!
//! In a plan, `"close"`, `"reset"` and `"stall"` in place of an object do that without a byte of answer, and `{}` is the
//! default. An answer with a body, or a status other than 200, stands for itself: the request isn't checked. Any other
//! changes the default answer. The default stream has one chunk that opens it, one for each delta and one that closes it; a stream that is
//! cut, reset or stalled ends after its deltas. The collector stores a record before a planned 2xx, delay or cut, and
//! doesn't store it when the planned status is another.
//!
//! # Looking inside
//!
//! - `GET /sandbox/records` (or `/records`), `DELETE` (forgets the keys too): `body`, `headers`, `idempotency_key`, `repeats`, `received_at_ms`
//! - `GET /sandbox/tool-events`: `body`, `idempotency_key`, `received_at_ms`; forgotten with the records, as are the jobs
//! - `GET /sandbox/requests[?service=collector]`, `DELETE`: the last 10,000, without a choice those that went to a provider: `service`, `method`, `path`, `query`, `headers`, `body`, `raw`
//! - `GET /sandbox/stats`: counters
//! - `GET /sandbox/wait?records=N&timeout_ms=M`: when each counter named is at least that high, else 408 (10 s by default)
//! - `GET /sandbox/table`: the records as text, by middleware
//! - `DELETE /sandbox/plan`

#![forbid(unsafe_code)]

mod answer;
mod anthropic;
mod bedrock;
mod collector;
mod control;
mod environment;
mod fault;
mod feed;
mod http;
mod message;
mod options;
mod os;
mod platform;
mod played;
mod prices;
mod print;
mod reply;
mod server;
mod state;
mod table;
mod view;

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

pub use crate::environment::environment;
pub use crate::feed::Feed;
pub use crate::options::Options;
pub use crate::prices::estimate;
use crate::print::Printer;
use crate::state::Sandbox;

/// Serves until a signal, or until what the options say. `listening` is called once, with the address.
pub fn run(options: Options, listening: impl FnOnce(SocketAddr) -> io::Result<()>) -> io::Result<()> {
    os::allow_many_sockets();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = options.threads {
        runtime.worker_threads(threads);
    }
    let runtime = runtime.enable_all().build()?;
    let printed = runtime.block_on(async {
        let told = os::told_to_end()?;
        let listener = server::listen(options.address)?;
        listening(listener.local_addr()?)?;
        let (printer, printed) = Printer::new();
        let printer = if options.quiet { None } else { Some(printer) };
        let sandbox = Arc::new(Sandbox::new(options.providers, options.keep_requests, options.fail, printer));
        tokio::select! {
            () = server::serve(listener, sandbox) => {},
            _ = told => {},
            () = stdin_closed(options.until_stdin_closes) => {},
            () = after(options.seconds) => {},
        }
        Ok::<_, io::Error>(printed)
    })?;
    // The connections hold the printer.
    drop(runtime);
    printed.wait();
    Ok(())
}

/// A page of somebody else's feed.
pub struct View {
    pub address: SocketAddr,
    /// Before the page's own paths: empty, or `/` and a secret.
    pub path: String,
    /// What the page is told: its `mode`, and where the records come from as `place`.
    pub about: serde_json::Value,
    pub seconds: Option<u64>,
}

/// Serves the page until a signal, or for so many seconds. `listening` is called once, with the page's address.
pub fn view(view: View, feed: Arc<Feed>, listening: impl FnOnce(&str) -> io::Result<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let told = os::told_to_end()?;
        let listener = server::listen(view.address)?;
        let url = format!("http://{}{}/", listener.local_addr()?, view.path);
        let router = view::router(feed, view.about, &view.path, axum::Router::new());
        listening(&url)?;
        tokio::select! {
            served = axum::serve(listener, router) => served,
            _ = told => Ok(()),
            () = after(view.seconds) => Ok(()),
        }
    })
}

async fn stdin_closed(asked: bool) {
    if !asked {
        return std::future::pending().await;
    }
    let (closed, wait) = oneshot::channel::<()>();
    // A thread of its own: a blocking read can't be taken back, and would hold up the runtime's end.
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        while stdin.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
        drop(closed);
    });
    let _ = wait.await;
}

async fn after(seconds: Option<u64>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}
