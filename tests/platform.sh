#!/bin/sh
# platform.sh: Revenium's platform end to end through the C ABI: operations, budgets, webhooks, capture. Arguments go to unittest.
set -eu
cd "$(dirname -- "$0")/.."
exec tests/with_sandbox.sh python3 -B -m unittest discover -s tests/platform "$@"
