//! What the record needs to know of a request.

use crate::common::json::object::{self as json, Object};
use memchr::memmem;
use serde_json::value::RawValue;

/// Read once from the request body.
#[derive(Clone, Debug, Default)]
pub struct RequestFacts {
    /// The model asked for; empty when the request names none.
    pub model: String,
    pub has_tools: bool,
    pub has_vision: bool,
    /// The number as it is written.
    pub temperature: Option<Box<RawValue>>,
    pub service_tier: Option<String>,
    /// `output_config.effort`.
    pub effort: Option<String>,
    pub speed: Option<String>,
    /// The model of the advisor tool.
    pub advisor_model: Option<String>,
    pub asked: Asked,
}

/// What a request asks for that no record holds, and spans do.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub max_tokens: Option<i64>,
    pub top_p: Option<f64>,
    pub top_k: Option<i64>,
    /// As it is written.
    pub stop_sequences: Option<Box<RawValue>>,
    pub thinking_type: Option<String>,
    pub thinking_budget: Option<i64>,
}

impl Asked {
    fn take(&mut self, name: &str, value: &RawValue) {
        match name {
            "max_tokens" => self.max_tokens = value.get().parse().ok(),
            "top_p" => self.top_p = serde_json::from_str(value.get()).ok(),
            "top_k" => self.top_k = value.get().parse().ok(),
            "stop_sequences" => self.stop_sequences = Some(value.to_owned()),
            "thinking" => {
                self.thinking_type = inner(value, "type", text);
                self.thinking_budget = inner(value, "budget_tokens", |budget| budget.get().parse().ok());
            }
            _ => {}
        }
    }
}

/// The member of that name of an object, the last one, if it can be read.
fn inner<T>(object: &RawValue, name: &str, read: impl Fn(&RawValue) -> Option<T>) -> Option<T> {
    let mut found = None;
    json::members(object.get(), |key, value| {
        if is(key, name) {
            found = read(value);
        }
    });
    found
}

impl RequestFacts {
    /// The facts of a Messages API body. Of several members with one name the last counts; those of another type than the
    /// API's say nothing.
    pub fn of(body: &Object<'_>) -> RequestFacts {
        let mut facts = RequestFacts::default();
        for (name, value) in body.iter() {
            match name {
                "model" => facts.model = text(value).unwrap_or_default(),
                "messages" => facts.has_vision = has_vision(value),
                "tools" => (facts.has_tools, facts.advisor_model) = tools(value),
                "temperature" => facts.temperature = number(value),
                "service_tier" => facts.service_tier = text(value),
                "speed" => facts.speed = text(value),
                "output_config" => facts.effort = inner(value, "effort", text),
                _ => facts.asked.take(name, value),
            }
        }
        facts
    }
}

fn text(value: &RawValue) -> Option<String> {
    json::string(value).filter(|text| !text.trim().is_empty())
}

fn number(value: &RawValue) -> Option<Box<RawValue>> {
    // Numbers beyond a double's range are refused here; Revenium could not read them either.
    serde_json::from_str::<serde_json::Number>(value.get()).ok().map(|_| value.to_owned())
}

/// Whether there are tools, and the model of an advisor among them.
fn tools(tools: &RawValue) -> (bool, Option<String>) {
    let (mut any, mut advisor) = (false, None);
    json::elements(tools.get(), |tool| {
        any = true;
        let (mut is_advisor, mut model) = (false, None);
        json::members(tool.get(), |key, value| match json::text(key).as_deref() {
            Some("type") => is_advisor = json::text(value).is_some_and(|kind| kind.starts_with("advisor")),
            Some("model") => model = text(value),
            _ => {}
        });
        if is_advisor && advisor.is_none() {
            advisor = model;
        }
    });
    (any, advisor)
}

/// Whether some message shows an image: directly, or inside the result of a tool.
fn has_vision(messages: &RawValue) -> bool {
    // Few requests hold images, and this search is far cheaper than the walk.
    if memmem::find(messages.get().as_bytes(), br#""image""#).is_none() {
        return false;
    }
    let mut found = false;
    json::elements(messages.get(), |message| {
        json::members(message.get(), |key, value| {
            if is(key, "content") {
                found = found || shows_image(value, true);
            }
        });
    });
    found
}

