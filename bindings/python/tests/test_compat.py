"""`import revenium_middleware_anthropic`: nothing else changes."""

import json

import pytest
from conftest import run

anthropic = pytest.importorskip("anthropic")

BEGIN = """
import asyncio, json, logging, os, urllib.request
import anthropic
logging.basicConfig(format="%(name)s %(message)s")
before, before_async = anthropic.Anthropic(), anthropic.AsyncAnthropic()
before.messages, before_async.messages
import revenium_middleware_anthropic
from revenium_middleware import revenium_metadata, revenium_meter
P = dict(model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}])
"""
END = """
revenium_middleware_anthropic.flush(20000)
get = lambda path: json.load(urllib.request.urlopen(os.environ["SANDBOX_URL"] + path))
print(json.dumps([record["body"] for record in get("/sandbox/records")]))
assert not any("usage_metadata" in request["raw"] for request in get("/sandbox/requests"))
"""


def program(sandbox, text, **options):
    """The records, and what was logged."""
    status, out, err = run(BEGIN + text + END, **options)
    assert status == 0, err
    return json.loads(out.splitlines()[-1]), err


def test_every_method_of_every_client_takes_usage_metadata(sandbox):
    records, err = program(
        sandbox,
        """
assert revenium_middleware_anthropic.is_initialized()
number = iter(range(100))
def more(): return {**P, "usage_metadata": {"task_type": f"t{next(number)}"}}
for client in (before, anthropic.Anthropic(), before.with_options(timeout=30)):
    for messages in (client.messages, client.beta.messages):
        messages.create(**more())
        list(messages.create(**more(), stream=True))
        with messages.stream(**more()) as stream: stream.get_final_message()
        messages.with_raw_response.create(**more()).parse()
async def main():
    for client in (before_async, anthropic.AsyncAnthropic()):
        for messages in (client.messages, client.beta.messages):
            await messages.create(**more())
            async for _ in await messages.create(**more(), stream=True): pass
            async with messages.stream(**more()) as stream: await stream.get_final_message()
            assert (await messages.with_raw_response.create(**more())).status_code == 200
asyncio.run(main())
""",
    )
    assert [record["taskType"] for record in records] == [f"t{number}" for number in range(40)]
    assert err == ""


def test_methods_stay_what_they_are(sandbox):
    program(
        sandbox,
        """
import inspect
assert "max_tokens" in inspect.signature(anthropic.resources.Messages.create).parameters
try: before.messages.create(model="m")
except TypeError as error: assert "max_tokens" in str(error)
else: raise SystemExit(1)
import importlib; importlib.reload(revenium_middleware_anthropic)
before.messages.create(**P)
""",
    )
    assert len(sandbox.records(1)) == 1


def test_decorators_nest_and_merge(sandbox):
    records, _ = program(
        sandbox,
        """
@revenium_metadata(organization_name="Acme", task_type="outer", subscriber={"id": "1", "email": "a@b.example"})
def outer():
    before.messages.create(**P)
    inner()
    with revenium_metadata(task_type="with"):
        before.messages.create(**P, usage_metadata={"agent": "call"})
@revenium_metadata(taskType="inner", organization_name="", subscriber={"id": "2"})
@revenium_meter()
def inner(): before.messages.create(**P)
outer()
@revenium_meter(metadata={"agent": "metered"}, name="some")
async def metered(): await before_async.messages.create(**P)
asyncio.run(metered())
@revenium_meter
def bare(): before.messages.create(**P)
bare()
""",
    )
    seen = [(record.get("organizationName"), record.get("taskType"), record.get("agent")) for record in records]
    assert seen == [
        ("Acme", "outer", None), ("Acme", "inner", None), ("Acme", "with", "call"), (None, None, "metered"), (None, None, None)
    ]  # fmt: skip
    assert records[1]["subscriber"] == {"id": "2"}


def test_selective_metering(sandbox):
    records, _ = program(
        sandbox,
        """
@revenium_meter()
def marked(): before.messages.create(**P, usage_metadata={"agent": "marked"})
marked()
before.messages.create(**P, usage_metadata={"agent": "not"})
""",
        env={"REVENIUM_SELECTIVE_METERING": "true"},
    )
    assert [record["agent"] for record in records] == ["marked"]


