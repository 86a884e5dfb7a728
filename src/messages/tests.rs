//! Whole streams through the reader.

use proptest::prelude::*;

use super::summary::Usage;
use super::*;
use crate::common::json::object::quote;

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":1},"new":1.0}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn block(index: u32, block: &str) -> String {
    format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
}

fn delta(index: u32, delta: &str) -> String {
    format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#)
}

fn text(index: u32, text: &str) -> String {
    delta(index, &format!(r#"{{"type":"text_delta","text":{}}}"#, quote(text)))
}

fn input(index: u32, json: &str) -> String {
    delta(index, &format!(r#"{{"type":"input_json_delta","partial_json":{}}}"#, quote(json)))
}

fn end(reason: &str) -> String {
    format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}},"usage":{{"output_tokens":7}}}}"#)
}

/// Everything that a reader can tell of a stream.
#[derive(Debug, PartialEq)]
struct Seen {
    events: Vec<(Kind, String, Option<String>)>,
    /// Code, sentence and body of what push or end gave.
    error: Option<(Code, String, Vec<u8>)>,
    json: std::result::Result<String, Code>,
    text: String,
    summary: Summary,
    flags: (bool, bool, bool),
}

fn read<'a>(framing: Framing, max: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let mut reader = Reader::new(framing, max);
    let mut batch = Batch::new();
    let pushed = chunks.into_iter().try_for_each(|chunk| reader.push(chunk, &mut batch));
    let error = pushed.and_then(|()| reader.end(&mut batch)).err();
    let message = reader.message();
    Seen {
        events: batch.iter().map(|e| (e.kind, e.json.to_owned(), e.text.map(str::to_owned))).collect(),
        error: error.map(|e| (e.code, e.message, e.http.map_or_else(Vec::new, |http| http.body))),
        json: message.to_json().map(|json| String::from_utf8(json).unwrap()).map_err(|e| e.code),
        text: message.text(),
        summary: message.summary().clone(),
        flags: (message.started(), reader.has_first_delta(), reader.is_complete()),
    }
}

/// One event in each push, without SSE.
fn read_events<S: AsRef<str>>(events: &[S]) -> Seen {
    read(Framing::Events, 1 << 20, events.iter().map(|event| event.as_ref().as_bytes()))
}

fn read_sse(text: &str) -> Seen {
    read(Framing::Sse, 1 << 20, [text.as_bytes()])
}

fn code(seen: &Seen) -> Option<Code> {
    seen.error.as_ref().map(|(code, ..)| *code)
}

/// The `content` that these events make of a started message, and its stop.
fn content<S: AsRef<str>>(events: &[S]) -> std::result::Result<String, Code> {
    let all: Vec<&str> = [START].into_iter().chain(events.iter().map(AsRef::as_ref)).chain([STOP]).collect();
    let json = read_events(&all).json?;
    Ok(Object::parse(&json).unwrap().get("content").unwrap().get().to_owned())
}

