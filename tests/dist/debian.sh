#!/bin/sh
# debian.sh PACKAGES SCRATCH: installs the packages with apt and pip into a Debian of its own, as old as the library's glibc
# allows, and runs what is built there. Beside a sandbox; needs root and debootstrap.
#   ROOTS   where such Debians are kept (default: out/roots)
set -eu

packages=$1 scratch=$2
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
roots=${ROOTS:-$root/out/roots}
fail() { echo "debian.sh: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "dist: apt and an old glibc were not tried: that needs root"; exit 0; }
"$root/tests/need.sh" debootstrap debootstrap

glibc=$(cd "$packages" && echo librevenium-*-manylinux_*_x86_64.whl | sed 's/.*manylinux_2_\([0-9]*\)_.*/\1/')
if [ "$glibc" -le 31 ]; then suite=bullseye; else suite=bookworm; fi
if [ ! -e "$roots/$suite.made" ]; then
    mkdir -p "$roots"
    debootstrap --variant=minbase --include=gcc,libc6-dev,pkg-config,python3-venv "$suite" "$roots/$suite" >"$scratch/log" 2>&1 ||
        { tail -n 5 "$scratch/log" >&2; fail "debootstrap $suite failed"; }
    touch "$roots/$suite.made"
fi

# The one that is kept stays as it was.
cp -a "$roots/$suite" "$scratch/debian"
mkdir "$scratch/debian/try" "$scratch/debian/spool"
cp "$packages"/*.deb "$packages"/*.whl "$scratch/getting_started.c" "$scratch/example.h" "$scratch/greeting" "$scratch/programs/use.py" \
    "$scratch/debian/try"
cat >"$scratch/debian/try/run" <<'RUN'
set -eu
cd /try
ldconfig
apt-get install -y -q /try/*.deb
cc -o shared getting_started.c $(pkg-config --cflags --libs revenium)
./shared | diff greeting -
cc -o static getting_started.c -l:librevenium.a $(pkg-config --libs --static revenium | sed s/-lrevenium//)
./static | diff greeting -
revenium status | grep '^librevenium'
python3 -m venv venv
venv/bin/pip install -q --no-index ./*.whl
venv/bin/python use.py | grep 'You said: Hello'
apt-get remove -y -q librevenium1 librevenium-dev revenium
[ ! -e /usr/include/revenium.h ] && [ ! -e /usr/bin/revenium ]
RUN
REVENIUM_SPOOL_DIR=/spool HOME=/try DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    chroot "$scratch/debian" sh /try/run >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; fail "in $suite"; }
echo "dist: apt, cc and pip in $suite, glibc 2.$(chroot "$scratch/debian" ldd --version | sed -n '1s/.*\.//p')"
