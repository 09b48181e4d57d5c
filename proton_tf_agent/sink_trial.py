"""`sinks test`: one marked notification to one sink, on the way that all of them go, and what came of it.

While an agent runs it is the agent that sends: with its credentials, in its sandbox, beside what else it sends there.
The entry is told once: whatever is not accepted at the first attempt is discarded. Without an agent it is sent from
here, and so it is to a shadow, to which the agent sends nothing. A sink that can be told no test (Proton takes
everything for a deployment's status) is tried out instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from .domain.errors import AgentError, Problem
from .domain.notification import Notification, trial_of
from .domain.outbox import EntryState, Outcome, OutcomeKind
from .journal import Journal
from .journal_file import is_held
from .settings import Settings, SinkSettings
from .sink_assembly import make_sink
from .sinks import Reachable

_LOOK_EVERY_S = 0.1
_UNDER_WAY_S = 30.0  # for which a request that is on its way once more is waited for, to be given up
_UNSENT = (EntryState.PENDING, EntryState.RETRYABLE, EntryState.PARKED)


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it. told: the test that was sent; None where none can be. outcome: None when there was none in time,
    or nobody to be asked. by_agent: whether it was the agent that sent it."""

    told: Notification | None
    outcome: Outcome | None
    by_agent: bool = False


def try_sink(
    settings: Settings, journal: Journal, named: SinkSettings, who: str, now: float, wait: float,
    ticks: Callable[[], float] = time.monotonic,
) -> Trial:  # fmt: skip
    """Tell a sink a test. wait: seconds within which the agent must have sent it. AgentError when it is paused."""
    told = trial_of(named.name, who, now)
    with closing(make_sink(named, settings)) as sink:
        if not sink.wants(told):
            return Trial(None, sink.try_out() if isinstance(sink, Reachable) else None)
        if named.shadow or not is_held(journal.path):
            return Trial(told, sink.send(told))
    if named.name in journal.pauses():
        raise AgentError(Problem(f"{named.name} is paused", hint=f"`sinks resume {named.name}` first"))
    return Trial(told, _by_agent(journal, named.name, told, who, now, ticks() + wait, ticks), by_agent=True)


def _by_agent(
    journal: Journal, sink: str, told: Notification, who: str, now: float, until: float, ticks: Callable[[], float]
) -> Outcome | None:
    """What came of the agent's first attempt; None when it made none until then."""
    with journal.transaction():
        seq, _ = journal.enqueue(told, sink, now)
    try:
        while ticks() < until:
            (entry,) = journal.query("entry", seq=seq)
            # What is refused as invalid is sent once more without its details, at once.
            fails = entry["state"] == EntryState.RETRYABLE and entry["failing"] != OutcomeKind.INVALID
            if fails or entry["state"] in (EntryState.DELIVERED, EntryState.PARKED):
                return _last_outcome(journal, seq)
            time.sleep(_LOOK_EVERY_S)
        return None
    finally:
        given_up = ticks() + _UNDER_WAY_S
        while not journal.discard(seq, _UNSENT, f"{who}: a test is told once", now) and ticks() < given_up:
            if journal.query("entry", seq=seq)[0]["state"] != EntryState.SENDING:
                break
            time.sleep(_LOOK_EVERY_S)


def _last_outcome(journal: Journal, seq: int) -> Outcome:
    attempt = [row for row in journal.query("attempts_of_entry", seq=seq) if row["finished_at"] is not None][-1]
    kind = attempt["outcome"] if attempt["outcome"] in list(OutcomeKind) else OutcomeKind.UNAVAILABLE  # interrupted
    return Outcome(OutcomeKind(kind), attempt["code"] or "", attempt["http_status"], attempt["request_id"] or "")
