//! From JSON and from text to values.

use std::collections::{BTreeMap, HashMap};

use percent_encoding::percent_decode_str;
use reqwest::Url;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::Secret;
use crate::common::error::{Code, Error, Result};

/// The members of the configuration. One that is null is not given.
pub(super) fn config(text: &str) -> Result<BTreeMap<String, Box<RawValue>>> {
    let members: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(text).map_err(|error| match error.classify() {
            // The error's own words may show a value.
            Category::Data => Error::new(Code::Json, "the configuration must be a JSON object"),
            _ => Error::new(
                Code::Json,
                format!("the configuration is not JSON: error at line {} column {}", error.line(), error.column()),
            ),
        })?;
    Ok(members.into_iter().filter(|(_, value)| value.get() != "null").collect())
}

/// The variables in a `.env` file. The sentence of an error shows nothing of what is in it.
pub(super) fn env_file(path: &str) -> std::result::Result<HashMap<String, String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {}", error.kind()))?;
    let mut variables = HashMap::new();
    for (index, line) in dotenvy::from_read_iter(text.trim_start_matches('\u{feff}').as_bytes()).enumerate() {
        let (name, value) =
            line.map_err(|_| format!("{path} is not a .env file: its entry {} is malformed", index + 1))?;
        variables.entry(name).or_insert(value);
    }
    Ok(variables)
}

pub(super) fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)], chosen: &mut T) -> bool {
    let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *chosen = *value).is_some()
}

pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) fn is_object(text: &str) -> bool {
    serde_json::from_str::<BTreeMap<String, &RawValue>>(text).is_ok()
}

pub(super) fn is_base_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() && url.fragment().is_none()
    })
}

pub(super) fn is_url(text: &str) -> bool {
    text.is_empty() || Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// `a=1,b=2` with percent-encoded values, as OpenTelemetry's variables are written, or a JSON object of text.
pub(super) fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    if text.starts_with('{') {
        return serde_json::from_str::<BTreeMap<String, String>>(text).ok().map(|map| map.into_iter().collect());
    }
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            Some((name.trim().to_owned(), value.into_owned())).filter(|(name, _)| !name.is_empty())
        })
        .collect()
}

/// A part of a host name or model id, so nothing that could lead elsewhere.
pub(super) fn region(text: &str, region: &mut Option<String>) -> bool {
    let fits = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits {
        *region = some(text);
    }
    fits
}

/// An identifier as AWS takes it in a header.
pub(super) fn project(text: &str, project: &mut Option<String>) -> bool {
    let fits = text.is_empty() || (is_word(text) && text.len() <= 2048);
    if fits {
        *project = some(text);
    }
    fits
}

/// `a, b` or `["a","b"]`.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    let items: Vec<String> = match text.starts_with('[') {
        true => serde_json::from_str(text).ok()?,
        false => text.split(',').map(|item| item.trim().to_string()).filter(|item| !item.is_empty()).collect(),
    };
    items.iter().all(|item| is_word(item) && !item.contains(',')).then_some(items)
}

/// Lines of `Name: value`. As in Anthropic's SDKs, a line without a colon is skipped.
pub(super) fn headers(text: &str) -> Option<Vec<(String, Secret)>> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| {
            let name = name.trim();
            let is_token = !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
            is_token.then_some(())?;
            Some((name.to_string(), Secret::of_header(value)?))
        })
        .collect()
}
