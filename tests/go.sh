#!/bin/sh
# The Go binding's tests, beside a sandbox. Needs the library and the sandbox built (make build), Go and a C compiler.
#   VERBOSE=1  shows everything
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
binding=$root/bindings/go
"$root/tests/need.sh" go golang-go
# Ten thousand streams are as many sockets, here and in the sandbox.
ulimit -n "$(ulimit -H -n)" 2>/dev/null || true
# What `make build` does: programs look for the library by its soname.
[ -e "$root/target/debug/librevenium.so.1" ] || ln -s librevenium.so "$root/target/debug/librevenium.so.1"

# What was just built, whatever else lies there: these come before the flags of the binding.
export CGO_LDFLAGS="-O2 -g -L$root/target/debug -Wl,-rpath,$root/target/debug"

scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
passed=0

fail() { echo "go.sh: $*" >&2; exit 1; }

tests() { # DIRECTORY ARGUMENTS...: runs its tests and counts them
    (cd "$1" && shift && "$root/tests/with_sandbox.sh" go test -count=1 -v "$@" ./...) >"$scratch/log" 2>&1 ||
        { grep -v '^=== ' "$scratch/log" >&2; fail "tests in ${1#"$root/"} failed"; }
    [ -z "${VERBOSE:-}" ] || cat "$scratch/log"
    sed -n 's/^ *load_test.go:[0-9]*: /measured: /p' "$scratch/log"
    passed=$((passed + $(grep -c '^ *--- PASS' "$scratch/log")))
}

expect() { # NAME COMMAND...: prints what the example prints, up to what differs from machine to machine
    name=$1 && shift
    SANDBOX_OPTIONS='--fail anthropic:gap_ms=20' "$root/tests/with_sandbox.sh" "$@" >"$scratch/output" 2>"$scratch/errors" ||
        { cat "$scratch/errors" >&2; fail "$* failed"; }
    [ ! -s "$scratch/errors" ] || { cat "$scratch/errors" >&2; fail "$* wrote to standard error"; }
    sed '/^{$/,$d' "$scratch/output" | diff -u "$root/examples/expected/$name.txt" - >&2 || fail "$* printed something else"
}

for module in "$binding" "$binding/dropintest" "$binding/reveniumotel" "$root/examples/go" "$root/examples/go/dropin"; do
    unformatted=$(gofmt -l "$module")
    [ -z "$unformatted" ] || fail "gofmt: $unformatted"
    (cd "$module" && go vet ./...) || fail "go vet in ${module#"$root/"}"
done

tests "$binding" -race
# The race detector allows for some thousand goroutines only.
tests "$binding" -run='ManyCallsInFlight|NoLeak'
tests "$binding/dropintest" -race
tests "$binding/reveniumotel"

for example in getting_started metadata streaming tools scopes async status otel record tool_events; do
    expect "$example" "$root/examples/go/run" "$example"
done
expect getting_started "$root/examples/go/run" dropin

# From a module elsewhere: with the library of a checkout, an installed one, a copied one, and the archive.
mkdir "$scratch/elsewhere"
cp "$root/examples/go/getting_started/main.go" "$scratch/elsewhere"
cd "$scratch/elsewhere"
module=github.com/librevenium/librevenium/bindings/go
go mod init example.com/elsewhere 2>/dev/null
go mod edit -require=$module@v0.0.0 -replace=$module="$binding"
go build -o checkout . && expect getting_started "$scratch/elsewhere/checkout"
unset CGO_LDFLAGS # from here on the library is another one
make -s --no-print-directory -C "$root" install PROFILE=dev PREFIX="$scratch/usr" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; fail "make install"; }
# Go's build cache does not look at what pkg-config says, which is another place in each run; it does look at CGO_CFLAGS.
CGO_CFLAGS="-O2 -g -DRUN=$$" PKG_CONFIG_PATH=$scratch/usr/lib/pkgconfig go build -tags revenium_pkgconfig -o installed .
expect getting_started env LD_LIBRARY_PATH="$scratch/usr/lib" "$scratch/elsewhere/installed"
mkdir "$scratch/beside"
cp installed "$scratch/usr/lib/librevenium.so.1" "$scratch/beside"
expect getting_started "$scratch/beside/installed"
go build -tags revenium_static -o archive . && expect getting_started "$scratch/elsewhere/archive"
readelf -d archive | grep -q 'NEEDED.*librevenium' && fail "the static program needs the library"

mkdir "$scratch/copy"
(cd "$binding" && tar -cf - --exclude='./lib/*/*.so*' .) | tar -xf - -C "$scratch/copy"
make -s --no-print-directory -C "$scratch/copy" lib PROFILE=debug ROOT="$root"
go mod edit -replace=$module="$scratch/copy"
go build -o copied . && expect getting_started "$scratch/elsewhere/copied"
# Vendored, it is all there without that module.
go mod vendor
mkdir "$scratch/deployed"
mv copied "$scratch/copy/lib/linux_amd64/librevenium.so.1" "$scratch/deployed" && rm -r "$scratch/copy"
go build -mod=vendor -o vendored . && expect getting_started "$scratch/elsewhere/vendored"
# Beside its library a program runs anywhere.
expect getting_started "$scratch/deployed/copied"

# Without cgo: one sentence.
CGO_ENABLED=0 go build -mod=vendor . 2>"$scratch/errors" && fail "the package builds without cgo"
[ "$(grep -c '\.go:' "$scratch/errors")" = 1 ] && grep -q 'needs cgo: install a C compiler' "$scratch/errors" ||
    { cat "$scratch/errors" >&2; fail "without cgo this is no one sentence"; }

echo "go: $passed tests passed; 11 examples, 6 ways to link"
