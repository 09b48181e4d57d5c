"""Is somebody still at work: does a process hold the state lock, does one write the log? And what the kernel knows
besides: which boot this is, whether users can be told apart.

Read-only questions: F_GETLK asks who would be in the way of a lock and takes none; /proc is only listed, and what other
processes have open on other file systems is not touched. Silence is not death: a provisioner may be quiet for hours, a
stopped process lives.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

_FLOCK = "hhqqi4x"  # struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid
_INIT = "1"  # of the machine, where every process is seen: it writes no run's log, and some let nobody look into it
_INITIAL_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO, linux include/uapi/linux/nsfs.h


class Presence(StrEnum):
    """An answer that admits not to know."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Boot:
    """One start of the machine: the kernel's id for it, and when it was (wall-clock seconds)."""

    boot_id: str
    at: float


def read_boot() -> Boot | None:
    """The machine's present boot; None where the kernel does not tell (proc(5), /proc/sys/kernel/random/boot_id)."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return Boot(file.read().strip(), time.time() - time.clock_gettime(time.CLOCK_BOOTTIME))
    except OSError:
        return None


def unmapped_uid(proc: str = "/proc") -> int | None:
    """The uid that many different users have for us; None where each has his own. In a user namespace (PrivateUsers= of
    systemd, some containers) that is the owner of every file of whoever has no uid there (user_namespaces(7))."""
    try:
        with open(f"{proc}/self/uid_map", encoding="ascii") as file:
            mapped = [line.split() for line in file]
        if mapped == [["0", "0", "4294967295"]]:
            return None
        with open(f"{proc}/sys/kernel/overflowuid", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 65534  # include/linux/highuid.h, DEFAULT_OVERFLOWUID


def lock_holder(fd: int) -> Presence:
    """Whether a process holds the fcntl lock on an open file: Terraform's on a state, a wrapper's on its record.

    Source: terraform internal/states/statemgr/filesystem_lock_unix.go (F_SETLK, F_WRLCK, whole file).
    """
    question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        answer = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, question))
    except OSError:
        return Presence.UNKNOWN
    return Presence.ABSENT if answer[0] == fcntl.F_UNLCK else Presence.PRESENT


def pid_namespace() -> str:
    """The name of the namespace that our pids count in; empty where the kernel does not tell (pid_namespaces(7))."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def started(pid: int, proc: str = "/proc") -> int | Presence:
    """When a process was started, in clock ticks since boot: with the pid it names one process of this boot.

    ABSENT where there is none or only its zombie, UNKNOWN where it is hidden. Source: proc_pid_stat(5), field 22.
    """
    try:
        with open(f"{proc}/{pid}/stat", encoding="utf-8", errors="replace") as file:
            state, *rest = file.read().rpartition(")")[2].split()
        return Presence.ABSENT if state in ("Z", "X") else int(rest[18])
    except (FileNotFoundError, ProcessLookupError):
        return Presence.UNKNOWN if _exists(pid) else Presence.ABSENT
    except (OSError, ValueError, IndexError):
        return Presence.UNKNOWN


def _exists(pid: int) -> bool:
    """Whether a process exists that /proc does not show (hidepid, ProtectProc=)."""
    try:
        os.getpgid(pid)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def writers(files: Mapping[tuple[int, int], int], proc: str = "/proc") -> dict[tuple[int, int], Presence]:
    """Whether any process has each file open for writing: by (device, inode), with the id of a mount of ours on which
    it lies, or lay.

    One pass over /proc for all of them. UNKNOWN where processes are hidden or may not be looked into. Nothing is asked
    of any other file system than theirs: its server may be dead, and whoever asks waits for ever.
    """
    opened: list[_Opened] = []
    try:
        pids = [name for name in os.listdir(proc) if name.isdigit()]
    except OSError:
        pids = []
    blind = not sees_every_process(proc)
    for pid in pids:
        try:
            opened += _opened_for_writing(f"{proc}/{pid}")
        except PermissionError:
            blind = blind or pid != _INIT
        except OSError:
            continue  # it ended while we looked
    mounts = _Mounts(proc)  # after that: what is open keeps its mount, and that its id
    ours = {device for device, _ in files} | {mounts.device(f"{proc}/self", mount) for mount in files.values()} - {None}
    inodes = {inode for _, inode in files}
    found: set[tuple[int, int]] = set()
    for each in opened:
        device = mounts.device(each.process, each.mount)
        if device in ours or each.mount in files.values():
            with suppress(OSError):  # it was closed meanwhile
                status = os.stat(f"{each.process}/fd/{each.name}")
                found.add((status.st_dev, status.st_ino))
        elif device is None and each.may_be_one_of(inodes):
            blind = True
    absent = Presence.UNKNOWN if blind else Presence.ABSENT
    return {file: Presence.PRESENT if file in found else absent for file in files}


