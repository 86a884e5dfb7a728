"""Metadata that many calls share, and the meter mark, in a context variable: tasks and requests that take turns on one
thread never see each other's. How layers go over one another is the library's business."""

import contextvars
import ctypes
import functools
import inspect
import json
import os
import sys

from . import _errors as errors
from . import _native as native

_current = contextvars.ContextVar("librevenium", default=None)


class Layer:
    """One layer over those around it. Never changes; the library's scope is made when the first call needs it."""

    def __init__(self, outer, fields, meter, owner, beneath=False):
        # By process: a handle of the parent means nothing in a forked child.
        self._handles = {}
        self.outer = outer
        self.owner = owner
        # A copy, as text: what becomes of the mapping afterwards changes nothing.
        self.metadata = _text(fields)
        self.flags = (native.SCOPE_METER if meter else 0) | (native.SCOPE_BENEATH if beneath else 0)

    def scope(self):
        """The native scope of this layer and of all around it. It lives as long as this layer does."""
        pid = os.getpid()
        handle = self._handles.get(pid)
        if handle is None:
            code, made = self._open()
            if code < 0:
                # Metadata never fails a call.
                native.release(made)
                made = 0
            # Threads that share a context may come at the same time: one handle stays.
            handle = self._handles.setdefault(pid, made)
            if handle != made:
                native.release(made)
        return handle or (self.outer.scope() if self.outer else native.SCOPE_NONE)

    def refuse_bad_choices(self):
        """A choice that is none must not go unnoticed: without an idempotency key, a repetition would be counted twice."""
        if b'"revenium"' not in (self.metadata or b""):
            return
        code, made = self._open()
        if code == native.E_CONFIG:
            errors.check(code, made)
        native.release(made)

    def _open(self):
        outer = self.outer.scope() if self.outer else native.SCOPE_NONE
        out = ctypes.c_uint64()
        code = native.scope_new(outer, self.metadata, len(self.metadata or b""), self.flags, ctypes.byref(out))
        return code, out.value

    @native.at_drop
    def __del__(self):
        native.release(self._handles.get(os.getpid(), 0))


def _text(fields):
    """JSON of a mapping. A field that has none is left out: metadata never fails a call."""
    if not isinstance(fields, dict):
        return None
    try:
        return json.dumps(fields).encode()
    except (TypeError, ValueError, RecursionError):
        return json.dumps({str(name): value for name, value in fields.items() if _has_json(value)}).encode()


def _has_json(value):
    try:
        json.dumps(value)
        return True
    except (TypeError, ValueError, RecursionError):
        return False


def current():
    """The layers of the running task, with the span that it runs in under them all; None where there is nothing."""
    trace = _trace_context()
    return under(_current.get(), {"revenium": trace}) if trace else _current.get()


def _trace_context():
    """The W3C trace context of the active span, where the program uses OpenTelemetry. Tracing never fails a call."""
    opentelemetry = sys.modules.get("opentelemetry.trace")
    if opentelemetry is None:
        return None
    try:
        span = opentelemetry.get_current_span().get_span_context()
        if not span.is_valid:
            return None
        trace = {"traceparent": f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags & 1:02x}"}
        state = span.trace_state.to_header()
        return {**trace, "tracestate": state} if state else trace
    except Exception:
        return None


def at(base, outer):
    """`outer` for calls that go to `base`. The program chose it, so the library's own credential may go there, which it may
    not where a request's body says so."""
    return Layer(outer, {"revenium": {"base_url": base}}, False, None) if base else outer


def scope():
    """The native scope that a call made now runs in."""
    layer = _current.get()
    return layer.scope() if layer else native.SCOPE_NONE


class _Scope:
    """`with`, `async with`, or a decorator of a function, coroutine, generator or asynchronous generator. Holds nothing of
    the run: one object may be entered by many tasks at a time, and by one several times."""

    def __init__(self, fields, meter):
        self._fields = fields
        self._meter = meter

    def _layer(self):
        layer = Layer(_current.get(), self._fields, self._meter, self)
        layer.refuse_bad_choices()
        return layer

    def __enter__(self):
        _current.set(self._layer())
        return self

    def __exit__(self, *_):
        layer = _current.get()
        # An asynchronous generator that is given up may leave in another task's context: nothing of ours lies there.
        if layer is not None and layer.owner is self:
            _current.set(layer.outer)

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, *_):
        self.__exit__()

    def __call__(self, function):
        if inspect.isasyncgenfunction(function):
            return self._async_generator(function)
        if inspect.isgeneratorfunction(function):
            return self._generator(function)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def coroutine(*args, **kwargs):
                with self:
                    result = await function(*args, **kwargs)
                return self._around(result)

            return coroutine

        @functools.wraps(function)
        def plain(*args, **kwargs):
            with self:
                result = function(*args, **kwargs)
            return self._around(result)

        return plain

    def _around(self, result):
        """What is still to run: behind another decorator, a generator function looks like a plain one."""
        if inspect.isgenerator(result):
            return self._generator(lambda: result)()
        if inspect.isasyncgen(result):
            return self._async_generator(lambda: result)()
        return self._awaited(result) if inspect.iscoroutine(result) else result

    async def _awaited(self, coroutine):
        with self:
            return await coroutine

    def _generator(self, function):
        """The scope holds for the generator's own steps, not for its consumer between them."""

        @functools.wraps(function)
        def generator(*args, **kwargs):
            inner = function(*args, **kwargs)
            steps = _Steps(self)
            step, value = inner.send, None
            while True:
                try:
                    with steps:
                        item = step(value)
                except StopIteration as stop:
                    return stop.value
                try:
                    value = yield item
                    step = inner.send
                except GeneratorExit:
                    with steps:
                        inner.close()
                    raise
                except BaseException as error:
                    step, value = inner.throw, error

        return generator

    def _async_generator(self, function):
        @functools.wraps(function)
        async def generator(*args, **kwargs):
            inner = function(*args, **kwargs)
            steps = _Steps(self)
            step, value = inner.asend, None
            while True:
                try:
                    with steps:
                        item = await step(value)
                except StopAsyncIteration:
                    return
                try:
                    value = yield item
                    step = inner.asend
                except GeneratorExit:
                    with steps:
                        await inner.aclose()
                    raise
                except BaseException as error:
                    step, value = inner.athrow, error

        return generator


class _Steps:
    """Around each step of a generator: its own layers, with those that its body has put over them, and no others.

    A `with` in a generator's body would else leak to whoever runs the generator, and come off in another context.
    """

    def __init__(self, scope):
        self._scope = scope
        self._inside = None
        self._outside = None

    def __enter__(self):
        self._outside = _current.get()
        if self._inside is None:
            self._inside = self._scope._layer()
        _current.set(self._inside)

    def __exit__(self, *_):
        self._inside = _current.get()
        _current.set(self._outside)


def usage_metadata(fields=None, **more):
    """Usage metadata for every call made inside: `with usage_metadata(organizationName="Acme"):`, or `async with`, or as
    a decorator of a function, coroutine, generator or asynchronous generator. Scopes nest: the inner one wins."""
    if fields is not None and not isinstance(fields, dict):
        fields = None
    return _Scope({**(fields or {}), **more}, False)


def meter(function=None):
    """The meter mark: calls inside are metered even if metering is selective. Used like `usage_metadata`, also as a bare
    `@meter`."""
    mark = _Scope(None, True)
    return mark if function is None else mark(function)


def under(layer, fields):
    """`fields` beneath `layer` and all around it."""
    return Layer(layer, fields, False, None, beneath=True)
