#!/bin/sh
# need.sh TOOL PACKAGE: succeeds when TOOL is there or could be installed, else says in one line how to get it.
set -u
command -v "$1" >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -q && apt-get install -y -q --no-install-recommends "$2"; } >/dev/null 2>&1
    command -v "$1" >/dev/null && exit 0
fi
echo "$1 is missing: apt-get install $2" >&2
exit 1
