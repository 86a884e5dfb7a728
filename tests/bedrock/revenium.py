"""The C ABI through ctypes, the sandbox, and what every test of Bedrock needs."""

import ctypes as C
import json
import os
import struct
import unittest
import urllib.error
import urllib.request
import zlib
from base64 import b64encode

SANDBOX = os.environ["SANDBOX_URL"]
LIBRARY = os.environ.get("REVENIUM_LIBRARY", "target/debug/librevenium.so")
H = C.c_uint64
BODY = {"max_tokens": 100, "messages": [{"role": "user", "content": "hello there"}]}
MODEL = "claude-sonnet-4-5"
ID = "anthropic.claude-sonnet-4-5-20250929-v1:0"
PATH = "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke"
STREAM_PATH = PATH + "-with-response-stream"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE12345678", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG"}
EVENT_FRAME, RESULT_FRAME, HEAD_FRAME = 1, 2, 5


class Event(C.Structure):
    _fields_ = [("struct_size", C.c_uint32), ("kind", C.c_int32), ("call", C.c_uint64), ("json", C.c_void_p),
                ("json_len", C.c_size_t), ("text", C.c_void_p), ("text_len", C.c_size_t)]


class Usage(C.Structure):
    _fields_ = [("struct_size", C.c_uint32), ("metered", C.c_int32), ("input", C.c_int64), ("output", C.c_int64),
                ("cache_creation", C.c_int64), ("cache_read", C.c_int64)]


class State(C.Structure):
    _fields_ = [("struct_size", C.c_uint32), ("initialized", C.c_int32), ("provider", C.c_int32)]


ON_EVENT = C.CFUNCTYPE(C.c_int32, C.c_void_p, C.POINTER(Event))
ON_LOG = C.CFUNCTYPE(None, C.c_void_p, C.c_int32, C.c_void_p, C.c_size_t)
ON_DONE = C.CFUNCTYPE(None, C.c_void_p, H)

lib = C.CDLL(LIBRARY)
for name, result, *arguments in [
    ("init", C.c_int32, C.c_char_p, C.c_size_t, C.POINTER(H)),
    ("shutdown", C.c_int32, C.c_int32),
    ("flush", C.c_int32, C.c_int32),
    ("release", C.c_int32, H),
    ("code_name", C.c_char_p, C.c_int32),
    ("status", C.c_int32, C.POINTER(State)),
    ("status_json", C.c_int32, C.POINTER(H)),
    ("scope_new", C.c_int32, H, C.c_char_p, C.c_size_t, C.c_uint32, C.POINTER(H)),
    ("record", C.c_int32, C.c_char_p, C.c_size_t, H, C.POINTER(H)),
    ("tool_event", C.c_int32, C.c_char_p, C.c_size_t, H, C.POINTER(H)),
    ("tap_new", C.c_int32, C.c_char_p, C.c_size_t, H, C.POINTER(H)),
    ("tap_write", C.c_int32, H, C.c_char_p, C.c_size_t),
    ("tap_end", C.c_int32, H, C.c_char_p, C.c_size_t),
    ("messages_create", C.c_int32, C.c_char_p, C.c_size_t, H, C.POINTER(H)),
    ("messages_stream", C.c_int32, C.c_char_p, C.c_size_t, H, ON_EVENT, C.c_void_p, C.POINTER(H)),
    ("messages_start", C.c_int32, C.c_char_p, C.c_size_t, H, ON_EVENT, ON_DONE, C.c_void_p, C.POINTER(H)),
    ("messages_submit", C.c_int32, C.c_char_p, C.c_size_t, H, H, C.c_uint64, C.POINTER(H)),
    ("set_log", C.c_int32, ON_LOG, C.c_void_p, C.c_int32),
    ("call_cancel", C.c_int32, H),
    ("queue_new", C.c_int32, C.POINTER(H)),
    ("queue_read", C.c_int32, H, C.c_void_p, C.c_size_t, C.c_int32, C.POINTER(C.c_size_t)),
    ("result_code", C.c_int32, H),
    ("result_json", C.c_void_p, H, C.POINTER(C.c_size_t)),
    ("result_text", C.c_void_p, H, C.POINTER(C.c_size_t)),
    ("result_message", C.c_void_p, H, C.POINTER(C.c_size_t)),
    ("result_request_id", C.c_void_p, H, C.POINTER(C.c_size_t)),
    ("result_info", C.c_void_p, H, C.POINTER(C.c_size_t)),
    ("result_usage", C.c_int32, H, C.POINTER(Usage)),
]:
    function = getattr(lib, "revenium_" + name)
    function.restype, function.argtypes = result, arguments


class Result:
    """What a result handle tells, read and released."""

    def __init__(self, handle):
        def text(part):
            length = C.c_size_t()
            pointer = getattr(lib, "revenium_result_" + part)(handle, C.byref(length))
            return C.string_at(pointer, length.value).decode()

        self.code = code_name(lib.revenium_result_code(handle))
        self.raw, self.text, self.message = text("json"), text("text"), text("message")
        self.request_id, self.info = text("request_id"), json.loads(text("info"))
        self.json = json.loads(self.raw) if self.raw else None
        self.usage = Usage(C.sizeof(Usage))
        lib.revenium_result_usage(handle, C.byref(self.usage))
        lib.revenium_release(handle)


