"""The exec sink: every notification to a program of the operator's, on its standard input.

The program is the operator's and nobody else's: before each run every place on the way to it, links included, is looked
at. None may lie below a watch root, belong to another than root or the agent, or be open for others to write; a path in
a job's hands would make its author the agent.

What the program prints is not kept: it may hold anything, and the log holds nothing foreign. Its exit status is its
answer (sysexits(3): 75 is EX_TEMPFAIL). Nothing of its process group outlives it.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from ..cloud_event import event
from ..domain.notification import Notification
from ..domain.outbox import Outcome, OutcomeKind

TEMPORARY = 75
GRACE_S = 2.0  # between SIGTERM and SIGKILL
_UNKILLED_S = 5.0  # what a kernel may hold up even then is not waited for longer
_MOST_LINKS = 40  # path_resolution(7)
_PREFIX = "PROTON_TF_AGENT_"


class ExecSink:
    """Runs `program` with these arguments for each notification, for at most `timeout` seconds.

    roots are the watch roots; source is who tells.
    """

    def __init__(
        self,
        name: str,
        program: str,
        arguments: Sequence[str],
        timeout: float,
        roots: Sequence[str],
        source: str,
    ) -> None:
        self.name = name
        self._program = program
        self._arguments = tuple(arguments)
        self._timeout = timeout
        self._roots = tuple(roots)
        self._source = source
        self._closed = False

    def wants(self, notification: Notification) -> bool:
        """True: a program can be told everything."""
        return True

    def send(self, notification: Notification) -> Outcome:
        """Run the program once. One that was ended, or ended by a signal, may have done its work: that is ambiguous."""
        if self._closed:
            return Outcome(OutcomeKind.UNAVAILABLE, "SinkClosed")
        real = self._looked_at()
        if isinstance(real, Outcome):
            return real
        body = json.dumps(event(notification, self._source), separators=(",", ":")).encode("ascii") + b"\n"
        try:
            program = self._start(real, body, self._environment(notification))
        except OSError as error:
            return Outcome(OutcomeKind.UNAVAILABLE, _name(error))
        return _outcome(_status_of(program, self._timeout))

    def try_out(self) -> Outcome:
        """Look whether the program may be run, and do not run it."""
        real = self._looked_at()
        if isinstance(real, Outcome):
            return real
        may_run = os.access(real, os.X_OK)
        return Outcome(OutcomeKind.ACCEPTED) if may_run else Outcome(OutcomeKind.UNAVAILABLE, "EACCES")

    def close(self) -> None:
        """Take no more notifications; a program at work ends by itself or with its timeout."""
        self._closed = True

    def _looked_at(self) -> str | Outcome:
        """Where the program is; an Outcome when it must not be run, or is not there."""
        try:
            return _trusted(self._program, [os.path.realpath(root) for root in self._roots])
        except _Untrusted as untrusted:
            return Outcome(OutcomeKind.UNAVAILABLE, untrusted.code)
        except OSError as error:
            return Outcome(OutcomeKind.UNAVAILABLE, _name(error))

    def _start(self, real: str, body: bytes, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with open(os.memfd_create("notification"), "wb") as file:
            file.write(body)
            file.seek(0)
            return subprocess.Popen(  # noqa: S603 - the operator's own, and looked at
                [self._program, *self._arguments],
                executable=real,
                stdin=file,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=environment,
                start_new_session=True,
            )

    def _environment(self, told: Notification) -> dict[str, str]:
        """All that the program finds in its environment: nothing of the agent's, whose credentials may be there."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            _PREFIX + "SINK": self.name,
            _PREFIX + "NOTIFICATION_ID": told.notification_id,
            _PREFIX + "RUN_ID": told.run_id,
            _PREFIX + "RUN_STATUS": told.run_status.value,
            _PREFIX + "STATUS": told.status.value,
        }


def _outcome(status: int | None) -> Outcome:
    if status is None:
        return Outcome(OutcomeKind.UNAVAILABLE, "ProgramTimedOut", ambiguous=True)
    if status < 0:
        return Outcome(OutcomeKind.UNAVAILABLE, f"Signal{-status}", ambiguous=True)
    if status == TEMPORARY:
        return Outcome(OutcomeKind.UNAVAILABLE, f"ExitStatus{status}")
    if status:
        return Outcome(OutcomeKind.INVALID, f"ExitStatus{status}")
    return Outcome(OutcomeKind.ACCEPTED)


# --- how it ends ------------------------------------------------------------------------------------------------


def _status_of(program: subprocess.Popen[bytes], timeout: float) -> int | None:
    """How it ended, as subprocess has it; None when it had to be ended. Its group is gone afterwards.

    The group is signalled while the program itself is not reaped: until then its number is nobody else's.
    """
    in_time = _has_ended(program.pid, timeout)
    if not in_time:
        _signal(program.pid, signal.SIGTERM)
        _has_ended(program.pid, GRACE_S)
    _signal(program.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        program.wait(_UNKILLED_S)
    return program.returncode if in_time else None


def _has_ended(pid: int, seconds: float) -> bool:
    """Wait until a child has ended, without reaping it; whether it has within so many seconds."""
    end, pause = time.monotonic() + seconds, 0.001
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return True


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


# --- whose it is ------------------------------------------------------------------------------------------------


class _Untrusted(Exception):
    """A program that others may have written. code says why, in a word."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def _trusted(program: str, roots: Sequence[str]) -> str:
    """Where a program really is. _Untrusted if it may be anybody else's, OSError if it is not there."""
    found = "/"
    for found, status in _way_to(program):
        if any(found == root or found.startswith(root + "/") for root in roots):
            raise _Untrusted("ProgramBelowWatchRoot")
        if status.st_uid not in (0, os.geteuid()):
            raise _Untrusted("ProgramIsNotOurs")
        # In a sticky directory (/tmp) nobody can take away or rename what is somebody else's.
        is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if not stat.S_ISLNK(status.st_mode) and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not is_sticky:
            raise _Untrusted("ProgramOpenToOthers")
    if not stat.S_ISREG(status.st_mode):
        raise _Untrusted("ProgramIsNoFile")
    return found


def _way_to(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every place that the kernel passes on its way to an absolute path, links themselves too; the last is what it
    leads to."""
    here, left, links = "/", [part for part in path.split("/") if part], 0
    yield here, os.lstat(here)
    while left:
        part = left.pop(0)
        if part in (".", ".."):
            here = os.path.dirname(here) if part == ".." else here
            continue
        place = os.path.join(here, part)
        status = os.lstat(place)
        yield place, status
        if not stat.S_ISLNK(status.st_mode):
            here = place
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, "too many links", path)
        target = os.readlink(place)
        here = "/" if target.startswith("/") else here
        left = [part for part in target.split("/") if part] + left


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
