"""Scopes: metadata that many calls share, and the choice of what is metered at all. They decorate functions of any kind,
and surround a block."""

import asyncio
import os

import librevenium
from librevenium import meter, usage_metadata

# Selective metering: only calls in a marked scope are metered. Without it every call is.
librevenium.init(selective_metering=True)
client = librevenium.Anthropic()
asynchronous = librevenium.AsyncAnthropic()


def params(content):
    model = os.environ.get("MODEL", "claude-sonnet-5-5")
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": content}]}


def show(message):
    print(f"{message.text} ({'metered' if message.info['metered'] else 'not metered'})")


def ask(content, **more):
    show(client.messages.create(**params(content), **more))


@meter
@usage_metadata(organizationName="Acme", productName="Support Desk")
def customer(run, *args, **more):
    run(*args, **more)


# The mark is inherited, and so is every field that the inner scope does not name.
@usage_metadata(agent="summarizer", taskType="summarize")
def agent(*args, **more):
    ask(*args, **more)


customer(ask, "In the customer's scope.")
customer(agent, "In the agent's scope inside it.")

# What a call says itself wins over its scope.
customer(agent, "With a task type of its own.", usage_metadata={"taskType": "translate"})


# Code that knows nothing of scopes is in the one of its caller, also after an await; tasks never mix.
@meter
@usage_metadata(agent="summarizer")
async def task():
    await asyncio.sleep(0.001)
    show(await asynchronous.messages.create(**params("In the scope of this thread.")))
    with usage_metadata(traceId="trace-9f2c"):
        show(await asynchronous.messages.create(**params("In a scope pushed over it.")))


asyncio.run(task())

# Outside of every scope nothing is marked, unless the call is.
ask("In no scope.")
ask("In no scope, but marked.", revenium={"meter": True})
