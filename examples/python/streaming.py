"""The text as it comes, then what it used."""

import os

import librevenium

client = librevenium.Anthropic()
with client.messages.stream(
    model=os.environ.get("MODEL", "claude-sonnet-5-5"),
    max_tokens=200,
    messages=[{"role": "user", "content": "Name the planets, nearest to the sun first."}],
    usage_metadata={"organizationName": "Acme", "taskType": "teach"},
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
    usage = stream.get_final_message().usage
print(f"\n{usage.input_tokens} input tokens, {usage.output_tokens} output tokens")
