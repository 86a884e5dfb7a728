"""Event streams: the same events and the same message as from Anthropic itself, and every way they can break."""

import json
import re
import threading
from base64 import b64decode

from botocore.eventstream import EventStreamBuffer
from revenium import *

EVENTS = [
    '{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],'
    '"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":12,"cache_read_input_tokens":3,"output_tokens":1}}}',
    '{"type":"ping"}',
    '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
    '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"caf\\u00e9 "}}',
    '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"🌍"}}',
    '{"type":"content_block_stop","index":0}',
    '{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t1","name":"n","input":{}}}',
    '{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\\"a\\": 12345678901234567890}"}}',
    '{"type":"content_block_stop","index":1}',
    '{"type":"an_event_of_tomorrow","x": 1.0e2}',
    '{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":7}}',
    '{"type":"message_stop"}',
]
START = EVENTS[:5]
DATA = b"".join(map(chunk, EVENTS))


def sse(events):
    return "".join(f"event: {json.loads(event)['type']}\ndata: {event}\n\n" for event in events)


class Streams(BedrockTest):
    def test_events_and_message_are_those_of_the_direct_api(self):
        self.start({"anthropic_api_key": "sk-ant-x"})
        plan("/v1/messages", {"chunks": [sse(EVENTS)]})
        direct_events, direct = stream(revenium={"provider": "anthropic"})
        self.assertEqual((direct.code, direct_events), ("OK", EVENTS))
        for size in [1, 7, 100, 1000, len(DATA)]:
            with self.subTest(size=size):
                plan(STREAM_PATH, framed(DATA, size))
                events, result = stream(revenium={"provider": "bedrock"})
                self.assertEqual(events, EVENTS)
                self.assertEqual((result.code, result.raw, result.text), ("OK", direct.raw, "café 🌍"))
                self.assertEqual((result.usage.input, result.usage.output, result.usage.cache_read), (12, 7, 3))
        # They come in any order. All answers have one message id, which only the first call's record has as it is.
        records = sorted(self.records(6), key=lambda record: record["provider"])
        self.assertEqual([record["provider"] for record in records], ["ANTHROPIC"] + ["AWS"] * 5)
        self.assertEqual(len({record["transactionId"] for record in records}), 6)
        same = ["stopReason", "inputTokenCount", "outputTokenCount", "cacheReadTokenCount", "isStreamed"]
        for record in records[1:]:
            self.assertEqual([record[name] for name in same], [records[0][name] for name in same])
            self.assertHas(record, model=ID, region="us-east-1", isStreamed=True)
            self.assertIn("timeToFirstToken", record)
        ids = [record["transactionId"] for record in records]
        self.assertEqual(ids[0], "msg_1")
        self.assertTrue(all(id.startswith("msg_1-") for id in ids[1:]), ids)

    def test_what_others_receive_is_read_as_it_passes_by(self):
        self.start({})
        for size in [1, 7, 1000, len(DATA)]:
            tap = self.tap(size)
            for at in range(0, len(DATA), size):
                lib.revenium_tap_write(tap, DATA[at : at + size], len(DATA[at : at + size]))
            self.assertEqual(lib.revenium_tap_end(tap, None, 0), 0)
            lib.revenium_release(tap)
        for record in self.records(4):
            # The body does not say whose it is, the frames do.
            self.assertHas(record, provider="AWS", model=ID, isStreamed=True, stopReason="END_SEQUENCE")
            self.assertHas(record, inputTokenCount=12, outputTokenCount=7, cacheReadTokenCount=3)
            self.assertIn("timeToFirstToken", record)

    def test_an_exception_in_what_passes_by_is_a_failure(self):
        self.start({})
        tap, data = self.tap(0), b"".join(map(chunk, START)) + exception("throttlingException", {"message": "slow"})
        lib.revenium_tap_write(tap, data, len(data))
        lib.revenium_tap_end(tap, None, 0)
        lib.revenium_release(tap)
        [record] = self.records(1)
        self.assertHas(record, stopReason="ERROR", inputTokenCount=12, transactionId="msg_1")

    def tap(self, number):
        text, handle = request(model=ID, usage_metadata={"trace_id": f"tap-{number}"}), H()
        self.assertEqual(lib.revenium_tap_new(text, len(text), H(1), C.byref(handle)), 0)
        return handle.value

    def test_queue_and_callbacks_get_them_too(self):
        self.start()
        plan(STREAM_PATH, framed(DATA, 50))
        frames, result = submit(request(stream=True))
        self.assertEqual([kind for kind, _ in frames], [HEAD_FRAME] + [EVENT_FRAME] * len(EVENTS) + [RESULT_FRAME])
        self.assertEqual([body for kind, body in frames if kind == EVENT_FRAME], EVENTS)
        self.assertHas(json.loads(frames[0][1]), provider="bedrock", http_status=200)
        self.assertEqual(result.code, "OK")

        events, done, call = [], threading.Event(), H()
        on_event = ON_EVENT(lambda _, e: events.append(C.string_at(e.contents.json, e.contents.json_len).decode()) or 0)
        on_done = ON_DONE(lambda _, result: done.set())
        text = request()
        self.assertEqual(lib.revenium_messages_start(text, len(text), 1, on_event, on_done, None, C.byref(call)), 0)
        self.assertTrue(done.wait(30))
        self.assertEqual((Result(call.value).code, events), ("OK", EVENTS))

    def test_create_streams_underneath_where_it_takes_long(self):
        self.start()
        plan(STREAM_PATH, framed(DATA, 64))
        result = create(max_tokens=64000)
        self.assertEqual((result.code, result.text), ("OK", "café 🌍"))
        self.assertEqual(requests()[0]["path"], STREAM_PATH)

    def test_a_second_codec_reads_what_the_sandbox_streams(self):
        self.start()
        events, _ = stream()
        sent = requests()[0]
        headers = {name: sent["headers"][name] for name in ["authorization", "x-amz-date", "content-type"]}
        call = urllib.request.Request(SANDBOX + STREAM_PATH, data=sent["raw"].encode(), headers=headers)
        buffer = EventStreamBuffer()
        buffer.add_data(urllib.request.urlopen(call).read())
        decoded = []
        for message in buffer:
            self.assertEqual(message.headers[":event-type"], "chunk")
            decoded.append(b64decode(json.loads(message.payload)["bytes"]).decode())
        unnumbered = lambda event: re.sub(r"msg_bdrk_sandbox_\d+", "", event)
        self.assertEqual(list(map(unnumbered, decoded)), list(map(unnumbered, events)))

    def test_a_second_codec_reads_what_these_tests_stream(self):
        buffer = EventStreamBuffer()
        buffer.add_data(DATA + exception("throttlingException", {"message": "m"}))
        frames = list(buffer)
        self.assertEqual([b64decode(json.loads(f.payload)["bytes"]).decode() for f in frames[:-1]], EVENTS)
        self.assertEqual(frames[-1].headers[":exception-type"], "throttlingException")

    def test_metrics_count_where_the_message_does_not(self):
        self.start()
        bare = ['{"type":"message_start","message":{"id":"m","type":"message","model":"claude-x","content":[]}}',
                '{"type":"message_delta","delta":{"stop_reason":"end_turn"}}']
        metrics = ('"amazon-bedrock-invocationMetrics":{"inputTokenCount":31,"outputTokenCount":5,'
                   '"cacheReadInputTokenCount":9,"invocationLatency":7,"firstByteLatency":3}')
        for ending in [[f'{{"type":"message_stop",{metrics}}}'], [f"{{{metrics}}}", '{"type":"message_stop"}']]:
            sandbox("DELETE", "/sandbox/records")
            plan(STREAM_PATH, framed(b"".join(map(chunk, bare + ending)), 4096))
            events, result = stream()
            # A chunk that is no event of the Messages API is none for the caller.
            self.assertEqual(events, bare + ending[-1:])
            self.assertEqual((result.usage.input, result.usage.output), (31, 5))
            self.assertHas(self.record(), inputTokenCount=31, outputTokenCount=5, cacheReadTokenCount=9)

    def test_frames_that_are_newer_than_the_library_are_passed_over(self):
        self.start()
        new = frame({":message-type": "event", ":event-type": "ofTomorrow", ":content-type": "application/json"}, b"{}")
        plan(STREAM_PATH, framed(DATA[:len(chunk(EVENTS[0]))] + new + DATA[len(chunk(EVENTS[0])):], 100))
        self.assertEqual(stream()[0], EVENTS)


