"""Signals: which come to the front, and which of them are to be passed on.

A signal to the process group (Ctrl-C in a terminal, `kill -INT -PGID`) reaches Terraform without us, one to the front
alone does not. Nothing in a signal tells the two apart, but the keeper, a member of the same group that nobody knows,
gets the one and not the other. Passed on twice, an interrupt makes Terraform abandon its state.
"""

from __future__ import annotations

import os
import signal

PASSED_ON = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP,
    signal.SIGCONT,
)  # fmt: skip
WINDOW_S = 0.1  # within which a signal to the whole group has come to each of its members


class Inbox:
    """Signals that have come, to be read when there is time; fileno is readable when there are any."""

    def __init__(self) -> None:
        self._fd, self._wakeup = os.pipe()
        for fd in (self._fd, self._wakeup):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for number in (*PASSED_ON, signal.SIGCHLD):
            signal.signal(number, _take)

    def fileno(self) -> int:
        return self._fd

    def read(self) -> list[int]:
        """The numbers of the signals that have come since the last time, in order."""
        try:
            return list(os.read(self._fd, 4096))
        except BlockingIOError:
            return []


def _take(_number: int, _frame: object) -> None:
    """The wakeup descriptor has it already."""


def block() -> set[int | signal.Signals]:
    """Let signals wait; returns the mask before. A child that is forked now has missed none."""
    return signal.pthread_sigmask(signal.SIG_BLOCK, (*PASSED_ON, signal.SIGCHLD))


def restore(mask: set[int | signal.Signals]) -> None:
    """Let those come that `block` has held up."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class Forwarding:
    """Which signals that came to the front are to be passed on. Pure: time is an argument (seconds, any origin)."""

    def __init__(self) -> None:
        self._came_to_all: dict[int, float] = {}
        self._asked: list[tuple[int, float]] = []

    def came_to_all(self, number: int, now: float) -> None:
        """A signal that the whole group has got."""
        self._came_to_all[number] = now

    def came_to_front(self, number: int, now: float) -> None:
        """A signal that the front has got."""
        self._asked.append((number, now))

    def due_at(self) -> float | None:
        """When the next signal is to be decided upon; None when none waits."""
        return min((at + WINDOW_S for _, at in self._asked), default=None)

    def due(self, now: float) -> list[int]:
        """The signals that are to be passed on now: they came to nobody but the front."""
        waiting, forward = [], []
        for number, at in self._asked:
            to_all = self._came_to_all.get(number)
            if to_all is not None and abs(to_all - at) <= WINDOW_S:
                continue
            if now < at + WINDOW_S:
                waiting.append((number, at))
            else:
                forward.append(number)
        self._asked = waiting
        return forward
