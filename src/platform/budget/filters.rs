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
    /// As a model's name: without what says where it runs.
    model: Box<str>,
    /// The same without its date, if it has one.
    undated: Option<Box<str>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dimension {
    Model,
    Provider,
    Agent,
    TaskType,
    Product,
    Organization,
    Subscriber,
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

    pub fn match_call(&self, caller: &Caller<'_>, case: Case) -> bool {
        self.0.iter().all(|filter| filter.matches(caller, case))
    }
}

impl Filter {
    /// `None`: it cannot be read.
    fn read(filter: &Value) -> Option<Filter> {
        let word = |name: &str| filter.get(name).and_then(Value::as_str).map(|word| word.trim().to_ascii_uppercase());
        let dimension = match word("dimension")?.as_str() {
            "MODEL" => Dimension::Model,
            "PROVIDER" => Dimension::Provider,
            "AGENT" => Dimension::Agent,
            "TASK_TYPE" => Dimension::TaskType,
            "PRODUCT" => Dimension::Product,
            "ORGANIZATION" => Dimension::Organization,
            "SUBSCRIBER" => Dimension::Subscriber,
            "CREDENTIAL" => Dimension::Credential,
            _ => return None,
        };
        let operator = match word("operator")?.as_str() {
            "IS" => Operator::Is,
            "IS_NOT" => Operator::IsNot,
            "CONTAINS" => Operator::Contains,
            "STARTS_WITH" => Operator::StartsWith,
            "ENDS_WITH" => Operator::EndsWith,
            "IN" => Operator::In,
            _ => return None,
        };
        let values = match operator {
            Operator::In => filter.get("values")?.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?,
            _ => vec![filter.get("value")?.as_str()?],
        };
        Some(Filter { dimension, operator, values: values.into_iter().map(Operand::new).collect() })
    }

    fn matches(&self, caller: &Caller<'_>, case: Case) -> bool {
        let told = caller.told;
        let text = match self.dimension {
            Dimension::Model => return caller.model.is_empty() || self.matches_model(caller, case),
            Dimension::Provider => return caller.provider.is_empty() || self.matches_provider(caller.provider),
            // An address is the same in any case; an id is not.
            Dimension::Subscriber if told.email.is_some() => return self.compare(caller.email(), Case::Ignored),
            Dimension::Subscriber => told.subscriber_id,
            Dimension::Agent => told.agent,
            Dimension::TaskType => told.task_type,
            Dimension::Product => told.product,
            Dimension::Organization => told.organization,
            Dimension::Credential => told.credential,
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
            Operator::IsNot => by(provider) && (!also || by("ANTHROPIC")),
            _ => by(provider) || (also && by("ANTHROPIC")),
        }
    }

    /// A request without a date may be answered by any dated model of that name; only one that names its own date is
    /// surely another model.
    fn matches_model(&self, caller: &Caller<'_>, case: Case) -> bool {
        let model = caller.model;
        if self.operator == Operator::IsNot {
            return date_at(model).is_none() || self.compare(model, case);
        }
        if self.compare(model, case) {
            return true;
        }
        let plain = plain(model);
        match self.operator {
            Operator::Is | Operator::In => self.values.iter().any(|value| {
                *value.model == *plain || (date_at(&plain).is_none() && value.undated.as_deref() == Some(&*plain))
            }),
            _ => *plain != *model && self.compare(&plain, case),
        }
    }
}

impl Operand {
    fn new(text: &str) -> Operand {
        let model = of_bedrock(text).map_or_else(|| plain(text).into_owned(), str::to_owned);
        let undated = date_at(&model).map(|at| model[..at].into());
        Operand { text: text.into(), lower: text.to_lowercase().into(), undated, model: model.into() }
    }
}

/// Where `-20250929` begins at the end of a model's name.
fn date_at(model: &str) -> Option<usize> {
    let at = model.len().checked_sub(9)?;
    let date = model.as_bytes().get(at..)?;
    (date[0] == b'-' && date[1..].iter().all(u8::is_ascii_digit)).then_some(at)
}

/// The name without what routers and clouds add to it: `anthropic/`, `@` before a date, `-latest`.
fn plain(model: &str) -> Cow<'_, str> {
    let name = model.strip_prefix("anthropic/").unwrap_or(model);
    let name = name.strip_suffix("-latest").unwrap_or(name);
    match name.rsplit_once('@') {
        Some((name, date)) => format!("{name}-{date}").into(),
        None => name.into(),
    }
}

/// The plain name of `us.anthropic.claude-sonnet-4-5-20250929-v1:0`.
fn of_bedrock(model: &str) -> Option<&str> {
    let (_, name) = model.rsplit_once("anthropic.")?;
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    let (plain, version) = name.rsplit_once("-v")?;
    (!version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())).then_some(plain)
}
