"""What calls are for: scopes that follow the code, whatever runs beside it."""

import asyncio
import json
import threading

import librevenium
import pytest
from conftest import control, params, run
from librevenium import meter, usage_metadata


def ask(text="x", **more):
    return librevenium.messages.create(**params(text, **more))


async def ask_async(text="x", **more):
    return await librevenium.async_messages.create(**params(text, **more))


def fields(sandbox, count, *names):
    return [tuple(record.get(name) for name in names) for record in sandbox.records(count)]


def test_inner_over_outer_and_call_over_scope(sandbox):
    with usage_metadata(organizationName="Acme", taskType="outer", agent="a"):
        with usage_metadata({"task_type": "inner", "agent": ""}):
            ask()
            ask(usage_metadata={"taskType": "call"})
        ask()
    ask()
    names = ("organizationName", "taskType", "agent")
    assert fields(sandbox, 4, *names) == [
        ("Acme", "inner", "a"), ("Acme", "call", "a"), ("Acme", "outer", "a"), (None, None, None)
    ]  # fmt: skip


def test_tasks_and_threads_never_mix(sandbox):
    async def one(number):
        with usage_metadata(taskType=f"t{number}"):
            await asyncio.sleep(0.001 * (number % 7))
            async with usage_metadata(agent=f"a{number}"):
                await ask_async(f"n{number}")

    async def main():
        await asyncio.gather(*(one(number) for number in range(50)))

    asyncio.run(main())
    seen = fields(sandbox, 50, "taskType", "agent")
    assert sorted(seen) == sorted((f"t{number}", f"a{number}") for number in range(50))
    with usage_metadata(agent="here"):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert fields(sandbox, 51, "agent")[-1] == (None,)


def test_one_scope_object_for_many_tasks(sandbox):
    shared = usage_metadata(organizationName="Acme")

    @shared
    async def one(number):
        with shared, usage_metadata(agent=str(number)):
            await asyncio.sleep(0.001 * (5 - number))
            await ask_async()

    async def main():
        await asyncio.gather(*(one(number) for number in range(5)))
        await ask_async()

    asyncio.run(main())
    seen = fields(sandbox, 6, "organizationName", "agent")
    assert sorted(seen[:5]) == [("Acme", str(number)) for number in range(5)] and seen[5] == (None, None)


def test_decorated_functions_and_coroutines(sandbox):
    @usage_metadata(agent="plain")
    def plain(more):
        return ask(more)

    @usage_metadata(agent="coroutine")
    async def coroutine():
        return await ask_async()

    assert plain.__name__ == "plain" and asyncio.iscoroutinefunction(coroutine)
    plain("a")
    asyncio.run(coroutine())
    asyncio.run(usage_metadata(agent="behind")(lambda: coroutine())())
    ask()
    assert fields(sandbox, 4, "agent") == [("plain",), ("coroutine",), ("coroutine",), (None,)]


def test_a_generators_scope_is_its_own(sandbox):
    @usage_metadata(agent="generator")
    def generator():
        with usage_metadata(taskType="body"):
            ask()
            got = yield 1
            assert got == "sent"
            try:
                yield 2
            except KeyError:
                ask()
        ask()
        return "returned"

    def consumer():
        returned = yield from generator()
        assert returned == "returned"

    steps = consumer()
    assert next(steps) == 1
    ask(usage_metadata={"agent": "consumer"})
    assert steps.send("sent") == 2
    ask()
    with pytest.raises(StopIteration):
        steps.throw(KeyError())
    ask()
    assert fields(sandbox, 6, "agent", "taskType") == [
        ("generator", "body"), ("consumer", None), (None, None), ("generator", "body"), ("generator", None), (None, None)
    ]  # fmt: skip


def test_an_asynchronous_generators_scope_is_its_own(sandbox):
    closed = []

    @usage_metadata(agent="generator")
    async def generator():
        try:
            for number in range(10):
                with usage_metadata(taskType=f"t{number}"):
                    await ask_async()
                    yield number
        finally:
            closed.append(True)

    async def main():
        steps = generator()
        async for number in steps:
            await ask_async()
            if number == 1:
                break
        await steps.aclose()
        await ask_async()

    asyncio.run(main())
    assert closed == [True]
    assert fields(sandbox, 5, "agent", "taskType") == [
        ("generator", "t0"), (None, None), ("generator", "t1"), (None, None), (None, None)
    ]  # fmt: skip


