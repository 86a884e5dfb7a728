#!/bin/sh
# platforms.sh [TARGET...]: what is made for other platforms, run on this one as far as that can be: arm64 under qemu-user, musl
# with its own loader, Windows under Wine; macOS is compiled and linked only. Then the packages of all of them. What a step
# needs and this machine does not have, it says in one line, and goes on. Prints "N passed, N failed, N left out".
#
#   TARGET    linux-arm64 linux-x64-musl win32-x64 darwin-arm64 darwin-x64 (default: all)
#   PROFILE   release (default) or dev, as for tools/dist/build
#   BUILT     where tools/dist/build has left the targets, each in a directory of its name; without it they are built. linux-x64
#             is packed with them if it is there
#   ARM64     the root of a Debian for arm64 with python3; without it debootstrap makes one
#   PYTHON_MUSL  a Python that is linked with musl
set -u
cd "$(dirname -- "$0")/.." || exit 1
root=$PWD
[ "$(uname -sm)" = 'Linux x86_64' ] || { echo "platforms.sh: other platforms are tried on Linux x86_64 only"; exit 0; }

out=$root/out/platforms
built=${BUILT:-$out/built}
conformance=$root/../shared/conformance
passed=0 failed=0 left_out=0
mkdir -p "$out"
[ -x target/debug/sandbox ] || cargo build --quiet --package sandbox || exit 1

pass() { passed=$((passed + 1)); echo "ok      $target: $*"; }
miss() { left_out=$((left_out + 1)); echo "missing $target: $*"; }
attempt() { # WHAT COMMAND...
    what=$1 && shift
    if "$@" >"$out/log" 2>&1 </dev/null; then
        pass "$what$(tail -n 1 "$out/log" | sed -n 's/^\([0-9]* passed\).*/ (\1)/p')"
    else
        failed=$((failed + 1))
        echo "FAILED  $target: $what"
        grep -v '^ok ' "$out/log" | tail -n 40 | sed 's/^/        /'
        return 1
    fi
}
have() { # TOOL PACKAGE WHAT: else WHAT is left out
    command -v "$1" >/dev/null || { miss "$3 needs $1 (package $2)"; return 1; }
}
sandbox() { tests/with_sandbox.sh "$@"; }

made() {
    [ -z "${BUILT:-}" ] || [ ! -d "$built/$target" ] || return 0
    tools/dist/build "$target" "$built/$target" >"$out/log" 2>&1
    case $? in
    0) pass "is compiled and linked" ;;
    3) miss "$(tail -n 1 "$out/log")" && return 1 ;;
    *) attempt "is compiled and linked" sh -c 'cat "$0"; exit 1' "$out/log" && return 1 ;;
    esac
}