def test_retries_are_one_record_whatever_the_client_chose(sandbox):
    records, _ = program(
        sandbox,
        """
for retries in (0, 1, 3):
    try: before.with_options(max_retries=retries).messages.create(**{**P, "model": "sandbox-overloaded"})
    except anthropic.APIStatusError as error: assert error.status_code == 529
    else: raise SystemExit(1)
""",
    )
    assert [record["retryNumber"] for record in records] == [0, 1, 3]


def test_bad_metadata_fails_no_call(sandbox):
    records, err = program(
        sandbox,
        """
before.messages.create(**P, usage_metadata=None)
before.messages.create(**P, usage_metadata=["x"])
before.messages.create(**P, usage_metadata={"agent": "kept", "trace_id": object()})
before.messages.create(**P, usage_metadata={"agent": "wins"}, extra_body={"usage_metadata": {"agent": "a", "taskType": "b"}})
revenium_middleware_anthropic.usage_context.set({"agent": "context"})
before.messages.create(**P)
""",
    )
    seen = [(record.get("agent"), record.get("taskType")) for record in records]
    assert seen == [(None, None), (None, None), ("kept", None), ("wins", "b"), ("context", None)]
    assert err.count("not a dict") == 1


def test_a_client_with_an_http_client_of_its_own_is_watched_and_ours_is_not_twice(sandbox):
    records, err = program(
        sandbox,
        """
import librevenium
own = anthropic.Anthropic(http_client=anthropic.DefaultHttpxClient())
assert own.messages.create(**P, usage_metadata={"agent": "own"}).content[0].text == "You said: x"
ours = anthropic.Anthropic(http_client=librevenium.http_client())
ours.messages.create(**P, usage_metadata={"agent": "ours"})
async def main():
    ours = anthropic.AsyncAnthropic(http_client=librevenium.async_http_client())
    await ours.messages.create(**P, usage_metadata={"agent": "ours"})
asyncio.run(main())
""",
    )
    assert sorted(record["agent"] for record in records) == ["ours", "ours", "own"]
    assert err == ""


OWN_CLIENTS = """
from librevenium import _transport
httpx = _transport.module_of(anthropic.DefaultHttpxClient)
bodies = []
class Counted(httpx.HTTPTransport):
    def handle_request(self, request):
        bodies.append(request.read())
        return super().handle_request(request)
class AsyncCounted(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request):
        bodies.append(await request.aread())
        return await super().handle_async_request(request)
def clients(retries=2):
    http = httpx.Client(transport=Counted(), headers={"x-own": "yes"})
    return http, anthropic.Anthropic(http_client=http, max_retries=retries)
def more(agent, **own): return {**P, **own, "usage_metadata": {"agent": agent}}
"""


def test_an_http_client_of_the_users_own_keeps_its_connections_and_is_metered_as_they_pass(sandbox):
    records, err = program(
        sandbox,
        OWN_CLIENTS
        + """
http, client = clients()
assert client.messages.create(**more("create")).content[0].text == "You said: x"
with client.messages.stream(**more("stream")) as stream: assert stream.get_final_text() == "You said: x"
assert client.beta.messages.create(**more("beta")).content[0].text == "You said: x"
assert client.messages.with_raw_response.create(**more("raw")).parse().content[0].text == "You said: x"
assert len(list(client.with_options(timeout=9).messages.create(**more("events"), stream=True))) > 3
async def main():
    http = httpx.AsyncClient(transport=AsyncCounted())
    client = anthropic.AsyncAnthropic(http_client=http)
    assert (await client.messages.create(**more("async create"))).content[0].text == "You said: x"
    async with client.messages.stream(**more("async stream")) as stream: assert await stream.get_final_text() == "You said: x"
asyncio.run(main())
# What its user sends with it is nobody's business.
answer = http.post(os.environ["SANDBOX_URL"] + "/v1/messages", json=P, headers={"x-api-key": "k", "anthropic-version": "v"})
assert answer.status_code == 200
assert len(bodies) == 8 and not any(b"usage_metadata" in body for body in bodies), bodies
""",
    )
    agents = ["create", "stream", "beta", "raw", "events", "async create", "async stream"]
    assert sorted(record["agent"] for record in records) == sorted(agents)
    assert {record["provider"] for record in records} == {"ANTHROPIC"} and err == ""
    streamed = {record["agent"] for record in records if record["isStreamed"]}
    assert streamed == {"stream", "events", "async stream"}
    assert all(record["outputTokenCount"] > 0 and record["stopReason"] == "END" for record in records)
    assert any(request["headers"].get("x-own") == "yes" for request in sandbox.requests())


