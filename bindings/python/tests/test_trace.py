"""Calls are children of the program's own spans."""

import asyncio
import sys
import types

import librevenium
import pytest
from conftest import params

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
AMBIENT = f"00-{TRACE}-00f067aa0ba902b7-01"
OWN = f"00-{TRACE}-00f067aa0ba902b8-01"


class State:
    def to_header(self):
        return "a=1"


@pytest.fixture
def span(monkeypatch):
    """What OpenTelemetry's own package gives, as far as it is asked."""
    context = types.SimpleNamespace(
        is_valid=True, trace_id=int(TRACE, 16), span_id=0x00F067AA0BA902B7, trace_flags=1, trace_state=State()
    )
    module = types.ModuleType("opentelemetry.trace")
    module.get_current_span = lambda: types.SimpleNamespace(get_span_context=lambda: context)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)
    return context


def ask(**more):
    return librevenium.messages.create(**params("x", **more))


def sent(sandbox):
    return [request["headers"].get("traceparent") for request in sandbox.requests()]


def test_the_current_span_is_the_parent_unless_somebody_names_another(sandbox, span):
    ask()
    ask(revenium={"traceparent": OWN})
    ask(extra_headers={"traceparent": OWN})
    with librevenium.usage_metadata(revenium={"traceparent": OWN}):
        ask()
    with librevenium.usage_metadata(agent="a"):
        asyncio.run(librevenium.async_messages.create(**params()))
    span.trace_flags = 0
    ask()
    span.is_valid = False
    ask()
    assert sent(sandbox) == [AMBIENT, OWN, OWN, OWN, AMBIENT, AMBIENT[:-1] + "0", None]
    assert sandbox.requests()[0]["headers"]["tracestate"] == "a=1"
    assert [record.get("traceId") for record in sandbox.records(7)].count(TRACE) == 6


def test_a_package_that_breaks_costs_no_call(sandbox, span):
    del span.trace_id
    ask()
    assert sent(sandbox) == [None]


def test_the_transport_hands_on_what_it_gets(sandbox, span):
    anthropic = pytest.importorskip("anthropic")
    client = anthropic.Anthropic(http_client=librevenium.http_client(), api_key="sk-ant-sandbox", base_url=sandbox.url)
    client.messages.create(**params(), extra_headers={"traceparent": OWN})
    client.messages.create(**params())
    assert sent(sandbox) == [OWN, AMBIENT]
