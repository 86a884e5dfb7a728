"""What is changed in the official SDK, and where: three places, each once."""

import functools
import inspect
import json
import logging
import weakref

from librevenium import _transport as transport
from librevenium._scopes import _text as json_text

_log = logging.getLogger("librevenium")

installed = False
# The SDK's own HTTP clients, whose connections nobody has set up in a way of his own.
_own_clients = ()
# Those of users that are watched.
_watched = weakref.WeakSet()
_METHODS = ("create", "stream", "parse", "tool_runner")


def install(usage_context):
    global installed, _own_clients
    if installed:
        return
    import anthropic
    from anthropic import _base_client
    from anthropic.resources import beta, messages

    own = (_base_client.SyncHttpxClientWrapper, _base_client.AsyncHttpxClientWrapper)
    made = transport._made_for(transport.module_of(own[0]))
    for client in own:
        # Before anything is changed: an SDK that is built otherwise is left alone.
        if not callable(getattr(client, "_transport_for_url", None)):
            raise RuntimeError(f"anthropic {anthropic.__version__} is newer than this package knows")
    _meter_transport(own[0], made.transport)
    _meter_transport(own[1], made.async_transport)
    _own_clients = own
    _note_attempts(_base_client.BaseClient)
    twins = (messages.Messages, messages.AsyncMessages, beta.messages.Messages, beta.messages.AsyncMessages)
    for resource in twins:
        for name in _METHODS:
            if name in vars(resource):
                _take_metadata(resource, name, usage_context)
    installed = True


def _meter_transport(client, wrap):
    """Requests of the SDK's own HTTP clients go through the library, which passes on what it does not meter."""
    original = client._transport_for_url

    @functools.wraps(original)
    def transport_for_url(self, url):
        return wrap(original(self, url))

    client._transport_for_url = transport_for_url


def _watch(http):
    """A user's own HTTP client keeps its connections: what the SDK sends through it passes untouched, and is metered by what
    passes."""
    original = getattr(http, "_transport_for_url", None)
    if http in _watched or not callable(original):
        return
    made = transport._made_for(transport.module_of(http))
    wrap = made.async_transport if inspect.iscoroutinefunction(http.send) else made.transport

    def transport_for_url(url):
        theirs = original(url)
        return _OfTheSdk(theirs, wrap(theirs, service_of=transport.any_service_of))

    http._transport_for_url = transport_for_url
    _watched.add(http)


class _OfTheSdk:
    """What else its user sends with the client is none of ours."""

    def __init__(self, theirs, ours):
        self._theirs = theirs
        self._ours = ours

    def _for(self, request):
        return self._ours if transport.EXTENSION in request.extensions else self._theirs

    def handle_request(self, request):
        return self._for(request).handle_request(request)

    def handle_async_request(self, request):
        return self._for(request).handle_async_request(request)


def _note_attempts(client):
    """Tell the transport what only the client knows: whether it will try again, which service it is for, and whom the call
    is for where the body goes out as it is."""
    original = client._build_request

    @functools.wraps(original)
    def build_request(self, options, *args, **kwargs):
        told = {"direct": True} if _is_foreign(self) else {}
        http = getattr(self, "_client", None)
        if not isinstance(http, _own_clients) and not transport.is_metered(http):
            _watch(http)
            told["passes"] = True
        body = options.extra_json
        if told and body and "usage_metadata" in body:
            told["usage_metadata"] = body["usage_metadata"]
            # This attempt's options are its own.
            options.extra_json = {name: value for name, value in body.items() if name != "usage_metadata"} or None
        request = original(self, options, *args, **kwargs)
        if "retries_taken" in kwargs:
            told["last"] = kwargs["retries_taken"] >= options.get_max_retries(self.max_retries)
        request.extensions[transport.EXTENSION] = told
        return request

    client._build_request = build_request


def _is_foreign(client):
    """AnthropicBedrock, AnthropicVertex, AnthropicFoundry and their like, and what is derived from them."""
    return any(base.__module__.startswith("anthropic.lib.") for base in type(client).__mro__)


def _take_metadata(resource, name, usage_context):
    """`usage_metadata=` of one method: on in the request's body, out of which the library takes it, or _note_attempts()."""
    original = vars(resource)[name]

    def arguments(kwargs):
        fields = _merged(usage_context.get(), kwargs.pop("usage_metadata", None), kwargs)
        if fields:
            kwargs["extra_body"] = {**(kwargs.get("extra_body") or {}), "usage_metadata": fields}
        return kwargs

    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def method(self, *args, **kwargs):
            return await original(self, *args, **arguments(kwargs))

    else:

        @functools.wraps(original)
        def method(self, *args, **kwargs):
            return original(self, *args, **arguments(kwargs))

    setattr(resource, name, method)


def _merged(context, given, kwargs):
    """Metadata of the context, of the call's extra_body and of the call, with what has no JSON left out."""
    body = kwargs.get("extra_body")
    beside = None
    if isinstance(body, dict) and "usage_metadata" in body:
        body = dict(body)
        beside = body.pop("usage_metadata")
        kwargs["extra_body"] = body
    fields = {}
    for more in (context, beside, given):
        text = json_text(more)
        if text is not None:
            fields.update(json.loads(text))
        elif more is not None:
            _log.warning("usage_metadata is not a dict: it is ignored")
    return fields

