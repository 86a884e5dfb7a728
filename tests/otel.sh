#!/bin/sh
# otel.sh: trace context and spans, end to end through the C ABI, against a double that answers whatever a Collector may
# answer, and against a real Collector where there is one. OpenTelemetry's own package reads what was sent. Arguments go
# to unittest.
#
#   OTELCOL   a Collector's binary with an OTLP receiver over HTTP, and the exporters `file` and `otlphttp`
#             (default: out/otelcol, which `make collector` builds)
set -eu
cd "$(dirname -- "$0")/.."
[ -x out/venv/bin/python ] || python3 -m venv out/venv
out/venv/bin/python -c 'import opentelemetry.proto.trace.v1.trace_pb2' 2>/dev/null ||
    out/venv/bin/pip install -q opentelemetry-proto==1.45.2
export PYTHONPATH=tests/bedrock
export OTELCOL="${OTELCOL:-$PWD/out/otelcol}"
[ -x "$OTELCOL" ] || echo "no Collector at $OTELCOL: what needs a real one is left out (make collector)" >&2
exec tests/with_sandbox.sh out/venv/bin/python -B -m unittest discover -s tests/otel "$@"
