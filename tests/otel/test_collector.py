"""The same with a real Collector, which writes what it takes to a file: where there is one (tests/otel.sh says where)."""

import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from spans import *
from test_spans import the_call, wanted

OTELCOL = os.environ["OTELCOL"]
CONFIG = """
receivers: {otlp: {protocols: {http: {endpoint: "127.0.0.1:%(port)d"}}}}
exporters:
  file: {path: %(file)s, format: json, flush_interval: 50ms}
  otlp_http: {endpoint: "%(next)s", compression: none}
service:
  telemetry: {metrics: {level: none}, logs: {level: error}}
  pipelines: {traces: {receivers: [otlp], exporters: [%(exporter)s]}}
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Collector:
    """One Collector; `next`: the URL of another that gets what comes, instead of a file."""

    def __init__(self, test, port=None, next=None):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folder = tempfile.TemporaryDirectory()
        test.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.file = self.folder / "out.jsonl"
        config = self.folder / "config.yaml"
        config.write_text(CONFIG % {"port": self.port, "file": self.file, "next": next or "http://127.0.0.1:9",
                                    "exporter": "otlp_http" if next else "file"})
        self.log = open(self.folder / "log", "w+")
        self.process = subprocess.Popen([OTELCOL, "--config", f"file:{config}"], stdout=self.log, stderr=self.log)
        test.addCleanup(self.log.close)
        test.addCleanup(self.stop)
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                self.log.seek(0)
                test.assertTrue(self.process.poll() is None and time.monotonic() < until, self.log.read())
                time.sleep(0.02)

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait()

    def exports(self):
        """All that was written so far; the last line may still be on its way."""
        text = self.file.read_text() if self.file.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def spans(self):
        return [span for export in self.exports() for resource in export["resourceSpans"]
                for scope in resource["scopeSpans"] for span in scope["spans"]]

    def wait(self, test, spans):
        until = time.monotonic() + 60
        while len(self.spans()) < spans:
            test.assertLess(time.monotonic(), until, f"{len(self.spans())} spans of {spans} came")
            time.sleep(0.02)
        return self.spans()


if os.access(OTELCOL, os.X_OK):

    class RealCollector(SpanTest):
        def test_it_takes_every_attribute_in_all_forms(self):
            collector = Collector(self)
            seen = 0
            for form in ["http/protobuf", "http/json"]:
                for compression in ["none", "gzip"]:
                    with self.subTest(form=form, compression=compression):
                        self.export_to(collector.url, otlp_protocol=form, otlp_compression=compression, otlp_service_name="s")
                        result = the_call()
                        self.flush()
                        self.assertHas(status()["spans"], exported=1, rejected=0, dropped=0)
                        lib.revenium_shutdown(5000)
                        seen += 1
                        span = collector.wait(self, seen)[-1]
                        self.assertEqual(attributes(span), wanted(result))
                        self.assertHas(span, traceId=TRACE, parentSpanId=PARENT, traceState="a=1", kind=3, flags=1,
                                       name=f"chat {MODEL}")
            resource = collector.exports()[0]["resourceSpans"][0]["resource"]
            self.assertEqual(attributes(resource)["service.name"], ("stringValue", "s"))

        def test_a_thousand_calls_are_a_thousand_spans(self):
            collector = Collector(self)
            self.export_to(collector.url)
            for _ in range(1000):
                self.assertEqual(create().code, "OK")
            self.flush()
            spans = collector.wait(self, 1000)
            self.assertEqual((len(spans), len({span["spanId"] for span in spans})), (1000, 1000))

        def test_one_that_is_killed_and_started_again_gets_what_waited(self):
            collector = Collector(self)
            self.export_to(collector.url)
            create()
            self.flush()
            collector.wait(self, 1)
            collector.stop(signal.SIGKILL)
            for _ in range(3):
                self.assertEqual(create().code, "OK")
            while not status()["spans"]["last_error"]:
                time.sleep(0.01)
            again = Collector(self, port=collector.port)
            self.wait_for(exported=4, pending=0)
            self.assertEqual(len(again.wait(self, 3)), 3)

        def test_a_chain_of_two(self):
            last = Collector(self)
            first = Collector(self, next=last.url)
            self.export_to(first.url)
            result = the_call()
            self.flush()
            [span] = last.wait(self, 1)
            self.assertEqual(attributes(span), wanted(result))
