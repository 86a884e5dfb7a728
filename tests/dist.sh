#!/bin/sh
# dist.sh: makes the packages of this platform and uses each from an empty folder, with nothing of the checkout on any path.
#   PROFILE   dev (default) or release: which build. A release is also measured, read for places of this machine and for what
#             its packages say, and installed into a Debian of its own, as old as its glibc allows (root and debootstrap wanted).
#   BUILT     where tools/dist/build has left linux-x64; without it, it is built
#   ROOTS     where such Debians are kept; a development build is tried there too when it is told
#   STEPS     some of the steps at the end of this file
#   VERBOSE=1 shows everything
set -eu
export CARGO_TERM_QUIET=true PROFILE="${PROFILE:-dev}"

cd "$(dirname -- "$0")/.."
# Of one time, whatever is committed meanwhile.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 315532800)}
export SOURCE_DATE_EPOCH
[ "$(uname -sm)" = 'Linux x86_64' ] || { echo "dist: nothing is packaged on $(uname -sm)"; exit 0; }
tests/need.sh pkg-config pkg-config
tests/need.sh cmake cmake
[ -n "${SANDBOX_URL:-}" ] || exec tests/with_sandbox.sh "$0"

root=$PWD
version=$(sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)
scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
log=$scratch/log
fail() { echo "dist.sh: $*" >&2; exit 1; }
run() { "$@" >"$log" 2>&1 || { cat "$log" >&2; fail "$* failed"; }; }
expect() { # FILE COMMAND...: prints what is in the file
    wanted=$1 && shift
    "$@" >"$scratch/output" 2>"$scratch/errors" || { cat "$scratch/errors" >&2; fail "$* failed"; }
    diff -u "$wanted" "$scratch/output" >&2 || fail "$* printed something else"
}
empty() { mkdir "$scratch/$1" && cd "$scratch/$1"; } # NAME: an empty folder to work in

# Copies, so that no path leads back.
example=$scratch/getting_started.c
cp examples/c/getting_started.c examples/c/example.h "$scratch"
cp examples/expected/getting_started.txt "$scratch/greeting"
cp -r tests/dist "$scratch/programs"
cp bindings/node/package.json bindings/node/package-lock.json examples/go/getting_started/main.go "$scratch"
unset REVENIUM_LIBRARY LD_LIBRARY_PATH PYTHONPATH NODE_PATH PKG_CONFIG_PATH CGO_LDFLAGS CGO_CFLAGS GOFLAGS

built=${BUILT:-$scratch/built}
[ -n "${BUILT:-}" ] || run tools/dist/build linux-x64 "$built/linux-x64"
packages=$scratch/dist
run tools/dist/dist --built "$built" --out "$packages" linux-x64
[ "${VERBOSE:-}" = '' ] || cat "$log"

checksums() {
    cd "$packages"
    run sha256sum --check --quiet SHA256SUMS
    [ "$(find . -type f ! -name SHA256SUMS | wc -l)" = "$(wc -l <SHA256SUMS)" ] || fail "there are files without a checksum"
    # The same once more: the same bytes.
    (cd "$root" && run tools/dist/dist --built "$built" --out "$scratch/again" linux-x64)
    diff "$packages/SHA256SUMS" "$scratch/again/SHA256SUMS" >&2 || fail "packed twice, these are other bytes"
    rm -r "$scratch/again"
}

refusals() {
    cd "$root"
    tools/dist/dist --out "$scratch/none" plan9-x64 2>"$log" && fail "plan9-x64 was packaged"
    grep -q 'plan9-x64 is no platform' "$log" || { cat "$log" >&2; fail "an unknown platform gets no sentence"; }
    [ "$(wc -l <"$log")" = 1 ] || fail "the sentence about an unknown platform is not one"
}

