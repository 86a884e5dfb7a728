#!/bin/sh
# The Node.js binding's tests, beside a sandbox. Needs the library and the sandbox built (cargo build --workspace), node
# and npm. Arguments go to the test runner.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root/bindings/node"
# Nothing that a package brings is run at install.
npm ci --prefer-offline --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null

# What was just built, whatever else lies there.
export REVENIUM_LIBRARY="${REVENIUM_LIBRARY:-${CARGO_TARGET_DIR:-$root/target}/debug/librevenium.so}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
# One file after the other: they share the sandbox's records.
"$root/tests/with_sandbox.sh" node --test --test-concurrency=1 "$@" test/*.test.mjs >"$log" 2>&1 || status=$?
if [ "$status" -ne 0 ] || [ -n "${VERBOSE:-}" ]; then
    cat "$log"
else
    # What tests tell, and the runner's closing lines.
    grep -E '^# measured: |^ℹ measured: ' "$log" || true
    grep -E '^(#|ℹ) (tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) ' "$log"
fi
exit "$status"
