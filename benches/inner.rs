//! What the library's own work costs, without network, threads or the C ABI: `cargo bench --bench inner`.

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use revenium::inside::{
    Answered, Backpressure, Batch, Budgets, CallFacts, Caller, Capture, Delivery, Destination, End, Endpoint, Framing,
    Metadata, Options, Outgoing, Platform, Provider, Queue, Reader, RecentIds, Request, Rules, Settings, Streaming,
    Summary, Telemetry, Times, completions_url, journal, mask, records as records_of,
};

const DELTAS: usize = 1000;
const MAX_EVENT: usize = 1 << 20;

const REPLY: &[u8] = br#"{"id":"msg_01XFDUDYJgAACzvnptvVoYEL","type":"message","role":"assistant","model":"claude-haiku-4-5-20251001","content":[{"type":"text","text":"Hello! I am ready to help. What would you like to do today?"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":25,"output_tokens":17,"cache_creation_input_tokens":0,"cache_read_input_tokens":2048,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"service_tier":"standard"}}"#;

const REQUEST: &str = r#"{"model":"claude-haiku-4-5","max_tokens":1024,"temperature":0.5,"system":"You are a helpful assistant.","messages":[{"role":"user","content":"Please verify that you are ready to assist me."}]}"#;

const METADATA: &str = r#"{"organizationName":"Acme","productName":"Help desk","taskType":"summarize","agent":"writer","traceId":"4bf92f3577b34da6a3ce929d0e0e4736","environment":"production","subscriber":{"id":"user-17","email":"user17@example.com","credential":{"name":"key-1","value":"alias"}}}"#;

/// The events of one reply, as they stand in its body.
fn events() -> Vec<String> {
    let event = |name: &str, data: &str| format!("event: {name}\ndata: {data}\n\n");
    let mut events = vec![
        event(
            "message_start",
            r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5-20251001","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"output_tokens":1}}}"#,
        ),
        event(
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ),
    ];
    let delta = event(
        "content_block_delta",
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" assist"}}"#,
    );
    events.extend(std::iter::repeat_n(delta, DELTAS));
    events.push(event("content_block_stop", r#"{"type":"content_block_stop","index":0}"#));
    events.push(event(
        "message_delta",
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":1000}}"#,
    ));
    events.push(event("message_stop", r#"{"type":"message_stop"}"#));
    events
}

/// A stream of 1,000 deltas in pushes of various sizes: to get the price of a delta, divide by 1,000.
fn stream(c: &mut Criterion) {
    let events = events();
    let body = events.concat();
    let pushes: [(&str, Vec<&[u8]>); 3] = [
        ("one event a push", events.iter().map(|event| event.as_bytes()).collect()),
        ("1400 bytes a push", body.as_bytes().chunks(1400).collect()),
        ("16 KiB a push", body.as_bytes().chunks(16 << 10).collect()),
    ];
    let mut group = c.benchmark_group("stream of 1000 deltas");
    group.throughput(Throughput::Elements(DELTAS as u64));
    for (name, chunks) in pushes {
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut reader = Reader::new(Framing::Sse, MAX_EVENT);
                for chunk in &chunks {
                    // A batch for each push, as calls have it: the reader of the events takes it along.
                    let mut batch = Batch::new();
                    reader.push(chunk, &mut batch).unwrap();
                    black_box(&batch);
                }
                assert!(reader.is_complete());
                reader.into_message()
            });
        });
    }
    group.finish();
}

fn reply(c: &mut Criterion) {
    c.bench_function("summary of a whole reply", |b| b.iter(|| Summary::of(black_box(REPLY)).unwrap()));
}

