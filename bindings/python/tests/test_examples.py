"""The examples print what those of the other languages print."""

import os
import subprocess

import pytest
from conftest import BINDINGS

ROOT = BINDINGS.parent
OWN = {
    "dropin": "You said: Greet the world in five words.\nYou said: Say it again, slowly.\n14 input tokens, 8 output tokens\n",
    "decorators": "metered: yes\nYou said: Greet the world.\n"
    "You said: Count to 1.\nYou said: Count to 2.\nYou said: Count to 3.\nYou said: Piece by piece.\n",
}
RECORDS = {"tools": 2, "dropin": 2, "decorators": 5, "scopes": 6, "bedrock": 2}


@pytest.mark.parametrize("name", ["getting_started", "metadata", "streaming", "scopes", "status", "bedrock", "otel", "tools", *OWN])
def test_example(sandbox, name, tmp_path):
    if name in OWN:
        pytest.importorskip("anthropic")
    expected = OWN.get(name) or (ROOT / "examples" / "expected" / f"{name}.txt").read_text()
    aws = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"} if name == "bedrock" else {}
    environment = {**os.environ, **aws, "REVENIUM_SPOOL_DIR": str(tmp_path)}
    command = [str(ROOT / "examples" / "python" / "run"), name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    output = done.stdout.split("\n{\n")[0] + ("\n" if "\n{\n" in done.stdout else "")
    assert (done.returncode, done.stderr, output) == (0, "", expected)
    assert len(sandbox.records(RECORDS.get(name, 1))) == RECORDS.get(name, 1)


def test_every_example_is_run():
    names = {path.stem for path in (ROOT / "examples" / "python").glob("*.py")}
    # The demo runs `async`, with pauses in its streams.
    assert names == {"getting_started", "metadata", "streaming", "scopes", "status", "bedrock", "otel", "tools", "async", *OWN}
