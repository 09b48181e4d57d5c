"""The relay: moves the outbox to the sinks, one entry at a time in each line, lines side by side.

    head of each (sink, resource ARN) line -> commit "sending" -> sink.send -> settle -> commit the outcome

It waits for a nudge (something was enqueued), a finished request or a tick (a replay from the command line, a due
retry). It decides nothing: `domain.outbox.settle` says what becomes of an entry, the journal keeps it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from .domain.outbox import Entry, EntryState, Outcome, OutcomeKind, settle
from .journal import Journal
from .sinks import Sink

TICK_S = 1.0
MAX_IN_FLIGHT = 4

Tell = Callable[[str, Mapping[str, object]], None]


class Relay:
    """Delivers entries until stopped. clock gives wall-clock seconds, draw a number in [0, 1).

    When made, it makes entries that were on the wire when the last agent died due again.
    """

    def __init__(
        self,
        journal: Journal,
        sinks: Mapping[str, Sink],
        tell: Tell,
        clock: Callable[[], float],
        draw: Callable[[], float],
        retry_scale: float = 1.0,
    ) -> None:
        self._journal = journal
        self._sinks = sinks
        self._tell = tell
        self._clock = clock
        self._draw = draw
        self._retry_scale = retry_scale
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._finished: queue.SimpleQueue[tuple[Entry, Outcome]] = queue.SimpleQueue()
        self._in_flight: set[int] = set()
        self._senders = ThreadPoolExecutor(MAX_IN_FLIGHT, thread_name_prefix="sender")
        # Here and not in `run`: afterwards the pipeline writes entries that are `sending` and were not interrupted.
        interrupted = journal.resume_after_crash(clock())
        if interrupted:
            tell("relay.resumed", {"entries": interrupted})

    def nudge(self) -> None:
        """Something was enqueued: look at once."""
        self._wake.set()

    def stop(self) -> None:
        """Begin no further request; `run` returns when those under way are settled."""
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        """Deliver until stopped."""
        try:
            while True:
                self._settle_finished()
                if self._stopping.is_set() and not self._in_flight:
                    return
                wait = TICK_S if self._stopping.is_set() else self._begin_due()
                self._wake.wait(wait)
                self._wake.clear()
        finally:
            self._senders.shutdown(wait=True)
            self._settle_finished()

    def _begin_due(self) -> float:
        """Begin every request that is due and has room; returns how long nothing will be due, in seconds."""
        now = self._clock()
        # Those under way are heads of their lines too, so that many more have to be asked for.
        for entry in self._journal.due_heads(self._sinks, now, MAX_IN_FLIGHT + len(self._in_flight)):
            if entry.seq not in self._in_flight and len(self._in_flight) < MAX_IN_FLIGHT:
                self._begin(entry, now)
        due_at = self._journal.next_due_at(now)
        return TICK_S if due_at is None else min(TICK_S, due_at - now)

    def _begin(self, entry: Entry, now: float) -> None:
        on_its_way = entry.state is EntryState.SENDING  # its observation has committed that already
        if not on_its_way and not self._journal.begin_attempt(entry.seq, now):
            return  # superseded since we looked
        self._in_flight.add(entry.seq)
        self._senders.submit(self._send, entry)

    def _send(self, entry: Entry) -> None:
        try:
            outcome = self._sinks[entry.sink].send(entry.notification)
        except Exception as error:  # noqa: BLE001, RUF100 - a sink must not be able to stop the others
            outcome = Outcome(OutcomeKind.UNAVAILABLE, type(error).__name__, ambiguous=True)
        self._finished.put((entry, outcome))
        self._wake.set()

    def _settle_finished(self) -> None:
        while True:
            try:
                entry, outcome = self._finished.get_nowait()
            except queue.Empty:
                return
            now = self._clock()
            attempt = entry.attempts + (entry.state is not EntryState.SENDING)
            settled = settle(attempt, outcome, now, self._draw(), self._retry_scale)
            self._journal.finish_attempt(entry.seq, outcome, settled, now)
            self._in_flight.discard(entry.seq)
            self._report(entry, outcome, settled.state, attempt, settled.due_at - now)

    def _report(self, entry: Entry, outcome: Outcome, state: EntryState, attempt: int, retry_in: float) -> None:
        name = {EntryState.DELIVERED: "notification.delivered", EntryState.PARKED: "notification.parked"}.get(
            state, "notification.deferred"
        )
        keys: dict[str, object] = {
            "seq": entry.seq, "run_id": entry.notification.run_id, "sink": entry.sink,
            "resource_arn": entry.notification.resource_arn, "deployment_id": entry.notification.deployment_id,
            "status": entry.notification.status.value, "attempt": attempt,
        }  # fmt: skip
        if state is not EntryState.DELIVERED:
            keys["reason"] = outcome.code or outcome.kind.value
        if state is EntryState.RETRYABLE:
            keys["retry_in_s"] = round(retry_in, 3)
        self._tell(name, keys)
