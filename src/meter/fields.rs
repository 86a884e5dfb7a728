//! The table of what users can tell about a call, and the guards that keep one bad value from losing the record.
//!
//! Revenium answers 400 to the whole record for some malformed fields, and 201 without ever storing it for over-long
//! ones. So: what has a pattern is dropped when it does not match, what is only too long is cut.

use super::subscriber::Subscriber;
use super::value::{Input, MALFORMED, Parsed, is_spelled, matching, number, text};
use serde::{Serialize, Serializer};
use serde_json::Number;
use std::sync::Arc;

/// What a field may hold.
#[derive(Clone, Copy)]
enum Kind {
    /// Any text, trimmed and cut at so many characters.
    Text(usize),
    /// At most so many ASCII letters, digits and these.
    Token(usize, &'static str),
    /// An agentic job's id: it becomes a path segment of Revenium's API.
    JobId,
    /// One of these words, in any case.
    Word(&'static [&'static str]),
    /// 0 to 2147483647.
    Integer,
    /// A number nearer to 0 than this.
    Number(f64),
    Subscriber,
}

macro_rules! fields {
    ($($field:ident $wire:literal $kind:expr;)*) => {
        /// A field that metadata may set, in the order of the record.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub(super) enum Field { $($field),* }

        impl Field {
            pub const ALL: &[Field] = &[$(Field::$field),*];

            /// The name in the record.
            pub const fn wire(self) -> &'static str {
                match self { $(Field::$field => $wire),* }
            }

            fn kind(self) -> Kind {
                use Kind::{Integer, JobId, Number, Subscriber, Text, Token, Word};
                match self { $(Field::$field => $kind),* }
            }
        }
    };
}

fields! {
    OrganizationName        "organizationName"          Text(usize::MAX);
    ProductName             "productName"               Text(224);
    SubscriptionId          "subscriptionId"            Text(255);
    Subscriber              "subscriber"                Subscriber;
    CredentialAlias         "credentialAlias"           Text(255);
    TaskType                "taskType"                  Text(255);
    Agent                   "agent"                     Text(255);
    AgentVersion            "agentVersion"              Text(64);
    Environment             "environment"               Text(255);
    Region                  "region"                    Text(255);
    TraceId                 "traceId"                   Text(255);
    TraceType               "traceType"                 Token(128, "_-");
    TraceName               "traceName"                 Text(256);
    TicketId                "ticketId"                  Text(256);
    TransactionName         "transactionName"           Text(255);
    ParentTransactionId     "parentTransactionId"       Text(255);
    RetryNumber             "retryNumber"               Integer;
    ResponseQualityScore    "responseQualityScore"      Number(999.995);
    OperationSubtype        "operationSubtype"          Text(255);
    Effort                  "effort"                    Token(16, "_-");
    Speed                   "speed"                     Token(16, "_-");
    Entrypoint              "entrypoint"                Token(64, "._-");
    ClientSurface           "clientSurface"             Token(64, "._-");
    PromptId                "promptId"                  Token(64, "_-");
    PromptLength            "promptLength"              Integer;
    QuerySource             "querySource"               Token(128, "._:-");
    SubagentType            "subagentType"              Token(128, "._:-");
    SkillName               "skillName"                 Text(255);
    SkillSource             "skillSource"               Text(255);
    SkillKind               "skillKind"                 Text(255);
    SkillPluginName         "skillPluginName"           Text(255);
    SkillMarketplaceName    "skillMarketplaceName"      Text(255);
    SkillInvocationTrigger  "skillInvocationTrigger"    Text(255);
    AgenticJobId            "agenticJobId"              JobId;
    AgenticJobName          "agenticJobName"            Text(255);
    AgenticJobType          "agenticJobType"            Text(255);
    AgenticJobVersion       "agenticJobVersion"         Text(255);
    SquadId                 "squadId"                   Text(255);
    SquadName               "squadName"                 Text(255);
    SquadRole               "squadRole"                 Text(255);
    CodingAssistantAccount  "codingAssistantAccountUuid" Text(255);
    MediationLatency        "mediationLatency"          Integer;
    ModelHost               "modelHost"                 Text(255);
    SystemFingerprint       "systemFingerprint"         Text(255);
    Temperature             "temperature"               Number(f64::INFINITY);
    CostMultiplier          "costMultiplier"            Number(f64::INFINITY);
    PricingTier             "pricingTier"               Word(&["STANDARD", "BATCH"]);
    SubscriptionTier        "subscriptionTier"          Text(255);
    ActualServiceTier       "actualServiceTier"         Text(255);
    RequestedServiceTier    "requestedServiceTier"      Text(255);
}

/// How a field was spelled; the first spelling that is set wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Spelling {
    /// The name in the record.
    Wire,
    /// The same in snake_case.
    Snake,
    /// `organizationId` and `productId`, which Revenium drops without a word.
    OldId,
    OldSnakeId,
}

