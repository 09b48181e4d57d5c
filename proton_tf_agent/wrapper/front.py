"""The front: what the caller started. It passes on what it is told and ends as Terraform ends.

Everything else is the keeper's. Should that die, its pipes are copied on here, and the front ends when Terraform does.
"""

from __future__ import annotations

import os
import select
import signal
import time

from . import job, program, record, signals
from .command import Command
from .complaint import complain
from .keeper import HAS_COMPLAINED, Keeper, Orders, Told
from .streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
_LOST = 128 + signal.SIGKILL  # of a keeper that was killed: how Terraform ended nobody knows, and it is no success


def attend(path: str, command: Command, config: str | None) -> int:
    """Run a command under a keeper and end as it ends; where that cannot be, become it."""
    mask = None
    try:
        settings = record.settings_path(config, os.environ)
        spool = record.spool_path(settings, os.environ)
        if not os.path.isdir(spool):
            raise FileNotFoundError(2, "no such directory", spool)
        streams = Streams()
        kept = record.RecordKeeper(spool, command, streams.described(), job.find(os.environ), time.time())
        orders, told = Orders(), Told()
        mask = signals.block()
        front = os.getpid()
        pid = os.fork()
    except Exception as error:  # noqa: BLE001, RUF100 - whatever it is, the command runs
        complain(f"this run is not recorded: {program.said_of(error)}")
        if mask is not None:
            signals.restore(mask)
        program.become(path, command.words)
    if pid == 0:
        Keeper(path, command, streams, kept, settings, orders, told, front).work(mask)
    streams.let_go()
    orders.write_only()
    told.read_only()
    inbox = signals.Inbox()
    signals.heed()
    return _Front(pid, inbox, orders, told, streams).attend(path, command)


class _Front:
    """The loop of the front: signals one way, the end the other."""

    def __init__(self, keeper: int, inbox: signals.Inbox, orders: Orders, told: Told, streams: Streams) -> None:
        self._keeper, self._inbox, self._orders, self._told, self._streams = keeper, inbox, orders, told, streams

    def attend(self, path: str, command: Command) -> int:
        told = self._told
        poll = select.poll()
        poll.register(self._inbox, select.POLLIN)
        poll.register(told.source, select.POLLIN)
        while not told.is_over:
            ready = dict(poll.poll())
            self._pass_on(self._inbox.read())
            if told.source in ready:
                told.read()
            while told.deaf:  # a pipe is closed when every reader has closed it, and we are one
                self._streams.close(told.deaf.pop())
        if told.status is not None:
            if not told.goes_on:
                os.waitpid(self._keeper, 0)  # so that nothing of ours is left when the caller goes on
            return end_as(told.status)
        if told.terraform is None:  # nothing has been started
            _, status = os.waitpid(self._keeper, 0)
            if status != HAS_COMPLAINED << 8:
                complain("this run is not recorded: our keeper has died")
            program.become(path, command.words)
        return self._keep_on()

    def _pass_on(self, numbers: list[int]) -> None:
        """Pass on what has come. When Terraform has ended and only its reader or its record is waited for, what would
        end a command ends us; the keeper finishes alone."""
        for number in numbers:
            if self._told.status is not None and number in _ENDING:
                end_as(number)
            elif number != signal.SIGCHLD:
                self._orders.pass_on(number)

    def _keep_on(self) -> int:
        """The keeper was killed: let Terraform end in its own time. Nothing is passed on: nobody can tell any more what
        has come to all, and an interrupt that comes twice makes Terraform abandon its state."""
        terraform = self._told.terraform
        assert terraform is not None  # noqa: S101 - the caller has looked
        try:
            ended = os.pidfd_open(terraform)
        except OSError:
            ended = -1
        while ended >= 0 or self._streams.are_open():
            poll = select.poll()
            poll.register(self._inbox, select.POLLIN)
            if ended >= 0:
                poll.register(ended, select.POLLIN)
            self._streams.register(poll)
            ready = dict(poll.poll())
            self._inbox.read()
            self._streams.pump(ready, _deaf)
            if ended in ready:
                break
        self._streams.drain(_deaf)
        complain("our keeper was killed: how the command ended is not known")
        return _LOST


def _deaf(_stream: int, _words: bytes) -> None:
    """Only the keeper listens."""


def end_as(status: int) -> int:
    """End as a process with this wait status ended: the exit status, or death by the same signal."""
    if not os.WIFSIGNALED(status):
        _leave(os.WEXITSTATUS(status))
    number = os.WTERMSIG(status)
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it has dumped its core, we have nothing to show
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    _leave(128 + number)


def _leave(status: int) -> NoReturn:
    os._exit(status)  # nothing of ours waits to be written, and whoever called waits for us
