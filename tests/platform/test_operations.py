"""Jobs, outcomes, economics: what is sent, what comes back, when it is tried again."""

import ctypes as C
import json
import struct

from revenium import H, JOBS, KEY, RULES, SANDBOX, Test, lib, plan, platform, sandbox, seen

JOB = {"agenticJobId": "loan-1", "entityVersion": 4, "executionStatus": "SUCCESS"}
REPORT = {"id": "loan-1", "executionStatus": "SUCCESS", "outcomeType": "CONVERTED", "outcomeValue": 500.0}
SOON = {"retry-after": "0"}


def ok(body, status=200):
    return {"status": status, "json": body}


class Operations(Test):
    def test_each_goes_where_it_should(self):
        self.start()
        item = {"key": "cp", "value": 1280}
        rows = [
            ("jobs.create", {"id": "j", "name": "N"}, "POST", JOBS, {"agenticJobId": "j", "name": "N"}),
            ("jobs.list", {"type": "loan", "page": 1}, "GET", JOBS, None),
            ("jobs.get", {"id": "loan 9/é"}, "GET", JOBS + "/loan%209%2F%C3%A9", None),
            ("jobs.roi", {"id": "j"}, "GET", JOBS + "/j/roi", None),
            ("jobs.transactions", {"id": "j"}, "GET", JOBS + "/j/transactions", None),
            ("jobs.types", {}, "GET", JOBS + "/types", None),
            ("jobs.conversion_funnel", {"type": "loan"}, "GET", JOBS + "/conversion-funnel", None),
            (
                "jobs.report_outcome",
                {**REPORT, "metadata": {"a": 1}},
                "POST",
                JOBS + "/loan-1/outcome",
                {
                    "executionStatus": "SUCCESS",
                    "outcomeType": "CONVERTED",
                    "outcomeValue": 500.0,
                    "outcomeCurrency": "USD",
                    "metadata": '{"a":1}',
                },
            ),
            (
                "jobs.amend_outcome",
                {"id": "j", "reason": "fix", "outcome_value": 700.0, "expectedEntityVersion": 4},
                "PATCH",
                JOBS + "/j/outcome",
                {"reason": "fix", "outcomeValue": 700.0, "expectedEntityVersion": 4},
            ),
            ("jobs.append_metrics", {"id": "j", "metrics": [item]}, "POST", JOBS + "/j/outcome/metrics", [item]),
            ("jobs.outcome_history", {"id": "j"}, "GET", JOBS + "/j/outcome/history", None),
            ("economics.get", {"type": "claim"}, "GET", JOBS + "/types/claim/economics", None),
            ("economics.put", {"type": "claim", "economics": {"x": 1}}, "PUT", JOBS + "/types/claim/economics", {"x": 1}),
            ("economics.baselines", {"type": "claim"}, "GET", JOBS + "/types/claim/baselines", None),
            (
                "economics.add_baseline",
                {"type": "claim", "effectiveFrom": "2026-08-01T00:00:00Z", "costPerUnit": 4.25, "currency": "usd"},
                "POST",
                JOBS + "/types/claim/baselines",
                {"effectiveFrom": "2026-08-01T00:00:00Z", "costPerUnit": 4.25, "currency": "USD"},
            ),
            ("economics.add_facts", {"type": "claim", "facts": [item]}, "POST", JOBS + "/types/claim/facts", [item]),
            ("budgets.list", {"include": "advisory"}, "GET", RULES, None),
            ("budgets.roster", {"ruleId": "x"}, "GET", RULES + "/roster", None),
            (
                "completions.cost",
                {"transactionId": "msg_1"},
                "GET",
                "/profitstream/v2/api/sources/metrics/ai/completions",
                None,
            ),
        ]
        for operation, params, method, path, body in rows:
            with self.subTest(operation):
                sandbox("DELETE", "/sandbox/requests")
                plan(path, ok({"it": operation}))
                result = platform(operation, **params)
                self.assertEqual((result.code, result.json), ("OK", {"it": operation}), result.message)
                self.assertEqual(result.info["attempts"], 1)
                (request,) = seen()
                self.assertEqual((request["method"], request["path"], request["body"]), (method, path, body))
                self.assertEqual(request["headers"]["x-api-key"], KEY)
                team = "teamId=te+am%2F1"
                self.assertEqual(team in request["query"], not path.startswith(RULES))
        self.assertEqual(len(rows), 19)

    def test_an_answer_without_a_body(self):
        self.start()
        plan(JOBS + "/j/outcome/metrics", {"status": 201, "text": ""})
        self.assertEqual(platform("jobs.append_metrics", id="j", metrics=[{"key": "a", "value": 1}]).json, {})
        plan(RULES, {"status": 204, "text": ""})
        self.assertEqual(platform("budgets.list").json, {"rules": []})

    def test_what_is_wrong_is_told_and_nothing_is_sent(self):
        self.start()
        for operation, raw, code, part in [
            ("jobs.explode", b"{}", "ARGUMENT", "no operation"),
            ("jobs.get", b"{}", "ARGUMENT", 'needs "id"'),
            ("jobs.get", b"[1]", "JSON", "not a JSON object"),
            ("jobs.report_outcome", b'{"id":"j","executionStatus":1}', "ARGUMENT", "one of SUCCESS"),
            ("jobs.report_outcome", b'{"id":"j","executionStatus":"FAILED","monetaryValue":1}', "ARGUMENT", "takes no"),
        ]:
            result = platform(operation, raw)
            self.assertEqual(result.code, code, operation)
            self.assertIn(part, result.message)
            self.assertEqual(result.error["message"], result.message)
        self.assertEqual(seen(), [])

    def test_bad_parameters_of_each_operation(self):
        """For each: without anything, with a name that it does not have, and with an array for a text or number."""
        self.start()
        job, claim = {"id": "j"}, {"type": "claim"}
        for operation, needed, rest in [
            ("jobs.create", job, {}),
            ("jobs.list", {}, {"page": 1}),
            ("jobs.get", job, {}),
            ("jobs.roi", job, {}),
            ("jobs.transactions", job, {"size": 5}),
            ("jobs.types", {}, {}),
            ("jobs.conversion_funnel", {}, {"type": "loan"}),
            ("jobs.report_outcome", {**job, "executionStatus": "SUCCESS"}, {"outcomeValue": 1, "outcomeType": "CUSTOM"}),
            ("jobs.amend_outcome", job, {"outcomeValue": 1}),
            ("jobs.append_metrics", {**job, "metrics": [{"key": "k", "value": 1}]}, {}),
            ("jobs.outcome_history", job, {}),
            ("economics.get", claim, {}),
            ("economics.put", {**claim, "economics": {"x": 1}}, {}),
            ("economics.baselines", claim, {}),
            ("economics.add_baseline", {**claim, "effectiveFrom": "2026-08-01T00:00:00Z", "costPerUnit": 1}, {}),
            ("economics.add_facts", {**claim, "facts": [{}]}, {}),
            ("budgets.list", {}, {"ruleId": "9"}),
            ("budgets.roster", {"ruleId": "9"}, {"page": 1}),
            ("completions.cost", {"transactionId": "t"}, {}),
        ]:
            whole = {**needed, **rest}
            bad = [({**whole, "teamID": "T"}, "takes no"), ({**whole, "timeoutMs": "soon"}, "timeoutMs")]
            bad += [({name: value for name, value in whole.items() if name != missing}, missing) for missing in needed]
            bad += [({**whole, name: [[]]}, name) for name in whole]
            for params, part in bad:
                with self.subTest(operation, params=params):
                    result = platform(operation, **params)
                    self.assertEqual(result.code, "ARGUMENT", result.message)
                    self.assertIn(part, result.message)
        self.assertEqual(seen(), [])

    def test_a_key_that_only_meters_is_refused_here(self):
        self.start(metering_api_key="rev_mk_tenant1_0123456789abcdef")
        for operation, params in [("jobs.report_outcome", REPORT), ("jobs.types", {}), ("jobs.create", {"id": "j"})]:
            result = platform(operation, **params)
            self.assertEqual(result.code, "CONFIG")
            self.assertIn("REVENIUM_WRITE_API_KEY", result.message)
            self.assertNotIn("0123456789", result.message)
        self.assertEqual(seen(), [])

    def test_a_key_of_its_own(self):
        self.start(metering_api_key="rev_mk_tenant1_0123456789abcdef", write_api_key=KEY)
        plan(JOBS + "/types", ok([]))
        self.assertEqual(platform("jobs.types").code, "OK")
        self.assertEqual(seen()[0]["headers"]["x-api-key"], KEY)

    def test_the_team_of_the_keys_tenant_is_looked_up_once(self):
        self.start(team_id="")
        plan("/profitstream/v2/api/teams", ok({"_embedded": {"teamResourceList": [{"id": "T9"}]}}))
        plan(JOBS + "/types", ok([]))
        for _ in range(2):
            self.assertEqual(platform("jobs.types").code, "OK")
        self.assertEqual([request["query"] for request in seen()], ["tenantId=tenant1", "teamId=T9", "teamId=T9"])
        plan(JOBS + "/types", ok([]))
        self.assertEqual(platform("jobs.types", teamId="T1").code, "OK")
        self.assertEqual(seen()[-1]["query"], "teamId=T1")

    def test_a_team_that_nobody_knows(self):
        self.start(team_id="", metering_api_key="hak_0123456789abcdef")
        result = platform("jobs.types")
        self.assertEqual(result.code, "CONFIG")
        self.assertIn("REVENIUM_TEAM_ID", result.message)
        self.assertEqual(seen(), [])

    def test_what_is_tried_again_and_what_is_not(self):
        self.start()
        wait = {"headers": SOON}
        for operation, params, path, status, again in [
            ("jobs.report_outcome", REPORT, JOBS + "/loan-1/outcome", 404, True),
            ("jobs.get", {"id": "j"}, JOBS + "/j", 404, False),
            ("jobs.get", {"id": "j"}, JOBS + "/j", 503, True),
            ("jobs.get", {"id": "j"}, JOBS + "/j", 500, False),
            ("jobs.amend_outcome", {"id": "j", "outcomeValue": 1}, JOBS + "/j/outcome", 503, False),
            ("jobs.amend_outcome", {"id": "j", "outcomeValue": 1}, JOBS + "/j/outcome", 429, True),
            ("economics.add_facts", {"type": "t", "facts": [{"key": "k"}]}, JOBS + "/types/t/facts", 502, False),
        ]:
            with self.subTest(operation=operation, status=status):
                sandbox("DELETE", "/sandbox/requests")
                plan(path, {"status": status, **wait}, ok(JOB))
                result = platform(operation, **params)
                self.assertEqual(result.info["attempts"], 2 if again else 1)
                self.assertEqual(len(seen()), 2 if again else 1)
                self.assertEqual(result.code == "OK", again)
                if not again:
                    self.assertEqual(result.info["http_status"], status)

    def test_no_retries_where_none_are_wanted(self):
        self.start(platform_max_retries=0)
        plan(JOBS + "/j", {"status": 503})
        result = platform("jobs.get", id="j")
        self.assertEqual((result.code, len(seen())), ("INTERNAL_SERVER", 1))
        self.assertEqual(result.error["operation"], "jobs.get")

    def test_a_connection_that_breaks(self):
        self.start()
        plan(JOBS + "/loan-1/outcome", "close", ok(JOB))
        self.assertEqual(platform("jobs.report_outcome", **REPORT).code, "OK")
        self.assertEqual(len(seen()), 2)
        sandbox("DELETE", "/sandbox/requests")
        plan(JOBS + "/loan-1/outcome", "close", ok(JOB))
        self.assertEqual(platform("jobs.amend_outcome", id="loan-1", outcomeValue=1).code, "CONNECTION")
        self.assertEqual(len(seen()), 1)

    def test_time_is_bounded(self):
        self.start()
        plan(JOBS + "/j", "stall")
        result = platform("jobs.get", id="j", timeoutMs=100)
        self.assertEqual(result.code, "TIMEOUT")

    def test_a_redirect_is_not_followed(self):
        self.start()
        plan(JOBS + "/j", {"status": 307, "headers": {"location": SANDBOX + "/elsewhere"}})
        result = platform("jobs.get", id="j")
        self.assertEqual((result.code, len(seen())), ("API", 1))
        self.assertIn("redirect", result.message)

    def test_what_is_no_json(self):
        self.start()
        plan(JOBS + "/j", {"status": 200, "text": "<html>sign in</html>"})
        result = platform("jobs.get", id="j")
        self.assertEqual(result.code, "STREAM")
        self.assertIn("no JSON", result.message)


