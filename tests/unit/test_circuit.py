"""The circuit breaker: when it opens, what it costs while it is open, what closes it."""

from __future__ import annotations

import random

import pytest

from proton_tf_agent.domain.circuit import Circuit, after
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind

DAY = 86_400.0
K = OutcomeKind


def told(circuit: Circuit, *outcomes: tuple[str, OutcomeKind], suspect: bool = False) -> Circuit:
    for line, kind in outcomes:
        circuit = after(circuit, line, Outcome(kind), 0.0, 0.5, suspect=suspect)
    return circuit


def test_five_failures_in_a_row_of_more_than_one_line_open_it() -> None:
    four = told(Circuit(), *[("a", K.UNAVAILABLE), ("b", K.UNAVAILABLE)] * 2)
    assert not four.is_open
    assert told(four, ("a", K.UNAVAILABLE)).held_for is K.UNAVAILABLE


def test_one_line_that_fails_alone_holds_up_nobody() -> None:
    assert not told(Circuit(), *[("a", K.UNAVAILABLE)] * 500).is_open
    assert not told(Circuit(), *[("a", K.DENIED)] * 500).is_open


def test_what_is_known_to_fail_by_itself_says_nothing_about_the_sink() -> None:
    assert told(Circuit(), *[("a", K.UNAVAILABLE), ("b", K.UNAVAILABLE)] * 50, suspect=True) == Circuit()


@pytest.mark.parametrize("kind", [K.ACCEPTED, K.CONFIRMED, K.CONFLICT, K.NOT_FOUND, K.INVALID, K.THROTTLED, K.UNKNOWN])
def test_whatever_a_sink_at_work_answers_closes_it_and_begins_the_count_anew(kind: OutcomeKind) -> None:
    open_one = told(Circuit(), *[("a", K.UNAVAILABLE), ("b", K.UNAVAILABLE)] * 3)
    assert open_one.is_open
    assert told(open_one, ("a", kind)) == Circuit()


@pytest.mark.parametrize("kind", [K.UNAUTHENTICATED, K.GONE, K.UNRESOLVABLE])
def test_what_can_only_be_about_the_whole_sink_opens_it_at_once(kind: OutcomeKind) -> None:
    assert told(Circuit(), ("a", kind)).held_for is kind


def probed(kind: OutcomeKind, seconds: float) -> tuple[int, Circuit]:
    """How many probes a sink costs that fails like this for so long, and its circuit then."""
    draw, now, probes, circuit = random.Random(1), 0.0, 0, Circuit()
    for line in "abcde":
        circuit = after(circuit, line, Outcome(kind), now, draw.random(), suspect=False)
    while circuit.probe_at < seconds:
        now = circuit.probe_at
        circuit = after(circuit, "a", Outcome(kind), now, draw.random(), suspect=False)
        probes += 1
    return probes, circuit


@pytest.mark.parametrize(
    ("kind", "most"), [(K.UNAVAILABLE, 2000), (K.UNRESOLVABLE, 2000), (K.DENIED, 200), (K.GONE, 96)]
)
def test_a_day_without_the_sink_costs_no_more_probes_than(kind: OutcomeKind, most: int) -> None:
    probes, circuit = probed(kind, DAY)
    assert most / 2 < probes <= most
    assert circuit.is_open


@pytest.mark.parametrize(("kind", "longest"), [(K.UNAVAILABLE, 60), (K.UNAUTHENTICATED, 30), (K.GONE, 900)])
def test_a_sink_that_comes_back_is_noticed_within(kind: OutcomeKind, longest: float) -> None:
    draw, circuit = random.Random(2), Circuit()
    for number in range(200):
        circuit = after(circuit, "ab"[number % 2], Outcome(kind), 0.0, draw.random(), suspect=False)
        assert circuit.probe_at <= longest


def test_a_host_that_nobody_knows_for_a_day_is_gone_and_probed_four_times_an_hour() -> None:
    _, circuit = probed(K.UNRESOLVABLE, DAY - 120)
    assert circuit.held_for is K.UNRESOLVABLE
    probes, circuit = probed(K.UNRESOLVABLE, 2 * DAY)
    assert circuit.held_for is K.GONE
    assert probes < 2000 + 4 * 24
    assert after(circuit, "a", Outcome(K.UNAVAILABLE), 0.0, 0.5, suspect=False).held_for is K.UNAVAILABLE


def test_a_server_that_asks_for_time_is_not_probed_before() -> None:
    circuit = after(
        told(Circuit(), ("a", K.GONE)), "a", Outcome(K.UNAVAILABLE, retry_after=700.0), 5.0, 0.5, suspect=False
    )
    assert circuit.probe_at == 705.0
