"""The C ABI through ctypes, the sandbox, and what every test of the platform needs."""

import ctypes as C
import json
import os
import tempfile
import time
import unittest
import urllib.request

SANDBOX = os.environ["SANDBOX_URL"]
LIBRARY = os.environ.get("REVENIUM_LIBRARY", "target/debug/librevenium.so")
H = C.c_uint64
NTS = C.c_size_t(-1).value
KEY = "rev_sk_tenant1_0123456789abcdef"
TEAM = "te am/1"
JOBS = "/profitstream/v2/api/jobs"
RULES = "/v2/api/ai/enforcement-rules/te%20am%2F1"
WAITING = 30
ON_LOG = C.CFUNCTYPE(None, C.c_void_p, C.c_int32, C.c_void_p, C.c_size_t)

lib = C.CDLL(LIBRARY)
for name, result, *arguments in [
    ("init", C.c_int32, C.c_char_p, C.c_size_t, C.POINTER(H)),
    ("shutdown", C.c_int32, C.c_int32),
    ("flush", C.c_int32, C.c_int32),
    ("release", C.c_int32, H),
    ("code_name", C.c_char_p, C.c_int32),
    ("status_json", C.c_int32, C.POINTER(H)),
    ("set_log", C.c_int32, ON_LOG, C.c_void_p, C.c_int32),
    ("scope_new", C.c_int32, H, C.c_char_p, C.c_size_t, C.c_uint32, C.POINTER(H)),
    ("messages_create", C.c_int32, C.c_char_p, C.c_size_t, H, C.POINTER(H)),
    ("messages_submit", C.c_int32, C.c_char_p, C.c_size_t, H, H, C.c_uint64, C.POINTER(H)),
    ("tool_event", C.c_int32, C.c_char_p, C.c_size_t, H, C.POINTER(H)),
    ("platform_call", C.c_int32, C.c_char_p, C.c_char_p, C.c_size_t, C.POINTER(H)),
    ("platform_submit", C.c_int32, C.c_char_p, C.c_char_p, C.c_size_t, H, C.c_uint64, C.POINTER(H)),
    ("budget_check", C.c_int32, C.c_char_p, C.c_size_t, H, C.POINTER(H)),
    ("webhook_verify", C.c_int32, C.c_char_p, C.c_size_t, C.c_char_p, C.c_char_p, C.c_char_p, C.c_size_t, C.c_int32),
    ("call_cancel", C.c_int32, H),
    ("queue_new", C.c_int32, C.POINTER(H)),
    ("queue_read", C.c_int32, H, C.c_void_p, C.c_size_t, C.c_int32, C.POINTER(C.c_size_t)),
    ("result_code", C.c_int32, H),
    ("result_json", C.c_void_p, H, C.POINTER(C.c_size_t)),
    ("result_message", C.c_void_p, H, C.POINTER(C.c_size_t)),
    ("result_info", C.c_void_p, H, C.POINTER(C.c_size_t)),
]:
    function = getattr(lib, "revenium_" + name)
    function.restype, function.argtypes = result, arguments


class Result:
    """What a function said: its code's name without the prefix, and what its result tells. The handle is given back."""

    def __init__(self, code, handle):
        self.code = lib.revenium_code_name(code).decode().removeprefix("REVENIUM_").removeprefix("E_")
        self.json = json.loads(self._text("json", handle) or "null")
        self.info = json.loads(self._text("info", handle) or "{}")
        self.message = self._text("message", handle)
        self.error = (self.json or {}).get("error") if isinstance(self.json, dict) else None
        lib.revenium_release(handle)

    @staticmethod
    def _text(part, handle):
        length = C.c_size_t()
        pointer = getattr(lib, "revenium_result_" + part)(handle, C.byref(length))
        return C.string_at(pointer, length.value).decode() if pointer else ""


def platform(operation, _raw=None, **params):
    out = H()
    text = json.dumps(params).encode() if _raw is None else _raw
    code = lib.revenium_platform_call(operation.encode(), text, len(text), C.byref(out))
    return Result(code, out.value)


def check(body, scope=1):
    out, text = H(), json.dumps(body).encode()
    return Result(lib.revenium_budget_check(text, len(text), scope, C.byref(out)), out.value)


def create(body, scope=1):
    out, text = H(), json.dumps(body).encode()
    return Result(lib.revenium_messages_create(text, len(text), scope, C.byref(out)), out.value)


def tool_event(event, scope=1):
    out, text = H(), json.dumps(event).encode() if isinstance(event, dict) else event
    return Result(lib.revenium_tool_event(text, len(text), scope, C.byref(out)), out.value)


def scope_of(metadata):
    """A scope, to be released; or the result that says why there is none."""
    out, text = H(), json.dumps(metadata).encode()
    code = lib.revenium_scope_new(1, text, len(text), 0, C.byref(out))
    return out.value if code == 0 else Result(code, out.value)


def status():
    out = H()
    return Result(lib.revenium_status_json(C.byref(out)), out.value).json


def sandbox(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(SANDBOX + path, data, method=method)
    with urllib.request.urlopen(request, timeout=WAITING) as reply:
        text = reply.read()
    return json.loads(text) if text else None


def plan(path, *answers):
    sandbox("POST", "/sandbox/plan", {"path": path, "answers": list(answers)})


def seen(service="platform"):
    return sandbox("GET", f"/sandbox/requests?service={service}")


def until(condition):
    """What `condition` gives once it is true."""
    deadline = time.monotonic() + WAITING
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError("it never came")
        time.sleep(0.01)
    return value


class Test(unittest.TestCase):
    def setUp(self):
        self.lines = []

        def on_log(_user, _level, text, length):
            self.lines.append(C.string_at(text, length).decode())

        self.on_log = ON_LOG(on_log)
        lib.revenium_set_log(self.on_log, None, 3)
        self.addCleanup(lib.revenium_set_log, ON_LOG(), None, 3)
        for what in ["plan", "requests", "records"]:
            sandbox("DELETE", f"/sandbox/{what}")
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def start(self, **settings):
        """Start the library afresh with these settings beside the sandbox's."""
        config = {
            "anthropic_base_url": SANDBOX,
            "metering_base_url": SANDBOX,
            "metering_api_key": KEY,
            "team_id": TEAM,
            "spool_dir": self.directory.name,
            "log_level": "INFO",
            **settings,
        }
        text, out = json.dumps(config).encode(), H()
        code = lib.revenium_init(text, len(text), C.byref(out))
        self.assertEqual(code, 0, Result(code, out.value).message if code else "")
        self.addCleanup(self.stop)

    def stop(self):
        lib.revenium_shutdown(5000)
