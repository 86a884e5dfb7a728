"""The official SDK, metered: one line is new."""

import os

import anthropic
import librevenium

client = anthropic.Anthropic(http_client=librevenium.http_client())  # this one


def params(content):
    model = os.environ.get("MODEL", "claude-sonnet-5-5")
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": content}]}


with librevenium.usage_metadata(organizationName="Acme", productName="Support Desk"):
    print(client.messages.create(**params("Greet the world in five words.")).content[0].text)

    with client.messages.stream(**params("Say it again, slowly.")) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
        usage = stream.get_final_message().usage
    print(f"\n{usage.input_tokens} input tokens, {usage.output_tokens} output tokens")
