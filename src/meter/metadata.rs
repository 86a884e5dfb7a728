//! What users tell about a call: read from JSON or the environment, and layers of it laid over one another.

use super::fields::{Field, Spelling, Value};
use super::misspelt;
use super::subscriber::{Gathered, Part};
use super::value::{Input, Parsed};
use crate::common::json::object as json;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Record fields that are known to be good, from a call's usage_metadata, a scope, the settings or the environment.
/// Cheap to clone.
#[derive(Clone, Default, PartialEq)]
pub struct Metadata {
    /// In the order of [`Field`], each at most once. `None` when there is nothing.
    entries: Option<Arc<[(Field, Value)]>>,
}

impl Metadata {
    /// From the text of a JSON object. Anything else gives nothing, and a warning the first time.
    pub fn from_json(text: &str) -> Metadata {
        let mut layer = Layer::default();
        let is_object = json::members(text, |key, value| {
            if let Some(name) = json::text(key) {
                layer.take(&name, Input::Json(value), Repeated::LastWins);
            }
        });
        if is_object {
            return layer.finish();
        }
        static WARNED: AtomicBool = AtomicBool::new(false);
        if !WARNED.swap(true, Relaxed) {
            crate::common::log::warn!("metadata is not an object; it is ignored");
        }
        Metadata::default()
    }

    /// From names, in wire or snake spelling, and values as the environment gives them. The first value of a name
    /// that is not blank counts.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Metadata {
        let mut layer = Layer::default();
        for (name, value) in pairs {
            layer.take(name, Input::Plain(value), Repeated::FirstWins);
        }
        layer.finish()
    }

    /// `over` laid over this: field by field, the subscriber as a whole. What `over` leaves blank stays.
    pub fn overlay(&self, over: &Metadata) -> Metadata {
        let (ours, theirs) = match (&self.entries, &over.entries) {
            (_, None) => return self.clone(),
            (None, _) => return over.clone(),
            (Some(ours), Some(theirs)) => (ours, theirs),
        };
        let mut merged = Vec::with_capacity(ours.len() + theirs.len());
        let mut theirs = theirs.iter().peekable();
        for ours in ours.iter() {
            while let Some(before) = theirs.next_if(|theirs| theirs.0 < ours.0) {
                merged.push(before.clone());
            }
            merged.push(theirs.next_if(|theirs| theirs.0 == ours.0).unwrap_or(ours).clone());
        }
        merged.extend(theirs.cloned());
        Metadata { entries: Some(merged.into()) }
    }

    /// The fields that are set.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Field, &Value)> {
        let entries = self.entries.as_deref().unwrap_or_default();
        entries.iter().filter(|(_, value)| *value != Value::Hidden).map(|(field, value)| (*field, value))
    }

    /// What is told, by the names of the record.
    pub fn told(&self) -> impl Iterator<Item = (&'static str, Told<'_>)> {
        self.iter().filter_map(|(field, value)| {
            let told = match value {
                Value::Text(text) => Told::Text(text),
                Value::Integer(number) => Told::Integer(*number),
                Value::Subscriber(subscriber) => Told::Subscriber {
                    id: subscriber.id(),
                    email: subscriber.email(),
                    credential: subscriber.credential_name(),
                },
                Value::Number(_) | Value::Hidden => return None,
            };
            Some((field.wire(), told))
        })
    }

    pub(super) fn get(&self, field: Field) -> Option<&Value> {
        let entries = self.entries.as_deref()?;
        let at = entries.binary_search_by_key(&field, |entry| entry.0).ok()?;
        Some(&entries[at].1).filter(|value| **value != Value::Hidden)
    }

    pub(super) fn text(&self, field: Field) -> Option<&Arc<str>> {
        match self.get(field)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Whom a call is for, as far as its metadata tells.
#[derive(Clone, Copy, Default)]
pub struct Attribution<'a> {
    pub agent: Option<&'a str>,
    pub task_type: Option<&'a str>,
    pub product: Option<&'a str>,
    pub organization: Option<&'a str>,
    pub subscriber_id: Option<&'a str>,
    pub email: Option<&'a str>,
    pub credential: Option<&'a str>,
}

