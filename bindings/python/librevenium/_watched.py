"""What goes to another service than Anthropic's own passes untouched, and is metered by what passes: Claude in AWS Bedrock,
Google Vertex AI and Microsoft Foundry, and the results of Message Batches."""

import json
import re
import time
import zlib
from urllib.parse import unquote

from . import _errors as errors
from . import _native as native
from . import _observed as observed
from . import _scopes as scopes

BEDROCK = re.compile(r"/model/([^/]+)/invoke(-with-response-stream)?$")
VERTEX = re.compile(r"/publishers/anthropic/models/([^/:]+):(rawPredict|streamRawPredict)$")
RESULTS = re.compile(r"/v1/messages/batches/([^/]+)/results$")
AWS_SIGNATURE = re.compile(r"Credential=[^/]+/\d{8}/([a-z0-9-]+)/")
AWS_HOST = re.compile(r"bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.")
PLACE = re.compile(r"/locations/([a-z0-9-]+)/")
FOUNDRY = re.compile(r"(Async)?AnthropicFoundry\b")


def service_of(request):
    """What is known of a request to one of these services, or None."""
    if request.method != "POST":
        return None
    path, host, headers = request.url.raw_path.decode().partition("?")[0], request.url.host, request.headers
    if part := BEDROCK.search(path):
        signed = AWS_SIGNATURE.search(headers.get("authorization", "")) or AWS_HOST.match(host)
        region = signed and signed.group(1)
        return {"provider": "bedrock", "model": unquote(part.group(1)), "region": region, "streamed": bool(part.group(2))}
    part = VERTEX.search(unquote(path))
    if part and part.group(1) != "count-tokens":
        place = PLACE.search(path)
        streamed = part.group(2) == "streamRawPredict"
        return {"provider": "vertex", "model": part.group(1), "region": place and place.group(1), "streamed": streamed}
    # The SDK's client for Foundry says so, wherever it is sent to.
    if path.endswith("/v1/messages") and (host.endswith(".azure.com") or FOUNDRY.match(headers.get("user-agent", ""))):
        return {"provider": "foundry"}
    return None


def batch_of(request):
    """The id of the batch whose results a request asks for, or None."""
    part = RESULTS.search(request.url.path) if request.method == "GET" else None
    return part and part.group(1)


class Decoder:
    """The body behind its content coding, for those that the standard library knows."""

    def __init__(self, coding):
        coding = coding.strip().lower()
        self.readable = coding in ("", "identity", "gzip", "deflate")
        # Either header of zlib's.
        self._zlib = zlib.decompressobj(47) if coding in ("gzip", "deflate") else None

    def __call__(self, data):
        if self._zlib is None:
            return data
        try:
            return self._zlib.decompress(data)
        except zlib.error:
            return b""


class Watched:
    """One request of another service on its way."""

    def __init__(self, request, service, last, retries, fields, warn):
        self._text = request.content
        self._service = {name: value for name, value in service.items() if value is not None}
        # Whoever makes the request makes spans of its own, too.
        choices = {"meter_retryable": last, "dropin": True}
        for name in ("traceparent", "tracestate"):
            if name in request.headers:
                choices[name] = request.headers[name]
        layer = scopes.current()
        if fields:
            layer = scopes.Layer(layer, fields, False, None)
        self._layer = scopes.Layer(layer, {"revenium": choices}, False, None)
        if retries:
            self._layer = scopes.under(self._layer, {"retryNumber": retries})
        self._started = time.time()
        self._warn = warn
        self._tap = None
        self._status = 0

    def refusal(self):
        """The refusal of a budget, or None. Trouble of the library's own lets the call out."""
        told = json.dumps({**self._service, "admit": True}).encode()
        try:
            text = b'{"request":%b,%b' % (self._text, told[1:])
            native.release(observed.within(text, self._layer, native.budget_check))
        except errors.BudgetExceededError as error:
            return error
        except (errors.ReveniumError, UnicodeError):
            pass
        return None

    def _open(self):
        told = json.dumps({**self._service, "started_at": self._started * 1000}).encode()
        try:
            self._tap = observed.Tap(layer=self._layer, text=b'{"request":%b,%b' % (self._text, told[1:]))
        except (errors.ReveniumError, UnicodeError) as error:
            # Metering never fails a call.
            self._warn(getattr(error, "code", "tap"), str(error))
        return self._tap

    def failed(self, error):
        """There was no answer."""
        if self._open():
            self._tap.end({"error": "timeout" if "Timeout" in type(error).__name__ else "connection"})

    def answered(self, response):
        self._status = response.status_code
        self._decoder = Decoder(response.headers.get("content-encoding", ""))
        if not self._decoder.readable:
            self._warn("coding", "the reply is compressed in a way that Python's standard library does not read")
            return False
        return self._open() is not None

    def chunk(self, data):
        self._tap.write(self._decoder(data))

    def end(self):
        self._tap.end(None if self._status < 300 else {"status": self._status})

    def broke(self, error):
        self._tap.end({"error": "timeout" if "Timeout" in type(error).__name__ else "connection"})

    def close(self):
        """Nobody reads on."""
        if self._status >= 300:
            self.end()
        else:
            self._tap.close()


class Results:
    """The results of a batch on their way."""

    def __init__(self, batch, warn):
        self._batch = batch
        self._layer = scopes.current()
        self._rest = b""
        self._warn = warn

    def answered(self, response):
        self._decoder = Decoder(response.headers.get("content-encoding", ""))
        return response.status_code == 200 and self._decoder.readable

    def chunk(self, data):
        *lines, self._rest = (self._rest + self._decoder(data)).split(b"\n")
        for line in lines:
            self._take(line)

    def _take(self, line):
        if line.strip():
            try:
                observed.record_text(observed.batch_text(self._batch, line), self._layer)
            except errors.ReveniumError as error:
                self._warn(error.code, error.message)

    def end(self):
        self._take(self._rest)

    def broke(self, error):
        pass

    def close(self):
        pass
