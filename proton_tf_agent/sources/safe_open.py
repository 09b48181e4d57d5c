"""The only place that opens a file below a watched directory.

Jobs own these directories and may put anything there: symlinks out of them, FIFOs that block for ever, devices.
Promise: what comes back is a regular file that lies below a watched root by real components, with no symlink on
the way, opened read-only and without blocking; everything else is `Unreadable` with a stable code, and was not even
opened: it is looked at through O_PATH first, because a reader that comes and goes breaks a FIFO for its writer
(SIGPIPE), and some devices act on being opened.

Uses openat2(2) (Linux 5.6) and, where the kernel or a filter refuses it, a walk with O_NOFOLLOW at every step.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

_LOOK = os.O_PATH | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_SYS_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08
_libc = ctypes.CDLL(None, use_errno=True)


class Unreadable(Exception):
    """A file cannot or must not be read. code is stable and shown to people."""

    def __init__(self, code: str, path: str) -> None:
        self.code, self.path = code, path
        super().__init__(f"{code}: {path!r}")


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open regular file and its stat at opening. Use the descriptor only; the path may be swapped by now."""

    fd: int
    stat: os.stat_result
    path: str

    def read(self, offset: int, length: int) -> bytes:
        """Up to length bytes from offset; shorter only at the end of the file."""
        pieces = []
        while length > 0:
            piece = os.pread(self.fd, min(length, 1 << 20), offset)
            if not piece:
                break
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        return b"".join(pieces)

    def is_unchanged(self) -> bool:
        """Whether size and modification time still are what they were at opening."""
        now = os.fstat(self.fd)
        return (now.st_size, now.st_mtime_ns) == (self.stat.st_size, self.stat.st_mtime_ns)


class SafeOpener:
    """Opens files below the given roots (absolute paths)."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = sorted((os.path.normpath(root) for root in roots), key=len, reverse=True)
        self._has_openat2 = True

    def root_of(self, path: str) -> str | None:
        """The watched root that path lies below, by name."""
        return next((root for root in self._roots if path.startswith(root.rstrip("/") + "/")), None)

    @contextmanager
    def open(self, path: str) -> Iterator[OpenFile]:
        """The regular file at path; FileNotFoundError when there is none, Unreadable when it must not be read."""
        root = self.root_of(path)
        if root is None or os.path.normpath(path) != path or "\0" in path:
            raise Unreadable("E_PATH", path)
        seen = self._look_below(root, os.path.relpath(path, root), path)
        try:
            _demand_plain(os.fstat(seen), path)
            fd = _reopen(seen, path)
        finally:
            os.close(seen)
        try:
            yield OpenFile(fd, os.fstat(fd), path)
        finally:
            os.close(fd)

    def read_small(self, path: str, limit: int) -> bytes | None:
        """The whole of a small file; None when there is none."""
        try:
            with self.open(path) as file:
                if file.stat.st_size > limit:
                    raise Unreadable("E_TOO_LARGE", path)
                return file.read(0, limit)
        except FileNotFoundError:
            return None

    def is_missing(self, directory: str) -> bool:
        """Whether a directory is certainly not there. One that cannot be looked at may be."""
        root = self.root_of(directory + "/")
        if root is None:
            return False
        try:
            if directory == root:
                return not stat.S_ISDIR(os.stat(root).st_mode)
            seen = self._look_below(root, os.path.relpath(directory, root), directory)
        except FileNotFoundError:
            return True
        except (OSError, Unreadable):
            return False
        try:
            return not stat.S_ISDIR(os.fstat(seen).st_mode)
        finally:
            os.close(seen)

    def owner_of(self, directory: str) -> int | None:
        """Who owns a directory (a uid); None when there is none that may be looked at."""
        root = self.root_of(directory + "/")
        try:
            if root is None:
                return None
            if directory == root:
                return os.stat(root).st_uid
            seen = self._look_below(root, os.path.relpath(directory, root), directory)
        except (OSError, Unreadable):
            return None
        try:
            status = os.fstat(seen)
            return status.st_uid if stat.S_ISDIR(status.st_mode) else None
        finally:
            os.close(seen)

    def is_away(self, path: str) -> bool:
        """Whether the root that path lies below shows nothing: it is not there, closed to us, or as empty as one that
        is not mounted."""
        try:
            with os.scandir(self.root_of(path) or "") as entries:
                return next(entries, None) is None
        except OSError:
            return True

    def _look_below(self, root: str, relative: str, path: str) -> int:
        try:
            root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if self._has_openat2:
                    try:
                        return _openat2(root_fd, relative)
                    except OSError as error:
                        if error.errno not in (errno.ENOSYS, errno.EPERM):
                            raise
                        self._has_openat2 = False
                return _walk(root_fd, relative)
            finally:
                os.close(root_fd)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unreadable(_CODES.get(error.errno or 0, "E_IO"), path) from None


_CODES = {
    errno.ELOOP: "E_SYMLINK",
    errno.EXDEV: "E_SYMLINK",
    errno.ENOTDIR: "E_SYMLINK",
    errno.EACCES: "E_PERM",
    errno.EPERM: "E_PERM",
    errno.ENXIO: "E_NOT_REGULAR",
    errno.ENAMETOOLONG: "E_PATH",
}


def _demand_plain(status: os.stat_result, path: str) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise Unreadable("E_SYMLINK", path)
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("E_NOT_REGULAR", path)
    if status.st_nlink > 1:
        raise Unreadable("E_OWNER", path)  # a second name: it may be somebody else's file


def _reopen(seen: int, path: str) -> int:
    """The very file that was looked at, opened for reading; its path is not asked again."""
    try:
        return os.open(f"/proc/self/fd/{seen}", _READ)
    except OSError as error:  # FileNotFoundError, too: it would say that there is no /proc, not that there is no file
        raise Unreadable(_CODES.get(error.errno or 0, "E_IO"), path) from None


def _openat2(root_fd: int, relative: str) -> int:
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
    how = _OpenHow(_LOOK, 0, resolve)
    fd: int = _libc.syscall(
        _SYS_OPENAT2, root_fd, os.fsencode(relative), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))
    )
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), relative)
    return fd


def _walk(root_fd: int, relative: str) -> int:
    here = os.dup(root_fd)
    try:
        *directories, name = relative.split("/")
        for directory in directories:
            below = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
        return os.open(name, _LOOK | os.O_NOFOLLOW, dir_fd=here)
    finally:
        os.close(here)
