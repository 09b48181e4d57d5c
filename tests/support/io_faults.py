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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import starmap

_VARIABLE = "PTFA_IO_FAULT"
_ARCHITECTURES = {  # AUDIT_ARCH_* and system call numbers: linux/audit.h, asm/unistd.h
    "x86_64": (0xC000003E, {"pwrite64": 18, "fsync": 74, "fdatasync": 75, "fallocate": 285, "seccomp": 317}),
    "aarch64": (0xC00000B7, {"pwrite64": 68, "fsync": 82, "fdatasync": 83, "fallocate": 47, "seccomp": 277}),
}
_LOAD, _RETURN = 0x20, 0x06  # BPF_LD|W|ABS, BPF_RET|K
_JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST = 0x15, 0x35  # BPF_JMP|JEQ|K, BPF_JMP|JGE|K
# In struct seccomp_data, little-endian; of the offset to write at, the lower half.
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT, _OFFSET_AT = 0, 4, 16, 40
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_PR_SET_NO_NEW_PRIVS, _SET_MODE_FILTER, _TSYNC = 38, 1, 1


@dataclass(frozen=True, slots=True)
class IOFault:
    """Calls (`fsync`, `fdatasync`, `pwrite64`) that are to return an error (`EIO`), on one open file if it is named.

    at_once: before the program begins; else when it is told by SIGUSR1. growth: only writes behind the end that the
    file has by then; and no file, whatever it is, is given room by fallocate: as if a quota were used up.
    """

    calls: tuple[str, ...]
    error: str = "EIO"
    path: str = ""
    at_once: bool = False
    growth: bool = False

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
    size = os.stat(fault.path).st_size if fault.growth else 0
    for fd in descriptors:
        on_file = [] if fd is None else [(_FIRST_ARGUMENT_AT, _JUMP_IF_EQUAL, fd)]
        _install(fault.calls, fault.error, [*on_file, *([(_OFFSET_AT, _JUMP_IF_AT_LEAST, size)] if size else [])])
    if fault.growth:
        _install(("fallocate",), fault.error, [])


def _descriptors_of(path: str) -> list[int | None]:
    def leads_to(fd: str) -> str:
        try:
            return os.readlink(f"/proc/self/fd/{fd}")
        except OSError:  # that of the listing itself
            return ""

    return [int(fd) for fd in os.listdir("/proc/self/fd") if leads_to(fd) == path]


def _install(calls: Sequence[str], error: str, conditions: Sequence[tuple[int, int, int]]) -> None:
    """Let calls fail where all conditions hold: (where in the data of the call, how to compare, with what)."""
    architecture, numbers = _ARCHITECTURES[platform.machine()]
    # Jumps count the instructions they leave out. From the n-th comparison to the failure, and past it to the end:
    compare = [
        (_JUMP_IF_EQUAL, len(calls) - n - 1, 2 * len(conditions) + 1 if n == len(calls) - 1 else 0, numbers[call])
        for n, call in enumerate(calls)
    ]
    hold = [
        instruction
        for n, (at, how, value) in enumerate(conditions)
        for instruction in ((_LOAD, 0, 0, at), (how, 0, 2 * (len(conditions) - n) - 1, value))
    ]
    instructions = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_IF_EQUAL, 0, len(compare) + len(hold) + 2, architecture),
        (_LOAD, 0, 0, _NUMBER_AT),
        *compare,
        *hold,
        (_RETURN, 0, 0, _ERRNO | getattr(errno, error)),
        (_RETURN, 0, 0, _ALLOW),
    ]
    array = (_Instruction * len(instructions))(*starmap(_Instruction, instructions))
    program = _Program(len(instructions), array)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
    installed = libc.syscall(
        ctypes.c_long(numbers["seccomp"]), ctypes.c_long(_SET_MODE_FILTER), ctypes.c_long(_TSYNC), ctypes.byref(program)
    )
    assert installed == 0, os.strerror(ctypes.get_errno())
