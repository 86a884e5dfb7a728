"""What is changed in the official SDK, and where: three places, each once."""

import contextlib
import functools
import inspect
import json
import logging

from librevenium import _transport as transport
from librevenium import usage_metadata
from librevenium._scopes import _text as json_text

_log = logging.getLogger("librevenium")

installed = False
# The SDK's own HTTP clients, whose connections nobody has set up in a way of his own.
_own_clients = ()
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


def _note_attempts(client):
    """Tell the transport what only the client knows: whether it will try again, and which service it is for."""
    original = client._build_request

    @functools.wraps(original)
    def build_request(self, options, *args, **kwargs):
        request = original(self, options, *args, **kwargs)
        if _is_foreign(self):
            request.extensions[transport.EXTENSION] = {"direct": True}
        elif "retries_taken" in kwargs:
            last = kwargs["retries_taken"] >= options.get_max_retries(self.max_retries)
            request.extensions[transport.EXTENSION] = {"last": last}
        return request

    client._build_request = build_request


def _is_foreign(client):
    """AnthropicBedrock, AnthropicVertex, AnthropicFoundry and their like, and what is derived from them."""
    return any(base.__module__.startswith("anthropic.lib.") for base in type(client).__mro__)


def _take_metadata(resource, name, usage_context):
    """`usage_metadata=` of one method: on to the library in the request's body, which takes it out again."""
    original = vars(resource)[name]

    def arguments(self, kwargs):
        """What goes on, and the scope that it goes on in."""
        fields = _merged(usage_context.get(), kwargs.pop("usage_metadata", None), kwargs)
        if not _is_metered(self._client):
            _warn_unmetered(self._client)
        elif fields and _is_foreign(self._client):
            # The body may be signed, so nothing of ours may be in it.
            return kwargs, usage_metadata(fields)
        elif fields:
            kwargs["extra_body"] = {**(kwargs.get("extra_body") or {}), "usage_metadata": fields}
        return kwargs, contextlib.nullcontext()

    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def method(self, *args, **kwargs):
            kwargs, scope = arguments(self, kwargs)
            with scope:
                return await original(self, *args, **kwargs)

    else:

        @functools.wraps(original)
        def method(self, *args, **kwargs):
            kwargs, scope = arguments(self, kwargs)
            with scope:
                return original(self, *args, **kwargs)

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


def _is_metered(client):
    http = getattr(client, "_client", None)
    return isinstance(http, _own_clients) or transport.is_metered(http)


def _warn_unmetered(client):
    transport.warn("http_client", "a client has an HTTP client of its own: give it http_client=librevenium.http_client()")
