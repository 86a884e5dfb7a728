//! The table itself: one row for each setting. The tables of README and docs/settings.md are made from it.

use std::fmt::Write;

use super::parse;
use super::setting::{Setting, Steers, flag, number, record, structure, text};
use super::{AuthHeader, FailMode, OtlpProtocol, PrintSummary, Provider, ProviderChoice, Secret, SpoolSync};

const KEY: &str = "one word of visible ASCII characters";
const URL: &str = "an http or https URL without query";
const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Every setting. `env_file` comes first because the others may stand in that file.
#[rustfmt::skip] // A table is read by its columns.
pub(super) static TABLE: &[Setting] = &[
    text("env_file", "the path of a readable .env file", "", |s, v| { s.env_file = parse::some(v); true },
        "A file of `NAME=value` lines, read without touching the process's environment. A variable of the environment wins over its line in the file.").steering(Steers::Every),

    // Revenium.
    text("metering_api_key", "a Revenium key, which begins with hak_ or rev_", "",
        |s, v| s.metering_api_key.take(v, Secret::metering_key),
        "Your Revenium key. Without one, calls work and are not metered; one that appears in the environment later is picked up. `\"\"` turns metering off.").secret(),
    text("metering_base_url", "text", "https://api.revenium.ai", |s, v| { s.metering_base_url = v.into(); true },
        "Where usage records go."),
    flag("selective_metering", "false", |s, v| s.selective_metering = v,
        "Meter only calls in a scope marked with `REVENIUM_SCOPE_METER`, and calls that ask for it."),
    structure("metadata", "a JSON object", "{}", |s, v| parse::is_object(v) && { s.metadata = v.into(); true },
        "Usage metadata for all calls; scopes and calls win over it."),
    flag("mark_unbilled_refusals", "true", |s, v| s.mark_unbilled_refusals = v,
        "Record a refusal before any output, which Anthropic does not bill, with `billingSkipped`. Not on Bedrock."),
    text("middleware_source", "one word of visible ASCII characters", "revenium-anthropic-c",
        |s, v| parse::is_word(v) && { s.middleware_source = v.into(); true },
        "What records name as their source. The bindings set it."),
    flag("capture_prompts", "false", |s, v| s.capture_prompts = v,
        "Record what calls are about: system prompt, messages and reply, with secrets masked. Scopes and calls may choose for themselves."),
    number("max_prompt_size", 0..=10_000_000, "50000", |s, v| s.max_prompt_size = (v as usize).max(200),
        "Most characters of each of these; at least 200."),
    flag("capture_error_messages", "false", |s, v| s.capture_error_messages = v,
        "Record why calls failed in words. What a provider says can quote the prompt, so that needs `capture_prompts` too."),

    // Revenium's platform: jobs, outcomes, economics.
    text("write_api_key", "a Revenium key, which begins with hak_ or rev_", "",
        |s, v| s.write_api_key.take(v, Secret::metering_key),
        "Key for jobs, outcomes and economics, where the metering key may only meter. Default: the metering key.")
        .env(&["REVENIUM_WRITE_API_KEY", "REVENIUM_OUTCOME_API_KEY"]).secret(),
    text("team_id", "text", "", |s, v| { s.team_id = parse::some(v); true },
        "Your team at Revenium. Without it, the team of the key's tenant is looked up where the key tells one."),
    text("profitstream_base_url", URL, "",
        |s, v| (v.is_empty() || parse::is_base_url(v)) && { s.profitstream_base_url = parse::some(v); true },
        "Where jobs, outcomes and economics are. Default: the metering address without its `/meter`."),
    number("platform_timeout_ms", 1..=HOUR, "30000", |s, v| s.platform_timeout_ms = v, "Most time for one attempt of a request to Revenium's platform."),
    number("platform_max_retries", 0..=100, "9", |s, v| s.platform_max_retries = v as u32, "Attempts of such a request after the first, on answers that another attempt may change."),

    // Budgets.
    flag("budget_enforcement", "false", |s, v| s.budget_enforcement = v,
        "Refuse calls that a rule of Revenium's cost controls blocks, before they leave. Needs `team_id`.")
        .env(&["REVENIUM_BUDGET_ENFORCEMENT", "REVENIUM_CIRCUIT_BREAKER_ENABLED"]),
    flag("budget_shadow", "false", |s, v| s.budget_shadow = v,
        "Only log and count what would be refused: to try `budget_enforcement` out."),
    flag("budget_bypass", "false", |s, v| s.budget_bypass = v, "Let every call pass, whatever the rules say.").env(&["REVENIUM_BUDGET_BYPASS", "REVENIUM_BYPASS"]),
    text("budget_fail_mode", "`open` or `closed`", "open",
        |s, v| parse::choice(v, &[("open", FailMode::Open), ("closed", FailMode::Closed)], &mut s.budget_fail_mode),
        "What becomes of calls as long as no rules could be fetched: they pass, or are refused.").env(&["REVENIUM_BUDGET_FAIL_MODE", "REVENIUM_CB_FAIL_MODE"]),
    number("budget_poll_interval_ms", SECOND..=DAY, "60000", |s, v| s.budget_poll_interval_ms = v, "How often the rules are fetched.")
        .env(&["REVENIUM_BUDGET_POLL_INTERVAL_MS", "REVENIUM_CB_POLL_INTERVAL_SECONDS"]),
    text("budget_cache_dir", "the path of a directory", "", |s, v| { s.budget_cache_dir = parse::some(v); true },
        "Where the last rules are kept, for a start while Revenium cannot be reached. Default: nowhere.").env(&["REVENIUM_BUDGET_CACHE_DIR", "REVENIUM_CACHE_DIR"]),
    text("enforcement_base_url", URL, "",
        |s, v| (v.is_empty() || parse::is_base_url(v)) && { s.enforcement_base_url = parse::some(v); true },
        "Where the rules are. Default: the host of the metering address."),

    flag("trace_id_from_context", "true", |s, v| s.trace_id_from_context = v,
        "Whether a record whose metadata names no trace gets the id of the trace that its call was made in (`traceparent`)."),

    // Anthropic.
    text("anthropic_api_key", KEY, "", |s, v| s.anthropic_api_key.take(v, Secret::new),
        "Anthropic API key. Wins over a token given in the same place.").env(&["ANTHROPIC_API_KEY"]).secret().steering(Steers::WithoutCredential),
    text("anthropic_auth_token", KEY, "", |s, v| s.anthropic_auth_token.take(v, Secret::new),
        "Token sent as `Authorization: Bearer` instead of an API key.").env(&["ANTHROPIC_AUTH_TOKEN"]).secret().steering(Steers::WithoutCredential),
    text("anthropic_base_url", URL, "https://api.anthropic.com",
        |s, v| parse::is_base_url(v) && { s.anthropic_base_url = v.into(); true },
        "Where the Messages API is. A path is kept. A host of AWS means Bedrock.").env(&["ANTHROPIC_BASE_URL"]).steering(Steers::Every),
    text("anthropic_version", "one word of visible ASCII characters", "2023-06-01",
        |s, v| parse::is_word(v) && { s.anthropic_version = v.into(); true },
        "The `anthropic-version` header."),
    structure("anthropic_beta", "a comma-separated list", "", |s, v| parse::list(v).map(|list| s.anthropic_beta = list).is_some(),
        "Beta features for every call (the `anthropic-beta` header)."),
    text("anthropic_custom_headers", "lines of the form `Name: value`", "",
        |s, v| parse::headers(v).map(|headers| s.anthropic_custom_headers = headers).is_some(),
        "Headers for every call to the provider, one a line. Lines without a colon are skipped.").env(&["ANTHROPIC_CUSTOM_HEADERS"]).secret(),
    text("auth_header", "`x-api-key` or `bearer`", "x-api-key",
        |s, v| parse::choice(v, &[("x-api-key", AuthHeader::XApiKey), ("bearer", AuthHeader::Bearer)], &mut s.auth_header),
        "How the API key is sent."),

    // Provider and AWS.
    text("provider", "`auto`, `anthropic` or `bedrock`", "auto",
        |s, v| ProviderChoice::named(v).map(|choice| s.provider = choice).is_some(),
        "Who answers. `auto`: Bedrock when the base URL is AWS's, or when there are AWS credentials and none of Anthropic; else Anthropic directly.").steering(Steers::Every),
    flag("body_choices", "true", |s, v| s.body_choices = v,
        "Whether a request's body may hold the member `revenium`. Turn it off where bodies are your users': scopes can hold the same choices.").steering(Steers::Every),
    flag("bedrock_disable", "false", |s, v| s.bedrock_disable = v, "Never use Bedrock.").steering(Steers::Every),
    flag("bedrock_fallback", "true", |s, v| s.bedrock_fallback = v,
        "Ask Anthropic directly when Bedrock fails before the first event and there is an Anthropic credential.").steering(Steers::Every),
    text("bedrock_region_prefix", "lower-case letters, digits and hyphens, such as `us`, `eu` or `global`", "",
        |s, v| parse::region(v.trim_end_matches('.'), &mut s.bedrock_region_prefix),
        "Put before Bedrock model ids that have no such prefix.").steering(Steers::Every),
    structure("bedrock_model_map", "a JSON object whose values are text", "{}",
        |s, v| serde_json::from_str(v).map(|map| s.bedrock_model_map = map).is_ok(),
        "Bedrock model id for each model name; wins over the built-in rules.").steering(Steers::Every),
    text("bedrock_project_id", "a project's id or ARN of at most 2048 characters", "", |s, v| parse::project(v, &mut s.bedrock_project_id),
        "The Bedrock project that calls are counted for, sent as `X-Amzn-Bedrock-ProjectIdentifier`.").steering(Steers::Every),
    text("aws_region", "lower-case letters, digits and hyphens, such as `us-east-1`", "", |s, v| parse::region(v, &mut s.aws_region),
        "The AWS region for Bedrock. Else the AWS profile's.").env(&["AWS_REGION", "AWS_DEFAULT_REGION"]).steering(Steers::Only(Provider::Bedrock)),

    // Calls.
    number("timeout_ms", 0..=DAY, "0", |s, v| s.timeout_ms = v, "Most time for one call with its retries. 0: no limit."),
    number("connect_timeout_ms", 1..=HOUR, "5000", |s, v| s.connect_timeout_ms = v, "Most time to connect to the provider, TLS included."),
    number("read_timeout_ms", 1..=DAY, "600000", |s, v| s.read_timeout_ms = v, "Longest silence of the provider, and longest time that nobody takes the events of a stream, before a call fails."),
    number("max_retries", 0..=10, "2", |s, v| s.max_retries = v as u32, "Attempts after the first, on connection errors and on 408, 409, 429 and 5xx."),
    number("max_retry_after_ms", 0..=DAY, "60000", |s, v| s.max_retry_after_ms = v,
        "Longest wait the provider may ask for; beyond it the error is returned at once."),
    number("max_in_flight", 1..=1_000_000, "10000", |s, v| s.max_in_flight = v as usize, "Calls under way at a time; above it `REVENIUM_E_BUSY`."),
    number("max_response_bytes", 64 * KIB..=GIB, "67108864", |s, v| s.max_response_bytes = v as usize,
        "Largest reply, or largest single event of a stream."),
    flag("quote_errors", "true", |s, v| s.quote_errors = v,
        "Whether an error's sentence quotes what the provider says of a request that it refused, 200 characters at most. It can repeat a part of the request."),
    number("worker_threads", 1..=64, "1", |s, v| s.worker_threads = v as usize, "Threads that do the network's work. One serves tens of thousands of streams; more only where one core is not enough."),
    number("callback_threads", 1..=64, "1", |s, v| s.callback_threads = v as usize, "Threads that run the callbacks of `revenium_messages_start()`."),
    number("flush_at_exit_ms", 0..=HOUR, "2000", |s, v| s.flush_at_exit_ms = v, "Most time that exit(3) waits for records to be delivered."),

    // Delivery.
    number("metering_timeout_ms", 1..=HOUR, "10000", |s, v| s.metering_timeout_ms = v, "Most time for one attempt to deliver a record.")
        .env(&["REVENIUM_METERING_TIMEOUT_MS", "REVENIUM_METERING_TIMEOUT_SECONDS"]),
    number("metering_max_retries", 0..=100, "2", |s, v| s.metering_max_retries = v as u32, "Attempts to deliver a record after the first, before it is put back."),
    number("metering_linger_ms", 0..=10_000, "5", |s, v| s.metering_linger_ms = v,
        "How long a record waits for others, to leave with them. Neither a flush nor a shutdown waits for this."),
    number("metering_workers", 1..=256, "64", |s, v| s.metering_workers = v as usize, "Records being delivered at a time."),
    number("metering_queue_size", 1..=10_000_000, "20000", |s, v| s.metering_queue_size = v as usize, "Records held in memory.")
        .env(&["REVENIUM_METERING_QUEUE_SIZE", "REVENIUM_BUFFER_MAX_SIZE"]),
    number("metering_queue_bytes", 64 * KIB..=GIB, "67108864", |s, v| s.metering_queue_bytes = v as usize, "Their size in bytes."),
    text("spool_dir", "the path of a directory", "", |s, v| { s.spool_dir = Some(v.into()); true },
        "Where records wait on disk until they are delivered. Default: `revenium` in `$XDG_STATE_HOME`, else in `~/.local/state`; on Windows in `%LOCALAPPDATA%`. `\"\"` in the configuration: keep nothing on disk."),
    number("spool_max_bytes", MIB..=1024 * GIB, "268435456", |s, v| s.spool_max_bytes = v, "Most space the spool takes."),
    number("spool_max_age_s", 60..=366 * DAY / SECOND, "604800", |s, v| s.spool_max_age_s = v, "Age in seconds at which an undelivered record is given up."),
    text("spool_sync", "`process` or `power`", "process",
        |s, v| parse::choice(v, &[("process", SpoolSync::Process), ("power", SpoolSync::Power)], &mut s.spool_sync),
        "What a record in the spool survives: the end of the process, or a power failure too (slower)."),

    // OpenTelemetry. The variables are its own, and mean what they mean to its SDKs.
    flag("otlp", "false", |s, v| s.otlp = v,
        "Export each metered call as a span over OTLP/HTTP. Until it is on, the variables of OpenTelemetry mean nothing here."),
    text("otlp_endpoint", URL, "http://localhost:4318", |s, v| parse::is_base_url(v) && { s.otlp_endpoint = v.into(); true },
        "Base URL of the Collector; `/v1/traces` is put behind it. Not Revenium's: calls would be billed twice.")
        .env(&["REVENIUM_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]),
    text("otlp_traces_endpoint", "an http or https URL", "", |s, v| parse::is_url(v) && { s.otlp_traces_endpoint = parse::some(v); true },
        "URL for traces, taken as it is; wins over `otlp_endpoint`.").env(&["REVENIUM_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]),
    structure("otlp_headers", "`name=value` pairs with commas between them, or a JSON object of text", "",
        |s, v| parse::pairs(v).and_then(|pairs| pairs.into_iter().map(|(name, value)| Some((name, Secret::of_header(&value)?))).collect())
            .map(|headers| s.otlp_headers = headers).is_some(),
        "Headers for the Collector, such as its key.").env(&["REVENIUM_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"]).secret(),
    text("otlp_protocol", "`http/protobuf` or `http/json`", "http/protobuf",
        |s, v| parse::choice(v, &[("http/protobuf", OtlpProtocol::Protobuf), ("http/json", OtlpProtocol::Json), ("grpc", OtlpProtocol::Grpc)], &mut s.otlp_protocol),
        "The form of what is sent.").env(&["REVENIUM_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]),
    text("otlp_compression", "`none` or `gzip`", "none",
        |s, v| parse::choice(v, &[("none", false), ("gzip", true)], &mut s.otlp_gzip),
        "Whether it is compressed.").env(&["REVENIUM_OTLP_COMPRESSION", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"]),
    number("otlp_timeout_ms", 1..=HOUR, "10000", |s, v| s.otlp_timeout_ms = v, "Most time for one attempt to export.")
        .env(&["REVENIUM_OTLP_TIMEOUT_MS", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]),
    text("otlp_service_name", "text", "", |s, v| { s.otlp_service_name = parse::some(v); true },
        "`service.name` of the spans. Default: `unknown_service:` and the program's name.").env(&["REVENIUM_OTLP_SERVICE_NAME", "OTEL_SERVICE_NAME"]),
    structure("otlp_resource_attributes", "`name=value` pairs with commas between them, or a JSON object of text", "",
        |s, v| parse::pairs(v).map(|pairs| s.otlp_resource_attributes = pairs).is_some(),
        "More that all spans say.").env(&["REVENIUM_OTLP_RESOURCE_ATTRIBUTES", "OTEL_RESOURCE_ATTRIBUTES"]),
    number("otlp_queue_size", 1..=1_000_000, "2048", |s, v| s.otlp_queue_size = v as usize, "Spans held in memory; more are dropped and counted.")
        .env(&["REVENIUM_OTLP_QUEUE_SIZE", "OTEL_BSP_MAX_QUEUE_SIZE"]),
    number("otlp_queue_bytes", 64 * KIB..=GIB, "8388608", |s, v| s.otlp_queue_bytes = v as usize, "Their size in bytes, as protobuf."),
    number("otlp_batch_size", 1..=100_000, "512", |s, v| s.otlp_batch_size = v as usize, "Spans that are sent at once as soon as there are so many.")
        .env(&["REVENIUM_OTLP_BATCH_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]),
    number("otlp_delay_ms", 1..=HOUR, "5000", |s, v| s.otlp_delay_ms = v, "Longest time that a span waits for others to go with it.")
        .env(&["REVENIUM_OTLP_DELAY_MS", "OTEL_BSP_SCHEDULE_DELAY"]),
    text("otlp_semconv", "`latest` or `both`", "latest",
        |s, v| parse::choice(v, &[("latest", false), ("both", true)], &mut s.otlp_both_names),
        "`both`: tokens written to the cache also under the older name `gen_ai.usage.cache_creation.input_tokens`."),
    flag("otlp_dropin", "false", |s, v| s.otlp_dropin = v,
        "Whether calls that an official SDK makes through this library get a span too. Those SDKs make spans of their own."),
    flag("otlp_content", "false", |s, v| s.otlp_content = v,
        "Whether spans hold prompts and replies, masked and cut as in records. Only where `capture_prompts` is on too."),
    flag("otel_sdk_disabled", "false", |s, v| s.otel_sdk_disabled = v, "No spans, whatever `otlp` says.").env(&["OTEL_SDK_DISABLED"]),

    // Log.
    text("log_level", "`DEBUG`, `INFO`, `WARN`, `ERROR` or `CRITICAL`", "WARN", |s, v| v.parse().map(|level| s.log_level = level).is_ok(),
        "What is logged on standard error. Revenium's other middlewares default to `INFO`; a library is quiet in its host."),
    text("print_summary", "`off`, `human` or `json`", "off",
        |s, v| parse::choice(v, &[("off", PrintSummary::Off), ("false", PrintSummary::Off), ("human", PrintSummary::Human), ("true", PrintSummary::Human), ("json", PrintSummary::Json)], &mut s.print_summary),
        "Print model, tokens, time and cost of each metered call on standard error. `true` means `human`. The cost is fetched where the team is known and the key may do it."),
    flag("debug", "false", |s, v| s.debug = v, "Log everything, whatever `log_level` says."),

    // Fields of the usage record that neither call nor scope give.
    record("organization_name", "Default for this field of the usage metadata.").env(&["REVENIUM_ORGANIZATION_NAME", "REVENIUM_ORGANIZATION_ID"]),
    record("product_name", "Default for this field of the usage metadata.").env(&["REVENIUM_PRODUCT_NAME", "REVENIUM_PRODUCT_ID"]),
    record("environment", "Default for this field of the usage metadata: `production`, `staging` and so on.").env(&["REVENIUM_ENVIRONMENT", "ENVIRONMENT", "DEPLOYMENT_ENV"]),
    record("region", "Default for this field of the usage metadata: where your program runs.")
        .env(&["REVENIUM_REGION", "AWS_REGION", "AWS_DEFAULT_REGION", "AZURE_REGION", "GCP_REGION", "GOOGLE_CLOUD_REGION"]),
    record("credential_alias", "Default for this field of the usage metadata: a name for the credential, where no subscriber is given."),
    record("trace_type", "Default for this field of the usage metadata."),
    record("trace_name", "Default for this field of the usage metadata."),
    record("ticket_id", "Default for this field of the usage metadata."),
    record("parent_transaction_id", "Default for this field of the usage metadata."),
    record("transaction_name", "Default for this field of the usage metadata."),
    record("retry_number", "Default for this field of the usage metadata: your program's own attempt."),
    record("agentic_job_id", "Default for this field of the usage metadata."),
    record("agentic_job_name", "Default for this field of the usage metadata."),
    record("agentic_job_type", "Default for this field of the usage metadata."),
    record("agentic_job_version", "Default for this field of the usage metadata."),
    record("skill_name", "Default for this field of the usage metadata."),
    record("skill_kind", "Default for this field of the usage metadata."),
    record("skill_source", "Default for this field of the usage metadata."),
    record("skill_plugin_name", "Default for this field of the usage metadata."),
    record("skill_marketplace_name", "Default for this field of the usage metadata."),
    record("skill_invocation_trigger", "Default for this field of the usage metadata."),
];

/// The table of settings in `docs/settings.md`; README has some of its rows.
pub fn table_markdown() -> String {
    let mut table =
        String::from("| JSON key | Environment | Value | Default | Meaning |\n| --- | --- | --- | --- | --- |\n");
    for setting in TABLE {
        let env = setting.env_names().iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let default = if setting.default.is_empty() { "–".into() } else { format!("`{}`", setting.default) };
        let (key, allowed, meaning) = (setting.key, setting.allowed(), setting.meaning);
        let _ = writeln!(table, "| `{key}` | {env} | {allowed} | {default} | {meaning} |");
    }
    table
}

/// The known key most like `unknown`, if any is.
pub(super) fn closest_key(unknown: &str) -> Option<&'static str> {
    let unknown = unknown.to_ascii_lowercase();
    let unknown = unknown.strip_prefix("revenium_").unwrap_or(&unknown);
    let (distance, key) =
        TABLE.iter().map(|setting| (strsim::osa_distance(unknown, setting.key), setting.key)).min()?;
    (distance <= key.len() / 2).then_some(key)
}
