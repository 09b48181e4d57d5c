"""Disk errors without a broken disk: a filter of system calls (seccomp) that a process puts on itself.

From then on, and to its end, the chosen calls of all its threads return an error instead of being made. Needs no
privilege.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass

_VARIABLE = "PTFA_IO_FAULT"
_ARCHITECTURES = {  # AUDIT_ARCH_* and system call numbers: linux/audit.h, asm/unistd.h
    "x86_64": (0xC000003E, {"pwrite64": 18, "fsync": 74, "fdatasync": 75, "seccomp": 317}),
    "aarch64": (0xC00000B7, {"pwrite64": 68, "fsync": 82, "fdatasync": 83, "seccomp": 277}),
}
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # in struct seccomp_data, little-endian
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_PR_SET_NO_NEW_PRIVS, _SET_MODE_FILTER, _TSYNC = 38, 1, 1


@dataclass(frozen=True, slots=True)
class IOFault:
    """Calls (`fsync`, `fdatasync`, `pwrite64`) that are to return an error (`EIO`), on one open file if it is named.

    at_once: before the program begins; else when it is told by SIGUSR1.
    """

    calls: tuple[str, ...]
    error: str = "EIO"
    path: str = ""
    at_once: bool = False

    def environment(self) -> dict[str, str]:
        """How a process is told of it when it is started."""
        return {_VARIABLE: json.dumps(asdict(self))}


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def expect_fault(on_failing: Callable[[], None]) -> None:
    """Let the fault that was named when this process was started begin; call before any thread is started."""
    told = os.environ.pop(_VARIABLE, "")
    if not told:
        return
    fault = IOFault(**json.loads(told))
    if fault.at_once:
        begin(fault)
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])

    def heed() -> None:
        signal.sigwait([signal.SIGUSR1])
        begin(fault)
        on_failing()

    threading.Thread(target=heed, name="fault", daemon=True).start()


def begin(fault: IOFault) -> None:
    """From now on these calls fail."""
    descriptors = _descriptors_of(fault.path) if fault.path else [None]
    assert descriptors, f"{fault.path} is not open"
    for fd in descriptors:
        _install(fault, fd)


def _descriptors_of(path: str) -> list[int | None]:
    def leads_to(fd: str) -> str:
        try:
            return os.readlink(f"/proc/self/fd/{fd}")
        except OSError:  # that of the listing itself
            return ""

    return [int(fd) for fd in os.listdir("/proc/self/fd") if leads_to(fd) == path]


def _install(fault: IOFault, fd: int | None) -> None:
    architecture, numbers = _ARCHITECTURES[platform.machine()]
    on_fd = [] if fd is None else [(_LOAD, 0, 0, _FIRST_ARGUMENT_AT), (_JUMP_IF_EQUAL, 0, 1, fd)]
    chosen = [numbers[call] for call in fault.calls]
    # Jumps count the instructions they leave out. From the n-th comparison to the failure, and past it to the end:
    compare = [
        (_JUMP_IF_EQUAL, len(chosen) - n - 1, len(on_fd) + 1 if n == len(chosen) - 1 else 0, number)
        for n, number in enumerate(chosen)
    ]
    instructions = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_IF_EQUAL, 0, len(compare) + len(on_fd) + 2, architecture),
        (_LOAD, 0, 0, _NUMBER_AT),
        *compare,
        *on_fd,
        (_RETURN, 0, 0, _ERRNO | getattr(errno, fault.error)),
        (_RETURN, 0, 0, _ALLOW),
    ]
    array = (_Instruction * len(instructions))(*instructions)
    program = _Program(len(instructions), array)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
    installed = libc.syscall(
        ctypes.c_long(numbers["seccomp"]), ctypes.c_long(_SET_MODE_FILTER), ctypes.c_long(_TSYNC), ctypes.byref(program)
    )
    assert installed == 0, os.strerror(ctypes.get_errno())
