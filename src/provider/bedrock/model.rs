//! Model names of the Messages API and the ids that Bedrock knows them by. A model never becomes another one.

use crate::settings::Settings;
use std::borrow::Cow;

/// Names whose Bedrock id is more than `anthropic.` and the name.
#[rustfmt::skip] // A table is read by its columns.
const IDS: &[(&str, &str)] = &[
    ("claude-3-opus-20240229",     "anthropic.claude-3-opus-20240229-v1:0"),
    ("claude-3-sonnet-20240229",   "anthropic.claude-3-sonnet-20240229-v1:0"),
    ("claude-3-haiku-20240307",    "anthropic.claude-3-haiku-20240307-v1:0"),
    ("claude-3-5-sonnet-20240620", "anthropic.claude-3-5-sonnet-20240620-v1:0"),
    ("claude-3-5-sonnet-20241022", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
    ("claude-3-5-haiku-20241022",  "anthropic.claude-3-5-haiku-20241022-v1:0"),
    ("claude-3-7-sonnet-20250219", "anthropic.claude-3-7-sonnet-20250219-v1:0"),
    ("claude-opus-4-0",            "anthropic.claude-opus-4-20250514-v1:0"),
    ("claude-opus-4-20250514",     "anthropic.claude-opus-4-20250514-v1:0"),
    ("claude-sonnet-4-0",          "anthropic.claude-sonnet-4-20250514-v1:0"),
    ("claude-sonnet-4-20250514",   "anthropic.claude-sonnet-4-20250514-v1:0"),
    ("claude-opus-4-1",            "anthropic.claude-opus-4-1-20250805-v1:0"),
    ("claude-opus-4-1-20250805",   "anthropic.claude-opus-4-1-20250805-v1:0"),
    ("claude-sonnet-4-5",          "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("claude-sonnet-4-5-20250929", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("claude-haiku-4-5",           "anthropic.claude-haiku-4-5-20251001-v1:0"),
    ("claude-haiku-4-5-20251001",  "anthropic.claude-haiku-4-5-20251001-v1:0"),
    ("claude-opus-4-5",            "anthropic.claude-opus-4-5-20251101-v1:0"),
    ("claude-opus-4-5-20251101",   "anthropic.claude-opus-4-5-20251101-v1:0"),
    ("claude-opus-4-6",            "anthropic.claude-opus-4-6-v1"),
];

/// What cross-region profiles begin with.
const REGION_PREFIXES: &[&str] = &["us", "eu", "apac", "global", "jp", "au", "ca", "us-gov"];

/// The id to call for the `model` of a request.
pub fn id(model: &str, settings: &Settings) -> String {
    if let Some(id) = settings.bedrock_model_map.get(model) {
        return id.clone();
    }
    if model.starts_with("arn:") || model.contains('/') {
        return model.to_owned();
    }
    // `us.claude-opus-4-7` is short for the model's profile.
    let (prefix, name) = match model.split_once('.') {
        Some((prefix, name)) if REGION_PREFIXES.contains(&prefix) => (Some(prefix), name),
        _ => (None, model),
    };
    let id: Cow<'_, str> = match IDS.iter().find(|(known, _)| *known == name) {
        Some((_, id)) => (*id).into(),
        None if name.contains("anthropic.") => name.into(),
        None => format!("anthropic.{name}").into(),
    };
    match prefix.or(settings.bedrock_region_prefix.as_deref()) {
        Some(prefix) if id.starts_with("anthropic.") => format!("{prefix}.{id}"),
        _ => id.into_owned(),
    }
}

/// Whether the id can stand in the path of a URL.
pub fn is_valid(id: &str) -> bool {
    !matches!(id.split(';').next().unwrap_or_default().trim(), "" | "." | "..")
}

/// The Messages API's name of a model that was named as Bedrock does. `None`: the name does not tell which model it is.
pub fn direct_name(model: &str) -> Option<&str> {
    let id = match model.strip_prefix("arn:") {
        None if model.contains('/') => return None,
        None => model,
        Some(arn) => {
            let (kind, id) = arn.splitn(5, ':').nth(4)?.split_once('/')?;
            matches!(kind, "foundation-model" | "inference-profile").then_some(id)?
        }
    };
    let Some((_, name)) = id.rsplit_once("anthropic.") else {
        return id.starts_with("claude-").then_some(id);
    };
    // `-v2:0` and `-v1` number Bedrock's own versions.
    let name = name.split(':').next().unwrap_or_default();
    let version = name.rsplit_once("-v").filter(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let name = version.map_or(name, |(name, _)| name);
    name.starts_with("claude-").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_ids_and_ids_stay() {
        let plain = Settings::default();
        let mut eu = Settings::default();
        eu.bedrock_region_prefix = Some("eu".into());
        let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
        for (model, want, want_eu) in [
            ("claude-opus-4-7", "anthropic.claude-opus-4-7", "eu.anthropic.claude-opus-4-7"),
            (
                "claude-sonnet-4-5",
                "anthropic.claude-sonnet-4-5-20250929-v1:0",
                "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
            ),
            ("us.claude-opus-4-6", "us.anthropic.claude-opus-4-6-v1", "us.anthropic.claude-opus-4-6-v1"),
            ("anthropic.claude-x-v1:0", "anthropic.claude-x-v1:0", "eu.anthropic.claude-x-v1:0"),
            ("global.anthropic.claude-x", "global.anthropic.claude-x", "global.anthropic.claude-x"),
            ("new.anthropic.claude-x", "new.anthropic.claude-x", "new.anthropic.claude-x"),
            ("claude-of-tomorrow", "anthropic.claude-of-tomorrow", "eu.anthropic.claude-of-tomorrow"),
            (arn, arn, arn),
            ("team/model", "team/model", "team/model"),
        ] {
            assert_eq!((id(model, &plain).as_str(), id(model, &eu).as_str()), (want, want_eu), "{model}");
        }
        eu.bedrock_model_map.insert("claude-opus-4-7".into(), arn.into());
        assert_eq!(id("claude-opus-4-7", &eu), arn);
    }

    #[test]
    fn every_row_of_the_table_keeps_its_model() {
        for (name, id) in IDS {
            let back = direct_name(id).unwrap();
            assert!(*name == back || back.strip_prefix(name.trim_end_matches("-0")).is_some(), "{name} {id} {back}");
        }
    }

    #[test]
    fn ids_are_named_back_where_they_name_a_model() {
        for (model, want) in [
            ("claude-opus-4-7", Some("claude-opus-4-7")),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", Some("claude-sonnet-4-5-20250929")),
            ("anthropic.claude-3-5-sonnet-20241022-v2:0", Some("claude-3-5-sonnet-20241022")),
            ("anthropic.claude-opus-4-6-v1", Some("claude-opus-4-6")),
            ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-x-v1:0", Some("claude-x")),
            ("arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-x-v1:0", Some("claude-x")),
            ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", None),
            ("arn:aws", None),
            ("team/model", None),
            ("amazon.nova-pro-v1:0", None),
            ("", None),
        ] {
            assert_eq!(direct_name(model), want, "{model}");
        }
    }

    #[test]
    fn ids_that_would_change_the_path_are_refused() {
        for (id, want) in
            [("anthropic.x", true), ("a;b", true), ("", false), (" ", false), ("..", false), (".;x", false)]
        {
            assert_eq!(is_valid(id), want, "{id:?}");
        }
    }
}
