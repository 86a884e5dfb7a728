"""Claude through AWS Bedrock: the same calls and results. AWS credentials come from where AWS's own tools take them."""

import os

import librevenium

# Without "provider", Bedrock is asked when there are AWS credentials and no key of Anthropic.
# bedrock_fallback=True, the default, would ask Anthropic where Bedrock fails and there is a key.
librevenium.init(provider="bedrock", bedrock_fallback=False)
client = librevenium.Anthropic()


def params(content):
    # The model is a name of the Messages API, an id of Bedrock or an ARN.
    model = os.environ.get("MODEL", "claude-sonnet-5-5")
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": content}]}


message = client.messages.create(
    **params("Greet the world from a region."), usage_metadata={"organizationName": "Acme", "taskType": "greeting"}
)
print(message.text)
print(f"answered by Bedrock: {'yes' if message.info['provider'] == 'bedrock' else 'no'}")

# This call chooses its region.
with client.messages.stream(**params("Now from another one."), revenium={"aws_region": "eu-central-1"}) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
    usage = stream.get_final_message().usage
print(f"\n{usage.input_tokens} input tokens, {usage.output_tokens} output tokens")
