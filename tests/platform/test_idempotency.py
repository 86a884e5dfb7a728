"""Idempotency keys that a host chooses, through the C ABI."""

import hashlib
import threading

from revenium import Test, create, lib, plan, sandbox, scope_of, seen

BODY = {"model": "claude-sonnet-4-5", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}


def numbered(key):
    return scope_of({"revenium": {"idempotency_key": key}})


class Idempotency(Test):
    def start(self, **settings):
        super().start(anthropic_api_key="sk-ant-test", max_retries=0, **settings)

    def call(self, trace, scope, **more):
        return create({**BODY, "usage_metadata": {"traceId": trace}, **more}, scope).code

    def keys(self):
        """By trace."""
        self.assertEqual(lib.revenium_flush(30000), 0)
        records = sandbox("GET", "/sandbox/records")
        return {record["body"]["traceId"]: record["idempotency_key"] for record in records}

    def test_records_are_numbered_and_failures_have_keys_of_their_own(self):
        plan("/v1/messages", {}, {"status": 400}, {})
        self.start()
        scope = numbered("job-1")
        codes = [self.call(trace, scope) for trace in ["first", "failed", "again", "last"]]
        self.assertEqual(codes, ["OK", "BAD_REQUEST", "OK", "OK"])
        keys = self.keys()
        self.assertRegex(keys.pop("failed"), "^job-1:err:[0-9a-f]{8}$")
        # What is done again after the failure has the number that it would have had without.
        self.assertEqual(keys, {"first": "job-1", "again": "job-1:2", "last": "job-1:3"})
        lib.revenium_release(scope)

    def test_the_same_work_begun_anew_has_the_same_keys_and_counts_once(self):
        self.start()
        for run in ["one", "two"]:
            scope = numbered("job-1")
            for call in range(3):
                self.call(f"{run}/{call}", scope)
            lib.revenium_release(scope)
            self.assertEqual(lib.revenium_flush(30000), 0)
        self.assertEqual(self.keys(), {"one/0": "job-1", "one/1": "job-1:2", "one/2": "job-1:3"})

    def test_calls_at_the_same_time_have_a_number_each(self):
        self.start()
        scope = numbered("job-1")
        threads = [threading.Thread(target=self.call, args=(f"t{n}", scope)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(set(self.keys().values()), {"job-1", *(f"job-1:{n}" for n in range(2, 21))})
        lib.revenium_release(scope)

    def test_the_longest_key(self):
        self.start()
        key = "x" * 255
        scope = numbered(key)
        for trace in ["first", "second"]:
            self.call(trace, scope)
        self.assertEqual(self.keys(), {"first": key, "second": hashlib.sha256(key.encode()).hexdigest() + ":2"})
        lib.revenium_release(scope)

    def test_bad_keys_are_refused_before_anything_runs(self):
        self.start()
        for bad in ["", " ", "a b", "é", "a\n", "x" * 256, 7]:
            with self.subTest(bad):
                refused = numbered(bad)
                self.assertEqual(refused.code, "CONFIG")
                self.assertIn("visible ASCII", refused.message)
                self.assertEqual(self.call("bad", 1, revenium={"idempotency_key": bad}), "CONFIG")
        self.stop()
        self.assertEqual(seen("anthropic"), [])
        self.assertEqual(sandbox("GET", "/sandbox/records"), [])
