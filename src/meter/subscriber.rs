//! Who the call was for.

use super::value::{self, Input, Parsed};
use crate::common::json::object as json;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::sync::Arc;

/// `subscriber` of the record: never empty, replaced as a whole by an inner layer.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Subscriber {
    id: Option<Arc<str>>,
    email: Option<Arc<str>>,
    credential: Credential,
}

#[derive(Clone, Default, PartialEq)]
struct Credential {
    name: Option<Arc<str>>,
    value: Option<Arc<str>>,
}

/// A part that is also accepted flat, beside the other fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Id,
    Email,
    CredentialName,
    CredentialValue,
}

impl Part {
    const FLAT: [(&str, Part); 4] = [
        ("subscriberId", Part::Id),
        ("subscriberEmail", Part::Email),
        ("subscriberCredentialName", Part::CredentialName),
        ("subscriberCredential", Part::CredentialValue),
    ];

    /// The part of this flat name, and whether the name is the camelCase one.
    pub fn named(name: &str) -> Option<(Part, bool)> {
        let (wire, part) = Part::FLAT.into_iter().find(|(wire, _)| value::is_spelled(name, wire))?;
        Some((part, name == wire))
    }

    fn read(self, given: Input<'_>) -> Parsed<Arc<str>> {
        let limit = match self {
            Part::Id | Part::Email => 255,
            // A credential that was cut would be another one.
            Part::CredentialName | Part::CredentialValue => usize::MAX,
        };
        value::text(given, limit)
    }
}

impl Subscriber {
    /// The nested form: members other than id, email and credential are left out.
    pub fn nested(given: Input<'_>) -> Parsed<Subscriber> {
        if let Parsed::Unset = value::text(given, 0) {
            return Parsed::Unset;
        }
        let Input::Json(raw) = given else { return Parsed::Rejected("is not an object") };
        let mut gathered = Gathered::default();
        let is_object = json::members(raw.get(), |key, value| match json::text(key).as_deref() {
            Some("id") => gathered.take(Part::Id, true, Input::Json(value)),
            Some("email") => gathered.take(Part::Email, true, Input::Json(value)),
            Some("credential") => {
                json::members(value.get(), |key, value| match json::text(key).as_deref() {
                    Some("name") => gathered.take(Part::CredentialName, true, Input::Json(value)),
                    Some("value") => gathered.take(Part::CredentialValue, true, Input::Json(value)),
                    _ => {}
                });
            }
            _ => {}
        });
        if is_object { gathered.finish() } else { Parsed::Rejected("is not an object") }
    }

    pub fn credential_name(&self) -> Option<&str> {
        self.credential.name.as_deref()
    }

    /// What a credential's alias says: Revenium stores only the subscriber's credential name. Not for
    /// subscribers that are already known, because a credential of one name would merge them.
    pub fn of_alias(alias: &Arc<str>) -> Subscriber {
        let credential = Credential { name: Some(alias.clone()), value: None };
        Subscriber { credential, ..Default::default() }
    }

    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// The credential's name, else its value.
    pub fn credential(&self) -> Option<&str> {
        self.credential.name.as_deref().or(self.credential.value.as_deref())
    }

    fn part(&mut self, part: Part) -> &mut Option<Arc<str>> {
        match part {
            Part::Id => &mut self.id,
            Part::Email => &mut self.email,
            Part::CredentialName => &mut self.credential.name,
            Part::CredentialValue => &mut self.credential.value,
        }
    }
}

/// A subscriber while its parts come in.
#[derive(Default)]
pub(super) struct Gathered {
    subscriber: Subscriber,
    camel: [bool; 4],
    note: Option<&'static str>,
}

impl Gathered {
    /// Take a part. The camelCase name wins over the other, and of one name the later.
    pub fn take(&mut self, part: Part, camel: bool, given: Input<'_>) {
        let value = match part.read(given) {
            Parsed::Set(value) => value,
            Parsed::Warned(value, note) => {
                self.note = Some(note);
                value
            }
            Parsed::Rejected(note) => {
                self.note = Some(note);
                return;
            }
            Parsed::Unset => return,
        };
        let stronger = &mut self.camel[part as usize];
        if camel || !*stronger {
            *stronger = camel;
            *self.subscriber.part(part) = Some(value);
        }
    }

    pub fn finish(self) -> Parsed<Subscriber> {
        match (self.subscriber == Subscriber::default(), self.note) {
            (true, None) => Parsed::Unset,
            (true, Some(note)) => Parsed::Rejected(note),
            (false, None) => Parsed::Set(self.subscriber),
            (false, Some(note)) => Parsed::Warned(self.subscriber, note),
        }
    }
}

impl Serialize for Subscriber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        put(&mut map, "id", &self.id)?;
        put(&mut map, "email", &self.email)?;
        if self.credential != Credential::default() {
            map.serialize_entry("credential", &self.credential)?;
        }
        map.end()
    }
}

impl Serialize for Credential {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        put(&mut map, "name", &self.name)?;
        put(&mut map, "value", &self.value)?;
        map.end()
    }
}

fn put<M: SerializeMap>(map: &mut M, name: &str, text: &Option<Arc<str>>) -> Result<(), M::Error> {
    match text {
        Some(text) => map.serialize_entry(name, &**text),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(json: &str) -> String {
        match Subscriber::nested(Input::Json(serde_json::from_str(json).unwrap())) {
            Parsed::Set(subscriber) | Parsed::Warned(subscriber, _) => serde_json::to_string(&subscriber).unwrap(),
            Parsed::Unset => "unset".into(),
            Parsed::Rejected(_) => String::new(),
        }
    }

    #[test]
    fn nested_form() {
        let long = "x".repeat(256);
        for (json, expected) in [
            (
                r#"{"id":"s","plan":"gold","credential":{"name":"n","value":"v","kind":"k"}}"#.into(),
                r#"{"id":"s","credential":{"name":"n","value":"v"}}"#.into(),
            ),
            (r#"{"id":7,"email":" a@b.co ","credential":"text"}"#.into(), r#"{"id":"7","email":"a@b.co"}"#.into()),
            (r#"{"id":{"deep":[[[[[[[]]]]]]]},"email":"a@b.co"}"#.into(), r#"{"email":"a@b.co"}"#.into()),
            (format!(r#"{{"id":"{long}"}}"#), format!(r#"{{"id":"{}"}}"#, &long[1..])),
            (r#"{"id":"","credential":{}}"#.into(), "unset".into()),
            ("{}".into(), "unset".into()),
            ("null".into(), "unset".into()),
            (r#"" ""#.into(), "unset".into()),
            (r#""just-a-string""#.into(), String::new()),
            ("[1]".into(), String::new()),
            (r#"{"id":true}"#.into(), String::new()),
        ] {
            let (json, expected): (String, String) = (json, expected);
            assert_eq!(sent(&json), expected, "{json}");
        }
    }

    #[test]
    fn flat_names() {
        for (name, expected) in [
            ("subscriberId", Some((Part::Id, true))),
            ("subscriber_email", Some((Part::Email, false))),
            ("subscriber_credential_name", Some((Part::CredentialName, false))),
            ("subscriberCredential", Some((Part::CredentialValue, true))),
            ("subscriber", None),
        ] {
            assert_eq!(Part::named(name), expected, "{name}");
        }
    }
}
