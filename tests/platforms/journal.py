"""journal.py PROGRAM...: what a platform's library does beside the sandbox, through client.c: calls in every way, a killed
process, and its successor. PROGRAM: what starts client.c. Says what is wrong, or nothing."""

import collections
import json
import os
import subprocess
import sys
import tempfile
import urllib.request

SANDBOX = os.environ["SANDBOX_URL"]
PATH = "/meter/v2/ai/completions"


def http(method, path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(SANDBOX + path, data=data, method=method), timeout=120) as answer:
        return json.loads(answer.read() or b"null")


def run(spool, *steps, killed=False):
    env = dict(os.environ, REVENIUM_SPOOL_DIR=spool)
    done = subprocess.run([*sys.argv[1:], *steps], env=env, capture_output=True, text=True, timeout=300)
    if (done.returncode != 0) != killed:
        raise SystemExit(f"{' '.join(steps)}: status {done.returncode}\n{done.stderr}")
    return done.stderr


def files(spool):
    return [os.path.join(top, name) for top, _, names in os.walk(spool) for name in names]


def main():
    with tempfile.TemporaryDirectory() as scratch:
        # Two folders that are to be made, by the library, for nobody else.
        spool = os.path.join(scratch, "state", "revenium")
        http("POST", "/sandbox/plan", {"path": PATH, "answers": [{"status": 503}]})
        run(spool, "create:3", "stream:2", "queue:5", "wake", "pending:10", "hurry", killed=True)
        assert http("GET", "/sandbox/records") == [], "records arrived while the collector was down"
        assert len(files(spool)) == 1, files(spool)
        for folder in (os.path.dirname(spool), spool, os.path.dirname(files(spool)[0])):
            assert os.stat(folder).st_mode & 0o007 == 0, f"everybody can look into {folder}"
        # Two in one spool; the second dies too.
        run(spool, "create:2", "hurry", killed=True)
        http("DELETE", "/sandbox/plan")
        run(spool, "create:1", "flush:120000", "pending:0", "exit")
        arrived = http("GET", "/sandbox/records")
        assert len(arrived) == 13, f"{len(arrived)} of 13 records arrived"
        seen = collections.Counter(record["body"]["transactionId"] for record in arrived)
        assert all(times == 1 for times in seen.values()), seen.most_common(3)
        assert not [name for name in files(spool) if os.path.getsize(name) > 200], "records that arrived are on disk still"


main()
