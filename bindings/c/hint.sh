#!/bin/sh
# hint.sh PREFIX LIBDIR BINDIR: what `make install` says at its end: how programs are compiled and find the library from
# there. Each line that begins with four spaces can be pasted into a shell; lines that nobody needs are left out.
#   LDCONFIG   ldconfig and its options (default: ldconfig)
set -eu

prefix=$1 lib=$2 bin=$3
PATH=$PATH:/usr/sbin:/sbin # ldconfig is there, where users do not look
ldconfig=${LDCONFIG:-ldconfig}
known() { echo ":$1:" | grep -q ":$2:"; } # LIST DIRECTORY

echo "The library is in $lib. To build programs with it:"
known "$(pkg-config --variable pc_path pkg-config 2>/dev/null)" "$lib/pkgconfig" ||
    echo "    export PKG_CONFIG_PATH=$lib/pkgconfig"
case $prefix in
/usr | /usr/local) ;;
*) echo "    export CMAKE_PREFIX_PATH=$prefix" ;;
esac
known "$PATH" "$bin" || echo "    export PATH=\"\$PATH:$bin\""

rpath=
# shellcheck disable=SC2086 # its options are words
if ! $ldconfig -p 2>/dev/null | grep -q "=> $lib/librevenium\.so\.1\$"; then
    # The directories that the loader's configuration names, one to a line that ends with a colon.
    if $ldconfig -N -X -v 2>/dev/null | grep -q "^$lib:"; then
        echo "    $([ "$(id -u)" = 0 ] || echo 'sudo ')$ldconfig"
    else
        rpath=" -Wl,-rpath,$lib" # or programs are started with LD_LIBRARY_PATH
    fi
fi
echo "    cc hello.c \$(pkg-config --cflags --libs revenium)$rpath"
