"""The file sink: every notification as one line of JSON at the end of a file, on disk before it is taken for told.

A line is the CloudEvent that a webhook is told and `journal export` writes. A line is whole or not there: what a failed
write has left of one is cut off at once, what a crash has left when the file is next opened. The file is rotated by
size; one that somebody else has renamed, truncated or removed is begun anew.

What a path leads to may be anything: a link is not followed, and of what is no regular file, or is not ours alone to
write, nothing is changed.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from contextlib import suppress

from ..cloud_event import event
from ..domain.notification import Notification
from ..domain.outbox import Outcome, OutcomeKind

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_BEGINNING = b'{"specversion"'  # of every line of ours
_BLOCK = 64 * 1024
_LONGEST = 4 << 20  # bytes; no notification makes a longer line


class FileSink:
    """Appends to `path`, which becomes `path.1` and so on, `keep` of them, when it would grow beyond `rotate_at` bytes.

    source is who tells.
    """

    def __init__(self, name: str, path: str, rotate_at: int, keep: int, source: str) -> None:
        self.name = name
        self._path = path
        self._rotate_at = rotate_at
        self._keep = keep
        self._source = source
        self._lock = threading.Lock()
        self._fd = -1
        self._closed = False

    def wants(self, notification: Notification) -> bool:
        """True: a file can be told everything."""
        return True

    def send(self, notification: Notification) -> Outcome:
        """Append one line and wait for the disk. One that could not be taken back may be there: that is ambiguous."""
        line = json.dumps(event(notification, self._source), separators=(",", ":")).encode("ascii") + b"\n"
        with self._lock:
            if self._closed:
                return Outcome(OutcomeKind.UNAVAILABLE, "SinkClosed")
            try:
                before = self._ready_for(len(line))
            except _Unfit as unfit:
                return self._failed(unfit.code, ambiguous=False)
            except OSError as error:
                return self._failed(_name(error), ambiguous=False)
            try:
                self._append(line)
            except OSError as error:
                return self._failed(_name(error), ambiguous=not self._taken_back(before))
        return Outcome(OutcomeKind.ACCEPTED)

    def try_out(self) -> Outcome:
        """Look whether the file may be written, or made where it is not there; make and change nothing."""
        try:
            os.close(self._opened(_FLAGS & ~os.O_CREAT))
        except _Unfit as unfit:
            return Outcome(OutcomeKind.UNAVAILABLE, unfit.code)
        except FileNotFoundError:
            if not os.access(os.path.dirname(self._path), os.W_OK | os.X_OK):
                return Outcome(OutcomeKind.UNAVAILABLE, "DirectoryNotWritable")
        except OSError as error:
            return Outcome(OutcomeKind.UNAVAILABLE, _name(error))
        return Outcome(OutcomeKind.ACCEPTED)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._closed = True
            self._let_go()

    # --- the file that is written ------------------------------------------------------------------------------

    def _ready_for(self, length: int) -> int:
        """Have the right file open, with room for so many bytes; returns its size."""
        if self._fd >= 0 and not self._is_still_ours():
            self._let_go()
        if self._fd < 0:
            self._open()
        size = os.fstat(self._fd).st_size
        if size and size + length > self._rotate_at:
            mode = stat.S_IMODE(os.fstat(self._fd).st_mode)
            self._let_go()
            self._rotate()
            self._open()
            os.fchmod(self._fd, mode)  # a group that may read goes on to
            size = os.fstat(self._fd).st_size
        return size

    def _is_still_ours(self) -> bool:
        """Whether the path leads to what is open. logrotate renames; a person removes."""
        ours = os.fstat(self._fd)
        try:
            there = os.lstat(self._path)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def _open(self) -> None:
        fd = self._opened(_FLAGS)
        try:
            _cut_torn_line(fd, os.fstat(fd).st_size)
            _sync_directory(self._path)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def _opened(self, flags: int) -> int:
        """What the path leads to; _Unfit if it is not to be written."""
        try:
            fd = os.open(self._path, flags, 0o600)
        except OSError as error:
            if os.path.islink(self._path):
                raise _Unfit("FileIsLink") from error
            raise
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise _Unfit("FileIsNoFile")
            if found.st_uid != os.geteuid() or found.st_nlink != 1:
                raise _Unfit("FileIsNotOurs")
            if found.st_mode & (stat.S_IWGRP | stat.S_IRWXO):
                raise _Unfit("FileOpenToOthers")
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _rotate(self) -> None:
        """Each file takes the next name, the last one's end is the end of it. Stopped anywhere, nothing is lost."""
        for number in range(self._keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                os.rename(f"{self._path}.{number}", f"{self._path}.{number + 1}")
        os.rename(self._path, f"{self._path}.1")

    # --- lines -------------------------------------------------------------------------------------------------

    def _append(self, line: bytes) -> None:
        left = memoryview(line)
        while left:
            left = left[os.write(self._fd, left) :]
        os.fsync(self._fd)

    def _taken_back(self, size: int) -> bool:
        """Cut off what has been written of a line that failed. Whether that is certain to be gone."""
        try:
            os.ftruncate(self._fd, size)
            os.fsync(self._fd)
        except OSError:
            return False
        return True

    def _failed(self, code: str, *, ambiguous: bool) -> Outcome:
        self._let_go()  # the next attempt begins from what is there then
        return Outcome(OutcomeKind.UNAVAILABLE, code, ambiguous=ambiguous)

    def _let_go(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = -1


class _Unfit(Exception):
    """What the path leads to is not to be written."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def _cut_torn_line(fd: int, size: int) -> None:
    """Cut off what a crash has left of a last line, if it is one of ours; else the file is somebody else's."""
    torn, at = b"", size
    while at and b"\n" not in torn and len(torn) <= _LONGEST:
        length = min(_BLOCK, at)
        at -= length
        torn = os.pread(fd, length, at) + torn
    torn = torn[torn.rfind(b"\n") + 1 :]
    if not torn:
        return
    written = torn.rstrip(b"\0")  # pages that were never written read as zeros
    if len(torn) > _LONGEST or not (written.startswith(_BEGINNING) or _BEGINNING.startswith(written)):
        raise _Unfit("FileEndsWithoutLine")
    os.ftruncate(fd, size - len(torn))
    os.fsync(fd)


def _sync_directory(path: str) -> None:
    """The file's own name must be on disk, too."""
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
