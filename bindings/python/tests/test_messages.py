"""The names of the official SDK, without it."""

import asyncio
import gc
import json
import os
import signal
import threading
import time

import librevenium
import pytest
from conftest import control, params


def test_create(sandbox):
    message = librevenium.messages.create(**params("Hi"), usage_metadata={"taskType": "greet"})
    assert message.content[0].text == message.text == "You said: Hi"
    assert message.usage.output_tokens == message["usage"]["output_tokens"] > 0
    assert message.info["metered"] is True and message._request_id == message.info["request_id"]
    (record,) = sandbox.records(1)
    assert record["taskType"] == "greet" and record["middlewareSource"] == "revenium-anthropic-python"
    assert record["transactionId"] == message.id
    (request,) = sandbox.requests()
    assert request["body"] == params("Hi")


def test_create_with_stream(sandbox):
    with librevenium.messages.create(**params(), stream=True) as stream:
        kinds = [event.type for event in stream]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop" and "ping" not in kinds
    assert sandbox.records(1)[0]["isStreamed"] is True


def test_stream(sandbox):
    with librevenium.messages.stream(**params()) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 1 and "".join(pieces) == final.text == "You said: Hello"
    assert stream.current_message_snapshot == final
    with librevenium.messages.stream(**params()) as stream:
        assert stream.get_final_text() == "You said: Hello"
    sandbox.records(2)


def test_a_stream_may_be_read_on_another_thread(sandbox):
    stream = librevenium.messages.create(**params(), stream=True)
    kinds = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: kinds.append(next(stream).type))
        thread.start()
        thread.join()
    assert kinds[0] == "message_start" and len(kinds) == 3
    stream.close()


def test_leaving_a_stream_cancels_it(sandbox):
    slow = {"deltas": 1000, "gap_ms": 20}
    client = librevenium.Anthropic(base_url=sandbox.place(slow))
    with client.messages.stream(**params()) as stream:
        next(stream.text_stream)
    next(client.messages.create(**params(), stream=True))
    gc.collect()  # nobody has it any more

    async def main():
        asynchronous = librevenium.AsyncAnthropic(base_url=sandbox.place(slow))
        async with asynchronous.messages.stream(**params()) as stream:
            async for _ in stream.text_stream:
                break
        stalled = librevenium.AsyncAnthropic(base_url=sandbox.place("stall"))
        call = asyncio.ensure_future(stalled.messages.create(**params()))
        await asyncio.sleep(0)
        sandbox.wait(requests=4)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        while librevenium.status().calls_in_flight:
            await asyncio.sleep(0.005)

    asyncio.run(main())
    assert [record["stopReason"] for record in sandbox.records(4)] == ["CANCELLED"] * 4


def test_a_closed_stream_says_so(sandbox):
    client = librevenium.Anthropic(base_url=sandbox.place({"deltas": 1000, "gap_ms": 20}))
    stream = client.messages.create(**params(), stream=True)
    stream.close()
    stream.close()
    with pytest.raises(librevenium.APICancelledError):
        for _ in stream:
            pass


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, librevenium.BadRequestError),
        (401, librevenium.AuthenticationError),
        (402, librevenium.PaymentRequiredError),
        (403, librevenium.PermissionDeniedError),
        (404, librevenium.NotFoundError),
        (408, librevenium.RequestTimeoutError),
        (409, librevenium.ConflictError),
        (413, librevenium.RequestTooLargeError),
        (418, librevenium.APIStatusError),
        (422, librevenium.UnprocessableEntityError),
        (429, librevenium.RateLimitError),
        (500, librevenium.InternalServerError),
        (529, librevenium.OverloadedError),
    ],
)
def test_errors_of_the_provider(sandbox, status, kind):
    client = librevenium.Anthropic(max_retries=0, base_url=sandbox.place({"status": status}))
    for call in (client.messages.create, lambda **p: client.messages.create(stream=True, **p)):
        with pytest.raises(librevenium.APIStatusError) as raised:
            call(**params())
        error = raised.value
        assert type(error) is kind and error.status_code == status
        assert error.body["type"] == "error" and error.type == error.body["error"]["type"]
        assert error.request_id and error.code.startswith("REVENIUM_E_")


