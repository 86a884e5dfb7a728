#!/bin/sh
# valgrind.sh PROGRAM ARGUMENT...: runs a program under Valgrind; 9 when it found an error or something lost for good.
# What is "possibly lost" belongs to threads that still run, and is not counted.
set -eu

if ! why=$("$(dirname -- "$0")/../need.sh" valgrind valgrind 2>&1); then
    echo "note: not run, as $why"
    exit 0
fi
exec valgrind --quiet --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
    --error-exitcode=9 --num-callers=30 "$@"
