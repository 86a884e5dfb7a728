"""The library as a whole: its start, its state, its end."""

import asyncio
import ctypes
import json
import time

from . import _core as core
from . import _errors as errors
from . import _native as native

PROVIDERS = (None, "anthropic", "bedrock")
METERING = ("off", "on", "selective")
# Between two of these a waiting thread handles signals.
SLICE_MS = 500


class Status:
    """The state of the library in this process. Counters run since the start."""

    def __init__(self, state):
        self.initialized = state.initialized == 1
        self.provider = PROVIDERS[state.provider] if 0 < state.provider < len(PROVIDERS) else None
        self.metering = METERING[state.metering] if 0 < state.metering < len(METERING) else METERING[0]
        self.calls_in_flight = state.calls_in_flight
        self.calls_started = state.calls_started
        self.calls_failed = state.calls_failed
        self.events_pending = state.events_pending
        self.events_delivered = state.events_delivered
        self.events_retried = state.events_retried
        # Given up for good; 0 is the healthy value.
        self.events_dropped = state.events_dropped
        # Of the last failed delivery, `REVENIUM_E_...`.
        self.last_error = native.name_of(state.last_error) if state.last_error else None
        self.last_http_status = state.last_http_status or None

    def __repr__(self):
        return f"Status({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def init(config=None, **settings):
    """Start the library with settings of your own, by their JSON keys: they win over the environment. Optional: the first
    call starts it from the environment. Opens no connection. Raises ReveniumError: `REVENIUM_E_CONFIG` for an unknown or
    malformed setting, `REVENIUM_E_ALREADY` when it runs with others."""
    core.init({**(config or {}), **settings})


def is_initialized():
    """Whether a call made now would be metered: the library runs, or can start, and has a Revenium key."""
    return native.is_initialized() == 1


def status():
    state = native.State(struct_size=ctypes.sizeof(native.State))
    errors.check(native.status(ctypes.byref(state)))
    return Status(state)


def status_json():
    """The same and more: settings in force without secrets, why this provider, queue depth, the last error in words."""
    out = ctypes.c_uint64()
    errors.check(native.status_json(ctypes.byref(out)), out.value)
    try:
        return json.loads(native.text_of(native.result_json, out.value))
    finally:
        native.release(out.value)


def flush(timeout_ms=5000):
    """Wait until every usage record is delivered. False: some still wait when the time is up; they stay queued."""
    deadline = time.monotonic() + timeout_ms / 1000
    while True:
        left = max(0, int((deadline - time.monotonic()) * 1000))
        code = native.flush(min(left, SLICE_MS))
        if code != native.E_TIMEOUT:
            errors.check(code)
            return True
        if left <= SLICE_MS:
            return False


def shutdown(timeout_ms=5000):
    """End the library for the whole process: cancel the calls under way, deliver what waits, stop the threads. Later calls
    raise `REVENIUM_E_CLOSED` until init(). False: the time was up first; what is unsent stays in the spool, where there is
    one."""
    core.shut()
    code = native.shutdown(timeout_ms)
    whole = code != native.E_TIMEOUT
    # Each init() of this process counted.
    while code in (native.OK, native.E_TIMEOUT) and _is_running():
        code = native.shutdown(timeout_ms)
        whole = whole and code != native.E_TIMEOUT
    return whole


def _is_running():
    try:
        return status().initialized
    except errors.ReveniumError:
        return False


async def aflush(timeout_ms=5000):
    """flush() without holding up the event loop."""
    return await asyncio.get_running_loop().run_in_executor(None, flush, timeout_ms)


async def ashutdown(timeout_ms=5000):
    """shutdown() without holding up the event loop."""
    return await asyncio.get_running_loop().run_in_executor(None, shutdown, timeout_ms)
