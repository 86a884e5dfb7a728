//! One call as a span.

use super::attributes as name;
use super::content;
use super::otlp::{KIND_CLIENT, KIND_INTERNAL, KeyValue, Resource, STATUS_ERROR, Span, Status, Value};
use crate::common::trace_context::{SpanId, TraceContext};
use crate::messages::{Iteration, Tokens};
use crate::meter::{self, CallFacts, End, Metadata, Times, Told, ToolEvent};
use crate::settings::Settings;
use serde_json::value::RawValue;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Text of the request or the reply is cut at so many characters; our metadata is shorter by itself.
const MAX_TEXT: usize = 255;
/// The Messages API takes fewer.
const MAX_STOP_SEQUENCES: usize = 32;

/// A span that has begun: its ids, which the provider gets.
pub struct Begun {
    pub context: TraceContext,
    parent: Option<SpanId>,
}

impl Begun {
    pub(super) fn new(parent: Option<&TraceContext>) -> Begun {
        let context = parent.map_or_else(TraceContext::root, TraceContext::child);
        Begun { context, parent: parent.map(|parent| parent.span_id) }
    }
}

/// What is known of the answer beside what the record says.
#[derive(Clone, Copy, Default)]
pub struct Answered<'a> {
    /// The main record's, where there is one.
    pub transaction_id: Option<&'a str>,
    /// Who was asked: host and port.
    pub server: Option<(&'a str, u16)>,
    pub request_id: Option<&'a str>,
    /// Anthropic's name for whose key it was.
    pub organization_id: Option<&'a str>,
}

/// What all spans of this process have in common.
pub(super) fn resource(settings: &Settings) -> Resource {
    let mut attributes: Vec<(String, String)> = settings.otlp_resource_attributes.clone();
    let mut put = |key: &str, value: &str, over: bool| match attributes.iter_mut().find(|(known, _)| known == key) {
        Some((_, known)) if over => value.clone_into(known),
        Some(_) => {}
        None => attributes.push((key.to_owned(), value.to_owned())),
    };
    match &settings.otlp_service_name {
        Some(service) => put("service.name", service, true),
        None => put("service.name", &unknown_service(), false),
    }
    put("telemetry.sdk.name", "librevenium", true);
    put("telemetry.sdk.language", "rust", true);
    put("telemetry.sdk.version", env!("CARGO_PKG_VERSION"), true);
    Resource { attributes: attributes.into_iter().map(|(key, text)| KeyValue::new(&key, Value::Text(text))).collect() }
}

/// As OpenTelemetry's SDKs call a service that has no name.
fn unknown_service() -> String {
    let program = std::env::current_exe().ok();
    match program.as_deref().and_then(|path| path.file_name()?.to_str()) {
        Some(program) => format!("unknown_service:{program}"),
        None => "unknown_service".to_owned(),
    }
}

/// Attributes as they come.
#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn put(&mut self, key: &str, value: Value) {
        self.0.push(KeyValue::new(key, value));
    }

    fn text(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.put(key, Value::Text(cut(text).to_owned()));
        }
    }

    fn integer(&mut self, key: &str, number: Option<i64>) {
        if let Some(number) = number {
            self.put(key, Value::Integer(number));
        }
    }

    fn number(&mut self, key: &str, number: Option<f64>) {
        if let Some(number) = number {
            self.put(key, Value::Number(number));
        }
    }
}

/// What the settings say about all spans.
#[derive(Clone, Copy)]
pub(super) struct Detail {
    pub both_names: bool,
    pub content: bool,
}

pub(super) fn of(begun: &Begun, call: &CallFacts<'_>, answered: &Answered<'_>, detail: Detail) -> Span {
    let mut attributes = Attributes(Vec::with_capacity(40));
    request(&mut attributes, call);
    reply(&mut attributes, call, detail.both_names);
    if detail.content {
        said(&mut attributes, call);
    }
    let (address, port) = answered.server.unzip();
    attributes.text(name::SERVER_ADDRESS, address);
    attributes.integer(name::SERVER_PORT, port.map(i64::from));
    attributes.text(name::REQUEST_ID, answered.request_id);
    attributes.text(name::ORGANIZATION_ID, answered.organization_id);
    let status = failure(&mut attributes, call);
    attributes.text(name::TRANSACTION_ID, answered.transaction_id);
    attributes.text(name::MIDDLEWARE_SOURCE, Some(call.middleware_source));
    metadata(&mut attributes, call.metadata);

    let name = named("chat", &call.request.model);
    let Times { started, ended, .. } = call.times;
    Span { name, kind: KIND_CLIENT, attributes: attributes.0, status, ..begun.span(started, ended) }
}

