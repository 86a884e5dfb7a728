//! The filters of a rule: which calls it is about.

use super::Caller;
use serde_json::Value;
use std::borrow::Cow;

/// All of them must match. What cannot be read counts as matching: a cap is never weaker than it was meant.
#[derive(Default)]
pub(super) struct Filters(Vec<Filter>);

struct Filter {
    dimension: Dimension,
    operator: Operator,
    values: Vec<Operand>,
}

/// A value to compare with, in the forms that comparisons need.
struct Operand {
    text: Box<str>,
    lower: Box<str>,
    /// As a model's name, with its date behind a hyphen.
    model: Box<str>,
    /// The same without its date, or year, if it ends in one.
    undated: Option<Box<str>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dimension {
    Model,
    Provider,
    Subscriber,
    Named(Name),
}

/// What callers are called by, letter for letter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Agent,
    TaskType,
    Product,
    Organization,
    Credential,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Is,
    IsNot,
    Contains,
    StartsWith,
    EndsWith,
    In,
}

/// Whether capitals count. They do not where a department's candidates are judged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Counts,
    Ignored,
}

/// Providers that are Anthropic's own models sold elsewhere: a filter for Anthropic means them, too.
const ALSO_ANTHROPIC: [&str; 3] = ["FOUNDRY", "CLAUDECODE", "CLAUDECOWORK"];

impl Filters {
    /// From the member `filters` of a rule.
    pub fn read(filters: Option<&Value>) -> Filters {
        let filters = filters.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Filters(filters.iter().filter_map(Filter::read).collect())
    }

    /// What the caller must be called exactly, where a filter says so: no other caller is concerned.
    pub fn wants(&self) -> Option<(Name, &str)> {
        self.0.iter().find_map(|filter| match (filter.dimension, filter.operator, &*filter.values) {
            (Dimension::Named(name), Operator::Is, [value]) => Some((name, &*value.text)),
            _ => None,
        })
    }

    pub fn match_call(&self, caller: &Caller<'_>, case: Case) -> bool {
        self.0.iter().all(|filter| filter.matches(caller, case))
    }
}

impl Name {
    pub const ALL: [Name; 5] = [Name::Agent, Name::TaskType, Name::Product, Name::Organization, Name::Credential];

    pub fn of<'a>(self, caller: &Caller<'a>) -> Option<&'a str> {
        let told = caller.told;
        match self {
            Name::Agent => told.agent,
            Name::TaskType => told.task_type,
            Name::Product => told.product,
            Name::Organization => told.organization,
            Name::Credential => told.credential,
        }
    }
}

impl Filter {
    /// `None`: it cannot be read.
    fn read(filter: &Value) -> Option<Filter> {
        let word = |name: &str| filter.get(name).and_then(Value::as_str);
        let dimension = match word("dimension")? {
            "MODEL" => Dimension::Model,
            "PROVIDER" => Dimension::Provider,
            "AGENT" => Dimension::Named(Name::Agent),
            "TASK_TYPE" => Dimension::Named(Name::TaskType),
            "PRODUCT" => Dimension::Named(Name::Product),
            "ORGANIZATION" => Dimension::Named(Name::Organization),
            "SUBSCRIBER" => Dimension::Subscriber,
            "CREDENTIAL" => Dimension::Named(Name::Credential),
            _ => return None,
        };
        let operator = match word("operator")? {
            "IS" => Operator::Is,
            "IS_NOT" => Operator::IsNot,
            "CONTAINS" => Operator::Contains,
            "STARTS_WITH" => Operator::StartsWith,
            "ENDS_WITH" => Operator::EndsWith,
            "IN" => Operator::In,
            _ => return None,
        };
        let values = match operator {
            Operator::In => filter.get("values")?.as_array()?.iter().filter_map(Value::as_str).collect(),
            _ => vec![word("value")?],
        };
        if values.is_empty() {
            return None;
        }
        Some(Filter { dimension, operator, values: values.into_iter().map(Operand::new).collect() })
    }

