#!/bin/sh
# page.sh: the sandbox's page and `revenium watch` in a browser. Needs everything built (make build), node,
# npm and Chromium; says in one line what is missing, and is left out then. Arguments go to the test runner.
#   CHROMIUM        the browser (default: chromium)
#   REVENIUM_BLESS  writes the screenshots in docs
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
for tool in node:nodejs npm:npm "${CHROMIUM:-chromium}:chromium"; do
    "$root/tests/need.sh" "${tool%%:*}" "${tool##*:}" || exit 0
done
CHROMIUM=$(command -v "${CHROMIUM:-chromium}")
export CHROMIUM
target=${CARGO_TARGET_DIR:-$root/target}/debug
export REVENIUM_LIBRARY="${REVENIUM_LIBRARY:-$target/librevenium.so}"
export REVENIUM_COMMAND="${REVENIUM_COMMAND:-$target/revenium}"

cd "$root/tests/page"
# Nothing that a package brings is run at install, and no browser is fetched.
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
mkdir -p "$root/out/page"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
# One file after the other: they share the sandbox's records.
"$root/tests/with_sandbox.sh" node --test --test-concurrency=1 "$@" ./*.test.mjs >"$log" 2>&1 || status=$?
if [ "$status" -ne 0 ] || [ -n "${VERBOSE:-}" ]; then
    cat "$log"
else
    grep -E '^# measured: |^ℹ measured: ' "$log" || true
    grep -E '^(#|ℹ) (tests|pass|fail|duration_ms) ' "$log" | sed 's/^/page: /'
fi
if [ "$status" -eq 0 ] && [ -n "${REVENIUM_BLESS:-}" ]; then cp "$root"/out/page/sandbox-*.png "$root/docs/"; fi
exit "$status"
