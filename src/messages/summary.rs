//! What metering and the typed readers want to know of a message, streamed or whole.

use serde_json::value::RawValue;

use super::delta::Part;
use super::error;
use crate::common::error::{Code, Error, Result};
use crate::common::json::object::{Object, count, string};

/// Entries of `usage.iterations` that are kept apart.
const MAX_ITERATIONS: usize = 64;

/// Counters of `usage.server_tool_use` that are kept.
const MAX_SERVER_TOOLS: usize = 8;

/// The facts of one reply. `None`: the provider did not say (yet).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    pub id: Option<String>,
    pub model: Option<String>,
    pub stop_reason: Option<String>,
    pub usage: Usage,
    pub written: Written,
}

/// How much the model wrote, in characters: what its output tokens stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Written {
    /// Text, and the input of tools as JSON.
    pub text: u64,
    /// Thinking, as far as it is shown.
    pub thinking: u64,
    /// Of both, what came after the last count of output tokens. message_start's does not count, it is a placeholder.
    pub uncounted: u64,
    /// The output tokens at that count.
    pub counted: i64,
}

/// `usage` of the Messages API. On streams the newest cumulative value of each member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    pub tokens: Tokens,
    /// `output_tokens_details.thinking_tokens`: a part of the output tokens.
    pub thinking_tokens: Option<i64>,
    /// `service_tier`: the tier that served the request.
    pub service_tier: Option<String>,
    /// `speed`: fast mode costs several times as much.
    pub speed: Option<String>,
    /// `inference_geo`: where it was computed, which has its own price.
    pub inference_geo: Option<String>,
    /// `server_tool_use`: what was used beside tokens, by name, and only what was. Web searches are billed each.
    pub server_tools: Vec<(String, i64)>,
    /// `iterations` (beta): each billed as its entry says.
    pub iterations: Vec<Iteration>,
}

/// Token counts as the Messages API splits them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tokens {
    pub input: Option<i64>,
    pub output: Option<i64>,
    pub cache_creation: Option<i64>,
    pub cache_read: Option<i64>,
    /// `cache_creation.ephemeral_5m_input_tokens`, a part of `cache_creation`.
    pub cache_creation_5m: Option<i64>,
    /// `cache_creation.ephemeral_1h_input_tokens`, a part of `cache_creation`.
    pub cache_creation_1h: Option<i64>,
}

/// One entry of `usage.iterations`, at its index in the list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Iteration {
    /// `type`: `message`, `compaction`, `advisor_message`, `fallback_message`, or newer.
    pub kind: String,
    pub model: Option<String>,
    pub tokens: Tokens,
}

impl Summary {
    /// The facts of a whole reply. `Code::Stream`: `body` is not a JSON object. An error envelope is the provider's error,
    /// whatever status it came with.
    pub fn of(body: &[u8]) -> Result<Summary> {
        let message =
            parse(body).ok_or_else(|| Error::new(Code::Stream, "The provider's reply is not a JSON object."))?;
        if error::instead_of_message(&message) {
            return Err(error::of(body, "The provider answered with"));
        }
        Ok(Summary::of_message(&message))
    }

    pub(super) fn of_message(message: &Object<'_>) -> Summary {
        let mut usage = Usage::default();
        for (name, value) in message.object("usage").iter().flat_map(Object::iter) {
            usage.set(name, value);
        }
        Summary {
            id: message.string("id"),
            model: message.string("model"),
            stop_reason: message.string("stop_reason"),
            usage,
            written: Written::default(),
        }
    }
}

impl Written {
    /// How much a whole reply holds.
    pub fn of(body: &[u8]) -> Written {
        let mut written = Written::default();
        for block in parse(body).iter().flat_map(blocks) {
            let Some(part) = block.string("type").and_then(|kind| Part::of_block(&kind)) else { continue };
            let grown = match part {
                Part::Text | Part::Thinking => block.string(part.member()),
                Part::Input => block.get(part.member()).map(|input| input.get().to_owned()),
            };
            written.add(part, grown.as_deref().unwrap_or_default().as_bytes());
        }
        written
    }

    /// `more`: UTF-8, perhaps from the middle of a character on, which was counted before.
    pub(super) fn add(&mut self, part: Part, more: &[u8]) {
        let characters = more.iter().filter(|&&byte| byte & 0xC0 != 0x80).count() as u64;
        match part {
            Part::Text | Part::Input => self.text += characters,
            Part::Thinking => self.thinking += characters,
        }
        self.uncounted += characters;
    }

