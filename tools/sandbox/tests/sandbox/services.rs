//! The providers, the collector, and what tests plan and see.

use std::io::{BufRead, Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Answer, End, Sandbox, record};

#[test]
fn a_create_is_echoed_over_one_kept_connection() {
    let sandbox = Sandbox::start(&[]);
    let mut client = sandbox.connect();
    let first = client.create("/any/prefix/v1/messages", "", json!({}));
    let message = first.json();
    assert_eq!(first.status, 200);
    assert_eq!(message["content"], json!([{"type": "text", "text": "You said: hello there"}]));
    assert_eq!(message["model"], "claude-sonnet-4-5-20250929");
    assert_eq!(message["stop_reason"], "end_turn");
    assert!(
        message["usage"]["input_tokens"].as_u64() > Some(0) && message["usage"]["output_tokens"].as_u64() > Some(0)
    );
    assert!(first.header("request-id").unwrap().starts_with("req_sandbox_"));
    for name in ["limit", "remaining", "reset"] {
        assert!(first.header(&format!("anthropic-ratelimit-requests-{name}")).is_some(), "{name}");
    }
    let second = client.create("/any/prefix/v1/messages", "", json!({"model": "another-model"})).json();
    assert_eq!(second["model"], "another-model");
    assert_ne!(second["id"], message["id"]);

    let requests = sandbox.get("/sandbox/requests");
    let request = &requests[0];
    assert_eq!(requests.as_array().unwrap().len(), 2);
    assert_eq!((&request["service"], &request["path"]), (&json!("anthropic"), &json!("/any/prefix/v1/messages")));
    assert_eq!(request["headers"]["anthropic-version"], "2023-06-01");
    assert_eq!(request["body"]["messages"][0]["content"], "hello there");
    assert_eq!(serde_json::from_str::<Value>(request["raw"].as_str().unwrap()).unwrap(), request["body"]);
    // The two creates shared a connection; each look inside had its own.
    let stats = sandbox.get("/sandbox/stats");
    assert_eq!((&stats["requests"], &stats["connections"]), (&json!(2), &json!(3)));
}

#[test]
fn request_bodies_may_be_chunked_and_pipelined() {
    let sandbox = Sandbox::start(&["--quiet"]);
    let mut client = sandbox.connect();
    let body =
        json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "in two parts"}]}).to_string();
    let (a, b) = body.split_at(20);
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nx-api-key: k\r\nanthropic-version: v\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{a}\r\n{:x}\r\n{b}\r\n0\r\n\r\n",
        a.len(),
        b.len()
    );
    client.input.get_mut().write_all(request.repeat(2).as_bytes()).unwrap();
    for _ in 0..2 {
        let mut answer = Answer { status: 0, headers: Vec::new(), chunks: Vec::new(), end: End::Ok };
        client.read_answer(&mut answer).unwrap();
        assert_eq!(answer.json()["content"][0]["text"], "You said: in two parts");
    }
}

#[test]
fn requests_are_checked_as_the_api_checks_them() {
    let sandbox = Sandbox::start(&["--quiet"]);
    let cases = [
        (json!({"model": null}), 400, "invalid_request_error", "model"),
        (json!({"model": ""}), 400, "invalid_request_error", "model"),
        (json!({"max_tokens": 0}), 400, "invalid_request_error", "max_tokens"),
        (json!({"messages": []}), 400, "invalid_request_error", "messages"),
        (json!({"usage_metadata": {}}), 400, "invalid_request_error", "usage_metadata: Extra inputs are not permitted"),
        (json!({"revenium": {}}), 400, "invalid_request_error", "revenium: Extra inputs are not permitted"),
        (json!({"model": "sandbox-surprise"}), 404, "not_found_error", "sandbox-surprise"),
    ];
    for (change, status, kind, part) in cases {
        let answer = sandbox.create(change.clone());
        let error = answer.error();
        assert_eq!((error.0, error.1.as_str()), (status, kind), "{change}");
        assert!(error.2.contains(part), "{change}: {}", error.2);
        assert_eq!(answer.json()["request_id"], answer.header("request-id").unwrap());
    }
    let (key, version) = (("x-api-key", "k"), ("anthropic-version", "2023-06-01"));
    for (headers, body, status, part) in [
        (vec![version], "{}", 401, "x-api-key"),
        (vec![key], "{}", 400, "anthropic-version"),
        (vec![key, version], "{", 400, "JSON"),
        (vec![key, version], "[]", 400, "object"),
        (vec![("authorization", "Bearer t"), version], "{}", 400, "model: Field required"),
        (vec![key, version, ("x-sandbox", "sattus=1")], "{}", 400, "sattus"),
    ] {
        let error = sandbox.send("POST", "/v1/messages", &headers, body.as_bytes()).error();
        assert!(error.0 == status && error.2.contains(part), "{headers:?} {body}: {error:?}");
    }
    let too_large = sandbox.send("POST", "/v1/messages", &[key, version], &vec![b' '; 32_000_001]);
    assert_eq!((too_large.error().0, too_large.error().1.as_str()), (413, "request_too_large"));
    assert_eq!(sandbox.send("GET", "/v1/messages", &[], b"").status, 405);
    assert_eq!(sandbox.send("POST", "/v1/elsewhere", &[], b"{}").error().1, "not_found_error");
}

