"""Go modules as a folder that is a module proxy: GOPROXY=file:///path/to/it

The binding's module asks for one module a platform, which holds the library. In a checkout these are directories of the
binding itself, empty until `make lib`; here they leave it, and become the modules that its go.mod requires.
"""

import json
import re
import subprocess
import time

import packing

PATH = "github.com/librevenium/librevenium/bindings/go"
# In a checkout the library is where cargo puts it; nobody else has that place.
CHECKOUT_ONLY = "link_checkout.go"


def publish(path, version, files, proxy):
    """One version of a module: files by their names in it, of which go.mod is one."""
    place = proxy / path / "@v"
    place.mkdir(parents=True, exist_ok=True)
    (place / "list").write_text(f"v{version}\n")
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(packing.epoch()))
    (place / f"v{version}.info").write_text(json.dumps({"Version": f"v{version}", "Time": date}))
    (place / f"v{version}.mod").write_bytes(files["go.mod"])
    packing.zip_files({f"{path}@v{version}/{name}": content for name, content in files.items()}, place / f"v{version}.zip")


def sources(directory):
    """What the repository has of a directory that is a module; modules below it are others."""
    listed = subprocess.run(["git", "ls-files", "."], cwd=directory, check=True, capture_output=True, text=True).stdout.split()
    others = {name.rpartition("/")[0] for name in listed if name.endswith("/go.mod")}
    wanted = [name for name in listed if not any(name.startswith(f"{other}/") for other in others)]
    files = {name: (directory / name).read_bytes() for name in wanted if not name.endswith("_test.go") and name != "Makefile"}
    return {**files, "LICENSE": (packing.ROOT / "LICENSE").read_bytes()}


def library(platform, built, version, directory):
    """The static library, and for Linux the shared one with what a linker asks for."""
    source = packing.ROOT / "bindings/go/lib" / platform.go
    files = {path.name: path.read_bytes() for path in source.glob("*.go")}
    language = re.search(r"^go .*$", (packing.ROOT / "bindings/go/go.mod").read_text(), re.MULTILINE).group()
    files["go.mod"] = f"module {PATH}/lib/{platform.go}\n\n{language}\n".encode()
    for file in ("LICENSE", "THIRD_PARTY.md"):
        files[file] = packing.ROOT / file
    files["librevenium.a"] = built / "lib/librevenium.a"
    if platform.system == "linux":
        files[platform.loaded] = built / platform.shared
        # What the linker asks for: a line of text, as `go mod vendor` leaves out links.
        files["librevenium.so"] = f"INPUT({platform.loaded})\n".encode()
    publish(f"{PATH}/lib/{platform.go}", version, files, directory / "go")


def binding(packaged, version, directory):
    root = packing.ROOT / "bindings/go"
    files = sources(root)
    del files[CHECKOUT_ONLY]
    apart = [f"lib/{platform.go}" for platform in packaged]
    files = {name: content for name, content in files.items() if not any(name.startswith(f"{place}/") for place in apart)}
    required = "".join(f"\t{PATH}/{place} v{version}\n" for place in sorted(apart))
    files["go.mod"] += f"\nrequire (\n{required})\n".encode()
    publish(PATH, version, files, directory / "go")
    publish(f"{PATH}/reveniumotel", version, sources(root / "reveniumotel"), directory / "go")
