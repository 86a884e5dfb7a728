"""Runs client.py beside the sandbox in every way that loses records elsewhere, and looks at what arrived."""

import collections
import glob
import errno
import json
import os
import random
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request

import journal

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# Where the library and the command are; and what runs client.py, for a library of another platform.
TARGET = os.environ.get("LIBREVENIUM_DIR") or os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "debug")
PYTHON = os.environ.get("CLIENT_PYTHON", sys.executable)
SANDBOX = os.environ["SANDBOX_URL"]
KEY = os.environ["REVENIUM_METERING_API_KEY"]
PATH = "/meter/v2/ai/completions"
PATIENCE = 120  # Only ends what hangs.


def http(method, path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(SANDBOX + path, data=data, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.loads(answer.read() or b"null")


def plan(*answers):
    http("POST", "/sandbox/plan", {"path": PATH, "answers": list(answers)})


def unplan():
    http("DELETE", "/sandbox/plan")


def records():
    return http("GET", "/sandbox/records")


def tool_events():
    return http("GET", "/sandbox/tool-events")


class Gate:
    """An address before the collector that can be shut, so that connections are refused."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.server = None
        self.open_connections = []

    def open(self):
        self.server = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        threading.Thread(target=self._serve, args=(self.server,), daemon=True).start()

    def shut(self):
        if self.server:
            self.server.shutdown(socket.SHUT_RDWR)
            self.server.close()
            self.server = None
        for connection in self.open_connections:
            connection.close()
        self.open_connections = []

    def _serve(self, server):
        host, port = SANDBOX.removeprefix("http://").split(":")
        while True:
            try:
                client, _ = server.accept()
                upstream = socket.create_connection((host, int(port)))
            except OSError:
                return
            self.open_connections += [client, upstream]
            for source, sink in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Client:
    """A running client.py."""

    def __init__(self, spool, *steps, **environment):
        env = dict(os.environ, REVENIUM_SPOOL_DIR=spool, REVENIUM_LIBRARY=os.path.join(TARGET, "librevenium.so"))
        env.update(environment)
        self.process = subprocess.Popen(
            [PYTHON, os.path.join(HERE, "client.py"), *steps],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)

    def line(self):
        said = b""
        while not said.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
            said += (more := self.process.stdout.read(1) if ready else b"")
            assert more, f"the client says nothing more than {said!r}"
        return said.decode().strip()

    def go_on(self):
        self.process.stdin.write(b"\n")

    def end(self):
        out, err = self.process.communicate(timeout=PATIENCE)
        self.errors = err.decode()
        return out.decode().strip().splitlines()

    def kill(self):
        self.process.kill()
        self.end()


def run(spool, *steps, **environment):
    """Run a client to its end; what it said."""
    client = Client(spool, *steps, **environment)
    said = client.end()
    client.process.wait()
    assert "call failed" not in " ".join(said), said
    return said


def next_run(spool, **environment):
    """What the next process does that uses the spool; its status."""
    said = run(spool, "flush:60000", "print", **environment)
    assert said[0] == "flush 0", said
    return json.loads(said[1])


def expect(count, repeats=None):
    """So many records, each once by both of its names. Those under way at a kill may be sent again."""
    arrived = records()
    for name in ("transactionId", None):
        seen = collections.Counter(r["body"][name] if name else r["idempotency_key"] for r in arrived)
        assert all(times == 1 for times in seen.values()), seen.most_common(3)
    assert len(arrived) == count, f"{len(arrived)} of {count} records arrived"
    if repeats is not None:
        again = sum(r["repeats"] for r in arrived)
        assert again <= repeats, f"{again} records were sent again"


def journals(spool):
    return glob.glob(os.path.join(spool, "*", "*.journal"))


def files(spool):
    return [os.path.join(top, name) for top, _, names in os.walk(spool) for name in names]


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def is_dead(process):
    """All its threads are gone, though nobody may have waited for it."""
    try:
        threads = os.listdir(f"/proc/{process}/task")
        with open(f"/proc/{process}/stat") as file:
            return len(threads) == 1 and file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def no_trace(spool):
    assert not files(spool), files(spool)


# ---- ends of a process ----

def test_exit(spool):
    run(spool, "call:100", "exit")
    expect(100, repeats=0)
    no_trace(spool)


def test_down_until_after_exit(spool):
    gate = Gate()
    url = {"REVENIUM_METERING_BASE_URL": f"http://127.0.0.1:{gate.port}"}
    run(spool, "call:100", "exit", **url)
    expect(0)
    gate.open()
    status = next_run(spool, **url)
    gate.shut()
    expect(100, repeats=0)
    assert status["events"]["delivered"] == 100 and status["events"]["pending"] == 0, status
    no_trace(spool)


def test_a_backlog_leaves_beside_calls(spool):
    gate = Gate()
    url = {"REVENIUM_METERING_BASE_URL": f"http://127.0.0.1:{gate.port}"}
    run(spool, "call:2000", "kill", **url)
    gate.open()
    # Part of it while calls are made, the rest while somebody waits for all.
    run(spool, "call:1500", "flush:60000", "exit", **url)
    gate.shut()
    expect(3500, repeats=0)
    no_trace(spool)


def test_more_processes_ended_than_one_adopts_at_a_time(spool):
    plan({"status": 503})
    for _ in range(80):
        run(spool, "call:2", "kill")
    unplan()
    assert len(files(spool)) == 80, files(spool)
    next_run(spool)
    expect(160)
    no_trace(spool)


def sudden_end(step):
    def test(spool):
        plan({"delay_ms": 50})
        run(spool, "call:60", step)
        unplan()
        next_run(spool)
        expect(60, repeats=60)
        no_trace(spool)
    return test


def test_tool_events_outlive_an_outage_and_a_kill(spool):
    gate = Gate()
    url = {"REVENIUM_METERING_BASE_URL": f"http://127.0.0.1:{gate.port}"}
    # The flush ends with what could not be delivered; whatever it says, the process dies with it on disk.
    run(spool, "tool:20", "call:3", "flush:100", "kill", **url)
    assert tool_events() == [] and records() == []
    gate.open()
    next_run(spool, **url)
    gate.shut()
    arrived = tool_events()
    assert sorted(event["body"]["usageMetadata"]["n"] for event in arrived) == list(range(20)), arrived
    assert all(event["idempotency_key"] == event["body"]["transactionId"] for event in arrived), arrived
    assert len({event["idempotency_key"] for event in arrived}) == 20
    expect(3)
    no_trace(spool)


test_kill = sudden_end("kill")
test__exit = sudden_end("_exit")
test_abort = sudden_end("abort")
test_sigterm = sudden_end("term")


def test_kill_after_one_call(spool):
    for _ in range(5):
        run(spool, "call:1", "kill")
    next_run(spool)
    expect(5)


def test_exec(spool):
    plan({"status": 503})
    client = Client(spool, "call:20", "exec")
    until(lambda: open(f"/proc/{client.process.pid}/comm").read().strip() == "sleep", "exec")
    unplan()
    next_run(spool)
    expect(20)
    client.kill()


def test_a_thread_that_ended(spool):
    run(spool, "thread:10", "thread:10", "kill")
    next_run(spool)
    expect(20)


def test_shutdown(spool):
    plan({"status": 503})
    said = run(spool, "call:5", "shutdown:50")
    assert said == ["shutdown -10"], said
    unplan()
    next_run(spool)
    expect(5)


def test_flush_before_a_freeze(spool):
    client = Client(spool, "call:3", "flush:30000", "say:frozen", "wait", "call:2", "flush:30000", "_exit")
    assert (client.line(), client.line()) == ("flush 0", "frozen")
    client.process.send_signal(signal.SIGSTOP)
    expect(3, repeats=0)
    client.process.send_signal(signal.SIGCONT)
    client.go_on()
    client.end()
    expect(5, repeats=0)


def test_without_a_spool(spool):
    run("", "call:20", "exit", HOME="/nonexistent", REVENIUM_SPOOL_DIR="")
    expect(20, repeats=0)


# ---- collectors ----

def test_every_fifth_answer_is_500(spool):
    plan(*[{}, {}, {}, {}, {"status": 500}] * 10, {})
    run(spool, "call:50", "exit")
    unplan()
    next_run(spool)
    expect(50)


def test_every_fifth_connection_is_cut(spool):
    plan(*[{}, {}, {}, {}, "reset"] * 10, {})
    run(spool, "call:50", "exit")
    unplan()
    next_run(spool)
    expect(50)


def test_slow_collector(spool):
    plan({"delay_ms": 3000})
    run(spool, "call:40", "exit")
    unplan()
    next_run(spool)
    expect(40, repeats=40)


def outage(*answers):
    def test(spool):
        plan(*answers)
        client = Client(spool, "call:30", "print", "wait", "flush:60000", "print", "exit")
        before = json.loads(client.line())
        assert before["events"]["dropped"] == 0 and before["calls"]["failed"] == 0, before
        unplan()
        client.go_on()
        said = client.end()
        assert said[0] == "flush 0", said
        after = json.loads(said[1])
        assert after["events"]["delivered"] == 30 and after["events"]["circuit"] == "closed", after["events"]
        expect(30)
    return test


test_429_with_retry_after = outage({"status": 429, "retry-after": "1"})
test_503 = outage({"status": 503})
test_silence_without_answer = outage("close")


def test_401_keeps_the_records(spool):
    plan({"status": 401})
    said = run(spool, "call:10", "flush:1000", "print", "kill")
    status = json.loads(said[1])
    assert status["last_error"]["http_status"] == 401, status["last_error"]
    assert status["events"]["pending"] == 10 and status["events"]["dropped"] == 0, status["events"]
    unplan()
    next_run(spool)
    expect(10)


def test_answers_about_the_way_keep_the_records(spool):
    page = {"content-type": "text/html"}
    for answer in [{"status": status} for status in (301, 302, 307, 402, 404, 405, 407, 410, 421, 423, 425)] + [
        {"status": 409, "text": ""},
        {"status": 307, "headers": {"location": "http://127.0.0.1:9/"}},
        {"status": 200, "headers": page, "text": "<html>log in</html>"},
    ]:
        plan(answer)
        status = json.loads(run(spool, "call:1", "flush:300", "print", "kill")[1])
        assert status["last_error"]["http_status"] == answer["status"], status["last_error"]
        assert status["events"]["dropped"] == 0 and status["events"]["pending"] > 0, (answer, status["events"])
    unplan()
    next_run(spool)
    expect(14)


def test_no_such_host(spool):
    url = {"REVENIUM_METERING_BASE_URL": "http://no-such-host.invalid"}
    status = json.loads(run(spool, "call:3", "flush:500", "print", "exit", **url)[1])
    assert status["events"]["pending"] == 3 and status["events"]["dropped"] == 0, status["events"]
    assert journals(spool)


def test_no_tls(spool):
    url = {"REVENIUM_METERING_BASE_URL": SANDBOX.replace("http:", "https:")}
    status = json.loads(run(spool, "call:3", "flush:500", "print", "exit", **url)[1])
    assert status["events"]["pending"] == 3 and status["last_error"]["code"] == "REVENIUM_E_CONNECTION", status


# ---- several processes ----

def test_four_writers_and_kills(spool):
    plan({"delay_ms": 20})
    made, killed = 0, []
    clients = [Client(spool, "call:200", "say:done", "exit") for _ in range(4)]
    time.sleep(0.3)
    for client in clients[:2]:
        client.process.kill()
        killed.append(client)
    for client in clients[2:]:
        assert client.end() == ["done"]
        made += 200
    for client in killed:
        client.end()
    unplan()
    next_run(spool)
    arrived = len(records())
    # Those killed made some; each that the provider answered and the client heard of must be here.
    assert made <= arrived <= 800, arrived
    expect(arrived)
    no_trace(spool)


def test_the_living_are_left_alone(spool):
    plan({"status": 503})
    client = Client(spool, "call:10", "say:made", "wait", "flush:60000", "exit")
    assert client.line() == "made"
    unplan()
    run(spool, "flush:1000")
    expect(0)
    client.go_on()
    assert client.end() == ["flush 0"]
    expect(10, repeats=0)


def test_prefork_workers(spool):
    run(spool, "call:5", "fork:4", "join", "call:5", "flush:60000", "exit", "/", "call:20", "flush:60000", "_exit")
    expect(5 + 5 + 4 * 20, repeats=0)


def test_prefork_workers_killed(spool):
    plan({"status": 503})
    run(spool, "call:5", "fork:4", "join", "call:5", "kill", "/", "call:20", "kill")
    unplan()
    next_run(spool)
    expect(5 + 5 + 4 * 20)


def test_forks_in_the_midst_of_calls(spool):
    run(spool, "storm:40", "flush:60000", "exit")
    expect(400 + 40, repeats=0)
    assert len(journals(spool)) <= 1, "each child takes over what the one before left"


def test_a_child_does_not_keep_its_parents_records(spool):
    plan({"status": 503})
    client = Client(spool, "call:10", "fork:1", "children", "wait", "kill", "/", "call:3", "say:ready", "pause")
    lines = [client.line(), client.line()]
    child = int(next(line for line in lines if line != "ready"))
    client.go_on()
    client.process.wait()
    unplan()
    try:
        next_run(spool)
        # The child may have sent its own by now.
        assert len(records()) >= 10, len(records())
    finally:
        os.kill(child, signal.SIGKILL)
    until(lambda: is_dead(child), "the child lives on")
    next_run(spool)
    expect(13)


def test_a_child_sends_what_its_parent_left(spool):
    plan({"status": 503})
    client = Client(spool, "call:10", "fork:1", "kill", "/", "say:ready", "wait", "call:1", "flush:60000", "_exit")
    assert client.line() == "ready"
    client.process.wait()
    unplan()
    client.go_on()
    assert client.line() == "flush 0"
    expect(11)


# ---- what looks like one process and is not, and the other way round ----

def twin():
    """Another copy of the library, which the loader takes for another library."""
    path = os.path.join(tempfile.mkdtemp(), "librevenium-twin.so")
    shutil.copy(os.path.join(TARGET, "librevenium.so"), path)
    return {"REVENIUM_TWIN": path}


def test_two_copies_of_the_library_in_one_process(spool):
    made = 0
    for ending in ("exit", "kill", "kill", "_exit"):
        plan({"status": 503})
        run(spool, "twins:50", ending, **twin())
        made += 100
        unplan()
    next_run(spool)
    expect(made)
    no_trace(spool)


def test_a_host_that_opens_and_closes_our_files(spool):
    plan({"status": 503})
    client = Client(spool, "call:20", "touch", "say:touched", "wait", "call:20", "touch", "kill")
    assert client.line() == "touched"
    unplan()
    # The files are the living process's still.
    run(spool, "flush:2000")
    expect(0)
    plan({"status": 503})
    client.go_on()
    client.end()
    unplan()
    next_run(spool)
    expect(40, repeats=0)


def preload(name):
    """A library that stands before the C library; built on the spot."""
    path = os.path.join(tempfile.mkdtemp(), name + ".so")
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", path, os.path.join(HERE, name + ".c"), "-ldl"],
                   check=True)
    return path


def test_locks_that_always_succeed(spool):
    lies = {"LD_PRELOAD": preload("lying_locks")}
    made = 0
    for _ in range(5):
        plan({"status": 503}, {"delay_ms": 5})
        clients = [Client(spool, "call:40", "kill" if n % 2 else "exit", **lies) for n in range(4)]
        for client in clients:
            client.end()
        made += 160
    unplan()
    next_run(spool)
    expect(made)


def test_clock_before_1970(spool):
    clock = {"LD_PRELOAD": preload("old_clock")}
    plan({"status": 503})
    run(spool, "call:5", "kill", **clock)
    unplan()
    said = run(spool, "call:5", "flush:60000", "shutdown:10000", "exit", **clock)
    assert said == ["flush 0", "shutdown 0"], said
    expect(10)
    no_trace(spool)


def test_starts_and_ends_leave_nothing_behind(spool):
    said = run(spool, "cycle:50", "memory", "cycle:200", "memory", "exit")
    (before, threads, files), (after, threads_after, files_after) = (map(int, line.split()) for line in said)
    assert (threads_after, files_after) == (threads, files) and threads == 1, said
    # The allocator's own steps are larger than what each start may leave: 1 KiB.
    assert after - before < 200 * 1024 + 512 * 1024, said
    expect(250)


def test_many_processes_killed_at_random(spool):
    rounds = int(os.environ.get("SOAK_ROUNDS", "200"))
    random.seed(rounds)
    made, doubles = 0, 0
    down = {"status": 503}
    plan(*([down] * 7 + [{"delay_ms": 3}] * 3))
    running = []
    for _ in range(rounds):
        running.append(Client(spool, "call:8", "say:made", "pause"))
        if len(running) == 32 or random.random() < 0.3:
            client = running.pop(random.randrange(len(running)))
            if random.random() < 0.5:
                assert client.line() == "made"
                made += 8
            client.kill()
    for client in running:
        assert client.line() == "made"
        made += 8
        client.kill()
    unplan()
    next_run(spool)
    arrived = len(records())
    assert made <= arrived <= rounds * 8, (made, arrived)
    expect(arrived)
    no_trace(spool)


# ---- the spool itself ----

def test_modes_and_no_key(spool):
    plan({"status": 503})
    client = Client(spool, "call:5", "say:made", "wait")
    client.line()
    found = files(spool)
    assert found
    for path in found:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600, path
        assert KEY.encode() not in open(path, "rb").read(), path
        assert b"sk-ant" not in open(path, "rb").read(), path
    for top, _, _ in os.walk(spool):
        assert stat.S_IMODE(os.stat(top).st_mode) == 0o700, top
    client.kill()


def test_another_account(spool):
    plan({"status": 503})
    run(spool, "call:4", "kill", REVENIUM_METERING_API_KEY="rev_mk_other_0123456789abcdef")
    unplan()
    run(spool, "call:1", "flush:60000", "exit")
    expect(1)
    next_run(spool, REVENIUM_METERING_API_KEY="rev_mk_other_0123456789abcdef")
    expect(5)


def test_directory_deleted_while_running(spool):
    plan({"status": 503})
    client = Client(spool, "call:10", "say:made", "wait", "call:10", "say:again", "wait")
    client.line()
    shutil.rmtree(spool)
    client.go_on()
    assert client.line() == "again"
    def all_there():
        return sum(len(journal.read(path)) for path in journals(spool)) == 20
    until(all_there, "the records of before are not there again")
    client.kill()
    unplan()
    next_run(spool)
    expect(20)


def test_unwritable_directory(spool):
    # /proc is one for root too.
    status = json.loads(run("/proc/revenium", "call:10", "flush:60000", "print", "exit")[1])
    assert status["spool"]["usable"] is False and status["spool"]["trouble"], status["spool"]
    expect(10, repeats=0)


def test_full_disk(spool):
    client = Client(spool, "call:10", "limit:90000", "call:300", "say:full", "print", "wait", "unlimit", "call:1",
                    "flush:60000", "print", "exit")
    plan({"status": 503})
    assert client.line() == "full"
    status = json.loads(client.line())
    assert status["calls"]["failed"] == 0 and status["events"]["dropped"] == 0, status["events"]
    assert status["spool"]["usable"] is False, status["spool"]
    unplan()
    client.go_on()
    said = client.end()
    assert said[0] == "flush 0", said
    expect(311)


def test_disks_on_which_nothing_can_be_written(spool):
    broken = preload("broken_disk")
    for error in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.EIO):
        within = os.path.join(spool, str(error))
        os.makedirs(within, mode=0o700)
        with tempfile.NamedTemporaryFile("w") as fault:
            plan({"status": 503})
            before = len(records())
            client = Client(within, "call:10", "say:made", "wait", "call:30", "say:full", "print", "wait", "call:1",
                            "say:mended", "wait", LD_PRELOAD=broken, REVENIUM_TEST_FAULT=fault.name)
            assert client.line() == "made"
            fault.write(str(error))
            fault.flush()
            client.go_on()
            assert client.line() == "full"
            status = json.loads(client.line())
            assert status["calls"]["failed"] == 0 and status["events"]["dropped"] == 0, status["events"]
            assert status["spool"]["usable"] is False and status["spool"]["trouble"], status["spool"]
            fault.truncate(0)
            client.go_on()
            assert client.line() == "mended"
            # What was in memory only is on disk again, so a kill takes nothing.
            until(lambda: sum(len(journal.read(path)) for path in journals(within)) == 41, "they are not all on disk again")
            client.kill()
            unplan()
            next_run(within)
            until(lambda: len(records()) - before >= 41, "they have not all arrived")
    expect(5 * 41)


def damage(spool, how):
    """Ten records of a killed process, damaged; what the next process says."""
    plan({"status": 503})
    run(spool, "call:10", "kill")
    unplan()
    [path] = journals(spool)
    with open(path, "r+b") as file:
        how(file, os.path.getsize(path))
    client = Client(spool, "call:3", "flush:60000", "print", "exit")
    said = client.end()
    assert said[0] == "flush 0", said
    return path, json.loads(said[1]), client.errors


def test_overwritten_beginning(spool):
    _, status, errors = damage(spool, lambda file, size: file.write(b"\xff" * 2000))
    lost = 13 - len(records())
    assert 1 <= lost <= 6, lost
    assert 1 <= status["events"]["dropped_by"]["corrupt"] <= lost, status["events"]
    assert "damaged and lost" in errors, errors
    no_trace(spool)


def test_torn_end(spool):
    _, status, _ = damage(spool, lambda file, size: file.truncate(size - 100))
    expect(12, repeats=0)
    assert status["events"]["dropped_by"]["corrupt"] == 1, status["events"]


def test_file_of_another_kind(spool):
    def replace(file, size):
        file.truncate(0)
        file.write(b"this is somebody else's file, whatever its name is")

    path, status, errors = damage(spool, replace)
    expect(3, repeats=0)
    assert os.path.basename(path) in errors and "left alone" in errors, errors
    assert os.path.exists(path) and status["spool"]["usable"], status["spool"]


def test_foreign_entries_disturb_nothing(spool):
    plan({"status": 503})
    run(spool, "call:3", "kill")
    unplan()
    [path] = journals(spool)
    folder = os.path.dirname(path)
    os.mkdir(os.path.join(folder, "0.journal"))
    os.symlink("/etc/passwd", os.path.join(folder, "1.journal"))
    os.symlink("/nowhere", os.path.join(folder, "2.journal"))
    os.mkfifo(os.path.join(folder, "3.journal"))
    if os.getuid() == 0:
        for name, owner in (("4", 12345), ("5", 0)):
            with open(os.path.join(folder, f"{name}.journal"), "wb") as file:
                file.write(b"x" * 100)
            os.chown(file.name, owner, owner)
            os.chmod(file.name, 0)
    client = Client(spool, "call:3", "flush:60000", "print", "exit")
    said = client.end()
    assert json.loads(said[1])["spool"]["usable"], said
    expect(6, repeats=0)
    assert not os.path.exists(path)


def change(spool, how):
    for path in journals(spool):
        journal.write(path, [new for record in journal.read(path) for new in how(record)])


def test_clock_jumps(spool):
    for created in (0, 4102444800000):
        plan({"status": 503})
        run(spool, "call:5", "kill")
        change(spool, lambda record: [record._replace(created_ms=created)])
        unplan()
        next_run(spool)
    expect(10)


def test_numbers_from_the_future(spool):
    plan({"status": 503})
    run(spool, "call:5", "kill")
    change(spool, lambda record: [record._replace(sequence=record.sequence + 4_000_000_000_000_000)])
    unplan()
    run(spool, "call:5", "flush:60000", "exit")
    expect(10)


def test_too_old_in_an_outage(spool):
    plan({"status": 503})
    run(spool, "call:5", "kill")
    change(spool, lambda record: [record._replace(created_ms=1)])
    said = run(spool, "call:1", "flush:10000", "print", "exit", REVENIUM_SPOOL_MAX_AGE_S="3600")
    events = json.loads(said[1])["events"]
    assert events["dropped_by"]["expired"] == 5 and events["pending"] == 1, events


def multiply(spool, times):
    """Make each record a thousand and so on, with names of their own."""
    def copies(record):
        yield record
        for n in range(1, times + 1):
            name = f"{record.transaction_id}-{n}"
            body = record.body.replace(record.transaction_id.encode(), name.encode())
            yield record._replace(sequence=record.sequence + n, key=f"{record.key}-{n}", transaction_id=name, body=body)
    change(spool, copies)


def test_bound_in_bytes(spool):
    plan({"status": 503})
    run(spool, "call:1", "kill")
    multiply(spool, 4000)
    limit = {"REVENIUM_SPOOL_MAX_BYTES": str(1 << 20)}
    said = run(spool, "call:10", "flush:3000", "print", "kill", **limit)
    events = json.loads(said[1])["events"]
    assert events["spooled_bytes"] <= 1 << 20, events
    assert events["dropped_by"]["spool_full"] + events["pending"] == 4011, events
    unplan()
    next_run(spool)
    expect(events["pending"])


def test_a_backlog_of_100000_drains_beside_live_calls(spool):
    plan({"status": 503})
    run(spool, "call:1", "kill")
    multiply(spool, 100_000)
    unplan()
    client = Client(spool, "call:200", "print", "wait", "flush:110000", "print", "exit")
    first = json.loads(client.line())["events"]
    assert first["dropped"] == 0, first
    client.go_on()
    said = client.end()
    assert said[0] == "flush 0", said
    events = json.loads(said[1])["events"]
    assert events["delivered"] == 100_201 and events["pending"] == 0, events
    assert http("GET", "/sandbox/stats")["records"] >= 100_201


def test_power(spool):
    plan({"status": 503})
    run(spool, "call:10", "kill", REVENIUM_SPOOL_SYNC="power")
    unplan()
    next_run(spool)
    expect(10)


# ---- the command ----

def command(spool, *arguments, status=0, **environment):
    env = dict(os.environ, REVENIUM_SPOOL_DIR=spool)
    env.update(environment)
    done = subprocess.run([os.path.join(TARGET, "revenium"), *arguments], env=env, capture_output=True, text=True,
                          timeout=PATIENCE)
    said = done.stdout + done.stderr
    assert done.returncode == status, (arguments, done.returncode, said)
    for secret in (KEY, os.environ["ANTHROPIC_API_KEY"], "someone@example.com"):
        assert secret not in said, said
    return done.stdout if status == 0 else said


def test_command_lists_shows_drops_and_sends(spool):
    assert "Nothing waits" in command(spool, "spool", "list")
    plan({"status": 503})
    run(spool, "call:3", "kill")
    listed = json.loads(command(spool, "spool", "list", "--json"))
    assert len(listed) == 3 and all(record["in_use_by"] is None for record in listed), listed
    first = listed[0]["id"]
    assert first in command(spool, "spool", "list")
    shown = command(spool, "spool", "show", first)
    assert first in shown and '"agent": "spool-test"' in shown, shown
    assert "no record" in command(spool, "spool", "show", "nothing", status=1)
    assert "several" in command(spool, "spool", "show", "msg_", status=1)
    command(spool, "spool", "drop", first)
    assert "wait still" in command(spool, "spool", "send", "--timeout", "1", status=1)
    assert "2 records" in command(spool, "status")
    unplan()
    assert "2 of 2" in command(spool, "spool", "send")
    expect(2)
    assert "Nothing to send" in command(spool, "spool", "send")
    no_trace(spool)


def test_command_and_a_living_process(spool):
    plan({"status": 503})
    client = Client(spool, "call:3", "say:made", "wait", "flush:60000", "exit")
    client.line()
    listed = json.loads(command(spool, "spool", "list", "--json"))
    assert [record["in_use_by"] for record in listed] == [client.process.pid] * 3, listed
    assert "living process" in command(spool, "spool", "drop", "--all", status=1)
    assert f"process {client.process.pid}" in command(spool, "status")
    unplan()
    client.go_on()
    client.end()
    expect(3)


def test_command_after_a_new_key(spool):
    plan({"status": 503})
    old = {"REVENIUM_METERING_API_KEY": "rev_mk_before_0123456789abcdef"}
    run(spool, "call:3", "kill", **old)
    status = json.loads(command(spool, "status", "--json"))
    [other] = status["spool"]["other_accounts"]
    assert other["records"] == 3, other
    unplan()
    command(spool, "spool", "send", "--from", "../../etc", status=1)
    command(spool, "spool", "send", "--from", other["fingerprint"])
    expect(3)


def test_command_drops_all(spool):
    plan({"status": 503})
    for _ in range(2):
        run(spool, "call:3", "kill")
    assert "6 records" in command(spool, "spool", "drop", "--all")
    assert "Nothing waits" in command(spool, "spool", "list")
    no_trace(spool)


def test_doctor(spool):
    said = command(spool, "doctor")
    assert "takes the key" in said and "WRONG" not in said, said
    assert not records(), "a check leaves no record"
    plan({"status": 401})
    assert "refuses the key" in command(spool, "doctor", status=1)
    unplan()
    for environment, word in (
        ({"REVENIUM_METERING_API_KEY": ""}, "there is no key"),
        ({"REVENIUM_METERING_BASE_URL": "http://no-such-host.invalid"}, "cannot be reached"),
        ({"REVENIUM_METERING_BASE_URL": "nonsense"}, "not an absolute"),
        ({"REVENIUM_SPOOL_MAX_BYTES": "few"}, "REVENIUM_SPOOL_MAX_BYTES"),
        ({"REVENIUM_SPOOL_DIR": "/proc/revenium"}, "cannot be used"),
        ({"ANTHROPIC_API_KEY": ""}, "no credential"),
    ):
        assert word in command(spool, "doctor", status=1, **environment), word


def test_doctor_json(spool):
    said = json.loads(command(spool, "doctor", "--json"))
    assert said["wrong"] == 0 and {"ok", "note"} >= {finding["level"] for finding in said["findings"]}, said
    said = json.loads(command(spool, "doctor", "--json", status=1, REVENIUM_METERING_API_KEY=""))
    wrong = [finding["message"] for finding in said["findings"] if finding["level"] == "wrong"]
    assert said["wrong"] == len(wrong) == 1 and "there is no key" in wrong[0], said


def test_doctor_says_where_records_wait(spool):
    plan({"status": 401})
    assert "records wait in the spool" in command(spool, "doctor", status=1)
    for nowhere in ("/proc/revenium", ""):
        said = command(spool, "doctor", status=1, REVENIUM_SPOOL_DIR=nowhere, XDG_STATE_HOME="", HOME="")
        assert "refuses the key; records wait in memory" in said, said
    unplan()


def test_command_not_understood(spool):
    for arguments in ([], ["spool"], ["spool", "drop"], ["nothing"], ["status", "--all"], ["--wrong"],
                      ["spool", "drop", "--all", "x"], ["doctor", "--timeout", "soon"]):
        assert "--help" in command(spool, *arguments, status=2), arguments
    assert "Exit status" in command(spool, "--help")


def main():
    names = sys.argv[1:] or [name[len("test_"):] for name in globals() if name.startswith("test_")]
    passed = failed = 0
    for name in names:
        scratch = tempfile.mkdtemp()
        http("DELETE", "/sandbox/records")
        unplan()
        started = time.monotonic()
        try:
            globals()["test_" + name](os.path.join(scratch, "spool"))
            passed += 1
            print(f"ok      {name} ({time.monotonic() - started:.1f} s)", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED  {name}", flush=True)
            traceback.print_exc()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
