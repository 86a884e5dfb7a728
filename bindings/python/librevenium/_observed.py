"""Calls that something else makes: metered as if this library had made them. Nothing here waits for the network, and no
record is lost when the process ends right after."""

import ctypes
import datetime
import functools
import inspect
import json
import logging
import time
import weakref

from . import _core as core
from . import _errors as errors
from . import _native as native
from . import _scopes as scopes


class Recorded:
    """What became of a recorded call. `metered` is False where metering is off, or where it was recorded before."""

    def __init__(self, info):
        self.metered = info.get("metered", False)
        self.transaction_id = info.get("transaction_id")

    def __repr__(self):
        return f"Recorded(metered={self.metered!r}, transaction_id={self.transaction_id!r})"


def record(**call):
    """Meter a call that is over and that this library did not make. Each record is one billable transaction at Revenium.

    request: the request's body. response: the message; or events: the text of its stream; or error: {"status", "type"}.
    provider: "anthropic", "bedrock", "vertex" or "foundry". model, region: where the body does not say them. streamed,
    started_at (a datetime, or seconds since 1970), duration_ms, time_to_first_token_ms, attempts, usage_metadata.
    """
    return record_text(_text(call), scopes.current())


def record_batch_result(batch_id, line):
    """Meter one line of a Message Batch's results, once, however often the results are read: what was recorded is
    remembered for 30 days. Requests that were cancelled or expired used nothing and leave no record."""
    if not isinstance(line, (str, bytes)):
        line = json.dumps(line.to_dict() if hasattr(line, "to_dict") else line)
    return record_text(batch_text(batch_id, line.encode() if isinstance(line, str) else line), scopes.current())


def _text(call):
    started = call.get("started_at")
    if isinstance(started, datetime.datetime):
        call = {**call, "started_at": started.timestamp() * 1000}
    elif isinstance(started, (int, float)):
        call = {**call, "started_at": started * 1000}
    return json.dumps({name: value for name, value in call.items() if value is not None}).encode()


def batch_text(batch_id, line):
    """The line with our members in front of its own: its values keep their text."""
    inside = line.partition(b"{")[2]
    comma = b"" if inside.strip() == b"}" else b","
    return b'{"batch":true,"batch_id":%b%b%b' % (json.dumps(batch_id).encode(), comma, inside)


def record_text(text, layer, make=None):
    handle = within(text, layer, make or native.record)
    try:
        return Recorded(json.loads(native.text_of(native.result_info, handle) or "{}"))
    finally:
        native.release(handle)


def within(text, layer, make):
    """The handle that `make` makes of `text` in the scope of `layer`."""
    core.start()
    out = ctypes.c_uint64()
    code = make(text, len(text), layer.scope() if layer else native.SCOPE_NONE, ctypes.byref(out))
    if code < 0:
        errors.check(code, out.value)
    return out.value


class Tap:
    """A call that something else is making: write() takes its reply's body as it comes, end() makes the record. One that
    is closed, or forgotten, without an end was cancelled. For one thread at a time."""

    def __init__(self, *, layer=None, text=None, **call):
        """What is known of the call, as for record()."""
        handle = within(text or _text(call), layer or scopes.current(), native.tap_new)
        self._handle = handle
        # A callable of its own, because the interpreter may have taken the functions away by then.
        self._release = weakref.finalize(self, native.release, handle)
        self._release.atexit = False

    def write(self, data):
        """More bytes of the reply's body, without its content coding."""
        if self._handle and data:
            native.tap_write(self._handle, bytes(data), len(data))

    def end(self, error=None):
        """The reply is over: whole, or as {"status", "error"} says. The first of end() and close() counts."""
        if self._handle:
            text = None if error is None else json.dumps(error).encode()
            native.tap_end(self._handle, text, len(text or b""))
        self.close()

    def close(self):
        """The call was given up, unless it has ended."""
        self._handle = 0
        self._release()


# ---- tools ----


def tool_event(tool_id, **event):
    """Meter one use of a tool. Each event is one billable transaction at Revenium. operation, duration_ms, success,
    timestamp, error_type, error_message, transaction_id, cost_usd, usage_metadata, workflow_id, subscriber_credential; who it
    was for comes from the scope where agent, organization_name and so on do not say so."""
    told = {name: value for name, value in event.items() if value is not None}
    return record_text(json.dumps({"tool_id": tool_id, **told}).encode(), scopes.current(), native.tool_event)


class meter_tool:
    """`with meter_tool("search"):`, or a decorator of a function or coroutine: how long it took, and whether it failed. What
    the tool gives or raises goes on unchanged."""

    def __init__(self, tool_id, **event):
        self._tool_id = tool_id
        self._event = event
        self._begun = []

    def __enter__(self):
        self._begun.append((time.time(), time.perf_counter()))
        return self

    def __exit__(self, kind, error, _):
        begun, since = self._begun.pop()
        self._tell(begun, since, error)

    def _tell(self, begun, since, error):
        times = {"timestamp": round(begun * 1000), "duration_ms": (time.perf_counter() - since) * 1000}
        try:
            failure = {} if error is None else {"error_type": type(error).__name__, "error_message": str(error)}
            tool_event(self._tool_id, **{**times, **failure, **self._event})
        except Exception as problem:  # Metering changes nothing of what the tool gave.
            logging.getLogger("librevenium").warning("a tool event was not metered: %s", problem)

    def __call__(self, function):
        def run():
            return meter_tool(self._tool_id, **self._event)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def coroutine(*args, **kwargs):
                with run():
                    return await function(*args, **kwargs)

            return coroutine

        @functools.wraps(function)
        def plain(*args, **kwargs):
            with run():
                return function(*args, **kwargs)

        return plain
