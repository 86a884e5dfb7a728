#!/usr/bin/env python3
"""What librevenium costs its host, beside bare clients, in one run on loopback. `make bench` builds what this needs.

In each round every client does the same calls against the sandbox, in turn. Its figure is the processor time of its
whole process, user and system, until every record has been delivered. All of it, the sandbox too, runs on one
processor. A ratio is taken inside a round, the table shows the median over the rounds with its extremes.

ROUNDS (3), SCALE (1: of the number of calls) and CPU (which processor) change the run.
"""
import itertools
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
OUT = ROOT / "out/bench"
LIBRARY = OUT / "lib/librevenium.so"

ROUNDS = int(os.environ.get("ROUNDS", 3))
SCALE = float(os.environ.get("SCALE", 1))
RUN_LIMIT_S = 120
LAUNCHES = 10


class Scenario:
    """`answer`: how the sandbox answers. `warm`: calls before the measured ones, and how those are answered. `backlog`: so
    many records lie in the spool from a process that was killed."""

    def __init__(self, calls, at_once=1, warm=None, deltas=0, answer=None, warm_answer=None, only=None, gap_us=0, backlog=0):
        self.calls, self.at_once, self.deltas, self.only, self.gap_us = calls, at_once, deltas, only, gap_us
        self.backlog = int(backlog * SCALE)
        self.warm, self.answer, self.warm_answer = warm, answer or {}, warm_answer

    def sized(self, share):
        """Calls, warm-up calls and calls at once, for a client that is to make that share of the calls."""
        calls = max(int(self.calls * SCALE * share), 10, min(self.at_once, 64))
        return calls, max(calls // 5, self.at_once) if self.warm is None else self.warm, min(self.at_once, calls)

    def answers(self, warm):
        return [self.warm_answer] * warm + [self.answer] if self.warm_answer else [self.answer]


def events(deltas):
    """The body of a streamed reply, many events to a chunk, as they come from a network that is slower than the model."""
    usage = {"input_tokens": 25, "output_tokens": 1}
    message = {"id": "msg_bench", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001", "content": [],
               "stop_reason": None, "stop_sequence": None, "usage": usage}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "token "}}
    every = [{"type": "message_start", "message": message},
             {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}]
    every += [delta] * deltas
    every += [{"type": "content_block_stop", "index": 0},
              {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": deltas}},
              {"type": "message_stop"}]
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n" for event in every)
    return [body[at:at + CHUNK] for at in range(0, len(body), CHUNK)]


CHUNK = 16 << 10
NATIVE = {"raw", "hyper", "hyper+record", "ours", "ours-nospool", "ours-queue", "ours-queue-nospool"}
SCENARIOS = {
    "create": Scenario(8000),
    "create64": Scenario(8000, at_once=64),
    "burst": Scenario(400, deltas=1000, answer={"chunks": events(1000), "burst": True}),
    "chunks": Scenario(200, deltas=1000, answer={"deltas": 1000, "burst": True}),
    "paced": Scenario(128, at_once=64, warm=64, deltas=50, warm_answer={"deltas": 1}, answer={"deltas": 50, "gap_ms": 20},
                      only=NATIVE),
    # Used as a server uses it: 50 calls a second.
    "waits": Scenario(400, warm=20, gap_us=20_000,
                      only={"hyper", "hyper-other", "hyper+record", "ours", "ours-nospool"}),
    # The same after an outage: 100,000 records leave beside the calls.
    "drains": Scenario(400, warm=0, gap_us=20_000, only={"ours"}, backlog=100_000),
    "slow": Scenario(10_000, at_once=10_000, warm=1, deltas=10, warm_answer={"deltas": 1},
                     answer={"deltas": 10, "gap_ms": 500}, only={"raw", "hyper", "ours-queue", "ours-queue-nospool"}),
}


class Client:
    def __init__(self, name, command, metered=False, share=1.0, counts_deltas=False, spans=False):
        self.name, self.command, self.metered, self.share = name, [str(word) for word in command], metered, share
        self.counts_deltas, self.spans = counts_deltas, spans


class Sandbox:
    """`collector`: another one, which takes the spans."""

    def __init__(self, scratch, collector=None):
        self.collector = collector
        command = [TARGET / "release/sandbox", "--quiet", "--no-requests", "--threads", "1", "--until-stdin-closes"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().removeprefix("sandbox: ").strip()
        self.port = self.url.rsplit(":", 1)[-1]
        keys = {"ANTHROPIC_API_KEY": "sk-ant-sandbox", "REVENIUM_METERING_API_KEY": "rev_mk_sandbox_0123456789abcdef"}
        # An environment in which every address is the sandbox's.
        shown = subprocess.run(["sh", "-c", ". tests/env.sh && exec env -0"], cwd=ROOT, check=True, capture_output=True,
                               env=os.environ | {"SANDBOX_URL": self.url}).stdout.decode()
        self.environment = dict(line.split("=", 1) for line in shown.split("\0") if line) | keys | {
            "REVENIUM_LIBRARY": str(LIBRARY), "LD_LIBRARY_PATH": str(LIBRARY.parent), "REVENIUM_LOG_LEVEL": "ERROR"}
        # Tests have one, for the order in which records arrive.
        self.environment.pop("REVENIUM_METERING_WORKERS")
        self.scratch, self.number = scratch, itertools.count()

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def cpu_us(self):
        """Processor time of the sandbox's threads; 0 where the kernel does not tell."""
        try:
            threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
            return sum(int(thread.read_text().split()[0]) for thread in threads) / 1000
        except OSError:
            return 0

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def new_spool(self):
        return str(self.scratch / f"spool-{next(self.number)}")

    def leave(self, client, calls):
        """The spool of a process that was killed in an outage, with the records of so many calls."""
        spool = self.new_spool()
        self.ask("DELETE", "/sandbox/plan")
        self.ask("POST", "/sandbox/plan", {"path": "/meter/v2/ai/completions", "answers": [{"status": 503}]})
        command = client.command + ["--port", self.port, "--calls", str(calls), "--leave", "1"]
        subprocess.run(command, env=self.environment | {"REVENIUM_SPOOL_DIR": spool}, timeout=RUN_LIMIT_S, capture_output=True)
        self.ask("DELETE", "/sandbox/plan")
        return spool

    def run(self, client, arguments, spool=None):
        """One run of a client; what it printed, and what the sandbox saw of it."""
        environment = self.environment | {"REVENIUM_SPOOL_DIR": spool or self.new_spool()}
        if client.spans:
            environment |= {"REVENIUM_OTLP": "1", "REVENIUM_OTLP_ENDPOINT": self.collector.url,
                            "REVENIUM_OTLP_QUEUE_SIZE": "100000"}
            spans = self.collector.ask("GET", "/sandbox/stats")["requests"]
        self.ask("DELETE", "/sandbox/records")
        before = self.cpu_us()
        ran = subprocess.run(client.command + ["--port", self.port] + arguments, env=environment, timeout=RUN_LIMIT_S,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if ran.returncode:
            raise RuntimeError(ran.stderr.strip().splitlines()[-1] if ran.stderr.strip() else f"exit {ran.returncode}")
        row = json.loads(ran.stdout.strip().splitlines()[-1])
        row["server_cpu_us"] = self.cpu_us() - before
        row["records"] = self.ask("GET", "/sandbox/stats")["records"]
        if client.spans and self.collector.ask("GET", "/sandbox/stats")["requests"] == spans:
            raise RuntimeError("no spans were exported")
        row["has_spool"] = Path(environment["REVENIUM_SPOOL_DIR"]).exists()
        return row


def say(text):
    print(text, file=sys.stderr, flush=True)


def build():
    """The C clients, and a copy of the library that later builds cannot change."""
    shutil.rmtree(LIBRARY.parent, ignore_errors=True)
    LIBRARY.parent.mkdir(parents=True)
    shutil.copy(TARGET / "release/librevenium.so", LIBRARY)
    (LIBRARY.parent / "librevenium.so.1").symlink_to(LIBRARY.name)
    compiler = [os.environ.get("CC") or "cc", "-std=c11", "-O2", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    subprocess.run(compiler + [HERE / "raw.c", "-o", OUT / "raw"], check=True)
    library = ["-I", ROOT / "include", "-L", LIBRARY.parent, "-lrevenium", f"-Wl,-rpath,{LIBRARY.parent}", "-pthread"]
    subprocess.run(compiler + [HERE / "ours.c", "-o", OUT / "ours"] + library, check=True)


def native():
    hyper, ours = TARGET / "release/bare-hyper", OUT / "ours"
    return [
        Client("raw", [OUT / "raw"]),
        Client("hyper", [hyper]),
        Client("hyper-other", [hyper, "--hand-over", "1"]),
        Client("hyper+record", [hyper, "--record", "1"], metered=True),
        Client("ours", [ours], metered=True, counts_deltas=True),
        Client("ours-nospool", [ours, "--spool", "0"], metered=True, counts_deltas=True),
        Client("ours-nospool-spans", [ours, "--spool", "0"], metered=True, counts_deltas=True, spans=True),
        Client("ours-queue", [ours, "--queue", "1"], metered=True, counts_deltas=True),
        Client("ours-queue-nospool", [ours, "--queue", "1", "--spool", "0"], metered=True, counts_deltas=True),
    ]


def go():
    """The client in Go, or why there is none."""
    binding = ROOT / "bindings/go"
    if not (binding / "go.mod").exists():
        return None, "no bindings/go"
    if not shutil.which("go"):
        return None, "no go"
    environment = os.environ | {"CGO_LDFLAGS": f"-L{LIBRARY.parent}", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    built = subprocess.run(["go", "build", "-o", OUT / "go", "."], cwd=HERE / "go", env=environment, text=True,
                           capture_output=True)
    if built.returncode:
        return None, "it does not build: " + built.stderr.strip().splitlines()[-1]
    return Client("go", [OUT / "go"], metered=True, share=0.5, counts_deltas=True), None


def node():
    """The client in Node.js, or why there is none."""
    binding = ROOT / "bindings/node"
    if not (binding / "package.json").exists():
        return None, "no bindings/node"
    if not shutil.which("node") or not shutil.which("npm"):
        return None, "no node, or no npm"
    if not (binding / "node_modules").exists():
        installed = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
                                   cwd=binding, capture_output=True, text=True)
        if installed.returncode:
            return None, "npm ci failed"
    client = ["node", HERE / "node/client.mjs"]
    # As many calls as the others make: a quarter of them would measure the compiler of V8.
    return Client("node", client, metered=True, counts_deltas=True), None


def checked(client, scenario, row, calls, warm, deltas, backlog):
    """A client that did less work than it was asked for has no figure."""
    if client.metered and row["records"] != calls + warm + backlog:
        raise RuntimeError(f"{row['records']} records of {calls + warm + backlog} calls")
    if client.counts_deltas and row["deltas"] != calls * deltas:
        raise RuntimeError(f"{row['deltas']} deltas of {calls * deltas}")
    row |= {"client": client.name, "scenario": scenario, "calls": calls, "unit_us": row["cpu_us"] / calls / max(deltas, 1)}
    return row


def measure(sandbox, clients, rounds):
    rows = []
    for number in range(rounds):
        for name, scenario in SCENARIOS.items():
            began = time.monotonic()
            first = number % len(clients)
            for client in clients[first:] + clients[:first]:
                if scenario.only and client.name not in scenario.only:
                    continue
                calls, warm, at_once = scenario.sized(client.share)
                spool = sandbox.leave(client, scenario.backlog) if scenario.backlog else None
                # Anew for each client: the answers are used in order.
                sandbox.ask("POST", "/sandbox/plan", {"path": "/v1/messages", "answers": scenario.answers(warm)})
                arguments = ["--mode", "stream" if scenario.deltas else "create", "--calls", str(calls), "--warm", str(warm),
                             "--at-once", str(at_once)] + (["--gap", str(scenario.gap_us)] if scenario.gap_us else [])
                try:
                    row = sandbox.run(client, arguments, spool)
                    row = checked(client, name, row, calls, warm, scenario.deltas, scenario.backlog)
                except (RuntimeError, subprocess.TimeoutExpired) as trouble:
                    say(f"{name}, {client.name}: no figure: {trouble}")
                    continue
                rows.append(row | {"round": number})
            say(f"round {number + 1} of {rounds}, {name}: {time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f}")
        sandbox.ask("DELETE", "/sandbox/plan")
        for client in clients:
            if client.name in ("raw", "hyper", "ours-nospool", "ours"):
                runs = [sandbox.run(client, ["--calls", "0"])["ready_cpu_us"] for _ in range(LAUNCHES)]
                one = sandbox.run(client, ["--calls", "1"])["cpu_us"]
                rows.append({"client": client.name, "scenario": "start", "round": number,
                             "unit_us": statistics.median(runs), "first_call_us": one})
    return rows


def size(library):
    """Bytes of a library without symbols; None where there is none."""
    if not library.exists():
        return None
    stripped = OUT / "stripped.so"
    try:
        subprocess.run(["strip", "-o", stripped, library], check=True)
    except FileNotFoundError:
        return library.stat().st_size
    bytes = stripped.stat().st_size
    stripped.unlink()
    return bytes


def facts(sandbox, clients, has_spool, left_out):
    models = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "machine": f"{models[0] if models else platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}",
        "rounds": ROUNDS, "scale": SCALE, "load": os.getloadavg()[0],
        "library_bytes": size(LIBRARY), "small_library_bytes": size(OUT / "without-bedrock.so"),
        "has_spool": has_spool, "left_out": left_out, "clients": [client.name for client in clients],
        "streams": SCENARIOS["slow"].sized(1)[0],
    }


def main():
    build()
    allowed = os.sched_getaffinity(0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients, left_out = native(), {}
    for name, made in (("go", go()), ("node", node())):
        client, reason = made
        if client:
            clients.append(client)
        else:
            left_out[name] = reason
    slow = SCENARIOS["slow"]
    if hard < slow.calls + 1000:
        slow.calls = slow.at_once = hard - 1000
        left_out["10,000 streams"] = f"descriptors are limited to {hard}"
    os.sched_setaffinity(0, {int(os.environ.get("CPU", max(allowed)))})
    scratch = Path(tempfile.mkdtemp(dir=OUT))
    collector = Sandbox(scratch)
    collector.ask("POST", "/sandbox/plan", {"path": "/v1/traces", "answers": [{"text": ""}]})
    sandbox = Sandbox(scratch, collector)
    try:
        has_spool = sandbox.run(clients[3], ["--calls", "1"])["has_spool"]
        if not has_spool:
            clients = [client for client in clients if client.name not in ("ours", "ours-queue")]
            left_out["spool"] = "not in this build"
        else:
            SCENARIOS["slow"].only.discard("ours-queue-nospool")
        for name, reason in left_out.items():
            say(f"left out: {name}: {reason}")
        rows = measure(sandbox, clients, ROUNDS)
    finally:
        sandbox.stop()
        collector.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    about = facts(sandbox, clients, has_spool, left_out)
    inner = report.inner(TARGET / "criterion")
    (OUT / "raw.json").write_text(json.dumps({"about": about, "inner": inner, "rows": rows}, indent=1))
    text = report.text(about, inner, rows)
    (OUT / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
