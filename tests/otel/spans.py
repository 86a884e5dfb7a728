"""What every test of telemetry needs."""

import time

from double import Double, attributes
from revenium import *

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
NOT_SAMPLED = f"00-{TRACE}-{PARENT}-00"
PATH = "/v1/messages"
MESSAGE = {"id": "msg_otel_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929",
           "content": [{"type": "text", "text": "never in a span"}], "stop_reason": "end_turn", "stop_sequence": None,
           "usage": {"input_tokens": 12, "output_tokens": 7, "cache_creation_input_tokens": 248,
                     "cache_read_input_tokens": 1800, "service_tier": "standard",
                     "output_tokens_details": {"thinking_tokens": 3},
                     "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 48}}}


def answer(message=MESSAGE, **headers):
    return {"text": json.dumps(message), "headers": {"content-type": "application/json", **headers}}


class SpanTest(BedrockTest):
    """Each test starts the library anew: Anthropic answers, and nothing is exported unless the test says so."""

    def setUp(self):
        super().setUp()
        os.environ["ANTHROPIC_API_KEY"] = "sk-ant-sandbox"
        for name in KEYS:
            os.environ.pop(name)

    def double(self, *answers, **more):
        double = Double(*answers, **more)
        self.addCleanup(double.close)
        return double

    def export_to(self, url, **config):
        """Start with spans that go to `url`."""
        self.start({"otlp": True, "otlp_endpoint": url, "otlp_delay_ms": 50, **config})

    def flush(self):
        self.assertEqual(lib.revenium_flush(20000), 0)

    def sent(self):
        """The headers of the requests that went to the provider."""
        return [request["headers"] for request in requests("anthropic")]

    def wait_for(self, seconds=30, **counts):
        """Until the status counts as many spans."""
        until = time.monotonic() + seconds
        while any(status()["spans"][name] != count for name, count in counts.items()):
            self.assertLess(time.monotonic(), until, status()["spans"])
            time.sleep(0.01)
        return status()["spans"]
