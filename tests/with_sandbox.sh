#!/bin/sh
# with_sandbox.sh CMD...: runs CMD beside a fresh sandbox, ends the sandbox whatever happens, exits with CMD's status.
#
# CMD finds SANDBOX_URL and the environment of env.sh, with keys that only the sandbox takes.
#   SANDBOX_BIN      the binary (default: target/debug/sandbox)
#   SANDBOX_OPTIONS  more of its options, separated by spaces
#   SANDBOX_LOG      a file for what it prints (default: it prints nothing)
set -eu

if [ $# -eq 0 ]; then
    echo "usage: with_sandbox.sh CMD..." >&2
    exit 2
fi

tests=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
bin="${SANDBOX_BIN:-$tests/../target/debug/sandbox}"
quiet=--quiet
[ -z "${SANDBOX_LOG:-}" ] || quiet=
scratch=$(mktemp -d)
pid=

end() {
    status=$?
    trap - EXIT
    if [ -n "$pid" ]; then
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    fi
    rm -rf "$scratch"
    exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# The sandbox reads a pipe that this script holds open: it ends with the script even when that is killed outright.
mkfifo "$scratch/stdin"
# shellcheck disable=SC2086 # the options are words
"$bin" --until-stdin-closes --port-file "$scratch/port" $quiet ${SANDBOX_OPTIONS:-} \
    <"$scratch/stdin" >"${SANDBOX_LOG:-/dev/null}" &
pid=$!
exec 9>"$scratch/stdin"
while [ ! -e "$scratch/port" ]; do
    kill -0 "$pid" 2>/dev/null || { echo "with_sandbox.sh: $bin did not start" >&2; exit 1; }
    sleep 0.02
done

SANDBOX_URL="http://127.0.0.1:$(cat "$scratch/port")"
export SANDBOX_URL
. "$tests/env.sh"
export ANTHROPIC_API_KEY=sk-ant-sandbox
export REVENIUM_METERING_API_KEY=rev_mk_sandbox_0123456789abcdef
# Records of a run stay with the run, and none of an earlier one are sent.
export REVENIUM_SPOOL_DIR="${REVENIUM_SPOOL_DIR:-$scratch/spool}"

# CMD must not inherit the pipe: what it leaves running would keep the sandbox alive.
"$@" 9>&-
