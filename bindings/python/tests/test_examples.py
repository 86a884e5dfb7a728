"""The examples print what those of the other languages print."""

import os
import subprocess

import pytest
from conftest import BINDINGS

ROOT = BINDINGS.parent
OWN = {
    "dropin": "You said: Greet the world in five words.\nYou said: Say it again, slowly.\n14 input tokens, 8 output tokens\n",
    "middleware/getting_started": "You said: Greet the world in five words.\n16 input tokens, 10 output tokens\n",
    "middleware/advanced": "You said: Summarize ticket 4711.\nYou said: And ticket 4712.\n",
    "middleware/streaming": "You said: Name the planets.\n7 output tokens\nYou said: Now the moons.\n",
    "middleware/bedrock": "You said: Greet the world from a region.\nYou said: Now piece by piece.\n",
    "decorators": "metered: yes\nYou said: Greet the world.\n"
    "You said: Count to 1.\nYou said: Count to 2.\nYou said: Count to 3.\nYou said: Piece by piece.\n",
}
RECORDS = {"dropin": 2, "tools": 2, "decorators": 5, "scopes": 6, "bedrock": 2, "record": 2, "tool_events": 0}
RECORDS |= {"middleware/advanced": 2, "middleware/streaming": 2, "middleware/bedrock": 2}


SAME = ["getting_started", "metadata", "streaming", "tools", "scopes", "status", "bedrock", "otel", "record", "tool_events"]


@pytest.mark.parametrize("name", [*SAME, *OWN])
def test_example(sandbox, name, tmp_path):
    if name in OWN:
        pytest.importorskip("anthropic")
    expected = OWN.get(name) or (ROOT / "examples" / "expected" / f"{name}.txt").read_text()
    aws = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"} if name.endswith("bedrock") else {}
    environment = {**os.environ, **aws, "REVENIUM_SPOOL_DIR": str(tmp_path)}
    command = [str(ROOT / "examples" / "python" / "run"), name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    output = done.stdout.split("\n{\n")[0] + ("\n" if "\n{\n" in done.stdout else "")
    assert (done.returncode, done.stderr, output) == (0, "", expected)
    assert len(sandbox.records(RECORDS.get(name, 1))) == RECORDS.get(name, 1)


def test_every_example_is_run():
    examples = ROOT / "examples" / "python"
    names = {str(path.relative_to(examples).with_suffix("")) for path in examples.glob("**/*.py")}
    # The demo runs these: `async` wants pauses in its streams, `jobs` and `budget` a key and rules of their own.
    assert names == {*SAME, "async", "jobs", "budget", *OWN}