    /// All of it so far is in this count.
    pub(super) fn count(&mut self, output_tokens: i64) {
        (self.uncounted, self.counted) = (0, output_tokens);
    }
}

impl Usage {
    /// Takes over one member of a `usage` object, if it concerns us and can be read.
    pub(super) fn set(&mut self, name: &str, value: &RawValue) {
        match name {
            "service_tier" => self.service_tier = string(value),
            "speed" => self.speed = string(value),
            "inference_geo" => self.inference_geo = string(value),
            "server_tool_use" => self.server_tools = server_tools(value),
            "output_tokens_details" => {
                self.thinking_tokens =
                    Object::of(value).and_then(|details| details.get("thinking_tokens").and_then(count));
            }
            "iterations" => {
                let entries: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
                self.iterations.clear();
                for entry in entries.into_iter().filter_map(Object::of) {
                    self.add(Iteration::of(&entry));
                }
            }
            _ => self.tokens.set(name, value),
        }
    }

    /// Takes over a member that stays as message_start has it, where message_start does not have it.
    pub(super) fn set_missing(&mut self, name: &str, value: &RawValue) {
        let missing = match name {
            "service_tier" => self.service_tier.is_none(),
            "speed" => self.speed.is_none(),
            "inference_geo" => self.inference_geo.is_none(),
            _ => false,
        };
        if missing {
            self.set(name, value);
        }
    }

    /// A list without end must cost neither memory nor a record an entry: what exceeds it is counted in the last of its
    /// type.
    fn add(&mut self, entry: Iteration) {
        if self.iterations.len() >= MAX_ITERATIONS
            && let Some(last) = self.iterations.iter_mut().rev().find(|last| last.kind == entry.kind)
        {
            last.tokens.add(&entry.tokens);
        } else if self.iterations.len() < 2 * MAX_ITERATIONS {
            self.iterations.push(entry);
        }
    }
}

impl Tokens {
    fn add(&mut self, more: &Tokens) {
        for (ours, more) in [
            (&mut self.input, more.input),
            (&mut self.output, more.output),
            (&mut self.cache_creation, more.cache_creation),
            (&mut self.cache_read, more.cache_read),
            (&mut self.cache_creation_5m, more.cache_creation_5m),
            (&mut self.cache_creation_1h, more.cache_creation_1h),
        ] {
            *ours = match (*ours, more) {
                (Some(ours), Some(more)) => Some(ours.saturating_add(more)),
                (ours, more) => ours.or(more),
            };
        }
    }

    /// Bedrock's `amazon-bedrock-invocationMetrics`. Its input leaves the cache out, as the Messages API's does.
    pub(super) fn of_metrics(metrics: &Object<'_>) -> Tokens {
        let counted = |name| metrics.get(name).and_then(count);
        Tokens {
            input: counted("inputTokenCount"),
            output: counted("outputTokenCount"),
            cache_creation: counted("cacheWriteInputTokenCount"),
            cache_read: counted("cacheReadInputTokenCount"),
            ..Tokens::default()
        }
    }

    /// Takes over what was counted elsewhere and is missing here. Where both know, these counts stay.
    pub fn compare(&mut self, counted: &Tokens) {
        for (ours, theirs, name) in [
            (&mut self.input, counted.input, "input"),
            (&mut self.output, counted.output, "output"),
            (&mut self.cache_creation, counted.cache_creation, "cache creation"),
            (&mut self.cache_read, counted.cache_read, "cache read"),
        ] {
            match (*ours, theirs) {
                (None, _) => *ours = theirs,
                (Some(ours), Some(theirs)) if ours != theirs => {
                    crate::common::log::debug!("the message counts {ours} {name} tokens, AWS {theirs}");
                }
                _ => {}
            }
        }
    }

    /// Takes back a zero that came after a count. Of the output only if something `was_written`: else it may be true.
    pub(super) fn keep_real(&mut self, before: &Tokens, was_written: bool) {
        for (now, before) in [
            (&mut self.input, before.input),
            (&mut self.output, before.output.filter(|_| was_written)),
            (&mut self.cache_creation, before.cache_creation),
            (&mut self.cache_read, before.cache_read),
        ] {
            if *now == Some(0) && before.is_some_and(|before| before > 0) {
                *now = before;
            }
        }
    }