def test_errors_on_the_way(sandbox):
    nowhere = librevenium.Anthropic(base_url="http://127.0.0.1:9", max_retries=0)
    with pytest.raises(librevenium.APIConnectionError):
        nowhere.messages.create(**params())
    stalled = librevenium.Anthropic(base_url=sandbox.place("stall"), max_retries=0, timeout=0.2)
    with pytest.raises(librevenium.APITimeoutError):
        stalled.messages.create(**params())
    with pytest.raises(librevenium.APITimeoutError):
        stalled.messages.create(**params(), stream=True)
    cut = librevenium.Anthropic(base_url=sandbox.place({"end": "cut", "deltas": 3}))
    seen = []
    with pytest.raises(librevenium.APIConnectionError):
        for event in cut.messages.create(**params(), stream=True):
            seen.append(event.type)
    assert seen.count("content_block_delta") > 0
    with pytest.raises(librevenium.OverloadedError) as raised:
        list(librevenium.messages.create(**params(model="sandbox-error-event"), stream=True))
    assert raised.value.status_code is None and raised.value.type == "overloaded_error"

    async def main():
        stalled = librevenium.AsyncAnthropic(base_url=sandbox.place("stall"), max_retries=0, timeout=0.2)
        with pytest.raises(librevenium.APITimeoutError):
            await stalled.messages.create(**params())
        with pytest.raises(librevenium.APITimeoutError):
            await stalled.messages.create(**params(), stream=True)

    asyncio.run(main())


def test_a_request_that_is_refused_says_why(sandbox):
    with pytest.raises(librevenium.ReveniumError) as raised:
        librevenium.messages.create(**params(), extra_body={"revenium": {"timeout_ms": "soon"}})
    assert raised.value.code.startswith("REVENIUM_E_") and "timeout_ms" in str(raised.value)


def test_a_large_reply(sandbox):
    text = "x" * 3_000_000
    client = librevenium.Anthropic(base_url=sandbox.place({"reply": text}))
    assert client.messages.create(**params()).text == text
    assert asyncio.run(librevenium.async_messages.create(**params())).text == "You said: Hello"


def test_headers_and_options_of_a_client(sandbox):
    base = sandbox.place()
    client = librevenium.Anthropic(base_url=base, auth_token="token", default_headers={"X-One": "1", "X-Two": "2"})
    client.messages.create(**params(), extra_headers={"x-two": "3"})
    (request,) = sandbox.requests()
    headers = request["headers"]
    assert (headers["authorization"], headers["x-one"], headers["x-two"]) == ("Bearer token", "1", "3")


