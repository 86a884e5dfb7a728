"""CORE: completion queues, and calls that wait for their frames. Everything that takes time in this package passes here.

Each event loop has one queue, read when the loop finds its wake descriptor readable. A call that a thread waits for has a
queue of its own from a pool, so that a stream may be read on another thread than it was begun on, and threads never wait
for each other; it waits in poll(2), where signals reach it and other code (gevent's too) runs meanwhile.
"""

import asyncio
import collections
import ctypes
import json
import os
import select
import struct
import time
import weakref

from . import _errors as errors
from . import _native as native

# What usage records name as their source.
MIDDLEWARE_SOURCE = "revenium-anthropic-python"
READ_BYTES = 64 * 1024
# How often in one turn of the event loop: other tasks have their turn in between.
READS_PER_TURN = 16
# Idle queues that are kept for the next call.
POOLED = 64
# Of one call's events; while more lies here unread, the library reads no more of it from the network.
MAX_UNREAD = 256 * 1024
# Windows has no descriptor that Python could wait at.
HAS_WAKE = os.name != "nt"
# There, a wait in C is cut into pieces, between which signals are handled.
BLIND_WAIT_MS = 100

_header = struct.Struct("=IIQQii")
_submit, _read, _release = native.messages_submit, native.queue_read, native.release
_ask = native.platform_submit


class Ended:
    """How a call ended."""

    __slots__ = ("code", "body", "message", "request_id", "_info")

    def __init__(self, code, body, handle):
        self.code = code
        self.body = body
        self._info = native.text_of(native.result_info, handle)
        self.request_id = native.text_of(native.result_request_id, handle) or None
        self.message = "" if code == native.OK else native.text_of(native.result_message, handle)

    @property
    def info(self):
        """What the library knows about the call beside its content."""
        if isinstance(self._info, str):
            self._info = json.loads(self._info or "{}")
        return self._info


class Call:
    """A call under way: what has arrived and was not taken. `head` and `ended` are None until they come."""

    __slots__ = ("queue", "tag", "handle", "head", "begun", "events", "unread", "paused", "ended", "waiter", "__weakref__")

    def __init__(self, queue, tag, handle):
        self.queue = queue
        self.tag = tag
        self.handle = handle
        self.head = None
        # An event has come.
        self.begun = False
        self.events = collections.deque()
        self.unread = 0
        self.paused = False
        self.ended = None
        self.waiter = None

    def cancel(self):
        """Ask it to end. It still reports its result. Too late or twice is fine."""
        if self.ended is None:
            native.call_cancel(self.handle)

    def take(self):
        """The oldest event that was not taken, as its number and its JSON."""
        kind, body = self.events.popleft()
        self.unread -= len(body)
        if self.paused and self.unread <= MAX_UNREAD // 2:
            self.paused = False
            native.call_resume(self.handle)
        return kind, body

    def frame(self, kind, code, body):
        if kind == native.FRAME_EVENT:
            self.begun = True
            self.events.append((code, body))
            self.unread += len(body)
            if self.unread > MAX_UNREAD and not self.paused:
                self.paused = True
                native.call_pause(self.handle)
        elif kind == native.FRAME_HEAD:
            self.head = body
        elif kind == native.FRAME_RESULT:
            self.ended = Ended(code, body, self.handle)
            _release(self.handle)
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Queue:
    """A completion queue of the library and the calls that report to it."""

    def __init__(self):
        out = ctypes.c_uint64()
        errors.check(native.queue_new(ctypes.byref(out)))
        self.pid = os.getpid()
        self.handle = out.value
        self.calls = {}
        self._tag = 0
        self._used = ctypes.c_size_t()
        self._used_ref = ctypes.byref(self._used)
        self._room()
        fd = ctypes.c_int32(-1)
        if HAS_WAKE:
            errors.check(native.queue_wake_fd(self.handle, ctypes.byref(fd)))
        self.fd = fd.value

    def _room(self, size=READ_BYTES):
        self._bytes = bytearray(size)
        self._buffer = (ctypes.c_char * size).from_buffer(self._bytes)

    def submit(self, request, scope):
        """Begin a call. `request`: the body with the members `usage_metadata` and `revenium`, as bytes. Raises
        ReveniumError, and sends nothing, when the library refuses it."""
        return self._begin(lambda tag, out: _submit(request, len(request), scope, self.handle, tag, out))

    def ask(self, operation, params):
        """The same for an operation of Revenium's platform; both are bytes."""
        return self._begin(lambda tag, out: _ask(operation, params, len(params), self.handle, tag, out))

    def _begin(self, begin):
        start()
        self._tag = tag = self._tag + 1
        out = ctypes.c_uint64()
        code = begin(tag, ctypes.byref(out))
        if code < 0:
            errors.check(code, out.value)
        call = self.calls[tag] = Call(self, tag, out.value)
        return call

    def read(self):
        """Give the frames that are there to their calls. False: there was none."""
        code = _read(self.handle, self._buffer, len(self._bytes), 0, self._used_ref)
        if code == native.E_BUFFER:
            self._room(self._used.value)
            code = _read(self.handle, self._buffer, len(self._bytes), 0, self._used_ref)
        if code != native.OK:
            # After shutdown, or in a process forked meanwhile, nothing comes any more.
            if code < 0 and self.calls:
                errors.check(code)
            return False
        used, memory, calls, at = self._used.value, self._bytes, self.calls, 0
        while at < used:
            size, length, _call, tag, kind, number = _header.unpack_from(memory, at)
            body = bytes(memory[at + 32 : at + 32 + length])
            at += size
            call = calls.pop(tag, None) if kind == native.FRAME_RESULT else calls.get(tag)
            if call is not None:
                call.frame(kind, number, body)
        if len(memory) > READ_BYTES:
            # A large reply needed more: that room goes back.
            self._room()
        return True

    def wait(self, seconds):
        """Wait until there may be frames, or the time is up. None: no limit."""
        if self.fd < 0:
            # With room for no frame it only waits.
            limit = BLIND_WAIT_MS if seconds is None else min(BLIND_WAIT_MS, int(seconds * 1000))
            _read(self.handle, None, 0, limit, ctypes.byref(ctypes.c_size_t()))
            return
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        if poll.poll(None if seconds is None else max(0, seconds * 1000)):
            self.clear()

    def clear(self):
        """Drop what the wake descriptor has to read, before the queue is read."""
        try:
            if self.fd >= 0:
                os.read(self.fd, 4096)
        except OSError:
            pass

    def close(self):
        """Its calls are cancelled, and metered with what they used."""
        handle, self.handle = self.handle, 0
        if not handle:
            return
        if self.fd >= 0:
            os.close(self.fd)
        if self.pid == os.getpid():
            for call in self.calls.values():
                _release(call.handle)
            _release(handle)

    @native.at_drop
    def __del__(self):
        if self.__dict__.get("handle"):
            self.close()


