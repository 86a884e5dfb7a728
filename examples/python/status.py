"""How the library is doing: the counters, then everything else."""

import json
import os

import librevenium

client = librevenium.Anthropic()
client.messages.create(
    model=os.environ.get("MODEL", "claude-sonnet-5-5"),
    max_tokens=100,
    messages=[{"role": "user", "content": "One call, so that there is something to count."}],
)
librevenium.flush(5000)

state = librevenium.status()
print(f"librevenium {librevenium.version}, ABI {librevenium.abi_version}")
print(f"provider: {state.provider or 'unknown'}")
print(f"metering: {'off, no key' if state.metering == 'off' else state.metering}")
print(f"calls: {state.calls_started} started, {state.calls_failed} failed, {state.calls_in_flight} in flight")
print(f"events: {state.events_delivered} delivered, {state.events_pending} pending, {state.events_dropped} dropped")
print(json.dumps(librevenium.status_json(), indent=2))