def test_tools_and_thinking_in_a_stream(sandbox):
    events = [
        {
            "type": "message_start",
            "message": {
                "id": "m",
                "type": "message",
                "role": "assistant",
                "model": "c",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 1, "output_tokens": 1},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "n", "input": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a": '}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "[1]}"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]
    import json

    lines = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    answer = {"headers": {"content-type": "text/event-stream"}, "text": lines}
    client = librevenium.Anthropic(base_url=sandbox.place(answer))
    with client.messages.stream(**params()) as stream:
        kinds = [event.type for event in stream]
        assert "thinking" in kinds and "signature" in kinds and kinds.count("input_json") == 2
        final = stream.get_final_message()
    assert final.content[1].input == {"a": [1]} and final.usage.output_tokens == 7
    assert stream.current_message_snapshot == final


def test_a_signal_reaches_whoever_waits(sandbox):
    class Rung(Exception):
        pass

    def ring(*_):
        raise Rung

    client = librevenium.Anthropic(base_url=sandbox.place("stall"))
    before = signal.signal(signal.SIGUSR1, ring)
    try:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(Rung):
            client.messages.create(**params())
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert sandbox.records(1)[0]["stopReason"] == "CANCELLED"


def test_each_event_loop_has_a_queue_of_its_own_and_none_is_left(sandbox):
    from librevenium import _core

    def descriptors():
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    # The library's own connections come and go too: a handful, whatever the number of loops.
    loops = 30

    async def two():
        await asyncio.gather(*(librevenium.async_messages.create(**params()) for _ in range(2)))
        assert len(_core.process().loops) >= 1

    asyncio.run(two())
    before = descriptors()
    for _ in range(loops):
        asyncio.run(two())
    assert descriptors() < before + loops and len(_core.process().loops) == 0
    sandbox.records(2 + 2 * loops)


def test_status(sandbox):
    before = librevenium.status()
    librevenium.messages.create(**params())
    assert librevenium.flush(20000) is True
    state = librevenium.status()
    assert state.initialized and state.metering == "on" and state.provider == "anthropic"
    assert state.calls_started == before.calls_started + 1 and state.events_pending == 0
    assert librevenium.is_initialized()
    assert librevenium.status_json()["settings"]["middleware_source"] == "revenium-anthropic-python"
    assert "sk-ant-sandbox" not in str(librevenium.status_json())
    assert asyncio.run(librevenium.aflush(20000)) is True


def test_a_stream_that_nobody_reads_is_not_read_from_the_network(sandbox):
    # Far more than sockets hold.
    huge = {"deltas": 800, "delta_bytes": 20000}

    def open_streams():
        return json.loads(control("stats"))["streams_open"]

    def left_open():
        return librevenium.status().calls_in_flight

    base_url = sandbox.place(huge)
    client = librevenium.Anthropic(base_url=base_url)
    with client.messages.create(**params(), stream=True) as stream:
        next(stream)
        librevenium.messages.create(**params())
        time.sleep(1)
        assert open_streams() >= 1
        assert sum(event.type == "content_block_delta" for event in stream) == huge["deltas"]

    async def slowly():
        own = librevenium.AsyncAnthropic(base_url=base_url)
        other = librevenium.AsyncAnthropic()
        stream = await own.messages.create(**params(), stream=True)
        await stream.__aiter__().__anext__()
        await other.messages.create(**params())
        await asyncio.sleep(1)
        assert open_streams() >= 1
        deltas = 0
        async for event in stream:
            if event.type == "content_block_delta":
                deltas += 1
                if deltas % 100 == 0:
                    await other.messages.create(**params("in the loop"))
        assert deltas == huge["deltas"]
        # One that is left while it stands still ends all the same.
        left = await own.messages.create(**params(), stream=True)
        await left.__aiter__().__anext__()
        await left.close()
        while left_open():
            await asyncio.sleep(0.01)

    asyncio.run(slowly())


def test_counts_are_whole_numbers_however_they_were_written(sandbox):
    message = {"type": "message", "id": "msg_1", "role": "assistant", "model": "m", "content": []}
    for given, want in [
        ({"input_tokens": 12.0, "output_tokens": "7"}, {"input_tokens": 12, "output_tokens": 7}),
        ({"input_tokens": "6.9e1", "output_tokens": 1.5}, {"input_tokens": 69, "output_tokens": 1}),
        ({"input_tokens": "many", "output_tokens": True}, {"input_tokens": 0, "output_tokens": 0}),
        ({"input_tokens": [1], "output_tokens": None}, {"input_tokens": 0, "output_tokens": None}),
        ({"input_tokens": "0x10", "output_tokens": "1_0"}, {"input_tokens": 0, "output_tokens": 0}),
        (None, None),
    ]:
        client = librevenium.Anthropic(base_url=sandbox.place({"json": {**message, "usage": given}}), api_key="k")
        assert client.messages.create(**params()).usage == want
        events = [
            {"type": "message_start", "message": {**message, "usage": given}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": given},
            {"type": "message_stop"},
        ]
        chunks = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
        client = librevenium.Anthropic(base_url=sandbox.place({"chunks": chunks}), api_key="k")
        with client.messages.stream(**params()) as stream:
            for _ in stream:
                pass
            assert stream.get_final_message().usage == want
            assert (stream.current_message_snapshot.usage or None) == want
