"""The official SDK with this package's HTTP client: it behaves as without, and every call is one record."""

import asyncio
import json

import librevenium
import pytest
from conftest import params, run

anthropic = pytest.importorskip("anthropic")


@pytest.fixture(scope="module")
def client():
    return anthropic.Anthropic(http_client=librevenium.http_client())


def asynchronous(function, **options):
    async def main():
        async with anthropic.AsyncAnthropic(http_client=librevenium.async_http_client(), **options) as client:
            await function(client)

    asyncio.run(main())


def test_create_is_as_without(sandbox, client):
    with librevenium.usage_metadata(organizationName="Acme"):
        metered = client.messages.create(**params(), extra_body={"usage_metadata": {"taskType": "greet"}})
    plain = anthropic.Anthropic().messages.create(**params())
    assert metered._request_id and metered.content == plain.content and metered.usage == plain.usage
    (record,) = sandbox.records(1)
    assert (record["organizationName"], record["taskType"]) == ("Acme", "greet")
    ours, theirs = sandbox.requests()
    assert ours["body"] == theirs["body"] == params()

    def headers(request):
        connection = {"host", "connection", "content-length", "accept-encoding", "x-request-id"}
        return {name: value for name, value in request["headers"].items() if name not in connection}

    assert headers(ours) == headers(theirs)


def test_stream(sandbox, client):
    with client.messages.stream(**params()) as stream:
        assert "".join(stream.text_stream) == "You said: Hello"
        assert stream.get_final_message().usage.output_tokens > 0
    kinds = [event.type for event in client.messages.create(**params(), stream=True)]
    assert kinds == [event.type for event in anthropic.Anthropic().messages.create(**params(), stream=True)]
    assert [record["isStreamed"] for record in sandbox.records(2)] == [True, True]


def test_raw_and_streaming_responses(sandbox, client):
    raw = client.messages.with_raw_response.create(**params())
    assert raw.status_code == 200 and raw.headers["request-id"] == raw.parse()._request_id
    assert raw.elapsed.total_seconds() > 0 and raw.http_response.request.method == "POST"
    with client.messages.with_streaming_response.create(**params()) as response:
        assert json.loads(response.read())["content"][0]["text"] == "You said: Hello"
    with client.messages.with_streaming_response.create(**params(), stream=True) as response:
        lines = list(response.iter_lines())
    assert "event: message_stop" in lines and any(line.startswith("data: {") for line in lines)
    sandbox.records(3)


def test_a_header_beyond_ascii(sandbox, client):
    base = sandbox.place({"headers": {"x-name": "\u00e9\u20ac"}})
    raw = client.with_options(base_url=base).messages.with_raw_response.create(**params())
    plain = anthropic.Anthropic(base_url=base).messages.with_raw_response.create(**params())
    assert raw.headers["x-name"] == plain.headers["x-name"]


def test_beta(sandbox, client):
    for each in (client, anthropic.Anthropic()):
        message = each.beta.messages.create(**params(), betas=["some-beta-2026-01-01"])
        assert message.content[0].text == "You said: Hello"
    ours, theirs = sandbox.requests()
    assert ours["headers"]["anthropic-beta"] == "some-beta-2026-01-01"
    assert (ours["path"], ours["query"]) == (theirs["path"], theirs["query"])
    sandbox.records(1)


def test_retries_are_one_record(sandbox, client):
    base = sandbox.place({"status": 529}, {"status": 503}, {})
    message = client.with_options(base_url=base).messages.create(**params())
    assert message.content[0].text == "You said: Hello"
    (record,) = sandbox.records(1)
    assert (record["retryNumber"], record["stopReason"]) == (2, "END")
    sandbox.reset()
    with pytest.raises(anthropic.RateLimitError) as raised:
        client.with_options(base_url=sandbox.place({"status": 429})).messages.create(**params())
    assert raised.value.status_code == 429 and raised.value.body["error"]["type"] == "rate_limit_error"
    assert librevenium.flush(20000)
    (record,) = sandbox.records(1)
    assert (record["retryNumber"], record["stopReason"]) == (2, "ERROR")
    assert len(sandbox.requests()) == 3


def test_max_retries_of_a_client(sandbox):
    client = anthropic.Anthropic(max_retries=0, http_client=librevenium.http_client(max_retries=0))
    with pytest.raises(anthropic.InternalServerError):
        client.with_options(base_url=sandbox.place({"status": 500})).messages.create(**params())
    assert sandbox.records(1)[0]["retryNumber"] == 0


def test_errors_are_as_without(sandbox, client):
    answers = [
        {"status": 400},
        {"status": 413},
        {"status": 404, "headers": {"content-type": "text/html"}, "text": "<p>not here</p>"},
        {"text": "<p>no message</p>", "headers": {"content-type": "text/html"}},
    ]
    for answer in answers:
        seen = []
        for each in (client, anthropic.Anthropic()):
            each = each.with_options(base_url=sandbox.place(answer), max_retries=0)
            try:
                seen.append(each.messages.create(**params()))
            except anthropic.APIError as error:
                body = error.body
                if isinstance(body, dict):
                    body = {name: value for name, value in body.items() if name != "request_id"}
                seen.append((type(error), getattr(error, "status_code", None), body))
        assert seen[0] == seen[1]
    for stream in (False, True):
        with pytest.raises(anthropic.APIConnectionError):
            nowhere = client.with_options(base_url="http://127.0.0.1:9", max_retries=0)
            nowhere.messages.create(**params(), stream=stream)
    with pytest.raises(anthropic.APIError) as raised:
        list(client.messages.create(**params(model="sandbox-error-event"), stream=True))
    assert raised.value.body["error"]["type"] == "overloaded_error"
    seen = []
    with pytest.raises(Exception) as raised:
        for event in client.messages.create(**params(model="sandbox-cut"), stream=True):
            seen.append(event.type)
    assert type(raised.value).__name__ == "RemoteProtocolError" and "content_block_delta" in seen


