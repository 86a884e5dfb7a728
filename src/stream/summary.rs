//! What metering and the typed readers want to know of a message, streamed or whole.

/// The facts of one reply. `None`: the provider did not say (yet).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    pub id: Option<String>,
    pub model: Option<String>,
    pub stop_reason: Option<String>,
    pub usage: Usage,
}

/// `usage` of the Messages API. On streams the newest cumulative value of each member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    pub tokens: Tokens,
    /// `output_tokens_details.thinking_tokens`: a part of the output tokens.
    pub thinking_tokens: Option<i64>,
    /// `service_tier`: the tier that served the request.
    pub service_tier: Option<String>,
    /// `iterations` (beta): each billed as its entry says.
    pub iterations: Vec<Iteration>,
}

/// Token counts as the Messages API splits them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tokens {
    pub input: Option<i64>,
    pub output: Option<i64>,
    pub cache_creation: Option<i64>,
    pub cache_read: Option<i64>,
    /// `cache_creation.ephemeral_5m_input_tokens`, a part of `cache_creation`.
    pub cache_creation_5m: Option<i64>,
    /// `cache_creation.ephemeral_1h_input_tokens`, a part of `cache_creation`.
    pub cache_creation_1h: Option<i64>,
}

/// One entry of `usage.iterations`, at its index in the list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Iteration {
    /// `type`: `message`, `compaction`, `advisor_message`, `fallback_message`, or newer.
    pub kind: String,
    pub model: Option<String>,
    pub tokens: Tokens,
}
