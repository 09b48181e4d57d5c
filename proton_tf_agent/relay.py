"""The relay: moves the outbox to the sinks, one entry at a time in each line, lines side by side.

    head of each (sink, subject) line -> commit "sending" -> sink.send -> settle -> commit the outcome

It waits for a nudge (something was enqueued), a finished request or a tick (a replay from the command line, a due
retry). It decides nothing: `domain.retry` says what becomes of an entry, `domain.circuit` whether a sink is held up as
a whole, `domain.pace` how fast it is served, and the journal keeps it all. Waits are measured by a clock that only goes
forward (`ticks`); wall-clock time is kept for people alone, and for what is left of a wait when an agent starts.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from .domain import circuit as circuits
from .domain import pace as paces
from .domain.circuit import Circuit
from .domain.errors import JournalFull
from .domain.notification import Notification, keys_of
from .domain.outbox import Entry, EntryState, Outcome, OutcomeKind, reduced
from .domain.pace import Pace
from .domain.retry import ACCEPTANCES, MAX_WAIT_S, REASSERT_AFTER_S, RULES, Settled, is_spent, settle
from .domain.values import replace
from .journal import Head, Journal, Part
from .journal_room import JournalRoom
from .senders import Senders
from .sinks import Continues, ReadsBack, Sink

TICK_S = 1.0
MAX_IN_FLIGHT = 4  # for each sink
STOP_S = 10.0  # how long requests under way are waited for at the end

Tell = Callable[[str, Mapping[str, object]], None]
T = TypeVar("T")
Submit = Callable[[Callable[[], None]], None]


@dataclass(slots=True)
class _Outlet:
    """A sink as the relay sees it: how it does, and what is on its way to it."""

    sink: Sink
    circuit: Circuit = field(default_factory=Circuit)
    held_since: float = 0.0  # wall-clock seconds
    pace: Pace = field(default_factory=Pace)
    in_flight: set[int] = field(default_factory=set)
    due: dict[int, float] = field(default_factory=dict)  # ticks at which the heads of its lines are due, by seq
    tried_at: dict[str, float] = field(default_factory=dict)  # by line, in ticks; forgotten when nothing holds it up
    accepted_at: float = float("-inf")  # ticks
    is_paused: bool = False

    def room(self) -> int:
        """How many requests may be under way besides those that are."""
        return (1 if self.circuit.is_open else MAX_IN_FLIGHT) - len(self.in_flight)

    def ready_in(self, ticks: float) -> float:
        """Seconds until a request may leave, if one is due."""
        if self.is_paused:
            return TICK_S
        if self.circuit.is_open:
            return max(0.0, self.circuit.probe_at - ticks)
        return paces.ready_in(self.pace, ticks)


@dataclass(frozen=True, slots=True)
class _Finished:
    entry: Entry
    outcome: Outcome
    begun: float  # ticks


class Relay:
    """Delivers entries until stopped.

    clock gives wall-clock seconds, ticks seconds that only go forward, draw a number in [0, 1); submit runs a request
    beside the caller; scale shortens every wait (tests and the demo only). When made, it makes entries that were on
    the wire when the last agent died due again.
    """

    def __init__(
        self,
        journal: Journal,
        sinks: Mapping[str, Sink],
        tell: Tell,
        clock: Callable[[], float],
        draw: Callable[[], float],
        *,
        ticks: Callable[[], float] = time.monotonic,
        submit: Submit | None = None,
        scale: float = 1.0,
    ) -> None:
        self._journal = journal
        self._tell = tell
        self._clock = clock
        self._ticks = ticks
        self._draw = draw
        self._scale = scale
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._room = JournalRoom(journal, Part.DELIVERIES, tell)
        self._finished: queue.SimpleQueue[_Finished] = queue.SimpleQueue()
        self._nudged = True
        self._failing_since: dict[int, float] = {}  # ticks, by seq
        self._submit = submit or Senders(MAX_IN_FLIGHT * max(1, len(sinks))).submit
        known = journal.circuits()
        self._outlets = {name: _Outlet(sink, *known.get(name, ())) for name, sink in sinks.items()}
        self._has_resumed = False
        # Here and not in `run`: afterwards the pipeline writes entries that are `sending` and were not interrupted.
        with suppress(JournalFull):  # at the first turn that has room, then
            self._resume()

    def _resume(self) -> None:
        interrupted = self._record(lambda: self._journal.resume_after_crash(self._clock()))
        self._has_resumed = True
        if interrupted:
            self._tell("relay.resumed", {"entries": interrupted})

    def nudge(self) -> None:
        """Something was enqueued: look at once."""
        self._nudged = True
        self._wake.set()

    def stop(self) -> None:
        """Begin no further request; `run` returns when those under way are settled, or ten seconds have passed."""
        self._stopping.set()
        self._wake.set()

    def run(self, beat: Callable[[], None] = lambda: None) -> None:
        """Deliver until stopped. What is still on the wire ten seconds later is sent again by the next agent.

        beat is called at every turn.
        """
        give_up_at = float("inf")
        while True:
            beat()
            wait = min(TICK_S, self.turn())
            if self._stopping.is_set():
                give_up_at = min(give_up_at, self._ticks() + STOP_S)
                wait = min(wait, give_up_at - self._ticks())
                if wait <= 0 or not any(outlet.in_flight for outlet in self._outlets.values()):
                    return
            self._wake.wait(wait)
            self._wake.clear()

    def turn(self) -> float:
        """Settle what has finished and begin what is due; returns for how many seconds nothing will be due.

        Nothing leaves while there is no room to record what comes of it.
        """
        if self._room.is_used_up and not self._room.has_returned():
            return TICK_S
        try:
            if not self._has_resumed:
                self._resume()
            self._settle_finished()
            self._heed_pauses()
            return TICK_S if self._stopping.is_set() else max(0.0, self._begin_due())
        except JournalFull:
            self._room.used_up()
            self._nudged = True  # what was begun has not been looked at
            return TICK_S

    def _record(self, work: Callable[[], T]) -> T:
        return self._journal.commit(work, Part.DELIVERIES)

    def _heed_pauses(self) -> None:
        """A person may have paused a sink, or let it go on, in the journal."""
        pauses = self._journal.pauses()
        for name, outlet in self._outlets.items():
            pause = pauses.get(name)
            if (pause is not None) == outlet.is_paused:
                continue
            outlet.is_paused = pause is not None
            if pause is not None:
                self._tell("sink.paused", {"sink": name, "who": pause.who, "reason": pause.reason or None})
            else:
                self._tell("sink.unpaused", {"sink": name})
            self._nudged = True  # of one that goes on everything may be due, of a paused one something may have begun

    # --- beginning -----------------------------------------------------------------------------------------

    def _begin_due(self) -> float:
        """Begin every request that is due and has room; returns how long nothing will be due, in seconds."""
        ticks, wait = self._ticks(), float("inf")
        nudged, self._nudged = self._nudged, False
        # Behind an open circuit nothing need be looked at between two probes, but for what was just enqueued.
        worth = {name: o for name, o in self._outlets.items() if nudged or o.ready_in(ticks) <= 0}
        heads = self._journal.heads(worth) if worth else []
        for name, outlet in worth.items():
            of_it = [head for head in heads if head.sink == name]
            outlet.due = {head.seq: self._due_at(head, outlet, ticks) for head in of_it}
            waiting = [head for head in of_it if head.seq not in outlet.in_flight]
            wait = min(wait, self._begin_of(outlet, waiting, ticks))
        return min((wait, *(o.ready_in(ticks) for name, o in self._outlets.items() if name not in worth)))

    def _begin_of(self, outlet: _Outlet, waiting: list[Head], ticks: float) -> float:
        """The same for one sink, of whose lines these heads wait."""
        if outlet.is_paused:
            self._withdraw(outlet, waiting)
            return TICK_S
        for head in self._in_turn(outlet, waiting, ticks):
            if outlet.room() <= 0:
                break  # a request that ends makes room, and wakes us
            due_in, ready_in = self._due_in(head, outlet, ticks), outlet.ready_in(ticks)
            if ready_in > 0:
                self._withdraw(outlet, waiting)
            if ready_in > 0 or due_in > 0:
                return max(ready_in, due_in)
            self._begin(head, outlet, ticks)
        return float("inf")

    def _withdraw(self, outlet: _Outlet, waiting: Iterable[Head]) -> None:
        """Take back what their observations have committed, that they are on their way: they will have to wait."""
        for head in waiting:
            if head.sending and head.seq not in outlet.in_flight:
                self._record(partial(self._journal.withdraw_attempt, head.seq))

    def _in_turn(self, outlet: _Outlet, heads: Iterable[Head], ticks: float) -> list[Head]:
        """Heads in the order in which they may go: the longest due first; for a probe, the one tried longest ago."""
        if not outlet.circuit.is_open:
            return sorted(heads, key=lambda head: (outlet.due[head.seq], head.seq))
        tried, never = outlet.tried_at, float("-inf")
        return sorted(
            heads,
            key=lambda head: (max(0.0, self._due_in(head, outlet, ticks)), tried.get(head.line, never), head.seq),
        )

    def _due_in(self, head: Head, outlet: _Outlet, ticks: float) -> float:
        """Seconds until an entry is due. Behind an open circuit, those that wait for the sink wait for its probes."""
        if outlet.circuit.is_open and head.failing is not None and RULES[head.failing].trips is not None:
            return 0.0
        return outlet.due[head.seq] - ticks

    def _due_at(self, head: Head, outlet: _Outlet, ticks: float) -> float:
        """Ticks at which an entry is due. When it is seen for the first time, what an earlier agent left of its wait is
        told by the wall clock; one that was set back cannot make it longer than any wait is."""
        if head.seq in outlet.due:
            return outlet.due[head.seq]
        left = min(head.due_at - self._clock(), MAX_WAIT_S) if head.due_at is not None else 0.0
        return ticks + max(0.0, left)

    def _begin(self, head: Head, outlet: _Outlet, ticks: float) -> None:
        now = self._clock()
        entry = self._journal.entry(head.seq, now)
        if entry is None:
            return  # damaged on disk, and parked
        if entry.state is not EntryState.SENDING:
            if not self._record(partial(self._journal.begin_attempt, entry.seq, now)):
                return  # superseded or discarded since we looked
            entry = replace(entry, state=EntryState.SENDING, attempts=entry.attempts + 1)
        outlet.in_flight.add(entry.seq)
        outlet.tried_at[entry.line] = ticks
        if not outlet.circuit.is_open:
            outlet.pace = paces.taken(outlet.pace, ticks)
        self._submit(partial(self._send, entry, self._way(entry, outlet.sink), outlet.sink, ticks))

    def _way(self, entry: Entry, sink: Sink) -> Callable[[Notification], Outcome]:
        """How a sink is told: with what its receiver calls the run, if it cares. Not for the thread that sends."""
        if isinstance(sink, Continues):
            return partial(sink.send_on, reference=self._journal.reference(entry.notification.run_id, entry.sink))
        return sink.send

    def _send(self, entry: Entry, tell: Callable[[Notification], Outcome], sink: Sink, begun: float) -> None:
        """One request, on a thread of its own."""
        try:
            outcome = tell(_said(entry))
            if outcome.kind is OutcomeKind.CONFLICT and is_spent(entry, outcome) and isinstance(sink, ReadsBack):
                outcome = sink.read_back(entry.notification)
        except Exception as error:  # noqa: BLE001, RUF100 - a sink must not be able to stop the others
            outcome = Outcome(OutcomeKind.UNAVAILABLE, type(error).__name__, ambiguous=True)
        self._finished.put(_Finished(entry, outcome, begun))
        self._wake.set()

    # --- settling ------------------------------------------------------------------------------------------

    def _settle_finished(self) -> None:
        while True:
            try:
                finished = self._finished.get_nowait()
            except queue.Empty:
                return
            try:
                self._settle(finished)
            except JournalFull:
                self._finished.put(finished)
                raise

    def _settle(self, finished: _Finished) -> None:
        entry, outcome = finished.entry, finished.outcome
        outlet, now, ticks = self._outlets[entry.sink], self._clock(), self._ticks()
        others_succeed = outlet.accepted_at > self._failing_since.setdefault(entry.seq, finished.begun)
        settled = settle(entry, outcome, self._draw(), others_succeed=others_succeed)
        wait = settled.wait * self._scale
        circuit = circuits.after(
            outlet.circuit, entry.line, outcome, ticks, self._draw(), suspect=entry.suspect and settled.suspect
        )
        held = replace(circuit, probe_at=ticks + (circuit.probe_at - ticks) * self._scale)
        since = outlet.held_since if outlet.circuit.held_for is held.held_for else now
        reassert_after = REASSERT_AFTER_S * self._scale

        def work() -> int:
            again = self._journal.finish_attempt(entry.seq, outcome, replace(settled, wait=wait), now, reassert_after)
            if held.is_open or outlet.circuit.is_open:
                self._journal.put_circuit(entry.sink, held, since)
            return again

        again = self._record(work)
        self._remember(finished, settled, ticks + wait)
        if again:
            outlet.due[again] = ticks + reassert_after
        self._report(entry, outcome, settled, wait, self._journal.entry(again, now) if again else None)
        self._change(outlet, held, since, ticks)

    def _remember(self, finished: _Finished, settled: Settled, due: float) -> None:
        entry, ticks = finished.entry, self._ticks()
        outlet = self._outlets[entry.sink]
        outlet.in_flight.discard(entry.seq)
        outlet.pace = paces.after(outlet.pace, finished.outcome, finished.begun, ticks)
        if finished.outcome.kind in ACCEPTANCES:
            outlet.accepted_at = ticks
        if settled.state is EntryState.RETRYABLE:
            outlet.due[entry.seq] = due
        else:
            outlet.due.pop(entry.seq, None)
            self._failing_since.pop(entry.seq, None)

    def _change(self, outlet: _Outlet, circuit: Circuit, since: float, ticks: float) -> None:
        """Take over what is now known of a sink as a whole, and say so when it is something else than before."""
        before, outlet.circuit, outlet.held_since = outlet.circuit, circuit, since
        if circuit.held_for is before.held_for:
            return
        told: dict[str, object] = {"sink": outlet.sink.name}
        if circuit.held_for is None:
            outlet.tried_at.clear()
            if before.held_for in (OutcomeKind.UNAVAILABLE, OutcomeKind.UNRESOLVABLE, OutcomeKind.GONE):
                outlet.pace = paces.recovering(ticks)
            self._tell("sink.resumed", {**told, "probes": before.probes})
        else:
            name = "sink.gone" if circuit.held_for is OutcomeKind.GONE else "sink.held"
            self._tell(name, {**told, "held_for": circuit.held_for.value, "reason": circuit.code})

    def _report(self, entry: Entry, outcome: Outcome, settled: Settled, wait: float, again: Entry | None) -> None:
        name = _TOLD.get(settled.state, "notification.deferred")
        keys: dict[str, object] = {
            "seq": entry.seq, "run_id": entry.notification.run_id, "sink": entry.sink, **keys_of(entry.notification),
            "status": entry.notification.status.value, "attempt": entry.attempts,
        }  # fmt: skip
        if settled.state is not EntryState.DELIVERED:
            keys["reason"] = outcome.code or outcome.kind.value
        if settled.state is EntryState.RETRYABLE:
            keys["retry_in_s"] = round(wait, 3)
        self._tell(name, keys)
        if settled.reduced and not entry.reduced:
            self._tell("notification.reduced", {**_without(keys, "retry_in_s"), "request_id": outcome.request_id})
        if settled.suspect and not entry.suspect:
            self._tell("notification.suspected", keys)
        if again is not None:
            said = again.notification
            self._tell("notification.reasserted", {
                "seq": again.seq, "replay_of": again.replay_of, "run_id": said.run_id, "sink": again.sink,
                **keys_of(said), "status": said.status.value,
            })  # fmt: skip


_TOLD = {EntryState.DELIVERED: "notification.delivered", EntryState.PARKED: "notification.parked"}


def _said(entry: Entry) -> Notification:
    return reduced(entry.notification) if entry.reduced else entry.notification


def _without(keys: Mapping[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in keys.items() if name not in names}
