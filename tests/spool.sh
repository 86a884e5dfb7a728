#!/bin/sh
# spool.sh [NAME...]: what must not get lost, through the C ABI: processes that end in every way, collectors that fail in
# every way, spools that break. Prints "N passed, N failed"; with names, runs only those tests.
set -eu
cd "$(dirname -- "$0")/.."
if [ -z "${SANDBOX_URL:-}" ]; then
    exec env SANDBOX_OPTIONS='--no-requests' tests/with_sandbox.sh "$0" "$@"
fi
# As programs have it: what arrives is counted here, not compared in order.
unset REVENIUM_METERING_WORKERS
exec python3 tests/spool/run.py "$@"
