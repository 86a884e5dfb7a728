#!/usr/bin/env python3
"""Writes THIRD_PARTY.md: the packages that librevenium and its command link, with their licences and the licences' texts.

    tools/third_party.py            write it
    tools/third_party.py --check    fail if it is not what would be written, or a licence is not among those of deny.toml

Packages and licences are those that cargo names for the library and the command, on all platforms that are packaged; the
texts are the files that come with the packages. Where a package may be had under MIT, that is the licence taken.
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILE = ROOT / "THIRD_PARTY.md"
NAMES = re.compile(r"(licen[cs]e|copying|notice|unlicense)([-._].*)?", re.IGNORECASE)
SHIPPED = ("revenium", "revenium-command")
PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "aarch64-apple-darwin",
             "x86_64-apple-darwin", "x86_64-pc-windows-gnu")
# Sources in other languages that a package carries along lie no deeper.
DEPTH = 3


def linked():
    """The packages that are linked into the library or the command, on any of the platforms."""
    platforms = [f"--filter-platform={platform}" for platform in PLATFORMS]
    command = ["cargo", "metadata", "--format-version=1", "--locked", *platforms]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    seen, ahead = set(), [id for id in metadata["workspace_members"] if packages[id]["name"] in SHIPPED]
    while ahead:
        node = ahead.pop()
        if node in seen or any("proc-macro" in target["kind"] for target in packages[node]["targets"]):
            continue
        seen.add(node)
        ahead += [dep["pkg"] for dep in nodes[node]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
    found = [packages[id] for id in seen if packages[id]["source"]]
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def texts(package):
    """The licence files of a package as (name, text); of a choice with MIT, that of MIT where it stands apart."""
    directory = pathlib.Path(package["manifest_path"]).parent
    files = [path for path in sorted(directory.rglob("*")) if path.is_file() and NAMES.fullmatch(path.name)
             and path.suffix not in (".rs", ".c", ".h", ".py") and len(path.relative_to(directory).parts) <= DEPTH]
    own = [path for path in files if path.parent == directory]
    mit = [path for path in own if "MIT" in path.name.upper()]
    if mit and " OR " in (package["license"] or ""):
        files = mit + [path for path in files if path not in own]
    text = lambda path: path.read_text("utf-8", "replace").replace("\r\n", "\n").strip("\n")
    return [(str(path.relative_to(directory)), text(path)) for path in files]


def allowed(expression, licences):
    """Whether one of the choices of an SPDX expression is made of these licences alone."""
    choices = re.split(r"\s+OR\s+|/", re.sub(r"[()]", " ", expression or "")) if "AND" not in (expression or "") else None
    words = re.findall(r"[A-Za-z0-9.+-]+(?:\s+WITH\s+\S+)?", expression or "")
    if choices:
        return any(choice.strip() in licences for choice in choices)
    return bool(words) and all(word in licences for word in words if word not in ("AND", "OR"))


def document(packages):
    lines = ["# Third-party software", "",
             "Written by `tools/third_party.py`. The library and the command link these packages, some of them on some",
             "platforms only:", "",
             "| Package | Version | Licence | Source |", "| --- | --- | --- | --- |"]
    by_text, without = {}, []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        lines.append(f"| {package['name']} | {package['version']} | {package['license']} | {package['repository'] or ''} |")
        found = texts(package)
        for file, text in found:
            by_text.setdefault(text, []).append(name if "/" not in file else f"{name} ({file})")
        if not found:
            without.append(f"{name} ({package['license']}{''.join(', ' + author for author in package['authors'])})")
    lines += ["", "## Texts", ""]
    if without:
        lines += ["These come without a text of their own; that of their licence stands below with others:", ""]
        lines += [f"- {name}" for name in without] + [""]
    for text, names in sorted(by_text.items(), key=lambda entry: entry[1]):
        lines += ["### " + ", ".join(names), "", "```text", *[line.rstrip() for line in text.splitlines()], "```", ""]
    return "\n".join(lines)


def main():
    packages = linked()
    licences = set(re.findall(r'"([^"]+)"', (ROOT / "deny.toml").read_text().split("[licenses]")[1].split("]")[0]))
    refused = [f"{package['name']}: {package['license']}" for package in packages if not allowed(package["license"], licences)]
    if refused:
        sys.exit("licences that deny.toml does not allow: " + "; ".join(refused))
    wanted = document(packages)
    if "--check" not in sys.argv:
        FILE.write_text(wanted)
    elif not FILE.exists() or FILE.read_text() != wanted:
        sys.exit("THIRD_PARTY.md is not up to date: run tools/third_party.py")


if __name__ == "__main__":
    main()
