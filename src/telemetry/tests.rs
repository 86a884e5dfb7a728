//! What of a span and its queue no Collector shows.

use super::attributes::of_metadata;
use super::otlp::{
    ExportRequest, ExportResponse, KeyValue, List, Resource, ResourceSpans, Scope, ScopeSpans, Span, Value,
};
use super::queue::{End, Options, SpanQueue};
use super::*;
use crate::meter::{Metadata, Told};
use prost::Message;
use std::thread;

fn span(name: &str) -> Span {
    Span { name: name.to_owned(), ..Span::default() }
}

fn queue(spans: usize, bytes: usize, batch_spans: usize) -> SpanQueue {
    SpanQueue::new(Options { spans, bytes, batch_spans, delay: Duration::from_secs(3600) })
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

#[test]
fn json_has_ids_in_hex_and_numbers_of_64_bits_as_text() {
    let values = [
        Value::Text("t".into()),
        Value::Flag(false),
        Value::Integer(i64::MAX),
        Value::Number(0.5),
        Value::list(["a".to_owned(), "b".to_owned()]),
        Value::List(List { values: vec![] }),
    ];
    let request = ExportRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: vec![] }),
            scope_spans: vec![ScopeSpans {
                scope: Some(Scope { name: "n".into(), version: "v".into() }),
                spans: vec![Span {
                    trace_id: vec![0x5b; 16],
                    span_id: vec![0xee; 8],
                    name: "chat".into(),
                    kind: 3,
                    start_time_unix_nano: 1_795_700_000_000_000_000,
                    attributes: values.into_iter().map(|value| KeyValue::new("k", value)).collect(),
                    ..Span::default()
                }],
            }],
        }],
    };
    let wanted = serde_json::json!({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{
        "scope": {"name": "n", "version": "v"},
        "spans": [{
            "traceId": "5b".repeat(16), "spanId": "ee".repeat(8), "name": "chat", "kind": 3,
            "startTimeUnixNano": "1795700000000000000", "endTimeUnixNano": "0", "flags": 0,
            "attributes": [
                {"key": "k", "value": {"stringValue": "t"}}, {"key": "k", "value": {"boolValue": false}},
                {"key": "k", "value": {"intValue": "9223372036854775807"}}, {"key": "k", "value": {"doubleValue": 0.5}},
                {"key": "k", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}}},
                {"key": "k", "value": {"arrayValue": {"values": []}}},
            ],
        }],
    }]}]});
    assert_eq!(serde_json::to_value(&request).unwrap(), wanted);
    assert_eq!(ExportRequest::decode(&*request.encode_to_vec()).unwrap(), request);
}

#[test]
fn what_a_collector_rejected_is_a_number_or_text() {
    for (answer, rejected) in [
        (r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}"#, Some(3)),
        (r#"{"partialSuccess":{"rejectedSpans":3}}"#, Some(3)),
        (r#"{"partialSuccess":{}}"#, Some(0)),
        ("{}", None),
    ] {
        let read: ExportResponse = serde_json::from_str(answer).unwrap();
        assert_eq!(read.partial_success.map(|partial| partial.rejected_spans), rejected, "{answer}");
    }
    assert!(serde_json::from_str::<ExportResponse>(r#"{"partialSuccess":{"rejectedSpans":"x"}}"#).is_err());
}

#[tokio::test]
async fn a_batch_is_as_large_as_it_may_be_and_the_rest_waits() {
    let queue = queue(10, 1 << 20, 3);
    for name in ["a", "b", "c", "d"] {
        queue.push(span(name));
    }
    assert_eq!(names(&queue.batch().await), ["a", "b", "c"]);
    queue.end(End::Exported { rejected: 9 });
    let _flush = queue.flush_begin();
    assert_eq!(names(&queue.batch().await), ["d"]);
    queue.end(End::Refused);
    let counts = queue.counts();
    assert_eq!((counts.exported, counts.rejected, counts.dropped.refused), (3, 3, 1));
    assert_eq!((counts.pending, counts.pending_bytes), (0, 0));
}

#[tokio::test]
async fn large_spans_make_small_batches() {
    let queue = queue(10, 64 << 20, 100);
    let large = "x".repeat(700 << 10);
    for _ in 0..3 {
        queue.push(span(&large));
    }
    assert_eq!(queue.batch().await.len(), 1);
    queue.end(End::Exported { rejected: 0 });
    assert_eq!(queue.batch().await.len(), 1);
    assert_eq!(queue.counts().pending, 2);
}

#[tokio::test]
async fn the_bounds_count_what_is_under_way() {
    let full = queue(2, 1 << 20, 1);
    full.push(span("a"));
    assert_eq!(full.batch().await.len(), 1);
    full.push(span("b"));
    full.push(span("c"));
    assert_eq!((full.counts().pending, full.counts().dropped.queue_full), (2, 1));

    let heavy = queue(10, span("12345").encoded_len() + 1, 10);
    heavy.push(span("12345"));
    heavy.push(span("1"));
    assert_eq!((heavy.counts().pending, heavy.counts().dropped.queue_full), (1, 1));
}

#[test]
fn a_flush_ends_with_the_spans_a_failure_or_the_queue() {
    for end in ["exported", "failed", "closed"] {
        let queue = Arc::new(queue(10, 1 << 20, 10));
        queue.push(span("a"));
        let flush = queue.flush_begin();
        let other = queue.clone();
        let ending = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            assert_eq!(runtime.block_on(other.batch()).len(), 1);
            match end {
                "exported" => other.end(End::Exported { rejected: 0 }),
                "failed" => other.failed(true),
                _ => assert_eq!(other.close(), 1),
            }
        });
        // Returns long before this, or the test never ends.
        queue.flush_wait(&flush, Instant::now() + Duration::from_secs(86400));
        ending.join().unwrap();
        queue.push(span("late"));
        let counts = queue.counts();
        assert_eq!(counts.circuit_open, end == "failed");
        assert_eq!(counts.dropped.shutdown, if end == "closed" { 2 } else { 0 }, "{end}");
    }
    let empty = queue(1, 1 << 20, 1);
    empty.flush_wait(&empty.flush_begin(), Instant::now() + Duration::from_secs(86400));
}

#[test]
fn every_name_is_of_a_field_that_there_is() {
    let wires = |text: &str| -> Vec<&'static str> { Metadata::from_json(text).told().map(|(wire, _)| wire).collect() };
    for field in
        ["organizationName", "agenticJobId", "squadRole", "credentialAlias", "subscriptionTier", "systemFingerprint"]
    {
        let found = wires(&format!(r#"{{"{field}":"x"}}"#));
        assert_eq!(found, [field]);
        assert!(of_metadata(field).is_some(), "{field}");
    }
    assert_eq!(of_metadata("promptId"), None);
    let told = Metadata::from_json(r#"{"subscriber":{"credential":{"name":"n","value":"secret"}}}"#);
    let told: Vec<_> = told.told().collect();
    assert_eq!(told, [("subscriber", Told::Subscriber { id: None, email: None, credential: Some("n") })]);
}
