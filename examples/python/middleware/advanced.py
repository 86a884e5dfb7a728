"""Who a call is for, and what it is about: `usage_metadata` takes snake_case and camelCase, on async clients too."""

import asyncio
import os

import anthropic
import revenium_middleware_anthropic  # noqa: F401


def params(content):
    model = os.environ.get("MODEL", "claude-sonnet-5-5")
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": content}]}


METADATA = {
    "organization_name": "Acme",
    "product_name": "Support Desk",
    "subscription_id": "sub-2026-gold",
    "subscriber": {"id": "user-42", "email": "jane@acme.example", "credential": {"name": "support-key", "value": "key-7"}},
    "trace_id": "trace-9f2c",
    "task_type": "summarize",
    "agent": "summarizer",
    "response_quality_score": 0.95,
}


async def main():
    client = anthropic.AsyncAnthropic()
    for message in await asyncio.gather(
        client.messages.create(**params("Summarize ticket 4711."), usage_metadata=METADATA),
        client.beta.messages.create(**params("And ticket 4712."), usage_metadata={**METADATA, "taskType": "compare"}),
    ):
        print(message.content[0].text)


asyncio.run(main())
