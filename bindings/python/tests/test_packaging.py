"""A wheel that carries the library works where there is no checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from conftest import BINDINGS, params
from librevenium import _native


def test_a_wheel_with_the_library_in_it(sandbox, tmp_path):
    target = Path(_native.path).resolve().parent.parent
    environment = {**os.environ, "PYTHON": sys.executable, "PROFILE": "debug", "CARGO_TARGET_DIR": str(target)}
    environment["PIP_OPTIONS"] = "--no-build-isolation"  # what builds it is installed
    wheels = tmp_path / "wheels"
    done = subprocess.run(
        [str(BINDINGS / "python" / "wheel.sh"), str(wheels)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    wheel, compat = sorted(wheels.glob("*.whl"))
    assert "-py3-none-" in wheel.name and not wheel.name.endswith("-any.whl") and compat.name.endswith("-py3-none-any.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"librevenium/_lib/librevenium.so", "librevenium/py.typed", "librevenium/_core.py"} <= names
    assert any(name.endswith("/LICENSE-THIRD-PARTY.md") for name in names)
    site = tmp_path / "site"
    for each in (wheel, compat):
        zipfile.ZipFile(each).extractall(site)
    environment = {name: value for name, value in os.environ.items() if name not in ("REVENIUM_LIBRARY", "PYTHONPATH")}
    program = f"""
import librevenium, revenium_middleware
from librevenium import _native
print(_native.path.endswith("site/librevenium/_lib/librevenium.so"), librevenium.messages.create(**{params()!r}).text)
"""
    environment.update({"PYTHONPATH": str(site), "REVENIUM_SPOOL_DIR": str(tmp_path / "spool")})
    done = subprocess.run([sys.executable, "-B", "-c", program], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True You said: Hello\n", "")


def test_the_versions_are_the_librarys():
    import re

    import librevenium

    texts = [(BINDINGS / name / "pyproject.toml").read_text() for name in ("python", "python-compat")]
    versions = [re.search(r'^version = "(.*)"', text, re.M).group(1) for text in texts]
    assert versions == [librevenium.version] * 2
    assert f'"librevenium=={librevenium.version}"' in texts[1]
