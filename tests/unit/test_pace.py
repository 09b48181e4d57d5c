"""The pace: it finds the rate a sink bears, wastes little, and forgets a limit that is no more."""

from __future__ import annotations

from collections import deque

import pytest

from proton_tf_agent.domain import pace as paces
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.domain.pace import Pace, rate, ready_in, recovering, taken

ACCEPTED, THROTTLED = Outcome(OutcomeKind.ACCEPTED), Outcome(OutcomeKind.THROTTLED)


class Server:
    """A token bucket, as services have: so many requests a second, and one second's worth at once."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.tokens, self.at = max(1.0, limit), 0.0

    def answer(self, now: float) -> Outcome:
        self.tokens = min(max(1.0, self.limit), self.tokens + (now - self.at) * self.limit)
        self.at = now
        if self.tokens < 1:
            return THROTTLED
        self.tokens -= 1
        return ACCEPTED


def served(
    pace: Pace, server: Server, begin: float, seconds: float, latency: float = 0.05
) -> tuple[Pace, list[tuple[float, bool]]]:
    """More to send than the server bears, four at once: when each was answered, and whether it was accepted."""
    now, under_way, answers = begin, deque[tuple[float, float, Outcome]](), []
    while now < begin + seconds:
        while under_way and under_way[0][0] <= now:
            _, begun, outcome = under_way.popleft()
            pace = paces.after(pace, outcome, begun, now)
            answers.append((now, outcome is ACCEPTED))
        while len(under_way) < 4 and ready_in(pace, now) <= 0:
            pace = taken(pace, now)
            under_way.append((now + latency, now, server.answer(now + latency / 2)))
        soonest = [at for at, _, _ in list(under_way)[:1]]
        if len(under_way) < 4:
            soonest.append(now + max(0.001, ready_in(pace, now)))
        now = min(soonest)
    return pace, answers


def accepted_and_wasted(answers: list[tuple[float, bool]], begin: float) -> tuple[int, int]:
    later = [accepted for at, accepted in answers if at >= begin]
    return sum(later), len(later) - sum(later)


@pytest.mark.parametrize("limit", [0.2, 0.5, 1, 2, 5, 10, 20])
def test_within_two_minutes_it_sends_what_the_sink_bears_and_wastes_a_tenth_at_most(limit: float) -> None:
    _, answers = served(Pace(), Server(limit), 0.0, 120 + 1200)
    accepted, wasted = accepted_and_wasted(answers, 120)
    assert 0.7 * limit <= accepted / 1200 <= limit * 1.01
    assert wasted <= 0.1 * (accepted + wasted)


@pytest.mark.parametrize(("before", "then"), [(20, 1), (5, 0.5), (1, 20), (0.5, 5)])
def test_it_follows_a_limit_that_is_changed(before: float, then: float) -> None:
    server = Server(before)
    pace, _ = served(Pace(), server, 0.0, 300)
    server.limit = then
    _, answers = served(pace, server, 300.0, 120 + 600)
    accepted, wasted = accepted_and_wasted(answers, 420)
    assert 0.7 * then <= accepted / 600 <= then * 1.01
    assert wasted <= 0.1 * (accepted + wasted)


def test_a_sink_that_never_throttles_is_not_limited() -> None:
    assert rate(Pace(), 5.0) is None
    assert ready_in(Pace(), 5.0) == 0.0
    _, answers = served(Pace(), Server(1e9), 0.0, 10, latency=0.01)
    assert len(answers) > 3900


def test_after_an_outage_it_begins_with_one_request_a_second_and_is_soon_not_limited() -> None:
    pace = recovering(100.0)
    assert (rate(pace, 100.0), ready_in(pace, 100.0)) == (1.0, 1.0)
    assert rate(pace, 105.0) == pytest.approx(2.0)
    assert rate(pace, 140.0) is None


def test_nobody_is_sent_anything_for_as_long_as_the_sink_asks() -> None:
    pace = paces.after(Pace(), Outcome(OutcomeKind.THROTTLED, retry_after=30.0), 0.0, 1.0)
    assert ready_in(pace, 1.0) == 30.0
    assert ready_in(paces.after(pace, Outcome(OutcomeKind.THROTTLED, retry_after=1e9), 2.0, 2.0), 2.0) == 900.0


def test_requests_that_were_on_their_way_when_the_rate_was_cut_do_not_cut_it_again() -> None:
    once = paces.after(Pace(), THROTTLED, 0.9, 1.0)
    assert paces.after(once, THROTTLED, 0.95, 1.05).limit == once.limit
    again = paces.after(once, THROTTLED, 1.1, 1.2).limit
    assert again is not None
    assert once.limit is not None
    assert again < once.limit