#[test]
fn a_message_in_both_framings() {
    let events = [
        START.to_owned(),
        block(0, r#"{"type":"text","text":""}"#),
        r#"{"type":"ping"}"#.to_owned(),
        text(0, "Hé"),
        text(0, "llo\n🌍"),
        r#"{"type":"content_block_stop","index":0}"#.to_owned(),
        end("end_turn"),
        STOP.to_owned(),
    ];
    let seen = read_events(&events);
    let kinds: Vec<_> = seen.events.iter().map(|(kind, ..)| *kind).collect();
    use Kind::*;
    let want = [
        MessageStart,
        ContentBlockStart,
        Ping,
        ContentBlockDelta,
        ContentBlockDelta,
        ContentBlockStop,
        MessageDelta,
        MessageStop,
    ];
    assert_eq!(kinds, want);
    assert!(seen.events.iter().map(|(_, json, _)| json).eq(&events));
    let texts: Vec<_> = seen.events.iter().filter_map(|(.., text)| text.as_deref()).collect();
    assert_eq!(texts, ["Hé", "llo\n🌍"]);
    let json =
        r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"Hé"#
            .to_owned()
            + r#"llo\n🌍"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":7},"new":1.0}"#;
    assert_eq!(seen.json.as_ref(), Ok(&json));
    assert_eq!(seen.text, "Hé".to_owned() + "llo\n🌍");
    assert_eq!((seen.error.is_none(), seen.flags), (true, (true, true, true)));
    let written = Written { counted: 7, uncounted: 0, ..Written::of(json.as_bytes()) };
    assert_eq!(Summary { written, ..Summary::of(json.as_bytes()).unwrap() }, seen.summary);
    assert_eq!(text_of(json.as_bytes()), seen.text);

    let sse: String = events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", type_of(event))).collect();
    assert_eq!(read_sse(&sse), seen);
    let bare: String = events.iter().map(|event| format!("data:{event}\r\n\r\n")).collect();
    assert_eq!(read_sse(&format!("\u{feff}{bare}")), seen);
    assert_eq!(read_sse(bare.trim_end()), seen, "without the last blank line");
    assert_eq!(read_sse(&(bare + "data: [DONE]\n\nevent: message_stop\ndata: {\n\nevent: error\ndata: x\n\n")), seen);
}

fn type_of(event: &str) -> String {
    Object::parse(event).and_then(|event| event.string("type")).unwrap_or_else(|| "none".to_owned())
}

#[test]
fn what_an_event_is() {
    for (sse, want) in [
        ("event: ping\ndata: {}\n\n", &[Kind::Ping][..]),
        ("event: ping\ndata: x\n\n", &[]),
        ("event: ping\n\n", &[]),
        ("event: message_stop\ndata:\n\nevent: message_stop\ndata: \ndata:\n\n", &[]),
        ("data: {\"type\":\"message_stop\"}\n\n", &[Kind::MessageStop]),
        ("event: message\ndata: {\"type\":\"message_stop\"}\n\n", &[Kind::MessageStop]),
        ("event: message_sto\ndata: {\"type\":\"message_stop\"}\n\n", &[Kind::MessageStop]),
        ("event: message_stop\ndata: {\"type\":null}\n\n", &[Kind::MessageStop]),
        ("event: new\ndata: {\"x\":1}\n\ndata: {\"type\":\"new\"}\n\n", &[Kind::Other, Kind::Other]),
        ("event: new\ndata: text\n\nevent: new\ndata: [1]\n\n", &[]),
        ("data: [DONE]\n\ndata: {\"x\":1}\n\ndata: 5\n\ndata: {\n\n", &[]),
    ] {
        let seen = read_sse(sse);
        assert_eq!(seen.events.iter().map(|(kind, ..)| *kind).collect::<Vec<_>>(), want, "{sse}");
        assert_eq!(code(&seen), (!want.contains(&Kind::MessageStop)).then_some(Code::Stream), "{sse}");
    }
    let metrics = r#"{"amazon-bedrock-invocationMetrics":{"inputTokenCount":1}}"#;
    assert_eq!(read_events(&[metrics, ""]).events, []);
}

#[test]
fn ends_and_faults() {
    let begin = format!("data: {START}\n\ndata: {}\n\n", block(0, r#"{"type":"text","text":"so far"}"#));
    let sentence = |tail: &str| {
        let seen = read_sse(&format!("{begin}{tail}"));
        assert!(seen.events.len() >= 2 && seen.text.starts_with("so far"), "{tail}");
        assert_eq!(seen.summary.usage.tokens.input, Some(10));
        seen.error.map(|(code, message, _)| (code, message))
    };
    let stream = |message: &str| Some((Code::Stream, message.to_owned()));
    for tail in
        ["", "data: {\"type\":\"message_stop\"", "event: message_stop", "event: message_stop\ndata: {\"type\":\n"]
    {
        assert_eq!(sentence(tail), stream("The stream ended before its message_stop."), "{tail}");
    }
    for tail in [
        "event: content_block_delta\ndata: {\"type\":\n\n",
        "event: message_stop\ndata: [DONE]\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"x\":\0}\n\n",
    ] {
        assert_eq!(sentence(tail), stream("The stream has an event that is not a JSON object."), "{tail}");
    }
    assert_eq!(sentence("event: message_stop\ndata: {\"type\":\"message_stop\"}"), None);
    assert_eq!(read_sse("\n: ping\n\n").error.unwrap().1, "The stream ended without any event.");
    assert_eq!(read_events::<&str>(&[]).error.unwrap().1, "The stream ended without any event.");
    assert_eq!(code(&read_events(&["[DONE]"])), Some(Code::Stream));
    let broken = read(Framing::Sse, 99, [&b"data: {\"type\":\"\xff\"}\n\n"[..]]);
    assert_eq!(broken.error.unwrap().1, "The stream ended before its message_stop.");
    for framing in [Framing::Sse, Framing::Events] {
        let long = format!("data: {START}\n\n");
        assert_eq!(code(&read(framing, 50, [long.as_bytes()])), Some(Code::Stream));
    }
}

#[test]
fn errors_inside_the_stream() {
    for (kind, want) in [
        ("overloaded_error", Code::Overloaded),
        ("rate_limit_error", Code::RateLimit),
        ("api_error", Code::InternalServer),
        ("timeout_error", Code::InternalServer),
        ("authentication_error", Code::Authentication),
        ("permission_error", Code::PermissionDenied),
        ("not_found_error", Code::NotFound),
        ("request_too_large", Code::RequestTooLarge),
        ("invalid_request_error", Code::BadRequest),
        ("billing_error", Code::Api),
        ("conflict_error", Code::Conflict),
        ("new_error", Code::Api),
    ] {
        let event =
            format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"secret"}},"request_id":"req_1"}}"#);
        let want = Some((want, format!("The provider ended the stream with {kind}."), event.clone().into_bytes()));
        assert_eq!(read_events(&[START, &event, STOP]).error, want);
        for sse in [format!("event: error\ndata: {event}\n\n"), format!("data: {event}\n\n"), format!("data: {event}")]
        {
            let seen = read_sse(&format!("data: {START}\n\n{sse}"));
            assert_eq!(seen.error, want);
            assert_eq!((seen.events.len(), seen.flags), (1, (true, false, false)));
        }
    }
    for body in ["upstream exploded", "{}", r#"{"error":{"type":"you said: secret"}}"#, r#"{"error":7}"#] {
        let seen = read_sse(&format!("event: error\ndata: {body}\n\n"));
        let want = (Code::Api, "The provider ended the stream with an error.".to_owned(), body.as_bytes().to_vec());
        assert_eq!(seen.error, Some(want));
    }
}