# ---- the process ----


class _Process:
    """What belongs to this process, and not to one forked from it."""

    def __init__(self):
        self.pid = os.getpid()
        # Whether the library was started; None: after shutdown().
        self.started = False
        self.idle = []
        self.loops = weakref.WeakKeyDictionary()


_process = _Process()


def process():
    global _process
    if _process.pid != os.getpid():
        # The library goes on with the parent's settings. Its queues, calls and scopes are the parent's.
        of_parent, _process = _process, _Process()
        _process.started = of_parent.started
    return _process


def init(config=None):
    text = json.dumps({"middleware_source": MIDDLEWARE_SOURCE, **(config or {})}).encode()
    detail = ctypes.c_uint64()
    errors.check(native.init(text, len(text), ctypes.byref(detail)), detail.value)
    process().started = True


def start():
    """Start the library from the environment, unless it runs: other code may have started it, in its own way."""
    if process().started or process().started is None:
        return
    try:
        init()
    except errors.ReveniumError as error:
        if error.code != "REVENIUM_E_ALREADY":
            raise
        process().started = True


def shut():
    """No call starts the library any more, until init()."""
    process().started = None


# ---- calls that a thread waits for ----


def begin(request, layer=None):
    """A call whose frames `advance` waits for. Give its queue back with `finish`."""
    return _pooled(lambda queue: queue.submit(request, layer.scope() if layer else native.SCOPE_NONE))


def begin_ask(operation, params):
    """The same for Revenium's platform."""
    return _pooled(lambda queue: queue.ask(operation, params))


def _pooled(submit):
    pool = process().idle
    try:
        queue = pool.pop()
    except IndexError:
        queue = Queue()
    try:
        return submit(queue)
    except BaseException:
        pool.append(queue)
        raise


def advance(call, deadline=None):
    """Wait until something more has come of `call`; TimeoutError when the time.monotonic() of `deadline` has passed."""
    while not call.queue.read():
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        call.queue.wait(left)


def finish(call):
    """Nobody wants more of `call`: it is cancelled, unless it has ended."""
    queue, call.queue = call.queue, None
    pool = process().idle
    if queue is None:
        return
    if call.ended is None:
        queue.close()
    elif queue.handle and queue.pid == os.getpid() and len(pool) < POOLED:
        # Without a handle: it was closed in the same sweep of the garbage collector.
        pool.append(queue)


# ---- calls that an event loop waits for ----


class LoopQueue(Queue):
    """The queue of one event loop, which it must not hold."""

    def __init__(self, loop):
        super().__init__()
        self._watched = False
        if HAS_WAKE:
            # The loop's reader must not hold the queue either, or none of the two would go.
            me = weakref.ref(self)
            loop.add_reader(self.fd, lambda: (queue := me()) is not None and queue.drain())

    def _begin(self, begin):
        call = super()._begin(begin)
        if not HAS_WAKE:
            self._watch()
        return call

    def _watch(self):
        """As long as calls are under way, a thread of the loop's pool waits for their frames."""
        if not self._watched and self.calls:
            self._watched = True
            asyncio.get_running_loop().run_in_executor(None, self.wait, None).add_done_callback(self._waited)

    def _waited(self, _):
        self._watched = False
        self.drain()
        self._watch()

    def drain(self):
        self.clear()
        for _ in range(READS_PER_TURN):
            if not self.read():
                return
        asyncio.get_running_loop().call_soon(self.drain)


def begin_async(request, layer=None):
    return _of_loop().submit(request, layer.scope() if layer else native.SCOPE_NONE)


def begin_ask_async(operation, params):
    return _of_loop().ask(operation, params)


def _of_loop():
    loop = asyncio.get_running_loop()
    loops = process().loops
    queue = loops.get(loop)
    if queue is None:
        queue = loops[loop] = LoopQueue(loop)
    return queue


async def advance_async(call, deadline=None):
    """Wait until something more has come of `call`; TimeoutError when the time.monotonic() of `deadline` has passed."""
    waiter = call.waiter = asyncio.get_running_loop().create_future()
    timer = None
    if deadline is not None:
        timer = asyncio.get_running_loop().call_later(max(0, deadline - time.monotonic()), _expire, waiter)
    try:
        await waiter
    finally:
        call.waiter = None
        if timer is not None:
            timer.cancel()


def _expire(waiter):
    if not waiter.done():
        waiter.set_exception(TimeoutError())


def finish_async(call):
    """Nobody wants more of `call`. It still reports, and is forgotten then."""
    call.cancel()
    call.events.clear()
