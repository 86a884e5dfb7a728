"""NATIVE: the functions of revenium.h that this binding uses. Nothing else knows C.

Only what returns at once is declared, and shutdown and flush, which release the GIL as every call here does: no callback
comes from a foreign thread, and whoever waits for a call waits in Python, where signals reach it.
"""

import ctypes
import functools
import sys
from ctypes import c_char_p, c_int32, c_size_t, c_uint32, c_uint64, c_void_p

from . import _locate

# REVENIUM_ABI_VERSION of the header this file was written for.
ABI = 1

_text = (c_uint64, c_void_p)
# Result, then parameters. `c_void_p` takes what a function fills in; handles and tags are numbers.
FUNCTIONS = {
    "revenium_version": (c_char_p,),
    "revenium_abi_version": (c_uint32,),
    "revenium_code_name": (c_char_p, c_int32),
    "revenium_init": (c_int32, c_char_p, c_size_t, c_void_p),
    "revenium_flush": (c_int32, c_int32),
    "revenium_shutdown": (c_int32, c_int32),
    "revenium_is_initialized": (c_int32,),
    "revenium_status": (c_int32, c_void_p),
    "revenium_status_json": (c_int32, c_void_p),
    "revenium_release": (c_int32, c_uint64),
    "revenium_scope_new": (c_int32, c_uint64, c_char_p, c_size_t, c_uint32, c_void_p),
    "revenium_messages_submit": (c_int32, c_char_p, c_size_t, c_uint64, c_uint64, c_uint64, c_void_p),
    "revenium_call_cancel": (c_int32, c_uint64),
    "revenium_call_pause": (c_int32, c_uint64),
    "revenium_call_resume": (c_int32, c_uint64),
    "revenium_record": (c_int32, c_char_p, c_size_t, c_uint64, c_void_p),
    "revenium_tool_event": (c_int32, c_char_p, c_size_t, c_uint64, c_void_p),
    "revenium_tap_new": (c_int32, c_char_p, c_size_t, c_uint64, c_void_p),
    "revenium_tap_write": (c_int32, c_uint64, c_void_p, c_size_t),
    "revenium_tap_end": (c_int32, c_uint64, c_char_p, c_size_t),
    "revenium_platform_submit": (c_int32, c_char_p, c_char_p, c_size_t, c_uint64, c_uint64, c_void_p),
    "revenium_budget_check": (c_int32, c_char_p, c_size_t, c_uint64, c_void_p),
    "revenium_webhook_verify": (c_int32, c_char_p, c_size_t, c_char_p, c_char_p, c_void_p, c_size_t, c_int32),
    "revenium_queue_new": (c_int32, c_void_p),
    "revenium_queue_read": (c_int32, c_uint64, c_void_p, c_size_t, c_int32, c_void_p),
    "revenium_queue_wake_fd": (c_int32, c_uint64, c_void_p),
    "revenium_result_json": (c_char_p, *_text),
    "revenium_result_message": (c_char_p, *_text),
    "revenium_result_info": (c_char_p, *_text),
    "revenium_result_request_id": (c_char_p, *_text),
}

# The functions of the header that are not declared above, and why.
LEFT_OUT = {
    "revenium_messages_create": "waits in C, where no signal reaches Python",
    "revenium_messages_stream": "waits in C, where no signal reaches Python",
    "revenium_messages_start": "calls back on threads of the library",
    "revenium_platform_call": "waits in C, where no signal reaches Python",
    "revenium_set_log": "calls back on any thread",
    "revenium_scope_push": "belongs to an OS thread, which all tasks of an event loop share",
    "revenium_scope_pop": "belongs to an OS thread, which all tasks of an event loop share",
    "revenium_queue_subscribe": "somebody would have to read; the log goes to standard error",
    "revenium_result_code": "the RESULT frame brings it",
    "revenium_result_text": "the reply is parsed anyway",
    "revenium_result_usage": "the reply is parsed anyway",
}

OK, EMPTY = 0, 1
E_ALREADY, E_CLOSED, E_TIMEOUT, E_CANCELLED, E_BUFFER, E_FORKED, E_UNSUPPORTED = -7, -8, -10, -11, -12, -14, -15
E_CONFIG, E_CONNECTION, E_STREAM, E_BUDGET = -6, -20, -21, -23
# This and below: what the provider said.
E_API = -40

FRAME_EVENT, FRAME_RESULT, FRAME_HEAD = 1, 2, 5
# REVENIUM_EVENT_* as `event:` lines name them; other types are in the JSON.
EVENT_NAMES = (
    None,
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "ping",
)
EVENT_PING = 7
SCOPE_NONE = 1
SCOPE_METER = 1
SCOPE_BENEATH = 256


def at_drop(forget, ends=sys.is_finalizing):
    """A `__del__` that leaves everything as it is while the interpreter ends: it takes the modules apart, and the library
    ends its calls by itself."""

    @functools.wraps(forget)
    def __del__(self):
        if not ends():
            forget(self)

    return __del__


class State(ctypes.Structure):
    """revenium_state"""

    _fields_ = [
        ("struct_size", c_uint32),
        ("initialized", c_int32),
        ("provider", c_int32),
        ("metering", c_int32),
        ("calls_in_flight", ctypes.c_int64),
        ("calls_started", ctypes.c_int64),
        ("calls_failed", ctypes.c_int64),
        ("events_pending", ctypes.c_int64),
        ("events_delivered", ctypes.c_int64),
        ("events_retried", ctypes.c_int64),
        ("events_dropped", ctypes.c_int64),
        ("last_error", c_int32),
        ("last_http_status", c_int32),
    ]


def _load():
    library, path = _locate.find()
    for name, (result, *parameters) in FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError(f"{path} is no librevenium of ABI {ABI}: it lacks {name}") from None
        function.restype, function.argtypes = result, parameters
        globals()[name[len("revenium_") :]] = function
    abi = library.revenium_abi_version()
    if abi != ABI:
        raise ImportError(f"{path} has ABI version {abi}, but this package needs {ABI}: install matching versions")
    return path


path = _load()


def name_of(code):
    """ "REVENIUM_E_RATE_LIMIT" for -48."""
    return code_name(code).decode()  # noqa: F821 (from _load)


def text_of(function, handle):
    """What a reader of results says of `handle`, as text."""
    return (function(handle, None) or b"").decode()