    pub(super) fn set(&mut self, name: &str, value: &RawValue) {
        let slot = match name {
            "input_tokens" => &mut self.input,
            "output_tokens" => &mut self.output,
            "cache_creation_input_tokens" => &mut self.cache_creation,
            "cache_read_input_tokens" => &mut self.cache_read,
            "cache_creation" => {
                let split = Object::of(value);
                let part = |name| split.as_ref().and_then(|split| split.get(name)).and_then(count);
                self.cache_creation_5m = part("ephemeral_5m_input_tokens");
                self.cache_creation_1h = part("ephemeral_1h_input_tokens");
                return;
            }
            _ => return,
        };
        *slot = count(value).or(*slot);
    }
}

impl Iteration {
    fn of(entry: &Object<'_>) -> Iteration {
        let mut tokens = Tokens::default();
        for (name, value) in entry.iter() {
            tokens.set(name, value);
        }
        Iteration { kind: entry.string("type").unwrap_or_default(), model: entry.string("model"), tokens }
    }
}

/// Newer counters come along by their names.
fn server_tools(value: &RawValue) -> Vec<(String, i64)> {
    let is_name = |name: &str| name.len() <= 64 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let counters = Object::of(value);
    let counted = counters.iter().flat_map(Object::iter).filter(|(name, _)| is_name(name));
    let counted = counted.filter_map(|(name, value)| Some((name.to_owned(), count(value).filter(|n| *n > 0)?)));
    counted.take(MAX_SERVER_TOOLS).collect()
}

/// The text blocks of a whole reply joined; empty for anything else.
pub fn text_of(body: &[u8]) -> String {
    let message = parse(body);
    let blocks = message.iter().flat_map(blocks);
    blocks
        .filter(|block| block.string("type").as_deref() == Some("text"))
        .filter_map(|block| block.string("text"))
        .collect()
}

/// The content blocks of a message.
fn blocks<'a>(message: &Object<'a>) -> impl Iterator<Item = Object<'a>> {
    let list: Vec<&'a RawValue> =
        message.get("content").and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default();
    list.into_iter().filter_map(Object::of)
}

