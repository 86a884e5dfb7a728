#!/bin/sh
# valgrind.sh PROGRAM ARGUMENT...: runs a program under Valgrind; 9 when it found an error or something lost, for good or possibly: a host that
# looks for its own leaks after revenium_shutdown() finds none of ours.
set -eu

if ! why=$("$(dirname -- "$0")/../need.sh" valgrind valgrind 2>&1); then
    echo "note: not run, as $why"
    exit 0
fi
exec valgrind --quiet --leak-check=full --show-leak-kinds=definite,possible --errors-for-leak-kinds=definite,possible \
    --error-exitcode=9 --num-callers=30 "$@"