def test_a_generator_function_behind_another_decorator(sandbox):
    def plain(function):
        return lambda *args: function(*args)

    @usage_metadata(agent="inside")
    @plain
    def generator():
        ask()
        yield

    for _ in generator():
        ask()
    assert fields(sandbox, 2, "agent") == [("inside",), (None,)]


def test_an_exception_ends_a_scope(sandbox):
    with pytest.raises(KeyError), usage_metadata(agent="a"):
        raise KeyError
    ask()
    assert fields(sandbox, 1, "agent") == [(None,)]


def test_bad_metadata_fails_no_call(sandbox):
    loop = {}
    loop["loop"] = loop
    with usage_metadata(agent="kept", traceId=object()), usage_metadata([1]), usage_metadata({"a": loop, "taskType": "t"}):
        ask()
    ask(usage_metadata="nonsense")
    assert fields(sandbox, 2, "agent", "taskType") == [("kept", "t"), (None, None)]
    assert all("usage_metadata" not in request["raw"] for request in sandbox.requests())


def test_fields_are_copied(sandbox):
    given = {"agent": "then"}
    with usage_metadata(given):
        given["agent"] = "later"
        ask()
    assert fields(sandbox, 1, "agent") == [("then",)]


def test_selective_metering(sandbox):
    program = """
import librevenium
from librevenium import meter, usage_metadata
librevenium.init(selective_metering=True)
def ask(**more):
    return librevenium.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}], **more).info["metered"]
marked = meter(ask)
with meter(), usage_metadata(agent="in"):
    inside = ask()
print([ask(), marked(), inside, ask(extra_body={"revenium": {"meter": True}})])
librevenium.shutdown()
"""
    status, out, err = run(program)
    assert (status, err) == (0, "") and json.loads(out.lower()) == [False, True, True, True]
    assert sorted(map(str, fields(sandbox, 3, "agent"))) == ["('in',)", "(None,)", "(None,)"]
    assert meter(ask)("not selective here").info["metered"] is True


def keys(sandbox, count):
    """The Idempotency-Keys of the records, by their trace."""
    sandbox.records(count)
    return {record["body"].get("traceId"): record["idempotency_key"] for record in json.loads(control("records"))}


def numbered(key):
    return usage_metadata(revenium={"idempotency_key": key})


def traced(trace, **more):
    return ask(usage_metadata={"traceId": trace}, **more)


def test_the_calls_of_a_scope_with_an_idempotency_key_are_numbered(sandbox):
    anthropic = pytest.importorskip("anthropic")
    sdk = anthropic.Anthropic(http_client=librevenium.http_client(), base_url=sandbox.place({"status": 500}, {}))
    with numbered("job-1"):
        traced("first")
        with meter(), usage_metadata(agent="a"):
            traced("second")
        librevenium.record(response={"id": "msg_1", "content": []}, usage_metadata={"traceId": "recorded"})
        with numbered("inner"):
            traced("inner")
        traced("fourth")
        # Its first attempt leaves no record, and so its number to the second.
        sdk.messages.create(**params(), extra_body={"usage_metadata": {"traceId": "tried again"}})
    assert keys(sandbox, 6) == {
        "first": "job-1",
        "second": "job-1:2",
        "recorded": "job-1:3",
        "inner": "inner",
        "fourth": "job-1:4",
        "tried again": "job-1:5",
    }
    sandbox.reset()
    with numbered("job-1"):
        traced("again")
    assert keys(sandbox, 1) == {"again": "job-1"}


@pytest.mark.parametrize(
    "choices, why", [({"idempotency_key": "no key"}, "visible ASCII"), ({"timeout_ms": "soon"}, "timeout_ms"), ({"anything": 1}, "anything")]
)
def test_a_choice_that_is_none_is_refused_before_anything_runs(choices, why):
    with pytest.raises(librevenium.ReveniumError, match=why):
        with usage_metadata(agent="a", revenium=choices):
            pytest.fail("it ran")
