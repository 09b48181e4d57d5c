"""A terminal with one job in it, as a shell would keep it: a session of its own, the job in the foreground."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

DEADLINE_S = 30.0
_STOPPED, _GO_ON, _ENDED = b"S", b"G", b"E"


class Terminal:
    """Runs a command in a new terminal. Use as a context manager.

    A small shell is the session's leader: it puts the job into a process group of its own, gives that the terminal, and
    tells when it is stopped and how it ended.
    """

    def __init__(
        self, command: Sequence[str | bytes], directory: Path, environment: Mapping[str, str], size: tuple[int, int]
    ) -> None:
        self.screen = b""
        self._told, telling = os.pipe()
        orders, self._orders = os.pipe()
        self._pid, self._master = pty.fork()
        if self._pid == 0:
            os.close(self._told)
            os.close(self._orders)
            _set_size(0, *size)
            _be_shell(list(map(os.fsencode, command)), directory, dict(environment), telling, orders)
        os.close(telling)
        os.close(orders)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._master)
        os.close(self._orders)
        os.close(self._told)
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def type(self, keys: bytes) -> None:
        """Type something."""
        os.write(self._master, keys)

    def resize(self, rows: int, columns: int) -> None:
        """Give the window another size."""
        _set_size(self._master, rows, columns)

    def wait_for(self, text: bytes) -> None:
        """Wait until the screen shows something."""
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.screen:
            assert self._read(deadline), f"the screen never showed {text!r}, but {self.screen!r}"

    def wait_until_stopped(self) -> None:
        """Wait until the shell has seen its job stop."""
        assert self._hear() == _STOPPED

    def go_on(self) -> None:
        """`fg`"""
        os.write(self._orders, _GO_ON)

    def end(self) -> int:
        """The job's exit status, a signal's number negative; everything it has written is on the screen then."""
        deadline = time.monotonic() + DEADLINE_S
        while self._read(deadline):
            pass
        assert self._hear() == _ENDED
        return int.from_bytes(os.read(self._told, 4), "little", signed=True)

    def _hear(self) -> bytes:
        ready, _, _ = select.select([self._told], [], [], DEADLINE_S)
        assert ready, f"the job neither stops nor ends; the screen shows {self.screen!r}"
        return os.read(self._told, 1)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # nobody has the terminal open any more
            return False
        self.screen += piece
        return bool(piece)


def _set_size(fd: int, rows: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _be_shell(command: list[bytes], directory: Path, environment: dict[str, str], telling: int, orders: int) -> None:
    """In the session's leader: one job in the foreground, until it ends."""
    try:
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.set_inheritable(telling, False)
        os.set_inheritable(orders, False)
        job = os.fork()
        if job == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.chdir(directory)
            os.execvpe(command[0], command, environment)
        while True:
            _, status = os.waitpid(job, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                os.write(telling, _ENDED + os.waitstatus_to_exitcode(status).to_bytes(4, "little", signed=True))
                break
            os.tcsetpgrp(0, os.getpgrp())
            os.write(telling, _STOPPED)
            os.read(orders, 1)
            os.tcsetpgrp(0, job)
            os.killpg(job, signal.SIGCONT)
    finally:
        os._exit(0)
