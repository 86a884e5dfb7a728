#!/bin/sh
# use.sh PACKAGE DIRECTORY: installs a package of another Linux into DIRECTORY, emptied before, and uses it. Beside a sandbox.
#
#   PACKAGE   archive deb wheel go
#   DIST      where the packages are
#   PLATFORM  linux-arm64 or linux-x64-musl
#   CC, RUN   the compiler for it, and what programs are started with
#   STATIC_CC, UNWIND  the compiler of static programs (default: CC), and what it has to be told to unwind a stack
#   PYTHON    its Python, for the wheel; WHEEL: the tag of such a system
set -eu
package=$1 directory=$2
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
version=$(sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' "$root/Cargo.toml")
rm -rf "$directory"
mkdir -p "$directory"
cd "$directory"
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

go() {
    case $PLATFORM in
    linux-arm64) module=linux_arm64 tags='' && export GOARCH=arm64 ;;
    linux-x64-musl) module=linux_amd64_musl tags=revenium_musl && export GOARCH=amd64 ;;
    esac
    export GOPROXY="file://$DIST/go" GOSUMDB=off GOMODCACHE="$PWD/cache" GOFLAGS=-modcacherw GOTOOLCHAIN=local GOOS=linux CGO_ENABLED=1 CC
    cp "$root/examples/go/getting_started/main.go" .
    command go mod init example.com/app
    command go get github.com/librevenium/librevenium/bindings/go@v"$version"
    mkdir deployed
    command go build -tags "$tags" -o deployed/shared .
    CC=${STATIC_CC:-$CC} CGO_LDFLAGS=${UNWIND:-} command go build -tags "$tags,revenium_static" -o deployed/static .
    cp "$GOMODCACHE/github.com/librevenium/librevenium/bindings/go/lib/$module@v$version/librevenium.so.1" deployed
    rm -rf "$GOMODCACHE"
    greets $run deployed/shared
    rm deployed/librevenium.so.1
    greets $run deployed/static
}

$package