# Nothing newer than the first glibc that all of manylinux_2_17 has.
old_glibc() { # FILE...
    newest=$(readelf -VW "$@" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
    echo "$newest"
    [ "$(printf '%s\nGLIBC_2.17\n' "$newest" | sort -V | tail -n 1)" = GLIBC_2.17 ]
}

client() { # COMPILER: tests/platforms/client.c
    # shellcheck disable=SC2086 # a compiler may have options
    $1 -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Iinclude -o "$lib/client" tests/platforms/client.c -L"$lib" -lrevenium
}

# What a Linux needs to be asked from outside: the library by its soname.
linux() { lib=$built/$target/lib && ln -sf librevenium.so "$lib/librevenium.so.1"; }

# With a Python for it, and a directory that has the library and the command.
by_python() { # PYTHON DIRECTORY
    export CLIENT_PYTHON="$1" LIBREVENIUM_DIR="$2"
    attempt 'spool tests' tests/spool.sh exit down_until_after_exit tool_events_outlive_an_outage_and_a_kill kill _exit abort \
        sigterm shutdown
    if [ -d "$conformance" ]; then
        attempt 'conformance' python3 -B -c 'import runpy, sys
sys.executable, sys.argv = sys.argv[1], sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")' "$CLIENT_PYTHON" "$conformance/run.py" --lib "$lib/librevenium.so"
    fi
    unset CLIENT_PYTHON LIBREVENIUM_DIR
}

linux_arm64() {
    linux
    attempt "asks for no glibc later than 2.17" old_glibc "$lib/librevenium.so" "$built/$target/bin/revenium"
    have qemu-aarch64 qemu-user 'running anything' || return 0
    have aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu 'the C tests' || return 0
    run='qemu-aarch64 -L /usr/aarch64-linux-gnu'
    # Not fork.c: qemu-user aborts when a forked child of a program with threads starts threads of its own. Nor those that
    # start hundreds of processes, each of which it translates anew.
    attempt 'C tests' env CC=aarch64-linux-gnu-gcc TESTS_RUN="$run" TESTS_OUT="$out/c-arm64" REVENIUM_LIBRARY="$lib/librevenium.so" \
        tests/c/run.sh layout calls failures lifecycle scopes observed capture badinput
    attempt 'a client for it' client aarch64-linux-gnu-gcc
    export LD_LIBRARY_PATH="$lib"
    # shellcheck disable=SC2086 # the runner has options
    attempt 'calls, a killed process and its successor' sandbox python3 -B tests/platforms/journal.py $run "$lib/client"
    unset LD_LIBRARY_PATH
    arm64=${ARM64:-$out/arm64}
    if [ ! -e "$arm64/usr/bin/python3" ]; then
        have debootstrap debootstrap 'the spool and the conformance tests' || return 0
        rm -rf "$arm64"
        debootstrap --foreign --arch=arm64 --variant=minbase --include=python3-minimal,libpython3-stdlib bookworm "$arm64" >"$out/log" 2>&1 ||
            { miss "the spool and the conformance tests need a Debian for arm64, which debootstrap did not get"; return 0; }
        for package in "$arm64"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$arm64"; done
    fi
    mkdir -p "$out/python-arm64"
    printf '#!/bin/sh\nexec qemu-aarch64 -L %s %s/usr/bin/python3 -B "$@"\n' "$arm64" "$arm64" >"$out/python-arm64/python3"
    printf '#!/bin/sh\nexec qemu-aarch64 -L %s %s/bin/revenium "$@"\n' "$arm64" "$built/$target" >"$out/python-arm64/revenium"
    chmod +x "$out/python-arm64/python3" "$out/python-arm64/revenium"
    ln -sf "$lib/librevenium.so" "$out/python-arm64/librevenium.so"
    by_python "$out/python-arm64/python3" "$out/python-arm64"
}

linux_x64_musl() {
    linux
    attempt 'asks for no glibc' sh -c '! readelf -dVW "$@" | grep -e GLIBC -e libc.so.6 -e libgcc_s' sh "$lib/librevenium.so" "$built/$target/bin/revenium"
    have musl-gcc musl-tools 'the C tests' || return 0
    attempt 'C tests' env CC=musl-gcc TESTS_OUT="$out/c-musl" REVENIUM_LIBRARY="$lib/librevenium.so" \
        tests/c/run.sh layout calls failures lifecycle scopes observed capture badinput fork sigpipe exit dlclose
    attempt 'a client for it' client musl-gcc
    export LD_LIBRARY_PATH="$lib"
    attempt 'calls, a killed process and its successor' sandbox python3 -B tests/platforms/journal.py "$lib/client"
    unset LD_LIBRARY_PATH
    attempt 'the command' sandbox "$built/$target/bin/revenium" doctor
    [ -n "${PYTHON_MUSL:-}" ] || { miss 'the spool and the conformance tests need a Python for musl (PYTHON_MUSL)'; return 0; }
    mkdir -p "$out/python-musl"
    ln -sf "$lib/librevenium.so" "$built/$target/bin/revenium" "$out/python-musl"
    by_python "$PYTHON_MUSL" "$out/python-musl"
}

win32_x64() {
    lib=$built/$target/lib bin=$built/$target/bin
    have x86_64-w64-mingw32-g++ g++-mingw-w64-x86-64-posix 'a program for it' || return 0
    # Debian's is on no path.
    export PATH="$PATH:/usr/lib/wine"
    have wine64 wine64 'running anything' || return 0
    # Wine's own folder of settings, so that nobody's is touched.
    export WINEPREFIX="$out/wine" WINEDEBUG=-all
    wine64 wineboot -i >"$out/log" 2>&1 </dev/null
    system=$WINEPREFIX/drive_c/windows/system32
    [ -e "$system/bcryptprimitives.dll" ] ||
        x86_64-w64-mingw32-gcc -shared -Wall -Wextra -Werror -o "$system/bcryptprimitives.dll" tests/platforms/bcryptprimitives.c -ladvapi32
    # It has the host's files below Z:.
    run=$out/windows
    cat >"$run" <<'end'
#!/bin/sh
[ -z "${REVENIUM_SPOOL_DIR:-}" ] || export REVENIUM_SPOOL_DIR="Z:$REVENIUM_SPOOL_DIR"
exec wine64 "$@"
end
    chmod +x "$run"
    attempt 'C tests' env CC=x86_64-w64-mingw32-gcc TESTS_RUN="$run" TESTS_OUT="$out/c-windows" REVENIUM_LIBRARY="$bin/revenium.dll" \
        tests/c/run.sh layout calls failures lifecycle scopes observed capture badinput exit dlclose
    # Wine 8's server is left waiting for what processes that have ended waited for, and takes a whole core for that.
    wineserver -k
    flags="-Wall -Wextra -Werror -Iinclude -Ibindings/cpp -L$lib"
    libraries='-Wl,-Bdynamic -lrevenium -Wl,-Bstatic -static -lws2_32'
    # shellcheck disable=SC2086 # the flags are words
    attempt 'a client for it' x86_64-w64-mingw32-gcc $flags -std=c11 -o "$bin/client.exe" tests/platforms/client.c $libraries
    attempt 'calls, a killed process and its successor' sandbox python3 -B tests/platforms/journal.py "$run" "$bin/client.exe"
    # shellcheck disable=SC2046 # the libraries are words
    attempt 'a client with the library inside' x86_64-w64-mingw32-gcc -std=c11 -Wall -Wextra -Werror -Iinclude -o "$out/alone.exe" \
        tests/platforms/client.c -static "$lib/librevenium.a" $(sed -n 's/^WINDOWS = "\(.*\)"/\1/p' tools/dist/platforms.py)
    attempt 'calls of that' sandbox python3 -B tests/platforms/journal.py "$run" "$out/alone.exe"
    rm -f "$out/alone.exe"
    attempt 'the command, the spool in the local application data, locks, AWS credentials' \
        sandbox python3 -B tests/platforms/windows.py "$run" "$bin" "$WINEPREFIX"
    for program in calls scopes library platform; do
        # shellcheck disable=SC2086 # the flags are words
        attempt "$program.cpp for it" x86_64-w64-mingw32-g++ $flags -std=c++20 -o "$bin/$program.exe" tests/cpp/$program.cpp $libraries
        [ -e "$bin/$program.exe" ] || continue
        attempt "C++ binding, $program" sandbox sh -c 'failed=0 passed=0
for test in $("$0" "$1" | tr -d "\r"); do
    spool=$(mktemp -d)
    if REVENIUM_SPOOL_DIR="$spool" timeout 300 "$0" "$1" "$test"; then passed=$((passed + 1)); else echo "FAIL $test"; failed=$((failed + 1)); fi
    rm -rf "$spool"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]' "$run" "$bin/$program.exe"
    done
    rm -f "$bin/client.exe" "$bin/calls.exe" "$bin/scopes.exe" "$bin/library.exe" "$bin/platform.exe"
    have npm npm 'the Node.js binding' || return 0
    sandbox tests/platforms/node.sh wine64 "$bin/revenium.dll" >"$out/log" 2>&1
    case $? in
    0) pass "Node.js binding: $(tail -n 1 "$out/log")" ;;
    3) miss 'the Node.js binding needs Node.js for Windows, which npm did not bring' ;;
    *) attempt 'Node.js binding' sh -c 'cat "$0"; exit 1' "$out/log" ;;
    esac
}

