"""Clients of the official SDK for other services, whose requests pass untouched: the same bytes on the wire, one record
each. And calls that nobody but the program knows of."""

import asyncio
import json

import librevenium
import pytest
from conftest import SANDBOX, control, params, run

anthropic = pytest.importorskip("anthropic")
MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
VERTEX = "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-haiku-4-5@20251001"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-01"
KEYS = {"aws_access_key": "AKIDEXAMPLE12345678", "aws_secret_key": "wJalrXUtnFEMI/K7MDENG", "aws_region": "eu-west-1"}
MESSAGE = {
    "id": "msg_watched",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5-20251001",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 12, "output_tokens": 7},
}
EVENTS = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
]
SSE = {
    "headers": {"content-type": "text/event-stream"},
    "chunks": [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in EVENTS],
}


def plan(path, *answers):
    control("plan", "POST", {"path": path, "answers": list(answers)})


def bedrock(metered=True, **options):
    pytest.importorskip("botocore")
    pytest.importorskip("boto3")
    client = {"http_client": librevenium.http_client()} if metered else {}
    return anthropic.AnthropicBedrock(base_url=SANDBOX, **KEYS, **client, **options)


def wire(request):
    """What of a request does not change from one to the next."""
    varies = ("authorization", "x-amz-date", "connection", "x-stainless-retry-count", "x-request-id")
    return request["path"], request["raw"], {n: v for n, v in request["headers"].items() if n not in varies}


def has(record, **members):
    assert {name: record.get(name) for name in members} == members


def test_bedrock(sandbox):
    request = params(model=MODEL)
    plain = bedrock(metered=False).messages.create(**request)
    with librevenium.usage_metadata(agent="a"):
        message = bedrock().messages.create(**request)
    assert message.content == plain.content
    one, other = sandbox.requests()
    assert wire(one) == wire(other)
    (record,) = sandbox.records(1)
    has(record, provider="AWS", model=MODEL, region="eu-west-1", transactionId=message.id, isStreamed=False, agent="a")
    has(record, inputTokenCount=message.usage.input_tokens, outputTokenCount=message.usage.output_tokens)


def test_bedrock_streams(sandbox):
    with bedrock().messages.stream(**params(model=MODEL)) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == "You said: Hello"
    (record,) = sandbox.records(1)
    has(record, provider="AWS", model=MODEL, isStreamed=True, stopReason="END", transactionId=message.id)
    has(record, outputTokenCount=message.usage.output_tokens)
    assert "timeToFirstToken" in record


def test_bedrock_failures_are_one_record(sandbox):
    plan(f"/model/{MODEL}/invoke", {"status": 429}, {"status": 503}, {"status": 400})
    with pytest.raises(anthropic.BadRequestError):
        bedrock().messages.create(**params(model=MODEL))
    (record,) = sandbox.records(1)
    has(record, provider="AWS", stopReason="ERROR", errorCode=400, retryNumber=2)


def test_a_stream_that_is_given_up(sandbox):
    plan(f"{VERTEX}:streamRawPredict", {**SSE, "gap_ms": 50})
    with vertex().messages.create(**params(model="claude-haiku-4-5@20251001"), stream=True) as stream:
        next(iter(stream))
    (record,) = sandbox.records(1)
    has(record, stopReason="CANCELLED", inputTokenCount=12, isStreamed=True)


def vertex(**options):
    client = librevenium.http_client()
    return anthropic.AnthropicVertex(
        base_url=f"{SANDBOX}/v1", region="us-east5", project_id="p", access_token="t", http_client=client, **options
    )


def test_vertex(sandbox):
    plan(f"{VERTEX}:rawPredict", {"json": MESSAGE})
    plan(f"{VERTEX}:streamRawPredict", SSE)
    request = params(model="claude-haiku-4-5@20251001")
    vertex().messages.create(**request, extra_body={"usage_metadata": {"agent": "a"}})
    (record,) = sandbox.records(1)
    has(record, provider="Google", region="us-east5", model=MESSAGE["model"], agent="a", isStreamed=False)
    assert "usage_metadata" not in sandbox.requests()[0]["raw"]
    sandbox.reset()
    plan(f"{VERTEX}:streamRawPredict", SSE)
    assert len(list(vertex().messages.create(**request, stream=True))) == len(EVENTS)
    (record,) = sandbox.records(1)
    has(record, provider="Google", isStreamed=True, outputTokenCount=7, stopReason="END")


def test_foundry_and_asynchronously(sandbox):
    async def main():
        options = {"api_key": "k", "base_url": f"{SANDBOX}/anthropic"}
        async with anthropic.AsyncAnthropicFoundry(http_client=librevenium.async_http_client(), **options) as client:
            message = await client.messages.create(**params())
            async with client.messages.stream(**params()) as stream:
                async for _ in stream:
                    pass
        return message

    message = asyncio.run(main())
    records = sorted(sandbox.records(2), key=lambda record: record["isStreamed"])
    has(records[0], provider="Foundry", transactionId=message.id, isStreamed=False)
    has(records[1], provider="Foundry", isStreamed=True, stopReason="END")