#[test]
fn a_stream_has_the_events_of_the_api() {
    let sandbox = Sandbox::start(&["--quiet"]);
    let answer = sandbox.create(json!({"stream": true}));
    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let events = answer.events();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let delta = "content_block_delta";
    let expected = [
        "message_start",
        "content_block_start",
        "ping",
        delta,
        delta,
        delta,
        delta,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(answer.chunks.len(), 6);
    let text: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(text, "You said: hello there");
    let whole = sandbox.create(json!({})).json();
    assert_eq!(events[8]["usage"]["output_tokens"], whole["usage"]["output_tokens"]);
    assert_eq!(events[0]["message"]["usage"]["input_tokens"], whole["usage"]["input_tokens"]);
    assert_eq!(events[8]["delta"]["stop_reason"], "end_turn");

    let tools = json!([{"name": "weather", "input_schema": {"properties": {"place": {"type": "string"}}}}]);
    let forced = json!({"stream": true, "tools": tools, "tool_choice": {"type": "any"}});
    let events = sandbox.create(forced).events();
    assert_eq!(events[1]["content_block"]["name"], "weather");
    let input: String = events.iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
    assert_eq!(input, r#"{"place":"hello there"}"#);
}

#[test]
fn a_request_can_ask_for_its_answer() {
    let sandbox = Sandbox::start(&["--quiet"]);
    let answer = sandbox.create_with("status=429; retry-after=3", json!({}));
    assert_eq!((answer.error().0, answer.error().1.as_str()), (429, "rate_limit_error"));
    assert_eq!(answer.header("retry-after"), Some("3"));
    assert_eq!(sandbox.create(json!({"model": "sandbox-529"})).error().1, "overloaded_error");
    assert_eq!(sandbox.create(json!({"model": "sandbox-refusal"})).json()["stop_reason"], "refusal");
    assert_eq!(sandbox.create(json!({"model": "sandbox-close"})).status, 0);

    let stream = json!({"stream": true});
    for wish in
        ["deltas=500; delta_bytes=40", "deltas=500; delta_bytes=40; burst", "deltas=500; delta_bytes=40; gap_ms=1"]
    {
        let answer = sandbox.create_with(wish, stream.clone());
        assert_eq!((answer.chunks.len(), &answer.end), (502, &End::Ok), "{wish}");
        let text: String =
            answer.events().iter().filter_map(|event| event["delta"]["text"].as_str()).collect::<String>();
        assert_eq!(text.len(), 500 * 40, "{wish}");
    }
    assert_eq!(
        sandbox.create_with("deltas=3; delta_bytes=5", json!({})).json()["content"][0]["text"],
        "token".repeat(3)
    );
    let events = sandbox.create_with("error=overloaded_error", stream.clone()).events();
    assert_eq!(events.last().unwrap()["error"]["type"], "overloaded_error");

    for (wish, end) in [("end=cut", End::Cut), ("end=reset", End::Reset)] {
        let answer = sandbox.create_with(wish, stream.clone());
        assert_eq!((answer.status, &answer.end), (200, &end));
        assert!(answer.text().contains("there") && !answer.text().contains("content_block_stop"));
        let answer = sandbox.create_with(wish, json!({}));
        assert_eq!(answer.end, end);
        assert!(
            !answer.text().is_empty()
                && answer.text().len() < answer.header("content-length").unwrap().parse().unwrap()
        );
    }
    for body in [json!({}), stream] {
        let answer = sandbox.create_with("end=close_delimited", body);
        assert_eq!((answer.header("content-length"), answer.header("transfer-encoding")), (None, None));
        assert!(answer.text().contains("msg_sandbox_"));
    }
}

#[test]
fn plans_are_followed_to_the_byte() {
    let sandbox = Sandbox::start(&["--quiet"]);
    let chunks = json!(["event: pi", "", "ng\ndata: {}\n", {"base64": "AP8K"}]);
    sandbox.plan(
        "/p/v1/messages",
        json!([
            {"status": 503, "headers": {"x-should-retry": "false"}},
            {"status": 400, "json": {"mine": true}},
            {"text": "<html>", "status": 502},
            {"chunks": chunks, "headers": {"content-type": "text/odd"}},
            {"chunks": chunks, "end": "cut"},
            {"chunks": chunks, "end": "close_delimited", "gap_ms": 1},
            {"status": 204}, "close", "reset", {}, {"status": 529},
        ]),
    );
    let next = || sandbox.connect().create("/p/v1/messages", "status=500", json!({}));
    let refused = next();
    assert_eq!((refused.error().0, refused.header("x-should-retry")), (503, Some("false")));
    let mine = next();
    assert_eq!((mine.status, mine.json()), (400, json!({"mine": true})));
    let html = next();
    assert_eq!((html.status, html.text().as_str()), (502, "<html>"));
    let pieces: [&[u8]; 3] = [b"event: pi", b"ng\ndata: {}\n", b"\0\xff\n"];
    for (end, chunks) in
        [(End::Ok, pieces.to_vec()), (End::Cut, pieces.to_vec()), (End::Ok, vec![&pieces.concat()[..]])]
    {
        let answer = next();
        assert_eq!((answer.status, &answer.end), (200, &end));
        assert_eq!(answer.chunks, chunks);
    }
    let empty = next();
    assert_eq!((empty.status, empty.header("content-length"), empty.text().as_str()), (204, None, ""));
    assert_eq!((next().status, next().end), (0, End::Reset));
    assert_eq!(next().json()["type"], "message");
    assert_eq!((next().status, next().status), (529, 529));

    assert_eq!(sandbox.create(json!({})).status, 200, "another path has no plan");
    assert_eq!(sandbox.send("DELETE", "/sandbox/plan", &[], b"").status, 204);
    assert_eq!(next().status, 500, "without a plan the header counts");
    for (plan, part) in [
        (json!({"answers": [{}]}), "path"),
        (json!({"path": "/a", "answers": []}), "answers"),
        (json!({"path": "/a", "answers": [{"ennd": "cut"}]}), "ennd"),
    ] {
        let answer = sandbox.send("POST", "/sandbox/plan", &[], plan.to_string().as_bytes());
        assert!(answer.status == 400 && answer.text().contains(part), "{answer:?}");
    }
}

#[test]
fn clients_that_leave_are_counted() {
    let sandbox = Sandbox::start(&["--quiet"]);
    let body = json!({"model": "m", "max_tokens": 1, "stream": true, "messages": [{"role": "user", "content": "x"}]})
        .to_string();
    for (left, wish) in ["deltas=100000; gap_ms=60000", "end=stall", "delay_ms=600000"].iter().enumerate() {
        let mut client = sandbox.connect();
        let headers = [("x-api-key", "k"), ("anthropic-version", "v"), ("x-sandbox", wish)];
        client.write("POST", "/v1/messages", &headers, body.as_bytes());
        if !wish.starts_with("delay") {
            assert_eq!(client.line().unwrap(), "HTTP/1.1 200 OK");
        }
        let open = sandbox.get("/sandbox/wait?streams_open=1");
        assert_eq!((&open["streams_open"], &open["client_disconnects"]), (&json!(1), &json!(left)), "{wish}");
        drop(client);
        let after = sandbox.get(&format!("/sandbox/wait?client_disconnects={}", left + 1));
        assert_eq!(after["client_disconnects"], left + 1, "{wish}");
    }
}

#[test]
fn records_are_taken_once() {
    let mut sandbox = Sandbox::start(&[]);
    let first = sandbox.meter("key-1", &record("msg_1"));
    assert_eq!((first.status, &first.json()["resourceType"]), (201, &json!("metering")));
    let repeat = sandbox.meter("key-1", &record("msg_1"));
    assert_eq!((repeat.status, repeat.json()), (201, first.json()));
    let mismatch = sandbox.meter("key-1", &record("msg_2"));
    assert_eq!((mismatch.status, &mismatch.json()["error"]), (409, &json!("idempotency_key_mismatch")));
    assert_eq!(sandbox.meter("key-2", &record("msg_2")).status, 201);

    let records = sandbox.get("/sandbox/records");
    assert_eq!(records, sandbox.get("/records"));
    let found: Vec<_> =
        records.as_array().unwrap().iter().map(|r| (r["body"].clone(), &r["idempotency_key"], &r["repeats"])).collect();
    assert_eq!(found, [(record("msg_1"), &json!("key-1"), &json!(1)), (record("msg_2"), &json!("key-2"), &json!(0))]);
    assert_eq!(records[0]["headers"]["x-api-key"], "rev_mk_sandbox");
    assert!(records[0]["received_at_ms"].as_u64() <= records[1]["received_at_ms"].as_u64());
    let stats = sandbox.get("/sandbox/stats");
    assert_eq!((&stats["records"], &stats["repeats"], &stats["collector_requests"]), (&json!(2), &json!(1), &json!(4)));
    let attempts = sandbox.get("/sandbox/requests?service=collector");
    assert_eq!((attempts.as_array().unwrap().len(), sandbox.get("/sandbox/requests")), (4, json!([])));

    let table = sandbox.send("GET", "/sandbox/table", &[], b"").text();
    assert!(table.contains("revenium-anthropic-c: 2 records, 24 in + 14 out tokens"), "{table}");
    let mut line = String::new();
    sandbox.stdout.read_line(&mut line).unwrap();
    let expected = "record 1: claude-sonnet-4-5-20250929  12 in + 7 out tokens  END  185 ms  stream  msg_1  organization=Acme subscriber=u1  (revenium-anthropic-c)\n";
    assert_eq!(line, expected);

    assert_eq!(sandbox.send("DELETE", "/sandbox/records", &[], b"").status, 204);
    assert_eq!(sandbox.get("/records"), json!([]));
    assert_eq!(sandbox.meter("key-1", &record("msg_3")).status, 201, "the keys are forgotten too");
}

#[test]
fn wrong_records_are_refused() {
    let sandbox = Sandbox::start(&["--quiet"]);
    let path = "/prefix/meter/v2/ai/completions";
    let body = record("msg_1").to_string();
    let send = |headers: &[(&str, &str)], body: &str| {
        let answer = sandbox.send("POST", path, headers, body.as_bytes());
        (answer.status, answer.json()["error"].as_str().unwrap().to_owned(), answer.text())
    };
    let key = ("x-api-key", "rev_mk_k");
    assert_eq!(send(&[("idempotency-key", "k")], &body).0, 401);
    assert_eq!(send(&[key], &body).1, "invalid_idempotency_key");
    assert_eq!(send(&[key, ("idempotency-key", "a b")], &body).1, "invalid_idempotency_key");
    assert_eq!(send(&[key, ("idempotency-key", "k")], "{").0, 400);
    let mut wrong = record("msg_1");
    wrong["stopReason"] = json!("end_turn");
    let (status, _, text) = send(&[key, ("idempotency-key", "k")], &wrong.to_string());
    assert!(status == 400 && text.contains("stopReason"), "{text}");
    assert_eq!(sandbox.get("/records"), json!([]));
}

#[test]
fn the_collector_can_fail_too() {
    let sandbox = Sandbox::start(&["--quiet"]);
    let path = "/meter/v2/ai/completions";
    sandbox.plan(path, json!([
        {"status": 503}, {"status": 429, "retry-after": 1}, {"status": 307, "headers": {"location": "/elsewhere"}}, {"status": 401}, "close",
        {"status": 204}, {"end": "cut"}, {},
    ]));
    let attempt = |n: u32| sandbox.meter(&format!("key-{n}"), &record("msg_1"));
    assert_eq!(attempt(1).status, 503);
    let limited = attempt(1);
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("1")));
    let moved = attempt(1);
    assert_eq!((moved.status, moved.header("location")), (307, Some("/elsewhere")));
    assert_eq!((attempt(1).status, attempt(1).status), (401, 0));
    assert_eq!(sandbox.get("/records"), json!([]), "nothing was taken so far");
    assert_eq!(attempt(1).status, 204);
    assert_eq!(attempt(2).end, End::Cut);
    assert_eq!(attempt(2).status, 201);
    let repeats: Vec<Value> =
        sandbox.get("/records").as_array().unwrap().iter().map(|r| r["repeats"].clone()).collect();
    assert_eq!(repeats, [json!(0), json!(1)], "a record is stored before its answer is lost");
}

