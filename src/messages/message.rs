//! Events put together to the message that a call without streaming would have given.

use serde_json::value::RawValue;

use super::batch::Kind;
use super::delta::{Delta, Part, index_of};
use super::partial;
use super::summary::{Summary, Tokens};
use crate::common::error::{Code, Error, Result};
use crate::common::json::object::{Members, Object, count, is_null, quote, string};

/// Members of `usage` that stay as in message_start, whatever a message_delta says: so do the vendor's own SDKs.
const USAGE_STAYS: [&str; 4] = ["cache_creation", "service_tier", "inference_geo", "speed"];

/// A message as far as its events have come.
#[derive(Default)]
pub struct Message {
    /// As message_start had it, its `content` and `usage` apart. `None`: not started.
    members: Option<Members>,
    usage: Option<Members>,
    blocks: Vec<Block>,
    summary: Summary,
    /// About how much memory the content takes.
    bytes: usize,
}

/// What a content block takes besides its text.
const BLOCK_BYTES: usize = 512;

/// One content block.
struct Block {
    index: u64,
    /// As it started.
    members: Members,
    /// What its deltas add to, if they can.
    part: Option<Part>,
    /// That part so far: text with what the block started with; of a tool's input, the JSON from the deltas alone.
    grown: String,
    has_grown: bool,
    /// The deltas so far end with the first half of a surrogate pair.
    half: Option<u32>,
    citations: Vec<Box<RawValue>>,
}

impl Message {
    /// message_start was seen.
    pub fn started(&self) -> bool {
        self.members.is_some()
    }

    /// The whole Messages API message. `Code::Stream`: it never started.
    ///
    /// The input of a tool that was cut (`max_tokens`, a broken stream) holds what came completely; one that can never be
    /// JSON is a string.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let Some(members) = &self.members else {
            return Err(Error::new(Code::Stream, "The stream held no message_start."));
        };
        let mut content = String::from("[");
        for (i, block) in self.blocks.iter().enumerate() {
            if i > 0 {
                content.push(',');
            }
            block.write(&mut content);
        }
        content.push(']');
        let mut instead = vec![("content", content)];
        if let Some(usage) = &self.usage {
            let mut json = String::new();
            usage.write(&mut json, &[]);
            instead.push(("usage", json));
        }
        let mut json = String::new();
        members.write(&mut json, &instead);
        Ok(json.into_bytes())
    }

    /// The text blocks joined, with nothing between them.
    pub fn text(&self) -> String {
        self.blocks.iter().filter(|block| block.part == Some(Part::Text)).map(|block| block.grown.as_str()).collect()
    }

    /// About how large the message has grown.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether anything of it is known that can be metered.
    pub fn has_facts(&self) -> bool {
        self.started() || self.usage.is_some()
    }

    /// What is known so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What the transport counted, for what the message does not say.
    pub(super) fn compare(&mut self, counted: &Tokens) {
        self.summary.usage.tokens.compare(counted);
    }

    /// Takes over a delta that makes a block longer. One for an unknown block, or of another type, changes nothing.
    pub(super) fn grow(&mut self, delta: &Delta<'_>) {
        self.bytes += delta.added.written_len();
        // Not by `block()`, which would borrow all of the message.
        let block = self.blocks.iter_mut().rev().find(|block| block.index == delta.index);
        if let Some(block) = block
            && block.part == Some(delta.part)
        {
            let before = block.grown.len();
            block.half = delta.added.unescape_after(block.half, &mut block.grown);
            block.has_grown = true;
            let more = block.grown.as_bytes().get(before..).unwrap_or_default();
            self.summary.written.add(delta.part, more);
        }
    }

    /// Takes over any other event.
    pub(super) fn apply(&mut self, kind: Kind, event: &Object<'_>) {
        match kind {
            Kind::MessageStart if !self.started() => {
                if let Some(message) = event.object("message") {
                    self.start(&message);
                }
            }
            // A gateway left message_start out: what is counted is billed all the same.
            Kind::MessageDelta | Kind::MessageStop if !self.started() => self.change(event),
            _ if !self.started() => {}
            Kind::ContentBlockStart => self.start_block(event),
            Kind::ContentBlockDelta => self.change_block(event),
            // Some carry the usage only here.
            Kind::MessageDelta | Kind::MessageStop => self.change(event),
            _ => {}
        }
    }

    /// Takes over a message that came whole, as an event of its own. False: this is none, or one has started.
    pub(super) fn take_whole(&mut self, event: &Object<'_>) -> bool {
        let is_whole = event.string("type").as_deref() == Some("message")
            && event.string("stop_reason").is_some()
            && event.get("content").is_some_and(|content| content.get().starts_with('['));
        if !is_whole || self.started() {
            return false;
        }
        self.start(event);
        self.summary.written.count(self.summary.usage.tokens.output.unwrap_or(0));
        true
    }

    fn start(&mut self, message: &Object<'_>) {
        let content = message.get("content").and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok());
        let content = content.unwrap_or_default().into_iter().filter_map(Object::of);
        self.blocks = (0..).zip(content).map(|(index, block)| Block::new(index, &block)).collect();
        self.usage = message.object("usage").map(|usage| usage.to_members());
        self.summary = Summary::of_message(message);
        for block in &self.blocks {
            block.part.into_iter().for_each(|part| self.summary.written.add(part, block.grown.as_bytes()));
        }
        self.members = Some(message.to_members());
    }

    fn start_block(&mut self, event: &Object<'_>) {
        let (Some(index), Some(block)) = (index_of(event), event.object("content_block")) else { return };
        // Beta: another model goes on from here.
        if block.string("type").as_deref() == Some("fallback")
            && let Some(to) = block.object("to")
            && let Some(model) = to.get_non_null("model")
        {
            self.set("model", model);
            self.summary.model = string(model);
        }
        self.bytes += BLOCK_BYTES + block.iter().map(|(name, value)| name.len() + value.get().len()).sum::<usize>();
        let block = Block::new(index, &block);
        block.part.into_iter().for_each(|part| self.summary.written.add(part, block.grown.as_bytes()));
        self.blocks.push(block);
    }

    fn change_block(&mut self, event: &Object<'_>) {
        if let (Some(index), Some(delta)) = (index_of(event), event.object("delta")) {
            // Citations pile up, too.
            self.bytes += delta.iter().map(|(name, value)| name.len() + value.get().len()).sum::<usize>();
            if let Some(block) = self.block(index) {
                block.change(&delta);
            }
        }
    }

    /// message_delta: its members are totals, newer ones overwrite.
    fn change(&mut self, event: &Object<'_>) {
        let delta = event.object("delta");
        for (name, value) in delta.iter().flat_map(Object::iter) {
            match name {
                "stop_reason" => {
                    self.set(name, value);
                    self.summary.stop_reason = string(value);
                }
                "stop_sequence" | "stop_details" => self.set(name, value),
                "container" if !is_null(value) => self.set(name, value),
                _ => {}
            }
        }
        for name in ["context_management", "input_transformations"] {
            if let Some(value) = event.get_non_null(name) {
                self.set(name, value);
            }
        }
        if let Some(usage) = event.object("usage") {
            self.change_usage(&usage);
        }
    }

    fn change_usage(&mut self, usage: &Object<'_>) {
        let former = self.summary.usage.tokens.cache_creation;
        let was_written = self.summary.written.text + self.summary.written.thinking > 0;
        for (name, value) in usage.iter().filter(|(_, value)| !is_null(value)) {
            if USAGE_STAYS.contains(&name) {
                self.summary.usage.set_missing(name, value);
            } else {
                self.usage.get_or_insert_default().set(name, value);
                let before = self.summary.usage.tokens.clone();
                self.summary.usage.set(name, value);
                // A zero after a real count is a placeholder: the message keeps it, what is billed does not.
                self.summary.usage.tokens.keep_real(&before, was_written);
            }
        }
        if let Some(output) = usage.get("output_tokens").and_then(count).filter(|output| *output > 0) {
            self.summary.written.count(output);
        }
        // A split of a total that no longer holds would be billed wrongly.
        let tokens = &mut self.summary.usage.tokens;
        if tokens.cache_creation != former {
            (tokens.cache_creation_5m, tokens.cache_creation_1h) = (None, None);
            if let Some(split) = usage.get("cache_creation") {
                tokens.set("cache_creation", split);
            }
        }
    }

    fn set(&mut self, name: &str, value: &RawValue) {
        if let Some(members) = &mut self.members {
            members.set(name, value);
        }
    }

    /// The block that started last with this index: nearly always the last one.
    fn block(&mut self, index: u64) -> Option<&mut Block> {
        self.blocks.iter_mut().rev().find(|block| block.index == index)
    }
}

