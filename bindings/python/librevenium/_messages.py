"""`client.messages`: what the official SDK calls Messages."""

import json
import time

from . import _core as core
from . import _errors as errors
from . import _native as native
from . import _objects as objects
from . import _scopes as scopes


class Options:
    """What a client chooses for its calls; what is None stays as the settings say."""

    def __init__(
        self, api_key=None, auth_token=None, base_url=None, timeout=None, max_retries=None, default_headers=None, provider=None
    ):
        self.api_key = api_key
        self.auth_token = auth_token
        self.base_url = base_url
        # Seconds. A whole reply, or for a stream the longest silence.
        self.timeout = timeout
        self.max_retries = max_retries
        self.default_headers = default_headers
        self.provider = provider

    def request(self, params, stream, extra_headers=None, extra_body=None, timeout=None):
        """The body with the members that are for the library, as bytes, and the timeout in seconds."""
        body = {**params, **(extra_body or {})}
        if stream:
            body["stream"] = True
        else:
            body.pop("stream", None)
        timeout = self.timeout if timeout is None else timeout
        headers = {}
        if self.auth_token is not None:
            headers["authorization"] = f"Bearer {self.auth_token}"
        for layer in (self.default_headers, extra_headers):
            headers.update({name.lower(): value for name, value in (layer or {}).items()})
        choices = {
            "api_key": self.api_key,
            "provider": self.provider,
            "max_retries": self.max_retries,
            # A stream may run for hours: there whoever reads it watches the time.
            "timeout_ms": None if stream or timeout is None else max(1, round(timeout * 1000)),
            "headers": headers or None,
        }
        choices = {name: value for name, value in choices.items() if value is not None}
        choices.update(body.pop("revenium", None) or {})
        if choices:
            body["revenium"] = choices
        if body.get("usage_metadata") is None:
            body.pop("usage_metadata", None)
        return json.dumps(body).encode(), timeout


class _Reader:
    """A stream under way, whoever waits for it: what its frames say, and its end."""

    def __init__(self, call, seconds):
        self.call = call
        self.seconds = seconds
        self.failed = None

    def deadline(self):
        return None if self.seconds is None else time.monotonic() + self.seconds

    def next(self):
        """The next event, or None if more has to come first. Raises StopIteration or the call's error at the end."""
        call = self.call
        while call.events:
            kind, body = call.take()
            if not objects.is_ping(kind):
                return objects.parse(body)
        if self.failed is not None:
            raise self.failed
        if call.ended is None:
            return None
        if call.ended.code != native.OK:
            raise errors.of_call(call.ended)
        return END

    def fail(self, error):
        self.failed = error
        return error


END = object()
_TIMED_OUT = "Request timed out."


class Messages:
    """Sync calls. They may be made from any thread; a stream may be read on another thread than it was begun on."""

    def __init__(self, options=None):
        self._options = options or Options()

    def create(self, *, stream=False, extra_headers=None, extra_body=None, timeout=None, **params):
        """Send a message. Returns the Message, or with `stream=True` a Stream of its events."""
        request, seconds = self._options.request(params, stream, extra_headers, extra_body, timeout)
        if stream:
            return Stream(request, seconds, self._options.base_url)
        call = core.begin(request, scopes.at(self._options.base_url, scopes.current()))
        try:
            while call.ended is None:
                core.advance(call)
        finally:
            core.finish(call)
        if call.ended.code != native.OK:
            raise errors.of_call(call.ended)
        return objects.message_of(call.ended)

    def stream(self, *, extra_headers=None, extra_body=None, timeout=None, **params):
        """Send a message and follow the reply: `with client.messages.stream(...) as stream: for text in stream.text_stream`."""
        request, seconds = self._options.request(params, True, extra_headers, extra_body, timeout)
        return MessageStreamManager(lambda: MessageStream(Stream(request, seconds, self._options.base_url)))


class Stream:
    """The events of a reply as the provider sends them. close(), or leaving the `with`, ends the call."""

    def __init__(self, request, seconds, base_url=None):
        self._call = core.begin(request, scopes.at(base_url, scopes.current()))
        self._reader = _Reader(self._call, seconds)
        try:
            deadline = self._reader.deadline()
            while self._call.head is None and self._call.ended is None:
                core.advance(self._call, deadline)
        except TimeoutError:
            core.finish(self._call)
            raise errors.APITimeoutError(_TIMED_OUT) from None
        except BaseException:
            core.finish(self._call)
            raise
        if self._call.head is None and self._call.ended.code != native.OK:
            core.finish(self._call)
            raise errors.of_call(self._call.ended)

    def __iter__(self):
        return self

    def __next__(self):
        event = self._next()
        if event is END:
            core.finish(self._call)
            raise StopIteration
        return event

    def _next(self):
        deadline = self._reader.deadline()
        try:
            while (event := self._reader.next()) is None:
                core.advance(self._call, deadline)
            return event
        except TimeoutError:
            core.finish(self._call)
            raise self._reader.fail(errors.APITimeoutError(_TIMED_OUT)) from None
        except errors.AnthropicError:
            core.finish(self._call)
            raise

    @property
    def ended(self):
        """How the call ended; None while it runs."""
        return self._call.ended

    def close(self):
        """End the call. What was used until then is metered."""
        if self._call.ended is None and self._reader.failed is None:
            self._reader.fail(errors.APICancelledError("The stream was closed.", code="REVENIUM_E_CANCELLED"))
        core.finish(self._call)
        self._call.events.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @native.at_drop
    def __del__(self):
        if "_reader" in self.__dict__:
            core.finish(self._call)


