//! The sandbox plays Anthropic's Messages API, AWS Bedrock and Revenium's collector on loopback, so that programs can be shown and
//! tested without keys, network or cost. By default it echoes; a test plans everything else.
//!
//! # Command line
//!
//! ```text
//! sandbox [--port N] [--bind IP] [--port-file PATH] [--quiet] [--no-requests] [--threads N]
//!         [--fail SERVICE:ANSWER]... [--until-stdin-closes] [--seconds N]
//! ```
//!
//! The first line on stdout is `sandbox: http://127.0.0.1:PORT`, then one line for each new record unless `--quiet`.
//! `--no-requests` doesn't keep requests (for benchmarks). `--fail collector:status=503` answers every request to that
//! service (`anthropic`, `bedrock`, `collector`) that way unless the request or a plan says otherwise. It ends on SIGTERM and
//! SIGINT, when stdin closes if asked to, or after so many seconds.
//!
//! # Services
//!
//! - `POST .../v1/messages`: Anthropic. Any prefix; `"stream": true` for SSE; `tool_choice` of type `tool` or `any` is obeyed.
//! - `POST /model/{id}/invoke` and `/invoke-with-response-stream`: Bedrock, for Claude's ids. Signed or with an API key.
//! - `POST .../meter/v2/ai/completions`: the collector, with Idempotency-Key.
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
//! - `GET /sandbox/requests[?service=collector]`, `DELETE`: the last 10,000: `service`, `method`, `path`, `query`, `headers`, `body`, `raw`
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
mod http;
mod message;
mod options;
mod print;
mod reply;
mod server;
mod state;
mod table;

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::options::Options;
use crate::print::Printer;
use crate::state::Sandbox;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("sandbox: {problem}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> std::io::Result<()> {
    // Ten thousand streams need as many descriptors; the usual limit is 1024. Where it can't be raised, fewer fit.
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });

    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = options.threads {
        runtime.worker_threads(threads);
    }
    let runtime = runtime.enable_all().build()?;
    let printed = runtime.block_on(async {
        let told = told_to_end()?;
        let listener = server::listen(options.address)?;
        announce(&listener, options.port_file.as_deref())?;
        let (printer, printed) = Printer::new();
        let printer = if options.quiet { None } else { Some(printer) };
        let sandbox = Arc::new(Sandbox::new(options.keep_requests, options.fail, printer));
        tokio::select! {
            () = server::serve(listener, sandbox) => {},
            _ = told => {},
            () = stdin_closed(options.until_stdin_closes) => {},
            () = after(options.seconds) => {},
        }
        Ok::<_, std::io::Error>(printed)
    })?;
    // The connections hold the printer.
    drop(runtime);
    printed.wait();
    Ok(())
}

/// Says where the server listens, only when it does.
fn announce(listener: &TcpListener, port_file: Option<&Path>) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "sandbox: http://{address}")?;
    stdout.flush()?;
    let Some(path) = port_file else { return Ok(()) };
    // Renamed into place, so that nobody reads half a number.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    std::fs::write(&temporary, format!("{}\n", address.port()))?;
    std::fs::rename(&temporary, path)
}

/// Ends with the first signal. Not tokio's: what this crate asks of tokio, the library built beside it has too, and
/// tokio's watch for signals reads in a forked child what the parent had open.
fn told_to_end() -> std::io::Result<oneshot::Receiver<()>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (told, wait) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        signals.forever().next();
        drop(told);
    });
    Ok(wait)
}

async fn stdin_closed(asked: bool) {
    if !asked {
        return std::future::pending().await;
    }
    let (closed, wait) = oneshot::channel::<()>();
    // A thread of its own: a blocking read can't be taken back, and would hold up the runtime's end.
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
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
