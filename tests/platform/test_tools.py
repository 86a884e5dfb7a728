"""Tool events: what Revenium gets of the use of a tool, through the C ABI."""

import re

from revenium import Test, lib, plan, sandbox, scope_of, tool_event

EVENTS = "/meter/v2/tool/events"
WHOLE = {
    "toolId": "man",
    "operation": "fetch",
    "durationMs": 1234,
    "success": True,
    "timestamp": "2026-11-23T00:11:51Z",
    "usageMetadata": {"records": 42},
    "costUsd": 0.25,
    "agent": "a",
    "organizationName": "O",
    "productName": "P",
    "subscriberCredential": "sc",
    "workflowId": "w",
    "traceId": "tr",
    "agenticJobId": "job-1",
}
VARY = ["transactionId", "middlewareSource"]


class Tools(Test):
    def one_event(self, event, scope=1):
        result = tool_event(event, scope)
        self.assertEqual(result.code, "OK", result.message)
        self.assertTrue(result.info["metered"])
        self.assertEqual(lib.revenium_flush(30000), 0)
        (sent,) = sandbox("GET", "/sandbox/tool-events")
        sandbox("DELETE", "/sandbox/records")
        body = sent["body"]
        # The event's own id is its key, so that it is counted once.
        self.assertEqual(sent["idempotency_key"], body["transactionId"])
        self.assertEqual(result.info["transaction_id"], body["transactionId"])
        self.assertEqual(body["middlewareSource"], "revenium-anthropic-c")
        return {name: value for name, value in body.items() if name not in VARY}

    def test_what_is_told_arrives(self):
        self.start()
        self.assertEqual(self.one_event(WHOLE), WHOLE)
        snake = {re.sub("([A-Z])", lambda letter: "_" + letter[1].lower(), name): value for name, value in WHOLE.items()}
        self.assertEqual(self.one_event(snake), WHOLE)

    def test_little_is_enough(self):
        self.start()
        event = self.one_event({"toolId": "t"})
        self.assertRegex(event.pop("timestamp"), r"^20\d\d-\d\d-\d\dT.*Z$")
        self.assertEqual(event, {"toolId": "t", "operation": "execute", "durationMs": 0, "success": True})

    def test_who_it_was_for_comes_from_the_scope(self):
        self.start()
        told = {"agent": "a", "organizationName": "O", "productName": "P", "traceId": "tr", "agenticJobId": "job-1"}
        scope = scope_of(told)
        event = self.one_event({"toolId": "t", "agent": "own"}, scope)
        self.assertEqual({name: event.get(name) for name in told}, {**told, "agent": "own"})
        lib.revenium_release(scope)

    def test_a_transaction_id_of_the_caller(self):
        self.start()
        self.assertEqual(self.one_event({"toolId": "t", "transactionId": "tx"})["traceId"], "tx")
        event = self.one_event({"toolId": "t", "transactionId": "tx", "traceId": "tr", "usageMetadata": {"a": 1}})
        self.assertEqual((event["traceId"], event["usageMetadata"]), ("tr", {"a": 1, "callerTransactionId": "tx"}))

    def test_failures_say_their_class_and_more_only_where_it_is_wanted(self):
        failure = {"toolId": "t", "errorType": "Timeout", "errorMessage": "password=hunter2hunter2 is wrong"}
        self.start()
        event = self.one_event(failure)
        self.assertEqual((event["success"], event["errorMessage"]), (False, "Timeout"))
        self.stop()
        self.start(capture_error_messages=True)
        self.assertEqual(self.one_event(failure)["errorMessage"], "Timeout: password=***REDACTED*** is wrong")

    def test_an_outage_loses_none(self):
        plan(EVENTS, {"status": 503})
        self.start(metering_max_retries=0)
        self.assertTrue(tool_event({"toolId": "kept"}).info["metered"])
        self.stop()
        self.assertEqual(sandbox("GET", "/sandbox/tool-events"), [])
        plan(EVENTS, {})
        self.start()
        self.assertEqual(lib.revenium_flush(30000), 0)
        self.assertEqual([sent["body"]["toolId"] for sent in sandbox("GET", "/sandbox/tool-events")], ["kept"])

    def test_what_is_wrong_is_told_and_nothing_is_sent(self):
        self.start()
        for event, code, part in [
            (b"[]", "JSON", "object"),
            (b"{", "JSON", ""),
            ({}, "ARGUMENT", "toolId"),
            ({"toolId": 1}, "ARGUMENT", "toolId"),
            ({"toolId": "t", "toolName": "x"}, "ARGUMENT", "toolName"),
            ({"toolId": "t", "durationMs": "long"}, "ARGUMENT", "durationMs"),
            ({"toolId": "t", "durationMs": -1}, "ARGUMENT", "durationMs"),
            ({"toolId": "t", "success": "yes"}, "ARGUMENT", "success"),
            ({"toolId": "t", "timestamp": "yesterday"}, "ARGUMENT", "timestamp"),
            ({"toolId": "t", "usageMetadata": [1]}, "ARGUMENT", "usageMetadata"),
            ({"toolId": "t", "costUsd": "1"}, "ARGUMENT", "costUsd"),
        ]:
            with self.subTest(event):
                result = tool_event(event)
                self.assertEqual(result.code, code, result.message)
                self.assertIn(part, result.message)
        self.assertEqual(lib.revenium_flush(30000), 0)
        self.assertEqual(sandbox("GET", "/sandbox/tool-events"), [])
