//! The default message: an echo of the request, as a whole or as the events of a stream. Any transport can carry it.

use serde_json::{Map, Value, json};

use crate::answer::Wanted;
use crate::reply::End;

/// How much of the user's text is echoed, in characters.
const ECHOED: usize = 200;
/// One piece of a tool's input, in characters.
const JSON_DELTA: usize = 16;
/// What planned deltas are made of.
const FILLER: &str = "token ";

/// Short names resolve to dated ones, as the API's aliases do.
const ALIASES: &[(&str, &str)] = &[
    ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
    ("claude-opus-4-5", "claude-opus-4-5-20251101"),
    ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
];

pub struct Message {
    id: String,
    model: String,
    content: Content,
    stop_reason: String,
    usage: Usage,
    error: Option<String>,
}

enum Content {
    /// Each text with how often it comes.
    Text(Vec<(String, usize)>),
    ToolUse {
        id: String,
        name: String,
        input: Value,
    },
}

struct Usage {
    input: u64,
    output: u64,
    cache_creation: u64,
    cache_read: u64,
    /// Members only a plan gives, as `,"name":value`.
    extra: String,
}

/// The events of a stream, as type and JSON. The deltas come with how often each is repeated.
pub struct Events {
    pub opening: Vec<(&'static str, String)>,
    pub deltas: Vec<(String, usize)>,
    pub closing: Vec<(&'static str, String)>,
}

impl Message {
    /// `n` makes the ids unique; `model` is the name asked for.
    pub fn new(n: u64, model: &str, request: &Map<String, Value>, wanted: &Wanted) -> Self {
        let asked = last_user_text(request);
        let content = match forced_tool(request) {
            Some(tool) => Content::ToolUse {
                id: format!("toolu_sandbox_{n}"),
                name: tool.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
                input: tool_input(tool, &asked),
            },
            None => Content::Text(texts(wanted, &asked)),
        };
        let default_stop = if matches!(content, Content::ToolUse { .. }) { "tool_use" } else { "end_turn" };
        let input = text_length(request.get("system")) + text_length(request.get("messages"));
        Self {
            id: format!("msg_sandbox_{n}"),
            model: ALIASES.iter().find(|(alias, _)| *alias == model).map_or(model, |(_, dated)| dated).to_owned(),
            stop_reason: wanted.stop_reason.clone().unwrap_or_else(|| default_stop.to_owned()),
            usage: Usage::new(input, content.length(), &wanted.usage),
            content,
            error: wanted.error.clone(),
        }
    }

    /// With the kind of id that Bedrock gives.
    pub fn of_bedrock(mut self) -> Self {
        self.id = self.id.replacen("msg_", "msg_bdrk_", 1);
        self
    }

    /// The tokens, as Bedrock calls them.
    pub fn counts(&self) -> [(&'static str, u64); 4] {
        let usage = &self.usage;
        [
            ("Input", usage.input),
            ("Output", usage.output),
            ("Cache-Read-Input", usage.cache_read),
            ("Cache-Write-Input", usage.cache_creation),
        ]
    }

    /// Of the content, in bytes.
    pub fn length(&self) -> usize {
        self.content.length()
    }

    pub fn json(&self) -> String {
        let block = match &self.content {
            Content::Text(texts) => {
                let text: String = texts.iter().map(|(text, times)| text.repeat(*times)).collect();
                format!(r#"{{"type":"text","text":{}}}"#, quote(&text))
            }
            Content::ToolUse { id, name, input } => tool_block(id, name, input),
        };
        let usage = self.usage.json(self.usage.output);
        self.envelope(&block, &quote(&self.stop_reason), &usage)
    }

    /// A stream that doesn't end as it should ends after its deltas.
    pub fn events(&self, end: End) -> Events {
        // A stream opens with the input counted and hardly any output.
        let started = self.envelope("", "null", &self.usage.json(1));
        let (block, deltas) = match &self.content {
            Content::Text(texts) => (r#"{"type":"text","text":""}"#.to_owned(), texts.iter().map(text_delta).collect()),
            Content::ToolUse { id, name, input } => (tool_block(id, name, &json!({})), json_deltas(&input.to_string())),
        };
        let opening = vec![
            ("message_start", format!(r#"{{"type":"message_start","message":{started}}}"#)),
            ("content_block_start", format!(r#"{{"type":"content_block_start","index":0,"content_block":{block}}}"#)),
            ("ping", r#"{"type":"ping"}"#.to_owned()),
        ];
        let closing = match &self.error {
            _ if !end.is_whole() => Vec::new(),
            Some(kind) => {
                vec![(
                    "error",
                    json!({"type": "error", "error": {"type": kind, "message": "Planned by the sandbox"}}).to_string(),
                )]
            }
            None => vec![
                ("content_block_stop", r#"{"type":"content_block_stop","index":0}"#.to_owned()),
                ("message_delta", self.message_delta()),
                ("message_stop", r#"{"type":"message_stop"}"#.to_owned()),
            ],
        };
        Events { opening, deltas, closing }
    }

    fn envelope(&self, content: &str, stop_reason: &str, usage: &str) -> String {
        let (id, model) = (&self.id, quote(&self.model));
        format!(
            r#"{{"model":{model},"id":"{id}","type":"message","role":"assistant","content":[{content}],"stop_reason":{stop_reason},"stop_sequence":null,"usage":{usage}}}"#
        )
    }

    fn message_delta(&self) -> String {
        let (stop, usage) = (quote(&self.stop_reason), &self.usage);
        format!(
            r#"{{"type":"message_delta","delta":{{"stop_reason":{stop},"stop_sequence":null}},"usage":{{"input_tokens":{},"cache_creation_input_tokens":{},"cache_read_input_tokens":{},"output_tokens":{}{}}}}}"#,
            usage.input, usage.cache_creation, usage.cache_read, usage.output, usage.extra
        )
    }
}

impl Content {
    fn length(&self) -> usize {
        match self {
            Content::Text(texts) => texts.iter().map(|(text, times)| text.len() * times).sum(),
            Content::ToolUse { input, .. } => input.to_string().len(),
        }
    }
}

impl Usage {
    /// About four characters make a token.
    fn new(input_length: usize, output_length: usize, wanted: &Map<String, Value>) -> Self {
        let mut usage = Self {
            input: 8 + input_length.div_ceil(4) as u64,
            output: output_length.div_ceil(4).max(1) as u64,
            cache_creation: 0,
            cache_read: 0,
            extra: String::new(),
        };
        for (name, value) in wanted {
            let counter = match name.as_str() {
                "input_tokens" => Some(&mut usage.input),
                "output_tokens" => Some(&mut usage.output),
                "cache_creation_input_tokens" => Some(&mut usage.cache_creation),
                "cache_read_input_tokens" => Some(&mut usage.cache_read),
                _ => None,
            };
            match (counter, value.as_u64()) {
                (Some(counter), Some(number)) => *counter = number,
                (Some(_), None) => {}
                (None, _) => usage.extra.push_str(&format!(",{}:{value}", quote(name))),
            }
        }
        usage
    }

    fn json(&self, output: u64) -> String {
        let Self { input, cache_creation, cache_read, extra, .. } = self;
        format!(
            r#"{{"input_tokens":{input},"cache_creation_input_tokens":{cache_creation},"cache_read_input_tokens":{cache_read},"output_tokens":{output},"service_tier":"standard"{extra}}}"#
        )
    }
}

fn texts(wanted: &Wanted, asked: &str) -> Vec<(String, usize)> {
    if wanted.deltas.is_some() || wanted.delta_bytes.is_some() {
        let length = wanted.delta_bytes.unwrap_or(FILLER.len());
        return vec![(FILLER.chars().cycle().take(length).collect(), wanted.deltas.unwrap_or(1))];
    }
    let reply = match &wanted.reply {
        Some(reply) => reply.clone(),
        None => format!("You said: {}", shortened(asked)),
    };
    reply.split_inclusive(' ').map(|word| (word.to_owned(), 1)).collect()
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(ECHOED) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The text of the last user message that has any.
fn last_user_text(request: &Map<String, Value>) -> String {
    let messages = request.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let texts = messages.iter().rev().filter(|m| m.get("role").is_some_and(|role| role == "user")).map(|m| {
        match m.get("content") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(blocks)) => {
                blocks.iter().filter_map(|block| block.get("text")?.as_str()).collect::<Vec<_>>().join(" ")
            }
            _ => String::new(),
        }
    });
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
}

/// The bytes of the texts in a prompt, wherever they are nested.
fn text_length(value: Option<&Value>) -> usize {
    match value {
        Some(Value::String(text)) => text.len(),
        Some(Value::Array(parts)) => parts.iter().map(|part| text_length(Some(part))).sum(),
        Some(Value::Object(part)) => text_length(part.get("text")) + text_length(part.get("content")),
        _ => 0,
    }
}

fn forced_tool(request: &Map<String, Value>) -> Option<&Value> {
    let tools = request.get("tools")?.as_array()?;
    let choice = request.get("tool_choice")?;
    match choice.get("type")?.as_str()? {
        "any" => tools.first(),
        "tool" => tools.iter().find(|tool| tool.get("name") == choice.get("name")),
        _ => None,
    }
}

/// An input that fits the schema: the user's words for texts, the simplest value for the rest.
fn tool_input(tool: &Value, asked: &str) -> Value {
    let properties = tool.pointer("/input_schema/properties").and_then(Value::as_object);
    let value = |schema: &Value| match (schema.pointer("/enum/0"), schema.get("type").and_then(Value::as_str)) {
        (Some(first), _) => first.clone(),
        (None, Some("integer" | "number")) => json!(1),
        (None, Some("boolean")) => json!(true),
        (None, Some("array")) => json!([]),
        (None, Some("object")) => json!({}),
        (None, _) => json!(shortened(asked)),
    };
    properties.into_iter().flatten().map(|(name, schema)| (name.clone(), value(schema))).collect::<Map<_, _>>().into()
}

fn tool_block(id: &str, name: &str, input: &Value) -> String {
    format!(r#"{{"type":"tool_use","id":"{id}","name":{},"input":{input}}}"#, quote(name))
}

fn text_delta((text, times): &(String, usize)) -> (String, usize) {
    let text = quote(text);
    (format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":{text}}}}}"#), *times)
}

/// The API starts a tool's input with an empty piece.
fn json_deltas(json: &str) -> Vec<(String, usize)> {
    let characters: Vec<char> = json.chars().collect();
    let pieces = characters.chunks(JSON_DELTA).map(|piece| piece.iter().collect::<String>());
    std::iter::once(String::new())
        .chain(pieces)
        .map(|piece| {
            let piece = quote(&piece);
            (format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"input_json_delta","partial_json":{piece}}}}}"#), 1)
        })
        .collect()
}

fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(request: Value, wanted: Wanted) -> Message {
        let model = request["model"].as_str().unwrap_or("claude-sonnet-4-5").to_owned();
        Message::new(7, &model, request.as_object().unwrap(), &wanted)
    }

    fn parsed(message: &Message) -> Value {
        serde_json::from_str(&message.json()).unwrap()
    }

    #[test]
    fn the_last_user_text_is_echoed() {
        let long = "é".repeat(300);
        for (messages, text) in [
            (json!([{"role": "user", "content": "hi \"there\""}]), "You said: hi \"there\"".to_owned()),
            (
                json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]),
                "You said: a".to_owned(),
            ),
            (
                json!([{"role": "user", "content": [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]}]),
                "You said: c d".to_owned(),
            ),
            (json!([{"role": "user", "content": long}]), format!("You said: {}...", "é".repeat(ECHOED))),
            (json!([{"role": "user", "content": 5}]), "You said: ".to_owned()),
        ] {
            let json = parsed(&message(json!({"messages": messages}), Wanted::default()));
            assert_eq!(json["content"], json!([{"type": "text", "text": text}]), "{messages}");
            assert_eq!((&json["id"], &json["model"]), (&json!("msg_sandbox_7"), &json!("claude-sonnet-4-5-20250929")));
            assert_eq!(json["stop_reason"], "end_turn");
        }
    }

    #[test]
    fn a_forced_tool_is_called_with_a_fitting_input() {
        let tools = json!([
            {"name": "first", "input_schema": {"type": "object", "properties": {}}},
            {"name": "weather", "input_schema": {"type": "object", "properties": {
                "place": {"type": "string"}, "days": {"type": "integer"}, "unit": {"type": "string", "enum": ["C", "F"]}}}}
        ]);
        let ask = |choice: Value| json!({"messages": [{"role": "user", "content": "Rome"}], "tools": tools, "tool_choice": choice});
        let tool = message(ask(json!({"type": "tool", "name": "weather"})), Wanted::default());
        let json = parsed(&tool);
        let input = json!({"place": "Rome", "days": 1, "unit": "C"});
        assert_eq!(
            json["content"],
            json!([{"type": "tool_use", "id": "toolu_sandbox_7", "name": "weather", "input": input}])
        );
        assert_eq!(json["stop_reason"], "tool_use");
        let streamed: String = tool
            .events(End::Ok)
            .deltas
            .iter()
            .map(|(json, _)| {
                serde_json::from_str::<Value>(json).unwrap()["delta"]["partial_json"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(serde_json::from_str::<Value>(&streamed).unwrap(), input);
        assert_eq!(parsed(&message(ask(json!({"type": "any"})), Wanted::default()))["content"][0]["name"], "first");
        assert_eq!(parsed(&message(ask(json!({"type": "auto"})), Wanted::default()))["content"][0]["type"], "text");
    }

    #[test]
    fn stream_and_whole_message_agree() {
        let usage = json!({"cache_read_input_tokens": 5, "server_tool_use": {"web_search_requests": 1}});
        for wanted in [
            Wanted::default(),
            Wanted { deltas: Some(1000), delta_bytes: Some(10), ..Wanted::default() },
            Wanted { reply: Some("so be it".into()), stop_reason: Some("refusal".into()), ..Wanted::default() },
            Wanted { usage: usage.as_object().unwrap().clone(), ..Wanted::default() },
        ] {
            let message = message(json!({"messages": [{"role": "user", "content": "hello my friend"}]}), wanted);
            let whole = parsed(&message);
            let events = message.events(End::Ok);
            for (kind, json) in events.opening.iter().chain(&events.closing) {
                assert_eq!(serde_json::from_str::<Value>(json).unwrap()["type"], **kind);
            }
            let text: String = events
                .deltas
                .iter()
                .map(|(json, times)| {
                    serde_json::from_str::<Value>(json).unwrap()["delta"]["text"].as_str().unwrap().repeat(*times)
                })
                .collect();
            assert_eq!(whole["content"][0]["text"], text);
            let last: Value = serde_json::from_str(&events.closing[1].1).unwrap();
            assert_eq!(last["delta"]["stop_reason"], whole["stop_reason"]);
            for (name, value) in last["usage"].as_object().unwrap() {
                assert_eq!(whole["usage"][name], *value, "{name}");
            }
        }
    }

    #[test]
    fn a_broken_stream_has_no_closing_events() {
        let broken = message(json!({}), Wanted { error: Some("overloaded_error".into()), ..Wanted::default() });
        assert!(broken.events(End::Cut).closing.is_empty());
        let closing = broken.events(End::Ok).closing;
        assert_eq!((closing.len(), closing[0].0), (1, "error"));
        assert!(closing[0].1.contains("overloaded_error"));
    }
}
