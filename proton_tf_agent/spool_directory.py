"""The spool's directory as the agent owns it: made, and cleared of records that are in the journal.

The only place of the agent, beside the journal, that writes to disk. What lies in the spool is read by `sources.spool`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

MODE = 0o3733  # all may put records there, nobody may list them, everybody owns his own, the group is the agent's


def make(path: str) -> None:
    """Make a spool, unless there is one. OSError when it cannot be made."""
    if not os.path.isdir(path):
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        os.mkdir(path, 0o700)
        os.chmod(path, MODE)


def remove(paths: Iterable[str]) -> None:
    """Drop files. What cannot be dropped is read again at the next start, and adds nothing."""
    for path in paths:
        with suppress(OSError):
            os.unlink(path)
