//! The names of everything that a span says, each once.
//!
//! `gen_ai.*`, `server.*` and `error.type` are OpenTelemetry's (semantic-conventions-genai, "client inference", of
//! November 2026; in development there). `anthropic.*` are those that Anthropic's own SDKs write. `revenium.*` are those
//! that Revenium's OTLP door reads, so that a Collector may send spans on to an account that meters nothing itself.

pub const OPERATION_NAME: &str = "gen_ai.operation.name";
pub const PROVIDER_NAME: &str = "gen_ai.provider.name";
pub const REQUEST_MODEL: &str = "gen_ai.request.model";
/// Only where it is true.
pub const REQUEST_STREAM: &str = "gen_ai.request.stream";
pub const REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
pub const REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
pub const REQUEST_TOP_P: &str = "gen_ai.request.top_p";
pub const REQUEST_TOP_K: &str = "gen_ai.request.top_k";
pub const REQUEST_STOP_SEQUENCES: &str = "gen_ai.request.stop_sequences";
/// `output_config.effort` of the Messages API.
pub const REQUEST_REASONING_LEVEL: &str = "gen_ai.request.reasoning.level";
pub const RESPONSE_ID: &str = "gen_ai.response.id";
pub const RESPONSE_MODEL: &str = "gen_ai.response.model";
/// `error` where an answer was to come and did not, or not to its end.
pub const RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// Seconds.
pub const RESPONSE_TIME_TO_FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
/// With what was read from and written to the cache, unlike the record's `inputTokenCount`.
pub const USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
pub const USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
pub const USAGE_CACHE_READ: &str = "gen_ai.usage.cache_read.input_tokens";
pub const USAGE_CACHE_WRITE: &str = "gen_ai.usage.cache_write.input_tokens";
/// What the conventions called [`USAGE_CACHE_WRITE`] before.
pub const USAGE_CACHE_CREATION: &str = "gen_ai.usage.cache_creation.input_tokens";
pub const USAGE_REASONING: &str = "gen_ai.usage.reasoning.output_tokens";

/// These three are JSON, and there only where the host wants content in spans.
pub const INPUT_MESSAGES: &str = "gen_ai.input.messages";
pub const OUTPUT_MESSAGES: &str = "gen_ai.output.messages";
pub const SYSTEM_INSTRUCTIONS: &str = "gen_ai.system_instructions";
pub const TOOL_NAME: &str = "gen_ai.tool.name";

pub const SERVER_ADDRESS: &str = "server.address";
pub const SERVER_PORT: &str = "server.port";
/// As the Messages API calls it: `rate_limit_error`; besides `timeout_error`, `connection_error`, `stream_error`,
/// `aws_error`, `client_error` and `cancelled`.
pub const ERROR_TYPE: &str = "error.type";

pub const CACHE_WRITE_5M: &str = "anthropic.usage.cache_creation.ephemeral_5m_input_tokens";
pub const CACHE_WRITE_1H: &str = "anthropic.usage.cache_creation.ephemeral_1h_input_tokens";
pub const COMPACTION_INPUT: &str = "anthropic.usage.compaction.input_tokens";
pub const COMPACTION_OUTPUT: &str = "anthropic.usage.compaction.output_tokens";
pub const REQUEST_SERVICE_TIER: &str = "anthropic.request.service_tier";
pub const RESPONSE_SERVICE_TIER: &str = "anthropic.response.service_tier";
pub const THINKING_TYPE: &str = "anthropic.thinking.type";
pub const THINKING_BUDGET: &str = "anthropic.thinking.budget_tokens";
pub const STOP_REASON: &str = "anthropic.message.stop_reason";
pub const REQUEST_ID: &str = "anthropic.request.id";
pub const ORGANIZATION_ID: &str = "anthropic.organization.id";

/// The record's: it joins the two.
pub const TRANSACTION_ID: &str = "revenium.transaction.id";
pub const MIDDLEWARE_SOURCE: &str = "revenium.middleware.source";
pub const SUBSCRIBER_ID: &str = "revenium.subscriber.id";
pub const SUBSCRIBER_EMAIL: &str = "revenium.subscriber.email";
pub const SUBSCRIBER_CREDENTIAL: &str = "revenium.subscriber.credential.name";

/// Fields of the usage metadata by their names in the record. Those that are not here stay in the record.
const OF_METADATA: &[(&str, &str)] = &[
    ("organizationName", "revenium.organization.name"),
    ("productName", "revenium.product.name"),
    ("subscriptionId", "revenium.subscription.id"),
    ("credentialAlias", "revenium.credential.alias"),
    ("taskType", "revenium.task.type"),
    ("agent", "revenium.agent.name"),
    ("environment", "revenium.environment"),
    ("traceId", "revenium.trace.id"),
    ("traceType", "revenium.trace.type"),
    ("traceName", "revenium.trace.name"),
    ("ticketId", "revenium.ticket.id"),
    ("transactionName", "revenium.transaction.name"),
    ("retryNumber", "revenium.retry.number"),
    ("operationSubtype", "revenium.operation.subtype"),
    ("agenticJobId", "revenium.job.id"),
    ("agenticJobName", "revenium.job.name"),
    ("agenticJobType", "revenium.job.type"),
    ("agenticJobVersion", "revenium.job.version"),
    ("squadId", "revenium.squad.id"),
    ("squadName", "revenium.squad.name"),
    ("squadRole", "revenium.squad.role"),
    ("modelHost", "revenium.model.host"),
    ("systemFingerprint", "revenium.system.fingerprint"),
    ("subscriptionTier", "revenium.subscription_tier"),
];

/// What a span calls the record's field of this name.
pub fn of_metadata(wire: &str) -> Option<&'static str> {
    OF_METADATA.iter().find(|(field, _)| *field == wire).map(|(_, name)| *name)
}
