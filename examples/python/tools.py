"""A conversation with a tool: the model asks for it, the program runs it, the model answers."""

import os

import librevenium

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")
TOOLS = [
    {
        "name": "weather",
        "description": "The weather in a city, now.",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
            "required": ["city"],
        },
    }
]


def weather(city):
    return "21 degrees, sunny" if city == "Rome" else "4 degrees, snow"


def results_of(content):
    """Runs each tool that `content` asks for, and gives their results."""
    results = []
    for block in content:
        if block.type == "tool_use":
            found = weather(block.input["city"])
            print(f"{block.name} {block.input['city']}: {found}")
            results.append({"type": "tool_result", "tool_use_id": block.id, "content": found})
    return results


client = librevenium.Anthropic()
messages = [{"role": "user", "content": "What is the weather in Rome?"}]
used = [0, 0]
with librevenium.usage_metadata({"organizationName": "Acme", "taskType": "weather", "traceId": "conversation-1"}):
    # The first answer has to use a tool; from then on the model chooses.
    choice = {"tool_choice": {"type": "any"}}
    while True:
        message = client.messages.create(model=MODEL, max_tokens=200, messages=messages, tools=TOOLS, **choice)
        used[0] += message.usage.input_tokens
        used[1] += message.usage.output_tokens
        if message.stop_reason != "tool_use":
            print(message.text)
            break
        messages.append({"role": "assistant", "content": message.content})
        messages.append({"role": "user", "content": results_of(message.content)})
        choice = {}
print(f"{used[0]} input tokens, {used[1]} output tokens")
