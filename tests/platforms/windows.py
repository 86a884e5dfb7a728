"""windows.py RUNNER DIRECTORY PREFIX: what Windows has in places and ways of its own; the user's files are below Wine's PREFIX.
Says what is wrong, or nothing."""

import glob
import json
import os
import subprocess
import sys
import tempfile
import urllib.request

SANDBOX = os.environ["SANDBOX_URL"]
RUNNER, DIRECTORY, PREFIX = sys.argv[1:]
(LOCAL,) = glob.glob(os.path.join(PREFIX, "drive_c/users/*/AppData/Local"))
PROFILE = os.path.dirname(os.path.dirname(LOCAL))


def http(method, path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(SANDBOX + path, data=data, method=method), timeout=120) as answer:
        return json.loads(answer.read() or b"null")


def begin(program, *arguments, without=(), **more):
    env = {name: value for name, value in os.environ.items() if name not in without} | more
    # Files: Wine's services, which start with one program and end with the last, would hold a pipe open.
    out, errors = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
    process = subprocess.Popen([RUNNER, os.path.join(DIRECTORY, program), *arguments], env=env, stdout=out, stderr=errors)
    process.told = out, errors
    return process


def end(process, killed=False):
    process.wait(timeout=300)
    for file in process.told:
        file.seek(0)
    out, errors = (file.read() for file in process.told)
    if (process.returncode != 0) != killed:
        raise SystemExit(f"{' '.join(process.args)}: status {process.returncode}\n{out}{errors}")
    return out


def run(*arguments, killed=False, **how):
    return end(begin(*arguments, **how), killed)


def waiting(**how):
    return json.loads(run("revenium.exe", "spool", "list", "--json", **how))


def the_spool_is_in_the_local_application_data():
    """A client is killed; the command finds its records there, and sends them."""
    nowhere = {"without": ["REVENIUM_SPOOL_DIR"]}
    journals = os.path.join(LOCAL, "revenium", "*", "*.journal")
    for journal in glob.glob(journals):
        os.remove(journal)
    http("POST", "/sandbox/plan", {"path": "/meter/v2/ai/completions", "answers": [{"status": 503}]})
    run("client.exe", "create:2", "pending:2", "hurry", killed=True, **nowhere)
    assert len(glob.glob(journals)) == 1, glob.glob(journals)
    found = waiting(**nowhere)
    assert len(found) == 2, found
    assert all(record["in_use_by"] is None for record in found), found
    assert found[0]["id"] in run("revenium.exe", "spool", "show", found[0]["id"], **nowhere)
    http("DELETE", "/sandbox/plan")
    run("revenium.exe", "spool", "send", **nowhere)
    assert waiting(**nowhere) == []
    arrived = sorted(record["body"]["transactionId"] for record in http("GET", "/sandbox/records"))
    assert arrived == sorted(record["id"] for record in found), arrived
    run("revenium.exe", "doctor", **nowhere)


def a_journal_is_locked_while_its_process_lives():
    """Neither the command nor another process takes what is in use."""
    http("DELETE", "/sandbox/records")
    http("POST", "/sandbox/plan", {"path": "/meter/v2/ai/completions", "answers": [{"status": 503}]})
    client = begin("client.exe", "create:2", "flush:240000", "exit")
    while len(found := waiting()) < 2:
        assert client.poll() is None, end(client)
    assert all(record["in_use_by"] for record in found), found
    run("client.exe", "create:1", "pending:1", "hurry", killed=True)
    run("revenium.exe", "spool", "send", "--timeout", "1", killed=True)
    assert sorted(bool(record["in_use_by"]) for record in waiting()) == [False, True, True], waiting()
    http("DELETE", "/sandbox/plan")
    end(client)
    assert len({record["body"]["transactionId"] for record in http("GET", "/sandbox/records")}) >= 2
    run("revenium.exe", "spool", "send")
    assert len(http("GET", "/sandbox/records")) == 3 and waiting() == []


def credentials_come_from_the_shell():
    """The profile is below the user's, and what its program is called with is cmd's."""
    shell = [os.path.join(PROFILE, "key.json"), os.path.join(PROFILE, ".aws", "config")]
    os.makedirs(os.path.dirname(shell[1]), exist_ok=True)
    with open(shell[0], "w") as key:
        json.dump({"Version": 1, "AccessKeyId": "AKIDWINDOWS", "SecretAccessKey": "secret"}, key)
    with open(shell[1], "w") as config:
        config.write('[default]\nregion = eu-west-1\ncredential_process = type "%USERPROFILE%\\key.json" & rem "quoted"\n')
    bare = ["ANTHROPIC_API_KEY", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"]
    run("client.exe", "create:1", "stream:1", "flush:60000", "exit", without=bare, REVENIUM_PROVIDER="bedrock")
    asked = http("GET", "/sandbox/requests?service=bedrock")
    assert len(asked) == 2, asked
    for request in asked:
        assert "Credential=AKIDWINDOWS/" in request["headers"]["authorization"], request["headers"]
    for file in shell:
        os.remove(file)


the_spool_is_in_the_local_application_data()
a_journal_is_locked_while_its_process_lives()
credentials_come_from_the_shell()
