"""macos.py DIRECTORY: whether what `build` leaves for macOS is what its loader takes. Says what is wrong, or nothing."""

import pathlib
import re
import sys

import binaries

built = pathlib.Path(sys.argv[1])
machine = "arm64" if built.name == "darwin-arm64" else "x86_64"
SYSTEM = ("/usr/lib/", "/System/Library/Frameworks/")
functions = re.findall(r"(revenium_\w+)\(", pathlib.Path("tests/abi/functions.txt").read_text())
assert functions, "tests/abi/functions.txt names no function"

for file in ("lib/librevenium.dylib", "bin/revenium"):
    binary = binaries.read((built / file).read_bytes())
    assert (binary.kind, binary.machine) == ("macho", machine), f"{file} is {binary.kind} for {binary.machine}"
    assert binary.minimum == "11.0", f"{file} wants macOS {binary.minimum}"
    assert binary.signed, f"{file} is not signed"
    assert all(name.startswith(SYSTEM) for name in binary.needed), f"{file} needs {binary.needed}"
    assert file.endswith(".dylib") or binary.exported <= {"__mh_execute_header"}, f"{file} exports {list(binary.exported)[:9]}"
    if file.endswith(".dylib"):
        assert binary.name == "@rpath/librevenium.1.dylib", f"its name is {binary.name}"
        wanted = {f"_{name}" for name in functions}
        assert binary.exported == wanted, f"{file} lacks {wanted - binary.exported}, has besides {list(binary.exported - wanted)[:9]}"
assert binaries.archive((built / "lib/librevenium.a").read_bytes()).machine == machine
