"""An HTTP client for the official SDK: `anthropic.Anthropic(http_client=librevenium.http_client())`. POST .../v1/messages
goes through the library and is metered; everything else goes out as it would without us. The SDK keeps its types, helpers
and retries. Serves httpx and httpx2, whichever the SDK takes."""

import functools
import importlib
import inspect
import json
import logging
import re
import sys
import time
import weakref

from . import _core as core
from . import _errors as errors
from . import _native as native
from . import _scopes as scopes
from . import _watched as watched

PATH = "/v1/messages"
# How often the SDK tries again unless it is told otherwise.
SDK_RETRIES = 2
# In a request's extensions: what whoever made it knows. {"last": whether the SDK gives up after this attempt}, {"direct":
# True} for a service that is not Anthropic's own, {"usage_metadata"} of a call whose body passes as it is.
EXTENSION = "revenium"
# Headers of one connection, or of the body as it was before our members went in.
NOT_PASSED_ON = frozenset(
    (
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
# Response headers that no longer fit the body: it is decoded, and of another length.
NOT_HANDED_OVER = frozenset(("connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"))
# Hosts whose requests are signed over their very bytes, or that are not Anthropic's own service.
FOREIGN_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".azure.com", ".googleapis.com")
# A plain client that is aimed at AWS's Bedrock cannot sign, and there is no Messages API: the library asks Bedrock for it.
BEDROCK_HOST = re.compile(r"bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com|amazonaws\.com\.cn|api\.aws)$")
# Options of a client that are about its connections rather than its requests.
CONNECTION_OPTIONS = ("verify", "cert", "http1", "http2", "proxy", "proxies", "mounts", "limits", "transport", "trust_env")

_log = logging.getLogger("librevenium")


def http_client(*, max_retries=SDK_RETRIES, module=None, **options):
    """An HTTP client for `anthropic.Anthropic(http_client=...)`.

    max_retries: that of the SDK's client, if it is not the default: only the attempt after which the SDK gives up leaves a
      record of a failure, and the SDK tells nobody how often it will try.
    module: `httpx` or `httpx2`; else the one that the installed SDK takes.
    options: of the SDK's DefaultHttpxClient. What they say about connections holds for requests that are not metered.
    """
    made = _made_for(module or _module())
    ours, theirs = _options(options)
    return _noted(made.client(transport=made.transport(made.client(**theirs), max_retries), **ours))


def async_http_client(*, max_retries=SDK_RETRIES, module=None, **options):
    """The same for `anthropic.AsyncAnthropic(http_client=...)`, on asyncio."""
    made = _made_for(module or _module())
    ours, theirs = _options(options)
    return _noted(made.async_client(transport=made.async_transport(made.async_client(**theirs), max_retries), **ours))


_clients = weakref.WeakSet()


def _noted(client):
    _clients.add(client)
    return client


def is_metered(client):
    """Whether an HTTP client is one of http_client() or async_http_client()."""
    return client in _clients


def _options(options):
    theirs = {name: options.pop(name) for name in CONNECTION_OPTIONS if name in options}
    return options, theirs


def _module():
    """The HTTP package that the installed SDK takes."""
    try:
        import anthropic
    except ImportError:
        for name in ("httpx2", "httpx"):
            try:
                return importlib.import_module(name)
            except ImportError:
                continue
        raise ImportError("http_client() needs the package anthropic, httpx2 or httpx") from None
    return module_of(anthropic.DefaultHttpxClient)


def module_of(client):
    """httpx or httpx2, by a class or an object of a client."""
    kind = client if inspect.isclass(client) else type(client)
    for base in kind.__mro__:
        name = base.__module__.partition(".")[0]
        if name in ("httpx", "httpx2"):
            return sys.modules[name]
    raise TypeError(f"{kind.__name__} is no client of httpx or httpx2")


# ---- a request on its way ----


def is_messages(request):
    host = request.url.host
    return (
        request.method == "POST"
        and request.url.path.endswith(PATH)
        and (not host.endswith(FOREIGN_HOSTS) or BEDROCK_HOST.match(host) is not None)
        and not request.headers.get("authorization", "").startswith("AWS4-")
        and not request.extensions.get(EXTENSION, {}).get("direct")
    )


def any_service_of(request):
    """For a client whose connections are its user's own: what the library would call by itself passes, too."""
    return watched.service_of(request) or ({"provider": "anthropic"} if is_messages(request) else None)


class Metered:
    """One request for the Messages API: what the library is given, and what comes of it."""

    def __init__(self, request, max_retries):
        self.request = request
        self.members = _members(request.content)
        self.aws = BEDROCK_HOST.match(request.url.host)
        self.streamed = bool(self.members) and self.members.get("stream") is True
        timeout = request.extensions.get("timeout") or {}
        self.seconds = timeout.get("read")
        self._max_retries = max_retries
        self._head = None

    def body(self):
        """The body as it came, with our members behind its own: its values keep their text."""
        members = self.members
        ours = {"revenium": {**self._choices(), **_object(members.get("revenium"))}}
        if "usage_metadata" in members:
            # The last one of a name counts, and this one is behind it.
            ours["usage_metadata"] = members["usage_metadata"]
        text = self.request.content.rstrip()[:-1]
        comma = b"," if members else b""
        return text + comma + json.dumps(ours).encode()[1:]

    def without_ours(self):
        """The body for everybody else, or None if it is that already."""
        if not {"revenium", "usage_metadata"} & set(self.members or ()):
            return None
        theirs = {name: value for name, value in self.members.items() if name not in ("revenium", "usage_metadata")}
        return json.dumps(theirs, ensure_ascii=False).encode()

    def layer(self):
        """The SDK says which attempt this is. It lies under every other layer: what the user says of retries wins."""
        retries = self.retries()
        layer = scopes.current()
        return scopes.under(layer, {"retryNumber": retries}) if retries else layer

    def retries(self):
        return _number(self.request.headers.get("x-stainless-retry-count"))

    def watched(self, request, service):
        fields = request.extensions.get(EXTENSION, {}).get("usage_metadata")
        return watched.Watched(request, service, self.is_last(), self.retries(), fields, warn)

    def is_last(self):
        """Whether the SDK gives up after this attempt."""
        last = self.request.extensions.get(EXTENSION, {}).get("last")
        if last is None:
            retries = self.retries()
            # Of another client, which may not try again.
            last = retries is None or retries >= self._max_retries
        return last

    def _choices(self):
        request = self.request
        url = request.url
        # The SDK retries: an attempt after which it will try again is no call of its own.
        # It makes spans of its own, too.
        choices = {"max_retries": 0, "meter_retryable": self.is_last(), "dropin": True}
        if not self.streamed and self.seconds is not None:
            choices["timeout_ms"] = max(1, round(self.seconds * 1000))
        if self.aws:
            beta = request.headers.get("anthropic-beta")
            headers = {"anthropic-beta": beta} if beta else {}
            return {**choices, "provider": "bedrock", "aws_region": self.aws.group(1), "headers": headers}
        headers = {name: value for name, value in request.headers.items() if name not in NOT_PASSED_ON}
        if "x-api-key" not in headers and "authorization" not in headers:
            # This process's own credential must not go to wherever another client sends its request.
            headers["x-api-key"] = ""
        query = f"?{url.query.decode()}" if url.query else ""
        return {
            **choices,
            # The URL says who is asked, whatever the environment prefers.
            "provider": "anthropic",
            "base_url": f"{url.scheme}://{url.netloc.decode()}{url.raw_path.decode().partition('?')[0][: -len(PATH)]}{query}",
            "headers": headers,
        }

    def deadline(self):
        return None if self.seconds is None or not self.streamed else time.monotonic() + self.seconds

    def streams(self, call):
        """Whether the answer that has begun comes event by event, whatever was announced. A proxy that does not stream
        sends one document."""
        return self.streamed and call.head is not None and (call.begun or not _is_json(self.head(call)))

    def head(self, call):
        if self._head is None:
            self._head = json.loads(call.head)
        return self._head


def _object(value):
    return value if isinstance(value, dict) else {}


def _members(body):
    """The members of a JSON object, or None if the body is something else: the provider says what is wrong with it."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _number(text):
    try:
        return int(text)
    except (TypeError, ValueError):
        return None


def _is_json(info):
    return (info.get("headers") or {}).get("content-type", "").lower().startswith("application/json")


def _headers(info):
    """As bytes: a value may be more than ASCII."""
    headers = (info.get("headers") or {}).items()
    return [(name.encode(), value.encode()) for name, value in headers if name.lower() not in NOT_HANDED_OVER]


def _as(content_type, headers):
    return [*((name, value) for name, value in headers if name.lower() != b"content-type"), (b"content-type", content_type)]


def events_bytes(call):
    """The events that have come, as the lines they came in."""
    parts = []
    while call.events:
        kind, body = call.take()
        name = native.EVENT_NAMES[kind] if 0 < kind < len(native.EVENT_NAMES) else _type_of(body)
        parts.append(event_bytes(name, body))
    return b"".join(parts)


def event_bytes(name, body):
    if b"\n" in body:
        body = body.replace(b"\n", b"\ndata: ")
    return b"event: %b\ndata: %b\n\n" % (name.encode(), body)


def _type_of(body):
    kind = (_members(body) or {}).get("type")
    return kind if isinstance(kind, str) and "\n" not in kind else "message"


_warned = set()


def warn(code, message):
    """What differs from a call without us shows, once for each reason."""
    if code not in _warned:
        _warned.add(code)
        _log.warning("a call went out unmetered (said once for this reason): %s", message)


# ---- what depends on the HTTP package ----


@functools.cache
def _made_for(module):
    return _Made(module)


class _Made:
    """The classes for httpx, or those for httpx2."""

    def __init__(self, module):
        self.module = module
        self.client, self.async_client = _client_classes(module)
        self.transport = functools.partial(Transport, self)
        self.async_transport = functools.partial(AsyncTransport, self)
        made = self

        class EventBody(module.SyncByteStream):
            """A response's body, event by event."""

            def __init__(self, call, seconds):
                self._call = call
                self._seconds = seconds

            def __iter__(self):
                call = self._call
                while call.ended is None:
                    if not call.events:
                        made.advance(call, self._seconds)
                    if call.events:
                        yield events_bytes(call)
                yield from made.rest(call)

            def close(self):
                core.finish(self._call)

            @native.at_drop
            def __del__(self):
                core.finish(self._call)

        class AsyncEventBody(module.AsyncByteStream):
            def __init__(self, call, seconds):
                self._call = call
                self._seconds = seconds

            async def __aiter__(self):
                call = self._call
                while call.ended is None:
                    if not call.events:
                        await made.advance_async(call, self._seconds)
                    if call.events:
                        yield events_bytes(call)
                for part in made.rest(call):
                    yield part

            async def aclose(self):
                core.finish_async(self._call)

            @native.at_drop
            def __del__(self):
                core.finish_async(self._call)

        class PassingBody(module.SyncByteStream):
            """A response's body on its way, which `watcher` is told of."""

            def __init__(self, stream, watcher):
                self._stream = stream
                self._watcher = watcher

            def __iter__(self):
                try:
                    for chunk in self._stream:
                        self._watcher.chunk(chunk)
                        yield chunk
                except Exception as error:
                    self._watcher.broke(error)
                    raise
                self._watcher.end()

            def close(self):
                self._watcher.close()
                self._stream.close()

        class AsyncPassingBody(module.AsyncByteStream):
            def __init__(self, stream, watcher):
                self._stream = stream
                self._watcher = watcher

            async def __aiter__(self):
                try:
                    async for chunk in self._stream:
                        self._watcher.chunk(chunk)
                        yield chunk
                except Exception as error:
                    self._watcher.broke(error)
                    raise
                self._watcher.end()

            async def aclose(self):
                self._watcher.close()
                await self._stream.aclose()

        self.PassingBody = PassingBody
        self.AsyncPassingBody = AsyncPassingBody
        self.EventBody = EventBody
        self.AsyncEventBody = AsyncEventBody

    def advance(self, call, seconds):
        try:
            core.advance(call, None if seconds is None else time.monotonic() + seconds)
        except TimeoutError:
            raise self.module.ReadTimeout("The read operation timed out") from None

    async def advance_async(self, call, seconds):
        try:
            await core.advance_async(call, None if seconds is None else time.monotonic() + seconds)
        except TimeoutError:
            raise self.module.ReadTimeout("The read operation timed out") from None

    def rest(self, call):
        """What is left when the call has ended: events, and an error as the provider ended the stream."""
        if call.events:
            yield events_bytes(call)
        ended = call.ended
        if ended.code == native.OK:
            if not call.begun:
                # One document, announced as events: it is what the provider sent.
                yield ended.body
            return
        if ended.code > native.E_API:
            raise self.failure(ended)
        yield event_bytes("error", ended.body)

    def failure(self, ended):
        """As a request fails that has no answer, or half of one."""
        kinds = {
            native.E_TIMEOUT: self.module.ReadTimeout,
            native.E_CONNECTION: self.module.ConnectError,
            native.E_STREAM: self.module.RemoteProtocolError,
        }
        error = kinds.get(ended.code, self.module.ReadError)(ended.message)
        error.__cause__ = errors.of_call(ended)
        return error

    def streamed(self, metered, call, body):
        info = metered.head(call)
        headers = _headers(info)
        if metered.aws:
            headers = _as(b"text/event-stream", headers)
        return self.module.Response(info["http_status"], headers=headers, stream=body, request=metered.request)

    def whole(self, metered, ended):
        """The response to a call that was not streamed, or failed before its first event."""
        info, body = ended.info, ended.body
        headers = _headers(info)
        if ended.code == native.OK:
            if not _is_json(info):
                # A long reply is streamed underneath.
                headers = _as(b"application/json", headers)
        else:
            # Not an error of the Messages API, a proxy's page say: the library kept it inside its own.
            page = _object((_members(body) or {}).get("error")).get("body")
            if "http_status" not in info or (ended.code > native.E_API and page is None):
                raise self.failure(ended)
            if isinstance(page, str):
                body = page.encode()
        # To be read as any other: only so the client notes the time it took.
        stream = self.module.ByteStream(body)
        return self.module.Response(info["http_status"], headers=headers, stream=stream, request=metered.request)

    def passing(self, response, watcher, body):
        """The response, with its body watched."""
        if watcher.answered(response):
            response.stream = body(response.stream, watcher)
        return response

    def unsigned(self, metered):
        """The request for another service. A signature is of these very bytes."""
        signed = metered.request.headers.get("authorization", "").startswith("AWS4-")
        return metered.request if signed else self.directly(metered)

    def over_budget(self, request, error):
        """What the SDK makes its own error of, after one attempt."""
        headers = {"content-type": "application/json", "x-should-retry": "false"}
        stream = self.module.ByteStream(json.dumps(error.body).encode())
        return self.module.Response(402, headers=headers, stream=stream, request=request)

    def directly(self, metered):
        """The request for the way without us: our members are for nobody else."""
        body = metered.without_ours()
        request = metered.request
        if body is None:
            return request
        headers = [(name, value) for name, value in request.headers.multi_items() if name != "content-length"]
        return self.module.Request(request.method, request.url, headers=headers, content=body, extensions=request.extensions)


def _client_classes(module):
    """The SDK's own clients, with its limits and timeouts, if it is there and takes this package."""
    anthropic = sys.modules.get("anthropic")
    if anthropic is not None and module_of(anthropic.DefaultHttpxClient) is module:
        return anthropic.DefaultHttpxClient, anthropic.DefaultAsyncHttpxClient
    return module.Client, module.AsyncClient


class Transport:
    """A transport of httpx. `direct`: the client, or the transport, for what does not go through the library. `service_of`:
    what is known of a request that passes untouched and is metered by what passes, or None."""

    def __init__(self, made, direct, max_retries=SDK_RETRIES, service_of=watched.service_of):
        self._made = made
        self._direct = direct
        self._max_retries = max_retries
        self._service_of = service_of

    def handle_request(self, request):
        if batch := watched.batch_of(request):
            return self._made.passing(self._pass_on(request), watched.Results(batch, warn), self._made.PassingBody)
        if service := self._service_of(request):
            request.read()
            return self._watch(request, service)
        if not is_messages(request):
            return self._pass_on(request)
        request.read()
        metered = Metered(request, self._max_retries)
        if metered.members is None:
            return self._pass_on(request)
        try:
            call = core.begin(metered.body(), metered.layer())
        except errors.BudgetExceededError as error:
            return self._made.over_budget(request, error)
        except errors.ReveniumError as error:
            warn(error.code, error.message)
            return self._pass_on(self._made.directly(metered))
        try:
            deadline = metered.deadline()
            while call.ended is None and not metered.streams(call):
                core.advance(call, deadline)
            if metered.streams(call):
                return self._made.streamed(metered, call, self._made.EventBody(call, metered.seconds))
        except TimeoutError:
            core.finish(call)
            raise self._made.module.ReadTimeout("The read operation timed out", request=request) from None
        except BaseException:
            core.finish(call)
            raise
        core.finish(call)
        return self._made.whole(metered, call.ended)

    def _watch(self, request, service):
        metered = Metered(request, self._max_retries)
        if metered.members is None:
            return self._pass_on(request)
        watcher = metered.watched(request, service)
        if refusal := watcher.refusal():
            return self._made.over_budget(request, refusal)
        try:
            response = self._pass_on(self._made.unsigned(metered))
        except Exception as error:
            watcher.failed(error)
            raise
        return self._made.passing(response, watcher, self._made.PassingBody)

    def _pass_on(self, request):
        if hasattr(self._direct, "handle_request"):
            return self._direct.handle_request(request)
        return self._direct.send(request, stream=True, auth=None, follow_redirects=False)

    def close(self):
        self._direct.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class AsyncTransport:
    """The same for an asynchronous client on asyncio."""

    def __init__(self, made, direct, max_retries=SDK_RETRIES, service_of=watched.service_of):
        self._made = made
        self._direct = direct
        self._max_retries = max_retries
        self._service_of = service_of

    async def handle_async_request(self, request):
        if batch := watched.batch_of(request):
            response = await self._pass_on(request)
            return self._made.passing(response, watched.Results(batch, warn), self._made.AsyncPassingBody)
        if service := self._service_of(request):
            await request.aread()
            return await self._watch(request, service)
        if not is_messages(request):
            return await self._pass_on(request)
        await request.aread()
        metered = Metered(request, self._max_retries)
        if metered.members is None:
            return await self._pass_on(request)
        try:
            call = core.begin_async(metered.body(), metered.layer())
        except errors.BudgetExceededError as error:
            return self._made.over_budget(request, error)
        except (errors.ReveniumError, RuntimeError, NotImplementedError) as error:
            # RuntimeError: another kind of event loop runs, trio's say.
            warn(getattr(error, "code", "loop"), str(error))
            return await self._pass_on(self._made.directly(metered))
        try:
            deadline = metered.deadline()
            while call.ended is None and not metered.streams(call):
                await core.advance_async(call, deadline)
        except TimeoutError:
            core.finish_async(call)
            raise self._made.module.ReadTimeout("The read operation timed out", request=request) from None
        except BaseException:
            core.finish_async(call)
            raise
        if metered.streams(call):
            return self._made.streamed(metered, call, self._made.AsyncEventBody(call, metered.seconds))
        return self._made.whole(metered, call.ended)

    async def _watch(self, request, service):
        metered = Metered(request, self._max_retries)
        if metered.members is None:
            return await self._pass_on(request)
        watcher = metered.watched(request, service)
        if refusal := watcher.refusal():
            return self._made.over_budget(request, refusal)
        try:
            response = await self._pass_on(self._made.unsigned(metered))
        except Exception as error:
            watcher.failed(error)
            raise
        return self._made.passing(response, watcher, self._made.AsyncPassingBody)

    async def _pass_on(self, request):
        if hasattr(self._direct, "handle_async_request"):
            return await self._direct.handle_async_request(request)
        return await self._direct.send(request, stream=True, auth=None, follow_redirects=False)

    async def aclose(self):
        await self._direct.aclose()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.aclose()
