"""Prompt capture: what Revenium's own SDK records of a call and masks in it, through the C ABI."""

import json
import os
import pathlib
from base64 import b64encode
from unittest import mock

from revenium import Test, create, lib, plan, sandbox, status

MASKING = json.loads((pathlib.Path(__file__).parent / "masking.json").read_text())
FIELDS = ["systemPrompt", "inputMessages", "outputResponse", "promptsTruncated"]
PLACEHOLDER = "***REDACTED***"
MARK = "...[TRUNCATED]"
KEY = "ahov29gnu18fmt07elsz6dkry5cjqx4bipw3ahov"
HELLO = [{"role": "user", "content": "Hello!"}]
TURNS = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
    {"role": "user", "content": [{"type": "text", "text": "three"}, {"type": "text", "text": "four"}]},
]
LONG = [
    {"role": "user", "content": "a" * 700},
    {"role": "assistant", "content": "b" * 700},
    {"role": "user", "content": "c" * 100},
]


def text(*blocks):
    return [{"type": "text", "text": block} for block in blocks]


def message(content):
    usage = {"input_tokens": 12, "output_tokens": 7}
    about = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929"}
    return {**about, "content": content, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}


def events(*blocks):
    """A stream of these blocks, each with its deltas."""
    yield {"type": "message_start", "message": {**message([]), "stop_reason": None}}
    for index, (block, *deltas) in enumerate(blocks):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}
    yield {"type": "message_stop"}


def stream(*blocks):
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events(*blocks))
    return {"chunks": [{"base64": b64encode(body.encode()).decode()}], "headers": {"content-type": "text/event-stream"}}


def said(part):
    return {"type": "text_delta", "text": part}


def cut(letter, limit):
    return letter * (limit - len(MARK)) + MARK


# About, settings, request, content of the reply, and what the record says. What it does not name is not there.
CASES = [
    ("off", {"capture_prompts": False}, {}, text("Hi."), {}),
    ("one message", {}, {}, text("Hi."), {"inputMessages": HELLO, "outputResponse": "Hi."}),
    ("several turns", {}, {"messages": TURNS}, text("Hi."), {"inputMessages": TURNS, "outputResponse": "Hi."}),
    ("two texts", {}, {}, text("One.", "Two."), {"inputMessages": HELLO, "outputResponse": "One.\nTwo."}),
    (
        "a system prompt",
        {},
        {"system": "Be kind."},
        text("Hi."),
        {"systemPrompt": "Be kind.", "inputMessages": HELLO, "outputResponse": "Hi."},
    ),
    (
        "a system prompt of blocks",
        {},
        {"system": text("A", "B")},
        text("Hi."),
        {"systemPrompt": json.dumps(text("A", "B"), separators=(",", ":")), "inputMessages": HELLO, "outputResponse": "Hi."},
    ),
    (
        "letters of many scripts",
        {},
        {"messages": [{"role": "user", "content": "é漢😀 ünï"}]},
        text("ça va 😀"),
        {"inputMessages": [{"role": "user", "content": "é漢😀 ünï"}], "outputResponse": "ça va 😀"},
    ),
    (
        "keys everywhere",
        {},
        {
            "system": f"key ghp_{KEY}",
            "messages": [{"role": "user", "content": f"use sk-ant-{KEY} and password=hunter2hunter2"}],
        },
        text(f"I will use sk-ant-{KEY}."),
        {
            "systemPrompt": f"key ghp_{PLACEHOLDER}",
            "inputMessages": [{"role": "user", "content": f"use sk-ant-{PLACEHOLDER} and password={PLACEHOLDER}"}],
            "outputResponse": f"I will use sk-ant-{PLACEHOLDER}.",
        },
    ),
    (
        "a key in JSON in a text",
        {},
        {"messages": [{"role": "user", "content": json.dumps({"api_key": KEY, "note": "fine"})}]},
        text("Hi."),
        {
            "inputMessages": [{"role": "user", "content": json.dumps({"api_key": PLACEHOLDER, "note": "fine"})}],
            "outputResponse": "Hi.",
        },
    ),
    (
        "exactly the limit",
        {"max_prompt_size": 200},
        {"system": "s" * 200, "messages": HELLO},
        text("z" * 200),
        {"systemPrompt": "s" * 200, "inputMessages": HELLO, "outputResponse": "z" * 200},
    ),
    (
        "a stream",
        {},
        {"stream": True},
        stream(({"type": "text", "text": ""}, said("Hello"), said(" there"))),
        {"inputMessages": HELLO, "outputResponse": "Hello there"},
    ),
    (
        "a stream that only calls a tool",
        {},
        {"stream": True},
        stream(
            (
                {"type": "tool_use", "id": "toolu_1", "name": "w", "input": {}},
                {"type": "input_json_delta", "partial_json": '{"city": "Rome"}'},
            )
        ),
        {"inputMessages": HELLO},
    ),
]


