"""Spans on their way: Collectors that are down, slow, full or wrong, and ends of the process. No call notices."""

import subprocess
import sys

from spans import *


def partial(rejected, message):
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
    answer = service.ExportTraceServiceResponse()
    answer.partial_success.rejected_spans, answer.partial_success.error_message = rejected, message
    return 200, {"content-type": "application/x-protobuf"}, answer.SerializeToString()


class Export(SpanTest):
    def test_a_thousand_calls_are_a_thousand_spans(self):
        double = self.double()
        self.export_to(double.url)
        for _ in range(1000):
            self.assertEqual(create().code, "OK")
        self.flush()
        spans = double.spans()
        self.assertEqual((len(spans), len({span["spanId"] for span in spans})), (1000, 1000))
        self.wait_for(exported=1000, pending=0, pending_bytes=0, dropped=0)

    def test_a_collector_that_comes_back_gets_what_waited(self):
        double = self.double()
        port = double.port
        double.close()
        self.export_to(f"http://127.0.0.1:{port}")
        for _ in range(5):
            self.assertEqual(create().code, "OK")
        while not status()["spans"]["last_error"]:
            time.sleep(0.01)
        self.assertHas(status()["spans"], exported=0, pending=5)
        again = self.double(port=port)
        self.wait_for(exported=5, pending=0, circuit="closed")
        self.assertEqual(len(again.spans()), 5)

    def test_the_circuit_opens_and_a_flush_does_not_wait_for_nobody(self):
        double = self.double("cut")
        self.export_to(double.url)
        create()
        self.wait_for(circuit="open", pending=1)
        self.assertEqual(lib.revenium_flush(600_000), 0)
        # The flush had an attempt made at once.
        self.assertGreaterEqual(len(double.requests), 4)
        double.answers = [(200, {}, b"")]
        self.flush()
        self.wait_for(exported=1, circuit="closed")

    def test_what_may_be_tried_again_is_and_when_the_collector_says(self):
        for refusal in [(429, {"retry-after": 1}, b"{}"), (503, {"retry-after": 1}, b""), (502, {}, b""), (504, {}, b""), "cut"]:
            with self.subTest(refusal=refusal):
                double = self.double(refusal, (200, {}, b""))
                self.export_to(double.url)
                create()
                self.wait_for(exported=1)
                one, two = double.requests
                self.assertEqual(one.raw, two.raw)
                if "retry-after" in refusal[1]:
                    # Its own clock says so: never earlier.
                    self.assertGreaterEqual(two.at - one.at, 1.0)
                lib.revenium_shutdown(5000)

    def test_what_is_refused_for_good_is_dropped_and_counted(self):
        for answered in [400, 401, 403, 404, 413, 415, 500, 302]:
            with self.subTest(status=answered):
                double = self.double((answered, {}, b'{"message":"no"}'))
                self.export_to(double.url)
                self.assertEqual(create().code, "OK")
                self.wait_for(pending=0, dropped=1)
                found = status()["spans"]
                self.assertEqual(found["dropped_by"]["refused"], 1)
                self.assertIn(str(answered), found["last_error"])
                self.flush()
                self.assertEqual(len(double.requests), 1)
                lib.revenium_shutdown(5000)

    def test_a_partial_success_is_counted_and_not_sent_again(self):
        in_json = (200, {"content-type": "application/json"}, b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too\\nold"}}')
        for form, answer in [("http/protobuf", partial(1, "too\nold")), ("http/json", in_json)]:
            with self.subTest(form=form):
                double = self.double(answer)
                self.export_to(double.url, otlp_protocol=form)
                create()
                self.flush()
                self.assertHas(status()["spans"], exported=1, rejected=1, pending=0, dropped=0,
                               last_error="the Collector rejected 1 spans: too old")
                self.assertEqual(len(double.requests), 1)
                lib.revenium_shutdown(5000)

    def test_an_answer_that_is_none_counts_as_taken(self):
        double = self.double((200, {}, b"\xff" * 70000))
        self.export_to(double.url)
        create()
        self.flush()
        self.assertHas(status()["spans"], exported=1, rejected=0)

    def test_memory_is_bounded_and_drops_are_counted(self):
        double = self.double("hang")
        self.export_to(double.url, otlp_queue_size=10, otlp_batch_size=4)
        for _ in range(25):
            self.assertEqual(create().code, "OK")
        found = status()["spans"]
        self.assertEqual((found["pending"], found["dropped_by"]["queue_full"]), (10, 15))
        self.assertGreater(found["pending_bytes"], 0)

    def test_batches_go_by_count_and_by_bytes(self):
        double = self.double()
        self.export_to(double.url, otlp_delay_ms=3_600_000, otlp_batch_size=5)
        for _ in range(10):
            create()
        double.wait(2)
        self.assertEqual([len(request.spans()) for request in double.requests], [5, 5])

    def test_shutdown_keeps_its_deadline_and_counts_what_is_lost(self):
        double = self.double("hang")
        self.export_to(double.url)
        create()
        double.wait(1)
        begun = time.monotonic()
        self.assertEqual(lib.revenium_shutdown(300), 0)
        self.assertLess(time.monotonic() - begun, 10, "the Collector would have hung for ever")

    def test_shutdown_sends_what_is_there(self):
        double = self.double()
        self.export_to(double.url, otlp_delay_ms=3_600_000)
        create()
        lib.revenium_shutdown(20000)
        self.assertEqual(len(double.spans()), 1)


PROGRAM = """
import os, sys
sys.path[:0] = ["tests/otel", "tests/bedrock"]
from spans import *
text = json.dumps({"otlp": True, "otlp_endpoint": os.environ["DOUBLE"], "otlp_delay_ms": 3600000}).encode()
assert lib.revenium_init(text, len(text), None) == 0
"""


class Processes(SpanTest):
    def run_program(self, text, **environment):
        double = self.double()
        environment = {**os.environ, "DOUBLE": double.url, "REVENIUM_LOG_LEVEL": "WARN", **environment}
        run = subprocess.run([sys.executable, "-c", PROGRAM + text], env=environment, capture_output=True, text=True, timeout=120)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        return double

    def test_exit_sends_what_is_there(self):
        double = self.run_program("create()\n")
        self.assertEqual(len(double.spans()), 1)

    def test_a_forked_child_exports_its_own_spans_and_no_others(self):
        double = self.run_program("""
create(usage_metadata={"agent": "before"})
child = os.fork()
if child == 0:
    create(usage_metadata={"agent": "child"})
    lib.revenium_flush(20000)
    os._exit(0)
os.waitpid(child, 0)
create(usage_metadata={"agent": "after"})
""")
        agents = [attributes(span)["revenium.agent.name"][1] for span in double.spans()]
        self.assertEqual(sorted(agents), ["after", "before", "child"])

    def test_nothing_is_started_that_nobody_asked_for(self):
        double = self.run_program("""
lib.revenium_shutdown(5000)
text = json.dumps({"otlp_endpoint": os.environ["DOUBLE"]}).encode()
assert lib.revenium_init(text, len(text), None) == 0
create()
assert status()["spans"] is None
""")
        self.assertEqual(double.requests, [])
