//! Revenium beside its collector: tool events, budgets, jobs and what they cost.

use serde_json::{Value, json};

use crate::support::{Answer, Sandbox, record};

const WRITER: &[(&str, &str)] = &[("x-api-key", "rev_sk_1"), ("content-type", "application/json")];
const JOBS: &str = "/profitstream/v2/api/jobs";

fn send(sandbox: &Sandbox, method: &str, path: &str, body: Value) -> Answer {
    sandbox.send(method, path, WRITER, body.to_string().as_bytes())
}

fn get(sandbox: &Sandbox, path: &str) -> Answer {
    sandbox.send("GET", path, &WRITER[..1], b"")
}

fn put(sandbox: &Sandbox, path: &str, body: Value) {
    let answer = send(sandbox, "PUT", path, body);
    assert_eq!(answer.status, 204, "{}", answer.text());
}

#[test]
fn tool_events_are_taken_once() {
    let sandbox = Sandbox::start(&["--quiet"]);
    let event = |tool: &str| json!({"transactionId": "t", "toolId": tool, "timestamp": "2026-11-23T00:00:00Z", "durationMs": 5});
    let post = |key: &str, event: Value| {
        let headers = [WRITER[0], ("idempotency-key", key)];
        sandbox.send("POST", "/prefix/meter/v2/tool/events", &headers, event.to_string().as_bytes())
    };
    assert_eq!((post("k", event("man")).status, post("k", event("man")).status), (201, 201));
    assert_eq!(post("k", event("other")).status, 409);
    assert_eq!(post("", event("man")).status, 400, "without a key");
    for (wrong, part) in [
        (json!({"timestamp": "2026-11-23T00:00:00Z"}), "toolId"),
        (json!({"toolId": "man", "timestamp": "yesterday"}), "timestamp"),
        (json!({"toolId": "man", "timestamp": "2026-11-23T00:00:00Z", "durationMs": -1}), "durationMs"),
    ] {
        let refused = post("w", wrong);
        assert!(refused.status == 400 && refused.text().contains(part), "{}", refused.text());
    }
    let events = sandbox.get("/sandbox/tool-events");
    assert_eq!(events.as_array().unwrap().len(), 1);
    assert_eq!((&events[0]["body"], &events[0]["idempotency_key"]), (&event("man"), &json!("k")));
    assert_eq!(sandbox.get("/sandbox/stats")["tool_events"], 1);
    assert_eq!(sandbox.get("/sandbox/requests"), json!([]), "no provider was asked");
    assert_eq!(sandbox.get("/sandbox/requests?service=platform").as_array().unwrap().len(), 7);
    sandbox.send("DELETE", "/sandbox/records", &[], b"");
    assert_eq!(sandbox.get("/sandbox/tool-events"), json!([]));
}