class BrokenStreams(BedrockTest):
    def broken(self, code, answer=None, wish=None, calls=1, **more):
        """What arrived before the end is delivered and metered, and nobody is asked again."""
        # There is a way to Anthropic, which must not be taken any more.
        self.start({"provider": "bedrock", "anthropic_api_key": "sk-ant-x", "max_retries": 2, "quote_errors": False, **more})
        if answer is not None:
            plan(STREAM_PATH, answer)
        choices = {"revenium": {"headers": {"x-sandbox": wish}}} if wish else {}
        events, result = stream(**choices)
        self.assertEqual(result.code, code, result.message)
        self.assertIn("content_block_delta", events[-1] if answer is not None else "".join(events))
        self.assertEqual(len(sandbox("GET", "/sandbox/requests")), calls)
        record = self.record()
        self.assertHas(record, provider="AWS", stopReason="ERROR", isStreamed=True)
        self.assertHas(result.info, provider="bedrock", http_status=200)
        self.assertNotIn("fallback", result.info)
        self.assertNotIn("secret-word", result.message + json.dumps(record))
        self.assertEqual(result.json["type"], "error")
        lib.revenium_shutdown(5000)
        sandbox("DELETE", "/sandbox/requests")
        sandbox("DELETE", "/sandbox/records")
        return result, record

    def test_exceptions(self):
        start = b"".join(map(chunk, START))
        for kind, payload, code in [
            ("throttlingException", {}, "E_RATE_LIMIT"),
            ("validationException", {}, "E_BAD_REQUEST"),
            ("internalServerException", {}, "E_INTERNAL_SERVER"),
            ("serviceUnavailableException", {}, "E_INTERNAL_SERVER"),
            ("modelTimeoutException", {}, "E_INTERNAL_SERVER"),
            ("modelStreamErrorException", {}, "E_INTERNAL_SERVER"),
            ("modelStreamErrorException", {"originalStatusCode": 529, "originalMessage": "x"}, "E_OVERLOADED"),
            ("ofTomorrowException", {}, "E_INTERNAL_SERVER"),
        ]:
            with self.subTest(kind=kind):
                payload = {"message": "secret-word", **payload}
                result, record = self.broken(code, framed(start + exception(kind, payload), 100))
                self.assertIn(kind, result.message)
                self.assertEqual(json.loads(result.json["error"]["body"]), payload)
                self.assertEqual((result.text, result.usage.input), ("café 🌍", 12))
                self.assertHas(record, inputTokenCount=12, cacheReadTokenCount=3, transactionId="msg_1", model=ID)

    def test_error_frames_and_error_events(self):
        start = b"".join(map(chunk, START))
        headers = {":message-type": "error", ":error-code": "InternalError", ":error-message": "secret-word"}
        result, _ = self.broken("E_INTERNAL_SERVER", framed(start + frame(headers, b""), 100))
        self.assertIn("InternalError", result.message)
        event = '{"type":"error","error":{"type":"overloaded_error","message":"secret-word"}}'
        result, _ = self.broken("E_OVERLOADED", framed(start + chunk(event), 100))
        self.assertEqual(result.raw, event)

    def test_what_the_network_does(self):
        start = b"".join(map(chunk, START))
        wrong = bytearray(start + chunk(EVENTS[5]))
        wrong[-1] ^= 0xff
        for what, answer in {
            "checksum": framed(bytes(wrong), 100),
            "unfinished": framed(start + chunk(EVENTS[5])[:30], 100),
            "no message_stop": framed(start, 100),
            "cut": {**framed(start, 100), "end": "cut"},
            "reset": {**framed(start, 100), "end": "reset", "gap_ms": 5},
        }.items():
            with self.subTest(what=what):
                result, _ = self.broken("E_STREAM", answer)
                self.assertEqual(result.text, "café 🌍")

    def test_the_sandboxes_own_faults(self):
        for wish, code in [("frames=error", "E_INTERNAL_SERVER"), ("frames=unfinished", "E_STREAM"),
                           ("frames=no-stop", "E_STREAM"), ("frames=bad-crc", "E_STREAM"),
                           ("error=overloaded_error", "E_OVERLOADED"), ("exception=throttlingException", "E_RATE_LIMIT")]:
            with self.subTest(wish=wish):
                self.broken(code, wish=wish)

    def test_silence(self):
        answer = {**framed(b"".join(map(chunk, START)), 100), "end": "stall"}
        result, _ = self.broken("E_TIMEOUT", answer, read_timeout_ms=300)
        self.assertEqual(result.text, "café 🌍")

    def test_a_stream_that_never_began(self):
        self.start()
        plan(STREAM_PATH, framed(exception("throttlingException", {"message": "m"}), 100))
        events, result = stream()
        self.assertEqual((events, result.code), ([], "E_RATE_LIMIT"))
        self.assertHas(self.record(), provider="AWS", stopReason="ERROR", model=ID)


