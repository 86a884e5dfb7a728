//! Prompts and replies in the form that the conventions want (gen-ai-input-messages.json, gen-ai-output-messages.json,
//! gen-ai-system-instructions.json), from what was captured: secrets are masked by then, and lengths cut.

use serde_json::{Value, json};

/// Texts that are no JSON of blocks are one.
pub fn system(captured: &str) -> String {
    let blocks = serde_json::from_str::<Vec<Value>>(captured).ok();
    let blocks = blocks.filter(|blocks| blocks.iter().all(|block| block.get("type").is_some()));
    let parts = blocks.map_or_else(|| vec![text(captured)], |blocks| blocks.into_iter().filter_map(part).collect());
    Value::Array(parts).to_string()
}

/// `captured`: the messages of the Messages API.
pub fn input(captured: &str) -> Option<String> {
    let messages: Vec<Value> = serde_json::from_str(captured).ok()?;
    let message = |mut message: Value| {
        let content = message.get_mut("content").map(Value::take).unwrap_or_default();
        json!({"role": message.get("role"), "parts": parts(content)})
    };
    Some(Value::Array(messages.into_iter().map(message).collect()).to_string())
}

/// `captured`: the content blocks of one reply.
pub fn output(captured: &str, finish_reason: &str) -> Option<String> {
    let blocks: Value = serde_json::from_str(captured).ok()?;
    Some(json!([{"role": "assistant", "parts": parts(blocks), "finish_reason": finish_reason}]).to_string())
}

fn parts(content: Value) -> Vec<Value> {
    match content {
        Value::Array(blocks) => blocks.into_iter().filter_map(part).collect(),
        Value::String(said) => vec![text(&said)],
        _ => Vec::new(),
    }
}

fn text(said: &str) -> Value {
    json!({"type": "text", "content": said})
}

/// What the conventions have no form for stays as it is: they allow parts of any type. `None`: it says not what it is.
fn part(mut block: Value) -> Option<Value> {
    let kind = block.get("type")?.as_str()?.to_owned();
    let mut take = |name: &str| block.get_mut(name).map(Value::take).unwrap_or_default();
    Some(match kind.as_str() {
        "text" => json!({"type": "text", "content": take("text")}),
        "tool_use" => {
            json!({"type": "tool_call", "id": take("id"), "name": take("name"), "arguments": take("input")})
        }
        "tool_result" => {
            json!({"type": "tool_call_response", "id": take("tool_use_id"), "response": take("content")})
        }
        _ => block,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn messages_become_parts() {
        let captured = r#"[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"text","text":"Look"},
            {"type":"tool_use","id":"t","name":"n","input":{"a":1}}]},{"role":"user","content":[
            {"type":"tool_result","tool_use_id":"t","content":"rain"},{"type":"image","source":{"type":"url","url":"u"}},{"x":1}]}]"#;
        let wanted = json!([
            {"role": "user", "parts": [{"type": "text", "content": "hi"}]},
            {"role": "assistant", "parts": [{"type": "text", "content": "Look"},
                {"type": "tool_call", "id": "t", "name": "n", "arguments": {"a": 1}}]},
            {"role": "user", "parts": [{"type": "tool_call_response", "id": "t", "response": "rain"},
                {"type": "image", "source": {"type": "url", "url": "u"}}]},
        ]);
        assert_eq!(read(&input(captured).unwrap()), wanted);
        assert_eq!(input("no JSON"), None);
    }

    #[test]
    fn a_reply_is_one_message_and_a_system_prompt_a_list() {
        let wanted =
            json!([{"role": "assistant", "parts": [{"type": "text", "content": "Hi"}], "finish_reason": "end_turn"}]);
        assert_eq!(read(&output(r#"[{"type":"text","text":"Hi"}]"#, "end_turn").unwrap()), wanted);
        for (captured, wanted) in [
            ("Be short.", json!([{"type": "text", "content": "Be short."}])),
            (
                r#"[{"type":"text","text":"A"},{"type":"text","text":"B"}]"#,
                json!([{"type": "text", "content": "A"}, {"type": "text", "content": "B"}]),
            ),
            (
                r#"[{"type":"text","te...[TRUNCATED]"#,
                json!([{"type": "text", "content": r#"[{"type":"text","te...[TRUNCATED]"#}]),
            ),
            ("[1, 2]", json!([{"type": "text", "content": "[1, 2]"}])),
        ] {
            assert_eq!(read(&system(captured)), wanted);
        }
    }
}
