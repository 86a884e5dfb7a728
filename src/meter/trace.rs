//! What the environment tells about a call when nobody else does.

/// Field by its wire name → the variables that may hold it, the first one set wins.
///
/// Give the pairs (name, value) in this order to [`Metadata::from_pairs`](super::Metadata::from_pairs): it takes
/// the first value of a name that is not blank. `transactionName` falls further back, to the call's own task type,
/// when the record is written.
pub const FALLBACKS: &[(&str, &[&str])] = &[
    ("organizationName", &["REVENIUM_ORGANIZATION_NAME", "REVENIUM_ORGANIZATION_ID"]),
    ("productName", &["REVENIUM_PRODUCT_NAME", "REVENIUM_PRODUCT_ID"]),
    ("environment", &["REVENIUM_ENVIRONMENT", "ENVIRONMENT", "DEPLOYMENT_ENV"]),
    (
        "region",
        &["REVENIUM_REGION", "AWS_REGION", "AWS_DEFAULT_REGION", "AZURE_REGION", "GCP_REGION", "GOOGLE_CLOUD_REGION"],
    ),
    ("credentialAlias", &["REVENIUM_CREDENTIAL_ALIAS"]),
    ("traceType", &["REVENIUM_TRACE_TYPE"]),
    ("traceName", &["REVENIUM_TRACE_NAME"]),
    ("ticketId", &["REVENIUM_TICKET_ID"]),
    ("parentTransactionId", &["REVENIUM_PARENT_TRANSACTION_ID"]),
    ("transactionName", &["REVENIUM_TRANSACTION_NAME"]),
    ("retryNumber", &["REVENIUM_RETRY_NUMBER"]),
    ("agenticJobId", &["REVENIUM_AGENTIC_JOB_ID"]),
    ("agenticJobName", &["REVENIUM_AGENTIC_JOB_NAME"]),
    ("agenticJobType", &["REVENIUM_AGENTIC_JOB_TYPE"]),
    ("agenticJobVersion", &["REVENIUM_AGENTIC_JOB_VERSION"]),
    ("skillName", &["REVENIUM_SKILL_NAME"]),
    ("skillKind", &["REVENIUM_SKILL_KIND"]),
    ("skillSource", &["REVENIUM_SKILL_SOURCE"]),
    ("skillPluginName", &["REVENIUM_SKILL_PLUGIN_NAME"]),
    ("skillMarketplaceName", &["REVENIUM_SKILL_MARKETPLACE_NAME"]),
    ("skillInvocationTrigger", &["REVENIUM_SKILL_INVOCATION_TRIGGER"]),
];

#[cfg(test)]
mod tests {
    use super::super::fields::{Field, Spelling};
    use super::*;

    #[test]
    fn every_name_is_a_wire_name_and_comes_once() {
        for (at, (name, variables)) in FALLBACKS.iter().enumerate() {
            let (field, spelling) = Field::named(name).expect(name);
            assert!(field.wire() == *name && spelling == Spelling::Wire, "{name}");
            assert!(!variables.is_empty(), "{name}");
            assert!(FALLBACKS[..at].iter().all(|(other, _)| other != name), "{name} twice");
        }
    }
}