#[test]
fn a_budget_ends_when_its_records_have_cost_as_much() {
    let sandbox = Sandbox::start(&["--quiet"]);
    let rules = "/v2/api/ai/enforcement-rules/te%20am";
    assert_eq!(get(&sandbox, rules).status, 204, "no rules");
    assert_eq!(sandbox.send("GET", rules, &[], b"").status, 401);
    // 12 tokens at 3 dollars a million and 7 at 15: 0.000141 a record.
    sandbox.meter("k0", &record("msg_0"));
    put(
        &sandbox,
        "/sandbox/budgets",
        json!({"rules": [
        {"name": "all", "threshold": 0.0002, "denyMessage": "Ask the boss."},
        {"name": "calls", "threshold": 3, "metric": "REQUEST_COUNT", "groupBy": "SUBSCRIBER"},
        {"name": "elsewhere", "threshold": 0.0001, "filters": [{"dimension": "ORGANIZATION", "operator": "IS", "value": "Other"}]},
        {"name": "said", "threshold": 1, "breached": true, "action": "WARN_ONLY"},
    ], "departmentBudgetBlocks": {"joe@example.com": 9}}),
    );
    let breached = || -> Vec<bool> {
        let answer = get(&sandbox, rules).json();
        answer["rules"].as_array().unwrap().iter().map(|rule| rule["breached"].as_bool().unwrap()).collect()
    };
    assert_eq!(breached(), [false, false, false, true]);
    sandbox.meter("k1", &record("msg_1"));
    assert_eq!(breached(), [true, false, false, true]);
    sandbox.meter("k2", &record("msg_2"));
    assert_eq!(breached(), [true, true, false, true]);

    let answer = get(&sandbox, rules).json();
    let first = &answer["rules"][0];
    assert_eq!(
        (&first["action"], &first["ruleId"], &first["denyMessage"]),
        (&json!("BLOCK"), &json!(1), &json!("Ask the boss."))
    );
    assert!((first["currentValue"].as_f64().unwrap() - 3.0 * 0.000141).abs() < 1e-9, "{first}");
    assert!(first["windowEnd"].as_str().unwrap() > answer["compiledAt"].as_str().unwrap(), "{first}");
    assert_eq!(
        answer["rules"][1]["groupBreakdown"],
        json!([{"groupValue": "u1", "currentValue": 3.0, "breached": true}])
    );
    assert_eq!(answer["departmentBudgetBlocks"], json!({"joe@example.com": 9}));
    assert_eq!(get(&sandbox, &format!("{rules}?ruleId=2")).json()["rules"].as_array().unwrap().len(), 1);
    assert_eq!(get(&sandbox, &format!("{rules}?ruleId=99")).status, 204);
    let roster = get(&sandbox, &format!("{rules}/roster?ruleId=2")).json();
    assert_eq!((&roster["blockedCount"], &roster["rows"][0]["groupValue"]), (&json!(1), &json!("u1")));
    assert_eq!(get(&sandbox, &format!("{rules}/roster?ruleId=1")).status, 204);

    sandbox.send("DELETE", "/sandbox/records", &[], b"");
    assert_eq!(breached(), [false, false, false, true], "what was counted is forgotten, the rules stay");
    put(&sandbox, "/sandbox/budgets", json!({}));
    assert_eq!(get(&sandbox, rules).status, 204);
    assert_eq!(send(&sandbox, "PUT", "/sandbox/budgets", json!({"rules": [1]})).status, 400);
}

#[test]
fn a_job_is_made_by_its_first_record_and_reported_once() {
    let sandbox = Sandbox::start(&["--quiet"]);
    let job = format!("{JOBS}/loan-1");
    let report = json!({"executionStatus": "SUCCESS", "outcomeType": "CONVERTED", "outcomeValue": 500.0, "misspelt": 1,
                        "metadata": "{\"a\":1}", "metrics": [{"key": "q", "value": 0.5}]});
    let outcome = format!("{job}/outcome?teamId=T");
    assert_eq!(send(&sandbox, "POST", &outcome, report.clone()).status, 404, "not ingested yet");
    let mut metered = record("msg_1");
    metered["agenticJobId"] = json!("loan-1");
    metered["agenticJobType"] = json!("loan");
    assert_eq!(sandbox.meter("k", &metered).status, 201);
    assert_eq!(get(&sandbox, &job).json()["transactionCount"], 1);
    assert_eq!(send(&sandbox, "PATCH", &outcome, json!({"outcomeValue": 1})).status, 422, "nothing was reported");
    for (wrong, part) in [
        (json!({}), "executionStatus"),
        (json!({"executionStatus": "DONE"}), "executionStatus"),
        (json!({"executionStatus": "SUCCESS", "outcomeValue": 1}), "outcomeType"),
        (json!({"executionStatus": "SUCCESS", "metadata": {}}), "metadata"),
    ] {
        let refused = send(&sandbox, "POST", &outcome, wrong);
        assert!(refused.status == 400 && refused.text().contains(part), "{}", refused.text());
    }
    let reported = send(&sandbox, "POST", &outcome, report.clone());
    let version = reported.json()["entityVersion"].as_u64().unwrap();
    assert!(reported.status == 200 && !reported.text().contains("misspelt"), "{}", reported.text());
    let again = send(&sandbox, "POST", &outcome, report);
    assert_eq!(again.status, 409);
    assert!(again.json()["details"]["guidance"].as_str().unwrap().contains("PATCH"), "{}", again.text());

    let stale = send(&sandbox, "PATCH", &outcome, json!({"outcomeValue": 700, "expectedEntityVersion": version - 1}));
    assert_eq!((stale.status, &stale.json()["details"]["currentEntityVersion"]), (409, &json!(version)));
    assert!(stale.text().contains(&format!("current version is {version}")));
    assert_eq!(send(&sandbox, "PATCH", &outcome, json!({"reason": " "})).status, 422);
    let amended = send(&sandbox, "PATCH", &outcome, json!({"outcomeValue": 700, "expectedEntityVersion": version}));
    assert_eq!((amended.status, &amended.json()["outcomeValue"]), (200, &json!(700)));
    assert_eq!(get(&sandbox, &format!("{job}/outcome/history")).json().as_array().unwrap().len(), 2);
    let metrics = format!("{job}/outcome/metrics");
    assert_eq!(send(&sandbox, "POST", &metrics, json!([{"key": "m", "value": 2}])).status, 201);
    assert_eq!(send(&sandbox, "POST", &metrics, json!({"key": "m", "value": 2})).status, 400);
    assert_eq!(get(&sandbox, &job).json()["metrics"].as_array().unwrap().len(), 2);
    let roi = get(&sandbox, &format!("{job}/roi")).json();
    assert!(roi["roi"].as_f64().unwrap() > 1e6 && roi["totalCost"].as_f64().unwrap() > 0.0, "{roi}");
    let transactions = get(&sandbox, &format!("{job}/transactions")).json();
    assert_eq!(transactions["_embedded"]["aICompletionMetricResourceList"][0]["transactionId"], "msg_1");
}

