"""Token counts as whole numbers, however a gateway wrote them."""

import re

COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def tidy(usage):
    """`usage` with whole numbers for floats and for numbers in quotes, and 0 for what is no count. None stays."""
    if isinstance(usage, dict):
        for name in COUNTS:
            given = usage.get(name)
            if given is not None and type(given) is not int:
                usage[name] = _count(given)
    return usage


def _count(given):
    if isinstance(given, str):
        given = float(given) if NUMBER.fullmatch(given) else 0
    return int(given) if type(given) in (int, float) and 0 < given < 2**53 else 0
