"""The wheel, and what librevenium-compat adds to it."""

import os
import sys

import librevenium
import revenium_middleware
import revenium_middleware_anthropic
from librevenium import _native

inside = os.path.join(os.path.dirname(librevenium.__file__), "_lib", "librevenium.so")
print(_native.path == inside and inside.startswith(sys.prefix) and bool(revenium_middleware), librevenium.version)
message = librevenium.messages.create(
    model="claude-test-1", max_tokens=10, messages=[{"role": "user", "content": "Hello"}], usage_metadata={"taskType": "wheel"}
)
print(message.text)
