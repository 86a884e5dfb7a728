"""One call and one use of a tool inside a trace that somebody else has begun: with REVENIUM_OTLP=1 both are its spans."""

import os

import librevenium

# What HTTP servers get in the header of this name, and pass on. Where the program has imported opentelemetry, its current
# span is the parent, and this is not needed.
traceparent = os.environ.get("TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

client = librevenium.Anthropic()
with librevenium.usage_metadata(organizationName="Acme", revenium={"traceparent": traceparent}):
    message = client.messages.create(
        model=os.environ.get("MODEL", "claude-sonnet-5-5"),
        max_tokens=100,
        messages=[{"role": "user", "content": "Greet the world in five words."}],
    )
    with librevenium.meter_tool("search"):
        pass  # where a tool would run
print(message.text)
