"""The outbox: one entry for each notification and sink, the states it goes through, and the one retry rule.

An entry's line is its (sink, resource ARN): within a line entries are sent strictly one after the other in the
order of `seq`; lines know nothing of each other. `settle` is the only place where it is decided what becomes of
an entry after an attempt; it returns a time and never waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .notification import Notification


class EntryState(StrEnum):
    """Where an entry stands. Each comment: who moves it there, and what a crash makes of it."""

    PENDING = "pending"  # written with the observation; a crash changes nothing
    SENDING = "sending"  # committed before the request leaves; after a crash it is sent again
    RETRYABLE = "retryable"  # an attempt failed in a way that may pass; sent again when due
    DELIVERED = "delivered"  # the sink accepted it
    SUPERSEDED = "superseded"  # an unsent IN_PROGRESS that a later notification made pointless
    PARKED = "parked"  # the sink refuses it for good; kept until a person replays or discards it
    DISCARDED = "discarded"  # a person gave it up by name


ACTIVE = (EntryState.PENDING, EntryState.SENDING, EntryState.RETRYABLE)


class OutcomeKind(StrEnum):
    """What came of one attempt. The name is what logs, the journal and metrics show."""

    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"  # 5xx, network, an answer that is none
    UNAUTHENTICATED = "unauthenticated"  # no, expired or wrong credentials; clock skew
    DENIED = "denied"
    QUOTA_EXCEEDED = "quota_exceeded"
    CONFLICT = "conflict"
    NOT_FOUND = "not_found"
    INVALID = "invalid"
    UNKNOWN = "unknown"  # a refusal nobody has described


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt's result.

    code:        the error's own name (`ThrottlingException`, `ReadTimeoutError`), never the server's free text
    ambiguous:   the request may have arrived although no answer says so
    retry_after: seconds the server asked for, when it did
    """

    kind: OutcomeKind
    code: str = ""
    http_status: int | None = None
    request_id: str = ""
    ambiguous: bool = False
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter between 0 and min(cap, base * 2^n), in seconds."""

    base: float
    cap: float


# What to do about each kind; None parks the entry at once.
BACKOFF: dict[OutcomeKind, Backoff | None] = {
    OutcomeKind.THROTTLED: Backoff(1, 300),
    OutcomeKind.UNAVAILABLE: Backoff(2, 300),
    OutcomeKind.UNAUTHENTICATED: Backoff(5, 60),
    OutcomeKind.DENIED: Backoff(60, 900),
    OutcomeKind.QUOTA_EXCEEDED: Backoff(60, 900),
    OutcomeKind.UNKNOWN: Backoff(60, 900),
    OutcomeKind.CONFLICT: None,
    OutcomeKind.NOT_FOUND: None,
    OutcomeKind.INVALID: None,
}
MAX_RETRY_WAIT_S = 900.0
_MAX_DOUBLINGS = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the outbox. attempts counts requests made so far; due_at is a wall-clock second."""

    seq: int
    sink: str
    notification: Notification
    state: EntryState
    attempts: int
    due_at: float
    reason: str = ""
    replay_of: int | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What becomes of an entry: its new state, when it is due again (RETRYABLE only), and why."""

    state: EntryState
    due_at: float
    reason: str


def settle(attempts: int, outcome: Outcome, now: float, jitter: float, scale: float = 1.0) -> Settled:
    """Decide what becomes of an entry after its `attempts`-th attempt.

    jitter: a number drawn from [0, 1); scale shortens every wait (tests and the demo only).
    """
    reason = outcome.code or outcome.kind.value
    if outcome.kind is OutcomeKind.ACCEPTED:
        return Settled(EntryState.DELIVERED, now, reason)
    backoff = BACKOFF[outcome.kind]
    if backoff is None:
        return Settled(EntryState.PARKED, now, reason)
    ceiling = min(backoff.cap, backoff.base * 2 ** min(attempts, _MAX_DOUBLINGS))
    delay = max(jitter * ceiling, min(outcome.retry_after or 0.0, MAX_RETRY_WAIT_S))
    return Settled(EntryState.RETRYABLE, now + delay * scale, reason)
