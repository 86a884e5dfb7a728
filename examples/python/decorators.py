"""The official SDK, metered by one import: `usage_metadata=` in its methods, and decorators for everything inside them."""

import asyncio
import os

import anthropic
import revenium_middleware_anthropic  # this one
from revenium_middleware import revenium_metadata, revenium_meter

client = anthropic.Anthropic()
asynchronous = anthropic.AsyncAnthropic()


def params(content):
    model = os.environ.get("MODEL", "claude-sonnet-5-5")
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": content}]}


@revenium_metadata(organization_name="Acme", task_type="greet")
def greet():
    return client.messages.create(**params("Greet the world."), usage_metadata={"agent": "greeter"}).content[0].text


@revenium_meter()  # metered even with REVENIUM_SELECTIVE_METERING=true
@revenium_metadata(organization_name="Acme", task_type="count")
async def count(number):
    message = await asynchronous.messages.create(**params(f"Count to {number}."))
    return message.content[0].text


@revenium_metadata(organization_name="Acme", task_type="stream")
def pieces():
    with client.messages.stream(**params("Piece by piece.")) as stream:
        yield from stream.text_stream


async def main():
    for text in await asyncio.gather(*(count(number) for number in (1, 2, 3))):
        print(text)


print(f"metered: {'yes' if revenium_middleware_anthropic.is_initialized() else 'no'}")
print(greet())
asyncio.run(main())
print("".join(pieces()))