fn request(c: &mut Criterion) {
    let with_metadata = format!(r#"{},"usage_metadata":{METADATA}}}"#, &REQUEST[..REQUEST.len() - 1]);
    let mut group = c.benchmark_group("request");
    for (name, text) in [("plain", REQUEST), ("with usage_metadata", with_metadata.as_str())] {
        group.bench_function(name, |b| b.iter(|| Request::parse(black_box(text), Streaming::AsRequested).unwrap()));
    }
    group.finish();
}

fn record(c: &mut Criterion) {
    let request = Request::parse(REQUEST, Streaming::AsRequested).unwrap();
    let metadata = Metadata::from_json(METADATA);
    let summary = Summary::of(REPLY).unwrap();
    let recent_ids = RecentIds::default();
    let call = CallFacts {
        provider: Provider::Anthropic,
        batch: None,
        request: &request.facts,
        metadata: &metadata,
        streamed: false,
        times: Times { started: SystemTime::now(), first_token: None, ended: Duration::from_millis(812) },
        summary: Some(&summary),
        end: End::Complete,
        called_model: None,
        region: None,
        estimated_output: None,
        mark_unbilled_refusals: true,
        prompts: None,
        capture: Capture::default(),
        key: None,
        recent_ids: &recent_ids,
        middleware_source: "revenium-anthropic-c",
    };
    c.bench_function("record", |b| b.iter(|| records_of(black_box(&call))));
    // Its queue is full of spans that nobody takes: the last ones are made and dropped.
    let settings = Settings::load(Some(r#"{"otlp":true}"#), &|_| None).unwrap().0;
    let telemetry = Telemetry::new(&settings, false).unwrap().unwrap();
    let answered = Answered { server: Some(("api.anthropic.com", 443)), ..Answered::default() };
    c.bench_function("span", |b| {
        b.iter(|| {
            let begun = telemetry.begin(None, false).unwrap();
            telemetry.end(&begun, black_box(&call), &answered);
        });
    });
}

fn metadata(c: &mut Criterion) {
    let mut group = c.benchmark_group("metadata");
    group.bench_function("from JSON", |b| b.iter(|| Metadata::from_json(black_box(METADATA))));
    let scope = Metadata::from_json(METADATA);
    let call = Metadata::from_json(r#"{"taskType":"translate","ticketId":"T-1"}"#);
    group.bench_function("overlay", |b| b.iter(|| black_box(&scope).overlay(black_box(&call))));
    group.finish();
}

/// Whether a call may go out: by no rules, by rules that are not reached, and by rules that are, but not for this caller.
fn budget(c: &mut Criterion) {
    let config = r#"{"budget_enforcement":true,"team_id":"t"}"#;
    let settings = Arc::new(Settings::load(Some(config), &|_| None).unwrap().0);
    let (meter, _) = completions_url("http://127.0.0.1:9").unwrap();
    let platform = Arc::new(Platform::new(settings.clone(), &meter).unwrap());
    let budgets = Budgets::new(settings, platform);
    let metadata = Metadata::from_json(METADATA);
    let rules = |more: &dyn Fn(usize) -> String| {
        let rule = |n| {
            let more = more(n);
            format!(r#"{{"ruleId":{n},"name":"cap-{n}","windowEnd":"2099-01-01T00:00:00Z","currentValue":{n},{more}}}"#)
        };
        let rules: Vec<_> = (0..200).map(rule).collect();
        Rules::parse(format!(r#"{{"rules":[{}]}}"#, rules.join(",")).as_bytes()).unwrap()
    };
    let filtered = |n: usize| {
        let filter = format!(r#"{{"dimension":"AGENT","operator":"IS","value":"agent-{n}"}}"#);
        format!(r#""breached":true,"filters":[{filter}]"#)
    };
    let grouped = |n: usize| {
        let entry = format!(r#"{{"groupValue":"user-{}","breached":true,"currentValue":99}}"#, n + 100);
        format!(r#""groupBy":"SUBSCRIBER","groupBreakdown":[{entry}]"#)
    };
    let mut group = c.benchmark_group("budget check");
    let mut check = |name: &str, rules: Rules| {
        budgets.install(rules);
        group.bench_function(name, |b| {
            b.iter(|| {
                let told = black_box(&metadata).attribution();
                budgets.admit(&Caller::new("claude-haiku-4-5", "ANTHROPIC", &told)).unwrap();
            });
        });
    };
    check("no rules", Rules::default());
    check("200 rules, none reached", rules(&|_| r#""breached":false"#.into()));
    check("200 rules, reached by other agents", rules(&filtered));
    check("200 rules, reached by other subscribers", rules(&grouped));
    group.finish();
}

/// Captured text without its secrets: its price must grow with its size, and no faster.
fn masking(c: &mut Criterion) {
    let prose = "The quarterly report (see https://example.com/reports/2026?page=4) names 17 regions, 3 of them new; \
                 `fn main() { println!(\"token: {}\", t); }` is not among them.\n";
    let secrets = format!("{prose}password=hunter2hunter2 4111 1111 1111 1111 Bearer abcdefgh12345678\n");
    // What begins like a secret and is none.
    let nearly = "sk-ant-a 4111-1111 eyJhbGci.eyJ -----BEGIN PRIVATE KEY----- https://user:@host secret = ' bearer \n";
    let message = format!(r#"{{"role":"user","content":{}}},"#, serde_json::to_string(&prose.repeat(8)).unwrap());
    for (name, line) in [("prose", prose), ("secrets", &secrets), ("nearly secrets", nearly), ("JSON", &*message)] {
        let mut group = c.benchmark_group(format!("masking {name}"));
        for kib in [64, 256, 1024] {
            let mut text = line.repeat((kib << 10) / line.len());
            if name == "JSON" {
                text = format!("[{}]", text.trim_end_matches(','));
            }
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(format!("{kib} KiB"), |b| b.iter(|| mask(black_box(&text)).len()));
        }
        group.finish();
    }
}

/// 1,000 events through a completion queue, 10 to a network read.
fn queue(c: &mut Criterion) {
    let mut reader = Reader::new(Framing::Sse, MAX_EVENT);
    let mut batches = Vec::new();
    for events in events().chunks(10).take(DELTAS / 10) {
        let mut batch = Batch::new();
        reader.push(events.concat().as_bytes(), &mut batch).unwrap();
        batches.push(batch);
    }
    let queue = Queue::new(Arc::default());
    let flow = Arc::new(Backpressure::default());
    let mut buffer = vec![0; 64 << 10];
    let mut group = c.benchmark_group("queue of 1000 events");
    group.throughput(Throughput::Elements(DELTAS as u64));
    group.bench_function("push and read", |b| {
        b.iter(|| {
            for batch in &batches {
                queue.push_events(batch, 17, 1, &flow).unwrap();
                black_box(queue.read(&mut buffer, None).unwrap());
            }
        });
    });
    group.finish();
}

/// 1,000 records into delivery, whose sender does not run.
fn push(c: &mut Criterion) {
    let (url, _) = completions_url("http://127.0.0.1:9").unwrap();
    let destination = Arc::new(Destination { url, key: String::new() });
    let records = || -> Vec<Outgoing> {
        let body = Bytes::from(vec![b'x'; 900]);
        let outgoing = |n| Outgoing {
            endpoint: Endpoint::COMPLETIONS,
            idempotency_key: format!("{n:032}"),
            body: body.clone(),
            transaction_id: format!("msg_{n:024}"),
        };
        (0..1000).map(outgoing).collect()
    };
    let mut group = c.benchmark_group("delivery of 1000 records");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("push", |b| {
        b.iter_batched(
            || (Delivery::new(Options::default(), destination.clone(), Box::new(|_| {})), records()),
            |(delivery, records)| {
                for record in records {
                    delivery.push([record]);
                }
                delivery
            },
            BatchSize::LargeInput,
        );
    });
    // The same with a journal beneath: each record a write of its own, and 64 in one.
    let directory = std::env::temp_dir().join(format!("revenium-bench-{}", std::process::id()));
    let with_journal = || {
        let journal = Some(journal::Options::new(directory.clone(), 1 << 30, false));
        let options = Options { journal, ..Options::default() };
        Delivery::new(options, destination.clone(), Box::new(|_| {}))
    };
    for size in [1, 64] {
        group.bench_function(format!("journal, {size} to a write"), |b| {
            b.iter_batched(
                || (with_journal(), records()),
                |(delivery, records)| {
                    let mut records = records.into_iter();
                    loop {
                        let some: Vec<_> = records.by_ref().take(size).collect();
                        if some.is_empty() {
                            break delivery;
                        }
                        delivery.push(some);
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    let _ = std::fs::remove_dir_all(&directory);
    group.finish();
}

fn settings(c: &mut Criterion) {
    let mut config = String::from(r#"{"anthropic_api_key":"sk-ant-sandbox","max_retries":3,"metadata":"#);
    let _ = write!(config, "{METADATA}}}");
    let environment = |name: &str| (name == "REVENIUM_LOG_LEVEL").then(|| "ERROR".to_owned());
    c.bench_function("settings", |b| b.iter(|| Settings::load(Some(black_box(&config)), &environment).unwrap()));
}

/// The machine's noise is larger than what more samples would gain; the whole run stays under half a minute.
fn quick() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .nresamples(2000)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(700))
}

criterion_group! {
    name = inner;
    config = quick();
    targets = stream, reply, request, record, metadata, budget, masking, queue, push, settings
}
criterion_main!(inner);
