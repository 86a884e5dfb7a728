"""The shared conformance cases through this package, where they lie beside the checkout."""

import subprocess
import sys
from pathlib import Path

import pytest
from librevenium import _native

RUNNER = Path(__file__).resolve().parents[4] / "shared" / "conformance" / "run.py"


@pytest.mark.skipif(not RUNNER.exists(), reason="the conformance cases are not beside this checkout")
def test_conformance():
    here = Path(__file__).resolve().parent
    command = [sys.executable, "-B", str(here / "conformance.py"), str(RUNNER), "--lib", str(Path(_native.path).resolve())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, "\n".join(line for line in lines if not line.startswith("ok ")) + done.stderr
    print(f"\nmeasured: conformance, {lines[-1]}")
