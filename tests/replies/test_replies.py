"""Replies as gateways hand them on: compressed, mislabelled, with the status of a success, broken off, too large."""

import gzip
import json
import os
import resource
import subprocess
import sys
import zlib
from base64 import b64encode

from revenium import *

PATH = "/v1/messages"
USAGE = {"input_tokens": 25, "output_tokens": 15}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "stop_reason": "end_turn",
           "stop_sequence": None, "content": [{"type": "text", "text": "Hällo there."}], "usage": USAGE}
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "secret-word"}}


def sse(event):
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def start(**usage):
    message = {**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 25, "output_tokens": 1, **usage}}
    return sse({"type": "message_start", "message": message})


def delta(text):
    return sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})


BLOCK = sse({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})


def stop(reason="end_turn", **usage):
    usage = {"output_tokens": 15, **usage}
    return [sse({"type": "content_block_stop", "index": 0}),
            sse({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}),
            sse({"type": "message_stop"})]


EVENTS = [start(), BLOCK, delta("Hällo"), delta(" there."), *stop()]
JSON = json.dumps(MESSAGE).encode()


def chunks(pieces, coding=None, kind=None, end="ok"):
    headers = {"content-type": kind} if kind is not None else {}
    if coding:
        headers["content-encoding"] = coding
    return {"chunks": [{"base64": b64encode(piece).decode()} for piece in pieces], "headers": headers, "end": end}


def compressed(pieces, bits):
    """Each piece flushed, as who streams does."""
    coder = zlib.compressobj(9, zlib.DEFLATED, bits)
    return [coder.compress(piece) + coder.flush(zlib.Z_SYNC_FLUSH) for piece in pieces] + [coder.flush()]


GZIP, ZLIB, RAW = 31, 15, -15


