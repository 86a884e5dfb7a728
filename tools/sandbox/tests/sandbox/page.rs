//! The page's document and its stream of records; what a browser makes of them is tests/page.sh's matter.

use serde_json::{Value, json};

use crate::support::{Client, Sandbox, record};

/// The next message of the stream: its name, id and data.
fn message(client: &mut Client, rest: &mut String) -> (String, String, Value) {
    loop {
        if let Some((message, after)) = rest.split_once("\n\n") {
            let member = |name: &str| {
                let line = message.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_default().trim_start_matches(": ").to_owned()
            };
            let (name, id, data) = (member("event"), member("id"), member("data"));
            let data = if data.is_empty() { Value::Null } else { serde_json::from_str(&data).unwrap() };
            *rest = after.to_owned();
            if !name.is_empty() {
                return (name, id, data);
            }
            continue;
        }
        rest.push_str(&client.chunk());
    }
}

fn live(sandbox: &Sandbox, last: &str) -> Client {
    let mut client = sandbox.connect();
    client.write("GET", "/sandbox/live", &[("last-event-id", last)], b"");
    assert_eq!(client.line().unwrap(), "HTTP/1.1 200 OK");
    while !client.line().unwrap().is_empty() {}
    client
}

#[test]
fn the_document_is_whole_and_lets_nothing_else_run() {
    let sandbox = Sandbox::start(&["--quiet"]);
    let page = sandbox.send("GET", "/", &[], b"");
    let (policy, text) = (page.header("content-security-policy").unwrap(), page.text());
    assert!(policy.starts_with("default-src 'none'; script-src 'nonce-"), "{policy}");
    let nonce = policy.split('\'').find_map(|part| part.strip_prefix("nonce-")).unwrap();
    assert_eq!(
        text.matches(&format!("nonce=\"{nonce}\"")).count(),
        text.matches("<script").count() + text.matches("<style").count()
    );
    assert!(!text.contains("%NONCE%") && !text.contains("%ABOUT%") && text.contains("uPlot"));
    assert_ne!(sandbox.send("GET", "/", &[], b"").header("content-security-policy"), Some(policy));
    for headers in [[("host", "evil.example"), ("", "")], [("host", "127.0.0.1"), ("origin", "http://evil.example")]] {
        let answer = sandbox.connect().send_as(&headers, "GET", "/sandbox/live");
        assert_eq!(answer.status, 403, "{headers:?}");
    }
    assert_eq!(sandbox.connect().send_as(&[("host", "evil.example")], "GET", "/sandbox/records").status, 403);
}

#[test]
fn a_stream_begins_at_the_beginning_or_where_the_last_one_broke() {
    let sandbox = Sandbox::start(&["--quiet"]);
    // Written over several lines, as JSON may be.
    let key = [("x-api-key", "rev_mk_1"), ("idempotency-key", "k\"1")];
    let pretty = serde_json::to_string_pretty(&record("msg_1")).unwrap();
    assert_eq!(sandbox.send("POST", "/meter/v2/ai/completions", &key, pretty.as_bytes()).status, 201);
    let (mut client, mut rest) = (live(&sandbox, ""), String::new());
    assert_eq!(message(&mut client, &mut rest).0, "reset");
    let (name, id, items) = message(&mut client, &mut rest);
    assert_eq!((name.as_str(), items.as_array().unwrap().len()), ("items", 1));
    assert_eq!(
        (&items[0]["kind"], &items[0]["n"], &items[0]["key"]),
        (&json!("completion"), &json!(1), &json!("k\"1"))
    );
    assert_eq!(items[0]["body"], record("msg_1"));
    assert!(items[0]["cost"].as_f64().unwrap() > 0.0 && items[0]["at"].as_u64().unwrap() > 0);

    let mut unpriced = record("msg_2");
    unpriced["model"] = json!("claude-next");
    sandbox.meter("k2", &unpriced);
    let (_, second_id, items) = message(&mut client, &mut rest);
    assert_eq!((&items[0]["n"], items[0].get("cost")), (&json!(2), None));
    drop(client);

    // A page that was cut off goes on; one of another run of the sandbox begins anew.
    let (mut client, mut rest) = (live(&sandbox, &id), String::new());
    let (name, again_id, items) = message(&mut client, &mut rest);
    assert_eq!((name.as_str(), &items[0]["n"], &again_id), ("items", &json!(2), &second_id));
    assert_eq!(message(&mut live(&sandbox, "7-1"), &mut String::new()).0, "reset");

    sandbox.send("DELETE", "/sandbox/records", &[], b"");
    let (name, _, data) = message(&mut client, &mut rest);
    assert_eq!((name.as_str(), &data["items"]), ("reset", &json!(0)));
}