/// One use of a tool is work of the host's own.
pub(super) fn of_tool(begun: &Begun, event: &ToolEvent, transaction_id: Option<&str>, source: &str) -> Span {
    let mut attributes = Attributes::default();
    attributes.text(name::OPERATION_NAME, Some("execute_tool"));
    attributes.text(name::TOOL_NAME, Some(&event.tool));
    attributes.text(name::ERROR_TYPE, event.error_type.as_deref());
    attributes.text(name::TRANSACTION_ID, transaction_id);
    attributes.text(name::MIDDLEWARE_SOURCE, Some(source));
    metadata(&mut attributes, &event.metadata);
    let name = named("execute_tool", &event.tool);
    let status = event.error_type.as_deref().map(|kind| Status { message: cut(kind).to_owned(), code: STATUS_ERROR });
    Span { name, kind: KIND_INTERNAL, attributes: attributes.0, status, ..begun.span(event.started, event.duration) }
}

fn named(operation: &str, what: &str) -> String {
    if what.is_empty() { operation.to_owned() } else { format!("{operation} {}", cut(what)) }
}

impl Begun {
    /// Where it stands in its trace, and when it was.
    fn span(&self, started: SystemTime, took: Duration) -> Span {
        let started = nanos(started);
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        Span {
            trace_id: self.context.trace_id.0.to_vec(),
            span_id: self.context.span_id.0.to_vec(),
            trace_state: self.context.tracestate().unwrap_or_default().to_owned(),
            parent_span_id: self.parent.map(|parent| parent.0.to_vec()).unwrap_or_default(),
            start_time_unix_nano: started,
            end_time_unix_nano: started.saturating_add(took),
            flags: 1,
            ..Span::default()
        }
    }
}

/// What was asked and answered, where it was captured.
fn said(attributes: &mut Attributes, call: &CallFacts<'_>) {
    let Some(prompts) = call.prompts else { return };
    let mut put = |key, text: Option<String>| {
        if let Some(text) = text {
            attributes.put(key, Value::Text(text));
        }
    };
    put(name::SYSTEM_INSTRUCTIONS, prompts.system.as_deref().map(content::system));
    put(name::INPUT_MESSAGES, prompts.input.as_deref().and_then(content::input));
    let reason = finish_reason(call).unwrap_or_default();
    put(name::OUTPUT_MESSAGES, prompts.blocks.as_deref().and_then(|blocks| content::output(blocks, reason)));
}

fn finish_reason<'a>(call: &CallFacts<'a>) -> Option<&'a str> {
    match call.end {
        End::Complete => call.summary.and_then(|summary| summary.stop_reason.as_deref()),
        End::Cancelled | End::Failed(_) => Some("error"),
    }
}

fn request(attributes: &mut Attributes, call: &CallFacts<'_>) {
    let (request, asked) = (call.request, &call.request.asked);
    attributes.text(name::OPERATION_NAME, Some("chat"));
    attributes.text(name::PROVIDER_NAME, Some(call.provider.row().otel));
    attributes.text(name::REQUEST_MODEL, Some(&request.model));
    if call.streamed {
        attributes.put(name::REQUEST_STREAM, Value::Flag(true));
    }
    attributes.integer(name::REQUEST_MAX_TOKENS, asked.max_tokens);
    attributes.number(name::REQUEST_TEMPERATURE, request.temperature.as_deref().and_then(json));
    attributes.number(name::REQUEST_TOP_P, asked.top_p);
    attributes.integer(name::REQUEST_TOP_K, asked.top_k);
    let stops: Vec<String> = asked.stop_sequences.as_deref().and_then(json).unwrap_or_default();
    if !stops.is_empty() {
        let stops = stops.iter().take(MAX_STOP_SEQUENCES).map(|stop| cut(stop).to_owned());
        attributes.put(name::REQUEST_STOP_SEQUENCES, Value::list(stops));
    }
    attributes.text(name::REQUEST_REASONING_LEVEL, request.effort.as_deref());
    attributes.text(name::REQUEST_SERVICE_TIER, request.service_tier.as_deref());
    attributes.text(name::THINKING_TYPE, asked.thinking_type.as_deref());
    attributes.integer(name::THINKING_BUDGET, asked.thinking_budget);
}

