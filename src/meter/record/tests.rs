use super::super::metadata::tests::any_object;
use super::super::{Metadata, RecentIds, Times};
use super::*;
use crate::common::error::{Code, Error, HttpError};
use crate::common::json::object::Object;
use crate::messages::RequestFacts;
use crate::messages::Summary;
use crate::messages::summary::Usage;
use crate::settings::Provider;
use crate::settings::{CallKey, IdempotencyKey};
use proptest::prelude::*;
use serde_json::json;
use std::collections::HashSet;
use std::time::{Duration, UNIX_EPOCH};

const REQUIRED: [&str; 13] = [
    "transactionId",
    "model",
    "provider",
    "inputTokenCount",
    "outputTokenCount",
    "totalTokenCount",
    "requestTime",
    "responseTime",
    "completionStartTime",
    "requestDuration",
    "isStreamed",
    "stopReason",
    "costType",
];

fn facts_of(body: &str) -> RequestFacts {
    RequestFacts::of(&Object::parse(body).unwrap())
}

/// A call that owns what it borrows.
struct Sample {
    provider: Provider,
    batch: Option<&'static str>,
    key: Option<CallKey>,
    request: RequestFacts,
    metadata: Metadata,
    streamed: bool,
    first_token: Option<Duration>,
    summary: Option<Summary>,
    error: Option<Error>,
    cancelled: bool,
    called_model: Option<&'static str>,
    region: Option<&'static str>,
    estimated_output: Option<i64>,
    mark_unbilled_refusals: bool,
}

impl Default for Sample {
    fn default() -> Sample {
        let tokens = Tokens { input: Some(12), output: Some(7), ..Default::default() };
        Sample {
            provider: Provider::Anthropic,
            batch: None,
            key: None,
            request: RequestFacts { model: "claude-sonnet-4-5".into(), ..Default::default() },
            metadata: Metadata::default(),
            streamed: false,
            first_token: None,
            summary: Some(Summary {
                id: Some("msg_01".into()),
                model: Some("claude-sonnet-4-5-20250929".into()),
                stop_reason: Some("end_turn".into()),
                usage: Usage { tokens, ..Default::default() },
                ..Default::default()
            }),
            error: None,
            cancelled: false,
            called_model: None,
            region: None,
            estimated_output: None,
            mark_unbilled_refusals: true,
        }
    }
}

impl Sample {
    fn told(text: &str) -> Sample {
        Sample { metadata: Metadata::from_json(text), ..Default::default() }
    }

    fn failed(error: Error) -> Sample {
        Sample { summary: None, error: Some(error), ..Default::default() }
    }

    fn usage(mut self, change: impl FnOnce(&mut Usage)) -> Sample {
        change(&mut self.summary.as_mut().unwrap().usage);
        self
    }

    fn records(&self) -> Vec<Record> {
        self.records_after(&RecentIds::default())
    }

    fn records_after(&self, recent_ids: &RecentIds) -> Vec<Record> {
        records(&CallFacts {
            provider: self.provider,
            batch: self.batch,
            prompts: None,
            capture: Default::default(),
            key: self.key.as_ref(),
            request: &self.request,
            metadata: &self.metadata,
            streamed: self.streamed,
            times: Times {
                started: UNIX_EPOCH + Duration::from_millis(1_795_392_233_412),
                first_token: self.first_token,
                ended: Duration::from_micros(185_999),
            },
            summary: self.summary.as_ref(),
            end: match &self.error {
                Some(error) => End::Failed(error),
                None if self.cancelled => End::Cancelled,
                None => End::Complete,
            },
            called_model: self.called_model,
            region: self.region,
            recent_ids,
            estimated_output: self.estimated_output,
            mark_unbilled_refusals: self.mark_unbilled_refusals,
            middleware_source: "revenium-anthropic-c",
        })
    }

    fn main(&self) -> Json {
        parse(&self.records()[0])
    }
}

fn parse(record: &Record) -> Json {
    serde_json::from_slice(&record.body).unwrap()
}

#[track_caller]
fn assert_has(record: &Json, expected: Json) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(record.get(name).unwrap_or(&Json::Null), value, "{name}");
    }
}

