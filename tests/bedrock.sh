#!/bin/sh
# bedrock.sh: calls through AWS Bedrock, end to end through the C ABI, with botocore as the second opinion on signatures
# and frames. Arguments go to unittest.
set -eu
cd "$(dirname -- "$0")/.."
tests/need.sh strace strace
[ -x out/venv/bin/python ] || python3 -m venv out/venv
out/venv/bin/python -c 'import botocore' 2>/dev/null || out/venv/bin/pip install -q botocore==1.44.5
exec tests/with_sandbox.sh out/venv/bin/python -B -m unittest discover -s tests/bedrock "$@"