#[test]
fn waiting_ends_with_the_record_or_the_time() {
    let sandbox = Sandbox::start(&["--quiet"]);
    assert_eq!(sandbox.send("GET", "/sandbox/wait?records=1&timeout_ms=1", &[], b"").status, 408);
    assert_eq!(sandbox.send("GET", "/sandbox/wait?recrods=1", &[], b"").status, 400);
    let mut waiting = sandbox.connect();
    waiting.write("GET", "/sandbox/wait?records=1&timeout_ms=30000", &[], b"");
    sandbox.meter("key", &record("msg_1"));
    assert_eq!(waiting.line().unwrap(), "HTTP/1.1 200 OK");
}

#[test]
fn it_starts_and_ends_as_asked() {
    let fails = Sandbox::start(&["--quiet", "--fail", "anthropic:status=529", "--fail", "collector:status=503"]);
    assert_eq!((fails.create(json!({})).status, fails.meter("k", &record("m")).status), (529, 503));
    assert_eq!(fails.create_with("status=500", json!({})).status, 500, "a request's own wish comes first");

    let refused = Command::new(env!("CARGO_BIN_EXE_sandbox")).args(["--bind", "0.0.0.0"]).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("loopback"));

    let port_file = std::env::temp_dir().join(format!("sandbox-port-{}", std::process::id()));
    let mut sandbox = Sandbox::start(&["--port-file", port_file.to_str().unwrap()]);
    assert_eq!(sandbox.get("/sandbox/stats")["records"], 0);
    let port = std::fs::read_to_string(&port_file).unwrap();
    std::fs::remove_file(&port_file).unwrap();
    assert!(sandbox.address.ends_with(&format!(":{}", port.trim())));
    sandbox.meter("k", &record("m"));
    drop(sandbox.child.stdin.take());
    assert!(sandbox.child.wait().unwrap().success());
    let mut rest = String::new();
    sandbox.stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("record 1: "), "{rest}");

    let seconds = Command::new(env!("CARGO_BIN_EXE_sandbox")).args(["--seconds", "0"]).output().unwrap();
    assert!(seconds.status.success());
}

#[test]
fn the_script_runs_a_command_beside_a_sandbox_of_its_own() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/with_sandbox.sh");
    let show = "echo $SANDBOX_URL $ANTHROPIC_BASE_URL $REVENIUM_METERING_BASE_URL $AWS_ENDPOINT_URL \
                $ANTHROPIC_API_KEY $REVENIUM_METERING_API_KEY $ANTHROPIC_AUTH_TOKEN $AWS_PROFILE $HTTPS_PROXY $https_proxy; exit 7";
    let output = Command::new(script)
        .args(["sh", "-c", show])
        .env("SANDBOX_BIN", env!("CARGO_BIN_EXE_sandbox"))
        .envs(["ANTHROPIC_AUTH_TOKEN", "AWS_PROFILE", "HTTPS_PROXY", "https_proxy"].map(|name| (name, "left-over")))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert!(words[0].starts_with("http://127.0.0.1:") && words[1..4].iter().all(|url| *url == words[0]), "{shown}");
    assert_eq!(words[4..], ["sk-ant-sandbox", "rev_mk_sandbox_0123456789abcdef"]);
    assert!(TcpStream::connect(words[0].strip_prefix("http://").unwrap()).is_err(), "the sandbox is still there");
}