#[test]
fn a_plain_call_is_exactly_this() {
    assert_eq!(
        Sample::default().main(),
        json!({
            "transactionId": "msg_01", "model": "claude-sonnet-4-5-20250929", "provider": "ANTHROPIC",
            "modelSource": "ANTHROPIC", "middlewareSource": "revenium-anthropic-c", "costType": "AI",
            "operationType": "CHAT", "isStreamed": false, "stopReason": "END",
            "requestTime": "2026-11-23T00:03:53.412Z", "responseTime": "2026-11-23T00:03:53.597Z",
            "completionStartTime": "2026-11-23T00:03:53.597Z", "requestDuration": 185, "timeToFirstToken": 185,
            "inputTokenCount": 12, "outputTokenCount": 7, "totalTokenCount": 19, "retryNumber": 0,
        })
    );
}

#[test]
fn tokens_are_split_as_the_provider_splits_them() {
    let sample = Sample::default().usage(|usage| {
        usage.tokens.cache_creation = Some(248);
        usage.tokens.cache_creation_5m = Some(248);
        usage.tokens.cache_creation_1h = Some(0);
        usage.tokens.cache_read = Some(1800);
        usage.thinking_tokens = Some(5);
        usage.service_tier = Some("standard".into());
    });
    assert_has(
        &sample.main(),
        json!({
            "inputTokenCount": 12, "outputTokenCount": 7, "totalTokenCount": 19, "reasoningTokenCount": 5,
            "cacheCreationTokenCount": 248, "cacheReadTokenCount": 1800, "cacheCreation5mTokenCount": 248,
            "cacheCreation1hTokenCount": 0, "actualServiceTier": "standard",
        }),
    );
}

#[test]
fn streams_carry_their_first_token_when_one_came() {
    let mut sample = Sample { streamed: true, ..Default::default() };
    assert_has(
        &sample.main(),
        json!({
            "isStreamed": true, "timeToFirstToken": null, "completionStartTime": "2026-11-23T00:03:53.597Z",
        }),
    );
    sample.first_token = Some(Duration::from_millis(100));
    assert_has(
        &sample.main(),
        json!({
            "timeToFirstToken": 100, "completionStartTime": "2026-11-23T00:03:53.512Z", "requestDuration": 185,
        }),
    );
}

#[test]
fn the_request_shows() {
    let body = r#"{"model":"m","temperature":0.30,"service_tier":"auto","tools":[{"name":"t"}],
        "messages":[{"role":"user","content":[{"type":"image"}]}]}"#;
    let told = r#"{"temperature":0.9,"requestedServiceTier":"x","actual_service_tier":"y"}"#;
    let sample = Sample { request: facts_of(body), ..Sample::told(told) };
    assert_has(
        &sample.main(),
        json!({
            "operationType": "TOOL_CALL", "hasVisionContent": true, "temperature": 0.3, "requestedServiceTier": "auto",
            "actualServiceTier": "y", "model": "claude-sonnet-4-5-20250929",
        }),
    );
    let silent = Sample::told(told).main();
    assert_has(&silent, json!({"temperature": 0.9, "requestedServiceTier": "x", "hasVisionContent": null}));
}