class Replies(BedrockTest):
    def setUp(self):
        super().setUp()
        self.start(provider="anthropic", anthropic_api_key="sk-ant-x", max_response_bytes=1 << 20)

    def start(self, **config):
        super().start({**config})

    def assertRead(self, result, streamed, **usage):
        self.assertEqual((result.code, result.text), ("OK", "Hällo there."), result.message)
        self.assertEqual(result.json["usage"]["output_tokens"], 15)
        self.assertHas(self.record(), outputTokenCount=15, inputTokenCount=25, stopReason="END", isStreamed=streamed)
        sandbox("DELETE", "/sandbox/records")

    def each(self, answers):
        """Both ways to ask, for each answer."""
        for name, answer in answers.items():
            for streamed in (False, True):
                with self.subTest(name, streamed=streamed):
                    plan(PATH, answer)
                    yield streamed, stream()[1] if streamed else create()

    def test_compressed_and_mislabelled(self):
        answers = {}
        for form, pieces, kind in [("events", EVENTS, "text/event-stream"), ("JSON", [JSON], "application/json")]:
            whole = [b"".join(pieces)]
            for coding, bits in [("gzip", GZIP), ("x-gzip", GZIP), ("GZIP", GZIP), ("deflate", ZLIB), ("deflate", RAW)]:
                answers[f"{form} in {coding} {bits}, flushed"] = chunks(compressed(pieces, bits), coding, kind)
                one = b"".join(compressed(whole, bits))
                answers[f"{form} in {coding} {bits}, byte by byte"] = chunks([one[at:at + 1] for at in range(len(one))], coding, kind)
            cut = b"".join(compressed(whole, GZIP))[:-8]
            answers[f"{form}, trailer cut off"] = chunks([cut], "gzip", kind)
            twice = gzip.compress(whole[0][:50]) + gzip.compress(whole[0][50:])
            answers[f"{form} in two members"] = chunks([twice], "gzip", kind)
            for other in ["application/json", "text/event-stream", "text/plain", "", "application/octet-stream"]:
                answers[f"{form} as {other}"] = chunks(pieces, None, other)
                answers[f"{form} as {other}, compressed"] = chunks(compressed(pieces, GZIP), "gzip", other)
            answers[f"{form} behind a BOM"] = chunks([b"\xef\xbb\xbf", *pieces], None, kind)
            answers[f"{form} behind blank lines"] = chunks([b"\n\n", b" \r\n", *pieces], None, kind)
        for streamed, result in self.each(answers):
            self.assertRead(result, streamed)

    def test_events_in_other_clothes(self):
        events = [event.split(b"data: ")[1].strip() for event in EVENTS]
        lines = [event + b"\n" for event in events]
        twice = [b"data: data: " + event + b"\n\n" for event in events]
        done = [b"data: " + twice[0], *twice[1:-1], b'data: "[DONE]"\n\n']
        answers = {
            "lines": chunks(lines, None, "application/x-ndjson"),
            "lines, compressed": chunks(compressed(lines, GZIP), "gzip", "application/x-ndjson"),
            "a list": chunks([b"[" + b",\n".join(events) + b"]"], None, "application/json"),
            "the message in a list": chunks([b"[" + JSON + b"]"], None, "application/json"),
            "the message as an event": chunks([b"data: " + JSON + b"\n\n"], None, "text/event-stream"),
            "the message as an event, [DONE]": chunks([b"event: message\ndata: " + JSON + b"\n\n", b"data: [DONE]\n\n"], None, "text/event-stream"),
            "framed twice": chunks(twice, None, "text/event-stream"),
            "framed twice, quoted [DONE]": chunks(done, None, "text/event-stream"),
            "with words of the gateway between": chunks(
                [b'data: {"message":"working"}\n\n', EVENTS[0], b'data: {"detail":"still"}\n\n', *EVENTS[1:]], None, "text/event-stream"),
        }
        for streamed, result in self.each(answers):
            self.assertRead(result, streamed)

    def test_events_in_other_clothes_that_do_not_end(self):
        events = [event.split(b"data: ")[1].strip() for event in EVENTS[:-1]]
        overloaded = json.dumps(OVERLOADED).encode()
        answers = {}
        for name, last, code in [("cut", [], "E_STREAM"), ("an error", [overloaded], "E_OVERLOADED")]:
            answers[code, "lines, " + name] = chunks([b"\n".join(events[:3] + last)], None, "application/x-ndjson")
            answers[code, "a list, " + name] = chunks([b"[" + b",".join(events[:3] + last) + b"]"], None, "application/json")
        for name, answer in answers.items():
            for streamed, result in self.each({name: answer}):
                self.assertEqual(result.code, name[0], result.message)
                self.assertHas(self.record(), stopReason="ERROR", isStreamed=streamed)
                sandbox("DELETE", "/sandbox/records")

    def test_compression_that_is_a_lie(self):
        answers = {}
        for form, pieces, kind in [("events", EVENTS, "text/event-stream"), ("JSON", [JSON], "application/json")]:
            for coding in ["gzip", "deflate", "br", "zstd", "none", "utf-8", "identity", "gzip, identity"]:
                answers[f"{form}, plain, as {coding}"] = chunks(pieces, coding, kind)
            answers[f"{form} in gzip, unlabelled"] = chunks(compressed(pieces, GZIP), None, kind)
            answers[f"{form} in gzip twice"] = chunks([gzip.compress(gzip.compress(b"".join(pieces)))], "gzip, gzip", kind)
        for streamed, result in self.each(answers):
            self.assertRead(result, streamed)

    def test_errors_with_the_status_of_a_success(self):
        bodies = {
            "of the API": (OVERLOADED, "E_OVERLOADED"),
            "without type": ({"error": OVERLOADED["error"]}, "E_OVERLOADED"),
            "numeric": ({"error": {"message": "secret-word", "code": 429}}, "E_RATE_LIMIT"),
            "a text": ({"error": "secret-word"}, "E_API"),
            "status beside it": ({"error": {"message": "secret-word"}, "status": 503}, "E_INTERNAL_SERVER"),
            "detail": ({"detail": "secret-word"}, "E_API"),
            "message and code": ({"message": "secret-word", "code": 429}, "E_RATE_LIMIT"),
            "errors": ({"errors": [{"message": "secret-word"}]}, "E_API"),
            "no success": ({"success": False, "result": "secret-word"}, "E_API"),
        }
        for name, (body, code) in bodies.items():
            text = json.dumps(body).encode()
            answers = {
                name: chunks([text], None, "application/json"),
                name + ", as a stream": chunks([text], None, "text/event-stream"),
                name + ", compressed": chunks(compressed([text], GZIP), "gzip", "application/json"),
                name + ", an event": chunks([b"event: error\ndata: " + text + b"\n\n"], None, "text/event-stream"),
                name + ", a nameless event": chunks([b"data: " + text + b"\n\n"], None, "text/event-stream"),
                name + ", after a start": chunks([EVENTS[0], b"data: " + text + b"\n\n"], None, "text/event-stream"),
            }
            for streamed, result in self.each(answers):
                self.assertEqual(result.code, code, result.message)
                # Only what is about the request is quoted.
                (self.assertIn if code == "E_RATE_LIMIT" else self.assertNotIn)("secret-word", result.message)
                self.assertIn("secret-word", result.raw)
                self.assertHas(self.record(), stopReason="ERROR", isStreamed=streamed)
                sandbox("DELETE", "/sandbox/records")

    def test_a_bomb_costs_an_error_and_no_memory(self):
        zeros = gzip.compress(b" " * (200 << 20))
        text = gzip.compress(b'{"type":"message","content":[{"type":"text","text":"' + b"a" * (200 << 20))
        event = gzip.compress(b"data: " + b"a" * (200 << 20))
        comment = gzip.compress(b":" + b"a" * (200 << 20))
        answers = {
            "spaces": chunks([zeros], "gzip", "application/json"),
            "text": chunks([text], "gzip", "application/json"),
            "an event": chunks([event], "gzip", "text/event-stream"),
            "a comment": chunks([comment], "gzip", "text/event-stream"),
        }
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _, result in self.each(answers):
            self.assertEqual(result.code, "E_STREAM", result.message)
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, 50 << 10)

    def test_a_bomb_in_an_error(self):
        plan(PATH, {**chunks([gzip.compress(b"x" * (200 << 20))], "gzip", "text/plain"), "status": 400})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.assertEqual(create().code, "E_BAD_REQUEST")
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, 50 << 10)


