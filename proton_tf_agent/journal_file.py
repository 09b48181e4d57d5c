"""The journal as a file: made private, refused when it is not, held by one daemon at a time.

The hold is an flock on `PATH.lock`: it ends with its process, however that ends. In that file stand the daemon's
process id, written over each time whether it waits for room (no other place can be written when a disk is full), and
what is remembered of the journal (`journal_memory`). What is in the journal is `journal`'s.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from .domain.errors import AgentError, JournalHeld, JournalUnusable, Problem

JOURNAL_FULL = "journal-full"  # why an agent is degraded, to people
_PID_BYTES = 16
_ROOM = b" room\n"
_FULL = b" full\n"


def is_held(path: str) -> bool:
    """Whether a daemon holds the journal right now."""
    try:
        fd = os.open(path + ".lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def is_marked_full(path: str) -> bool:
    """Whether the daemon that holds the journal waits for room in it; of one that is gone this says nothing."""
    try:
        fd = os.open(path + ".lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.pread(fd, len(_FULL), _PID_BYTES) == _FULL
    finally:
        os.close(fd)


def mark_hold(hold: int, *, is_full: bool) -> None:
    """Write into a hold whether its daemon waits for room; over what stood there, for which no room is needed."""
    with suppress(OSError):
        os.pwrite(hold, _FULL if is_full else _ROOM, _PID_BYTES)


def make_private_directory(directory: str) -> None:
    """The journal's directory, 0700, made to survive power loss. JournalUnusable when it cannot be made, AgentError
    when the disk fails."""
    above, missing = os.path.abspath(directory), []
    while not os.path.lexists(above):
        above = os.path.dirname(above)
        missing.append(above)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        raise JournalUnusable(
            Problem(f"its directory cannot be made: {error.strerror}", directory, "see [journal] path")
        ) from None
    for parent in missing:  # else the journal would go with its directory, whatever was committed to it
        try:
            sync_directory(parent)
        except OSError as error:
            raise AgentError(Problem(f"what was made in it cannot be kept: {error.strerror}", parent)) from None


def create_private_file(path: str) -> None:
    """An empty file, 0600, unless there is one; a symlink is not followed."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise JournalUnusable(Problem(f"it cannot be created: {error.strerror}", path, "see [journal] path")) from None


def write_private_file(path: str, content: Iterable[bytes]) -> None:
    """A new file of pieces, 0600, whole or not at all; AgentError when it cannot be written."""
    unfinished = path + ".new"
    try:
        with suppress(FileNotFoundError):
            os.unlink(unfinished)
        fd = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with open(fd, "wb") as file:
                file.writelines(content)
                file.flush()
                os.fsync(file.fileno())
            os.rename(unfinished, path)
        except BaseException:
            os.unlink(unfinished)
            raise
        sync_directory(os.path.dirname(path))
    except OSError as error:
        raise AgentError(Problem(f"it cannot be written: {error.strerror}", path)) from None


def refuse_wide_mode(path: str) -> None:
    """JournalUnusable, with the command that mends it, when others may read the journal."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError as error:
        raise JournalUnusable(Problem(f"it cannot be looked at: {error.strerror}", path)) from None
    if mode & 0o077:
        wide = Problem(f"the journal is open to others (mode {mode:04o})", path, f"chmod 0600 {path}")
        raise JournalUnusable(wide)


def refuse_what_others_may_open(path: str) -> None:
    """JournalUnusable, with the command that mends each, when the journal's directory, the journal or what stands
    beside it under its name (rollback journal, lock, copies, damaged ones) is open to others, or is a symlink."""
    directory, name = os.path.split(os.path.abspath(path))
    try:
        found = [
            directory,
            *(os.path.join(directory, file) for file in sorted(os.listdir(directory)) if _is_of(file, name)),
        ]
        problems = [problem for each in found for problem in _wide(each, is_directory=each == directory)]
    except OSError as error:
        raise JournalUnusable(Problem(f"it cannot be looked into: {error.strerror}", directory)) from None
    if problems:
        raise JournalUnusable(*problems)


def _is_of(file: str, name: str) -> bool:
    return file == name or file.startswith((f"{name}-", f"{name}."))


def _wide(path: str, *, is_directory: bool) -> Iterator[Problem]:
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        if not is_directory:  # the directory's own place is the operator's business
            yield Problem("what the journal keeps may not be a symbolic link", path, "put the file itself there")
            return
        mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode) and not is_directory:
        return  # none of ours
    mode = stat.S_IMODE(mode)
    if mode & 0o077:
        what = "the journal's directory" if is_directory else "what the journal keeps"
        closed = 0o700 if is_directory else mode & 0o600
        command = f"chmod {closed:04o} {shlex.quote(path)}"
        yield Problem(f"{what} is open to others (mode {mode:04o})", path, command)


def sync_directory(directory: str) -> None:
    """Let what was made or renamed in `directory` survive power loss."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def take_hold(path: str) -> int:
    """Take the daemon's lock and write our process id into it; JournalHeld when another daemon has it."""
    lock = path + ".lock"
    try:
        fd = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise JournalUnusable(Problem(f"it cannot be held: {error.strerror}", lock, "see [journal] path")) from None
    if not _take_flock(fd):
        holder = os.pread(fd, _PID_BYTES, 0).decode("ascii", "replace").strip()
        os.close(fd)
        who = f" (process {holder})" if holder.isdigit() else ""
        hint = "stop it, or give this one its own [journal] path"
        raise JournalHeld(Problem(f"another agent holds this journal{who}", path, hint))
    with suppress(OSError):  # held it is without our number, too, and a full disk is no reason not to start
        os.pwrite(fd, str(os.getpid()).encode().ljust(_PID_BYTES) + _ROOM, 0)  # uncut: a full disk gives nothing twice
    return fd


def _take_flock(fd: int) -> bool:
    """Try for a moment: `is_held` takes the lock for an instant to find out whether anybody has it."""
    for _ in range(10):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False