def test_results_of_a_batch(sandbox):
    lines = [
        {"custom_id": "one", "result": {"type": "succeeded", "message": MESSAGE}},
        {"custom_id": "two", "result": {"type": "canceled"}},
        {"custom_id": "three", "result": {"type": "succeeded", "message": {**MESSAGE, "id": "msg_three"}}},
    ]
    batch = {
        "id": "msgbatch_watched",
        "type": "message_batch",
        "processing_status": "ended",
        "request_counts": {"processing": 0, "succeeded": 2, "errored": 0, "canceled": 1, "expired": 0},
        "created_at": "2026-11-23T00:00:00Z",
        "expires_at": "2026-11-24T00:00:00Z",
        "ended_at": "2026-11-23T01:00:00Z",
        "results_url": f"{SANDBOX}/v1/messages/batches/msgbatch_watched/results",
    }
    client = anthropic.Anthropic(base_url=SANDBOX, http_client=librevenium.http_client())
    text = "".join(json.dumps(line) + "\n" for line in lines)
    # Read twice, recorded once.
    for _ in range(2):
        plan("/v1/messages/batches/msgbatch_watched", {"json": batch})
        plan(
            "/v1/messages/batches/msgbatch_watched/results",
            {"chunks": [text[:100], text[100:]], "headers": {"content-type": "application/x-jsonl"}},
        )
        assert [result.custom_id for result in client.messages.batches.results("msgbatch_watched")] == ["one", "two", "three"]
    records = {record["transactionId"]: record for record in sandbox.records(2)}
    assert librevenium.flush(20000)
    assert len(sandbox.records(2)) == 2
    has(records["msgbatch_watched-one"], pricingTier="BATCH", inputTokenCount=12, outputTokenCount=7)
    has(records["msgbatch_watched-three"], pricingTier="BATCH")


def test_a_compressed_reply_is_read(sandbox):
    import gzip

    body = gzip.compress(json.dumps({**MESSAGE, "id": "msg_gzip"}).encode())
    import base64

    answer = {
        "chunks": [{"base64": base64.b64encode(body).decode()}],
        "headers": {"content-type": "application/json", "content-encoding": "gzip"},
    }
    plan(f"{VERTEX}:rawPredict", answer)
    assert vertex().messages.create(**params(model="claude-haiku-4-5@20251001")).id == "msg_gzip"
    (record,) = sandbox.records(1)
    has(record, transactionId="msg_gzip", outputTokenCount=7)


def test_record_and_tap(sandbox):
    with librevenium.usage_metadata(agent="scope"):
        done = librevenium.record(request=params(), response=MESSAGE, provider="foundry", started_at=1_795_392_233.412, duration_ms=5)
    assert done.metered and done.transaction_id.startswith("msg_watched")
    tap = librevenium.Tap(request=params(stream=True), provider="bedrock", model=MODEL)
    for chunk in SSE["chunks"]:
        tap.write(chunk.encode())
    tap.end()
    tap.end()
    tap.close()
    librevenium.Tap(request=params()).end({"status": 529})
    with pytest.raises(librevenium.ReveniumError) as raised:
        librevenium.record(request=params(), response=MESSAGE, provider="nobody")
    assert raised.value.code == "REVENIUM_E_ARGUMENT"
    records = {record["provider"] + record["stopReason"]: record for record in sandbox.records(3)}
    has(records["FoundryEND"], agent="scope", requestTime="2026-11-23T00:03:53.412Z")
    has(records["AWSEND"], model=MODEL, isStreamed=True)
    has(records["ANTHROPICERROR"], errorCode=529)


def tool_events():
    librevenium.flush(20000)
    return {event["body"]["toolId"]: event["body"] for event in json.loads(control("tool-events"))}


def test_tools(sandbox):
    @librevenium.meter_tool("decorated", workflow_id="w")
    def decorated(fail=False):
        if fail:
            raise KeyError("no")
        return 7

    @librevenium.meter_tool("coroutine")
    async def coroutine():
        return 8

    with librevenium.usage_metadata(agent="a"):
        done = librevenium.tool_event("plain", duration_ms=12.5, usage_metadata={"pages": 3})
        assert decorated() == 7 and asyncio.run(coroutine()) == 8
    assert done.metered
    with pytest.raises(KeyError), librevenium.meter_tool("failing"):
        decorated(fail=True)
    made = tool_events()
    has(made["plain"], agent="a", durationMs=12, usageMetadata={"pages": 3}, success=True, operation="execute")
    has(made["coroutine"], agent="a", success=True)
    has(made["failing"], success=False, errorMessage="KeyError")
    has(made["decorated"], workflowId="w", success=False)
    with pytest.raises(librevenium.ReveniumError):
        librevenium.tool_event("t", no_such=1)


@pytest.mark.parametrize("dropin, spans", [("false", 0), ("true", 1)])
def test_the_sdk_makes_its_own_spans(sandbox, dropin, spans):
    plan(f"{VERTEX}:rawPredict", {"text": json.dumps(MESSAGE), "headers": {"content-type": "application/json"}})
    program = f"""
import json, librevenium
with librevenium.http_client() as client:
    body = {{"anthropic_version": "vertex-2023-10-16", **{params()!r}}}
    answer = client.post({SANDBOX + VERTEX + ":rawPredict"!r}, json=body, headers={{"traceparent": {TRACEPARENT!r}}})
assert answer.status_code == 200, answer.text
librevenium.flush(20000)
counts = librevenium.status_json()["spans"]
print(counts["pending"] + counts["exported"] + sum(counts["dropped_by"].values()))
"""
    # Nobody listens there.
    env = {"REVENIUM_OTLP": "1", "REVENIUM_OTLP_ENDPOINT": "http://127.0.0.1:9", "REVENIUM_OTLP_DROPIN": dropin}
    assert run(program, env=env)[:2] == (0, f"{spans}\n")
    (record,) = sandbox.records(1)
    has(record, provider="Google", traceId=TRACEPARENT.split("-")[1])
