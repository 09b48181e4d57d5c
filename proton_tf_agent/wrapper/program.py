"""The program that is wrapped: finding it, and becoming it."""

from __future__ import annotations

import errno
import os
import signal
from contextlib import suppress

from . import shim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as a shell says it: POSIX, Shell Command Language 2.8.2


def find(name: str) -> str | int:
    """The path of a command as a shell would find it, but never a shim of ours; an errno where there is none."""
    if "/" in name:
        return name if _is_executable(name) else (errno.EACCES if os.path.exists(name) else errno.ENOENT)
    reason = errno.ENOENT
    for directory in os.environ.get("PATH", os.defpath).split(":"):
        path = os.path.join(directory or ".", name)
        if _is_executable(path):
            if not shim.is_one(path):
                return path
        elif os.path.isfile(path):
            reason = errno.EACCES
    return reason


def said_of(error: BaseException) -> str:
    """What an error says to a person: which file, and why; of a defect of ours its name alone, for its text may hold
    what was printed."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return type(error).__name__


def environment() -> dict[str, str]:
    """Our environment as the caller has made it: Python adds LC_CTYPE where no locale is set (PEP 538)."""
    given = dict(os.environ)
    with suppress(OSError), open("/proc/self/environ", "rb") as file:
        if not any(entry.startswith(b"LC_CTYPE=") for entry in file.read().split(b"\0")):
            given.pop("LC_CTYPE", None)
    return given


def exit_status_of(reason: int) -> int:
    """The exit status of a shell that cannot run a command for this reason (an errno)."""
    return _NOT_FOUND if reason == errno.ENOENT else _NOT_EXECUTABLE


def hold_closed_descriptors() -> None:
    """Let nothing of ours take the place of a standard stream that is closed; to the command it stays closed."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # the lowest free number: this one


def become(path: str, words: list[str], given: dict[str, str] | None = None) -> NoReturn:
    """Run a command in our place. Returns never; OSError where it cannot be run.

    Python ignores SIGPIPE and SIGXFSZ from its start on; to the command they are what they usually are.
    """
    given = environment() if given is None else given
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execve(path, words, given)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        os.execve("/bin/sh", ["/bin/sh", path, *words[1:]], given)  # a script without #!: as a shell does


def _is_executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
