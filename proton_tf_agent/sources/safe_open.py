"""The only place that opens, lists or looks for anything below a watched directory.

Jobs own these directories and may put anything there: symlinks out of them, FIFOs that block for ever, devices, mounts
that never answer, other people's files. Promise: what comes back lies below a watched root by real components, with no
symlink and no mount on the way, is a directory or a regular file of an allowed owner, and was opened read-only and
without blocking; everything else is `Unreadable` with a stable code (`domain.refusals`), and was not even opened: it is
looked at through O_PATH first, because a reader that comes and goes breaks a FIFO for its writer (SIGPIPE), and some
devices act on being opened. Who is an allowed owner, and why: docs/decisions/0010-containment.md.

Uses openat2(2) (Linux 5.6) and, where the kernel or a filter refuses it, a walk with O_NOFOLLOW at every step.

Over 400 lines because nothing else in `sources` may open what lies below a root: a test sees to it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache

_LOOK = os.O_PATH | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_SYS_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_NO_XDEV, _RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x01, 0x02, 0x04, 0x08
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC
_ROOT_USER = 0
_AT_EMPTY_PATH = 0x1000
_MOST_OF_A_HANDLE = 128  # MAX_HANDLE_SZ, linux include/linux/exportfs.h
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
        """Up to length bytes from offset; shorter only at the end of the file. Unreadable when the disk fails."""
        pieces = []
        try:
            while length > 0:
                piece = os.pread(self.fd, min(length, 1 << 20), offset)
                if not piece:
                    break
                pieces.append(piece)
                offset, length = offset + len(piece), length - len(piece)
        except OSError as error:  # EIO, ESTALE
            raise _refusal(error, self.path) from None
        return b"".join(pieces)

    def is_unchanged(self) -> bool:
        """Whether size and modification time still are what they were at opening."""
        try:
            now = os.fstat(self.fd)
        except OSError as error:
            raise _refusal(error, self.path) from None
        return (now.st_size, now.st_mtime_ns) == (self.stat.st_size, self.stat.st_mtime_ns)

    @property
    def mount(self) -> int:
        """The id of the mount that it lies on (proc_pid_mountinfo(5)); -1 where the kernel does not tell."""
        return _mount_if_told(self.fd)


@dataclass(frozen=True, slots=True)
class Bounds:
    """A watched root and what may be read below it.

    owners: the users (uids) whose files alone are read, beside root's, and only what not everybody may write; empty:
    see `_demand_owner`; None: whoever reads judges. crosses_mounts: whether file systems mounted below the root belong
    to it.
    """

    path: str
    owners: frozenset[int] | None = frozenset()
    crosses_mounts: bool = False


def uids_of(users: Iterable[str]) -> Iterator[int]:
    """The users with these names, or numbers. One that does not exist yet owns nothing."""
    for user in users:
        with suppress(KeyError):
            yield int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid


class SafeOpener:
    """Opens what lies below the given roots: absolute paths, or bounds where the usual ones will not do."""

    def __init__(self, roots: Sequence[str | Bounds]) -> None:
        bounds = [root if isinstance(root, Bounds) else Bounds(root) for root in roots]
        self._bounds = {os.path.normpath(root.path): root for root in bounds}
        self._roots = sorted(self._bounds, key=len, reverse=True)
        self._has_openat2 = True

    def bounds_of(self, root: str) -> Bounds:
        """What may be read below one of the roots."""
        return self._bounds[os.path.normpath(root)]

    def root_of(self, path: str) -> str | None:
        """The watched root that path lies below, by name."""
        return next((root for root in self._roots if path.startswith(root.rstrip("/") + "/")), None)

    def branch_of(self, path: str) -> str:
        """The directory right below its root that a path lies in, usually one job's; any other path's own one."""
        root = self.root_of(path)
        if root is None:
            return os.path.dirname(path)
        above = root.rstrip("/") + "/"
        return above + path[len(above) :].split("/", 1)[0]

    @contextmanager
    def open(self, path: str, limit: int | None = None) -> Iterator[OpenFile]:
        """The regular file at path, of no more than limit bytes; FileNotFoundError when there is none, Unreadable when
        it must not be read."""
        root = self.root_of(path)
        if root is None or not _is_plain(path):
            raise Unreadable("E_PATH", path)
        seen = self._below(root, path)
        try:
            status = os.fstat(seen)
            _demand_plain(status, path)
            self._demand_owner(root, status, path)
            if limit is not None and status.st_size > limit:
                raise Unreadable("E_TOO_LARGE", path)
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
            with self.open(path, limit) as file:
                return file.read(0, limit)
        except FileNotFoundError:
            return None

    @contextmanager
    def directory(self, path: str, flags: int = _LIST) -> Iterator[int]:
        """A descriptor of a directory below a root, or of the root itself, to be listed. FileNotFoundError when there
        is none, Unreadable when it must not be looked into."""
        root = self.root_of(path + "/")
        if root is None or not _is_plain(path):
            raise Unreadable("E_PATH", path)
        fd = self._below(root, path, flags)
        try:
            yield fd
        finally:
            os.close(fd)

    def look(self, path: str) -> os.stat_result | None:
        """What lies at a path below a root, were it a link, without opening it; None when there is nothing. Unreadable
        when nobody can tell."""
        root = self.root_of(path)
        if root is None or not _is_plain(path):
            raise Unreadable("E_PATH", path)
        try:
            seen = self._below(root, path, _LOOK | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            return os.fstat(seen)
        except OSError as error:
            raise _refusal(error, path) from None
        finally:
            os.close(seen)

    def mounts_below(self, root: str) -> frozenset[str]:
        """What is mounted below a root that is not to be entered, by path; who looks at one, were it a file, asks its
        server. Asks the kernel (proc_pid_mountinfo(5)), not the file systems."""
        bounds = self._bounds[os.path.normpath(root)]
        if bounds.crosses_mounts:
            return frozenset()
        above = root.rstrip("/") + "/"
        real = os.path.realpath(root).rstrip("/") + "/"
        try:
            with open("/proc/self/mountinfo", "rb") as lines:
                told = lines.read()
        except OSError:
            return frozenset()
        if b"\\" not in told and os.fsencode(real) not in told:
            return frozenset()  # asked for every directory that appears
        points = [_unescaped(line.split(b" ", 5)[4]) for line in told.splitlines()]
        return frozenset(above + point[len(real) :] for point in points if point.startswith(real))

    def is_missing(self, directory: str) -> bool:
        """Whether a directory is certainly not there. One that cannot be looked at may be."""
        if self.root_of(directory + "/") is None:
            return False
        try:
            with self.directory(directory, _LOOK) as seen:
                return not stat.S_ISDIR(os.fstat(seen).st_mode)
        except FileNotFoundError:
            return True
        except (OSError, Unreadable):
            return False

    def owner_of(self, directory: str) -> int | None:
        """Who owns a directory (a uid); None when there is none that may be looked at."""
        try:
            with self.directory(directory, _LOOK) as seen:
                status = os.fstat(seen)
                return status.st_uid if stat.S_ISDIR(status.st_mode) else None
        except (OSError, Unreadable):
            return None

    def mount_around(self, path: str) -> int:
        """The id of the mount that the nearest directory around a path lies on, whether or not there is anything at the
        path; -1 where nobody can tell."""
        directory = os.path.dirname(path)
        while self.root_of(directory + "/") is not None:
            try:
                with self.directory(directory, _LOOK) as seen:
                    return _mount_if_told(seen)
            except (OSError, Unreadable):
                directory = os.path.dirname(directory)
        return -1

    def is_away(self, path: str) -> bool:
        """Whether the root that path lies below shows nothing: it is not there, closed to us, or as empty as one that
        is not mounted."""
        try:
            with os.scandir(self.root_of(path) or "") as entries:
                return next(entries, None) is None
        except OSError:
            return True

    def _demand_owner(self, root: str, status: os.stat_result, path: str) -> None:
        """Whether the file is of a user who may lead us to it.

        Whoever owns a directory can move a file into it that he may not read himself, so what not everybody may read
        must be his own, root's (containers' jobs are root), the root's owner's or ours.
        """
        owners = self._bounds[root].owners
        if owners is None:
            return
        if owners:
            if status.st_uid not in owners | {_ROOT_USER} or status.st_mode & stat.S_IWOTH:
                raise Unreadable("E_OWNER", path)
            return
        if status.st_mode & stat.S_IROTH or status.st_uid in (_ROOT_USER, os.geteuid(), os.stat(root).st_uid):
            return
        with self.directory(os.path.dirname(path), _LOOK | os.O_DIRECTORY) as above:
            named = os.stat(os.path.basename(path), dir_fd=above, follow_symlinks=False)
            of_it = (named.st_dev, named.st_ino) == (status.st_dev, status.st_ino)  # the directory was not swapped
            if not of_it or os.fstat(above).st_uid != status.st_uid:
                raise Unreadable("E_OWNER", path)

    @contextmanager
    def lister(self, root: str) -> Iterator[Callable[[str], int]]:
        """For a walk through a root: gives a descriptor of a directory by its path relative to it, "." for itself, as
        `directory` does; whoever asks closes it. The root stays the one that was there at first."""
        bounds = self._bounds[os.path.normpath(root)]
        root_fd = _open_root(bounds.path, root)
        try:
            yield lambda relative: self._beneath(root_fd, relative, relative, _LIST, bounds.crosses_mounts)
        finally:
            os.close(root_fd)

    def _below(self, root: str, path: str, flags: int = _LOOK) -> int:
        """A descriptor of what lies at path."""
        root_fd = _open_root(root, path)
        try:
            relative = path[len(root) :].lstrip("/") or "."
            return self._beneath(root_fd, relative, path, flags, self._bounds[root].crosses_mounts)
        finally:
            os.close(root_fd)

    def _beneath(self, root_fd: int, relative: str, path: str, flags: int, crosses_mounts: bool) -> int:
        try:
            if self._has_openat2:
                try:
                    return _openat2(root_fd, relative, flags, crosses_mounts)
                except OSError as error:
                    if error.errno not in (errno.ENOSYS, errno.EPERM):
                        raise
                    self._has_openat2 = False
            return _walk(root_fd, relative, flags, crosses_mounts)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _refusal(error, path) from None


def _open_root(root: str, path: str) -> int:
    try:
        return os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refusal(error, path) from None


def _is_plain(path: str) -> bool:
    return os.path.normpath(path) == path and "\0" not in path


def _refusal(error: OSError, path: str) -> Unreadable:
    return Unreadable(_CODES.get(error.errno or 0, "E_IO"), path)


_CODES = {
    errno.ELOOP: "E_SYMLINK",
    errno.EXDEV: "E_MOUNT",
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
        raise _refusal(error, path) from None


@cache
def _how(flags: int, crosses_mounts: bool) -> _OpenHow:
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
    return _OpenHow(flags, 0, resolve if crosses_mounts else resolve | _RESOLVE_NO_XDEV)


_HOW_SIZE = ctypes.c_size_t(ctypes.sizeof(_OpenHow))


def _openat2(root_fd: int, relative: str, flags: int, crosses_mounts: bool) -> int:
    how = ctypes.byref(_how(flags, crosses_mounts))
    fd: int = _libc.syscall(_SYS_OPENAT2, root_fd, os.fsencode(relative), how, _HOW_SIZE)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), relative)
    return fd


def _walk(root_fd: int, relative: str, flags: int, crosses_mounts: bool) -> int:
    """As openat2 does it. Each step is looked at before it is opened: what is mounted there may never answer."""
    mount = _mount_of(root_fd)
    here = os.dup(root_fd)
    try:
        *directories, name = relative.split("/")
        for directory in directories:
            below = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
            _demand_mount(here, mount, crosses_mounts)
        seen = os.open(name, _LOOK | os.O_NOFOLLOW, dir_fd=here)
    finally:
        os.close(here)
    try:
        _demand_mount(seen, mount, crosses_mounts)
        if flags in (_LOOK, _LOOK | os.O_NOFOLLOW):
            return os.dup(seen)
        if stat.S_ISLNK(os.fstat(seen).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), relative)
        try:
            return os.open(f"/proc/self/fd/{seen}", flags)
        except FileNotFoundError:
            raise OSError(errno.EIO, "there is no /proc") from None
    finally:
        os.close(seen)


def _demand_mount(fd: int, mount: int, crosses_mounts: bool) -> None:
    if not crosses_mounts and _mount_of(fd) != mount:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def _mount_of(fd: int) -> int:
    """The id of the mount that a descriptor is of (proc_pid_fdinfo(5)); asks the kernel, not the file system."""
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
            told = next((line.split()[1] for line in lines if line.startswith("mnt_id:")), None)
    except FileNotFoundError:
        raise OSError(errno.EIO, "there is no /proc") from None
    except PermissionError:
        return _mount_by_handle(fd)
    if told is None:
        raise OSError(errno.EIO, "the kernel tells of no mounts")
    return int(told)


def _unescaped(path: bytes) -> str:
    """A path as mountinfo writes it: blanks, line ends and backslashes in octal."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), path))


class _Handle(ctypes.Structure):
    _fields_ = (("size", ctypes.c_uint), ("type", ctypes.c_int), ("bytes", ctypes.c_ubyte * _MOST_OF_A_HANDLE))


def _mount_by_handle(fd: int) -> int:
    """The same by name_to_handle_at(2). Before Linux 5.14 (fs/proc/fd.c) fdinfo is root's in a process that nobody
    may look into (`process_memory`). File systems without handles, overlayfs among them, are refused then."""
    handle, mount = _Handle(_MOST_OF_A_HANDLE), ctypes.c_int()
    if _libc.name_to_handle_at(fd, b"", ctypes.byref(handle), ctypes.byref(mount), _AT_EMPTY_PATH):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return mount.value


def _mount_if_told(fd: int) -> int:
    try:
        return _mount_of(fd)
    except OSError:
        return -1