    fn matches(&self, caller: &Caller<'_>, case: Case) -> bool {
        let told = caller.told;
        let text = match self.dimension {
            Dimension::Model => return caller.model.is_empty() || self.matches_model(caller, case),
            Dimension::Provider => return caller.provider.is_empty() || self.matches_provider(caller.provider),
            // Revenium has decided already whose candidates these are.
            Dimension::Subscriber if case == Case::Ignored => return true,
            // An address is the same in any case; an id is not.
            Dimension::Subscriber if told.email.is_some() => return self.compare(caller.email(), Case::Ignored),
            Dimension::Subscriber => told.subscriber_id,
            Dimension::Named(name) => name.of(caller),
        };
        match text {
            Some(text) => self.compare(text, case),
            None => self.operator == Operator::IsNot,
        }
    }

    fn compare(&self, text: &str, case: Case) -> bool {
        let text: Cow<'_, str> = match case {
            Case::Ignored if text.chars().any(char::is_uppercase) => text.to_lowercase().into(),
            _ => text.into(),
        };
        let form = |value: &Operand, trimmed: bool| -> bool {
            let value = match case {
                Case::Ignored => &*value.lower,
                Case::Counts => &*value.text,
            };
            let value = if trimmed && case == Case::Ignored { value.trim() } else { value };
            match self.operator {
                Operator::Is | Operator::In => *text == *value,
                Operator::IsNot => *text != *value,
                Operator::Contains => text.contains(value),
                Operator::StartsWith => text.starts_with(value),
                Operator::EndsWith => text.ends_with(value),
            }
        };
        let trimmed = matches!(self.operator, Operator::Is | Operator::In | Operator::IsNot);
        self.values.iter().any(|value| form(value, trimmed))
    }

    fn matches_provider(&self, provider: &str) -> bool {
        let by = |name: &str| self.compare(name, Case::Ignored);
        let also = ALSO_ANTHROPIC.iter().any(|other| other.eq_ignore_ascii_case(provider));
        match self.operator {
            Operator::Is | Operator::In => by(provider) || (also && by("ANTHROPIC")),
            Operator::IsNot => by(provider) && (!also || by("ANTHROPIC")),
            _ => by(provider),
        }
    }

    /// A request without a date may be answered by any dated model of that name; only one that names its own date is
    /// surely another model. Both by its whole name, and by what is behind a router's prefix.
    fn matches_model(&self, caller: &Caller<'_>, case: Case) -> bool {
        let whole = caller.model;
        let behind = whole.split_once('/').map(|(_, name)| name);
        let mut names = [Some(whole), behind].into_iter().flatten();
        if self.operator == Operator::IsNot {
            return names.all(|name| !has_date(name) || self.compare(name, case));
        }
        names.any(|name| self.compare(name, case) || self.matches_plainly(&plain(name), case))
    }

    fn matches_plainly(&self, name: &str, case: Case) -> bool {
        if matches!(self.operator, Operator::Is | Operator::In) {
            let dated = |value: &Operand| date_at(&value.model).is_some() && value.undated.as_deref() == Some(name);
            let undated = date_at(name).is_none();
            return self.values.iter().any(|value| *value.model == *name || (undated && dated(value)));
        }
        // A part of a dated name is one of the undated name, too.
        let undated =
            self.values.iter().filter_map(|value| value.undated.as_deref()).filter(|_| date_at(name).is_none());
        self.compare(name, case)
            || undated.into_iter().any(|part| match self.operator {
                Operator::StartsWith => name.starts_with(part),
                Operator::EndsWith => name.ends_with(part),
                _ => name.contains(part),
            })
    }
}

impl Operand {
    fn new(text: &str) -> Operand {
        let model = dashed(text).into_owned();
        let undated = model.rsplit_once('-').filter(|(_, date)| begins_a_date(date)).map(|(name, _)| name.into());
        Operand { text: text.into(), lower: text.to_lowercase().into(), undated, model: model.into() }
    }
}

