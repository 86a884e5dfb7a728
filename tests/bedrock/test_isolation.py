"""A process that calls Anthropic directly touches nothing of AWS: no file, no socket. Observed from outside."""

import os
import re
import subprocess
import sys
import tempfile

from revenium import *

MANY_LOOKS = """
import sys
sys.path.insert(0, "tests/bedrock")
from revenium import *
assert lib.revenium_init(None, 0, None) == 0
for _ in range(300):
    status()
assert create().code == "OK"
"""
PROGRAM = """
import sys
sys.path.insert(0, "tests/bedrock")
from revenium import *
text, detail = b"{}", H()
assert lib.revenium_init(text, 2, C.byref(detail)) == 0
assert create().code == "OK" and stream()[1].code == "OK"
status()
lib.revenium_flush(5000)
"""


class Isolation(BedrockTest):
    def observed(self, program=PROGRAM, **environment):
        """The files of AWS that the process opened, and the addresses it connected to."""
        environment = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
        with tempfile.TemporaryDirectory() as home:
            os.makedirs(home + "/.aws")
            for name in ["config", "credentials"]:
                with open(f"{home}/.aws/{name}", "w") as file:
                    file.write("[default]\naws_access_key_id = AKIDFILE12345678901\naws_secret_access_key = f\n")
            environment["HOME"] = home
            trace = ["strace", "-f", "-qq", "-e", "trace=file,connect", "-o", home + "/trace", "-s", "200"]
            subprocess.run(trace + [sys.executable, "-B", "-c", program], env=environment, check=True)
            with open(home + "/trace") as file:
                lines = file.read().splitlines()
        files = [line for line in lines if "/.aws" in line]
        peers = {tuple(re.findall(r'sin6?_port=htons\((\d+)\).*?"([^"]+)"', line)) for line in lines if "connect(" in line}
        return files, {peer[0] for peer in peers if peer}

    def test_a_direct_process_opens_no_file_and_no_socket_of_aws(self):
        here = (SANDBOX.rsplit(":", 1)[1], "127.0.0.1")
        away = dict.fromkeys(["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"])
        self.assertEqual(self.observed(ANTHROPIC_API_KEY="sk-ant-sandbox", **away), ([], {here}))
        self.assertEqual({sent["service"] for sent in sandbox("GET", "/sandbox/requests")}, {"anthropic"})
        # What is looked for is there to be found: Bedrock reads the profile.
        keys = dict.fromkeys(KEYS)
        files, peers = self.observed(**{**away, **keys})
        self.assertTrue(any("/.aws/credentials" in line for line in files))
        self.assertEqual(peers, {here})

    def test_profiles_are_not_read_by_each_look_and_call(self):
        away = dict.fromkeys(["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", *KEYS])
        files, _ = self.observed(MANY_LOOKS, **away)
        self.assertTrue(files)
        self.assertLess(len(files), 100)