impl Field {
    /// The field of this name, in any of its spellings.
    pub fn named(name: &str) -> Option<(Field, Spelling)> {
        let field = match name {
            "organizationId" => return Some((Field::OrganizationName, Spelling::OldId)),
            "productId" => return Some((Field::ProductName, Spelling::OldId)),
            "organization_id" => return Some((Field::OrganizationName, Spelling::OldSnakeId)),
            "product_id" => return Some((Field::ProductName, Spelling::OldSnakeId)),
            name => Field::ALL.iter().copied().find(|field| is_spelled(name, field.wire()))?,
        };
        Some((field, if name == field.wire() { Spelling::Wire } else { Spelling::Snake }))
    }

    /// Whether a malformed value also hides what outer layers say. A call with a wrong id belongs to none
    /// rather than to another.
    pub fn hides_when_refused(self) -> bool {
        matches!(self, Field::TraceType | Field::AgenticJobId)
    }

    /// Text of a request or a reply, where this field takes it as it is: else it would cost the record.
    pub fn fitting(self, text: Option<&str>) -> Option<&str> {
        text.filter(|text| match self.kind() {
            Kind::Token(limit, marks) => !text.is_empty() && is_token(text, limit, marks),
            _ => false,
        })
    }

    pub fn read(self, given: Input<'_>) -> Parsed<Value> {
        match self.kind() {
            Kind::Text(limit) => text(given, limit).map(Value::Text),
            Kind::Token(limit, marks) => matching(given, |text| is_token(text, limit, marks)).map(Value::Text),
            Kind::JobId => matching(given, is_job_id).map(Value::Text),
            Kind::Word(words) => word(given, words).map(Value::Text),
            Kind::Integer => number(given, |number| integer(&number).map(Value::Integer)),
            Kind::Number(limit) => number(given, |number| {
                let near = number.as_f64().is_some_and(|number| number.abs() < limit);
                near.then_some(Value::Number(number))
            })
            .noting(|value| {
                let odd = self == Field::ResponseQualityScore && !value.is_within(0.0, 1.0);
                odd.then_some("is outside 0 to 1")
            }),
            Kind::Subscriber => Subscriber::nested(given).map(|subscriber| Value::Subscriber(Arc::new(subscriber))),
        }
    }
}

/// A value that may go out.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Text(Arc<str>),
    Integer(i64),
    Number(Number),
    Subscriber(Arc<Subscriber>),
    /// A malformed value stood here, and what outer layers say does not hold either.
    Hidden,
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Integer(integer) => serializer.serialize_i64(*integer),
            Value::Number(number) => number.serialize(serializer),
            Value::Subscriber(subscriber) => subscriber.serialize(serializer),
            Value::Hidden => serializer.serialize_unit(),
        }
    }
}

impl Value {
    fn is_within(&self, low: f64, high: f64) -> bool {
        matches!(self, Value::Number(number) if number.as_f64().is_some_and(|number| (low..=high).contains(&number)))
    }
}

fn is_token(text: &str, limit: usize, marks: &str) -> bool {
    text.len() <= limit && text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
}

fn is_job_id(text: &str) -> bool {
    is_token(text, 255, "._-")
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        // These two are endpoints of their own beside the jobs.
        && !matches!(text, "types" | "conversion-funnel")
}

