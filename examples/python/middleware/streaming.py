"""Both kinds of stream are metered, read to their end or not."""

import os

import anthropic
import revenium_middleware_anthropic  # noqa: F401

client = anthropic.Anthropic()


def params(content):
    model = os.environ.get("MODEL", "claude-sonnet-5-5")
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": content}]}


with client.messages.stream(**params("Name the planets."), usage_metadata={"task_type": "teach"}) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
    print(f"\n{stream.get_final_message().usage.output_tokens} output tokens")

for event in client.messages.create(**params("Now the moons."), stream=True, usage_metadata={"task_type": "teach"}):
    if event.type == "content_block_delta":
        print(event.delta.text, end="", flush=True)
print()