def test_the_users_own_http_client_fails_as_it_did_and_retries_are_one_record(sandbox):
    records, _ = program(
        sandbox,
        OWN_CLIENTS
        + """
for retries in (0, 1):
    http, client = clients(retries)
    try: client.messages.create(**more(f"{retries}", model="sandbox-overloaded"))
    except anthropic.APIStatusError as error: assert error.status_code == 529
    else: raise SystemExit(1)
http, client = clients(0)
with client.messages.stream(**more("left", model="sandbox-slow")) as stream:
    for _ in stream: break
""",
    )
    seen = {record["agent"]: (record["stopReason"], record.get("retryNumber")) for record in records}
    assert len(records) == 3 and seen["0"] == ("ERROR", 0), seen
    assert seen["1"] == ("ERROR", 1) and seen["left"][0] == "CANCELLED", seen


def test_clients_of_other_services_are_watched(sandbox):
    records, err = program(
        sandbox,
        """
client = anthropic.AnthropicFoundry(api_key="k", base_url=os.environ["SANDBOX_URL"])
assert client.messages.create(**P, usage_metadata={"agent": "a"}).content[0].text == "You said: x"
""",
    )
    assert [(record["provider"], record["agent"]) for record in records] == [("Foundry", "a")], err


def test_a_plain_client_that_is_aimed_at_bedrock_is_answered_by_it(sandbox):
    records, err = program(
        sandbox,
        """
P["model"] = "claude-sonnet-5-5"
url = "https://bedrock-runtime.eu-central-1.amazonaws.com"
client, asynchronous = (kind(api_key="sk-ant-x", base_url=url) for kind in (anthropic.Anthropic, anthropic.AsyncAnthropic))
def more(**own): return {**P, **own, "usage_metadata": {"agent": "a"}}
assert client.messages.create(**more()).content[0].text == "You said: x"
with client.messages.stream(**more()) as stream: assert stream.get_final_text() == "You said: x"
async def main():
    async with asynchronous.messages.stream(**more()) as stream: assert await stream.get_final_text() == "You said: x"
    assert (await asynchronous.beta.messages.create(**more(betas=["b-1"]))).content[0].text == "You said: x"
asyncio.run(main())
try: client.messages.create(**more(max_tokens=-1))
except anthropic.BadRequestError as error: assert error.status_code == 400
else: raise SystemExit(1)
""",
        env={"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"},
    )
    seen = {(record["provider"], record["model"], record["region"], record["agent"]) for record in records}
    assert seen == {("AWS", "anthropic.claude-sonnet-5-5", "eu-central-1", "a")} and len(records) == 5
    assert err == ""
    for request in sandbox.requests():
        assert request["path"].startswith("/model/") and "sk-ant-x" not in str(request["headers"]), request


def test_without_a_key_calls_work(sandbox):
    status, out, err = run(
        BEGIN
        + """
assert not revenium_middleware_anthropic.is_initialized()
print(before.messages.create(**P, usage_metadata={"agent": "a"}).content[0].text)
""",
        env={"REVENIUM_METERING_API_KEY": ""},
    )
    assert (status, out) == (0, "You said: x\n"), err
    assert not any("usage_metadata" in request["raw"] for request in sandbox.requests())


def test_the_log_level_is_the_environments(sandbox):
    _, quiet = program(sandbox, "before.messages.create(**P)")
    _, loud = program(sandbox, "before.messages.create(**P)", env={"REVENIUM_LOG_LEVEL": "DEBUG"})
    assert quiet == "" and "revenium" in loud.lower()


def test_without_the_sdk_the_import_works(sandbox):
    status, out, err = run(
        """
import sys
sys.modules["anthropic"] = None
import revenium_middleware_anthropic, revenium_middleware
print(revenium_middleware_anthropic.is_initialized())
"""
    )
    assert (status, out) == (0, "False\n") and "not metered" in err
