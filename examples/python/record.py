"""Calls that something else made, each metered once: one that is over, and one whose reply passes by."""

import os

import librevenium

MODEL = os.environ.get("MODEL", "claude-sonnet-5-5")
REQUEST = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello!"}]}
# What a gateway hands on: the events of a reply, cut anywhere.
PIECES = [
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_2","model":"%s","usage":{"inp' % MODEL.encode(),
    b'ut_tokens":9,"output_tokens":1}}}\n\nevent: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"Hi there."}}\n\n',
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":4}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
]

# Whose they were comes from a scope, as it does for calls of this library.
with librevenium.usage_metadata(organizationName="Acme"):
    usage = {"input_tokens": 9, "output_tokens": 3}
    response = {"id": "msg_1", "content": [{"type": "text", "text": "Hi."}], "stop_reason": "end_turn", "usage": usage}
    librevenium.record(provider="vertex", region="europe-west1", duration_ms=812, request=REQUEST, response=response)
    print("told when it was over (recorded)")

    tap = librevenium.Tap(request=REQUEST)
    for piece in PIECES:
        tap.write(piece)
    tap.end()
    print("watched as it passed by (recorded)")