class Outcomes(Test):
    PATH = JOBS + "/loan-1/outcome"

    def test_reported_already_with_guidance(self):
        self.start()
        details = {"guidance": "use PATCH", "reportedAt": "2026-11-22T00:00:00Z", "updateCount": "2"}
        plan(self.PATH, {"status": 409, "json": {"details": details}})
        result = platform("jobs.report_outcome", **REPORT)
        self.assertEqual(result.code, "CONFLICT")
        self.assertTrue(result.error["already_reported"])
        self.assertEqual((result.error["reported_at"], result.error["update_count"]), (details["reportedAt"], 2))
        self.assertEqual(result.error["response"], {"details": details})

    def test_reported_already_without_guidance_counts_as_made(self):
        self.start()
        plan(self.PATH, {"status": 409, "json": {"message": "conflict"}})
        result = platform("jobs.report_outcome", **REPORT)
        self.assertEqual((result.code, result.json), ("OK", {"alreadyReported": True}))
        self.assertTrue(any("outcome" in line for line in self.lines), self.lines)

    def test_a_report_whose_answer_got_lost_is_known_again(self):
        self.start()
        stored = {**JOB, "outcomeType": "CONVERTED", "outcomeValue": 500}
        lost = [{"status": 502, "headers": SOON}, {"status": 409, "json": {"details": {"guidance": "PATCH"}}}]
        for job, code in [(stored, "OK"), ({**stored, "outcomeValue": 1}, "CONFLICT"), ({**stored, "updateCount": 1}, "CONFLICT")]:
            plan(self.PATH, *lost)
            plan(JOBS + "/loan-1", ok(job))
            result = platform("jobs.report_outcome", **REPORT)
            self.assertEqual(result.code, code)
            if code == "OK":
                self.assertEqual(result.json, job)

    def test_amendments_name_the_version_that_was_told_last(self):
        self.start()
        plan(self.PATH, ok(JOB), ok({**JOB, "entityVersion": "5"}), ok({"no": "version"}), ok({}))
        platform("jobs.report_outcome", **REPORT)
        for expected in [4, 5, None]:
            self.assertEqual(platform("jobs.amend_outcome", id="loan-1", outcomeValue=1).code, "OK")
            self.assertEqual(seen()[-1]["body"].get("expectedEntityVersion"), expected)

    def test_an_amendment_that_comes_too_late_or_too_early(self):
        self.start()
        plan(self.PATH, {"status": 409, "json": {"message": "conflict: current version is 7"}}, {"status": 422})
        late = platform("jobs.amend_outcome", id="loan-1", outcomeValue=1, expectedEntityVersion=4)
        self.assertEqual((late.code, late.error["current_entity_version"]), ("CONFLICT", 7))
        early = platform("jobs.amend_outcome", id="loan-1", outcomeValue=1)
        self.assertEqual(early.code, "UNPROCESSABLE")
        self.assertIn("Nothing has been reported", early.message)

    def test_a_job_that_exists_is_created(self):
        self.start()
        plan(JOBS, {"status": 409, "json": {"message": "exists"}})
        self.assertEqual(platform("jobs.create", id="j").code, "OK")

    def test_the_platform_down_does_not_touch_metering(self):
        self.start(platform_max_retries=0)
        plan(JOBS + "/j", {"status": 503})
        for _ in range(5):
            self.assertEqual(platform("jobs.get", id="j").code, "INTERNAL_SERVER")
        plan(JOBS + "/j", ok(JOB))
        self.assertEqual(platform("jobs.get", id="j").code, "OK")


