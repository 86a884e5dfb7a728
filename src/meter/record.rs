//! Writing records.

use super::ending::{self, Failure};
use super::fields::{Field, Value};
use super::subscriber::Subscriber;
use super::time::Timestamps;
use super::value::cut;
use super::{CallFacts, End, Record, model};
use crate::common::json::writer::ObjectWriter;
use crate::messages::{Iteration, Tokens};
use serde_json::{Map, Value as Json};
use std::borrow::Cow;
use uuid::Uuid;

/// The main record, then one for each iteration that is billed on its own.
pub fn records(call: &CallFacts<'_>) -> Vec<Record> {
    let stamps = Timestamps::of(&call.times, call.streamed);
    let main = main(call, &stamps);
    let iterations = call.summary.map_or(&[][..], |summary| &summary.usage.iterations);
    let billed = iterations.iter().enumerate().filter(|(_, iteration)| is_billed(iteration));
    let more: Vec<_> = billed
        .map(|(at, entry)| iteration(call, &stamps, (&main.transaction_id, &main.idempotency_key), at, entry))
        .collect();
    let mut records = Vec::with_capacity(1 + more.len());
    records.push(main);
    records.extend(more);
    records
}

fn main(call: &CallFacts<'_>, stamps: &Timestamps) -> Record {
    let failure = ending::failure(call.end, call.capture);
    let transaction_id = transaction_id(call);
    let key = Uuid::new_v4().simple();
    let idempotency_key = match (call.key, call.batch, &failure) {
        (Some(chosen), ..) => chosen.of_record(failure.is_some()),
        // The results of a batch may be read again, elsewhere, too.
        (None, Some(id), _) => key_of(id),
        (None, None, Some(_)) => format!("err:{key}"),
        (None, None, None) => key.to_string(),
    };
    let usage = call.summary.map(|summary| &summary.usage);
    let mut tokens = usage.map(|usage| usage.tokens.clone()).unwrap_or_default();
    tokens.output = call.estimated_output.or(tokens.output);
    let body = write(
        call,
        stamps,
        &Part {
            transaction_id: &transaction_id,
            model: model::recorded(call),
            stop_reason: ending::stop_reason(call.end, call.summary),
            tokens: &tokens,
            thinking: usage.and_then(|usage| usage.thinking_tokens),
            failure: failure.as_ref(),
            iteration: None,
        },
    );
    Record { idempotency_key, body, transaction_id }
}

/// The message's id: it joins the record with the provider's logs. Never a constant, Revenium drops what it has seen.
fn transaction_id(call: &CallFacts<'_>) -> String {
    if let Some(id) = call.batch {
        return id.into();
    }
    let id = call.summary.and_then(|summary| summary.id.as_deref()).filter(|id| !id.trim().is_empty());
    match (id, call.end) {
        // Room for what may be appended, so that no id is longer than 255.
        (Some(id), _) => match cut(id.trim(), 220) {
            id if call.recent_ids.take(id) => id.into(),
            id => format!("{id}-{:08x}", Uuid::new_v4().as_fields().0),
        },
        (None, End::Complete) => format!("anthropic-{:016x}", Uuid::new_v4().as_u64_pair().0),
        (None, _) => Uuid::new_v4().to_string(),
    }
}

/// What another model did inside the call is not in the call's own usage.
fn is_billed(iteration: &Iteration) -> bool {
    matches!(iteration.kind.as_str(), "advisor_message" | "compaction")
}

/// `parent`: the main record's transaction id and idempotency key.
fn iteration(call: &CallFacts<'_>, stamps: &Timestamps, parent: (&str, &str), at: usize, entry: &Iteration) -> Record {
    let (parent, main_key) = parent;
    let transaction_id = format!("{parent}-iteration-{at}");
    let advisor = call.request.advisor_model.as_deref().filter(|_| entry.kind == "advisor_message");
    let body = write(
        call,
        stamps,
        &Part {
            transaction_id: &transaction_id,
            model: stored(entry.model.as_deref().or(advisor)).unwrap_or_else(|| model::requested(call)),
            stop_reason: "END",
            tokens: &entry.tokens,
            thinking: None,
            failure: None,
            iteration: Some((&entry.kind, parent)),
        },
    );
    let key = match call.key {
        Some(_) => key_of(&format!("{main_key}-iteration-{at}")),
        None => key_of(&transaction_id),
    };
    Record { idempotency_key: key, body, transaction_id }
}

