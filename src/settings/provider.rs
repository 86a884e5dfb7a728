//! Who can answer a call.

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Provider {
    Anthropic,
    Bedrock,
}

impl Provider {
    /// The name in `info`, `status_json` and the HEAD frame.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Anthropic => "anthropic",
            Provider::Bedrock => "bedrock",
        }
    }
}
