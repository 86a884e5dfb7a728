//! The request's JSON as InvokeModel wants it, and back as the Messages API does. Everything else stays as it is.

use super::{Direct, model};
use crate::common::error::{Code, Error, Result};
use crate::common::json::edit::{object_of_request, spliced};
use crate::common::json::object;
use bytes::Bytes;
use serde_json::Value;

/// What Bedrock takes for every Claude model.
const VERSION: &str = r#""bedrock-2023-05-31""#;

/// The model that the request names, and the body for InvokeModel: without `model` and `stream`, with
/// `anthropic_version` and with `betas` as `anthropic_beta` and `profile` as `user_profile_id`, where it has none of its
/// own.
pub fn for_bedrock(body: &[u8], betas: &[&str], profile: Option<&str>) -> Result<(String, Bytes)> {
    let text = text(body)?;
    let members = object_of_request(text)?;
    let model = members.get("model").and_then(object::string);
    let model = model
        .filter(|model| !model.is_empty())
        .ok_or_else(|| Error::new(Code::Config, "The request names no model."))?;
    let betas = Value::from(betas).to_string();
    let profile = profile.map(|profile| Value::from(profile).to_string());
    let mut comes = Vec::with_capacity(3);
    if members.get("anthropic_version").is_none() {
        comes.push(("anthropic_version", VERSION));
    }
    if betas != "[]" && members.get("anthropic_beta").is_none() {
        comes.push(("anthropic_beta", &betas));
    }
    if let Some(profile) = profile.as_deref().filter(|_| members.get("user_profile_id").is_none()) {
        comes.push(("user_profile_id", profile));
    }
    let body = spliced(text, &members, |name, _| matches!(name, "model" | "stream"), &comes);
    Ok((model, body))
}

/// `None`: the request names no model that the Messages API knows.
pub fn for_direct(body: &[u8]) -> Option<Direct> {
    let text = text(body).ok()?;
    let members = object_of_request(text).ok()?;
    let model = members.string("model")?;
    let name = model::direct_name(&model)?;
    let betas = members.get("anthropic_beta").and_then(|value| serde_json::from_str(value.get()).ok());
    let quoted = Value::from(name).to_string();
    let renamed = name != model;
    let goes = |name: &str| matches!(name, "anthropic_version" | "anthropic_beta") || (renamed && name == "model");
    let comes: &[(&str, &str)] = if renamed { &[("model", &quoted)] } else { &[] };
    let body = spliced(text, &members, |name, _| goes(name), comes);
    Some(Direct { body, betas: betas.unwrap_or_default() })
}

fn text(body: &[u8]) -> Result<&str> {
    std::str::from_utf8(body).map_err(|_| Error::new(Code::Utf8, "The request is not UTF-8."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_keeps_all_but_model_and_stream() {
        for (body, betas, want) in [
            (
                r#"{"model":"m","stream":true,"max_tokens":1.0e2,"tools":[{"a" : 1}],"thinking":{"x":12345678901234567890}}"#,
                &[][..],
                r#"{"max_tokens":1.0e2,"tools":[{"a" : 1}],"thinking":{"x":12345678901234567890},"anthropic_version":"bedrock-2023-05-31"}"#,
            ),
            (
                r#"{"anthropic_version":"v","model":"m"}"#,
                &["b1", "b2"],
                r#"{"anthropic_version":"v","anthropic_beta":["b1","b2"]}"#,
            ),
            (
                r#"{"model":"m","anthropic_beta":["own"]}"#,
                &["b1"],
                r#"{"anthropic_beta":["own"],"anthropic_version":"bedrock-2023-05-31"}"#,
            ),
            (r#"{"model":"m"}"#, &[], r#"{"anthropic_version":"bedrock-2023-05-31"}"#),
        ] {
            let (model, body) = for_bedrock(body.as_bytes(), betas, None).unwrap();
            assert_eq!((model.as_str(), std::str::from_utf8(&body).unwrap()), ("m", want));
        }
        for body in [r#"{"a":1}"#, r#"{"model":5}"#, r#"{"model":""}"#] {
            assert_eq!(for_bedrock(body.as_bytes(), &[], None).unwrap_err().code, Code::Config, "{body}");
        }
    }

    #[test]
    fn a_user_profile_goes_into_the_body() {
        for (body, want) in [
            (r#"{"model":"m","anthropic_version":"v"}"#, r#"{"anthropic_version":"v","user_profile_id":"up_1"}"#),
            (
                r#"{"model":"m","anthropic_version":"v","user_profile_id":"own"}"#,
                r#"{"anthropic_version":"v","user_profile_id":"own"}"#,
            ),
        ] {
            let (_, body) = for_bedrock(body.as_bytes(), &[], Some("up_1")).unwrap();
            assert_eq!(std::str::from_utf8(&body).unwrap(), want);
        }
    }

    #[test]
    fn and_becomes_one_for_the_messages_api_again() {
        for (body, want, betas) in [
            (r#"{ "model" : "claude-x", "n":1.0 }"#, Some(r#"{ "model" : "claude-x", "n":1.0 }"#), &[][..]),
            (
                r#"{"model":"us.anthropic.claude-x-v1:0","anthropic_version":"v","anthropic_beta":["b"],"n":1}"#,
                Some(r#"{"n":1,"model":"claude-x"}"#),
                &["b"],
            ),
            (r#"{"model":"arn:aws:bedrock:r:1:provisioned-model/x"}"#, None, &[]),
            (r#"{"n":1}"#, None, &[]),
        ] {
            let direct = for_direct(body.as_bytes());
            let found = direct.as_ref().map(|direct| std::str::from_utf8(&direct.body).unwrap());
            assert_eq!(found, want, "{body}");
            assert_eq!(direct.map(|direct| direct.betas).unwrap_or_default(), betas, "{body}");
        }
    }
}