#[test]
fn jobs_are_made_listed_and_valued() {
    let sandbox = Sandbox::start(&["--quiet"]);
    let make = |id: &str, kind: &str| {
        send(&sandbox, "POST", &format!("{JOBS}?teamId=T"), json!({"agenticJobId": id, "type": kind}))
    };
    assert_eq!((make("a", "loan").status, make("b", "claim").status, make("a", "loan").status), (201, 201, 409));
    assert_eq!(make("types", "loan").status, 400);
    let metering = [("x-api-key", "rev_mk_1"), WRITER[1]];
    assert_eq!(sandbox.send("POST", JOBS, &metering, b"{}").status, 403, "a metering key writes no jobs");
    let listed = get(&sandbox, &format!("{JOBS}?teamId=T&type=claim")).json();
    assert_eq!(listed["_embedded"]["jobResourceList"][0]["agenticJobId"], "b");
    let second = get(&sandbox, &format!("{JOBS}?size=1&page=1")).json();
    assert_eq!(
        (&second["_embedded"]["jobResourceList"][0]["agenticJobId"], &second["page"]["totalPages"]),
        (&json!("b"), &json!(2))
    );
    assert_eq!(get(&sandbox, &format!("{JOBS}/types")).json(), json!(["claim", "loan"]));
    send(
        &sandbox,
        "POST",
        &format!("{JOBS}/a/outcome"),
        json!({"executionStatus": "FAILED", "outcomeReason": "Timeout"}),
    );
    let funnel = get(&sandbox, &format!("{JOBS}/conversion-funnel")).json();
    assert_eq!((&funnel["total"], &funnel["byExecutionStatus"]), (&json!(2), &json!({"FAILED": 1})));
    assert_eq!(get(&sandbox, &format!("{JOBS}/nobody")).status, 404);

    let of_type = format!("{JOBS}/types/claim%20x");
    assert_eq!(get(&sandbox, &format!("{of_type}/economics")).status, 404);
    assert_eq!(send(&sandbox, "PUT", &format!("{of_type}/economics"), json!({"valuePerUnit": 4})).status, 200);
    let baseline = json!({"effectiveFrom": "2026-08-01T00:00:00Z", "costPerUnit": 4.25, "currency": "USD"});
    assert_eq!(send(&sandbox, "POST", &format!("{of_type}/baselines"), baseline.clone()).status, 201);
    assert_eq!(send(&sandbox, "POST", &format!("{of_type}/baselines"), json!({})).status, 400);
    assert_eq!(get(&sandbox, &format!("{of_type}/baselines")).json(), json!([baseline]));
    assert_eq!(send(&sandbox, "POST", &format!("{of_type}/facts"), json!([{"key": "cp", "value": 1}])).status, 201);
    let economics = get(&sandbox, &format!("{of_type}/economics")).json();
    assert_eq!(
        (&economics["valuePerUnit"], &economics["facts"], &economics["jobType"]),
        (&json!(4), &json!(1), &json!("claim x"))
    );
}

