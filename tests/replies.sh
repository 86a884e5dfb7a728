#!/bin/sh
# replies.sh: what gateways and providers do to replies, and what records make of it, end to end through the C ABI.
# Arguments go to unittest.
set -eu
cd "$(dirname -- "$0")/.."
PYTHONPATH=tests/bedrock exec tests/with_sandbox.sh python3 -B -m unittest discover -s tests/replies "$@"
