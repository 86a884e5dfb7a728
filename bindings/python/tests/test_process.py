"""However a process ends or forks, it does as asked: no crash, no hang, no lost record."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest
from conftest import SPOOLS, control, params, paths, run

BEGIN = f"""
import asyncio, os, signal, sys, threading, time
import librevenium
P = {params()!r}
def ask(agent, **more): return librevenium.messages.create(**P, usage_metadata={{"agent": agent}}, **more)
"""
COLLECTOR = "/meter/v2/ai/completions"
ENDS = {
    "return": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "exception": ("raise KeyError('on purpose')", 1),
    "os._exit": ("os._exit(4)", 4),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -signal.SIGTERM),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL); time.sleep(60)", -signal.SIGKILL),
}


def send_the_rest(spool):
    """Another process takes over what lies in the spool."""
    assert run("import librevenium; librevenium.init(); print(librevenium.flush(20000))", spool=spool) == (0, "True\n", "")


@pytest.mark.parametrize("name", ENDS)
def test_no_end_loses_a_record(sandbox, name):
    how, expected = ENDS[name]
    spool = tempfile.mkdtemp(dir=os.path.dirname(SPOOLS))
    # Revenium is down until the process has ended: what it had is in the spool, and goes out with the next.
    control("plan", "POST", {"path": COLLECTOR, "answers": [{"status": 503}]})
    program = f"""{BEGIN}
ask("sync")
async def main():
    await asyncio.gather(*(librevenium.async_messages.create(**P) for _ in range(5)))
asyncio.run(main())
{how}
"""
    status, _, err = run(program, env={"REVENIUM_FLUSH_AT_EXIT_MS": "0", "REVENIUM_LOG_LEVEL": "CRITICAL"}, spool=spool)
    assert status == expected
    assert name == "exception" or err == ""
    assert sandbox.records(0) == []
    control("plan", "DELETE")
    send_the_rest(spool)
    assert len(sandbox.records(6)) == 6


@pytest.mark.parametrize("name", ["return", "sys.exit", "exception"])
def test_calls_under_way_at_the_end_are_recorded(sandbox, name):
    how, expected = ENDS[name]
    base = sandbox.place({"deltas": 100000, "gap_ms": 20})
    program = f"""{BEGIN}
slow = librevenium.Anthropic(base_url={base!r})
streams = [slow.messages.create(**P, stream=True) for _ in range(3)]
def read():
    for event in slow.messages.create(**P, stream=True): pass
threading.Thread(target=read, daemon=True).start()
while librevenium.status().calls_in_flight < 4: time.sleep(0.005)
next(streams[0])
{how}
"""
    status, _, err = run(program)
    assert status == expected
    assert name == "exception" or err == ""
    assert [record["stopReason"] for record in sandbox.records(4)] == ["CANCELLED"] * 4


def test_an_idle_event_loop_ends(sandbox):
    program = f"""{BEGIN}
async def main():
    stream = await librevenium.async_messages.create(**P, stream=True)
    await librevenium.async_messages.create(**P)
asyncio.run(main())
"""
    assert run(program) == (0, "", "")
    assert len(sandbox.records(2)) == 2


def test_shutdown(sandbox):
    base = sandbox.place("stall")
    program = f"""{BEGIN}
slow = librevenium.Anthropic(base_url={base!r})
seen = []
def wait():
    try: slow.messages.create(**P)
    except librevenium.APICancelledError as error: seen.append(error.code)
thread = threading.Thread(target=wait)
thread.start()
while librevenium.status().calls_in_flight < 1: time.sleep(0.005)
time.sleep(0.1)
assert librevenium.shutdown() is True
thread.join()
assert seen == ["REVENIUM_E_CANCELLED"], seen
for call in (lambda: ask("x"), lambda: asyncio.run(librevenium.async_messages.create(**P)), librevenium.status):
    try: call()
    except librevenium.ReveniumError as error: assert error.code == "REVENIUM_E_CLOSED", error.code
    else: raise SystemExit(1)
librevenium.init(selective_metering=True)
try: librevenium.init(max_retries=1)
except librevenium.ReveniumError as error: assert error.code == "REVENIUM_E_ALREADY"
assert ask("again", extra_body={{"revenium": {{"meter": True}}}}).info["metered"] is True
try: librevenium.init(nonsense=1)
except librevenium.ReveniumError as error: assert error.code == "REVENIUM_E_CONFIG"
asyncio.run(librevenium.ashutdown())
"""
    assert run(program) == (0, "", "")
    assert [record.get("agent") for record in sandbox.records(2)][1] == "again"


def test_as_on_windows_where_threads_wait(sandbox):
    base = sandbox.place({"deltas": 5, "gap_ms": 20})
    program = f"""{BEGIN}
import librevenium._core
librevenium._core.HAS_WAKE = False
slow = librevenium.AsyncAnthropic(base_url={base!r})
async def main():
    events = [event.type async for event in await slow.messages.create(**P, stream=True)]
    replies = await asyncio.gather(*(slow.messages.create(**P) for _ in range(200)))
    return events[-1], len(replies)
ask("sync")
assert [event.type for event in librevenium.messages.create(**P, stream=True)][-1] == "message_stop"
for _ in range(2): print(*asyncio.run(main()))
"""
    assert run(program) == (0, "message_stop 200\n" * 2, "")
    assert len(sandbox.records(404)) == 404


def test_a_forked_child_starts_afresh(sandbox):
    program = f"""{BEGIN}