impl Block {
    fn new(index: u64, block: &Object<'_>) -> Block {
        let part = block.string("type").and_then(|kind| Part::of_block(&kind));
        let grown = match part {
            Some(Part::Text | Part::Thinking) => part.and_then(|part| block.string(part.member())),
            Some(Part::Input) | None => None,
        };
        Block {
            index,
            members: block.to_members(),
            part,
            grown: grown.unwrap_or_default(),
            has_grown: false,
            half: None,
            citations: Vec::new(),
        }
    }

    /// The deltas that do not make a part longer.
    fn change(&mut self, delta: &Object<'_>) {
        let block = self.members.get("type").and_then(string).unwrap_or_default();
        match (delta.string("type").as_deref(), block.as_str()) {
            (Some("signature_delta"), "thinking") => self.take_over(delta, &["signature"]),
            (Some("compaction_delta"), "compaction") => self.take_over(delta, &["content", "encrypted_content"]),
            (Some("citations_delta"), "text") => self.citations.extend(delta.get("citation").map(RawValue::to_owned)),
            _ => {}
        }
    }

    fn take_over(&mut self, delta: &Object<'_>, names: &[&str]) {
        for name in names {
            if let Some(value) = delta.get(name) {
                self.members.set(name, value);
            }
        }
    }

    fn write(&self, out: &mut String) {
        let mut instead = Vec::new();
        if let Some(part) = self.part
            && self.has_grown
        {
            match part {
                Part::Text | Part::Thinking => instead.push((part.member(), quote(&self.grown))),
                Part::Input => instead.extend(self.input().map(|json| (part.member(), json))),
            }
        }
        if !self.citations.is_empty() {
            let before = self.members.get("citations");
            let before = before.and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok());
            let all = before.unwrap_or_default().into_iter().chain(self.citations.iter().map(AsRef::as_ref));
            let all: Vec<&str> = all.map(RawValue::get).collect();
            instead.push(("citations", format!("[{}]", all.join(","))));
        }
        self.members.write(out, &instead);
    }

    /// A tool's input from its deltas, as they wrote it. `None`: they said nothing, the start value holds.
    fn input(&self) -> Option<String> {
        let whole = serde_json::from_str::<&RawValue>(&self.grown).ok().map(|json| json.get().to_owned());
        // What can never be JSON stays the text it is: the message was paid for and is whole otherwise.
        let json = whole.or_else(|| partial::repair(&self.grown)).unwrap_or_else(|| quote(&self.grown));
        Some(json).filter(|json| !json.is_empty())
    }
}
