"""Signals: which come to the front, and which of them are to be passed on.

A signal to the process group (Ctrl-C in a terminal, `kill -INT -PGID`) reaches Terraform without us, one to the front
alone does not. Nothing in a signal tells the two apart, but the keeper, a member of the same group that nobody knows,
gets the one and not the other. Passed on twice, an interrupt makes Terraform abandon its state.
"""

from __future__ import annotations

import os
import signal

PASSED_ON = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT, signal.SIGALRM, signal.SIGTERM, signal.SIGUSR1,
    signal.SIGUSR2, signal.SIGTSTP, signal.SIGCONT, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGPWR,
)  # fmt: skip
WINDOW_S = 0.1  # within which a signal to the whole group has come to the keeper
CREDIT_S = 5.0  # within which the front has told of it


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


def heed() -> None:
    """In the front and the keeper: let those come that we wait for, whatever the caller had held up."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*PASSED_ON, signal.SIGCHLD))


def restore(mask: set[int | signal.Signals]) -> None:
    """In Terraform: hold up what the caller had held up, and nothing else."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class Forwarding:
    """Which signals that came to the front are to be passed on. Pure: time is an argument (seconds, any origin).

    Each signal that comes to all stands for one that the front tells of, whichever of the two is heard of first: a
    front that is slow to tell, stopped or starved, must not make one interrupt two.
    """

    def __init__(self) -> None:
        self._credits: list[tuple[int, float]] = []
        self._asked: list[tuple[int, float]] = []

    def came_to_all(self, number: int, now: float) -> None:
        """A signal that the whole group has got."""
        if not _take_out(self._asked, number):
            self._credits.append((number, now + CREDIT_S))

    def came_to_front(self, number: int, now: float) -> None:
        """A signal that the front has got."""
        self._credits = [(credited, until) for credited, until in self._credits if now < until]
        if not _take_out(self._credits, number):
            self._asked.append((number, now + WINDOW_S))

    def due_at(self) -> float | None:
        """When the next signal is to be decided upon; None when none waits."""
        return min((due for _, due in self._asked), default=None)

    def due(self, now: float) -> list[int]:
        """The signals that are to be passed on now: they came to nobody but the front."""
        forward = [number for number, due in self._asked if due <= now]
        self._asked = [(number, due) for number, due in self._asked if now < due]
        return forward


def _take_out(signals: list[tuple[int, float]], number: int) -> bool:
    """Remove the oldest of that number; returns whether there was one."""
    found = next((signal for signal in signals if signal[0] == number), None)
    if found is not None:
        signals.remove(found)
    return found is not None