fn word(given: Input<'_>, words: &'static [&'static str]) -> Parsed<Arc<str>> {
    match text(given, usize::MAX) {
        Parsed::Set(text) => match words.iter().find(|word| word.eq_ignore_ascii_case(&text)) {
            Some(word) => Parsed::Set((*word).into()),
            None => Parsed::Rejected(MALFORMED),
        },
        Parsed::Unset => Parsed::Unset,
        _ => Parsed::Rejected(MALFORMED),
    }
}

fn integer(number: &Number) -> Option<i64> {
    let whole = || number.as_f64().filter(|float| float.fract() == 0.0).map(|float| float as i64);
    number.as_i64().or_else(whole).filter(|integer| (0..=i64::from(i32::MAX)).contains(integer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    /// What goes out for a JSON value, as JSON text: empty when nothing does.
    fn sent(field: Field, json: &str) -> String {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        match field.read(Input::Json(raw)) {
            Parsed::Set(value) | Parsed::Warned(value, _) => match value {
                Value::Text(text) => format!("{:?}", &*text),
                Value::Integer(integer) => integer.to_string(),
                Value::Number(number) => number.to_string(),
                Value::Subscriber(_) | Value::Hidden => panic!("{json}"),
            },
            Parsed::Unset => "unset".into(),
            Parsed::Rejected(_) => String::new(),
        }
    }

    #[test]
    fn names_are_found_in_every_spelling() {
        for &field in Field::ALL {
            assert_eq!(Field::named(field.wire()), Some((field, Spelling::Wire)));
        }
        for (name, expected) in [
            ("trace_id", Some((Field::TraceId, Spelling::Snake))),
            ("response_quality_score", Some((Field::ResponseQualityScore, Spelling::Snake))),
            ("coding_assistant_account_uuid", Some((Field::CodingAssistantAccount, Spelling::Snake))),
            ("organizationId", Some((Field::OrganizationName, Spelling::OldId))),
            ("product_id", Some((Field::ProductName, Spelling::OldSnakeId))),
            ("Trace_id", None),
            ("trace_idx", None),
            ("trace_", None),
            ("operationType", None),
            ("transactionId", None),
            ("middlewareSource", None),
            ("idempotency_key", None),
            ("", None),
        ] {
            assert_eq!(Field::named(name), expected, "{name}");
        }
    }

    #[test]
    fn guards() {
        use Field::*;
        let long = |count| format!("\"{}\"", "é".repeat(count));
        let token = |count| format!("\"{}\"", "a".repeat(count));
        for (field, json, expected) in [
            (TraceId, r#"" spaced ""#, r#""spaced""#),
            (TraceId, r#""  ""#, "unset"),
            (TraceId, "null", "unset"),
            (TraceId, "12.50", r#""12.50""#),
            (TraceId, "true", ""),
            (TraceId, r#"{"a":1}"#, ""),
            (TraceId, r#"["a"]"#, ""),
            (TraceId, r#""a\ud800b""#, "\"a\u{FFFD}b\""),
            (Agent, &long(256), &long(255)),
            (OrganizationName, &long(2000), &long(2000)),
            (ProductName, &long(225), &long(224)),
            (TraceName, &long(257), &long(256)),
            (TicketId, &long(300), &long(256)),
            (AgentVersion, &long(65), &long(64)),
            (TraceType, &token(128), &token(128)),
            (TraceType, &token(129), ""),
            (TraceType, r#""bad type!""#, ""),
            (TraceType, r#""wf\n""#, ""),
            (TraceType, r#""  ""#, "unset"),
            (TraceType, "[1]", ""),
            (Effort, r#""high""#, r#""high""#),
            (Effort, r#""very high""#, ""),
            (Speed, &token(17), ""),
            (QuerySource, r#""a.b:c-d_e""#, r#""a.b:c-d_e""#),
            (SubagentType, r#""a/b""#, ""),
            (ClientSurface, r#""a:b""#, ""),
            (Entrypoint, &token(65), ""),
            (PromptId, r#""p.1""#, ""),
            (PromptId, "7", r#""7""#),
            (PromptLength, r#"" 321 ""#, "321"),
            (PromptLength, "3.0", "3"),
            (PromptLength, "3.5", ""),
            (PromptLength, "-1", ""),
            (PromptLength, "2147483647", "2147483647"),
            (PromptLength, "2147483648", ""),
            (PromptLength, "1e999", ""),
            (PromptLength, "true", ""),
            (RetryNumber, r#""two""#, ""),
            (RetryNumber, "\"\"", "unset"),
            (ResponseQualityScore, "0.93", "0.93"),
            (ResponseQualityScore, r#""0.5""#, "0.5"),
            (ResponseQualityScore, r#""+.5""#, "0.5"),
            (ResponseQualityScore, r#""NaN""#, ""),
            (ResponseQualityScore, r#""inf""#, ""),
            (ResponseQualityScore, "-1e999", ""),
            (ResponseQualityScore, "999.99", "999.99"),
            (ResponseQualityScore, "999.995", ""),
            (CostMultiplier, "2", "2"),
            (CostMultiplier, r#""1e999""#, ""),
            (PricingTier, r#""batch""#, r#""BATCH""#),
            (PricingTier, r#""gold""#, ""),
            (AgenticJobId, r#""job-1.a_B""#, r#""job-1.a_B""#),
            (AgenticJobId, r#""job-1\n""#, ""),
            (AgenticJobId, r#""-job""#, ""),
            (AgenticJobId, r#""types""#, ""),
            (AgenticJobId, r#""conversion-funnel""#, ""),
            (AgenticJobId, &token(256), ""),
            (AgenticJobId, "42", r#""42""#),
        ] {
            assert_eq!(sent(field, json), expected, "{field:?} {json}");
        }
    }

    #[test]
    fn odd_values_are_worth_a_warning() {
        let noted = |field: Field, json: &str| {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            matches!(field.read(Input::Json(raw)), Parsed::Warned(..))
        };
        assert!(noted(Field::ResponseQualityScore, "93"));
        assert!(!noted(Field::ResponseQualityScore, "1"));
        assert!(noted(Field::AgentVersion, &format!("\"{}\"", "1".repeat(65))));
        assert!(noted(Field::Agent, r#""\udfff""#));
        assert!(!noted(Field::Agent, r#""plain""#));
    }

    #[test]
    fn plain_values_are_trimmed_first() {
        let read = Field::AgenticJobId.read(Input::Plain(" job-1\r\n"));
        assert!(matches!(read, Parsed::Set(Value::Text(text)) if &*text == "job-1"));
        assert!(matches!(Field::RetryNumber.read(Input::Plain("4 ")), Parsed::Set(Value::Integer(4))));
        assert!(matches!(Field::RetryNumber.read(Input::Plain("x")), Parsed::Rejected(_)));
        assert!(matches!(Field::Subscriber.read(Input::Plain("somebody")), Parsed::Rejected(_)));
    }
}
