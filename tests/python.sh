#!/bin/sh
# The Python binding's tests, beside a sandbox: with the newest official SDK of each line, and without any. Needs the
# library and the sandbox built (make build) and Python. Arguments go to pytest.
#   PYTHON   the interpreter (default: python3)
#   VERBOSE=1  shows everything
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
PYTHON=${PYTHON:-python3}
"$root/tests/need.sh" "$PYTHON" python3-venv
# Two thousand calls are as many sockets, here and in the sandbox.
ulimit -n "$(ulimit -H -n)" 2>/dev/null || true
# What was just built, whatever else lies there.
export REVENIUM_LIBRARY="${REVENIUM_LIBRARY:-${CARGO_TARGET_DIR:-$root/target}/debug/librevenium.so}"
export PYTHONDONTWRITEBYTECODE=1
log=$(mktemp)
trap 'rm -f "$log"' EXIT

environment() { # NAME INTERPRETER PACKAGES...: out/python/NAME, made once for these packages
    place=$root/out/python/$1 interpreter=$2
    wanted="$("$interpreter" -V) $*"
    shift 2
    [ "$(cat "$place/made" 2>/dev/null)" != "$wanted" ] || return 0
    rm -rf "$place"
    "$interpreter" -m venv "$place"
    "$place/bin/python" -m pip install -q --disable-pip-version-check pytest "setuptools>=77" "$@"
    echo "$wanted" >"$place/made"
}

tests() { # NAME ARGUMENTS...: pytest in that environment
    place=$root/out/python/$1
    shift
    status=0
    (cd "$root/bindings/python" && "$root/tests/with_sandbox.sh" "$place/bin/python" -m pytest -q -p no:cacheprovider "$@" tests) \
        >"$log" 2>&1 || status=$?
    if [ "$status" -ne 0 ] || [ -n "${VERBOSE:-}" ]; then cat "$log"; else
        sed -n 's/^.*\(measured: \)/\1/p' "$log"
        echo "python: $("$place/bin/python" -V 2>&1), $(basename "$place"): $(tail -n 1 "$log")"
    fi
    [ "$status" -eq 0 ]
}

# boto3 and google-auth: what the SDK signs with for other services. libclang: what Rust's bindgen reads headers with.
environment sdk-2 "$PYTHON" anthropic==2.14.0 cffi gunicorn==27.0.1 libclang boto3==1.44.8 google-auth==2.63.0
environment sdk-1 "$PYTHON" anthropic==1.17.0 boto3==1.44.8 google-auth==2.63.0
tests sdk-2 -s -k 'not load' "$@"
tests sdk-2 -s -k load "$@"
# What differs with the SDK, once more with the other one.
tests sdk-1 -k 'sdk or compat or watched' "$@"
# Without the GIL, where there is such a Python: the last packages of others that were made for it.
for free in python3.14t python3.13t; do
    "$free" -V >/dev/null 2>&1 || continue
    environment free-threaded "$free" anthropic==2.14.0 'pydantic<2.12' 'jiter<0.14'
    tests free-threaded -k 'not packaging' "$@"
    break
done
# The oldest Python, where there is one, and the last line of the SDK that runs on it.
for oldest in python3.9 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.9.*/bin/python3.9; do
    "$oldest" -V >/dev/null 2>&1 || continue
    environment oldest "$oldest" anthropic==0.125.0
    tests oldest -k 'not load and not conformance and not packaging and not example' "$@"
    break
done
