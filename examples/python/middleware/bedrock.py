"""Claude in AWS Bedrock, by a plain client that is aimed at AWS. Credentials come from where AWS's own tools take them."""

import os

import anthropic
import revenium_middleware_anthropic  # noqa: F401

# The SDK wants some key; it never goes to AWS.
client = anthropic.Anthropic(api_key="none", base_url="https://bedrock-runtime.eu-central-1.amazonaws.com")


def params(content):
    model = os.environ.get("MODEL", "claude-sonnet-5-5")
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": content}]}


message = client.messages.create(**params("Greet the world from a region."), usage_metadata={"organization_name": "Acme"})
print(message.content[0].text)

with client.messages.stream(**params("Now piece by piece."), usage_metadata={"organization_name": "Acme"}) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
print()
