"""How long the suites that have a long form go on: `make soak` sets PTFA_SOAK=1 and runs every test file that imports
this one."""

from __future__ import annotations

import os


def rounds(short: int, long: int) -> int:
    """How much of something there is to be: `short` in every test run, `long` in a soak."""
    return long if os.environ.get("PTFA_SOAK", "0") not in ("", "0") else short
