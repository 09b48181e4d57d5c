"""The keeper: Terraform's parent. It starts it, copies what it prints, waits for its end and writes the record.

It is a member of the same process group as the front and Terraform, so it sees which signals have come to all of them
(`signals`), and nothing that ends or stops the others ends or stops it: it goes on until Terraform has ended, its
record is written and its pipes are empty. If anything fails here but the copying itself, Terraform does not notice.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import time
from contextlib import suppress

from . import program, signals
from .complaint import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from typing import NoReturn

    from .command import Command
    from .listener import Listener
    from .record import RecordKeeper
    from .streams import Streams

_FOLLOW_S = 0.25  # between two looks at a file that Terraform writes itself
_CANNOT_RUN = 126
HAS_COMPLAINED = 1


class Orders:
    """The pipe from the front to the keeper: one byte for each signal that has come to the front."""

    def __init__(self) -> None:
        self.source, self._inlet = os.pipe()

    def write_only(self) -> None:
        """In the front."""
        os.close(self.source)
        os.set_blocking(self._inlet, False)

    def read_only(self) -> None:
        """In the keeper."""
        os.close(self._inlet)

    def pass_on(self, number: int) -> None:
        """Say that a signal has come. A keeper that has died or is buried in signals does not hear it."""
        try:
            os.write(self._inlet, bytes([number]))
        except OSError:
            return

    def read(self) -> list[int]:
        """The signals that have come to the front; empty when there is no front any more."""
        return list(os.read(self.source, 4096))


class Told:
    """The pipe from the keeper to the front.

    terraform: its pid, known before it runs. status: its wait status, once it has ended. deaf: streams (1 or 2) that
    nobody reads any more. is_over: nothing more will be said; goes_on: the keeper copies on when the front has ended.
    """

    _SAID = struct.Struct("=ci")

    def __init__(self) -> None:
        self.source, self._inlet = os.pipe()
        self.terraform: int | None = None
        self.status: int | None = None
        self.deaf: list[int] = []
        self.is_over = False
        self.goes_on = False

    def read_only(self) -> None:
        """In the front."""
        os.close(self._inlet)

    def write_only(self) -> None:
        """In the keeper."""
        os.close(self.source)

    def say(self, what: bytes, number: int) -> None:
        """`P` and Terraform's pid, `D` and a stream, `S` and the wait status, or `E` and whether the keeper goes on. A
        front that has died hears nothing."""
        try:
            os.write(self._inlet, self._SAID.pack(what, number))
        except OSError:
            return

    def hang_up(self) -> None:
        """Nothing more will be said."""
        os.close(self._inlet)

    def read(self) -> None:
        """Take what was said."""
        said = os.read(self.source, 64 * self._SAID.size)
        self.is_over = not said
        for what, number in self._SAID.iter_unpack(said):
            if what == b"P":
                self.terraform = number
            elif what == b"D":
                self.deaf.append(number)
            elif what == b"S":
                self.status = number
            else:
                self.is_over, self.goes_on = True, bool(number)


class Keeper:
    """Keeps one command. Made in a process of its own; `work` never returns."""

    def __init__(
        self, path: str, command: Command, streams: Streams, kept: RecordKeeper, settings: str, orders: Orders,
        told: Told, front: int,
    ) -> None:  # fmt: skip
        self._path, self._command, self._streams, self._settings = path, command, streams, settings
        self._record: RecordKeeper | None = kept
        self._orders, self._told, self._front = orders, told, front
        self._forwarding = signals.Forwarding()
        self._listener: Listener | None = None
        self._loading: threading.Thread | None = None
        self._unheard: list[tuple[int, bytes]] = []
        self._front_lives, self._front_stopped = True, False

    def work(self, mask: set[int | signal.Signals]) -> NoReturn:
        """Start Terraform, keep it, and end. mask: the signals that were held up before `signals.block`."""
        try:
            self._orders.read_only()
            self._told.write_only()
            terraform, gate, failed = self._fork(mask)
            self._streams.let_go()
            self._inbox = signals.Inbox()
            signals.heed()
            self._begin(terraform)
            self._told.say(b"P", terraform)  # before it runs: whoever does not know that it does may run it again
            os.write(gate, b"!")
        except BaseException as error:  # noqa: BLE001, RUF100 - the front runs the command itself then
            self._give_up(error)
            os._exit(HAS_COMPLAINED)
        os.close(gate)
        self._keep(terraform, failed)
        self._told.say(b"E", self._streams.are_open())
        self._told.hang_up()
        try:
            self._copy_on()
        finally:
            os._exit(0)

    def _keep(self, terraform: int, failed: int) -> None:
        """Keep Terraform to its end, with a record or without one, and tell the front how it ended."""
        status = None
        for _ in range(2):
            try:
                self._begin_to_listen()
                status = self._wait_for(terraform)
                self._told.say(b"S", status)
                self._streams.drain(self._hear)
                self._end(status, started=not os.read(failed, 1))
            except Exception as error:  # noqa: BLE001, RUF100 - Terraform goes on, only its record does not
                self._give_up(error)
            if status is not None:
                return
        os._exit(HAS_COMPLAINED)  # the front copies on, and waits

    # --- starting ------------------------------------------------------------------------------------------------

    def _fork(self, mask: set[int | signal.Signals]) -> tuple[int, int, int]:
        """Terraform's process, which waits at a gate until its record is there; the gate, and what says whether the
        command could not be run after all."""
        waiting, gate = os.pipe()
        failed, failure = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(gate)
            self._become_terraform(waiting, failure, mask)
        os.close(waiting)
        os.close(failure)
        return pid, gate, failed

    def _become_terraform(self, waiting: int, failure: int, mask: set[int | signal.Signals]) -> NoReturn:
        try:
            if os.read(waiting, 1):
                self._streams.give()
                if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler would swallow one that waits
                signals.restore(mask)
                program.become(self._path, self._command.words)
        except OSError as error:
            complain(f"{self._path}: {error.strerror}")
            os.write(failure, b"!")
        finally:
            os._exit(_CANNOT_RUN)

    def _begin(self, terraform: int) -> None:
        try:
            assert self._record is not None  # noqa: S101 - nothing has failed yet
            self._record.begin(terraform)
        except OSError as error:
            self._lose_record(error)

    def _lose_record(self, error: OSError) -> None:
        complain(f"this run is not recorded: {error.filename or 'its record'}: {error.strerror}")
        if self._record is not None:
            self._record.discard()
        self._record = None

    def _begin_to_listen(self) -> None:
        """Import what listens while Terraform starts, in a thread: neither holds up the other."""
        if self._record is None or self._loading is not None:
            return
        import threading

        self._loading = threading.Thread(target=self._load_listener, args=(self._record.record_id,), daemon=True)
        self._loading.start()

    def _load_listener(self, record_id: str) -> None:
        try:
            from .listener import Listener

            self._listener = Listener(self._command, record_id, self._settings, self._streams.are_heard)
        except Exception as error:  # noqa: BLE001, RUF100 - how Terraform ends is recorded all the same
            complain(f"what is printed is not recorded: {program.said_of(error)}")

    # --- keeping -------------------------------------------------------------------------------------------------

    def _wait_for(self, terraform: int) -> int:
        """Copy, listen and pass signals on until Terraform has ended; returns its wait status."""
        follow_at = time.monotonic()
        while True:
            now = time.monotonic()
            if self._streams.followed and now >= follow_at:
                more = [followed.hear(self._hear) for followed in self._streams.followed]
                follow_at = now if any(more) else now + _FOLLOW_S
            self._go_on(now)
            ready = self._poll(self._timeout(follow_at if self._streams.followed else None, now))
            status = self._take_signals(terraform)
            if status is not None:
                return status
            if self._front_lives and self._orders.source in ready:
                self._take_orders()
            for stream in self._streams.pump(ready, self._hear):
                self._told.say(b"D", stream)
            for number in self._forwarding.due(time.monotonic()):
                self._forward(terraform, number)

    def _poll(self, timeout: float | None) -> dict[int, int]:
        poll = select.poll()
        poll.register(self._inbox, select.POLLIN)
        if self._front_lives:
            poll.register(self._orders.source, select.POLLIN)
        self._streams.register(poll)
        return dict(poll.poll(None if timeout is None else max(0, int(timeout * 1000) + 1)))

    def _timeout(self, follow_at: float | None, now: float) -> float | None:
        waits = [self._forwarding.due_at(), follow_at, self._listener.due_at() if self._listener else None]
        return min((at - now for at in waits if at is not None), default=None)

    def _take_signals(self, terraform: int) -> int | None:
        """Note what has come to the whole group; Terraform's wait status when it has ended."""
        ended = None
        for number in self._inbox.read():
            if number != signal.SIGCHLD:
                self._forwarding.came_to_all(number, time.monotonic())
                self._front_stopped = self._front_stopped and number != signal.SIGCONT
            elif ended is None:
                ended = self._look_at(terraform)
        return ended

    def _look_at(self, terraform: int) -> int | None:
        """Terraform's wait status when it has ended. A front whose Terraform is stopped stops, too: its shell waits for
        that; and it goes on when Terraform does."""
        while True:
            pid, status = os.waitpid(terraform, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if not pid:
                return None
            if os.WIFSTOPPED(status):
                self._signal_front(signal.SIGSTOP)
                self._front_stopped = True
            elif os.WIFCONTINUED(status):
                if self._front_stopped:
                    self._signal_front(signal.SIGCONT)
                    self._forwarding.came_to_all(signal.SIGCONT, time.monotonic())  # it needs no passing on
                self._front_stopped = False
            else:
                return status

    def _signal_front(self, number: int) -> None:
        if self._front_lives and os.getppid() == self._front:
            os.kill(self._front, number)

    def _take_orders(self) -> None:
        numbers = self._orders.read()
        self._front_lives = bool(numbers)
        for number in numbers:
            self._forwarding.came_to_front(number, time.monotonic())

    def _forward(self, terraform: int, number: int) -> None:
        os.kill(terraform, number)  # our child, not waited for yet: the pid is its own

    def _hear(self, stream: int, words: bytes) -> None:
        if self._loading is not None:
            self._unheard.append((stream, words))
            self._catch_up()

    def _catch_up(self) -> None:
        """Let the listener hear what came before it was there."""
        listener = self._listener
        if listener is None:
            return
        unheard, self._unheard = self._unheard, []
        try:
            for stream, words in unheard:
                listener.hear(stream, words)
        except Exception as error:  # noqa: BLE001, RUF100 - Terraform goes on, only less is known of it
            listener.stop_listening(error)

    def _go_on(self, now: float) -> None:
        """Write down what was heard, now and then."""
        if self._listener is not None and self._record is not None and self._listener.is_due(now):
            with suppress(OSError):  # there may be room for the end
                self._record.go_on(self._listener.so_far(now))

    # --- ending --------------------------------------------------------------------------------------------------

    def _end(self, status: int, started: bool) -> None:
        """Finish the record. The front does not end before: its end may be that of the directory, and of us."""
        record, loading = self._record, self._loading
        if record is None or loading is None:
            return
        if not started:
            record.discard()
            return
        code, number = (0, os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (os.WEXITSTATUS(status), 0)
        now = time.time()
        loading.join()
        try:
            record.end(self._everything(None if number else code), code, number, now)
        except OSError as error:
            complain(f"the end of this run is not recorded: {error.filename or 'its record'}: {error.strerror}")
        record.let_go()

    def _everything(self, status: int | None) -> list[object]:
        """All that was heard; nothing where that fails, for how it ended is known all the same."""
        self._catch_up()
        try:
            return self._listener.everything(self._path, status) if self._listener else []
        except Exception as error:  # noqa: BLE001, RUF100
            complain(f"what was printed is not recorded: {program.said_of(error)}")
            return []

    def _give_up(self, error: BaseException) -> None:
        """Something of ours has failed that should not have. What was recorded stays: an end nobody has seen."""
        complain(f"this run is not recorded to its end: {program.said_of(error)}")
        if self._record is not None:
            self._record.let_go()
        self._record = self._listener = self._loading = None
        self._unheard.clear()

    def _copy_on(self) -> None:
        """Something that Terraform has started may still write: copy that, too. The caller is not held up by it."""
        while self._streams.are_open():
            poll = select.poll()
            self._streams.register(poll)
            self._streams.pump(dict(poll.poll()), self._hear)