fn parse(body: &[u8]) -> Option<Object<'_>> {
    Object::parse(std::str::from_utf8(body).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_reply() {
        let body = br#"{"id":"msg_1","type":"message","model":"claude-x","stop_reason":"end_turn","content":[
            {"type":"thinking","thinking":"no","text":"no"},{"type":"text","text":"H\u00e9"},7,{"type":"text"},
            {"type":"text","text":"llo \ud83c\udf0d"}],
            "usage":{"input_tokens":10,"output_tokens":7,"cache_creation_input_tokens":9,"cache_read_input_tokens":null,
            "cache_creation":{"ephemeral_5m_input_tokens":4,"ephemeral_1h_input_tokens":5},"service_tier":"priority",
            "output_tokens_details":{"thinking_tokens":3},"new":{"x":1},"iterations":[
              {"type":"compaction","input_tokens":1,"output_tokens":2,"cache_creation":{"ephemeral_1h_input_tokens":6}},
              {"type":"message","model":"claude-y","cache_read_input_tokens":8},null]}}"#;
        let summary = Summary::of(body).unwrap();
        let compaction = Tokens { input: Some(1), output: Some(2), cache_creation_1h: Some(6), ..Tokens::default() };
        let message = Tokens { cache_read: Some(8), ..Tokens::default() };
        let want = Summary {
            id: Some("msg_1".into()),
            model: Some("claude-x".into()),
            stop_reason: Some("end_turn".into()),
            usage: Usage {
                tokens: Tokens {
                    input: Some(10),
                    output: Some(7),
                    cache_creation: Some(9),
                    cache_read: None,
                    cache_creation_5m: Some(4),
                    cache_creation_1h: Some(5),
                },
                thinking_tokens: Some(3),
                service_tier: Some("priority".into()),
                iterations: vec![
                    Iteration { kind: "compaction".into(), model: None, tokens: compaction },
                    Iteration { kind: "message".into(), model: Some("claude-y".into()), tokens: message },
                ],
                ..Usage::default()
            },
            written: Written::default(),
        };
        assert_eq!(summary, want);
        assert_eq!(text_of(body), "H\u{e9}llo \u{1f30d}");
        let written = Written::of(body);
        assert_eq!((written.text, written.thinking, written.uncounted), (7, 2, 9));
    }

    #[test]
    fn what_is_billed_beside_tokens() {
        let body = r#"{"usage":{"inference_geo":"us","speed":"fast","server_tool_use":{"web_search_requests":3,
            "web_fetch_requests":"2","code_execution_requests":1.0,"none":0,"odd":"x","A b":4,"less":-1}}}"#;
        let usage = Summary::of(body.as_bytes()).unwrap().usage;
        assert_eq!((usage.inference_geo.as_deref(), usage.speed.as_deref()), (Some("us"), Some("fast")));
        let tools: Vec<_> = usage.server_tools.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        assert_eq!(tools, [("web_search_requests", 3), ("web_fetch_requests", 2), ("code_execution_requests", 1)]);
        let many: Vec<_> = ('a'..='z').map(|name| format!("\"{name}\":1")).collect();
        let body = format!(r#"{{"usage":{{"server_tool_use":{{{}}}}}}}"#, many.join(","));
        assert_eq!(Summary::of(body.as_bytes()).unwrap().usage.server_tools.len(), MAX_SERVER_TOOLS);
        for odd in ["null", "[]", "7", "{}"] {
            let body = format!(r#"{{"usage":{{"server_tool_use":{odd},"inference_geo":{odd}}}}}"#);
            assert_eq!(Summary::of(body.as_bytes()).unwrap().usage, Usage::default(), "{odd}");
        }
    }

    #[test]
    fn what_was_written_is_counted_in_characters() {
        let body = r#"{"content":[{"type":"text","text":"\ud83c\udf0dé\n"},{"type":"server_tool_use","input":{"q":"é"}},
            {"type":"web_search_tool_result","content":[{"type":"text","text":"long"}]},{"type":"redacted_thinking","data":"x"},
            {"type":"thinking","thinking":"hm","signature":"xxxx"},5]}"#;
        assert_eq!(Written::of(body.as_bytes()), Written { text: 12, thinking: 2, uncounted: 14, counted: 0 });
        assert_eq!(Written::of(b"<html>"), Written::default());
    }

    #[test]
    fn iterations_without_end_are_counted_in_the_last() {
        let entry = r#"{"type":"compaction","input_tokens":2,"output_tokens":1}"#;
        let body = format!(r#"{{"usage":{{"iterations":[{}]}}}}"#, vec![entry; 1000].join(","));
        let iterations = Summary::of(body.as_bytes()).unwrap().usage.iterations;
        assert_eq!(iterations.len(), MAX_ITERATIONS);
        assert_eq!(iterations.iter().filter_map(|entry| entry.tokens.input).sum::<i64>(), 2000);
    }

    #[test]
    fn an_error_envelope_is_no_reply() {
        for (body, code) in [
            (r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#, Code::Overloaded),
            (r#"{"error":{"message":"m","code":502}}"#, Code::InternalServer),
            (r#"{"error":{"message":"m","code":"429"}}"#, Code::RateLimit),
            (r#"{"error":"no"}"#, Code::Api),
            (r#"{"detail":"no"}"#, Code::Api),
            (r#"{"errors":[{"message":"m"}]}"#, Code::Api),
            (r#"{"message":"no","code":503}"#, Code::InternalServer),
            (r#"{"message":"no","statusCode":"429"}"#, Code::RateLimit),
            (r#"{"message":"no","code":"slow_down","status":429}"#, Code::RateLimit),
            (r#"{"success":false,"content":null}"#, Code::Api),
            (r#"{"type":"about:blank","title":"no","status":503,"detail":"no"}"#, Code::InternalServer),
        ] {
            assert_eq!(Summary::of(body.as_bytes()).unwrap_err().code, code, "{body}");
        }
        for body in [
            r#"{"type":"message","content":[],"error":null}"#,
            r#"{"content":[],"error":{"message":"m"},"errors":[1],"detail":"d","message":"m","success":false}"#,
            r#"{"type":"message","message":"m","success":false,"usage":{"output_tokens":1}}"#,
            r#"{"message":{},"errors":null,"detail":null,"success":true}"#,
        ] {
            assert!(Summary::of(body.as_bytes()).is_ok(), "{body}");
        }
    }

    #[test]
    fn replies_with_less() {
        for body in ["{}", r#"{"usage":null,"content":null,"id":null}"#, r#"{"usage":[1],"content":{},"id":5}"#] {
            assert_eq!(Summary::of(body.as_bytes()).unwrap(), Summary::default(), "{body}");
            assert_eq!(text_of(body.as_bytes()), "");
        }
        for body in [&b""[..], b"<html>", b"[]", b"null", b"{", b"{\"id\":\"\xff\"}"] {
            assert_eq!(Summary::of(body).unwrap_err().code, Code::Stream);
            assert_eq!(text_of(body), "");
        }
    }
}
