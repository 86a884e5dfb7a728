"""`import revenium_middleware_anthropic`: every client of the official SDK is metered, made before or after.

`messages.create`, `messages.stream` and their beta twins take `usage_metadata={...}`. Nothing else changes. With another
HTTP client than the SDK's own (`Anthropic(http_client=...)`) calls go out as that client sends them, unmetered, with one
warning: give it `librevenium.http_client()`. Calls of AnthropicBedrock, AnthropicVertex and AnthropicFoundry pass with their
own bytes and are metered as they pass; fields for their `messages.stream` belong in a `with usage_metadata(...)` around it.
"""

import contextvars
import logging

import librevenium
from librevenium import flush, meter, shutdown, status, status_json, usage_metadata

from . import _patch

_log = logging.getLogger("librevenium")

# As in the middleware that had this name first: metadata for the calls of this task or thread, by `usage_context.set({...})`.
usage_context = contextvars.ContextVar("usage_metadata", default={})


def initialize():
    """Meter the SDK's clients from now on; the import did so already. Returns is_initialized()."""
    try:
        _patch.install(usage_context)
    except Exception as error:  # calls work without us
        _log.error("calls are not metered: %s", error)
    return is_initialized()


def is_initialized():
    """Whether a call made now is metered: the SDK is there, and so is a Revenium key."""
    return _patch.installed and librevenium.is_initialized()


initialize()

__all__ = [
    "flush",
    "initialize",
    "is_initialized",
    "meter",
    "shutdown",
    "status",
    "status_json",
    "usage_context",
    "usage_metadata",
]