# C_FLAGS...: the example by pkg-config, shared and static, and by CMake, from a tree whose usr is $1 and libraries are in $2.
native() {
    tree=$1 lib=$2
    PKG_CONFIG_PATH=$lib/pkgconfig
    export PKG_CONFIG_PATH
    [ "$(pkg-config --modversion revenium)" = "$version" ] || fail "revenium.pc has another version"
    # shellcheck disable=SC2046 # the flags are words
    run cc -o shared "$example" $(pkg-config --cflags --libs revenium) -Wl,-rpath,"$lib"
    expect "$scratch/greeting" ./shared
    # shellcheck disable=SC2046
    run cc -o static "$example" $(pkg-config --cflags revenium) -l:librevenium.a $(pkg-config --libs --static revenium | sed s/-lrevenium//)
    expect "$scratch/greeting" ./static
    readelf -d static | grep -q 'NEEDED.*librevenium' && fail "the static program needs the library"
    mkdir project
    cp "$example" "$scratch/example.h" project
    cat >project/CMakeLists.txt <<CMAKE
cmake_minimum_required(VERSION 3.10)
project(example C)
find_package(revenium $version EXACT REQUIRED)
foreach(kind revenium static)
  add_executable(with_\${kind} getting_started.c)
  target_link_libraries(with_\${kind} revenium::\${kind})
endforeach()
CMAKE
    run cmake -S project -B build -DCMAKE_PREFIX_PATH="$tree"
    run cmake --build build
    expect "$scratch/greeting" build/with_revenium
    expect "$scratch/greeting" build/with_static
    unset PKG_CONFIG_PATH
    run "$tree/bin/revenium" status
    grep -q "librevenium $version" "$log" || fail "the command tells another version"
}

tar_archive() {
    empty tar
    tar -xzf "$packages/librevenium-$version-linux-x64.tar.gz"
    tree=$PWD/librevenium-$version-linux-x64
    for file in LICENSE THIRD_PARTY.md; do [ -s "$tree/share/doc/revenium/$file" ] || fail "the archive lacks $file"; done
    native "$tree" "$tree/lib"
    clean "$tree"
}

# Unpacked here; apt installs it in `debian`, where there may be a root of its own.
deb() {
    empty deb
    for package in "$packages"/*.deb; do run dpkg-deb -x "$package" "$PWD"; done
    for package in librevenium1 librevenium-dev revenium; do
        for file in copyright THIRD_PARTY.md; do [ -s "usr/share/doc/$package/$file" ] || fail "$package lacks $file"; done
    done
    native "$PWD/usr" "$PWD/usr/lib/x86_64-linux-gnu"
}

# A project that has the frameworks already, with a lock that tells where they are from; then the files.
npm_packages() {
    empty npm
    cp "$scratch/package.json" "$scratch/package-lock.json" "$scratch"/programs/node/* .
    run npm pkg delete name main module exports types files scripts dependencies.koffi
    run npm install --prefer-offline --ignore-scripts --no-audit --no-fund "$packages/librevenium-$version.tgz" \
        "$packages/librevenium-linux-x64-$version.tgz"
    for file in LICENSE THIRD_PARTY.md; do
        [ -s "node_modules/librevenium/$file" ] && [ -s "node_modules/librevenium-linux-x64/$file" ] || fail "an npm package lacks $file"
    done
    echo "node_modules/librevenium-linux-x64/librevenium.so You said: Hello" >wanted
    expect wanted node use.cjs
    for program in own official vercel langchain; do expect wanted node "$program.mjs"; done
    run npx --no-install tsc --noEmit --strict --module nodenext --skipLibCheck false use.mts use.cts
    # Without the package of the platform: advice.
    rm -r node_modules/librevenium-linux-x64
    node use.cjs 2>"$log" && fail "it works without a library"
    grep -q 'npm install librevenium-linux-x64' "$log" || { cat "$log" >&2; fail "no advice which package is missing"; }
    clean node_modules/librevenium
}

wheels() {
    empty python
    run "${PYTHON:-python3}" -m venv venv
    run venv/bin/python -m pip install --disable-pip-version-check --no-index "$packages"/*.whl
    printf '%s\n' "True $version" 'You said: Hello' >wanted
    expect wanted venv/bin/python "$scratch/programs/use.py"
    for wheel in "$packages"/*.whl; do run venv/bin/python -m zipfile -e "$wheel" unpacked; done
    clean unpacked
    # The tag says what the symbols say: no more, no less.
    glibc=$(readelf -VW "$built/linux-x64/lib/librevenium.so" | sed -n 's/.*Name: GLIBC_\([0-9.]*\).*/\1/p' | sort -Vu | tail -n 1)
    [ -e "$packages/librevenium-$version-py3-none-manylinux_$(echo "$glibc" | tr . _)_x86_64.whl" ] || fail "the wheel's tag is not that of glibc $glibc"
}

go_modules() {
    command -v go >/dev/null || fail "go is missing: apt-get install golang-go"
    empty go
    cp "$scratch/main.go" .
    # The modules are what is in the folder, and nothing else is asked.
    export GOPROXY="file://$packages/go" GOSUMDB=off GOMODCACHE="$scratch/gomodcache" GOFLAGS=-modcacherw GOTOOLCHAIN=local
    run go mod init example.com/app
    run go get github.com/librevenium/librevenium/bindings/go@v"$version"
    expect "$scratch/greeting" go run .
    run go build -o app .
    run go build -tags revenium_static -o static .
    mkdir "$scratch/deployed"
    mv app static "$scratch/deployed"
    cp "$GOMODCACHE/github.com/librevenium/librevenium/bindings/go/lib/linux_amd64@v$version/librevenium.so.1" "$scratch/deployed"
    run go mod tidy
    run go mod verify
    run go mod vendor
    rm -rf "$GOMODCACHE"
    cd "$scratch"
    expect "$scratch/greeting" deployed/app
    rm deployed/librevenium.so.1
    expect "$scratch/greeting" deployed/static
    deployed/app >/dev/null 2>&1 && fail "the program takes the library from somewhere else"
    cd go
    run go build -mod=vendor -o vendored .
    expect "$scratch/greeting" ./vendored
    clean vendor
}

# PLACE...: no place of this machine is named in what is shipped. Development builds tell where their sources are.
clean() {
    binaries=-I
    [ "$PROFILE" = dev ] || binaries=-a
    named=$(grep -rl $binaries -F -e "$root" -e "$HOME/" -e "$scratch" "$@" | grep -v '\.pyc$' || true)
    [ -z "$named" ] || fail "places of this machine are named in $named"
}

sizes() { # each against its limit
    status=0
    while read -r limit pattern; do
        case $limit in '#'* | '') continue ;; esac
        found=$(cd "$packages" && find . -path "./$pattern")
        [ -n "$found" ] || fail "there is no $pattern"
        size=$(stat -c %s "$packages/$found")
        awk -v size="$size" -v limit="$limit" -v name="${found#./}" -v known="$PROFILE" 'BEGIN {
            printf "  %7.1f MB  of %5s  %s\n", size / 1e6, known == "dev" ? "-" : limit, name
            exit known != "dev" && size > limit * 1e6 }' || status=1
    done <"$scratch/programs/limits.txt"
    [ "$status" = 0 ] || fail "a package is larger than its limit"
}

for step in ${STEPS:-refusals checksums tar_archive deb npm_packages wheels go_modules}; do (set -eu; $step) || exit 1; [ -z "${VERBOSE:-}" ] || echo "$step: $(date +%T)"; done
[ "$PROFILE" = dev ] || (cd "$root" && run python3 -B tests/platforms/packages.py "$packages" linux-x64) || exit 1
if [ -n "${ROOTS:-}" ] || [ "$PROFILE" != dev ]; then
    "$root/tests/dist/debian.sh" "$packages" "$scratch" || exit 1
fi
sizes
echo "dist: ok"