#[test]
fn what_sets_the_price_shows_unless_the_metadata_says_otherwise() {
    let body = r#"{"model":"m","speed":"fast","service_tier":"batch","output_config":{"effort":"high"}}"#;
    let asked = || Sample { request: facts_of(body), ..Default::default() };
    assert_has(&asked().main(), json!({"speed": "fast", "effort": "high", "pricingTier": "BATCH"}));
    let served = asked().usage(|usage| {
        usage.speed = Some("standard".into());
        usage.service_tier = Some("standard".into());
    });
    assert_has(&served.main(), json!({"speed": "standard", "effort": "high", "pricingTier": null}));
    let batch = Sample::default().usage(|usage| usage.service_tier = Some("Batch".into()));
    assert_has(&batch.main(), json!({"actualServiceTier": "Batch", "pricingTier": "BATCH", "effort": null}));
    let told = Sample::told(r#"{"speed":"slow","effort":"low","pricing_tier":"standard"}"#);
    let told = Sample { request: facts_of(body), ..told };
    assert_has(&told.main(), json!({"speed": "slow", "effort": "low", "pricingTier": "STANDARD"}));
    // What Revenium would refuse the record for.
    let odd = facts_of(r#"{"model":"m","speed":"very fast","output_config":{"effort":"12345678901234567"}}"#);
    let odd = Sample { request: odd, ..Default::default() }.usage(|usage| usage.speed = Some("a\nb".into()));
    assert_has(&odd.main(), json!({"speed": null, "effort": null}));
}

#[test]
fn what_is_billed_beside_tokens_goes_along() {
    let sample = Sample::default().usage(|usage| {
        usage.inference_geo = Some("us".into());
        usage.server_tools = vec![("web_search_requests".into(), 3), ("web_fetch_requests".into(), 1)];
        usage.iterations = vec![Iteration { kind: "compaction".into(), ..Iteration::default() }];
    });
    let records = sample.records();
    let expected = json!({"webSearchRequests": 3, "webFetchRequests": 1, "inferenceGeo": "us"});
    assert_has(&parse(&records[0]), json!({"attributes": expected}));
    assert_has(&parse(&records[1]), json!({"attributes": null}));
    assert_has(&Sample::default().main(), json!({"attributes": null}));
    assert_eq!(camel("_odd__name_"), "oddName");
}

#[test]
fn an_estimate_is_marked() {
    let error = Some(Error::new(Code::Stream, "it broke"));
    let sample = Sample { error, estimated_output: Some(600), streamed: true, ..Default::default() };
    let expected = json!({
        "outputTokenCount": 600, "totalTokenCount": 612, "attributes": {"outputTokensEstimated": true},
    });
    assert_has(&sample.main(), expected);
}

#[test]
fn a_refusal_without_output_is_not_billed() {
    let refused = |output, text| {
        let mut sample = Sample::default().usage(|usage| usage.tokens.output = output);
        let summary = sample.summary.as_mut().unwrap();
        summary.stop_reason = Some("refusal".into());
        summary.written.text = text;
        sample
    };
    let skipped = json!({"billingSkipped": true, "skipReason": "CONTENT_POLICY_VIOLATION", "stopReason": "ERROR"});
    let billed = json!({"billingSkipped": null, "skipReason": null});
    assert_has(&refused(Some(0), 0).main(), skipped.clone());
    assert_has(&refused(None, 0).main(), skipped);
    assert_has(&refused(Some(5), 0).main(), billed.clone());
    assert_has(&refused(Some(0), 5).main(), billed.clone());
    assert_has(&Sample { provider: Provider::Bedrock, ..refused(Some(0), 0) }.main(), billed.clone());
    assert_has(&Sample { mark_unbilled_refusals: false, ..refused(Some(0), 0) }.main(), billed.clone());
    assert_has(&Sample { cancelled: true, ..refused(Some(0), 0) }.main(), billed.clone());
    assert_has(&Sample::default().usage(|usage| usage.tokens.output = Some(0)).main(), billed);
}

#[test]
fn nothing_of_a_provider_is_longer_than_revenium_stores() {
    let long = "é".repeat(3000);
    let mut sample = Sample { region: Some("x"), ..Default::default() }.usage(|usage| {
        usage.service_tier = Some(long.clone());
        usage.inference_geo = Some(long.clone());
        let entry = |model| Iteration { kind: "advisor_message".into(), model, ..Iteration::default() };
        usage.iterations = vec![entry(Some(long.clone())), entry(None)];
        usage.iterations.resize(120, entry(None));
    });
    let summary = sample.summary.as_mut().unwrap();
    (summary.id, summary.model) = (Some(format!(" {long}")), Some(long.clone()));
    sample.request = RequestFacts { model: long.clone(), service_tier: Some(long.clone()), ..Default::default() };
    sample.request.advisor_model = Some(long.clone());
    let ids = RecentIds::default();
    let mut all = sample.records_after(&ids);
    all.extend(sample.records_after(&ids));
    sample.request.advisor_model = None;
    sample.summary = None;
    all.extend(sample.records());
    for record in &all {
        for (name, value) in parse(record).as_object().unwrap() {
            assert!(value.as_str().is_none_or(|text| text.chars().count() <= 255), "{name}");
        }
        assert!(parse(record)["attributes"]["inferenceGeo"].as_str().is_none_or(|geo| geo.chars().count() <= 255));
    }
    let distinct: HashSet<_> = all.iter().map(|record| &record.transaction_id).collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn metadata_shows() {
    let sample = Sample::told(
        r#"{"organizationId":"org","trace_type":"wf_1","taskType":"summ","retry_number":"3",
        "credential_alias":"key","operation_type":"EMBED","provider":"X","transaction_id":"t","stopReason":"x",
        "inputTokenCount":99,"operationSubtype":"sub","parentTransactionId":"p","mediation_latency":5}"#,
    );
    let record = sample.main();
    assert_has(
        &record,
        json!({
            "organizationName": "org", "traceType": "wf_1", "taskType": "summ", "transactionName": "summ",
            "retryNumber": 3, "subscriber": {"credential": {"name": "key"}}, "operationType": "CHAT",
            "provider": "ANTHROPIC", "transactionId": "msg_01", "stopReason": "END", "inputTokenCount": 12,
            "operationSubtype": "sub", "parentTransactionId": "p", "mediationLatency": 5,
        }),
    );
    for absent in ["organizationId", "productId", "credentialAlias", "usage_metadata"] {
        assert!(record.get(absent).is_none(), "{absent}");
    }
    let known =
        Sample::told(r#"{"credentialAlias":"key","subscriber":{"id":"s"},"transactionName":"tn","taskType":"t"}"#);
    assert_has(&known.main(), json!({"subscriber": {"id": "s"}, "transactionName": "tn"}));
}

#[test]
fn the_region_called_stands_in_for_a_region_told() {
    let sample = Sample { region: Some("eu-west-1"), ..Default::default() };
    assert_has(&sample.main(), json!({"region": "eu-west-1"}));
    let sample = Sample { region: Some("eu-west-1"), ..Sample::told(r#"{"region":"mars"}"#) };
    assert_has(&sample.main(), json!({"region": "mars"}));
}

#[test]
fn bedrock_records_name_the_id_called() {
    let profile = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-x-v1:0";
    let application = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc";
    let replied = "claude-sonnet-4-5-20250929";
    for (provider, called, summary, expected) in [
        (Provider::Bedrock, Some("us.anthropic.claude-x-v1:0"), true, "us.anthropic.claude-x-v1:0"),
        (Provider::Bedrock, Some(profile), true, "eu.anthropic.claude-x-v1:0"),
        (Provider::Bedrock, Some(application), true, replied),
        (Provider::Bedrock, Some(application), false, application),
        (Provider::Bedrock, None, true, replied),
        // Bedrock failed and the direct API answered.
        (Provider::Anthropic, Some("us.anthropic.claude-x-v1:0"), true, replied),
        (Provider::Anthropic, Some("us.anthropic.claude-x-v1:0"), false, "claude-sonnet-4-5"),
    ] {
        let mut sample = Sample { provider, called_model: called, ..Default::default() };
        sample.summary = sample.summary.filter(|_| summary);
        let provider = if provider == Provider::Bedrock { "AWS" } else { "ANTHROPIC" };
        assert_has(&sample.main(), json!({"model": expected, "provider": provider}));
    }
    let nameless = Sample { request: RequestFacts::default(), summary: None, ..Default::default() };
    assert_has(&nameless.main(), json!({"model": "unknown"}));
}

#[test]
fn a_provider_is_called_as_revenium_calls_it() {
    for (provider, name) in [(Provider::Vertex, "Google"), (Provider::Foundry, "Foundry")] {
        let sample = Sample { provider, ..Default::default() };
        assert_has(&sample.main(), json!({"provider": name, "modelSource": "ANTHROPIC"}));
    }
}

#[test]
fn an_answer_of_a_batch_has_a_transaction_id_that_does_not_change() {
    let ids = RecentIds::default();
    let sample = Sample { batch: Some("msgbatch_1-a"), ..Sample::told(r#"{"pricingTier":"standard"}"#) };
    for _ in 0..2 {
        let record = &sample.records_after(&ids)[0];
        assert_eq!(record.transaction_id, "msgbatch_1-a");
        assert_eq!(record.idempotency_key, "msgbatch_1-a");
        assert_has(&parse(record), json!({"transactionId": "msgbatch_1-a", "pricingTier": "BATCH"}));
    }
    assert_has(&Sample::told(r#"{"pricingTier":"batch"}"#).main(), json!({"pricingTier": "BATCH"}));
}

#[test]
fn a_key_that_the_host_chose_is_that_of_its_records() {
    let key = IdempotencyKey::new("job").unwrap();
    let mut sample = Sample { key: Some(key.next()), ..Default::default() }.usage(|usage| {
        usage.iterations = vec![Iteration { kind: "compaction".into(), ..Iteration::default() }];
    });
    let keys = |sample: &Sample| sample.records().into_iter().map(|record| record.idempotency_key).collect::<Vec<_>>();
    assert_eq!(keys(&sample), ["job", "job-iteration-0"]);
    sample.key = Some(key.next());
    assert_eq!(keys(&sample), ["job:2", "job:2-iteration-0"]);
    let failed = Sample { key: Some(key.next()), ..Sample::failed(Error::new(Code::Connection, "no")) };
    assert!(keys(&failed)[0].starts_with("job:err:"));
}

#[test]
fn failed_calls() {
    let http = HttpError { status: 429, body: b"secret-word".to_vec(), retry_after_ms: None };
    let sample = Sample::failed(Error::new(Code::RateLimit, "secret-word").with_http(http));
    let record = &sample.records()[0];
    assert_has(
        &parse(record),
        json!({
            "stopReason": "ERROR", "errorReason": "RateLimitError (HTTP 429)", "errorCode": 429,
            "model": "claude-sonnet-4-5", "inputTokenCount": 0, "outputTokenCount": 0, "totalTokenCount": 0,
            "cacheReadTokenCount": null, "timeToFirstToken": 185,
        }),
    );
    assert!(!String::from_utf8_lossy(&record.body).contains("secret-word"));
    let key = record.idempotency_key.strip_prefix("err:").unwrap();
    assert!(key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
    assert!(Uuid::parse_str(&record.transaction_id).is_ok());
}

#[test]
fn broken_and_cancelled_streams_keep_what_they_used() {
    let error = Some(Error::new(Code::Stream, "it broke"));
    let broken = Sample { streamed: true, error, ..Default::default() };
    assert_has(
        &broken.main(),
        json!({
            "transactionId": "msg_01", "stopReason": "ERROR", "errorReason": "RemoteProtocolError", "errorCode": null,
            "totalTokenCount": 19, "model": "claude-sonnet-4-5-20250929",
        }),
    );
    let mut cancelled = Sample { streamed: true, cancelled: true, ..Default::default() };
    assert_has(&cancelled.main(), json!({"stopReason": "CANCELLED", "errorReason": null, "totalTokenCount": 19}));
    assert_eq!(cancelled.records()[0].idempotency_key.len(), 32);
    cancelled.summary = None;
    assert!(Uuid::parse_str(&cancelled.records()[0].transaction_id).is_ok());
}

#[test]
fn ids_and_keys_are_never_reused() {
    let mut nameless = Sample::default();
    nameless.summary.as_mut().unwrap().id = Some(" ".into());
    let (first, second) = (nameless.records().remove(0), nameless.records().remove(0));
    let id = first.transaction_id.strip_prefix("anthropic-").unwrap();
    assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(parse(&first)["transactionId"], first.transaction_id.as_str());
    assert_ne!(first.transaction_id, second.transaction_id);
    assert_ne!(first.idempotency_key, second.idempotency_key);
    for (id, is_key) in [("msg_01-iteration-0", true), ("with space", false), ("é", false)] {
        assert_eq!(key_of(id) == id, is_key, "{id}");
    }
    assert_eq!(key_of(&"x".repeat(256)).len(), 32);
}

#[test]
fn a_message_id_that_comes_again_is_told_apart() {
    let ids = RecentIds::default();
    let mut sample = Sample::default();
    sample.summary.as_mut().unwrap().usage.iterations =
        vec![Iteration { kind: "compaction".into(), ..Iteration::default() }];
    let (first, second) = (sample.records_after(&ids), sample.records_after(&ids));
    assert_eq!(first[0].transaction_id, "msg_01");
    assert!(second[0].transaction_id.starts_with("msg_01-"), "{}", second[0].transaction_id);
    for (first, second) in first.iter().zip(&second) {
        assert_ne!(first.transaction_id, second.transaction_id);
        assert_ne!(first.idempotency_key, second.idempotency_key);
    }
}

#[test]
fn billed_iterations_have_records_of_their_own() {
    let entry = |kind: &str, model: Option<&str>, input| Iteration {
        kind: kind.into(),
        model: model.map(Into::into),
        tokens: Tokens { input: Some(input), output: Some(2), cache_read: Some(3), ..Default::default() },
    };
    let mut sample = Sample::told(r#"{"agent":"a","parentTransactionId":"p","operationSubtype":"s"}"#).usage(|usage| {
        usage.iterations = vec![
            entry("message", None, 1),
            entry("advisor_message", Some("claude-opus-4-6"), 10),
            entry("fallback_message", Some("claude-x"), 1),
            entry("advisor_message", None, 20),
            entry("compaction", Some(""), 30),
        ];
    });
    sample.summary.as_mut().unwrap().stop_reason = Some("max_tokens".into());
    sample.request.advisor_model = Some("claude-opus-4-5".into());
    let records = sample.records();
    assert_has(&parse(&records[0]), json!({"stopReason": "TOKEN_LIMIT", "totalTokenCount": 19}));
    let expected = [
        ("msg_01-iteration-1", "advisor_message", "claude-opus-4-6", 10),
        ("msg_01-iteration-3", "advisor_message", "claude-opus-4-5", 20),
        ("msg_01-iteration-4", "compaction", "claude-sonnet-4-5", 30),
    ];
    assert_eq!(records.len(), 1 + expected.len());
    for (record, (id, kind, model, input)) in records[1..].iter().zip(expected) {
        assert_eq!((record.transaction_id.as_str(), record.idempotency_key.as_str()), (id, id));
        assert_has(
            &parse(record),
            json!({
                "transactionId": id, "parentTransactionId": "msg_01", "operationSubtype": kind, "model": model,
                "stopReason": "END", "inputTokenCount": input, "outputTokenCount": 2, "totalTokenCount": input + 2,
                "cacheReadTokenCount": 3, "cacheCreationTokenCount": null, "agent": "a", "requestDuration": 185,
            }),
        );
    }
}

proptest! {
    #[test]
    fn records_are_whole_whatever_is_told(
        layers in prop::collection::vec(any_object(), 1..4),
        tokens in any::<[Option<i64>; 4]>(),
        ended in 0..3,
        streamed: bool,
    ) {
        let metadata = layers.iter().fold(Metadata::default(), |all, layer| all.overlay(&Metadata::from_json(layer)));
        let [input, output, cache_read, thinking_tokens] = tokens;
        let mut sample = Sample { metadata, streamed, cancelled: ended == 1, ..Default::default() }.usage(|usage| {
            usage.tokens = Tokens { input, output, cache_read, ..Default::default() };
            usage.thinking_tokens = thinking_tokens;
            usage.iterations = vec![Iteration { kind: "compaction".into(), ..Default::default() }];
        });
        sample.error = (ended == 2).then(|| Error::new(Code::Connection, "no"));
        for record in sample.records() {
            let parsed = parse(&record);
            for name in REQUIRED {
                prop_assert!(parsed.get(name).is_some_and(|value| !value.is_null()), "{}", name);
            }
            let mut names = HashSet::new();
            let body = std::str::from_utf8(&record.body).unwrap();
            crate::common::json::object::members(body, |name, _| assert!(names.insert(name.get()), "{name} twice"));
            for (name, value) in parsed.as_object().unwrap() {
                prop_assert!(!value.is_null(), "{} is null", name);
                prop_assert!(value.as_i64().is_none_or(|number| number >= 0) || name == "temperature"
                    || name == "costMultiplier" || name == "responseQualityScore", "{} is negative", name);
                prop_assert!(value.as_str().is_none_or(|text| text.chars().count() <= 256 || name == "organizationName"), "{} is long", name);
            }
        }
    }
}