/// The id itself where Revenium takes it as a key: 1 to 255 visible ASCII characters.
fn key_of(transaction_id: &str) -> String {
    match transaction_id.len() <= 255 && transaction_id.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => transaction_id.into(),
        false => Uuid::new_v4().simple().to_string(),
    }
}

/// Where the records of one call differ.
struct Part<'a> {
    transaction_id: &'a str,
    model: &'a str,
    stop_reason: &'static str,
    tokens: &'a Tokens,
    thinking: Option<i64>,
    failure: Option<&'a Failure>,
    /// The type of an iteration, and the main record it belongs to.
    iteration: Option<(&'a str, &'a str)>,
}

/// The fields that [`write()`] decides on; the other fields of the metadata go out as they are.
const DECIDED: &[Field] = &[
    Field::Subscriber,
    Field::CredentialAlias,
    Field::Region,
    Field::TransactionName,
    Field::ParentTransactionId,
    Field::RetryNumber,
    Field::OperationSubtype,
    Field::Temperature,
    Field::ActualServiceTier,
    Field::RequestedServiceTier,
    Field::Speed,
    Field::Effort,
    Field::PricingTier,
];

fn write(call: &CallFacts<'_>, stamps: &Timestamps, part: &Part<'_>) -> Vec<u8> {
    let (request, metadata, tokens) = (call.request, call.metadata, part.tokens);
    let count = |tokens: Option<i64>| tokens.map(|tokens| tokens.max(0));
    let (input, output) = (count(tokens.input).unwrap_or(0), count(tokens.output).unwrap_or(0));
    let mut object = ObjectWriter::new(1536);

    object.put("transactionId", part.transaction_id);
    object.put("model", part.model);
    object.put("provider", &call.provider.row().label);
    object.put("modelSource", "ANTHROPIC");
    object.put("middlewareSource", call.middleware_source);
    object.put("costType", "AI");
    object.put("operationType", if request.has_tools { "TOOL_CALL" } else { "CHAT" });
    object.put("isStreamed", &call.streamed);
    object.put("stopReason", part.stop_reason);

    object.put("requestTime", &stamps.request);
    object.put("responseTime", &stamps.response);
    object.put("completionStartTime", &stamps.completion_start);
    object.put("requestDuration", &stamps.duration);
    object.maybe("timeToFirstToken", stamps.time_to_first_token.as_ref());

    // Tokens written to or read from the cache are neither in the input nor in the total.
    object.put("inputTokenCount", &input);
    object.put("outputTokenCount", &output);
    object.put("totalTokenCount", &input.saturating_add(output));
    object.maybe("reasoningTokenCount", count(part.thinking).as_ref());
    object.maybe("cacheCreationTokenCount", count(tokens.cache_creation).as_ref());
    object.maybe("cacheReadTokenCount", count(tokens.cache_read).as_ref());
    object.maybe("cacheCreation5mTokenCount", count(tokens.cache_creation_5m).as_ref());
    object.maybe("cacheCreation1hTokenCount", count(tokens.cache_creation_1h).as_ref());

    object.maybe("errorReason", part.failure.map(|failure| failure.reason.as_str()));
    object.maybe("errorCode", part.failure.and_then(|failure| failure.code.as_ref()));
    object.maybe("hasVisionContent", request.has_vision.then_some(&true));
    match (&request.temperature, metadata.get(Field::Temperature)) {
        (Some(number), _) => object.put("temperature", number),
        (None, number) => object.maybe("temperature", number),
    }

    let told = |field| metadata.text(field).map(|text| &**text);
    let served = call.summary.and_then(|summary| summary.usage.service_tier.as_deref());
    object.maybe("actualServiceTier", stored(served).or(told(Field::ActualServiceTier)));
    let asked = request.service_tier.as_deref();
    object.maybe("requestedServiceTier", stored(asked).or(told(Field::RequestedServiceTier)));
    let speed = call.summary.and_then(|summary| summary.usage.speed.as_deref()).or(request.speed.as_deref());
    object.maybe("speed", told(Field::Speed).or(Field::Speed.fitting(speed)));
    object.maybe("effort", told(Field::Effort).or(Field::Effort.fitting(request.effort.as_deref())));
    let is_batch = served.or(asked).is_some_and(|tier| tier.trim().eq_ignore_ascii_case("batch"));
    let tier = told(Field::PricingTier).or(is_batch.then_some("BATCH"));
    object.maybe("pricingTier", call.batch.map(|_| "BATCH").or(tier));
    object.maybe("region", told(Field::Region).or(stored(call.region)));
    object.maybe("transactionName", told(Field::TransactionName).or(told(Field::TaskType)));
    let (kind, parent) = part.iteration.unzip();
    object.maybe("operationSubtype", kind.or(told(Field::OperationSubtype)));
    object.maybe("parentTransactionId", parent.or(told(Field::ParentTransactionId)));
    object.put("retryNumber", metadata.get(Field::RetryNumber).unwrap_or(&Value::Integer(0)));
    object.maybe("subscriber", subscriber(call).as_deref());
    if part.iteration.is_none() {
        let attributes = attributes(call);
        object.maybe("attributes", Some(&attributes).filter(|attributes| !attributes.is_empty()));
        if is_unbilled_refusal(call) {
            object.put("billingSkipped", &true);
            object.put("skipReason", "CONTENT_POLICY_VIOLATION");
        }
    }
    for (field, value) in metadata.iter().filter(|(field, _)| !DECIDED.contains(field)) {
        object.put(field.wire(), value);
    }
    if let Some(prompts) = call.prompts.filter(|_| part.iteration.is_none() && part.failure.is_none()) {
        object.maybe("systemPrompt", prompts.system.as_deref());
        object.maybe("inputMessages", prompts.input.as_deref());
        object.maybe("outputResponse", prompts.output.as_deref());
        object.put("promptsTruncated", &prompts.truncated);
    }
    object.finish()
}

