"""The one line that `exec` may write beside what the command prints."""

from __future__ import annotations

import os

_said: list[str] = []


def complain(what: str) -> None:
    """One line on stderr, once in a process; nothing where there is no stderr."""
    if _said:
        return
    _said.append(what)
    line = "".join(c if c.isprintable() else "?" for c in f"proton-tf-agent: exec: {what}")
    try:
        os.write(2, f"{line}\n".encode("utf-8", "replace"))
    except OSError:
        return  # closed, or nobody reads it
