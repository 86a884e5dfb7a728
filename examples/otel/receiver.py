"""The smallest backend there is: takes OTLP/JSON, and prints each trace as a tree when its standard input ends.

    receiver.py PORT-FILE    writes the port it listens on there
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

spans = {}


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        export = json.loads(self.rfile.read(int(self.headers["content-length"])))
        for resource in export["resourceSpans"]:
            of_resource = values(resource["resource"])
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    spans[span["spanId"]] = {**span, "service": of_resource.get("service.name", "")}
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")


def values(of):
    return {one["key"]: next(iter(one["value"].values())) for one in of.get("attributes", [])}


def show(span, depth=0):
    of = values(span)
    tokens = [f"{of[name]} {name.split('.')[-1].replace('_', ' ')}" for name in
              ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens") if name in of]
    told = [of[name] for name in ("revenium.organization.name", "revenium.transaction.id") if name in of]
    print("  " * depth + " | ".join([span["name"], span["service"], *tokens, *told]))
    for child in spans.values():
        if child.get("parentSpanId") == span["spanId"]:
            show(child, depth + 1)


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(server.server_address[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
sys.stdin.read()
for span in list(spans.values()):
    if span.get("parentSpanId") not in spans:
        print(f"trace {span['traceId']}")
        show(span, 1)