class Cancelled(BedrockTest):
    def test_in_the_middle(self):
        self.start()
        slow = {"revenium": {"headers": {"x-sandbox": "deltas=1000; gap_ms=20"}}}
        events, result = stream(stop_after=5, **slow)
        self.assertEqual((result.code, len(events)), ("E_CANCELLED", 5))
        cancel = lambda kind, call: kind == EVENT_FRAME and lib.revenium_call_cancel(call)
        frames, result = submit(request(stream=True, **slow), cancel)
        self.assertEqual((result.code, frames[-1][0]), ("E_CANCELLED", RESULT_FRAME))
        for record in self.records(2):
            self.assertHas(record, stopReason="CANCELLED", provider="AWS", model=ID)
            self.assertGreater(record["inputTokenCount"], 0)
        # The connections are closed, so that the model stops.
        sandbox("GET", "/sandbox/wait?client_disconnects=2")

    def test_before_the_answer(self):
        self.start()
        call, queue = H(), H()
        lib.revenium_queue_new(C.byref(queue))
        text = request(revenium={"headers": {"x-sandbox": "delay_ms=30000"}})
        self.assertEqual(lib.revenium_messages_submit(text, len(text), 1, queue, 1, C.byref(call)), 0)
        sandbox("GET", "/sandbox/wait?requests=1")
        lib.revenium_call_cancel(call)
        buffer, used = (C.c_uint64 * 8192)(), C.c_size_t()
        self.assertEqual(lib.revenium_queue_read(queue, buffer, C.sizeof(buffer), 10000, C.byref(used)), 0)
        self.assertEqual(Result(call.value).code, "E_CANCELLED")
        self.assertHas(self.record(), stopReason="CANCELLED", provider="AWS")
