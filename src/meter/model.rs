//! Which model a record names: the one that is priced.

use super::CallFacts;
use super::value::cut;

/// Revenium stores no record with a longer one.
const LONGEST: usize = 255;

/// The API refuses a record without a model.
const UNKNOWN: &str = "unknown";

/// Directly the dated model that answered, on Bedrock the id really called (its region prefix has its own price).
pub(super) fn recorded<'a>(call: &CallFacts<'a>) -> &'a str {
    let replied = call.summary.and_then(|summary| summary.model.as_deref());
    known(&[called(call).and_then(model_id), replied, called(call), Some(&call.request.model)])
}

/// The model asked for, in the provider's own naming.
pub(super) fn requested<'a>(call: &CallFacts<'a>) -> &'a str {
    known(&[called(call).and_then(model_id), Some(&call.request.model)])
}

fn called<'a>(call: &CallFacts<'a>) -> Option<&'a str> {
    call.called_model.filter(|_| call.provider.row().names_models)
}

fn known<'a>(choices: &[Option<&'a str>]) -> &'a str {
    let model = choices.iter().copied().flatten().map(str::trim).find(|model| !model.is_empty());
    cut(model.unwrap_or(UNKNOWN), LONGEST)
}

/// The model id a Bedrock id or ARN names. ARNs of application inference profiles and of provisioned, custom or
/// imported models name none.
fn model_id(called: &str) -> Option<&str> {
    if !called.starts_with("arn:") {
        return Some(called);
    }
    // arn:<partition>:bedrock:<region>:<account>:<kind>/<id>, and the id may hold colons.
    let (kind, id) = called.splitn(6, ':').nth(5)?.split_once('/')?;
    matches!(kind, "foundation-model" | "inference-profile").then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_reduced_to_the_model_they_name() {
        for (called, expected) in [
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", Some("us.anthropic.claude-sonnet-4-5-20250929-v1:0")),
            (
                "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
                Some("anthropic.claude-haiku-4-5-20251001-v1:0"),
            ),
            (
                "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:inference-profile/us-gov.anthropic.claude-x-v1:0",
                Some("us-gov.anthropic.claude-x-v1:0"),
            ),
            ("arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123", None),
            ("arn:aws:bedrock:eu-west-1:123456789012:provisioned-model/abc123", None),
            ("arn:aws:bedrock", None),
        ] {
            assert_eq!(model_id(called), expected, "{called}");
        }
    }
}
