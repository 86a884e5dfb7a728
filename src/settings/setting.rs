//! What one setting is, and how its value is read and shown.

use std::ops::RangeInclusive;

use serde_json::value::RawValue;
use serde_json::{Number, Value as Json};

use super::{Provider, Settings};
use crate::common::log::redact;

/// One row.
pub(super) struct Setting {
    /// The JSON key.
    pub key: &'static str,
    /// The environment variables, first one wins. Empty: `REVENIUM_` and the key in upper case.
    pub env: &'static [&'static str],
    pub kind: Kind,
    /// As it would stand in the environment; empty for none.
    pub default: &'static str,
    /// Never shown.
    pub secret: bool,
    /// Whose prompts and keys would go elsewhere by a default that somebody did not want.
    pub steers: Option<Steers>,
    pub meaning: &'static str,
}

/// Which calls a malformed value of the environment refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steers {
    Every,
    /// Those to one provider.
    Only(Provider),
    /// Those that bring no credential.
    WithoutCredential,
}

/// How a setting is read, and where it goes.
pub(super) enum Kind {
    Number {
        range: RangeInclusive<u64>,
        set: fn(&mut Settings, u64),
    },
    Flag {
        set: fn(&mut Settings, bool),
    },
    /// `set` says whether it took the text. It gets "" where the configuration says "none".
    Text {
        allowed: &'static str,
        set: fn(&mut Settings, &str) -> bool,
    },
    /// Like `Text`; in the configuration a JSON object or array is welcome too, and comes as its text.
    Structure {
        allowed: &'static str,
        set: fn(&mut Settings, &str) -> bool,
    },
    /// A field of the usage record, checked where records are made.
    RecordField,
}

impl Setting {
    pub fn env_names(&self) -> Vec<String> {
        match self.env {
            [] => vec![format!("REVENIUM_{}", self.key.to_ascii_uppercase())],
            names => names.iter().map(|name| name.to_string()).collect(),
        }
    }

    /// What a valid value is, to follow "must be".
    pub fn allowed(&self) -> String {
        match &self.kind {
            Kind::Number { range, .. } => format!("a whole number from {} to {}", range.start(), range.end()),
            Kind::Flag { .. } => "true or false".into(),
            Kind::Text { allowed, .. } | Kind::Structure { allowed, .. } => allowed.to_string(),
            Kind::RecordField => "text".into(),
        }
    }

    /// `value` as people may see it.
    pub fn show(&self, value: &Value) -> Json {
        match value {
            Value::Number(number) => (*number).into(),
            Value::Flag(flag) => (*flag).into(),
            Value::Text(text) if self.secret => (!text.is_empty()).into(),
            Value::Text(text) => {
                let text = redact(text);
                let structure = matches!(self.kind, Kind::Structure { .. }).then(|| serde_json::from_str(&text).ok());
                structure.flatten().unwrap_or_else(|| text.into())
            }
        }
    }

    pub const fn new(key: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Setting {
        Setting { key, env: &[], kind, default, secret: false, steers: None, meaning }
    }

    pub const fn env(mut self, names: &'static [&'static str]) -> Setting {
        self.env = names;
        self
    }

    /// A malformed value in the environment refuses calls, where others are a warning and the default.
    pub const fn steering(mut self, which: Steers) -> Setting {
        self.steers = Some(which);
        self
    }

    pub const fn secret(mut self) -> Setting {
        self.secret = true;
        self
    }
}

pub(super) const fn number(
    key: &'static str,
    range: RangeInclusive<u64>,
    default: &'static str,
    set: fn(&mut Settings, u64),
    meaning: &'static str,
) -> Setting {
    Setting::new(key, Kind::Number { range, set }, default, meaning)
}

pub(super) const fn flag(
    key: &'static str,
    default: &'static str,
    set: fn(&mut Settings, bool),
    meaning: &'static str,
) -> Setting {
    Setting::new(key, Kind::Flag { set }, default, meaning)
}

pub(super) const fn text(
    key: &'static str,
    allowed: &'static str,
    default: &'static str,
    set: fn(&mut Settings, &str) -> bool,
    meaning: &'static str,
) -> Setting {
    Setting::new(key, Kind::Text { allowed, set }, default, meaning)
}

pub(super) const fn structure(
    key: &'static str,
    allowed: &'static str,
    default: &'static str,
    set: fn(&mut Settings, &str) -> bool,
    meaning: &'static str,
) -> Setting {
    Setting::new(key, Kind::Structure { allowed, set }, default, meaning)
}

pub(super) const fn record(key: &'static str, meaning: &'static str) -> Setting {
    Setting::new(key, Kind::RecordField, "", meaning)
}

/// What was read for a setting, before it is checked against the table.
pub(super) enum Value {
    Number(u64),
    Flag(bool),
    Text(String),
}

impl Value {
    pub fn from_config(kind: &Kind, raw: &RawValue) -> Option<Value> {
        fn read<'a, T: serde::Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
            serde_json::from_str(raw.get()).ok()
        }
        let text = || read(raw).map(|text: String| Value::Text(text.trim().to_string()));
        match kind {
            Kind::Number { .. } => read(raw).and_then(whole).map(Value::Number),
            Kind::Flag { .. } => read(raw).map(Value::Flag),
            Kind::Text { .. } => text(),
            Kind::Structure { .. } if raw.get().starts_with(['{', '[']) => Some(Value::Text(raw.get().to_string())),
            Kind::Structure { .. } => text(),
            Kind::RecordField => text().or_else(|| read(raw).map(|number: Number| Value::Text(number.to_string()))),
        }
    }

    /// `text` is trimmed. Names in `_SECONDS` hold seconds where we count milliseconds.
    pub fn from_environment(kind: &Kind, name: &str, text: &str) -> Option<Value> {
        match kind {
            Kind::Number { .. } if name.ends_with("_SECONDS") => {
                let milliseconds = text.parse::<f64>().ok()? * 1000.0;
                (milliseconds >= 0.0).then_some(Value::Number(milliseconds.round() as u64))
            }
            Kind::Number { .. } => text.parse().ok().map(Value::Number),
            Kind::Flag { .. } => match text.to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "on" => Some(Value::Flag(true)),
                "0" | "false" | "no" | "off" => Some(Value::Flag(false)),
                _ => None,
            },
            Kind::Text { .. } | Kind::Structure { .. } | Kind::RecordField => Some(Value::Text(text.to_string())),
        }
    }
}

/// Some languages write every number with a point.
fn whole(number: Number) -> Option<u64> {
    let integral = |float: &f64| float.fract() == 0.0 && (0.0..=u64::MAX as f64).contains(float);
    number.as_u64().or_else(|| number.as_f64().filter(integral).map(|float| float as u64))
}
