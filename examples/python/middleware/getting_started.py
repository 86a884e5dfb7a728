"""Nothing but an import: the official SDK's calls are metered from here on."""

import os

import anthropic
import revenium_middleware_anthropic  # noqa: F401 (this one)

client = anthropic.Anthropic()
message = client.messages.create(
    model=os.environ.get("MODEL", "claude-sonnet-5-5"),
    max_tokens=100,
    messages=[{"role": "user", "content": "Greet the world in five words."}],
)
print(message.content[0].text)
print(f"{message.usage.input_tokens} input tokens, {message.usage.output_tokens} output tokens")
