"""The spool's directory as the agent owns it: made, refused when it is unsafe, cleared of records that are journaled.

The only place of the agent, beside the journal, that writes to disk. What lies in the spool is read by `sources.spool`.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable
from contextlib import suppress

from .domain.errors import Problem, SettingsInvalid

MODE = 0o3733  # all may put records there, nobody may list them, everybody owns his own, the group is the agent's


def make(path: str) -> None:
    """Make a spool, unless there is one. OSError when it cannot be made."""
    if not os.path.isdir(path):
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        os.mkdir(path, 0o700)
        os.chmod(path, MODE)


def refuse_if_unsafe(path: str) -> None:
    """SettingsInvalid, with the command that mends it, for a spool in which users could read or replace the records of
    others. One that is not there yet, or cannot be looked at, is not refused."""
    try:
        status = os.lstat(path)
    except OSError:
        return
    mode = stat.S_IMODE(status.st_mode)
    mend = f"chmod {MODE:o} {shlex.quote(path)}"
    if not stat.S_ISDIR(status.st_mode):
        raise SettingsInvalid(Problem("the spool is no directory", path, "see [spool] path"))
    if status.st_uid not in (0, os.geteuid()) and os.geteuid() != 0:
        what = f"the spool belongs to another user (uid {status.st_uid})"
        raise SettingsInvalid(Problem(what, path, "let the agent's user own it"))
    if mode & stat.S_IROTH:
        raise SettingsInvalid(Problem(f"everybody may list the spool (mode {mode:04o})", path, mend))
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
        what = f"users may replace each other's records in the spool (mode {mode:04o})"
        raise SettingsInvalid(Problem(what, path, mend))


def remove(paths: Iterable[str]) -> None:
    """Drop files. What cannot be dropped is read again at the next start, and adds nothing."""
    for path in paths:
        with suppress(OSError):
            os.unlink(path)
