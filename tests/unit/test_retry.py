"""The one retry rule: what becomes of an entry after an attempt."""

from __future__ import annotations

import math

import pytest
from support.outboxes import notification

from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import ACTIVE, Entry, EntryState, Outcome, OutcomeKind, Trouble, reduced
from proton_tf_agent.domain.retry import ACCEPTANCES, MAX_WAIT_S, RULES, Settled, settle
from proton_tf_agent.domain.values import replace

HOUR, DAY = 3600.0, 86_400.0
ENTRY = Entry(1, "proton", notification(1, Status.SUCCEEDED), EntryState.SENDING, 1)
FOR_EVER = [kind for kind, rule in RULES.items() if rule.patience is None]
FOR_A_TIME = [kind for kind, rule in RULES.items() if rule.patience]


def failed(kind: OutcomeKind, times: int = 0, jitter: float = 0.5, entry: Entry = ENTRY, **outcome: object) -> Settled:
    """What becomes of an entry that fails this way once more, after it has `times` times."""
    trouble = Trouble(kind, times, 0.0) if times else None
    return settle(replace(entry, trouble=trouble), Outcome(kind, **outcome), jitter)  # type: ignore[arg-type]


def borne(
    kind: OutcomeKind, *, jitter: float = 0.5, others_succeed: bool = False, at_most: int = 5000
) -> list[Settled]:
    """Everything that becomes of an entry that never meets anything else."""
    entry = ENTRY
    story: list[Settled] = []
    while not story or (story[-1].state is EntryState.RETRYABLE and len(story) < at_most):
        settled = settle(entry, Outcome(kind), jitter, others_succeed=others_succeed)
        entry = replace(entry, trouble=settled.trouble, reduced=settled.reduced, suspect=settled.suspect)
        story.append(settled)
    return story


@pytest.mark.parametrize("kind", OutcomeKind)
def test_every_kind_of_outcome_has_a_rule(kind: OutcomeKind) -> None:
    assert (kind in RULES) != (kind in ACCEPTANCES)
    assert isinstance(settle(ENTRY, Outcome(kind), 0.5), Settled)


@pytest.mark.parametrize(
    ("outcome", "entry", "reason"),
    [
        (Outcome(OutcomeKind.ACCEPTED), ENTRY, "accepted"),
        (Outcome(OutcomeKind.ACCEPTED), replace(ENTRY, reduced=True), "accepted without message and outputs"),
        (Outcome(OutcomeKind.CONFIRMED, "GetDeployment"), ENTRY, "confirmed: GetDeployment"),
    ],
)
def test_what_was_accepted_is_delivered_and_it_is_said_how(outcome: Outcome, entry: Entry, reason: str) -> None:
    settled = settle(entry, outcome, 0.5)
    assert (settled.state, settled.reason, settled.trouble) == (EntryState.DELIVERED, reason, None)


@pytest.mark.parametrize("kind", FOR_EVER)
def test_what_is_no_fault_of_the_notification_is_tried_for_ever(kind: OutcomeKind) -> None:
    assert {settled.state for settled in borne(kind)} == {EntryState.RETRYABLE}


def test_throttling_a_server_error_credentials_and_an_ended_service_are_no_fault_of_the_notification() -> None:
    assert set(FOR_EVER) == {
        OutcomeKind.THROTTLED, OutcomeKind.UNAVAILABLE, OutcomeKind.UNRESOLVABLE, OutcomeKind.UNAUTHENTICATED,
        OutcomeKind.GONE,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "patience", "first", "longest"),
    [
        (OutcomeKind.DENIED, DAY, 60, 900),
        (OutcomeKind.QUOTA_EXCEEDED, DAY, 60, 900),
        (OutcomeKind.UNKNOWN, DAY, 60, 900),
        (OutcomeKind.CONFLICT, HOUR / 4, 5, 120),
        (OutcomeKind.NOT_FOUND, HOUR / 6, 2, 60),
    ],
)
@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
def test_what_may_be_mended_is_waited_for_and_then_parked(
    kind: OutcomeKind, patience: float, first: float, longest: float, jitter: float
) -> None:
    *waits, last = borne(kind, jitter=jitter)
    assert last.state is EntryState.PARKED
    assert patience <= sum(settled.wait for settled in waits) < patience + longest
    assert first / 2 <= waits[0].wait <= first
    assert longest / 2 <= waits[-1].wait <= longest


