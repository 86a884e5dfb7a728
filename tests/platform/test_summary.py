"""print_summary: what a call took and cost, on standard error."""

import json
import os
import subprocess
import sys
import tempfile

from revenium import LIBRARY, SANDBOX, Test, plan

COST = "/profitstream/v2/api/sources/metrics/ai/completions"
PROGRAM = """
import ctypes, json, sys
lib = ctypes.CDLL(sys.argv[1])
out = ctypes.c_uint64()
lib.revenium_init(sys.argv[2].encode(), ctypes.c_size_t(-1), ctypes.byref(out))
body = b'{"model":"claude-haiku-4-5","max_tokens":9,"messages":[{"role":"user","content":"secret words"}],"usage_metadata":{"traceId":"t-1"}}'
code = lib.revenium_messages_create(body, ctypes.c_size_t(-1), ctypes.c_uint64(1), ctypes.byref(out))
sys.stdin.readline() if "wait" in sys.argv else None
lib.revenium_shutdown(5000)
sys.exit(code != 0)
"""


class Summary(Test):
    def run_program(self, wait=False, **settings):
        config = {"anthropic_base_url": SANDBOX, "metering_base_url": SANDBOX, "log_level": "ERROR", **settings}
        config["metering_api_key"] = settings.get("metering_api_key", "rev_sk_tenant1_0123456789abcdef")
        with tempfile.TemporaryDirectory() as spool:
            child = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, LIBRARY, json.dumps({**config, "spool_dir": spool})] + ["wait"] * wait,
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ},
                text=True,
            )
            # It comes while the program lives, or at its end.
            lines = child.stderr.readline() if wait else ""
            _, rest = child.communicate("\n", timeout=60)
            self.assertEqual(child.returncode, 0, rest)
            return lines + rest

    def test_nothing_unless_it_is_wanted(self):
        self.assertEqual(self.run_program(), "")
        self.assertEqual(self.run_program(print_summary="human", metering_api_key=""), "")

    def test_for_people(self):
        text = self.run_program(print_summary="true", metering_api_key="rev_mk_tenant1_0123456789abcdef")
        for part in ["claude-haiku-4-5", "ANTHROPIC", "cost      unavailable", "trace     t-1", "total"]:
            self.assertIn(part, text)
        self.assertNotIn("secret", text)

    def test_the_end_does_not_wait_for_a_cost(self):
        plan(COST, "stall")
        self.assertIsNone(json.loads(self.run_program(print_summary="json", team_id="T"))["cost"])

    def test_with_its_cost(self):
        plan(COST, {"json": {"_embedded": {"aICompletionMetricResourceList": [{"totalCost": 0.0125}]}}})
        line = json.loads(self.run_program(wait=True, print_summary="json", team_id="T"))
        self.assertEqual((line["cost"], line["provider"], line["traceId"]), (0.0125, "ANTHROPIC", "t-1"))
        self.assertEqual(line["totalTokenCount"], line["inputTokenCount"] + line["outputTokenCount"])
