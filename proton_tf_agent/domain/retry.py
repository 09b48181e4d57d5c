"""What becomes of an entry after an attempt: one row for each kind of outcome, and the one rule that reads them.

`settle` returns a wait and never waits; it knows no clock. What failures mean for a sink as a whole is `circuit`'s and
`pace`'s; how long each kind is borne with stands here alone.
Sources: the API reference's errors of NotifyResourceDeploymentStatusChange, and its common errors. What Conflict and
ResourceNotFound mean for this operation is not documented; both may pass by themselves, and neither is borne for ever.
"""

from __future__ import annotations

from collections.abc import Mapping

from .outbox import Entry, EntryState, Outcome, OutcomeKind, Trouble
from .values import Struct

MAX_WAIT_S = 900.0  # the longest wait of all, whatever a server asks for
_MINUTE = 60.0
_DAY = 86_400.0
_MAX_DOUBLINGS = 16


class Backoff(Struct, frozen=True):
    """A wait that doubles: at most min(cap, base * 2^n) seconds, a share of them (`fixed`) certain, the rest jitter."""

    base: float
    cap: float
    fixed: float = 0.5

    def wait(self, times: int, jitter: float) -> float:
        """Seconds after the `times`-th failure in a row. jitter: a number drawn from [0, 1)."""
        ceiling = min(self.cap, self.base * 2.0 ** min(times, _MAX_DOUBLINGS))
        return ceiling * (self.fixed + (1 - self.fixed) * jitter)


class Rule(Struct, frozen=True):
    """How a kind of failure is borne.

    backoff:  how long its entry waits
    patience: seconds of waiting in a row after which the entry is parked; None: for ever
    trips:    failures in a row, of more than one line unless it is 1, after which the whole sink is held up and only
              probed; None: it says nothing about the sink
    probe:    how long the held-up sink is left alone between two probes
    """

    backoff: Backoff
    patience: float | None = None
    trips: int | None = None
    probe: Backoff = Backoff(2.5, 60)


RULES: Mapping[OutcomeKind, Rule] = {
    OutcomeKind.THROTTLED: Rule(Backoff(0.5, 300, fixed=0)),
    OutcomeKind.UNAVAILABLE: Rule(Backoff(1, 300, fixed=0), trips=5),
    OutcomeKind.UNRESOLVABLE: Rule(Backoff(1, 300, fixed=0), trips=1),
    OutcomeKind.GONE: Rule(Backoff(900, 900, fixed=1), trips=1, probe=Backoff(900, 900, fixed=1)),
    OutcomeKind.UNAUTHENTICATED: Rule(Backoff(2.5, 30), trips=1, probe=Backoff(2.5, 30)),
    OutcomeKind.DENIED: Rule(Backoff(30, 900), patience=_DAY, trips=5, probe=Backoff(30, 900)),
    OutcomeKind.QUOTA_EXCEEDED: Rule(Backoff(30, 900), patience=_DAY),
    OutcomeKind.UNKNOWN: Rule(Backoff(30, 900), patience=_DAY),
    OutcomeKind.CONFLICT: Rule(Backoff(2.5, 120), patience=15 * _MINUTE),
    OutcomeKind.NOT_FOUND: Rule(Backoff(1, 60), patience=10 * _MINUTE),
    OutcomeKind.INVALID: Rule(Backoff(0, 0), patience=0),  # the same bytes would be refused again
    OutcomeKind.OVERTAKEN: Rule(Backoff(0, 0), patience=0),
}
ACCEPTANCES = (OutcomeKind.ACCEPTED, OutcomeKind.CONFIRMED)

# A server error that only one line meets may be a fault of permissions (it has been seen across accounts): after so
# many in a row, over so many seconds of waiting and while others succeed, its entry is suspect and tried rarely.
SUSPECT_TIMES = 20
SUSPECT_WAITED_S = 30 * _MINUTE
SUSPECT_BACKOFF = Backoff(450, 900)

# A request whose answer was lost may still arrive while its signature is valid (5 minutes): a terminal status that
# follows one is said again after this.
REASSERT_AFTER_S = 6 * _MINUTE


class Settled(Struct, frozen=True):
    """What becomes of an entry: its new state, for how many seconds it waits (RETRYABLE only), and why."""

    state: EntryState
    wait: float
    reason: str
    trouble: Trouble | None = None
    reduced: bool = False
    suspect: bool = False


def settle(entry: Entry, outcome: Outcome, jitter: float, *, others_succeed: bool = False) -> Settled:
    """Decide what becomes of an entry after an attempt.

    jitter: a number drawn from [0, 1). others_succeed: whether the sink has accepted anything since the entry's present
    trouble began; its own line cannot have been that.
    """
    kind, reason = outcome.kind, outcome.code or outcome.kind.value
    if kind in ACCEPTANCES:
        return Settled(EntryState.DELIVERED, 0.0, _how(entry, outcome), reduced=entry.reduced)
    if kind is OutcomeKind.INVALID and not entry.reduced:
        return Settled(EntryState.RETRYABLE, 0.0, reason, Trouble(kind, 1, 0.0), reduced=True)
    rule, trouble = RULES[kind], entry.trouble
    before = trouble if trouble is not None and trouble.kind is kind else Trouble(kind, 0, 0.0)
    if is_spent(entry, outcome):
        return Settled(EntryState.PARKED, 0.0, reason, before, entry.reduced, entry.suspect)
    times = before.times + 1
    suspect = kind is OutcomeKind.UNAVAILABLE and (
        entry.suspect or (times >= SUSPECT_TIMES and before.waited >= SUSPECT_WAITED_S and others_succeed)
    )
    own = (SUSPECT_BACKOFF if suspect else rule.backoff).wait(times, jitter)
    wait = max(own, min(outcome.retry_after or 0.0, MAX_WAIT_S))
    after = Trouble(kind, times, before.waited + wait)
    return Settled(EntryState.RETRYABLE, wait, reason, after, entry.reduced, suspect)


def is_spent(entry: Entry, outcome: Outcome) -> bool:
    """Whether an entry has been borne with for as long as this kind of failure is."""
    if outcome.kind in ACCEPTANCES:
        return False
    patience, trouble = RULES[outcome.kind].patience, entry.trouble
    waited = trouble.waited if trouble is not None and trouble.kind is outcome.kind else 0.0
    return patience is not None and waited >= patience


def _how(entry: Entry, outcome: Outcome) -> str:
    if outcome.kind is OutcomeKind.CONFIRMED:
        return f"confirmed: {outcome.code}" if outcome.code else "confirmed"
    return "accepted without message and outputs" if entry.reduced else "accepted"