def test_patience_counts_what_was_waited_over_the_same_failure_in_a_row() -> None:
    nearly = replace(ENTRY, trouble=Trouble(OutcomeKind.CONFLICT, 20, 900.0))
    assert settle(nearly, Outcome(OutcomeKind.CONFLICT), 0.5).state is EntryState.PARKED
    other = settle(nearly, Outcome(OutcomeKind.UNAVAILABLE), 0.5)
    assert (other.state, other.trouble and other.trouble.times) == (EntryState.RETRYABLE, 1)
    again = settle(replace(nearly, trouble=other.trouble), Outcome(OutcomeKind.CONFLICT), 0.5)
    assert (again.state, again.trouble and again.trouble.times) == (EntryState.RETRYABLE, 1)


def test_what_is_invalid_is_tried_once_more_without_its_details_and_then_parked() -> None:
    first, second = borne(OutcomeKind.INVALID)
    assert (first.state, first.wait, first.reduced) == (EntryState.RETRYABLE, 0.0, True)
    assert (second.state, second.reduced) == (EntryState.PARKED, True)


def test_what_is_reduced_keeps_whose_it_is_and_its_status() -> None:
    whole = ENTRY.notification
    less = reduced(whole)
    assert (less.status_message, less.outputs, less.omitted) == ("", (), ())
    assert less == replace(whole, status_message="", outputs=(), omitted=())


def test_what_the_sink_has_gone_beyond_is_parked_at_once() -> None:
    settled = settle(ENTRY, Outcome(OutcomeKind.OVERTAKEN, "GetDeployment: CANCELLED"), 0.5)
    assert (settled.state, settled.reason) == (EntryState.PARKED, "GetDeployment: CANCELLED")


def test_a_server_error_that_one_resource_alone_meets_is_suspect_and_tried_rarely_but_never_given_up() -> None:
    story = borne(OutcomeKind.UNAVAILABLE, others_succeed=True, at_most=200)
    first = next(place for place, settled in enumerate(story) if settled.suspect)
    assert first >= 19
    assert sum(settled.wait for settled in story[:first]) >= HOUR / 2
    assert all(settled.suspect and 450 <= settled.wait <= 900 for settled in story[first:])
    assert not any(settled.suspect for settled in borne(OutcomeKind.UNAVAILABLE, at_most=200))


@pytest.mark.parametrize("kind", [OutcomeKind.THROTTLED, OutcomeKind.UNAVAILABLE])
def test_what_is_crowded_is_come_back_to_at_any_time_up_to_a_ceiling_that_doubles(kind: OutcomeKind) -> None:
    backoff = RULES[kind].backoff
    ceilings = [failed(kind, times, jitter=0.999999).wait for times in range(40)]
    assert ceilings == sorted(ceilings)
    for times, ceiling in enumerate(ceilings):
        assert ceiling == pytest.approx(min(backoff.cap, backoff.base * 2 ** (times + 1)), rel=1e-5)
        assert failed(kind, times, jitter=0.0).wait == 0.0


def test_credentials_put_right_are_noticed_within_half_a_minute() -> None:
    assert max(settled.wait for settled in borne(OutcomeKind.UNAUTHENTICATED, jitter=0.999)) <= 30


@pytest.mark.parametrize(
    ("asked", "waited"), [(None, 0.0), (30.0, 30.0), (900.0, 900.0), (86_400.0, 900.0), (math.inf, 900.0), (-5.0, 0.0)]
)
def test_a_server_that_asks_for_time_gets_it_up_to_a_quarter_of_an_hour(asked: float | None, waited: float) -> None:
    assert failed(OutcomeKind.THROTTLED, jitter=0.0, retry_after=asked).wait == waited


def test_a_server_cannot_make_us_come_sooner_than_our_own_wait() -> None:
    assert failed(OutcomeKind.UNAVAILABLE, 20, retry_after=1.0) == failed(OutcomeKind.UNAVAILABLE, 20)


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("times", [1, 50, 10**6])
def test_no_wait_is_longer_than_a_quarter_of_an_hour(kind: OutcomeKind, times: int) -> None:
    assert 0.0 <= failed(kind, times, jitter=0.999, retry_after=math.nan).wait <= MAX_WAIT_S


def test_the_reason_is_the_errors_own_name_or_else_the_kind() -> None:
    assert failed(OutcomeKind.THROTTLED, code="ThrottlingException").reason == "ThrottlingException"
    assert failed(OutcomeKind.THROTTLED).reason == "throttled"


def test_an_entry_is_active_until_it_is_accepted_superseded_parked_or_discarded_and_never_in_a_shadow() -> None:
    ended = {EntryState.DELIVERED, EntryState.SUPERSEDED, EntryState.PARKED, EntryState.DISCARDED, EntryState.SHADOWED}
    assert set(ACTIVE) == set(EntryState) - ended
