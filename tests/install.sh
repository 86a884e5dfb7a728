#!/bin/sh
# install.sh: installs into an empty place, builds programs against it as users do, runs them, and uninstalls.
set -eu
export CARGO_TERM_QUIET=true

cd "$(dirname -- "$0")/.."
tests/need.sh pkg-config pkg-config
tests/need.sh cmake cmake
[ -n "${SANDBOX_URL:-}" ] || exec tests/with_sandbox.sh "$0"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "install.sh: $*" >&2; exit 1; }
make() { command make -s --no-print-directory "$@"; }
expect() { # COMMAND...: prints what the example prints
    "$@" >"$scratch/output" || fail "$1 failed"
    diff -u examples/expected/getting_started.txt "$scratch/output" >&2 || fail "$1 printed something else"
}

version=$(sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)
example=examples/c/getting_started.c

# Staged under DESTDIR and with a library directory two levels deep, as distributions do; then moved.
make install PROFILE=dev DESTDIR="$scratch/stage" PREFIX=/opt/revenium LIBDIR=/opt/revenium/lib/multiarch >"$scratch/hint"
[ ! -s "$scratch/hint" ] || fail "a staged installation tells how to use it where it is not"
mv "$scratch/stage/opt/revenium" "$scratch/moved"
lib=$scratch/moved/lib/multiarch
export PKG_CONFIG_PATH="$lib/pkgconfig"
grep -rl "$scratch" "$lib/pkgconfig" "$lib/cmake" "$scratch/moved/include" && fail "a file names the staging directory"
[ "$(pkg-config --modversion revenium)" = "$version" ] || fail "revenium.pc has another version than $version"
# shellcheck disable=SC2046 # the flags are words
cc -o "$scratch/moved_example" "$example" $(pkg-config --cflags --libs revenium)
expect env LD_LIBRARY_PATH="$lib" "$scratch/moved_example"
rm -r "$scratch/moved" "$scratch/stage"

prefix=$scratch/usr
lib=$prefix/lib
make install PROFILE=dev PREFIX="$prefix" >"$scratch/hint"

# What it says at its end is enough, as it stands, in a new shell.
mkdir "$scratch/hinted"
cp "$example" "$scratch/hinted/hello.c"
cp examples/c/example.h "$scratch/hinted"
sed -n 's/^    //p' "$scratch/hint" >"$scratch/hinted/paste"
echo 'revenium status' >>"$scratch/hinted/paste"
(cd "$scratch/hinted" && env -u PKG_CONFIG_PATH -u LD_LIBRARY_PATH sh -eu paste >/dev/null) || { cat "$scratch/hint" >&2; fail "its hint does not build"; }
expect "$scratch/hinted/a.out"
# Where the loader is configured to look there, its cache is all that is wanting.
echo "$lib" >"$scratch/ld.so.conf"
cache="ldconfig -C $scratch/ld.so.cache -f $scratch/ld.so.conf"
hint() { LDCONFIG=$cache bindings/c/hint.sh "$prefix" "$lib" "$prefix/bin"; }
hint | grep -q 'ld\.so\.conf$' && ! hint | grep -q rpath || { hint >&2; fail "its hint forgets ldconfig"; }
PATH=$PATH:/usr/sbin:/sbin $cache
hint | grep -q 'ldconfig\|rpath' && { hint >&2; fail "its hint wants more than there needs to be"; }

# What docs/install.md says that it needs of a system.
needed=$(readelf -d "$lib/librevenium.so" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
for file in $needed; do grep -q "\`$file\`" docs/install.md || fail "docs/install.md does not say that $file is needed"; done

[ -s "$prefix/share/doc/revenium/THIRD_PARTY.md" ] || fail "the licences of what is linked are missing"
readelf -d "$lib/librevenium.so" | grep -q 'SONAME.*\[librevenium\.so\.1\]' || fail "the soname is not librevenium.so.1"
[ "$(readlink "$lib/librevenium.so")" = librevenium.so.1 ] || fail "librevenium.so is no link to librevenium.so.1"
[ "$(readlink "$lib/librevenium.so.1")" = "librevenium.so.$version" ] || fail "librevenium.so.1 is no link to the file"
[ -f "$lib/librevenium.so.$version" ] && [ ! -L "$lib/librevenium.so.$version" ] || fail "librevenium.so.$version is no file"

"$prefix/bin/revenium" status >"$scratch/output" || fail "revenium status failed"
grep -q "librevenium $version" "$scratch/output" || fail "revenium status does not tell its version"

"$prefix/bin/revenium" sandbox --port 0 --seconds 0 >"$scratch/output" || fail "revenium sandbox failed"
grep -q '^export REVENIUM_METERING_BASE_URL=http://127' "$scratch/output" || fail "revenium sandbox tells no environment"

export PKG_CONFIG_PATH="$lib/pkgconfig"
# shellcheck disable=SC2046 # the flags are words
cc -o "$scratch/shared" "$example" $(pkg-config --cflags --libs revenium) -Wl,-rpath,"$lib"
expect "$scratch/shared"
# shellcheck disable=SC2046 # the flags are words
c++ -std=c++17 -o "$scratch/cpp" examples/cpp/getting_started.cpp $(pkg-config --cflags --libs revenium) -Wl,-rpath,"$lib"
expect "$scratch/cpp"

mkdir "$scratch/project"
cp "$example" "$scratch/project"
cat >"$scratch/project/CMakeLists.txt" <<CMAKE
cmake_minimum_required(VERSION 3.10)
project(example C)
find_package(revenium ${version%.*} REQUIRED)
add_executable(with_shared getting_started.c)
target_link_libraries(with_shared revenium::revenium)
add_executable(with_static getting_started.c)
target_link_libraries(with_static revenium::static)
find_package(revenium 99 QUIET)
if(revenium_FOUND)
  message(FATAL_ERROR "version 99 was found")
endif()
CMAKE
{ cmake -S "$scratch/project" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$prefix" && cmake --build "$scratch/build"; } \
    >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; fail "CMake does not build with it"; }
expect "$scratch/build/with_shared"
expect "$scratch/build/with_static"
readelf -d "$scratch/build/with_shared" | grep -q 'NEEDED.*\[librevenium\.so\.1\]' || fail "with_shared does not need the soname"
readelf -d "$scratch/build/with_static" | grep -q 'NEEDED.*librevenium' && fail "with_static needs the shared library"

make uninstall PREFIX="$prefix"
left=$(find "$prefix" ! -type d -o -name '*revenium*')
[ -z "$left" ] || fail "left behind: $left"
echo "install: ok"
