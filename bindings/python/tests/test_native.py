"""The declarations are those of the header."""

import ctypes
import os
import re
import subprocess
from pathlib import Path

import librevenium
import pytest
from conftest import run
from librevenium import _locate, _native

HEADER = (Path(__file__).resolve().parents[3] / "include" / "revenium.h").read_text()
TYPES = {
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "int64_t": ctypes.c_int64,
    "size_t": ctypes.c_size_t,
    "const char *": ctypes.c_char_p,
}
HANDLES = {f"revenium_{name}" for name in ("handle", "result", "scope", "call", "queue", "tap")}


def c_type(text):
    text = re.sub(r"\w+$", "", text.strip()).strip() if not text.strip().endswith("*") else text.strip()
    if text in HANDLES:
        return ctypes.c_uint64
    return TYPES.get(text, ctypes.c_void_p)


def functions():
    """name → (result, parameters) of each function in the header."""
    found = {}
    code = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.S)
    for result, name, parameters in re.findall(r"^([\w ]+?[ *]+)(revenium_\w+)\(([^()]*)\);", code, flags=re.M):
        parameters = " ".join(parameters.split())
        listed = [] if parameters in ("void", "") else [c_type(parameter) for parameter in parameters.split(", ")]
        found[name] = (TYPES[result.strip()], *listed)
    return found


def test_every_function_of_the_header_is_declared_as_it_is_or_left_out_for_a_reason():
    header = functions()
    assert len(header) >= 30
    assert set(header) == set(_native.FUNCTIONS) | set(_native.LEFT_OUT)
    for name, declared in _native.FUNCTIONS.items():
        assert declared == header[name], name


def test_cffi_reads_the_header_as_the_docs_say():
    """The expression of docs/c.md, over the header as it is: every function, structure and constant is there and works."""
    FFI = pytest.importorskip("cffi").FFI
    page = (Path(__file__).resolve().parents[3] / "docs/c.md").read_text()
    (expression,) = re.findall(r"^ffi\.cdef\((.*)\)$", page, flags=re.M)
    declarations = eval(expression, {"re": re, "header": HEADER})
    ffi = FFI()
    ffi.cdef(declarations)
    lib = ffi.dlopen(str(_native.path))
    for name in functions():
        assert callable(getattr(lib, name)), name
    for name, value in re.findall(r"#define (REVENIUM_\w+) (-?\d+)\n", HEADER):
        assert getattr(lib, name) == int(value)
    assert ffi.string(lib.revenium_version()).decode() == librevenium.version
    assert ffi.sizeof("revenium_state") == ctypes.sizeof(_native.State)
    state = ffi.new("revenium_state *", {"struct_size": ffi.sizeof("revenium_state")})
    assert lib.revenium_status(state) == lib.REVENIUM_OK and state.struct_size == ffi.sizeof("revenium_state")


def test_bindgen_reads_the_header_as_it_is():
    """tests/bindgen, whose build runs Rust's bindgen with the libclang of the Python package of that name."""
    clang = pytest.importorskip("clang", reason="bindgen has no libclang: pip install libclang")
    root = Path(__file__).resolve().parents[3]
    compiler = os.environ.get("CC", "cc")  # whose stddef.h: the package has none
    include = subprocess.check_output([compiler, "-print-file-name=include"], text=True).strip()
    environment = {
        **os.environ,
        "LIBCLANG_PATH": str(Path(clang.__file__).parent / "native"),
        "BINDGEN_EXTRA_CLANG_ARGS": f"-isystem {include}",
        "REVENIUM_LIBRARY": str(Path(_native.path).resolve()),
        "REVENIUM_VERSION": librevenium.version,
    }
    target = os.environ.get("CARGO_TARGET_DIR", root / "target")
    command = ["cargo", "test", "--locked", "--manifest-path", root / "tests/bindgen/Cargo.toml", "--target-dir", target]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout


def test_constants_are_the_headers():
    defined = {name: int(value) for name, value in re.findall(r"#define REVENIUM_(\w+) (-?\d+)\n", HEADER)}
    assert defined["ABI_VERSION"] == _native.ABI
    mine = {name: value for name, value in vars(_native).items() if name.isupper() and isinstance(value, int)}
    for name in set(mine) - {"ABI"}:
        assert mine[name] == defined[name], name
    for number, name in enumerate(_native.EVENT_NAMES):
        assert name is None or defined[f"EVENT_{name.upper()}"] == number


def test_the_state_is_laid_out_as_in_the_header():
    body = re.search(r"typedef struct revenium_state \{(.*?)\} revenium_state;", HEADER, flags=re.S).group(1)
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    fields = [(name, TYPES[kind]) for kind, name in re.findall(r"(\w+) (\w+);", body)]
    assert fields == _native.State._fields_


def test_the_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", librevenium.version)
    assert librevenium.abi_version == 1


def test_a_chosen_library_that_does_not_load_is_an_error_that_names_it(monkeypatch):
    monkeypatch.setenv("REVENIUM_LIBRARY", "/nowhere/librevenium.so")
    with pytest.raises(ImportError, match="(?s)REVENIUM_LIBRARY.*nowhere.*or unset it"):
        _locate.find()


def test_where_there_is_none_the_error_says_what_to_do(monkeypatch):
    monkeypatch.delenv("REVENIUM_LIBRARY")
    monkeypatch.setattr(_locate, "places", lambda: [("the loader's search path", "librevenium-none.so")])
    with pytest.raises(ImportError, match="(?s)search path: .*wheel.*make build.*set REVENIUM_LIBRARY.*make install"):
        _locate.find()


def test_another_library_is_refused():
    status, _, err = run("import librevenium", env={"REVENIUM_LIBRARY": "libc.so.6"})
    assert status == 1 and "is no librevenium" in err


def test_an_import_alone_starts_nothing():
    program = "import os, librevenium; print(len(os.listdir('/proc/self/task')), librevenium.is_initialized())"
    assert run(program) == (0, "1 True\n", "")


def test_every_public_name_is_listed():
    from types import ModuleType

    public = {name for name, value in vars(librevenium).items() if name[0] != "_" and not isinstance(value, ModuleType)}
    assert public == set(librevenium.__all__)
