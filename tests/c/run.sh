#!/bin/sh
# Builds the C tests and runs each beside a sandbox of its own. One line for each, and at the end: N passed, N failed.
#
#   tests/c/run.sh [NAME...]     all, or those named
#   REVENIUM_LIBRARY             the library (default: that of `make build`)
#   CC, TESTS_RUN                for a library of another platform: its compiler, and what starts its programs
#   TESTS_OUT                    where the programs go (default: out/tests/c)
set -u

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
out="${TESTS_OUT:-$root/out/tests/c}"
library=$(readlink -f "${REVENIUM_LIBRARY:-${CARGO_TARGET_DIR:-$root/target}/debug/librevenium.so}")
# shellcheck disable=SC2086 # CC and TESTS_RUN are words
cc="${CC:-gcc} -std=c11 -D_GNU_SOURCE -g -O1 -Wall -Wextra -Werror -I$root/include -I$here"
passed=0
failed=0

# Five thousand streams are as many sockets, here and in the sandbox.
ulimit -n "$(ulimit -H -n)" 2>/dev/null || true
# A program that is killed shall not fill the disk.
ulimit -c 0

[ -e "$library" ] || { echo "run.sh: no library; run make build first" >&2; exit 1; }
mkdir -p "$out"
exe=
case $library in
*.dll)
    # The programs find it beside them.
    exe=.exe
    ln -sf "$library" "$out/revenium.dll"
    alone='-static -lws2_32' linked="-L$out -Wl,-Bdynamic -lrevenium -Wl,-Bstatic $alone"
    ;;
*)
    # By its soname.
    ln -sf "$library" "$out/librevenium.so"
    ln -sf "$library" "$out/librevenium.so.1"
    alone='-ldl -lpthread' linked="-L$out -lrevenium $alone"
    ;;
esac
export LD_LIBRARY_PATH="$out" REVENIUM_LIBRARY="$library"

verdict() { # NAME STATUS LOG
    if [ "$2" -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok      $1${4:+  ($4)}"
    else
        failed=$((failed + 1))
        case $2 in 124 | 137) reason="out of time" ;; *) reason="status $2" ;; esac
        echo "FAILED  $1  ($reason)"
        tail -n 40 "$3" | sed 's/^/        /'
    fi
}

asked() { # NAME
    case " $wanted " in "  " | *" $1 "*) ;; *) return 1 ;; esac
}

# Runs a test, given as name, seconds and command.
run() {
    name=$1 seconds=$2
    shift 2
    # The sandbox ends with its script; the program, and what it has forked, by timeout's signal.
    timeout -k 10 "$seconds" "$root/tests/with_sandbox.sh" "$@" >"$out/$name.log" 2>&1
    verdict "$name" $? "$out/$name.log" "$(grep -h '^note: ' "$out/$name.log" | sed 's/^note: //' | tail -n 1)"
}

build() { # NAME SOURCE FLAGS...
    name=$1 source=$2
    shift 2
    # dlclose.c loads it by itself.
    case $source in dlclose) link=$alone ;; *) link=$linked ;; esac
    $cc "$@" -o "$out/$name$exe" "$here/$source.c" $link >"$out/$name.log" 2>&1 || {
        verdict "build of $name" 1 "$out/$name.log"
        return 1
    }
}

# Every exported function has its bad input.
every_function_has_bad_input() {
    sed -n 's/.*\(revenium_[a-z_]*\)(.*/\1/p' "$root/tests/abi/functions.txt" | while read -r name; do
        grep -qw "$name" "$here/badinput.c" || echo "badinput.c does not know $name"
    done
}

wanted="$*"
test -z "$(every_function_has_bad_input | tee "$out/functions.log")"
verdict "badinput.c names every function" $? "$out/functions.log"

for program in layout calls failures lifecycle scopes observed capture host badinput fork sigpipe exit dlclose streams5000; do
    asked $program && build $program $program && run $program 300 ${TESTS_RUN:-} "$out/$program$exe"
done

# gcc instruments the programs; what the ordinary library allocates for them is watched as well.
for program in calls failures observed badinput; do
    asked "asan-$program" && build "asan-$program" $program -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer &&
        run "asan-$program" 300 env ASAN_OPTIONS=detect_stack_use_after_return=1 "$out/asan-$program"
done

asked valgrind && build calls calls && run valgrind 600 "$here/valgrind.sh" "$out/calls" smoke

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
