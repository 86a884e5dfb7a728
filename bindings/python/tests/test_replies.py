"""Replies as gateways hand them on: with our HTTP client the official SDK makes of them what it makes of them alone, or of
the same reply untouched where it is helpless alone. Each is one record."""

import json
import zlib
from base64 import b64encode

import librevenium
import pytest
from conftest import params

anthropic = pytest.importorskip("anthropic")

USAGE = {"input_tokens": 25, "output_tokens": 15}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
           "stop_sequence": None, "content": [{"type": "text", "text": "H\u00e4llo there."}], "usage": USAGE}  # fmt: skip
EVENTS = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None, "usage": {**USAGE, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "H\u00e4llo"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " there."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 15}},
    {"type": "message_stop"},
]
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}
JSON, SSE = "application/json", "text/event-stream"


def sse(*events):
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


def compressed(pieces, bits):
    """Each piece flushed, as who streams does."""
    coder = zlib.compressobj(9, zlib.DEFLATED, bits)
    return [coder.compress(piece) + coder.flush(zlib.Z_SYNC_FLUSH) for piece in pieces] + [coder.flush()]


def answer(pieces, kind, coding=None):
    headers = {"content-type": kind, **({"content-encoding": coding} if coding else {})}
    return {"chunks": [{"base64": b64encode(piece).decode()} for piece in pieces], "headers": headers}


def seen(base, http_client, stream):
    """What a program sees."""
    client = anthropic.Anthropic(base_url=base, max_retries=0, http_client=http_client)
    try:
        if not stream:
            message = client.messages.create(**params())
            return (message.content and message.content[0].text, message.usage and message.usage.to_dict(), message.type)
        with client.messages.stream(**params()) as streamed:
            kinds = [event.type for event in streamed]
            message = streamed.get_final_message()
            return (kinds, message.content[0].text, message.usage.to_dict())
    except Exception as error:
        return (type(error).__name__, getattr(error, "body", None))


@pytest.fixture(scope="module")
def ours():
    return librevenium.http_client()


@pytest.mark.parametrize("coding,bits", [("gzip", 31), ("deflate", 15), ("deflate", -15), ("gzip", None), ("br", None)])
@pytest.mark.parametrize("stream", [False, True])
def test_compression_is_undone(sandbox, ours, stream, coding, bits):
    pieces, kind = (sse(*EVENTS), SSE) if stream else ([json.dumps(MESSAGE).encode()], JSON)
    coded = pieces if bits is None else compressed(pieces, bits)
    plain = seen(sandbox.place(answer(pieces, kind)), None, stream)
    assert "H\u00e4llo there." in plain
    assert seen(sandbox.place(answer(coded, kind, coding)), ours, stream) == plain
    (record,) = sandbox.records(1)
    assert (record["outputTokenCount"], record["isStreamed"], record["stopReason"]) == (15, stream, "END")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("body", [OVERLOADED, {"error": {"message": "no", "code": 502}}])
def test_an_error_with_the_status_of_a_success_is_as_without(sandbox, ours, stream, body):
    planned = answer([json.dumps(body).encode()], JSON)
    alone = seen(sandbox.place(planned), None, stream)
    assert seen(sandbox.place(planned), ours, stream) == alone
    (record,) = sandbox.records(1)
    assert record["stopReason"] == "ERROR"


def test_an_error_event_is_as_without(sandbox, ours):
    planned = answer(sse(*EVENTS[:3], OVERLOADED), SSE)
    assert seen(sandbox.place(planned), ours, True) == seen(sandbox.place(planned), None, True)
    assert sandbox.records(1)[0]["stopReason"] == "ERROR"


@pytest.mark.parametrize("stream,pieces,kind", [
    (True, sse(*EVENTS), JSON), (True, sse(*EVENTS), "text/plain"), (True, [json.dumps(MESSAGE).encode()], SSE),
    (True, [json.dumps(MESSAGE).encode()], JSON), (False, [json.dumps(MESSAGE).encode()], SSE),
])  # fmt: skip
def test_what_is_mislabelled_is_as_without(sandbox, ours, stream, pieces, kind):
    planned = answer(pieces, kind)
    assert seen(sandbox.place(planned), ours, stream) == seen(sandbox.place(planned), None, stream)
    assert sandbox.records(1)[0]["outputTokenCount"] == 15