class Records(BedrockTest):
    def setUp(self):
        super().setUp()
        super().start({"provider": "anthropic", "anthropic_api_key": "sk-ant-x"})

    def test_what_sets_the_price(self):
        usage = {**USAGE, "service_tier": "batch", "speed": "fast", "inference_geo": "us",
                 "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 0}}
        for streamed in (False, True):
            with self.subTest(streamed=streamed):
                events = [start(**{**usage, "output_tokens": 1}), BLOCK, delta("Hi"),
                          *stop(server_tool_use=usage["server_tool_use"])]
                plan(PATH, chunks(events) if streamed else {"json": {**MESSAGE, "usage": usage}})
                more = {"output_config": {"effort": "high"}, "speed": "standard"}
                result = stream(**more)[1] if streamed else create(**more)
                self.assertEqual(result.code, "OK", result.message)
                self.assertHas(self.record(), speed="fast", effort="high", pricingTier="BATCH", actualServiceTier="batch",
                               attributes={"webSearchRequests": 3, "inferenceGeo": "us"})
                sandbox("DELETE", "/sandbox/records")
        plan(PATH, {"json": {**MESSAGE, "usage": usage}})
        create(usage_metadata={"speed": "standard", "effort": "low", "pricingTier": "STANDARD"})
        self.assertHas(self.record(), speed="standard", effort="low", pricingTier="STANDARD")

    def test_a_refusal_without_output_is_not_billed(self):
        refused = {**MESSAGE, "content": [], "stop_reason": "refusal", "usage": {**USAGE, "output_tokens": 0}}
        skipped = {"billingSkipped": True, "skipReason": "CONTENT_POLICY_VIOLATION", "stopReason": "ERROR"}
        for answer, want in [
            ({"json": refused}, skipped),
            (chunks([start(), *stop("refusal", output_tokens=0)[1:]]), skipped),
            (chunks([start(), BLOCK, delta("I"), *stop("refusal", output_tokens=2)]), {"billingSkipped": None}),
        ]:
            plan(PATH, answer)
            result = stream()[1] if "chunks" in answer else create()
            self.assertEqual(result.code, "OK")
            self.assertHas(self.record(), **want)
            sandbox("DELETE", "/sandbox/records")

    def test_what_came_of_a_broken_stream_is_counted(self):
        words = [delta("x" * 36) for _ in range(100)]
        for answer, stop_after in [(chunks([start(), BLOCK, *words], end="cut"), None),
                                   (chunks([start(), BLOCK, *words]), None),
                                   (chunks([start(), BLOCK, *words, sse(OVERLOADED)]), None),
                                   (chunks([start(), BLOCK, *words], end="stall"), 102)]:
            plan(PATH, answer)
            _, result = stream(stop_after=stop_after)
            self.assertNotEqual(result.code, "OK")
            self.assertHas(self.record(), outputTokenCount=1000, totalTokenCount=1025, attributes={"outputTokensEstimated": True})
            self.assertHas(result.info, usage_estimated=True, estimated_output_tokens=1000)
            self.assertEqual(result.usage.output, 1)
            sandbox("DELETE", "/sandbox/records")
        # This model writes two characters a token, and says so itself after 50.
        plan(PATH, {"json": {**MESSAGE, "content": [{"type": "text", "text": "x" * 1000}], "usage": {**USAGE, "output_tokens": 500}}},
             chunks([start(), BLOCK, *words], end="cut"),
             chunks([start(), BLOCK, *words, *stop(output_tokens=77)[:2]], end="cut"),
             chunks([start()], end="cut"))
        self.assertEqual(create().code, "OK")
        self.record()
        counts = []
        for _ in range(3):
            sandbox("DELETE", "/sandbox/records")
            self.assertEqual(stream()[1].code, "E_STREAM")
            record = self.record()
            counts.append((record["outputTokenCount"], record.get("attributes")))
        self.assertEqual(counts, [(1800, {"outputTokensEstimated": True}), (77, None), (1, None)])

    def test_names_are_cut_everywhere(self):
        long = "é" * 3000
        iterations = [{"type": "advisor_message", "model": long, "input_tokens": 1, "output_tokens": 1}] * 70
        message = {**MESSAGE, "id": long, "model": long, "usage": {**USAGE, "iterations": iterations}}
        plan(PATH, {"json": message})
        self.assertEqual(create().code, "OK")
        records = self.records(65)
        self.assertEqual(len({record["transactionId"] for record in records}), 65)
        for record in records:
            for name in ["transactionId", "model", "parentTransactionId"]:
                self.assertLessEqual(len(record.get(name) or ""), 255, name)

    def test_the_organization_is_whole(self):
        create(usage_metadata={"organizationName": "ö" * 1000})
        self.assertEqual(self.record()["organizationName"], "ö" * 1000)


class Closed(BedrockTest):
    """What is malformed and decides where prompts and keys go: the call is refused, and nothing is sent."""

    def test_a_malformed_variable_refuses_calls(self):
        program = "import os; from revenium import *; r = create(); print(r.code, len(requests('anthropic')), r.message)"
        for name, value in [("REVENIUM_BEDROCK_FALLBACK", "flase"), ("REVENIUM_PROVIDER", "bedrok"),
                            ("REVENIUM_BEDROCK_DISABLE", "2"), ("REVENIUM_BEDROCK_MODEL_MAP", "{"),
                            ("REVENIUM_BEDROCK_REGION_PREFIX", "E U"), ("ANTHROPIC_BASE_URL", "htp://127.0.0.1"),
                            ("REVENIUM_BODY_CHOICES", "of"), ("REVENIUM_ENV_FILE", "/nowhere"), ("ANTHROPIC_API_KEY", "a b"),
                            ("HTTPS_PROXY", "htp://127.0.0.1:9"), ("all_proxy", "http://"),
                            ("REVENIUM_METERING_BASE_URL", "nowhere")]:
            with self.subTest(name):
                variables = {**os.environ, "ANTHROPIC_API_KEY": "sk-ant-x", "PYTHONPATH": "tests/bedrock", name: value}
                for aws in KEYS:
                    variables.pop(aws, None)
                done = subprocess.run([sys.executable, "-B", "-c", program], env=variables, capture_output=True, text=True)
                self.assertTrue(done.stdout.startswith("E_CONFIG 0 "), done.stdout + done.stderr)
                if name != "REVENIUM_METERING_BASE_URL":
                    self.assertIn(name.removeprefix("REVENIUM_METERING_"), done.stdout)


if __name__ == "__main__":
    unittest.main()
