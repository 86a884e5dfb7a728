#!/bin/sh
# cpp.sh: builds and runs the tests of the C++ binding beside a sandbox, as C++17, as C++20 and under the sanitizers.
#
#   LIBREVENIUM_DIR  where librevenium.so is (default: cargo's target/debug)
#   CXX              the compiler (default: g++)
set -u

tests=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$tests")
lib="${LIBREVENIUM_DIR:-${CARGO_TARGET_DIR:-$root/target}/debug}"
out="$root/out/tests/cpp"
cxx="${CXX:-g++}"
flags="-g -Wall -Wextra -pedantic -Wshadow -Wconversion -Werror -pthread -I$root/include -I$root/bindings/cpp"

# The outer run starts a sandbox and this script again beside it.
if [ -z "${SANDBOX_URL:-}" ]; then
    exec "$tests/with_sandbox.sh" "$0" "$@"
fi

"$tests/need.sh" "$cxx" g++ || exit 1
rm -rf "$out"
mkdir -p "$out"
# The linker asks for the soname, cargo builds without it.
ln -sf "$lib/librevenium.so" "$out/librevenium.so.1"
link="-L$lib -lrevenium -Wl,-rpath,$out"
passed=0
failed=0

verdict() {
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok   $2"
    else
        failed=$((failed + 1))
        echo "FAIL $2"
    fi
}

build() { # name, flags...
    name=$1
    shift
    # shellcheck disable=SC2086 # the flags are words
    "$cxx" $flags "$@" -o "$out/$name" $link
}

# A process and a spool for each test, so that none starts or ends the library for the next, or leaves it records.
run() { # label, program
    for test in $("$2"); do
        spool=$(mktemp -d)
        REVENIUM_SPOOL_DIR="$spool" timeout 300 "$2" "$test"
        verdict $? "$1: $test"
        rm -rf "$spool"
    done
}

for standard in 17 20; do
    for program in calls scopes library platform abi memory; do
        # The memory of ten thousand calls is the same in both.
        [ "$program-$standard" = memory-20 ] && continue
        build "$program-$standard" "-std=c++$standard" "$tests/cpp/$program.cpp"
        verdict $? "$program builds as C++$standard"
        [ -x "$out/$program-$standard" ] && run "C++$standard $program" "$out/$program-$standard"
    done
    # Every header stands by itself.
    for header in "$root"/bindings/cpp/revenium/*.hpp; do
        [ "$(basename "$header")-$standard" = await.hpp-17 ] && continue
        # shellcheck disable=SC2086
        "$cxx" $flags "-std=c++$standard" -fsyntax-only -x c++ -include "$header" /dev/null
        verdict $? "$(basename "$header") stands alone as C++$standard"
    done
done

# Two files of one program include everything.
echo '#include <revenium.hpp>
void other() { revenium::messages(); }' >"$out/other.cpp"
echo '#include <revenium.hpp>
void other();
int main() { other(); return revenium::version().empty(); }' >"$out/twice.cpp"
build twice -std=c++17 "$out/twice.cpp" "$out/other.cpp" && "$out/twice"
verdict $? "two files of one program"

for program in calls scopes library platform; do
    build "$program-sanitized" -std=c++20 -O1 -fno-omit-frame-pointer -fsanitize=address,undefined \
        -fno-sanitize-recover=all "$tests/cpp/$program.cpp"
    verdict $? "$program builds with sanitizers"
    [ -x "$out/$program-sanitized" ] && run "sanitized $program" "$out/$program-sanitized"
done

# Every function of the header is wrapped.
names() { grep -oh '\brevenium_[a-z_]*\b' "$@" | sort -u; }
grep -oh '\brevenium_[a-z_]*(' "$root/include/revenium.h" | tr -d '(' | sort -u >"$out/declared"
# Without comments, which name functions too; and without the header's types.
sed 's|//.*||' "$root"/bindings/cpp/revenium/*.hpp | names | comm -12 - "$out/declared" >"$out/wrapped"
diff "$out/declared" "$out/wrapped"
verdict $? "every function of revenium.h is wrapped"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
