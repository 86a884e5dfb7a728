"""A program that makes metered calls through the C ABI, and then ends in the way it is told to.

client.py STEP...: `call:N`, `tool:N` (N tool events), `fork:N` (N children that run the steps after `/`), `flush:MS`, `print` (status as JSON),
`wait` (for a line on standard input), `pause` (for a signal), `limit:BYTES` (largest file it may write), `say:TEXT`, `exit`, `_exit`, `kill`,
`abort`, `term`, `shutdown:MS`, `exec` (becomes a program that does nothing), `thread:N` (N calls on a thread that ends),
`storm:N` (N children that make a call each, forked while four threads make 100 calls each), `twins:N` (N calls through each
of two copies of the library at once), `touch` (opens and closes every file of the spool), `cycle:N` (N times init, a call,
shutdown), `memory` (bytes resident, threads, descriptors).
"""

import ctypes
import json
import os
import resource
import signal
import sys
import threading

NTS = ctypes.c_size_t(-1)


def load(path):
    library = ctypes.CDLL(path)
    library.revenium_result_json.restype = ctypes.c_char_p
    library.revenium_result_text.restype = ctypes.c_char_p
    return library


lib = load(os.environ["REVENIUM_LIBRARY"])
REQUEST = json.dumps({
    "model": "claude-sonnet-4-5", "max_tokens": 16,
    "messages": [{"role": "user", "content": "hello"}],
    "usage_metadata": {"agent": "spool-test", "subscriber": {"email": "someone@example.com"}},
}).encode()


def call(count, library=None):
    library = library or lib
    for _ in range(count):
        result = ctypes.c_uint64()
        code = library.revenium_messages_create(REQUEST, NTS, ctypes.c_uint64(0), ctypes.byref(result))
        library.revenium_release(result)
        if code != 0:
            say(f"call failed: {code}")
            os._exit(1)


def tool(count):
    for n in range(count):
        event = json.dumps({"toolId": "search", "usageMetadata": {"n": n}}).encode()
        code = lib.revenium_tool_event(event, NTS, ctypes.c_uint64(0), None)
        if code != 0:
            say(f"call failed: {code}")
            os._exit(1)


def say(text):
    os.write(1, (text + "\n").encode())


def status():
    result = ctypes.c_uint64()
    lib.revenium_status_json(ctypes.byref(result))
    length = ctypes.c_size_t()
    text = lib.revenium_result_json(result, ctypes.byref(length)).decode()
    say(json.dumps(json.loads(text)))
    lib.revenium_release(result)


def fork(count, steps):
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            run(steps)
            os._exit(0)
        children.append(child)
    return children


def run(steps):
    children = []
    for at, step in enumerate(steps):
        name, _, argument = step.partition(":")
        number = int(argument) if argument.isdigit() else 0
        if name == "call":
            call(number)
        elif name == "tool":
            tool(number)
        elif name == "thread":
            thread = threading.Thread(target=call, args=(number,))
            thread.start()
            thread.join()
        elif name == "twins":
            # A second copy of the library, as a plugin may bring it.
            twin = load(os.environ["REVENIUM_TWIN"])
            threads = [threading.Thread(target=call, args=(number, library)) for library in (lib, twin)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        elif name == "touch":
            # What backup programs and curious hosts do.
            for top, _, names in os.walk(os.environ["REVENIUM_SPOOL_DIR"]):
                for each in names:
                    with open(os.path.join(top, each), "r+b") as file:
                        file.read(1)
        elif name == "cycle":
            for _ in range(number):
                lib.revenium_init(None, ctypes.c_size_t(0), ctypes.byref(ctypes.c_uint64()))
                call(1)
                lib.revenium_shutdown(10000)
        elif name == "memory":
            with open("/proc/self/statm") as file:
                say(f"{int(file.read().split()[1]) * resource.getpagesize()} {len(os.listdir('/proc/self/task'))} "
                    f"{len(os.listdir('/proc/self/fd'))}")
        elif name == "fork":
            mark = steps.index("/", at)
            children += fork(number, steps[mark + 1:])
            steps[mark:] = []
        elif name == "storm":
            # Forks in the midst of everything that other threads do.
            threads = [threading.Thread(target=call, args=(100,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for _ in range(number):
                for child in fork(1, ["call:1", "flush:60000"]):
                    os.waitpid(child, 0)
            for thread in threads:
                thread.join()
        elif name == "join":
            for child in children:
                os.waitpid(child, 0)
        elif name == "children":
            say(" ".join(map(str, children)))
        elif name == "flush":
            say(f"flush {lib.revenium_flush(number)}")
        elif name == "shutdown":
            say(f"shutdown {lib.revenium_shutdown(number)}")
        elif name == "print":
            status()
        elif name == "say":
            say(argument)
        elif name == "wait":
            sys.stdin.readline()
        elif name == "pause":
            signal.pause()
        elif name == "limit":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (number, resource.RLIM_INFINITY))
        elif name == "unlimit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        elif name == "exit":
            sys.exit(0)
        elif name == "_exit":
            os._exit(0)
        elif name == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif name == "term":
            os.kill(os.getpid(), signal.SIGTERM)
        elif name == "abort":
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.abort()
        elif name == "exec":
            os.execv("/bin/sleep", ["sleep", "600"])
        else:
            sys.exit(f"no such step: {step}")


run(sys.argv[1:])
