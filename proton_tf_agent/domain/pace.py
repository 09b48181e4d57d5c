"""The pace of a sink: how many requests a second it is sent, learned from its throttling.

A sink that never throttles is not limited. The first throttled request cuts the rate to 0.7 of what went through;
from there it grows along a cubic curve back to the rate that was too much, lingers there, and beyond it doubles every
few seconds, for then the limit has been raised (the idea of RFC 9438, section 4, with rates in place of windows). After
an outage a sink is begun with slowly in the same way. Pure: `ticks` are seconds of a clock that only goes forward.
"""

from __future__ import annotations

from .outbox import Outcome, OutcomeKind
from .retry import ACCEPTANCES, MAX_WAIT_S
from .values import Struct, replace

_CUT = 0.7
_SLOWEST = 1 / 300
_UNLIMITED = 100.0  # requests a second from which no limit is worth keeping
_LINGER_S = 45.0  # from a cut back to the rate that was too much; longer where that means few requests
_LINGER_REQUESTS = 16.0
_RAISED = 1.1  # times the rate that was too much: it no longer is
_DOUBLING_S = 5.0
_WINDOW_S = 1.0  # over which it is measured what went through


class Pace(Struct, frozen=True):
    """limit: requests a second at `since`; None: as many as there are. too_much: the rate that was last throttled.

    tokens: requests that may leave at `counted_at`. not_before: the sink has asked not to be called until then.
    accepted: ticks of the last acceptances.
    """

    limit: float | None = None
    since: float = 0.0
    too_much: float | None = None
    tokens: float = 1.0
    counted_at: float = 0.0
    not_before: float = 0.0
    accepted: tuple[float, ...] = ()


def rate(pace: Pace, ticks: float) -> float | None:
    """Requests a second that are allowed now; None: not limited."""
    if pace.limit is None:
        return None
    elapsed = ticks - pace.since
    if pace.too_much is None:
        now = pace.limit * 2.0 ** min(elapsed / _DOUBLING_S, 60)
    else:
        linger = max(_LINGER_S, _LINGER_REQUESTS / pace.too_much)
        raised_after = linger * (1 + ((_RAISED - 1) / (1 - _CUT)) ** (1 / 3))
        if elapsed < raised_after:
            now = pace.too_much * (1 + (1 - _CUT) * ((elapsed - linger) / linger) ** 3)
        else:
            now = pace.too_much * _RAISED * 2.0 ** min((elapsed - raised_after) / _DOUBLING_S, 60)
    return None if now > _UNLIMITED else now


def ready_in(pace: Pace, ticks: float) -> float:
    """Seconds until the next request may leave; 0: now."""
    asked = max(0.0, pace.not_before - ticks)
    allowed = rate(pace, ticks)
    if allowed is None:
        return asked
    missing = 1.0 - _tokens(pace, ticks, allowed)
    return max(asked, missing / allowed if missing > 1e-9 else 0.0)


def taken(pace: Pace, ticks: float) -> Pace:
    """The pace after a request has left."""
    allowed = rate(pace, ticks)
    if allowed is None:
        return replace(pace, limit=None, too_much=None, tokens=1.0, counted_at=ticks)
    return replace(pace, tokens=_tokens(pace, ticks, allowed) - 1.0, counted_at=ticks)


def after(pace: Pace, outcome: Outcome, begun: float, ticks: float) -> Pace:
    """The pace after an attempt that began at `begun`."""
    if outcome.kind in ACCEPTANCES:
        recent = tuple(at for at in pace.accepted[-63:] if ticks - at <= _WINDOW_S)
        return replace(pace, accepted=(*recent, ticks))
    if outcome.kind is not OutcomeKind.THROTTLED:
        return pace
    asked = ticks + min(outcome.retry_after or 0.0, MAX_WAIT_S)
    pace = replace(pace, not_before=max(pace.not_before, asked))
    if pace.too_much is not None and begun <= pace.since:
        return pace  # it was on its way when the rate was cut
    was = rate(pace, ticks)
    if was is None:
        was = max(1.0, sum(ticks - at <= _WINDOW_S for at in pace.accepted) / _WINDOW_S)
    return replace(
        pace, limit=max(_SLOWEST, _CUT * was), since=ticks, too_much=max(was, _SLOWEST / _CUT), tokens=0.0,
        counted_at=ticks,
    )  # fmt: skip


def recovering(ticks: float) -> Pace:
    """The pace of a sink that has just come back: one request a second, and twice as many every few seconds."""
    return Pace(limit=1.0, since=ticks, tokens=0.0, counted_at=ticks)


def _tokens(pace: Pace, ticks: float, allowed: float) -> float:
    return min(1.0, pace.tokens + (ticks - pace.counted_at) * allowed)