impl Metadata {
    pub fn trace_id(&self) -> Option<&str> {
        self.text(Field::TraceId).map(|id| &**id)
    }

    /// Copies nothing.
    pub fn attribution(&self) -> Attribution<'_> {
        let text = |field| self.text(field).map(|text| &**text);
        let subscriber = match self.get(Field::Subscriber) {
            Some(Value::Subscriber(subscriber)) => Some(&**subscriber),
            _ => None,
        };
        Attribution {
            agent: text(Field::Agent),
            task_type: text(Field::TaskType),
            product: text(Field::ProductName),
            organization: text(Field::OrganizationName),
            subscriber_id: subscriber.and_then(|subscriber| subscriber.id()),
            email: subscriber.and_then(|subscriber| subscriber.email()),
            // An alias names the credential where there is no subscriber, as in the record.
            credential: match subscriber {
                Some(subscriber) => subscriber.credential(),
                None => text(Field::CredentialAlias),
            },
        }
    }
}

/// A value of the metadata, for others than the record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Told<'a> {
    Text(&'a str),
    Integer(i64),
    /// Of the credential only its name: the rest is a secret.
    Subscriber {
        id: Option<&'a str>,
        email: Option<&'a str>,
        credential: Option<&'a str>,
    },
}

/// Names only: the values are the user's.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(field, _)| field)).finish()
    }
}

/// Which value of a name that comes twice.
#[derive(Clone, Copy, PartialEq)]
enum Repeated {
    FirstWins,
    LastWins,
}

/// One layer while its fields come in: the readings that lead, by field.
struct Layer {
    readings: [Option<(Spelling, Parsed<Value>)>; Field::ALL.len()],
    flat_subscriber: Gathered,
}

impl Default for Layer {
    fn default() -> Layer {
        Layer { readings: [const { None }; Field::ALL.len()], flat_subscriber: Gathered::default() }
    }
}

impl Layer {
    fn take(&mut self, name: &str, given: Input<'_>, repeated: Repeated) {
        if let Some((field, spelling)) = Field::named(name) {
            let reading = field.read(given);
            let leads = match &self.readings[field as usize] {
                _ if matches!(reading, Parsed::Unset) => false,
                None => true,
                Some((before, _)) if spelling == *before => repeated == Repeated::LastWins,
                Some((before, _)) => spelling < *before,
            };
            if leads {
                self.readings[field as usize] = Some((spelling, reading));
            }
        } else if let Some((part, camel)) = Part::named(name) {
            self.flat_subscriber.take(part, camel, given);
        } else {
            misspelt::warn_once(name);
        }
    }

    fn finish(mut self) -> Metadata {
        // The flat names count only when the nested form gave nothing.
        let nested = &mut self.readings[Field::Subscriber as usize];
        if !matches!(nested, Some((_, Parsed::Set(_) | Parsed::Warned(..)))) {
            let flat = self.flat_subscriber.finish().map(|subscriber| Value::Subscriber(Arc::new(subscriber)));
            if !matches!(flat, Parsed::Unset) {
                *nested = Some((Spelling::Wire, flat));
            }
        }
        let mut entries = Vec::new();
        for (&field, reading) in Field::ALL.iter().zip(self.readings) {
            let Some((spelling, reading)) = reading else { continue };
            if matches!(spelling, Spelling::OldId | Spelling::OldSnakeId) {
                warn_of_old_id(field);
            }
            match reading {
                Parsed::Unset => {}
                Parsed::Set(value) => entries.push((field, value)),
                Parsed::Warned(value, note) => {
                    complain(field, note);
                    entries.push((field, value));
                }
                Parsed::Rejected(note) => {
                    complain(field, note);
                    if field.hides_when_refused() {
                        entries.push((field, Value::Hidden));
                    }
                }
            }
        }
        Metadata { entries: (!entries.is_empty()).then(|| entries.into()) }
    }
}