ask("parent before")
asyncio.run(librevenium.async_messages.create(**P, usage_metadata={{"agent": "parent before"}}))
with librevenium.usage_metadata(organizationName="Acme"):
    ask("scope made in the parent")
    children = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            ask(f"child {{number}}")
            asyncio.run(librevenium.async_messages.create(**P, usage_metadata={{"agent": f"async child {{number}}"}}))
            os._exit(0 if librevenium.flush(20000) else 1)
        children.append(pid)
    ask("parent after")
    for pid in children: assert os.waitpid(pid, 0)[1] == 0
ask("end")
"""
    assert run(program) == (0, "", "")
    seen = sorted(record.get("agent") for record in sandbox.records(11))
    assert seen == sorted(
        ["parent before"] * 2
        + ["scope made in the parent", "parent after", "end"]
        + [f"{kind} {number}" for number in range(3) for kind in ("child", "async child")]
    )
    of_children = [record for record in sandbox.records(11) if "child" in record["agent"]]
    assert all(record["organizationName"] == "Acme" for record in of_children)


def test_a_fork_while_calls_are_under_way(sandbox):
    base = sandbox.place({"deltas": 20, "gap_ms": 20})
    program = f"""{BEGIN}
slow = librevenium.Anthropic(base_url={base!r})
stream = slow.messages.create(**P, stream=True)
next(stream)
threads = [threading.Thread(target=lambda: slow.messages.create(**P)) for _ in range(4)]
for thread in threads: thread.start()
pid = os.fork()
if pid == 0:
    try: list(stream)
    except librevenium.ReveniumError as error: assert error.code == "REVENIUM_E_FORKED", error.code
    else: os._exit(2)
    ask("child")
    os._exit(0 if librevenium.flush(20000) else 1)
assert os.waitpid(pid, 0)[1] == 0
assert "message_stop" in [event.type for event in stream]
for thread in threads: thread.join()
"""
    assert run(program) == (0, "", "")
    records = sandbox.records(6)
    assert [record["stopReason"] for record in records] == ["END"] * 6


def test_multiprocessing(sandbox):
    program = f"""{BEGIN}
import multiprocessing
def work(number):
    ask(f"w{{number}}")
    return number
if __name__ == "__main__":
    ask("parent")
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(work, range(12)) == list(range(12))
        pool.close()
        pool.join()
    assert librevenium.flush(20000)
"""
    spool = tempfile.mkdtemp(dir=os.path.dirname(SPOOLS))
    assert run(program, spool=spool) == (0, "", "")
    # Its children end without exit handlers: what they had not sent lies in the spool.
    send_the_rest(spool)
    assert len({record["agent"] for record in sandbox.records(13)}) == 13


GUNICORN = """
import json, os
import librevenium

P = %r
def ask(agent): return librevenium.messages.create(**P, usage_metadata={"agent": agent})
ask("before the fork")
def app(environ, start_response):
    text = ask(environ["PATH_INFO"]).text
    start_response("200 OK", [("content-type", "text/plain"), ("x-worker", str(os.getpid()))])
    return [text.encode()]
"""


def test_gunicorn_with_the_app_loaded_before_its_workers_fork(sandbox, tmp_path):
    pytest.importorskip("gunicorn")
    (tmp_path / "host.py").write_text(GUNICORN % params())
    place = tmp_path / "socket"
    options = ["--preload", "--workers", "2", "--bind", f"unix:{place}", "--chdir", str(tmp_path), "--log-level", "error"]
    spool = tempfile.mkdtemp(dir=os.path.dirname(SPOOLS))
    env = {**os.environ, **paths(), "REVENIUM_SPOOL_DIR": spool}
    host = subprocess.Popen([sys.executable, "-B", "-m", "gunicorn", *options, "host:app"], env=env)
    try:
        for number in range(12):
            status, worker, text = get(place, f"/{number}")
            assert (status, text) == (200, "You said: Hello") and worker != str(host.pid)
        host.terminate()
        assert host.wait(60) == 0
    finally:
        host.kill()
        host.wait()
    send_the_rest(spool)
    agents = {record["agent"] for record in sandbox.records(13)}
    assert agents == {"before the fork", *(f"/{number}" for number in range(12))}


def get(place, path):
    """One request over a socket, which the server opens when it is there."""
    deadline = time.monotonic() + 60
    connection = http.client.HTTPConnection("localhost")
    while True:
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(place))
            break
        except OSError:
            connection.sock.close()
            assert time.monotonic() < deadline, "gunicorn did not start"
            time.sleep(0.05)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers["x-worker"], text


# Interpreters that share the main one's lock, and one with a lock of its own where Python has them.
SUBINTERPRETERS = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
TEXT = '''
import os, sys
sys.path[:0] = %r
try:
    import librevenium
    text = librevenium.messages.create(**%r, usage_metadata={"agent": "inner"}).text
except ImportError:
    text = "refused"
os.write(%d, text.encode() + b"|")
'''
def inner(*how):
    try: made = interpreters.create(*how)
    except (TypeError, ValueError): return ["no such interpreter"]
    reading, writing = os.pipe()
    for _ in range(2):
        try: interpreters.run_string(made, TEXT % (sys.path, P, writing))
        except Exception as error: os.write(writing, f"{type(error).__name__}: {error}|".encode())
    interpreters.destroy(made)
    os.close(writing)
    with open(reading) as said: return said.read().rstrip("|").split("|")
for how in ((), ("isolated",), ("legacy",)):
    print(*sorted(set(inner(*how))), sep="; ")
"""


def test_subinterpreters_work_or_refuse(sandbox):
    status, out, err = run(BEGIN + SUBINTERPRETERS + "print(ask('main').text)")
    *inner, main = out.splitlines()
    assert (status, main) == (0, "You said: Hello"), err
    assert len(inner) == 3 and set(inner) <= {"You said: Hello", "refused", "no such interpreter"}, out