darwin() {
    attempt 'is what the loader takes, signed, with every function and nothing else' python3 -B tests/platforms/macos.py "$built/$target"
    echo "        $target: is not run: there is no macOS here"
}

has_zig() { # WHAT
    python3 -c 'import ziglang' 2>/dev/null || { miss "$1 needs ziglang, of Python's packages"; return 1; }
}

# What is packed of all that is there, each package read; those of another Linux are installed and used.
packages() {
    [ ! -d "$built/linux-x64" ] || there="linux-x64 $there"
    # shellcheck disable=SC2086 # a list
    attempt "packed: $there" tools/dist/dist --built "$built" --out "$out/dist" $there || return 0
    have npm npm 'reading the packages' || return 0
    # shellcheck disable=SC2086
    attempt 'metadata, names and binaries of each; npm and pip take the right one' python3 -B tests/platforms/packages.py "$out/dist" $there
    export DIST="$out/dist" PLATFORM
    for PLATFORM in $there; do
        case $PLATFORM in
        linux-arm64)
            have qemu-aarch64 qemu-user 'using those of arm64' && have aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu 'using those of arm64' || continue
            export CC=aarch64-linux-gnu-gcc RUN='qemu-aarch64 -L /usr/aarch64-linux-gnu' WHEEL=manylinux_2_17_aarch64
            kinds='archive deb go npm'
            [ -x "$out/python-arm64/python3" ] && kinds="$kinds wheel" && export PYTHON="$out/python-arm64/python3"
            ;;
        linux-x64-musl)
            have musl-gcc musl-tools 'using those of musl' || continue
            # Debian's has no unwinder for musl.
            has_zig 'using those of musl' || continue
            export CC=musl-gcc RUN='' STATIC_CC='python3 -m ziglang cc -target x86_64-linux-musl -static' UNWIND=-lunwind
            kinds='archive go'
            echo "        $target: the wheel and the npm package of musl are not used: no Python or Node.js for musl is here"
            ;;
        win32-x64)
            [ -x "$out/windows" ] || continue
            export CC=x86_64-w64-mingw32-gcc RUN="$out/windows"
            kinds=go
            ;;
        darwin-*)
            has_zig 'a program in Go' || continue
            kinds=linked
            ;;
        *) continue ;;
        esac
        for kind in $kinds; do
            case $kind in go | linked) have go golang-go "the Go module of $PLATFORM" || continue ;; esac
            used=0 what="$kind, installed and used"
            [ "$kind" != linked ] || what='a program in Go, linked'
            sandbox tests/platforms/use.sh "$kind" "$out/use" >"$out/used" 2>&1 </dev/null || used=$?
            case $used in
            3) miss "the $kind package of $PLATFORM: $(tail -n 1 "$out/used")" ;;
            *) attempt "$PLATFORM: $what" sh -c 'cat "$1"; exit "$0"' $used "$out/used" ;;
            esac
        done
        unset STATIC_CC UNWIND
    done
    chmod -R u+w "$out/use" 2>/dev/null
    rm -rf "$out/use" "$out/used" "$out/dist"
}

there=
for target in ${*:-linux-arm64 linux-x64-musl win32-x64 darwin-arm64 darwin-x64}; do
    made || continue
    there="${there:+$there }$target"
    case $target in
    linux-arm64) linux_arm64 ;;
    linux-x64-musl) linux_x64_musl ;;
    win32-x64) win32_x64 ;;
    darwin-*) darwin ;;
    *) echo "platforms.sh: $target is not tried" >&2 && exit 2 ;;
    esac
done
target=packages
[ -z "$there" ] || packages
rm -f "$out/log"
echo "$passed passed, $failed failed, $left_out left out"
[ "$failed" -eq 0 ]
