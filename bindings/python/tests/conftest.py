"""What the tests share: the sandbox they run beside, and programs run in processes of their own."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

SANDBOX = os.environ.get("SANDBOX_URL")
if not SANDBOX:
    raise RuntimeError("run these tests through tests/python.sh: they need the sandbox")
BINDINGS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(BINDINGS / "python"), str(BINDINGS / "python-compat")]
# A spool for each process: what one leaves behind, the next would send. tests/with_sandbox.sh removes them.
SPOOLS = os.environ["REVENIUM_SPOOL_DIR"]
os.environ["REVENIUM_SPOOL_DIR"] = f"{SPOOLS}/tests-{os.getpid()}"


def params(text="Hello", **more):
    return {"model": "claude-test-1", "max_tokens": 100, "messages": [{"role": "user", "content": text}], **more}


def control(path, method="GET", body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{SANDBOX}/sandbox/{path}", data, method=method)) as answer:
        return answer.read()


class Sandbox:
    url = SANDBOX

    def __init__(self):
        self._places = itertools.count()

    def reset(self):
        for what in ("plan", "records", "requests"):
            control(what, "DELETE")

    def records(self, count):
        """The usage records, once there are `count`."""
        control(f"wait?records={count}&timeout_ms=20000")
        return [record["body"] for record in json.loads(control("records"))]

    def requests(self):
        return json.loads(control("requests"))

    def wait(self, **counters):
        control("wait?" + "&".join(f"{name}={value}" for name, value in counters.items()))

    def place(self, *answers):
        """A base URL of its own: what is planned for it meets no other test."""
        name = f"/at-{os.getpid()}-{next(self._places)}"
        if answers:
            control("plan", "POST", {"path": f"{name}/v1/messages", "answers": list(answers)})
        return SANDBOX + name


@pytest.fixture
def sandbox():
    import librevenium

    deadline = time.monotonic() + 20
    while librevenium.status().calls_in_flight and time.monotonic() < deadline:
        time.sleep(0.005)
    librevenium.flush(20000)
    made = Sandbox()
    made.reset()
    return made


def paths():
    """Where another process finds the packages."""
    return {"PYTHONPATH": os.pathsep.join(str(BINDINGS / name) for name in ("python", "python-compat"))}


# What Python 3.12 and later say of every fork beside threads.
QUIET = {"PYTHONWARNINGS": "ignore:This process:DeprecationWarning"}


def start(program, *, env=None, spool=None):
    """Run a program text in a process of its own."""
    spool = spool or tempfile.mkdtemp(dir=os.path.dirname(SPOOLS))
    return subprocess.Popen(
        [sys.executable, "-B", "-c", program],
        env={**os.environ, "REVENIUM_SPOOL_DIR": spool, **paths(), **QUIET, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(program, **options):
    """(exit status, standard output, standard error)"""
    with start(program, **options) as child:
        try:
            out, err = child.communicate(timeout=300)
        finally:
            child.kill()
    return child.returncode, out, err