class Submitted(Test):
    def test_a_result_comes_to_the_queue(self):
        self.start()
        plan(JOBS + "/types", ok(["loan"]))
        queue, call = H(), H()
        self.assertEqual(lib.revenium_queue_new(C.byref(queue)), 0)
        self.addCleanup(lib.revenium_release, queue.value)
        code = lib.revenium_platform_submit(b"jobs.types", None, 0, queue.value, 77, C.byref(call))
        self.assertEqual(code, 0)
        buffer, used = (C.c_uint64 * 1024)(), C.c_size_t()
        self.assertEqual(lib.revenium_queue_read(queue.value, buffer, 8192, 30000, C.byref(used)), 0)
        _size, length, handle, tag, kind, number = struct.unpack_from("=IIQQii", buffer)
        self.assertEqual((handle, tag, kind, number), (call.value, 77, 2, 0))
        self.assertEqual(json.loads(bytes(buffer)[32 : 32 + length]), ["loan"])
        self.assertEqual(lib.revenium_result_code(call.value), 0)
        lib.revenium_release(call.value)

    def test_it_can_be_cancelled(self):
        self.start()
        plan(JOBS + "/types", "stall")
        queue, call = H(), H()
        lib.revenium_queue_new(C.byref(queue))
        self.addCleanup(lib.revenium_release, queue.value)
        self.assertEqual(lib.revenium_platform_submit(b"jobs.types", None, 0, queue.value, 1, C.byref(call)), 0)
        self.assertEqual(lib.revenium_call_cancel(call.value), 0)
        buffer, used = (C.c_uint64 * 1024)(), C.c_size_t()
        self.assertEqual(lib.revenium_queue_read(queue.value, buffer, 8192, 30000, C.byref(used)), 0)
        self.assertEqual(struct.unpack_from("=IIQQii", buffer)[5], -11)
        lib.revenium_release(call.value)

    def test_what_cannot_begin_says_why(self):
        self.start()
        queue, call = H(), H()
        lib.revenium_queue_new(C.byref(queue))
        self.addCleanup(lib.revenium_release, queue.value)
        code = lib.revenium_platform_submit(b"jobs.get", b"{}", 2, queue.value, 1, C.byref(call))
        self.assertEqual(code, -2)
        self.assertEqual(lib.revenium_result_code(call.value), -2)
        lib.revenium_release(call.value)
