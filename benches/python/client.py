"""So many calls of the official SDK, in one of four ways: `client.py WAY MODE WARM CALLS`. Prints the processor time that
CALLS took after WARM others, until every record was delivered, in microseconds, and the deltas of their streams."""

import atexit
import sys
import time

import anthropic

way, mode, warm, calls = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
started, deltas = 0.0, 0
# Registered before any other, so run after them: Revenium's SDK delivers its last records there.
atexit.register(lambda: print(round((time.process_time() - started) * 1e6), deltas))
client = None
if way == "revenium":
    import revenium_middleware.anthropic  # noqa: F401
elif way == "compat":
    import revenium_middleware_anthropic  # noqa: F401
elif way == "dropin":
    import librevenium

    client = anthropic.Anthropic(http_client=librevenium.http_client())
client = client or anthropic.Anthropic()
params = {
    "model": "claude-haiku-4-5",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "Say hello to the benchmark."}],
}
if way in ("revenium", "compat"):
    params["usage_metadata"] = {"organization_name": "Acme"}
for number in range(warm + calls):
    if number == warm:
        started, deltas = time.process_time(), 0
    if mode == "create":
        client.messages.create(**params)
        continue
    for event in client.messages.create(**params, stream=True):
        deltas += event.type == "content_block_delta"
if way in ("dropin", "compat"):
    import librevenium

    librevenium.flush(60000)