fn json<'a, T: serde::Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

fn reply(attributes: &mut Attributes, call: &CallFacts<'_>, both_names: bool) {
    let summary = call.summary;
    let of = |text: fn(&crate::messages::Summary) -> &Option<String>| summary.and_then(|s| text(s).as_deref());
    attributes.text(name::RESPONSE_ID, of(|summary| &summary.id));
    attributes.text(name::RESPONSE_MODEL, of(|summary| &summary.model));
    if let Some(reason) = finish_reason(call) {
        attributes.put(name::RESPONSE_FINISH_REASONS, Value::list([cut(reason).to_owned()]));
    }
    attributes.text(name::STOP_REASON, of(|summary| &summary.stop_reason));
    let first = call.times.first_token.filter(|_| call.streamed);
    attributes.number(name::RESPONSE_TIME_TO_FIRST_CHUNK, first.as_ref().map(Duration::as_secs_f64));

    let Some(usage) = summary.map(|summary| &summary.usage) else { return };
    let tokens = &usage.tokens;
    attributes.integer(name::USAGE_INPUT_TOKENS, whole_input(tokens));
    attributes.integer(name::USAGE_OUTPUT_TOKENS, tokens.output);
    attributes.integer(name::USAGE_CACHE_READ, tokens.cache_read);
    attributes.integer(name::USAGE_CACHE_WRITE, tokens.cache_creation);
    attributes.integer(name::USAGE_CACHE_CREATION, tokens.cache_creation.filter(|_| both_names));
    attributes.integer(name::CACHE_WRITE_5M, tokens.cache_creation_5m);
    attributes.integer(name::CACHE_WRITE_1H, tokens.cache_creation_1h);
    attributes.integer(name::USAGE_REASONING, usage.thinking_tokens);
    attributes.text(name::RESPONSE_SERVICE_TIER, usage.service_tier.as_deref());
    let compactions = || usage.iterations.iter().filter(|iteration| iteration.kind == "compaction");
    attributes.integer(name::COMPACTION_INPUT, sum(compactions().map(|iteration| whole_input(&iteration.tokens))));
    let output = |iteration: &Iteration| iteration.tokens.output;
    attributes.integer(name::COMPACTION_OUTPUT, sum(compactions().map(output)));
}

/// The conventions count what comes from and goes to a cache into the input, the Messages API does not.
fn whole_input(tokens: &Tokens) -> Option<i64> {
    sum([tokens.input, tokens.cache_read, tokens.cache_creation].into_iter())
}

fn sum(parts: impl Iterator<Item = Option<i64>>) -> Option<i64> {
    parts.flatten().reduce(i64::saturating_add)
}

/// Never the error's own words: they can quote the prompt.
fn failure(attributes: &mut Attributes, call: &CallFacts<'_>) -> Option<Status> {
    let (kind, message) = match call.end {
        End::Complete => return None,
        End::Cancelled => ("cancelled", "The call was cancelled.".to_owned()),
        End::Failed(error) => (error.code.error_type(), meter::error_reason(error)),
    };
    attributes.text(name::ERROR_TYPE, Some(kind));
    Some(Status { message, code: STATUS_ERROR })
}

fn metadata(attributes: &mut Attributes, metadata: &Metadata) {
    for (field, told) in metadata.told() {
        match told {
            Told::Subscriber { id, email, credential } => {
                attributes.text(name::SUBSCRIBER_ID, id);
                attributes.text(name::SUBSCRIBER_EMAIL, email);
                attributes.text(name::SUBSCRIBER_CREDENTIAL, credential);
            }
            Told::Text(text) => {
                if let Some(key) = name::of_metadata(field) {
                    attributes.text(key, Some(text));
                }
            }
            Told::Integer(number) => {
                if let Some(key) = name::of_metadata(field) {
                    attributes.integer(key, Some(number));
                }
            }
        }
    }
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(MAX_TEXT).map_or(text, |(end, _)| &text[..end])
}

fn nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