class MessageStreamManager:
    def __init__(self, begin):
        self._begin = begin
        self._stream = None

    def __enter__(self):
        self._stream = self._begin()
        return self._stream

    def __exit__(self, *_):
        if self._stream is not None:
            self._stream.close()


class _Helper:
    """What MessageStream and AsyncMessageStream share."""

    def __init__(self, raw):
        self._raw = raw
        self._snapshot = objects.Snapshot()

    @property
    def current_message_snapshot(self):
        return self._snapshot.message

    def _message(self):
        return objects.message_of(self._raw.ended)


class MessageStream(_Helper):
    """A reply as it grows: iterate over its events, over `text_stream`, or ask for the whole."""

    def __iter__(self):
        for event in self._raw:
            derived = self._snapshot.take(event)
            yield event
            yield from derived

    @property
    def text_stream(self):
        return (event.text for event in self if event.type == "text")

    def until_done(self):
        for _ in self:
            pass

    def get_final_message(self):
        self.until_done()
        return self._message()

    def get_final_text(self):
        return self.get_final_message().text

    def close(self):
        self._raw.close()


# ---- the same for an event loop ----


class AsyncMessages:
    def __init__(self, options=None):
        self._options = options or Options()

    async def create(self, *, stream=False, extra_headers=None, extra_body=None, timeout=None, **params):
        """Send a message. Returns the Message, or with `stream=True` an AsyncStream of its events."""
        request, seconds = self._options.request(params, stream, extra_headers, extra_body, timeout)
        if stream:
            return await AsyncStream._begun(request, seconds, self._options.base_url)
        call = core.begin_async(request, scopes.at(self._options.base_url, scopes.current()))
        try:
            while call.ended is None:
                await core.advance_async(call)
        except BaseException:
            core.finish_async(call)
            raise
        if call.ended.code != native.OK:
            raise errors.of_call(call.ended)
        return objects.message_of(call.ended)

    def stream(self, *, extra_headers=None, extra_body=None, timeout=None, **params):
        """`async with client.messages.stream(...) as stream: async for text in stream.text_stream`."""
        request, seconds = self._options.request(params, True, extra_headers, extra_body, timeout)
        return AsyncMessageStreamManager(request, seconds, self._options.base_url)


class AsyncStream:
    """The events of a reply as the provider sends them. close(), or leaving the `async with`, ends the call."""

    def __init__(self, call, seconds):
        self._call = call
        self._reader = _Reader(call, seconds)

    @classmethod
    async def _begun(cls, request, seconds, base_url):
        call = core.begin_async(request, scopes.at(base_url, scopes.current()))
        stream = cls(call, seconds)
        try:
            deadline = stream._reader.deadline()
            while call.head is None and call.ended is None:
                await core.advance_async(call, deadline)
        except TimeoutError:
            core.finish_async(call)
            raise errors.APITimeoutError(_TIMED_OUT) from None
        except BaseException:
            core.finish_async(call)
            raise
        if call.head is None and call.ended.code != native.OK:
            raise errors.of_call(call.ended)
        return stream

    def __aiter__(self):
        return self

    async def __anext__(self):
        deadline = self._reader.deadline()
        while (event := self._reader.next()) is None:
            try:
                await core.advance_async(self._call, deadline)
            except TimeoutError:
                core.finish_async(self._call)
                raise self._reader.fail(errors.APITimeoutError(_TIMED_OUT)) from None
        if event is END:
            raise StopAsyncIteration
        return event

    @property
    def ended(self):
        """How the call ended; None while it runs."""
        return self._call.ended

    async def close(self):
        """End the call. What was used until then is metered."""
        if self._call.ended is None and self._reader.failed is None:
            self._reader.fail(errors.APICancelledError("The stream was closed.", code="REVENIUM_E_CANCELLED"))
        core.finish_async(self._call)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()

    @native.at_drop
    def __del__(self):
        call = self.__dict__.get("_call")
        if call is not None and call.ended is None:
            core.finish_async(call)


class AsyncMessageStreamManager:
    def __init__(self, request, seconds, base_url):
        self._begin = lambda: AsyncStream._begun(request, seconds, base_url)
        self._stream = None

    async def __aenter__(self):
        self._stream = AsyncMessageStream(await self._begin())
        return self._stream

    async def __aexit__(self, *_):
        if self._stream is not None:
            await self._stream.close()


class AsyncMessageStream(_Helper):
    """A reply as it grows: iterate over its events, over `text_stream`, or ask for the whole."""

    async def __aiter__(self):
        async for event in self._raw:
            derived = self._snapshot.take(event)
            yield event
            for more in derived:
                yield more

    @property
    async def text_stream(self):
        async for event in self:
            if event.type == "text":
                yield event.text

    async def until_done(self):
        async for _ in self:
            pass

    async def get_final_message(self):
        await self.until_done()
        return self._message()

    async def get_final_text(self):
        return (await self.get_final_message()).text

    async def close(self):
        await self._raw.close()


class Anthropic:
    """A client of the Messages API. Takes what the official one takes for it: `api_key`, `auth_token`, `base_url`,
    `timeout` in seconds, `max_retries`, `default_headers`; and `provider`, "anthropic" or "bedrock"."""

    def __init__(self, **options):
        self.messages = Messages(Options(**options))


class AsyncAnthropic:
    """The same for asyncio."""

    def __init__(self, **options):
        self.messages = AsyncMessages(Options(**options))
