"""A Collector that answers as a test wants it to, and the spans that came, as plain values."""

import base64
import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service


class Request:
    def __init__(self, path, headers, body):
        self.path, self.headers, self.raw = path, headers, body
        self.at = time.monotonic()
        plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        if headers["content-type"] == "application/json":
            self.export = json.loads(plain)
        else:
            self.export = as_json(service.ExportTraceServiceRequest.FromString(plain))

    def spans(self):
        return [span for resource in self.export["resourceSpans"] for scope in resource["scopeSpans"] for span in scope["spans"]]


def as_json(message):
    """As OTLP's JSON has it: ids in hex, enums as numbers."""
    export = MessageToDict(message, use_integers_for_enums=True)
    for resource in export["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = base64.b64decode(span[name]).hex()
    return export


def attributes(of):
    """Names to (type, value), numbers as numbers."""
    def value(any_value):
        [(kind, value)] = any_value.items()
        if kind == "intValue":
            return kind, int(value)
        if kind == "arrayValue":
            return kind, [value["stringValue"] for value in value["values"]]
        return kind, value

    names = [attribute["key"] for attribute in of["attributes"]]
    assert len(names) == len(set(names)), names
    return {attribute["key"]: value(attribute["value"]) for attribute in of["attributes"]}


class Double:
    """`answers`: one for each request, the last for all that follow. An answer is (status, headers, body), "cut" or
    "hang"."""

    def __init__(self, *answers, port=0):
        self.answers = list(answers) or [(200, {}, b"")]
        self.requests, self.lock = [], threading.Lock()
        self.released = threading.Event()
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with double.lock:
                    answers = double.answers
                    answer = answers.pop(0) if len(answers) > 1 else answers[0]
                    double.requests.append(Request(self.path, headers, body))
                if answer == "hang":
                    double.released.wait()
                if not isinstance(answer, tuple):
                    self.close_connection = True
                    return
                status, more, text = answer
                self.send_response(status)
                for name, value in {"content-length": len(text), **more}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(text)

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 64

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def spans(self):
        with self.lock:
            return [span for request in self.requests for span in request.spans()]

    def wait(self, requests, seconds=30):
        until = time.monotonic() + seconds
        while len(self.requests) < requests:
            assert time.monotonic() < until, f"{len(self.requests)} requests of {requests} came"
            time.sleep(0.005)