def test_timeouts(sandbox, client):
    stalled = client.with_options(base_url=sandbox.place("stall"), max_retries=0, timeout=0.2)
    for stream in (False, True):
        with pytest.raises(anthropic.APITimeoutError):
            stalled.messages.create(**params(), stream=stream)
    slow = client.with_options(base_url=sandbox.place({"deltas": 3, "end": "stall"}), timeout=0.2)
    with pytest.raises(Exception) as raised:
        list(slow.messages.create(**params(), stream=True))
    assert type(raised.value).__name__ == "ReadTimeout"

    async def main(client):
        stalled = client.with_options(base_url=sandbox.place("stall"), max_retries=0, timeout=0.2)
        for stream in (False, True):
            with pytest.raises(anthropic.APITimeoutError):
                await stalled.messages.create(**params(), stream=stream)

    asynchronous(main)
    assert len(sandbox.records(5)) == 5


def test_other_requests_go_out_untouched(sandbox, client):
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model="m", messages=params()["messages"])

    async def main(client):
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.count_tokens(model="m", messages=params()["messages"])

    asynchronous(main)
    for request in sandbox.requests():
        assert request["path"] == "/v1/messages/count_tokens"


def test_without_a_credential_none_of_ours_is_sent(sandbox):
    http = librevenium.http_client()
    answer = http.post(f"{sandbox.url}/v1/messages", json=params())
    assert answer.status_code == 401
    assert sandbox.requests()[0]["headers"].get("x-api-key", "") == ""


def test_what_the_library_refuses_goes_out_unmetered_without_our_members():
    program = """
import json, logging, os, urllib.request
import anthropic, librevenium
logging.basicConfig(format="%(name)s %(message)s")
client = anthropic.Anthropic(http_client=librevenium.http_client())
librevenium.init()
librevenium.shutdown()
for _ in range(2):
    extra = {"usage_metadata": {"agent": "a"}, "revenium": {"meter": True}}
    print(client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}], extra_body=extra).content[0].text)
"""
    status, out, err = run(program)
    assert (status, out) == (0, "You said: x\n" * 2)
    assert err.count("librevenium a call went out unmetered") == 1


def test_async(sandbox):
    async def main(client):
        message = await client.messages.create(**params())
        assert message.content[0].text == "You said: Hello"
        async with client.messages.stream(**params()) as stream:
            assert [text async for text in stream.text_stream] == ["You ", "said: ", "Hello"]
        async with client.messages.with_streaming_response.create(**params()) as response:
            assert json.loads(await response.read())["type"] == "message"
        with pytest.raises(anthropic.BadRequestError):
            await client.messages.create(**params(model="sandbox-400"))
        await asyncio.gather(*(client.messages.create(**params()) for _ in range(50)))

    asynchronous(main)
    assert len(sandbox.records(54)) == 54


def test_cancelling_a_task_and_leaving_a_stream(sandbox, client):
    slow = {"deltas": 1000, "gap_ms": 20}
    with client.with_options(base_url=sandbox.place(slow)).messages.stream(**params()) as stream:
        next(stream.text_stream)

    async def main(client):
        async with client.with_options(base_url=sandbox.place(slow)).messages.stream(**params()) as stream:
            async for _ in stream.text_stream:
                break
        stalled = client.with_options(base_url=sandbox.place("stall"))
        task = asyncio.ensure_future(stalled.messages.create(**params()))
        while len(sandbox.requests()) < 3:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while librevenium.status().calls_in_flight:
            await asyncio.sleep(0.005)

    asynchronous(main)
    assert [record["stopReason"] for record in sandbox.records(3)] == ["CANCELLED"] * 3


def test_numbers_keep_their_text(sandbox, client):
    http = librevenium.http_client()
    body = b'{ "model": "m", "max_tokens": 10, "temperature": 0.70, "x": 12345678901234567890.0, "messages": [{"role":"user","content":"\\u00e9"}] } '
    answer = http.post(
        f"{sandbox.url}/v1/messages", content=body, headers={"x-api-key": "k", "content-type": "application/json"}
    )
    assert answer.status_code == 200
    raw = sandbox.requests()[0]["raw"]
    assert '"temperature": 0.70' in raw and "12345678901234567890.0" in raw and "revenium" not in raw


def test_an_event_hook_and_a_timeout_of_the_users(sandbox):
    seen = []
    http = librevenium.http_client(timeout=7, event_hooks={"response": [lambda response: seen.append(response.status_code)]})
    client = anthropic.Anthropic(http_client=http)
    client.messages.create(**params())
    assert seen == [200] and http.timeout.read == 7
    client.close()
    assert http.is_closed
