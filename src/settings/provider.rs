//! Whose service answers a call: one row for each.

/// Whose service answers a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Provider {
    Anthropic,
    Bedrock,
    Vertex,
    Foundry,
}

/// What the library says of a provider, and what it goes by.
pub struct Row {
    provider: Provider,
    /// In settings and choices, `info`, `status_json` and the HEAD frame.
    pub name: &'static str,
    /// In sentences.
    pub title: &'static str,
    /// `REVENIUM_PROVIDER_*` of the C interface; `None`: the library only records calls that others make there.
    pub number: Option<i32>,
    /// `provider` of a record. What Revenium's own SDKs call them; Google as its middleware for Vertex AI does.
    pub label: &'static str,
    /// `gen_ai.provider.name` of a span, by OpenTelemetry's conventions.
    pub otel: &'static str,
    /// How the `anthropic_version` of a body for it begins, where it wants one.
    version: Option<&'static str>,
    /// It has names of its own for models, with prices of their own.
    pub names_models: bool,
    /// A refusal before any output costs nothing.
    pub refuses_for_nothing: bool,
}

const ROWS: [Row; 4] = [
    Row {
        provider: Provider::Anthropic,
        name: "anthropic",
        title: "Anthropic",
        number: Some(1),
        label: "ANTHROPIC",
        otel: "anthropic",
        version: None,
        names_models: false,
        refuses_for_nothing: true,
    },
    Row {
        provider: Provider::Bedrock,
        name: "bedrock",
        title: "AWS Bedrock",
        number: Some(2),
        label: "AWS",
        otel: "aws.bedrock",
        version: Some("bedrock-"),
        names_models: true,
        refuses_for_nothing: false,
    },
    Row {
        provider: Provider::Vertex,
        name: "vertex",
        title: "Vertex AI",
        number: None,
        label: "Google",
        otel: "gcp.vertex_ai",
        version: Some("vertex-"),
        names_models: false,
        refuses_for_nothing: false,
    },
    Row {
        provider: Provider::Foundry,
        name: "foundry",
        title: "Microsoft Foundry",
        number: None,
        label: "Foundry",
        otel: "azure.ai.inference",
        version: None,
        names_models: false,
        refuses_for_nothing: false,
    },
];

impl Provider {
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    fn by(is_it: impl Fn(&Row) -> bool) -> Option<Provider> {
        ROWS.iter().find(|row| is_it(row)).map(|row| row.provider)
    }

    pub fn named(name: &str) -> Option<Provider> {
        Provider::by(|row| row.name == name)
    }

    /// Whose body this is, by its `anthropic_version`.
    pub fn of_version(version: &str) -> Option<Provider> {
        Provider::by(|row| row.version.is_some_and(|start| version.starts_with(start)))
    }

    pub fn name(self) -> &'static str {
        self.row().name
    }
}

/// Who shall answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProviderChoice {
    #[default]
    Auto,
    Asked(Provider),
}

impl ProviderChoice {
    pub(super) fn named(name: &str) -> Option<ProviderChoice> {
        if name.eq_ignore_ascii_case("auto") {
            return Some(ProviderChoice::Auto);
        }
        Provider::by(|row| row.number.is_some() && row.name.eq_ignore_ascii_case(name)).map(ProviderChoice::Asked)
    }

    /// The provider that somebody named.
    pub fn provider(self) -> Option<Provider> {
        match self {
            ProviderChoice::Auto => None,
            ProviderChoice::Asked(provider) => Some(provider),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_its_providers() {
        for (at, row) in ROWS.iter().enumerate() {
            assert_eq!(row.provider as usize, at, "{}", row.name);
            assert_eq!(Provider::named(row.name), Some(row.provider));
        }
    }
}