/// A date, or its year.
fn begins_a_date(text: &str) -> bool {
    matches!(text.len(), 4 | 8) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where `-20250929` begins at the end of a model's name.
fn date_at(model: &str) -> Option<usize> {
    let (name, date) = model.rsplit_once('-')?;
    (date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit())).then_some(name.len())
}

/// Whether a date stands in it, also before a version as in Bedrock's ids.
fn has_date(model: &str) -> bool {
    model.split('-').any(|part| part.len() == 8 && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// With a hyphen before its date, where Vertex has `@`.
fn dashed(model: &str) -> Cow<'_, str> {
    match model.rsplit_once('@') {
        Some((name, date)) if date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{name}-{date}").into()
        }
        _ => model.into(),
    }
}

/// The name of a request's model as filters have it.
fn plain(model: &str) -> Cow<'_, str> {
    dashed(model.strip_suffix("-latest").unwrap_or(model))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Attribution;

    /// What Revenium's own SDK says to these: operator, value, model, provider, verdict.
    #[test]
    fn models_match_as_the_vendor_has_it() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/platform/models.json");
        let rows: Vec<(String, String, String, String, bool)> =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let mut wrong = Vec::new();
        for (operator, value, model, provider, matches) in &rows {
            let filter = serde_json::json!([{
                "dimension": "MODEL", "operator": operator, "value": value, "values": [value],
            }]);
            let told = Attribution::default();
            let caller = Caller::new(model, provider, &told);
            if Filters::read(Some(&filter)).match_call(&caller, Case::Counts) != *matches {
                wrong.push((operator, value, model, matches));
            }
        }
        assert!(rows.len() > 500);
        assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), rows.len());
    }

    #[test]
    fn what_cannot_be_read_matches() {
        let told = Attribution { agent: Some("y"), ..Attribution::default() };
        for (filter, matches) in [
            (r#""x""#, true),
            (r#"{"dimension":"agent","operator":"IS","value":"x"}"#, true),
            (r#"{"dimension":"AGENT","operator":"is","value":"x"}"#, true),
            (r#"{"dimension":"AGENT","operator":"IN","values":[]}"#, true),
            (r#"{"dimension":"AGENT","operator":"IN","values":["z",7]}"#, false),
            (r#"{"dimension":"AGENT","operator":"IN","value":"z"}"#, true),
            (r#"{"dimension":"AGENT","operator":"IN","values":"z"}"#, true),
            (r#"{"dimension":"AGENT","operator":"IS","value":7}"#, true),
            (r#"{"dimension":"AGENT","operator":"IS","value":null}"#, true),
            (r#"{"dimension":"AGENT","operator":"IS","value":""}"#, false),
            (r#"{"dimension":"AGENT","operator":"IS","value":" y "}"#, false),
            (r#"{"dimension":"PROVIDER","operator":"STARTS_WITH","value":"anth"}"#, true),
        ] {
            let filters = serde_json::from_str(&format!("[{filter}]")).unwrap();
            let caller = Caller::new("m", "ANTHROPIC", &told);
            assert_eq!(Filters::read(Some(&filters)).match_call(&caller, Case::Counts), matches, "{filter}");
        }
    }

    #[test]
    fn foundry_and_the_coding_tools_are_anthropic_too() {
        let told = Attribution::default();
        for (provider, operator, value, matches) in [
            ("FOUNDRY", "IS", "ANTHROPIC", true),
            ("FOUNDRY", "IS_NOT", "ANTHROPIC", false),
            ("FOUNDRY", "IS_NOT", "FOUNDRY", false),
            ("FOUNDRY", "STARTS_WITH", "ANTH", false),
            ("CLAUDECODE", "IS_NOT", "FOUNDRY", true),
            ("ANTHROPIC", "IS", "FOUNDRY", false),
            ("AWS", "IS_NOT", "ANTHROPIC", true),
        ] {
            let filter = serde_json::json!([{ "dimension": "PROVIDER", "operator": operator, "value": value }]);
            let caller = Caller::new("m", provider, &told);
            let got = Filters::read(Some(&filter)).match_call(&caller, Case::Counts);
            assert_eq!(got, matches, "{provider} {operator} {value}");
        }
    }
}