#[test]
fn what_looks_like_an_error_is_one_if_it_comes_last() {
    for (body, want) in [
        (r#"{"detail":"no"}"#, Code::Api),
        (r#"{"errors":["no"]}"#, Code::Api),
        (r#"{"success":false}"#, Code::Api),
        (r#"{"message":"no","code":429}"#, Code::RateLimit),
    ] {
        let last = format!("data: {body}\n\n");
        for begin in [String::new(), format!("data: {START}\n\n"), "data: {\"message\":\"soon\"}\n\n".to_owned()] {
            let sentence = "The provider ended the stream with an error.".to_owned();
            assert_eq!(read_sse(&(begin + &last)).error, Some((want, sentence, body.as_bytes().to_vec())));
        }
        let delta = text(0, "x");
        for more in [format!("data: {STOP}\n\n"), format!("data: {delta}\n\ndata: {STOP}\n\n")] {
            assert_eq!(read_sse(&format!("{last}data: {START}\n\n{last}{more}{last}")).error, None, "{more}");
        }
        let cut = format!("data: {START}\n\n{last}data: {delta}\n\n");
        assert_eq!(code(&read_sse(&cut)), Some(Code::Stream));
    }
    let named = r#"{"type":"progress","message":"soon"}"#;
    assert_eq!(code(&read_sse(&format!("data: {START}\n\ndata: {named}\n\n"))), Some(Code::Stream));
}

#[test]
fn framed_twice() {
    let (start, block, end) = (START, block(0, r#"{"type":"text","text":""}"#), end("end_turn"));
    let text = text(0, "data: {} data:");
    let once = read_sse(&format!("data: {start}\n\ndata: {block}\n\ndata: {text}\n\ndata: {end}\n\ndata: {STOP}\n\n"));
    assert_eq!((once.error.as_ref(), once.text.as_str()), (None, "data: {} data:"));
    for twice in
        [format!("data: {STOP}\n\n"), "[DONE]\n\n".to_owned(), "\"[DONE]\"\n\n".to_owned(), "data:[DONE]".to_owned()]
    {
        let twice = format!(
            "event: message_start\ndata: data: {start}\n\ndata:data:{block}\n\ndata:  data: data: {text}\n\ndata: data: {end}\n\ndata: {twice}"
        );
        let twice = read_sse(&twice);
        assert_eq!((&twice.error, &twice.json, &twice.summary), (&once.error, &once.json, &once.summary));
    }
    let error = r#"{"type":"error","error":{"type":"overloaded_error"}}"#;
    assert_eq!(code(&read_sse(&format!("event: error\ndata: data: {error}\n\n"))), Some(Code::Overloaded));
    // Before the stop_reason a quoted [DONE] ends nothing either.
    assert_eq!(code(&read_sse(&format!("data: {start}\n\ndata: \"[DONE]\"\n\n"))), Some(Code::Stream));
}

#[test]
fn a_message_as_one_event() {
    let whole = r#"{"id":"msg_1","type":"message","content":[{"type":"text","text":"Hi"},{"type":"tool_use","id":"t","input":{"a":1.0}}],"stop_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":9}}"#;
    for sse in [format!("data: {whole}\n\n"), format!("event: message\ndata: {whole}\n\ndata: [DONE]\n\n")] {
        let seen = read_sse(&sse);
        assert_eq!((seen.error, seen.json.as_deref(), seen.text.as_str()), (None, Ok(whole), "Hi"));
        let want = Summary { written: seen.summary.written, ..Summary::of(whole.as_bytes()).unwrap() };
        assert_eq!((seen.summary.written.counted, seen.summary), (9, want));
    }
    // One that has started goes on; one without stop_reason may only begin; content that is text is something else.
    assert_eq!(code(&read_events(&[START, whole])), Some(Code::Stream));
    for odd in [
        whole.replace("\"tool_use\",\"usage\"", "null,\"usage\""),
        r#"{"type":"message","content":"Hi","stop_reason":"x"}"#.to_owned(),
    ] {
        assert_eq!(code(&read_events(&[odd])), Some(Code::Stream));
    }
}

#[test]
fn a_reader_that_is_over_ignores_the_rest() {
    for (last, is_complete) in [(STOP, true), (r#"{"type":"error"}"#, false)] {
        let (mut reader, mut batch) = (Reader::new(Framing::Events, 1000), Batch::new());
        reader.push(START.as_bytes(), &mut batch).unwrap();
        assert_eq!(reader.push(last.as_bytes(), &mut batch).is_ok(), is_complete);
        let len = batch.len();
        for more in [START.as_bytes(), b"{", b"", b"\xff", &[b' '; 2000]] {
            assert!(reader.push(more, &mut batch).is_ok());
        }
        assert_eq!((reader.end(&mut batch).is_ok(), batch.len()), (is_complete, len));
        assert!(reader.into_message().started());
    }
}

#[test]
fn nothing_counts_before_the_start_or_twice() {
    let second = START.replace("msg_1", "msg_2").replace("[]", r#"[{"type":"text","text":"no"}]"#);
    let early = [block(0, r#"{"type":"text","text":"early"}"#), text(0, "early"), end("early")];
    let mut events: Vec<&str> = early.iter().map(String::as_str).collect();
    events.extend([START, &second, STOP]);
    let seen = read_events(&events);
    assert_eq!((seen.events.len(), seen.text.as_str(), code(&seen)), (6, "", None));
    assert_eq!((seen.summary.id.as_deref(), seen.summary.stop_reason), (Some("msg_1"), None));
    for start in [&early[..], &[r#"{"type":"message_start","message":7}"#.to_owned()]] {
        let seen = read_events(&[start, &[STOP.to_owned()]].concat());
        assert_eq!((seen.json, seen.flags.0, seen.error), (Err(Code::Stream), false, None));
    }
}

#[test]
fn blocks_grow() {
    let thinking = |text: &str| format!(r#"{{"type":"thinking_delta","thinking":"{text}","estimated_tokens":5}}"#);
    let signature = |text: &str| format!(r#"{{"type":"signature_delta","signature":"{text}"}}"#);
    let cite = |n: u32| format!(r#"{{"type":"citations_delta","citation":{{"n":{n}.0}}}}"#);
    let compact = |rest: &str| format!(r#"{{"type":"compaction_delta",{rest}}}"#);
    let cases: &[(&[String], &str)] = &[
        (&[], "[]"),
        // What a text starts with stays; unknown members too; without deltas nothing is rewritten.
        (
            &[block(0, r#"{"x":1e2,"type":"text","text":"pre-","y":[ ]}"#), text(0, "fix")],
            r#"[{"x":1e2,"type":"text","text":"pre-fix","y":[ ]}]"#,
        ),
        (&[block(0, r#"{"type":"text","text":"\u0041"}"#)], r#"[{"type":"text","text":"\u0041"}]"#),
        (&[block(0, r#"{"type":"text"}"#), text(0, "a")], r#"[{"type":"text","text":"a"}]"#),
        // Interleaved blocks, gaps in the indexes, deltas for nothing and of another type.
        (
            &[
                block(0, r#"{"type":"text","text":""}"#),
                block(2, r#"{"type":"text","text":""}"#),
                text(2, "c"),
                text(0, "a"),
                text(1, "?"),
                input(0, "{}"),
                delta(0, &thinking("?")),
                delta(0, &signature("?")),
                delta(0, r#"{"type":"new_delta","text":"?"}"#),
                delta(0, r#"{"type":"text_delta","text":7}"#),
                delta(0, "null"),
                text(2, "d"),
            ],
            r#"[{"type":"text","text":"a"},{"type":"text","text":"cd"}]"#,
        ),
        (
            &[
                block(0, r#"{"type":"thinking","thinking":"","signature":""}"#),
                delta(0, &thinking("Let ")),
                delta(0, r#"{"type":"thinking_delta","thinking":"me"}"#),
                delta(0, &signature("a")),
                delta(0, &signature("b")),
                text(0, "?"),
                block(1, r#"{"type":"redacted_thinking","data":"AAAA"}"#),
                delta(1, &thinking("?")),
            ],
            r#"[{"type":"thinking","thinking":"Let me","signature":"b"},{"type":"redacted_thinking","data":"AAAA"}]"#,
        ),
        (
            &[
                block(0, r#"{"type":"text","text":"","citations":null}"#),
                delta(0, &cite(1)),
                text(0, "x"),
                delta(0, &cite(2)),
                block(1, r#"{"type":"text","text":"y","citations":[{"n":0}]}"#),
                delta(1, &cite(1)),
                block(2, r#"{"type":"text","text":"z"}"#),
                delta(2, &cite(3)),
                delta(2, r#"{"type":"citations_delta"}"#),
            ],
            r#"[{"type":"text","text":"x","citations":[{"n":1.0},{"n":2.0}]},{"type":"text","text":"y","citations":[{"n":0},{"n":1.0}]},{"type":"text","text":"z","citations":[{"n":3.0}]}]"#,
        ),
        (
            &[
                block(0, r#"{"type":"compaction","content":null}"#),
                delta(0, &compact(r#""content":"sum","encrypted_content":"e""#)),
                block(1, r#"{"type":"compaction","content":"x"}"#),
                delta(1, &compact(r#""content":null"#)),
            ],
            r#"[{"type":"compaction","content":"sum","encrypted_content":"e"},{"type":"compaction","content":null}]"#,
        ),
        // Unknown blocks and those that are complete at once go in as they are.
        (
            &[
                block(0, r#"{"type":"new","v":12345678901234567890}"#),
                text(0, "?"),
                block(1, r#"{"content":[ {"u":"\u00e9"} ]}"#),
            ],
            r#"[{"type":"new","v":12345678901234567890},{"content":[ {"u":"\u00e9"} ]}]"#,
        ),
    ];
    for (events, want) in cases {
        assert_eq!(content(events).as_deref(), Ok(*want));
    }
    let filled = START.replace("[]", r#"[{"type":"text","text":"a"}]"#);
    let seen = read_events(&[filled, text(0, "b"), block(1, r#"{"type":"text","text":"c"}"#), STOP.to_owned()]);
    assert_eq!(seen.text, "abc");
}

#[test]
fn tool_inputs() {
    let tool = |start: &str, parts: &[&str]| {
        let mut events = vec![block(0, &format!(r#"{{"type":"tool_use","id":"t","input":{start},"name":"f"}}"#))];
        events.extend(parts.iter().map(|part| input(0, part)));
        let content = content(&events)?;
        let block = content.strip_prefix(r#"[{"type":"tool_use","id":"t","input":"#).unwrap();
        Ok::<_, Code>(block.strip_suffix(r#","name":"f"}]"#).unwrap().to_owned())
    };
    for (parts, want) in [
        (&[][..], Ok("{ }")),
        (&[""], Ok("{ }")),
        (&[" ", "\n"], Ok("{ }")),
        (
            &["", "{\"a\": 12345", "678901234567890, \"b\":1.0,", "\"c\":1e2}"],
            Ok(r#"{"a": 12345678901234567890, "b":1.0,"c":1e2}"#),
        ),
        (&[r#"{"a":"\ud83"#, r#"c\ud"#, r#"f0d"}"#], Ok(r#"{"a":"\ud83c\udf0d"}"#)),
        (&[r#"{"a":"\ud83c"#, r#"\udf0d"}"#], Ok(r#"{"a":"\ud83c\udf0d"}"#)),
        (&["[1]"], Ok("[1]")),
        (&["{\"a\": \"long", " str"], Ok("{}")),
        (&["{\"a\":1,\"b\":[1,2"], Ok("{\"a\":1,\"b\":[1]}")),
        (&["\"to"], Ok("{ }")),
        (&["{\"a\": tru", ",}"], Ok(r#""{\"a\": tru,}""#)),
        (&["{} {}"], Ok(r#""{} {}""#)),
    ] {
        assert_eq!(tool("{ }", parts), want.map(str::to_owned), "{parts:?}");
    }
    for (kind, grows) in [("server_tool_use", true), ("mcp_tool_use", true), ("mcp_tool_result", false)] {
        let events = [block(0, &format!(r#"{{"type":"{kind}","input":{{}}}}"#)), input(0, "[1]")];
        let want = format!(r#"[{{"type":"{kind}","input":{}}}]"#, if grows { "[1]" } else { "{}" });
        assert_eq!(content(&events), Ok(want));
    }
    // A stream that broke: what came completely.
    let seen =
        read_events(&[START.to_owned(), block(0, r#"{"type":"tool_use","input":{}}"#), input(0, "{\"a\":[true,fal")]);
    assert_eq!(code(&seen), Some(Code::Stream));
    assert!(seen.json.unwrap().contains(r#""input":{"a":[true]}"#));
}

#[test]
fn surrogates_that_utf8_cannot_hold() {
    let half = delta(0, r#"{"type":"text_delta","text":"a\ud83c"}"#);
    let pair = delta(0, r#"{"type":"text_delta","text":"\ud83c\udf0d"}"#);
    let seen = read_events(&[START, &block(0, r#"{"type":"text","text":""}"#), &half, &pair, STOP]);
    assert_eq!((seen.text.as_str(), code(&seen)), ("a\u{fffd}🌍", None));
}

/// The members of the whole message that differ from the start, and the summary.
fn changed(start: &str, events: &[&str]) -> (Vec<String>, Summary) {
    let all: Vec<&str> = [start].into_iter().chain(events.iter().copied()).chain([STOP]).collect();
    let seen = read_events(&all);
    let json = seen.json.unwrap();
    let before = Object::parse(start).unwrap().object("message").unwrap().to_members();
    let members = Object::parse(&json).unwrap();
    let differs = |(name, value): &(&str, &serde_json::value::RawValue)| {
        before.get(name).is_none_or(|before| before.get() != value.get())
    };
    (members.iter().filter(differs).map(|(name, value)| format!("{name}={}", value.get())).collect(), seen.summary)
}

#[test]
fn message_delta_changes_the_message() {
    let cases: &[(&[&str], &[&str])] = &[
        (&[r#"{"delta":{}}"#, "{}", r#"{"delta":null,"usage":null}"#], &[]),
        (
            &[r#"{"delta":{"stop_reason":"stop_sequence","stop_sequence":"END","stop_details":{"n":1.0}}}"#],
            &[r#"stop_reason="stop_sequence""#, r#"stop_sequence="END""#, r#"stop_details={"n":1.0}"#],
        ),
        (
            &[
                r#"{"delta":{"stop_reason":"a","stop_details":{}}}"#,
                r#"{"delta":{"stop_reason":null,"stop_details":null}}"#,
            ],
            &["stop_details=null"],
        ),
        (
            &[r#"{"delta":{"container":{"id":"c"},"unknown":1},"unknown":2}"#, r#"{"delta":{"container":null}}"#],
            &[r#"container={"id":"c"}"#],
        ),
        (
            &[
                r#"{"context_management":{"applied_edits":[]},"input_transformations":[1e2]}"#,
                r#"{"context_management":null,"input_transformations":null}"#,
            ],
            &[r#"context_management={"applied_edits":[]}"#, "input_transformations=[1e2]"],
        ),
        (
            &[
                r#"{"usage":{"output_tokens":5,"input_tokens":null,"new":{"x":1.0},"service_tier":"batch","speed":"fast","inference_geo":"eu","cache_creation":{}}}"#,
                r#"{"usage":{"output_tokens":0}}"#,
            ],
            &[r#"usage={"input_tokens":10,"output_tokens":0,"new":{"x":1.0}}"#],
        ),
    ];
    for (deltas, want) in cases {
        let deltas: Vec<String> =
            deltas.iter().map(|d| d.replacen('{', r#"{"type":"message_delta","#, 1).replace(",}", "}")).collect();
        let deltas: Vec<&str> = deltas.iter().map(String::as_str).collect();
        assert_eq!(changed(START, &deltas).0, *want, "{deltas:?}");
    }
    // A message that started without usage gets it.
    let bare = r#"{"type":"message_start","message":{"id":"m"}}"#;
    let (members, summary) = changed(bare, &[&end("end_turn")]);
    assert_eq!(members, [r#"stop_reason="end_turn""#, "content=[]", r#"usage={"output_tokens":7}"#]);
    assert_eq!((summary.usage.tokens.output, summary.stop_reason.as_deref()), (Some(7), Some("end_turn")));
}

#[test]
fn another_model_goes_on() {
    let block = block(0, r#"{"type":"fallback","from":{"model":"claude-x"},"to":{"model":"claude-y"}}"#);
    let (members, summary) = changed(START, &[&block]);
    assert_eq!(members[0], r#"model="claude-y""#);
    assert_eq!(summary.model.as_deref(), Some("claude-y"));
}

#[test]
fn usage_on_the_way() {
    let start = START.replace(
        r#""output_tokens":1}"#,
        r#""output_tokens":1,"cache_creation_input_tokens":9,"cache_read_input_tokens":3,"service_tier":"priority","cache_creation":{"ephemeral_5m_input_tokens":4,"ephemeral_1h_input_tokens":5}}"#,
    );
    let usage = |usages: &[&str]| {
        let deltas: Vec<String> =
            usages.iter().map(|usage| format!(r#"{{"type":"message_delta","usage":{{{usage}}}}}"#)).collect();
        changed(&start, &deltas.iter().map(String::as_str).collect::<Vec<_>>()).1.usage
    };
    let split =
        |usage: Usage| (usage.tokens.cache_creation, usage.tokens.cache_creation_5m, usage.tokens.cache_creation_1h);
    let began = usage(&[]);
    let tokens = Tokens {
        input: Some(10),
        output: Some(1),
        cache_creation: Some(9),
        cache_read: Some(3),
        cache_creation_5m: Some(4),
        cache_creation_1h: Some(5),
    };
    assert_eq!(began, Usage { tokens, service_tier: Some("priority".into()), ..Usage::default() });
    // Newer totals win; a zero after a count is a placeholder; null and what cannot be read change nothing.
    let later = usage(&[
        r#""output_tokens":5,"cache_read_input_tokens":0"#,
        r#""output_tokens":8,"input_tokens":null,"cache_read_input_tokens":"x","service_tier":"batch""#,
    ]);
    assert_eq!((later.tokens.output, later.tokens.input, later.tokens.cache_read), (Some(8), Some(10), Some(3)));
    assert_eq!(later.service_tier.as_deref(), Some("priority"));
    // Where nothing was written a zero may be true.
    assert_eq!(usage(&[r#""output_tokens":5"#, r#""output_tokens":0"#]).tokens.output, Some(0));
    let block = block(0, r#"{"type":"text","text":"Hi"}"#);
    let zero = r#"{"type":"message_delta","usage":{"input_tokens":0,"output_tokens":0}}"#;
    let (members, summary) = changed(&start, &[&block, &end("end_turn"), zero]);
    assert_eq!((summary.usage.tokens.output, summary.usage.tokens.input), (Some(7), Some(10)));
    assert!(members.iter().any(|member| member.contains(r#""output_tokens":0"#)), "{members:?}");
    // The split holds as long as its total.
    let new = r#""cache_creation":{"ephemeral_5m_input_tokens":1,"ephemeral_1h_input_tokens":2}"#;
    assert_eq!(split(usage(&[new])), (Some(9), Some(4), Some(5)));
    assert_eq!(split(usage(&[&format!(r#""cache_creation_input_tokens":9,{new}"#)])), (Some(9), Some(4), Some(5)));
    assert_eq!(split(usage(&[r#""cache_creation_input_tokens":3"#])), (Some(3), None, None));
    assert_eq!(split(usage(&[&format!(r#"{new},"cache_creation_input_tokens":3"#)])), (Some(3), Some(1), Some(2)));
    // Details and iterations are replaced whole.
    let details = usage(&[
        r#""output_tokens_details":{"thinking_tokens":2},"iterations":[{"type":"a"},{"type":"b"}]"#,
        r#""output_tokens_details":{"thinking_tokens":4},"iterations":[{"type":"message","model":null,"input_tokens":6}]"#,
    ]);
    assert_eq!(details.thinking_tokens, Some(4));
    let tokens = Tokens { input: Some(6), ..Tokens::default() };
    assert_eq!(details.iterations, [Iteration { kind: "message".into(), model: None, tokens }]);
}

/// Pieces of streams, sound and unsound.
fn piece() -> impl Strategy<Value = String> {
    let event = prop_oneof![
        Just(START.to_owned()),
        Just(block(0, r#"{"type":"text","text":"é"}"#)),
        Just(block(1, r#"{"type":"tool_use","input":{}}"#)),
        any::<String>().prop_map(|s| text(0, &s)),
        "[{}\\[\\]\":,0-9a\\\\u]{0,6}".prop_map(|s| input(1, &s)),
        Just(end("end_turn")),
        Just(r#"{"type":"ping"}"#.to_owned()),
    ];
    prop_oneof![
        9 => (event, any::<bool>()).prop_map(|(event, named)| {
            if named { format!("event: {}\ndata: {event}\n\n", type_of(&event)) } else { format!("data: {event}\n\n") }
        }),
        1 => prop_oneof![
            Just(format!("data: {STOP}\n\n")),
            Just("data: {\"type\":\ndata: \"new\"}\n\n".to_owned()),
            Just("event: error\ndata: x\n\n".to_owned()),
            Just("event: message_delta\ndata: {\n\n".to_owned()),
            Just(": comment\nid: 1\n\n".to_owned()),
            Just(format!("data: {}\n\n", " ".repeat(700))),
            "(event|data|: |error|\\{|\\}|\n){0,6}",
        ],
    ]
}

proptest! {
    #[test]
    fn chunks_do_not_matter(
        pieces in prop::collection::vec(piece(), 0..12),
        line_end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        sizes in prop::collection::vec(1..40usize, 1..20),
        cut in 0..60usize,
    ) {
        let stream = format!("data: {START}\n\n{}", pieces.concat());
        let bytes = stream.replace('\n', line_end).into_bytes();
        let bytes = &bytes[..bytes.len().saturating_sub(cut)];
        let whole = read(Framing::Sse, 600, [bytes]);
        let mut rest = bytes;
        let chunks: Vec<&[u8]> = sizes.iter().cycle().map_while(|&size| {
            let (chunk, tail) = rest.split_at(size.min(rest.len()));
            rest = tail;
            (!chunk.is_empty()).then_some(chunk)
        }).collect();
        prop_assert_eq!(&read(Framing::Sse, 600, chunks), &whole);
        if line_end == "\n" {
            prop_assert_eq!(&read(Framing::Sse, 600, bytes.chunks(1)), &whole);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1..50usize) {
        for framing in [Framing::Sse, Framing::Events] {
            let seen = read(framing, 100, bytes.chunks(size));
            prop_assert!(seen.error.is_some());
        }
        let _ = (Summary::of(&bytes), text_of(&bytes));
    }

    #[test]
    fn a_message_survives_being_streamed(parts in prop::collection::vec(any::<String>(), 0..8), number in "-?[1-9][0-9]{0,30}(\\.0{1,3})?") {
        let mut events = vec![START.to_owned(), block(0, r#"{"type":"text","text":""}"#)];
        events.extend(parts.iter().map(|part| text(0, part)));
        let tool = format!("{{\"n\":{number},\"s\":{}}}", quote(&parts.concat()));
        events.push(block(1, r#"{"type":"tool_use","input":{}}"#));
        let chars: Vec<char> = tool.chars().collect();
        events.extend(chars.chunks(3).map(|chunk| input(1, &chunk.iter().collect::<String>())));
        events.push(STOP.to_owned());
        let seen = read_events(&events);
        prop_assert_eq!(&seen.text, &parts.concat());
        let json = seen.json.unwrap();
        prop_assert_eq!(text_of(json.as_bytes()), parts.concat());
        prop_assert!(json.contains(&format!("\"input\":{tool}}}")), "{}", json);
    }
}
