"""The one retry rule: what becomes of an entry after an attempt."""

from __future__ import annotations

import math

import pytest

from proton_tf_agent.domain.outbox import ACTIVE, BACKOFF, EntryState, Outcome, OutcomeKind, Settled, settle

NOW = 1000.0
LASTING = [kind for kind, backoff in BACKOFF.items() if backoff is None]
PASSING = [kind for kind, backoff in BACKOFF.items() if backoff is not None]


def delay(kind: OutcomeKind, attempts: int = 1, jitter: float = 0.999999, retry_after: float | None = None) -> float:
    settled = settle(attempts, Outcome(kind, retry_after=retry_after), NOW, jitter)
    assert settled.state is EntryState.RETRYABLE
    return settled.due_at - NOW


@pytest.mark.parametrize("kind", OutcomeKind)
def test_every_kind_of_outcome_has_a_rule(kind: OutcomeKind) -> None:
    assert (kind in BACKOFF) != (kind is OutcomeKind.ACCEPTED)
    assert isinstance(settle(1, Outcome(kind), NOW, 0.5), Settled)


def test_what_was_accepted_is_delivered() -> None:
    assert settle(3, Outcome(OutcomeKind.ACCEPTED), NOW, 0.5) == Settled(EntryState.DELIVERED, NOW, "accepted")


@pytest.mark.parametrize("kind", LASTING)
def test_what_will_never_be_accepted_is_parked_at_once(kind: OutcomeKind) -> None:
    settled = settle(1, Outcome(kind, retry_after=5.0), NOW, 0.5)
    assert settled == Settled(EntryState.PARKED, NOW, kind.value)


def test_what_is_invalid_missing_or_in_conflict_is_what_will_never_be_accepted() -> None:
    assert set(LASTING) == {OutcomeKind.INVALID, OutcomeKind.NOT_FOUND, OutcomeKind.CONFLICT}


@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize("attempts", [1, 2, 5, 50, 10_000])
def test_what_may_pass_is_tried_again_for_ever_and_never_parked(kind: OutcomeKind, attempts: int) -> None:
    assert settle(attempts, Outcome(kind), NOW, 0.5).state is EntryState.RETRYABLE


@pytest.mark.parametrize("kind", PASSING)
def test_a_delay_lies_between_nothing_and_a_ceiling_that_doubles_up_to_its_cap(kind: OutcomeKind) -> None:
    backoff = BACKOFF[kind]
    assert backoff is not None
    ceilings = [delay(kind, attempts) for attempts in range(1, 40)]
    assert ceilings == sorted(ceilings)
    for attempts, ceiling in enumerate(ceilings, 1):
        assert ceiling == pytest.approx(min(backoff.cap, backoff.base * 2**attempts), rel=1e-5)
        assert delay(kind, attempts, jitter=0.0) == 0.0
        assert delay(kind, attempts, jitter=0.5) == pytest.approx(ceiling / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("asked", "waited"), [(None, 0.0), (30.0, 30.0), (900.0, 900.0), (86_400.0, 900.0), (math.inf, 900.0), (-5.0, 0.0)]
)
def test_a_server_that_asks_for_time_gets_it_up_to_a_quarter_of_an_hour(asked: float | None, waited: float) -> None:
    assert delay(OutcomeKind.THROTTLED, jitter=0.0, retry_after=asked) == waited


def test_a_server_cannot_make_us_come_sooner_than_our_own_delay() -> None:
    assert delay(OutcomeKind.UNAVAILABLE, 20, retry_after=1.0) == delay(OutcomeKind.UNAVAILABLE, 20)


def test_a_retry_after_that_is_no_number_is_as_none() -> None:
    assert delay(OutcomeKind.THROTTLED, retry_after=math.nan) == delay(OutcomeKind.THROTTLED)


def test_the_reason_is_the_errors_own_name_or_else_the_kind() -> None:
    named = settle(1, Outcome(OutcomeKind.THROTTLED, code="ThrottlingException"), NOW, 0.5)
    assert named.reason == "ThrottlingException"
    assert settle(1, Outcome(OutcomeKind.THROTTLED), NOW, 0.5).reason == "throttled"


def test_a_scale_shortens_every_wait() -> None:
    outcome = Outcome(OutcomeKind.DENIED, retry_after=600.0)
    assert settle(4, outcome, NOW, 0.9, scale=0.01).due_at - NOW == pytest.approx(
        (settle(4, outcome, NOW, 0.9).due_at - NOW) / 100
    )


def test_an_entry_is_active_until_it_is_accepted_superseded_parked_or_discarded() -> None:
    ended = {EntryState.DELIVERED, EntryState.SUPERSEDED, EntryState.PARKED, EntryState.DISCARDED}
    assert set(ACTIVE) == set(EntryState) - ended
