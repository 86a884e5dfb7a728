#!/bin/sh
# needs.sh LANGUAGE...: says in one line each what is missing to build and try the library in these languages.
set -u
cd "$(dirname -- "$0")"
missing=0
need() { ./need.sh "$1" "$2" || missing=1; }
need cargo cargo
need "${CC:-cc}" gcc
need python3 python3
for language in "$@"; do
    case $language in
    cpp) need "${CXX:-c++}" g++ ;;
    go) need go golang-go ;;
    node) need node nodejs && need npm npm ;;
    python) ;;
    *) echo "$language is none of the languages: cpp go node python" >&2; missing=1 ;;
    esac
done
[ $missing = 0 ] || echo 'To do without a language, name the others: make LANGUAGES="cpp go node python" ...' >&2
exit $missing
