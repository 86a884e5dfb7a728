"""One call: its text and what it used."""

import os

import librevenium

client = librevenium.Anthropic()
message = client.messages.create(
    model=os.environ.get("MODEL", "claude-sonnet-5-5"),
    max_tokens=100,
    messages=[{"role": "user", "content": "Greet the world in five words."}],
)
print(message.text)
print(f"{message.usage.input_tokens} input tokens, {message.usage.output_tokens} output tokens")
