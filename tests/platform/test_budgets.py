"""Budgets: the vendor's table through the C ABI, and what surrounds a verdict."""

import json
import os
import pathlib
import re

from revenium import RULES, SANDBOX, Test, check, create, plan, sandbox, seen, status, until

CASES = json.loads((pathlib.Path(__file__).parent / "budgets.json").read_text())
BODY = {"model": "claude-sonnet-4-5", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}
RULE = {
    "ruleId": 9,
    "name": "cap-1",
    "breached": True,
    "action": "BLOCK",
    "currentValue": 12.5,
    "threshold": 10.0,
    "windowEnd": "2099-01-01T00:00:00Z",
    "resetsAt": "2099-01-01T00:00:00Z",
    "denyMessage": "Ask the boss.",
}


def rules(*changes):
    return {"json": {"rules": [{**RULE, **change} for change in changes]}}


class Budgets(Test):
    def start(self, fetched=True, **settings):
        """Start with budgets on, and wait until the rules are there."""
        super().start(**{"budget_enforcement": True, **settings})
        if fetched:
            check(BODY)
            until(lambda: status()["budgets"]["fetched_seconds_ago"] is not None)

    def sent(self):
        return seen("anthropic")

    def test_the_vendors_table(self):
        judged = 0
        for case in CASES:
            call, expected, settings = case["call"], case["expect"], case["settings"]
            # No provider of ours has another label.
            provider = {"ANTHROPIC": "anthropic", "AWS": "bedrock"}.get(call["provider"])
            if provider is None:
                continue
            with self.subTest(case["name"]):
                self.stop()
                sandbox("DELETE", "/sandbox/requests")
                fetched = settings["rules_fetched"]
                plan(RULES, {"json": case["served"]} if fetched else {"status": 401})
                self.start(
                    fetched=settings["enabled"] and fetched,
                    budget_enforcement=settings["enabled"],
                    budget_bypass=settings["bypass"],
                    budget_fail_mode=settings["fail_mode"],
                    aws_region="us-east-1",
                )
                self.lines.clear()
                body = {**BODY, "model": call["model"], "usage_metadata": call["metadata"]}
                body["revenium"] = {"provider": provider}
                for _ in range(call["times"]):
                    # Whatever Bedrock would say of it: who is allowed there need not be asked.
                    result = create(body) if provider == "anthropic" else check(body)
                self.assertEqual(result.code == "BUDGET", expected["refused"], result.message)
                warned = any("budget rule" in line for line in self.lines)
                self.assertEqual(warned or "warnings" in (result.json or {}), expected["warned"], self.lines)
                if not expected["refused"]:
                    self.assertEqual(result.code, "OK", result.message)
                    continue
                self.assertEqual(self.sent(), [])
                self.assertEqual(result.message, expected["message"])
                for field in ["rule_name", "rule_id", "current_value", "threshold", "resets_at"]:
                    self.assertEqual(result.error.get(field), expected[field], field)
                self.assertEqual(result.error.get("deny_message"), expected["deny_message"])
                judged += 1
        self.assertGreater(judged, 40)

    def test_a_refused_call_sends_nothing_and_leaves_no_record(self):
        plan(RULES, rules({}))
        self.start()
        result = create(BODY)
        self.assertEqual(result.code, "BUDGET")
        self.assertEqual(
            result.json,
            {
                "type": "error",
                "error": {
                    "type": "billing_error",
                    "message": "Request blocked by Revenium enforcement rule: cap-1. Ask the boss.",
                    "rule_name": "cap-1",
                    "rule_id": 9,
                    "current_value": 12.5,
                    "threshold": 10.0,
                    "resets_at": "2099-01-01T00:00:00Z",
                    "deny_message": "Ask the boss.",
                },
            },
        )
        self.assertEqual(result.info["http_status"], 402)
        self.assertFalse(result.info["metered"])
        self.assertEqual(check(BODY).json, result.json)
        unmetered = create({**BODY, "revenium": {"meter": False}})
        self.assertEqual(unmetered.code, "BUDGET")
        self.stop()
        self.assertEqual(self.sent(), [])
        self.assertEqual(sandbox("GET", "/sandbox/records"), [])

    def test_a_call_that_something_else_makes(self):
        of_vertex = {"filters": [{"dimension": "MODEL", "operator": "IS", "value": "claude-haiku-4-5"}]}
        of_aws = {"filters": [{"dimension": "PROVIDER", "operator": "IS", "value": "AWS"}], "name": "cap-aws"}
        warns = {"action": "WARN_ONLY", "name": "warned", "filters": [{"dimension": "AGENT", "operator": "IS", "value": "w"}]}
        plan(RULES, rules(of_vertex, of_aws, warns))
        self.start()
        body = {"max_tokens": 10, "messages": []}
        for call, code in [
            ({"provider": "vertex", "model": "claude-haiku-4-5", "request": body}, "BUDGET"),
            ({"provider": "vertex", "model": "claude-opus-5-5", "request": body}, "OK"),
            # The body's own model counts.
            ({"provider": "vertex", "model": "claude-haiku-4-5", "request": {**body, "model": "claude-opus-5-5"}}, "OK"),
            ({"provider": "bedrock", "model": "claude-opus-5-5", "request": body}, "BUDGET"),
            ({"model": "claude-opus-5-5", "request": {**body, "anthropic_version": "bedrock-2023-05-31"}}, "BUDGET"),
            ({"provider": "foundry", "request": {**body, "model": "claude-opus-5-5"}}, "OK"),
            ({"provider": "azure", "request": body}, "ARGUMENT"),
            ({"admit": "yes", "request": body}, "ARGUMENT"),
            ({"response": {}, "request": body}, "ARGUMENT"),
            ({"nothing": 1, "request": body}, "ARGUMENT"),
        ]:
            with self.subTest(call):
                self.assertEqual(check(call).code, code)
        self.assertEqual(status()["budgets"]["refused"], 0)
        # One that is made if it may be counts, and warns.
        call = {"admit": True, "provider": "vertex", "model": "claude-haiku-4-5", "request": body}
        self.assertEqual(check(call).code, "BUDGET")
        self.assertEqual(status()["budgets"]["refused"], 1)
        self.lines.clear()
        told = check({**call, "model": "claude-opus-5-5", "usage_metadata": {"agent": "w"}})
        self.assertEqual((told.code, told.json), ("OK", {"allowed": True}))
        self.assertTrue(any("warned" in line for line in self.lines), self.lines)

    def test_off_by_default(self):
        plan(RULES, rules({}))
        self.start(fetched=False, budget_enforcement=False)
        self.assertEqual(create(BODY).code, "OK")
        self.assertEqual(check(BODY).json, {"allowed": True, "enforced": False})
        self.assertEqual(seen(), [])
        self.assertEqual(status()["budgets"]["enforcement"], "off")

    def test_a_bypass_lets_everything_pass(self):
        plan(RULES, rules({}))
        self.start(fetched=False, budget_bypass=True)
        self.assertEqual(create(BODY).code, "OK")
        self.assertEqual(seen(), [])

    def test_shadow_mode_only_tells(self):
        plan(RULES, rules({}))
        self.start(budget_shadow=True)
        told = check(BODY)
        self.assertEqual(told.code, "OK")
        self.assertIn("cap-1", told.json["would_refuse"])
        for _ in range(2):
            self.assertEqual(create(BODY).code, "OK")
        self.assertEqual(len(self.sent()), 2)
        self.assertEqual(len([line for line in self.lines if "would be refused" in line]), 1)
        self.assertEqual(status()["budgets"]["refused"], 2)

    def test_a_warning_comes_once_a_window_and_names_no_address(self):
        plan(RULES, rules({"action": "WARN_ONLY"}, {"ruleId": 10, "name": "cap-2", "action": "NOTIFY"}))
        self.start()
        for _ in range(3):
            self.assertEqual(create({**BODY, "usage_metadata": {"subscriber": {"email": "joe@example.com"}}}).code, "OK")
        warned = [line for line in self.lines if "budget rule" in line]
        self.assertEqual(len(warned), 2, warned)
        self.assertNotIn("joe@example.com", "".join(self.lines))
        self.assertEqual([rule["rule_name"] for rule in check(BODY).json["warnings"]], ["cap-1", "cap-2"])

    def test_closed_until_the_rules_are_known(self):
        plan(RULES, {"status": 401})
        self.start(fetched=False, budget_fail_mode="closed")
        result = create(BODY)
        self.assertEqual(result.code, "BUDGET")
        self.assertNotIn("rule_name", result.error)
        until(lambda: status()["budgets"]["trouble"])
        self.assertEqual(create(BODY).code, "BUDGET")
        self.assertEqual(self.sent(), [])

    def test_open_while_revenium_cannot_be_reached(self):
        plan(RULES, {"status": 401})
        self.start(fetched=False)
        self.assertEqual(create(BODY).code, "OK")
        until(lambda: status()["budgets"]["trouble"])
        self.assertEqual(create(BODY).code, "OK")
        self.assertEqual(len([line for line in self.lines if "cannot be fetched" in line]), 1)

    def test_without_a_team_it_says_so(self):
        self.start(fetched=False, team_id="")
        self.assertEqual(create(BODY).code, "OK")
        until(lambda: any("REVENIUM_TEAM_ID" in line for line in self.lines))

    def test_the_last_rules_are_kept_on_disk(self):
        plan(RULES, rules({}))
        self.start(budget_cache_dir=self.directory.name)
        (kept,) = until(lambda: [name for name in os.listdir(self.directory.name) if re.match(r"librevenium_budget_rules\.[0-9a-f]{16}\.json$", name)])
        self.assertEqual(os.stat(os.path.join(self.directory.name, kept)).st_mode & 0o777, 0o600)
        self.stop()
        plan(RULES, {"status": 401})
        self.start(fetched=False, budget_cache_dir=self.directory.name, budget_fail_mode="closed")
        result = create(BODY)
        self.assertEqual((result.code, result.error["rule_name"]), ("BUDGET", "cap-1"))
        self.stop()
        self.start(fetched=False, budget_cache_dir=self.directory.name, team_id="another")
        self.assertEqual(create(BODY).code, "OK")

    def test_new_rules_come_with_the_next_fetch(self):
        plan(RULES, rules({}), {"status": 204, "text": ""})
        self.start(budget_poll_interval_ms=1000)
        self.assertEqual(create(BODY).code, "BUDGET")
        until(lambda: create(BODY).code == "OK")
        self.assertEqual(status()["budgets"]["rules"], 0)

    def test_a_failed_fetch_keeps_the_rules(self):
        plan(RULES, rules({}), {"status": 403})
        self.start(budget_poll_interval_ms=1000)
        until(lambda: status()["budgets"]["trouble"])
        self.assertEqual(create(BODY).code, "BUDGET")
        self.assertIn("status 403", status()["budgets"]["trouble"])

    def test_a_fetch_is_tried_again(self):
        plan(RULES, {"status": 503}, "close", rules({}))
        self.start()
        self.assertEqual(create(BODY).code, "BUDGET")
        self.assertEqual(len(seen()), 3)

    def test_rules_have_a_place_of_their_own(self):
        plan("/elsewhere" + RULES, rules({}))
        self.start(enforcement_base_url=SANDBOX + "/elsewhere/")
        self.assertEqual(create(BODY).code, "BUDGET")