/// Warn about a field once in the life of the process: a wrong value usually comes with every call.
fn complain(field: Field, note: &str) {
    static WARNED: AtomicU64 = AtomicU64::new(0);
    if is_first(&WARNED, field) {
        crate::common::log::warn!("metadata: {} {note}; the record goes on (said once for this field)", field.wire());
    } else {
        crate::common::log::debug!("metadata: {} {note}", field.wire());
    }
}

fn warn_of_old_id(field: Field) {
    static WARNED: AtomicU64 = AtomicU64::new(0);
    if is_first(&WARNED, field) {
        let name = field.wire();
        crate::common::log::warn!("metadata: the id in place of {name} is deprecated and is recorded as {name}");
    }
}

/// Whether this is the first time `warned` hears of the field.
fn is_first(warned: &AtomicU64, field: Field) -> bool {
    const { assert!(Field::ALL.len() <= 64) };
    let bit = 1 << field as u8;
    warned.fetch_or(bit, Relaxed) & bit == 0
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::subscriber::Subscriber;
    use super::*;
    use proptest::prelude::*;

    fn json(text: &str) -> Metadata {
        Metadata::from_json(text)
    }

    /// The one form of what is set, hidden fields included, for comparing.
    fn shown(metadata: &Metadata) -> String {
        let entries = metadata.entries.as_deref().unwrap_or_default();
        let shown =
            entries.iter().map(|(field, value)| format!("{}={}", field.wire(), serde_json::to_string(value).unwrap()));
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn spellings() {
        for (text, expected) in [
            (r#"{"traceId":"w","trace_id":"s"}"#, r#"traceId="w""#),
            (r#"{"trace_id":"s","traceId":"w"}"#, r#"traceId="w""#),
            (r#"{"traceId":"  ","trace_id":"s"}"#, r#"traceId="s""#),
            (r#"{"traceId":null,"trace_id":"s"}"#, r#"traceId="s""#),
            (r#"{"traceId":"a","traceId":"b"}"#, r#"traceId="b""#),
            (r#"{"traceId":"a","traceId":""}"#, r#"traceId="a""#),
            (r#"{"organizationId":"I","product_id":"P"}"#, r#"organizationName="I" productName="P""#),
            (r#"{"organization_id":"i","organizationId":"I","organization_name":"N"}"#, r#"organizationName="N""#),
            (r#"{"organization_id":"i","organizationId":"I","organizationName":""}"#, r#"organizationName="I""#),
            (r#"{"\u0061gent":"a","agent\ud800":"b"}"#, r#"agent="a""#),
            (r#"{"operationType":"EMBED","provider":"X","transaction_id":"t","stopReason":"END","totalCost":1}"#, ""),
        ] {
            assert_eq!(shown(&json(text)), expected, "{text}");
        }
    }

    #[test]
    fn subscribers() {
        for (text, expected) in [
            (r#"{"subscriber":{"id":"n"},"subscriber_email":"f@b.co"}"#, r#"subscriber={"id":"n"}"#),
            (r#"{"subscriber":{},"subscriber_email":"f@b.co"}"#, r#"subscriber={"email":"f@b.co"}"#),
            (r#"{"subscriber":"text","subscriberId":"f"}"#, r#"subscriber={"id":"f"}"#),
            (
                r#"{"subscriberCredential":"v","subscriber_credential":"s","subscriber_credential_name":"n"}"#,
                r#"subscriber={"credential":{"name":"n","value":"v"}}"#,
            ),
            (r#"{"subscriber_id":"s","subscriberId":"w"}"#, r#"subscriber={"id":"w"}"#),
            (r#"{"subscriberId":"w","subscriber_id":"s"}"#, r#"subscriber={"id":"w"}"#),
            (r#"{"subscriber":{"credential":{"value":""}}}"#, ""),
        ] {
            assert_eq!(shown(&json(text)), expected, "{text}");
        }
    }

    #[test]
    fn one_bad_field_never_loses_the_others() {
        for bad in ["1e999", r#""\ud800""#, "[[[[[[[[1]]]]]]]]", r#"{"a":{"b":{}}}"#, "true", "\"\\u0000\""] {
            for field in Field::ALL {
                let text = format!(r#"{{"agent":"a","{}":{bad},"speed":"fast"}}"#, field.wire());
                let read = json(&text);
                assert!(read.text(Field::Agent).is_some() || *field == Field::Agent, "{text}");
                assert!(read.text(Field::Speed).is_some() || *field == Field::Speed, "{text}");
            }
        }
        for text in ["[]", "null", "\"x\"", "7", "", "{"] {
            assert_eq!(json(text), Metadata::default(), "{text}");
        }
    }

    #[test]
    fn layers() {
        for (outer, inner, expected) in [
            (r#"{"task_type":"o","agent":"o"}"#, r#"{"taskType":"i"}"#, r#"taskType="i" agent="o""#),
            (r#"{"agent":"o"}"#, r#"{"agent":null,"speed":""}"#, r#"agent="o""#),
            (
                r#"{"subscriber":{"id":"o","email":"o@x.co"}}"#,
                r#"{"subscriberEmail":"c@x.co"}"#,
                r#"subscriber={"email":"c@x.co"}"#,
            ),
            (r#"{"traceType":"o"}"#, r#"{"trace_type":"bad type!"}"#, "traceType=null"),
            (r#"{"traceType":"bad type!"}"#, r#"{"trace_type":"i"}"#, r#"traceType="i""#),
            (r#"{"traceType":"o"}"#, r#"{"trace_type":" "}"#, r#"traceType="o""#),
            (r#"{"agenticJobId":"o"}"#, r#"{"agenticJobId":"bad id"}"#, "agenticJobId=null"),
            (r#"{"retryNumber":1}"#, r#"{"retryNumber":"two"}"#, "retryNumber=1"),
        ] {
            let merged = json(outer).overlay(&json(inner));
            assert_eq!(shown(&merged), expected, "{outer} under {inner}");
        }
        let hidden = json(r#"{"traceType":"o"}"#).overlay(&json(r#"{"traceType":"bad type!"}"#));
        assert!(hidden.get(Field::TraceType).is_none() && hidden.iter().next().is_none());
    }

    #[test]
    fn pairs_of_the_environment() {
        let pairs = [
            ("environment", " "),
            ("environment", "dep\n"),
            ("environment", "later"),
            ("retryNumber", "4"),
            ("traceType", "bad type"),
            ("nonsense", "x"),
            ("subscriber_id", "s"),
        ];
        let expected = r#"subscriber={"id":"s"} environment="dep" traceType=null retryNumber=4"#;
        assert_eq!(shown(&Metadata::from_pairs(pairs)), expected);
        let (camel, snake) = ([("traceId", "w")], [("trace_id", "w")]);
        assert_eq!(Metadata::from_pairs(camel), Metadata::from_pairs(snake));
    }

    #[test]
    fn debug_shows_no_values() {
        let read = json(r#"{"subscriber":{"email":"secret@x.co"},"agent":"secret"}"#);
        assert_eq!(format!("{read:?}"), "{Subscriber, Agent}");
    }

    pub fn snake(wire: &str) -> String {
        wire.chars().fold(String::new(), |snake, c| match c.is_ascii_uppercase() {
            true => snake + "_" + &c.to_ascii_lowercase().to_string(),
            false => snake + &c.to_string(),
        })
    }

    /// Any JSON value, with what a strict reader refuses.
    fn any_value() -> impl Strategy<Value = String> {
        let text = prop_oneof![".{0,20}", "[a-z0-9_. -]{0,20}", "[aé ]{250,300}"];
        let leaf = prop_oneof![
            4 => text.prop_map(|text| serde_json::to_string(&text).unwrap()),
            1 => any::<i64>().prop_map(|number| number.to_string()),
            1 => (0..2000).prop_map(|number| (f64::from(number) / 100.0).to_string()),
            1 => prop::sample::select(vec![
                "null", "true", "1e999", "-1E400", r#""\ud800""#, r#""x\udfff\n""#, r#""  ""#, r#""12""#, r#""1e999""#,
            ]).prop_map(String::from),
        ];
        leaf.prop_recursive(6, 24, 4, |inner| {
            let part = prop::sample::select(vec!["id", "email", "credential", "name", "value", "x"]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(","))),
                prop::collection::vec((part, inner), 0..4).prop_map(|members| object(&members)),
            ]
        })
    }

    fn object<S: AsRef<str>>(members: &[(S, String)]) -> String {
        let members = members.iter().map(|(key, value)| format!(r#""{}":{value}"#, key.as_ref()));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }

    fn any_members() -> impl Strategy<Value = Vec<(&'static str, String)>> {
        let key = prop::sample::select(Field::ALL.iter().map(|field| field.wire()).collect::<Vec<_>>());
        prop::collection::vec((key, any_value()), 0..16)
    }

    /// The text of any object as usage_metadata.
    pub fn any_object() -> impl Strategy<Value = String> {
        let mut keys: Vec<String> =
            Field::ALL.iter().flat_map(|field| [field.wire().into(), snake(field.wire())]).collect();
        let others = [
            "organizationId",
            "product_id",
            "subscriberId",
            "subscriber_email",
            "subscriberCredential",
            "subscriber_credential_name",
            "operationType",
            "transactionId",
            "model",
            "\\ud800",
            "",
        ];
        keys.extend(others.map(String::from));
        prop::collection::vec((prop::sample::select(keys), any_value()), 0..16).prop_map(|members| object(&members))
    }

    proptest! {
        #[test]
        fn overlay_is_associative(a in any_object(), b in any_object(), c in any_object()) {
            let (a, b, c) = (json(&a), json(&b), json(&c));
            prop_assert_eq!(shown(&a.overlay(&b).overlay(&c)), shown(&a.overlay(&b.overlay(&c))));
        }

        #[test]
        fn overlay_takes_the_inner_field_where_it_is_set(a in any_object(), b in any_object()) {
            let (a, b) = (json(&a), json(&b));
            let merged = a.overlay(&b);
            for &field in Field::ALL {
                let set = |layer: &Metadata| layer.entries.iter().flat_map(|e| e.iter()).find(|e| e.0 == field).cloned();
                prop_assert!(set(&merged) == set(&b).or(set(&a)));
            }
        }

        #[test]
        fn blank_never_erases(outer in any_object(), blank in prop::sample::select(vec!["null", "\"\"", "\" \\n\""])) {
            let outer = json(&outer);
            let members: Vec<_> = Field::ALL.iter().map(|field| (field.wire(), blank.to_string())).collect();
            prop_assert!(outer.overlay(&json(&object(&members))) == outer);
        }

        #[test]
        fn both_spellings_say_the_same(members in any_members()) {
            let snakes: Vec<_> = members.iter().map(|(key, value)| (snake(key), value.clone())).collect();
            prop_assert_eq!(shown(&json(&object(&members))), shown(&json(&object(&snakes))));
        }

        #[test]
        fn what_was_read_is_read_again_the_same(text in any_object()) {
            let read = json(&text);
            let members: Vec<_> = read.iter().map(|(f, v)| (f.wire(), serde_json::to_string(v).unwrap())).collect();
            let again = json(&object(&members));
            prop_assert!(read.iter().eq(again.iter()), "{} / {}", shown(&read), shown(&again));
        }
    }

    #[test]
    fn aliases_make_a_subscriber_of_their_own() {
        let alias = Subscriber::of_alias(&"prod-key".into());
        assert_eq!(serde_json::to_string(&alias).unwrap(), r#"{"credential":{"name":"prod-key"}}"#);
    }
}