def code_name(code):
    return "OK" if code == 0 else lib.revenium_code_name(code).decode().removeprefix("REVENIUM_")


def request(body=None, model=MODEL, **more):
    return json.dumps({"model": model, **BODY, **more} if body is None else body).encode()


def create(body=None, scope=None, **more):
    """`scope`: choices that the host makes for the call."""
    text, handle, within = body if isinstance(body, bytes) else request(body, **more), H(), H(1)
    if scope is not None:
        choices = json.dumps({"revenium": scope}).encode()
        lib.revenium_scope_new(0, choices, len(choices), 0, C.byref(within))
    lib.revenium_messages_create(text, len(text), within, C.byref(handle))
    if scope is not None:
        lib.revenium_release(within)
    return Result(handle.value)


def stream(body=None, stop_after=None, **more):
    """The events as their JSON, and the result."""
    events = []

    def on_event(_, event):
        events.append(C.string_at(event.contents.json, event.contents.json_len).decode())
        return int(stop_after is not None and len(events) >= stop_after)

    text, handle = request(body, **more), H()
    lib.revenium_messages_stream(text, len(text), 1, ON_EVENT(on_event), None, C.byref(handle))
    return events, Result(handle.value)


def submit(text, on_frame=lambda kind, call: None):
    """The frames of one call through a queue as kind and body, and its result."""
    queue, call, used = H(), H(), C.c_size_t()
    lib.revenium_queue_new(C.byref(queue))
    assert lib.revenium_messages_submit(text, len(text), 1, queue, 7, C.byref(call)) == 0
    buffer, frames = (C.c_uint64 * 65536)(), []
    while not frames or frames[-1][0] != RESULT_FRAME:
        assert lib.revenium_queue_read(queue, buffer, C.sizeof(buffer), 30000, C.byref(used)) == 0
        data, at = C.string_at(buffer, used.value), 0
        while at < len(data):
            size, length, of, _, kind, _ = struct.unpack_from("=IIQQii", data, at)
            frames.append((kind, data[at + 32:at + 32 + length].decode()))
            on_frame(kind, of)
            at += size
    lib.revenium_release(queue)
    return frames, Result(call.value)


def status():
    handle = H()
    lib.revenium_status_json(C.byref(handle))
    return Result(handle.value).json


def sandbox(method, path, body=None):
    call = urllib.request.Request(SANDBOX + path, method=method, data=None if body is None else json.dumps(body).encode())
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call) as answer:
        return json.loads(answer.read() or b"null")


def plan(path, *answers):
    sandbox("POST", "/sandbox/plan", {"path": path, "answers": answers})


def requests(service="bedrock"):
    return sandbox("GET", "/sandbox/requests?service=" + service)


def frame(headers, payload):
    """A frame of an event stream, made by the book."""
    block = b"".join(
        struct.pack("!B", len(name)) + name.encode() + b"\x07" + struct.pack("!H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    start = struct.pack("!II", 16 + len(block) + len(payload), len(block))
    start += struct.pack("!I", zlib.crc32(start)) + block + payload
    return start + struct.pack("!I", zlib.crc32(start))


def chunk(event):
    payload = json.dumps({"bytes": b64encode(event.encode()).decode(), "p": "abcdefghijkl"})
    headers = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, payload.encode())


def exception(kind, payload):
    headers = {":message-type": "exception", ":exception-type": kind, ":content-type": "application/json"}
    return frame(headers, json.dumps(payload).encode())


def framed(data, size):
    """An answer with these bytes as an event stream, cut into pieces of `size`."""
    pieces = [data[at:at + size] for at in range(0, len(data), size)]
    chunks = [{"base64": b64encode(piece).decode()} for piece in pieces]
    return {"chunks": chunks, "headers": {"content-type": "application/vnd.amazon.eventstream"}}


class BedrockTest(unittest.TestCase):
    """Each test starts the library anew, with AWS keys and no key of Anthropic unless it says otherwise."""

    maxDiff = None

    def setUp(self):
        environment = dict(os.environ)
        self.addCleanup(lambda: (os.environ.clear(), os.environ.update(environment)))
        os.environ.pop("ANTHROPIC_API_KEY")
        os.environ.update(KEYS, REVENIUM_LOG_LEVEL="CRITICAL")
        for what in ["plan", "requests", "records"]:
            sandbox("DELETE", "/sandbox/" + what)

    def start(self, config=None, **environment):
        for name, value in environment.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        # Attempts are counted in the tests that are about them.
        text, detail = json.dumps({"max_retries": 0, **(config or {})}).encode(), H()
        if lib.revenium_init(text, len(text), C.byref(detail)) != 0:
            self.fail(Result(detail.value).message)
        self.addCleanup(lib.revenium_shutdown, 5000)

    def records(self, count=1):
        self.assertEqual(lib.revenium_flush(10000), 0)
        records = [record["body"] for record in sandbox("GET", "/sandbox/records")]
        self.assertEqual(len(records), count, records)
        return records

    def record(self):
        return self.records()[0]

    def assertHas(self, found, **expected):
        self.assertEqual({name: found.get(name) for name in expected}, expected)