#[test]
fn the_account_and_the_cost_of_a_call_can_be_asked() {
    let sandbox = Sandbox::start(&["--quiet"]);
    sandbox.meter("k1", &record("msg_1"));
    let mut unknown = record("msg_2");
    unknown["model"] = json!("claude-next");
    sandbox.meter("k2", &unknown);
    let cost = |id: &str| {
        let path = format!("/profitstream/v2/api/sources/metrics/ai/completions?teamId=T&transactionId={id}");
        get(&sandbox, &path).json()["_embedded"]["aICompletionMetricResourceList"][0]["totalCost"].clone()
    };
    assert!((cost("msg_1").as_f64().unwrap() - 0.000141).abs() < 1e-9);
    assert_eq!((cost("msg_2"), cost("msg_3")), (Value::Null, Value::Null));
    let team =
        get(&sandbox, "/profitstream/v2/api/teams?tenantId=t").json()["_embedded"]["teamResourceList"][0]["id"].clone();
    assert_eq!(get(&sandbox, "/profitstream/v2/api/users/me").json()["defaultTeamId"], team);
    assert!(get(&sandbox, "/profitstream/v2/api/sources/ai/models?size=1000").text().contains("claude-opus-5-5"));
    let nothing = get(&sandbox, "/profitstream/v2/api/surprise");
    assert_eq!((nothing.status, nothing.header("x-ratelimit-bucket")), (404, Some("platform")));
}

#[test]
fn answers_are_set_by_operation_and_used_once() {
    let sandbox = Sandbox::start(&["--quiet"]);
    let set = |operation: &str, answers: Value| {
        put(&sandbox, "/sandbox/answers", json!({"operation": operation, "answers": answers}));
    };
    set("jobs.get", json!([{"status": 429, "retry-after": 2}, "close", {"json": {"agenticJobId": "mine"}}]));
    let job = format!("{JOBS}/any");
    let limited = get(&sandbox, &job);
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("2")));
    assert_eq!(get(&sandbox, &job).status, 0, "closed without an answer");
    assert_eq!(get(&sandbox, &job).json()["agenticJobId"], "mine");
    assert_eq!(get(&sandbox, &job).status, 404, "as usual again");
    set("completions.create", json!([{"status": 503}]));
    assert_eq!((sandbox.meter("k", &record("m")).status, sandbox.meter("k", &record("m")).status), (503, 201));
    set("messages.create", json!([{"status": 529}]));
    assert_eq!((sandbox.create(json!({})).status, sandbox.create(json!({})).status), (529, 200));

    set("jobs.list", json!([{"status": 500}]));
    assert_eq!(sandbox.get("/sandbox/state")["answers"], json!({"jobs.list": [{"status": 500}]}));
    sandbox.plan(JOBS, json!([{"status": 418}]));
    assert_eq!(get(&sandbox, JOBS).status, 418, "a plan for the very path comes first");
    sandbox.send("DELETE", "/sandbox/plan", &[], b"");
    set("jobs.list", json!([]));
    assert_eq!(get(&sandbox, JOBS).status, 200);
    for wrong in
        [json!({"operation": "jobs.fly", "answers": []}), json!({"operation": "jobs.get", "answers": [{"statsu": 1}]})]
    {
        assert_eq!(send(&sandbox, "PUT", "/sandbox/answers", wrong).status, 400);
    }
}