fn shows_image(content: &RawValue, look_into_results: bool) -> bool {
    let mut found = false;
    json::elements(content.get(), |block| {
        if found {
            return;
        }
        let (mut kind, mut inner) = (None, None);
        json::members(block.get(), |key, value| match json::text(key).as_deref() {
            Some("type") => kind = Some(value),
            Some("content") => inner = Some(value),
            _ => {}
        });
        found = match (kind, inner) {
            (Some(kind), _) if is(kind, "image") => true,
            (Some(kind), Some(inner)) if look_into_results && is(kind, "tool_result") => shows_image(inner, false),
            _ => false,
        };
    });
    found
}

fn is(value: &RawValue, expected: &str) -> bool {
    json::text(value).is_some_and(|text| text == expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of what is no JSON object, none.
    fn facts_of(body: &str) -> RequestFacts {
        Object::parse(body).map(|body| RequestFacts::of(&body)).unwrap_or_default()
    }

    #[test]
    fn reads_what_the_record_needs() {
        let facts = facts_of(
            r#"{"model":"claude-sonnet-4-5","max_tokens":9,"temperature":0.70,"service_tier":"auto","speed":"fast",
                "output_config":{"effort":"low","format":{"effort":"no"},"effort":"high"},
                "messages":[{"role":"user","content":"an \"image\" in words"}],
                "tools":[{"name":"t","input_schema":{}},{"type":"advisor_20260301","model":"claude-opus-4-6"}],
                "top_p":0.9,"top_k":40,"stop_sequences":["a","b"],
                "thinking":{"type":"enabled","budget_tokens":2048}}"#,
        );
        let asked = facts.asked;
        assert_eq!((asked.max_tokens, asked.top_p, asked.top_k), (Some(9), Some(0.9), Some(40)));
        assert_eq!(asked.stop_sequences.unwrap().get(), r#"["a","b"]"#);
        assert_eq!(asked.thinking_type.as_deref(), Some("enabled"));
        assert_eq!(asked.thinking_budget, Some(2048));
        assert_eq!(facts.model, "claude-sonnet-4-5");
        assert!(facts.has_tools && !facts.has_vision);
        assert_eq!(facts.temperature.unwrap().get(), "0.70");
        assert_eq!(facts.service_tier.as_deref(), Some("auto"));
        assert_eq!((facts.effort.as_deref(), facts.speed.as_deref()), (Some("high"), Some("fast")));
        assert_eq!(facts.advisor_model.as_deref(), Some("claude-opus-4-6"));
    }

    #[test]
    fn ignores_wrong_types_and_survives_anything() {
        let odd = r#"{"speed":1,"model":5,"temperature":"hot","tools":{"a":1},"service_tier":null,
            "messages":{"image":"image"},"max_tokens":1.5,"top_k":"x","top_p":[],"thinking":7,"output_config":{"effort":1}}"#;
        let more = r#"{"\ud800":1,"model":"a","model":"b","temperature":1e999,"tools":[],"output_config":["effort"],"messages":[1,"image",[]]}"#;
        for (body, model) in [(odd, ""), (more, "b"), ("[]", ""), ("", ""), ("{", "")] {
            let facts = facts_of(body);
            assert_eq!(facts.model, model, "{body}");
            assert!(!facts.has_tools && !facts.has_vision && facts.temperature.is_none(), "{body}");
            assert!(facts.speed.is_none() && facts.effort.is_none());
            assert!(facts.service_tier.is_none() && facts.advisor_model.is_none(), "{body}");
            let asked = facts.asked;
            assert!(asked.max_tokens.is_none() && asked.top_k.is_none() && asked.top_p.is_none(), "{body}");
            assert!(asked.thinking_type.is_none(), "{body}");
        }
    }

    #[test]
    fn finds_images_in_messages_and_tool_results_only() {
        for (content, expected) in [
            (r#"[{"type":"image","source":{}}]"#, true),
            (r#"[{"type":"text","text":"x"},{"source":{"data":"AA"},"type":"image"}]"#, true),
            (r#"[{"type":"tool_result","content":[{"type":"text"},{"type":"image"}]}]"#, true),
            (r#"[{"type":"tool_result","content":"\"image\""}]"#, false),
            (r#"[{"type":"tool_use","input":{"type":"image"}}]"#, false),
            (r#"[{"type":"document","content":[{"type":"image"}]}]"#, false),
            (r#""image""#, false),
            (r#"{"type":"image"}"#, false),
        ] {
            let body = format!(r#"{{"messages":[{{"role":"user","content":"hi"}},{{"content":{content}}}]}}"#);
            assert_eq!(facts_of(&body).has_vision, expected, "{content}");
        }
        let system = r#"{"system":[{"type":"image"}],"messages":[{"content":"x"}]}"#;
        assert!(!facts_of(system).has_vision);
    }
}
