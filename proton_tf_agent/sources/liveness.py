"""Is somebody still at work: does a process hold the state lock, does one write the log? And what the kernel knows
besides: which boot this is, whether users can be told apart.

Read-only questions: F_GETLK asks who would be in the way of a lock and takes none; /proc is only listed. Silence is
not death: a provisioner may be quiet for hours, a stopped process lives.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

_FLOCK = "hhqqi4x"  # struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid
_ACCESS_MODE = 0o3
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


def writers(files: Collection[tuple[int, int]], proc: str = "/proc") -> dict[tuple[int, int], Presence]:
    """Whether any process has each file (device, inode) open for writing.

    One pass over /proc for all of them. UNKNOWN where processes are hidden or may not be looked into.
    """
    found: set[tuple[int, int]] = set()
    try:
        pids = [name for name in os.listdir(proc) if name.isdigit()]
    except OSError:
        pids = []
    blind = not sees_every_process(proc)
    for pid in pids:
        try:
            found |= _written_by(f"{proc}/{pid}", files)
        except PermissionError:
            blind = True
        except OSError:
            continue  # it ended while we looked
    absent = Presence.UNKNOWN if blind else Presence.ABSENT
    return {file: Presence.PRESENT if file in found else absent for file in files}


def sees_every_process(proc: str = "/proc") -> bool:
    """Whether /proc lists every process of the host: not in a container, nor under hidepid or ProtectProc=."""
    try:
        return os.readlink(f"{proc}/self/ns/pid") == _INITIAL_PID_NAMESPACE and os.path.isdir(f"{proc}/1")
    except OSError:
        return False


def _written_by(process: str, files: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    written = set()
    for name in os.listdir(f"{process}/fd"):
        try:
            status = os.stat(f"{process}/fd/{name}")
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in files and _is_writing(process, name):
            written.add((status.st_dev, status.st_ino))
    return written


def _is_writing(process: str, name: str) -> bool:
    try:
        with open(f"{process}/fdinfo/{name}", encoding="ascii") as fdinfo:
            for line in fdinfo:
                if line.startswith("flags:"):
                    return int(line.split()[1], 8) & _ACCESS_MODE != os.O_RDONLY
    except OSError:
        pass
    return True  # cannot tell reading from writing: assume the one that keeps the run open