class Capture(Test):
    def one_record(self, request, answer=None, code="OK", **settings):
        """The record of one call. Nothing that it captured is in the log or in status."""
        sandbox("DELETE", "/sandbox/records")
        if answer is not None:
            plan("/v1/messages", answer)
        self.start(anthropic_api_key="sk-ant-test", max_retries=0, **{"capture_prompts": True, **settings})
        result = create({"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": HELLO, **request})
        self.assertEqual(result.code, code, result.message)
        self.assertEqual(lib.revenium_flush(30000), 0)
        told = json.dumps(status()) + "\n".join(self.lines)
        self.stop()
        (record,) = sandbox("GET", "/sandbox/records")
        record = record["body"]
        for field in FIELDS[:3]:
            self.assertNotIn(record.get(field, KEY), told)
        return record

    def test_what_is_recorded(self):
        for about, settings, request, content, expected in CASES:
            with self.subTest(about):
                answer = content if isinstance(content, dict) else {"json": message(content)}
                record = self.one_record(request, answer, **settings)
                if "inputMessages" in record:
                    record["inputMessages"] = json.loads(record["inputMessages"])
                if expected:
                    expected = {**expected, "promptsTruncated": False}
                self.assertEqual({field: record[field] for field in FIELDS if field in record}, expected)
                self.assertEqual(record["stopReason"], "END")

    def test_what_is_too_long_is_cut_and_says_so(self):
        for limit in [300, 1000]:
            with self.subTest(limit):
                request = {"system": "s" * 1500, "messages": LONG}
                record = self.one_record(request, {"json": message(text("z" * 1500))}, max_prompt_size=limit)
                self.assertEqual(record["systemPrompt"], cut("s", limit))
                self.assertEqual(record["outputResponse"], cut("z", limit))
                self.assertTrue(record["promptsTruncated"])
                self.assertLessEqual(len(record["inputMessages"]), limit)
                kept = json.loads(record["inputMessages"])
                self.assertEqual([turn["role"] for turn in kept], [turn["role"] for turn in LONG][-len(kept) :])
                for turn, whole in zip(reversed(kept), reversed(LONG)):
                    self.assertTrue(whole["content"].startswith(turn["content"].removesuffix(MARK)), turn)

    def test_what_is_masked(self):
        """Row by row, as content of messages: text beside its masked form."""
        messages = [{"role": "user", "content": row[0]} for row in MASKING]
        record = self.one_record({"messages": messages}, max_prompt_size=1_000_000)
        masked = [turn["content"] for turn in json.loads(record["inputMessages"])]
        self.assertEqual(len(masked), len(MASKING))
        for (whole, expected), found in zip(MASKING, masked):
            with self.subTest(whole):
                if found != expected:  # JSON may keep the spacing that it had
                    self.assertEqual(json.loads(found), json.loads(expected))

    def test_failed_calls_capture_nothing(self):
        refused = {"type": "invalid_request_error", "message": f"messages.0: sk-ant-{KEY} is bad"}
        answer = {"status": 400, "json": {"type": "error", "error": refused}}
        for settings, reason in [
            ({}, "BadRequestError (HTTP 400)"),
            ({"capture_prompts": False, "capture_error_messages": True}, "BadRequestError (HTTP 400)"),
            # An error's sentence has lost its secrets before it comes here.
            ({"capture_error_messages": True}, "BadRequestError: messages.0: sk-ant-[REDACTED] is bad (HTTP 400)"),
        ]:
            with self.subTest(settings):
                record = self.one_record({}, answer, "BAD_REQUEST", **settings)
                self.assertEqual([field for field in FIELDS if field in record], [])
                self.assertEqual(record["errorReason"], reason)

    def test_through_bedrock(self):
        keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE12345678", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG"}
        for streamed in [False, True]:
            with self.subTest(streamed), mock.patch.dict(os.environ, keys):
                request = {"system": f"hf_{KEY}", "messages": [{"role": "user", "content": "hi"}], "stream": streamed}
                record = self.one_record(request, provider="bedrock", aws_region="us-east-1")
                self.assertEqual(record["provider"], "AWS")
                self.assertEqual(record["systemPrompt"], f"hf_{PLACEHOLDER}")
                self.assertEqual(json.loads(record["inputMessages"]), request["messages"])
                self.assertIn("hi", record["outputResponse"])
