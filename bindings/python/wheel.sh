#!/bin/sh
# wheel.sh [DIRECTORY]: the wheels of librevenium, with the library in it, and of librevenium-compat, into DIRECTORY
# (default: out/wheels at the root).
#   PROFILE   release (default) or debug: which library of the checkout
#   LIBRARY   another library, by its path; it goes in as it is
#   PYTHON    the interpreter (default: python3)
#   PIP_OPTIONS  more options of pip wheel
#   PLATFORM  the platform's tag, manylinux_2_28_x86_64 say (default: this machine's own)
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$here/../..
directory=${1:-$root/out/wheels}
library=${LIBRARY:-${CARGO_TARGET_DIR:-$root/target}/${PROFILE:-release}/librevenium.so}
[ -e "$library" ] || { echo "wheel.sh: there is no $library: make $([ "${PROFILE:-release}" = debug ] && echo build || echo release)" >&2; exit 1; }
mkdir -p "$directory"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# What is built lies in a copy, so that the checkout stays as it is.
for package in python python-compat; do
    mkdir "$scratch/$package"
    (cd "$root/bindings/$package" && tar -cf - --exclude=__pycache__ --exclude=tests --exclude=_lib .) | tar -xf - -C "$scratch/$package"
    cp "$root/LICENSE" "$scratch/$package"
done
# By this name it is taken along as LICENSE is.
cp "$root/THIRD_PARTY.md" "$scratch/python/LICENSE-THIRD-PARTY.md"
mkdir "$scratch/python/librevenium/_lib"
cp "$library" "$scratch/python/librevenium/_lib"
[ -n "${LIBRARY:-}" ] || [ "${PROFILE:-release}" != release ] || strip --strip-unneeded "$scratch/python/librevenium/_lib/librevenium.so"
if [ -n "${PLATFORM:-}" ]; then
    printf '[bdist_wheel]\nplat_name = %s\n' "$PLATFORM" >"$scratch/python/setup.cfg"
fi
for package in python python-compat; do
    # shellcheck disable=SC2086 # the options are words
    "${PYTHON:-python3}" -m pip wheel -q --disable-pip-version-check --no-deps ${PIP_OPTIONS:-} -w "$directory" "$scratch/$package"
done