/// What has no field of its own: where it was computed, and what was used beside tokens.
fn attributes(call: &CallFacts<'_>) -> Map<String, Json> {
    let mut attributes = Map::new();
    if let Some(usage) = call.summary.map(|summary| &summary.usage) {
        let tools = usage.server_tools.iter();
        attributes.extend(tools.map(|(name, count)| (camel(name), (*count).into())));
        let geo = stored(usage.inference_geo.as_deref());
        attributes.extend(geo.map(|geo| ("inferenceGeo".to_owned(), geo.into())));
    }
    if call.estimated_output.is_some() {
        attributes.insert("outputTokensEstimated".to_owned(), true.into());
    }
    attributes
}

/// `web_search_requests` → `webSearchRequests`
fn camel(snake: &str) -> String {
    let mut words = snake.split('_').filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |all, word| {
        let (initial, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        all + &initial.to_ascii_uppercase() + rest
    })
}

/// A refusal that came before any output, where nothing is billed for it.
fn is_unbilled_refusal(call: &CallFacts<'_>) -> bool {
    call.mark_unbilled_refusals
        && call.provider.row().refuses_for_nothing
        && matches!(call.end, End::Complete)
        && call.summary.is_some_and(|summary| {
            let is_empty = summary.usage.tokens.output.unwrap_or(0) == 0
                && summary.written.text == 0
                && summary.written.thinking == 0;
            summary.stop_reason.as_deref() == Some("refusal") && is_empty
        })
}

/// Text of the provider as Revenium stores it: longer than 255 characters would lose the record without a word.
fn stored(text: Option<&str>) -> Option<&str> {
    text.map(|text| cut(text.trim(), 255)).filter(|text| !text.is_empty())
}

fn subscriber<'a>(call: &CallFacts<'a>) -> Option<Cow<'a, Subscriber>> {
    match call.metadata.get(Field::Subscriber) {
        Some(Value::Subscriber(subscriber)) => Some(Cow::Borrowed(subscriber)),
        _ => call.metadata.text(Field::CredentialAlias).map(|alias| Cow::Owned(Subscriber::of_alias(alias))),
    }
}

#[cfg(test)]
mod tests;
