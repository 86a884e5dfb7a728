//! What others are measured against: hyper's pooled client on one thread. It reads replies and forgets them.
//!
//! With `--record 1` each call is followed by a plain POST of a record to the collector, by a task that sends one after
//! the other: the simplest metering there is, without a retry or a file. With `--hand-over 1` the calls are made by another
//! thread, for which the first waits: what every library costs that does not do its work on the caller's own thread.

use std::error::Error;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

struct Options {
    port: u16,
    streamed: bool,
    calls: usize,
    warm: usize,
    at_once: usize,
    record: bool,
    hand_over: bool,
    /// Between calls that are made one after the other; then each call's wait is measured.
    gap: Duration,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
        let mut options = Options {
            port: 0,
            streamed: false,
            calls: 0,
            warm: 0,
            at_once: 1,
            record: false,
            hand_over: false,
            gap: Duration::ZERO,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or("each option has a value")?;
            match name.as_str() {
                "--port" => options.port = value.parse()?,
                "--mode" => options.streamed = value == "stream",
                "--calls" => options.calls = value.parse()?,
                "--warm" => options.warm = value.parse()?,
                "--at-once" => options.at_once = value.parse()?,
                "--record" => options.record = value == "1",
                "--hand-over" => options.hand_over = value == "1",
                "--gap" => options.gap = Duration::from_micros(value.parse()?),
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        Ok(options)
    }
}

#[derive(Clone)]
struct Host {
    client: Client<HttpConnector, Full<Bytes>>,
    messages: String,
    completions: String,
    request: Bytes,
    /// Who makes the calls instead.
    other: Option<UnboundedSender<mpsc::Sender<Result<()>>>>,
}

impl Host {
    fn new(options: &Options) -> Host {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let base = format!("http://127.0.0.1:{}", options.port);
        let stream = if options.streamed { r#""stream":true,"# } else { "" };
        let request = format!(
            r#"{{"model":"claude-haiku-4-5","max_tokens":1024,{stream}"messages":[{{"role":"user","content":"Say hello to the benchmark."}}]}}"#
        );
        Host {
            client: Client::builder(TokioExecutor::new()).build(connector),
            messages: format!("{base}/v1/messages"),
            completions: format!("{base}/meter/v2/ai/completions"),
            request: request.into(),
            other: None,
        }
    }

    /// From now on another thread makes the calls, and ends with the last of those that ask for them.
    fn hand_over(&mut self) {
        let (other, mut asked) = unbounded_channel::<mpsc::Sender<Result<()>>>();
        let host = self.clone();
        self.other = Some(other);
        std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
                while let Some(done) = asked.recv().await {
                    let _ = done.send(host.call().await);
                }
                Ok::<_, std::io::Error>(())
            })
        });
    }

    async fn call(&self) -> Result<()> {
        if let Some(other) = &self.other {
            let (done, wait) = mpsc::channel();
            other.send(done)?;
            return wait.recv()?;
        }
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.messages)
            .header(CONTENT_TYPE, "application/json")
            .header("x-api-key", "sk-ant-sandbox")
            .header("anthropic-version", "2023-06-01")
            .body(Full::new(self.request.clone()))?;
        self.exchange(request, StatusCode::OK).await
    }

    async fn report(&self, number: usize) -> Result<()> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.completions)
            .header(CONTENT_TYPE, "application/json")
            .header("x-api-key", "rev_mk_sandbox_0123456789abcdef")
            .header("idempotency-key", format!("bare-hyper-{number}"))
            .body(Full::new(record(number)))?;
        self.exchange(request, StatusCode::CREATED).await
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, expected: StatusCode) -> Result<()> {
        let reply = self.client.request(request).await?;
        let status = reply.status();
        let mut body = reply.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        if status == expected { Ok(()) } else { Err(format!("status {status}").into()) }
    }
}