def sees_every_process(proc: str = "/proc") -> bool:
    """Whether /proc lists every process of the host: not in a container, nor under hidepid or ProtectProc=."""
    try:
        return os.readlink(f"{proc}/self/ns/pid") == _INITIAL_PID_NAMESPACE and os.path.isdir(f"{proc}/1")
    except OSError:
        return False


class _Opened(NamedTuple):
    """A file that a process has open for writing, as the kernel knows it without asking the file's server: the id of
    its mount, its inode's number (Linux 5.14; None before), where it lies."""

    process: str
    name: str
    mount: int
    inode: int | None
    path: str

    def may_be_one_of(self, inodes: Collection[int]) -> bool:
        """Whether it is one of those, as far as can be told. Files of the kernel's own mounts (memfd_create(2),
        shmget(2)) look like deleted ones of a root directory."""
        if self.inode is not None:
            return self.inode in inodes
        return not (self.path.rfind("/") == 0 and self.path.endswith(" (deleted)"))


def _opened_for_writing(process: str) -> list[_Opened]:
    """What a process (its directory in /proc) has open for writing. Links are read and not followed (proc_pid_fd(5)):
    what has no path is no file, and their mode tells how it is open (linux fs/proc/fd.c, tid_fd_update_inode). Half of
    what daemons have open is /dev/null."""
    opened = []
    with _directory(f"{process}/fd") as links, _directory(f"{process}/fdinfo") as fdinfo:
        for name in os.listdir(links):
            try:
                path = os.readlink(name, dir_fd=links)
                if not path.startswith("/") or path == "/dev/null":
                    continue
                if os.stat(name, dir_fd=links, follow_symlinks=False).st_mode & stat.S_IWUSR:
                    opened.append(_Opened(process, name, *_mount_and_inode(name, fdinfo), path))
            except FileNotFoundError:
                continue  # it was closed meanwhile
    return opened


@contextmanager
def _directory(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _mount_and_inode(name: str, fdinfo: int) -> tuple[int, int | None]:
    """Of an open file: the id of its mount, -1 where the kernel does not tell, and its inode's number.

    Source: proc_pid_fdinfo(5) for mnt_id; linux Documentation/filesystems/proc.rst 3.8 for ino, since Linux 5.14.
    """
    mount, inode = -1, None
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=fdinfo)
    try:
        for line in os.read(fd, 4096).split(b"\n", 4)[:4]:
            if line.startswith(b"mnt_id:"):
                mount = int(line[7:])
            elif line.startswith(b"ino:"):
                inode = int(line[4:])
    finally:
        os.close(fd)
    return mount, inode


class _Mounts:
    """On which device (st_dev of its superblock) a mount lies, by the mount's id (proc_pid_mountinfo(5)).

    A process tells of the mounts of its own namespace. What it inherited may lie on one of the host's, which the first
    process knows.
    """

    def __init__(self, proc: str) -> None:
        self._first = f"{proc}/1"
        self._devices: dict[int, int] = {}
        self._asked: set[str] = set()

    def device(self, process: str, mount: int) -> int | None:
        """None where nobody who was asked knows the mount."""
        for each in (process, self._first):
            if mount not in self._devices:
                self._ask(each)
        return self._devices.get(mount)

    def _ask(self, process: str) -> None:
        try:
            namespace = os.readlink(f"{process}/ns/mnt")
            if namespace in self._asked:
                return
            self._asked.add(namespace)
            with open(f"{process}/mountinfo", encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    mount, _, device = line.split()[:3]
                    self._devices[int(mount)] = os.makedev(*map(int, device.split(":")))
        except (OSError, ValueError):
            return
