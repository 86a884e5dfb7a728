"""Where the shared library lies: the environment's choice, this package, a checkout, the loader's search path."""

import ctypes
import os
import sys
from pathlib import Path

FILE = {"win32": "revenium.dll", "darwin": "librevenium.dylib"}.get(sys.platform, "librevenium.so")
# What the loader searches for: the name that carries the ABI version, as an installed library has it.
INSTALLED = {"win32": "revenium.dll", "darwin": "librevenium.1.dylib"}.get(sys.platform, "librevenium.so.1")


def places():
    """(what, path) in order. An explicit choice is the only one: that it does not load must not pick another library."""
    chosen = os.environ.get("REVENIUM_LIBRARY")
    if chosen:
        return [("REVENIUM_LIBRARY", chosen)]
    package = Path(__file__).resolve().parent
    found = [("this package", package / "_lib" / FILE)]
    checkout = package.parents[2] if len(package.parents) > 2 else package
    if (checkout / "include" / "revenium.h").exists():
        found += [("checkout", checkout / "target" / profile / FILE) for profile in ("release", "debug")]
    return [*found, ("the loader's search path", INSTALLED)]


def advice():
    """What to do about it: one sentence."""
    if os.environ.get("REVENIUM_LIBRARY"):
        return "REVENIUM_LIBRARY decides alone: name a file that can be loaded, or unset it."
    return (
        "Install a wheel for this platform, which has it inside; or build it (make build in a checkout of librevenium) and set "
        f"REVENIUM_LIBRARY to the path of {FILE}, or install it (make install, then ldconfig). docs/install.md of librevenium has more."
    )


def find():
    """Load the first library there is: (library, path). Raises one ImportError that lists what was tried, with advice."""
    tried = []
    for what, path in places():
        if isinstance(path, Path) and not path.exists():
            tried.append(f"{what}: no {path}")
            continue
        try:
            return ctypes.CDLL(os.fspath(path)), os.fspath(path)
        except OSError as error:
            tried.append(f"{what}: {error}")
    raise ImportError("\n".join(["librevenium was not found. Tried:", *(f"  - {line}" for line in tried), advice()]))
