#!/usr/bin/env python3
"""One version for every package: that of Cargo.toml.

    tools/versions.py          fails where another one stands
    tools/versions.py 1.2.3    writes it to all of them; then REVENIUM_BLESS=1 cargo test --test abi, and a line in CHANGELOG.md
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ("Cargo.toml", r'^version = "(.*)"')
# Where it stands besides: a pattern whose group it is.
COPIES = [
    ("tools/revenium/Cargo.toml", r'^version = "(.*)"'),
    ("tools/sandbox/Cargo.toml", r'^version = "(.*)"'),
    ("Cargo.lock", r'^name = "revenium"\nversion = "(.*)"'),
    ("Cargo.lock", r'^name = "revenium-command"\nversion = "(.*)"'),
    ("Cargo.lock", r'^name = "sandbox"\nversion = "(.*)"'),
    ("bindings/node/package.json", r'^  "version": "(.*)"'),
    ("bindings/node/package-lock.json", r'\A\{\n  "name": "librevenium",\n  "version": "(.*)"'),
    ("bindings/node/package-lock.json", r'^    "": \{\n      "name": "librevenium",\n      "version": "(.*)"'),
    ("examples/node/package.json", r'"librevenium": "(.*)"'),
    ("bindings/python/pyproject.toml", r'^version = "(.*)"'),
    ("bindings/python-compat/pyproject.toml", r'^version = "(.*)"'),
    ("bindings/python-compat/pyproject.toml", r'"librevenium==(.*)"'),
]
HEADER = r"^#define REVENIUM_VERSION_MAJOR (\d+)\n#define REVENIUM_VERSION_MINOR (\d+)\n#define REVENIUM_VERSION_PATCH (\d+)"
# These are made from it, by hand or by another tool.
MADE = [
    ("include/revenium.h", HEADER),
    ("bindings/go/revenium.h", HEADER),
    ("CHANGELOG.md", r"^## (\d\S*)"),
]


def find(file, pattern):
    text = (ROOT / file).read_text()
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        sys.exit(f"versions.py: no version in {file}")
    return text, found


def main():
    if len(sys.argv) > 1:
        if not re.fullmatch(r"\d+\.\d+\.\d+", sys.argv[1]):
            sys.exit(f"versions.py: {sys.argv[1]} is no version that every kind of package can have, which is 1.2.3")
        for file, pattern in [SOURCE, *COPIES]:
            text, found = find(file, pattern)
            (ROOT / file).write_text(text[: found.start(1)] + sys.argv[1] + text[found.end(1) :])
        return
    version = find(*SOURCE)[1].group(1)
    found = [(file, ".".join(find(file, pattern)[1].groups())) for file, pattern in COPIES + MADE]
    others = [f"{file} has {other}" for file, other in found if other != version]
    if others:
        sys.exit(f"the version is {version}, but {', '.join(others)}: tools/versions.py {version}")


if __name__ == "__main__":
    main()