/// About as long as a record of the library.
fn record(number: usize) -> Bytes {
    format!(
        concat!(
            r#"{{"transactionId":"bare-hyper-{}","model":"claude-haiku-4-5-20251001","provider":"ANTHROPIC","#,
            r#""modelSource":"ANTHROPIC","middlewareSource":"bare-hyper","costType":"AI","operationType":"CHAT","#,
            r#""isStreamed":false,"stopReason":"END","requestTime":"2026-11-23T00:03:53.412Z","#,
            r#""responseTime":"2026-11-23T00:03:53.413Z","completionStartTime":"2026-11-23T00:03:53.413Z","#,
            r#""requestDuration":1,"timeToFirstToken":1,"inputTokenCount":12,"outputTokenCount":7,"#,
            r#""reasoningTokenCount":0,"cacheCreationTokenCount":0,"cacheReadTokenCount":0,"totalTokenCount":19}}"#
        ),
        number
    )
    .into()
}

/// `calls` calls, one after the other with a pause after each; what was waited for each.
async fn paced(
    host: &Host,
    gap: Duration,
    calls: usize,
    records: Option<UnboundedSender<()>>,
) -> Result<Vec<Duration>> {
    let mut waits = Vec::with_capacity(calls);
    for _ in 0..calls {
        let began = Instant::now();
        host.call().await?;
        waits.push(began.elapsed());
        if let Some(records) = &records {
            records.send(())?;
        }
        tokio::time::sleep(gap).await;
    }
    waits.sort();
    Ok(waits)
}

/// `calls` calls, `at_once` at a time, each announced to `records` when it is over.
async fn calls(host: &Host, at_once: usize, calls: usize, records: Option<UnboundedSender<()>>) -> Result<()> {
    let left = Arc::new(AtomicUsize::new(calls));
    let worker = || {
        let (host, left, records) = (host.clone(), left.clone(), records.clone());
        async move {
            while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                host.call().await?;
                if let Some(records) = &records {
                    records.send(())?;
                }
            }
            Ok(())
        }
    };
    if at_once == 1 {
        return worker().await;
    }
    let mut workers: JoinSet<Result<()>> = (0..at_once.min(calls)).map(|_| worker()).collect();
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn send(host: Host, mut records: UnboundedReceiver<()>, first: usize) -> Result<()> {
    let mut number = first;
    while records.recv().await.is_some() {
        host.report(number).await?;
        number += 1;
    }
    Ok(())
}

/// The calls and their records, numbered from `first`; how long the calls took, and what was waited for each if paced.
async fn all(host: &Host, options: &Options, count: usize, first: usize) -> Result<(Duration, Vec<Duration>)> {
    let clock = Instant::now();
    let (records, sender) = if options.record {
        let (records, receiver) = unbounded_channel();
        (Some(records), Some(tokio::spawn(send(host.clone(), receiver, first))))
    } else {
        (None, None)
    };
    let mut waits = Vec::new();
    if options.gap.is_zero() {
        calls(host, options.at_once, count, records).await?;
    } else {
        waits = paced(host, options.gap, count, records).await?;
    }
    let wall = clock.elapsed();
    if let Some(sender) = sender {
        sender.await??;
    }
    Ok((wall, waits))
}

/// Processor time of all threads.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// A line of /proc/self/status, in its unit.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

async fn run(options: &Options, host: Host) -> Result<()> {
    let ready = cpu();
    all(&host, options, options.warm, 0).await?;
    let (idle, start) = (status("VmRSS"), cpu());
    let (wall, waits) = all(&host, options, options.calls, options.warm).await?;
    let used = cpu() - start;
    let waited =
        |hundredth: usize| waits.get(waits.len().saturating_sub(1) * hundredth / 100).map_or(0, Duration::as_micros);
    writeln!(
        std::io::stdout(),
        r#"{{"ready_cpu_us":{},"cpu_us":{},"wall_us":{},"idle_kib":{idle},"peak_kib":{},"threads":{},"deltas":0,"p50_us":{},"p99_us":{}}}"#,
        ready.as_micros(),
        used.as_micros(),
        wall.as_micros(),
        status("VmHWM"),
        status("Threads"),
        waited(50),
        waited(99)
    )?;
    Ok(())
}

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut host = Host::new(&options);
    if options.hand_over {
        host.hand_over();
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(&options, host))
}
