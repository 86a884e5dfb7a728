#!/usr/bin/env python3
"""What metering adds to the official SDK's calls: by this library, and by Revenium's own SDK, in one run on loopback.

Needs target/release/librevenium.so and the release sandbox (`make bench-python` builds them), and pip for the two SDKs.
A figure is the processor time, user and system, all threads, of a client's calls until every record is delivered, after a
fifth as many to warm up. The ways take turns in each round; ratios are taken inside a round, the table shows medians with
their extremes.

ROUNDS (3), SCALE (1: of the number of calls) and PROFILE (release; debug shows whether all works) change the run.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
PACKAGES = ["anthropic==2.14.0", "revenium-python-sdk[anthropic]==0.12.0"]
WAYS = ["bare", "dropin", "compat", "revenium"]
ROUNDS = int(os.environ.get("ROUNDS", 3))
SCALE = float(os.environ.get("SCALE", 1))
PROFILE = os.environ.get("PROFILE", "release")
DELTAS = 500
# Calls, and how the sandbox answers.
MODES = {"create": (1000, {}), "stream": (40, {"deltas": DELTAS, "burst": True})}


def python():
    place = ROOT / "out/python/bench"
    made = place / "made"
    if not made.exists() or made.read_text() != str(PACKAGES):
        venv.create(place, clear=True, with_pip=True)
        subprocess.run([place / "bin/python", "-m", "pip", "install", "-q", *PACKAGES], check=True)
        made.write_text(str(PACKAGES))
    return place / "bin/python"


class Sandbox:
    def __init__(self):
        command = [TARGET / PROFILE / "sandbox", "--quiet", "--no-requests", "--until-stdin-closes"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().removeprefix("sandbox: ").strip()
        shown = subprocess.run(["sh", "-c", ". tests/env.sh && exec env -0"], cwd=ROOT, check=True, capture_output=True,
                               env=os.environ | {"SANDBOX_URL": self.url}).stdout.decode()
        self.environment = dict(line.split("=", 1) for line in shown.split("\0") if line) | {
            "ANTHROPIC_API_KEY": "sk-ant-sandbox", "REVENIUM_METERING_API_KEY": "rev_mk_sandbox_0123456789abcdef",
            "REVENIUM_LIBRARY": str(TARGET / PROFILE / "librevenium.so"), "REVENIUM_LOG_LEVEL": "ERROR"}

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(self.url + path, data=data, method=method), timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def cpu_us(self, interpreter, way, mode, warm, calls):
        """What one client spent, which must have done all its work."""
        self.ask("DELETE", "/sandbox/records")
        # Two packages have one name: Revenium's, and the one that goes by it.
        ours = [] if way == "revenium" else [ROOT / "bindings/python", ROOT / "bindings/python-compat"]
        path = {"PYTHONPATH": ":".join(map(str, ours))}
        with tempfile.TemporaryDirectory() as spool:
            ran = subprocess.run([interpreter, "-B", HERE / "client.py", way, mode, str(warm), str(calls)], capture_output=True, text=True,
                                 env=self.environment | path | {"REVENIUM_SPOOL_DIR": spool}, timeout=600)
        records = self.ask("GET", "/sandbox/stats")["records"]
        wanted = (0 if way == "bare" else warm + calls, calls * DELTAS if mode == "stream" else 0)
        spent, deltas = map(int, ran.stdout.split() or (0, 0))
        if ran.returncode or (records, deltas) != wanted:
            raise RuntimeError(f"{way}, {mode}: {records} records, {deltas} deltas of {wanted}\n{ran.stderr}")
        return spent


def shown(values, digits=0):
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def main():
    interpreter, sandbox = python(), Sandbox()
    unit = {(way, mode): [] for way in WAYS for mode in MODES}
    try:
        for number in range(ROUNDS):
            for mode, (calls, answer) in MODES.items():
                sandbox.ask("POST", "/sandbox/plan", {"path": "/v1/messages", "answers": [answer]})
                calls = max(int(calls * SCALE), 10)
                for way in WAYS[number % 4 :] + WAYS[: number % 4]:
                    unit[way, mode].append(sandbox.cpu_us(interpreter, way, mode, calls // 5, calls) / calls)
            print(f"round {number + 1} of {ROUNDS}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    finally:
        sandbox.process.stdin.close()
        sandbox.process.wait()
    print(f"| | a reply, us | added, us | a stream of {DELTAS} deltas, us | to the bare SDK |\n| --- | --- | --- | --- | --- |")
    bare, bare_stream = unit["bare", "create"], unit["bare", "stream"]
    for way in WAYS:
        added = [ours - theirs for ours, theirs in zip(unit[way, "create"], bare)]
        ratio = [ours / theirs for ours, theirs in zip(unit[way, "stream"], bare_stream)]
        print(f"| {way} | {shown(unit[way, 'create'])} | {shown(added)} | {shown(unit[way, 'stream'])} | {shown(ratio, 2)} |")
    for way in ("dropin", "compat"):
        part = [(ours - own) / (theirs - own) for ours, theirs, own in zip(unit[way, "create"], unit["revenium", "create"], bare)]
        print(f"\n{way}: {shown(part, 2)} of what Revenium's SDK adds to a reply")


if __name__ == "__main__":
    main()
