"""Delivery over hours and days, in virtual time: what an outage costs, how it ends, who is slowed by whom."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest
from support.outboxes import notification, states
from support.virtual_relay import VirtualRelay

from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.journal import Journal

HOUR, DAY = 3600.0, 86_400.0
ACCEPTED = Outcome(OutcomeKind.ACCEPTED, http_status=200)
BROKEN = Outcome(OutcomeKind.UNAVAILABLE, "InternalServerException", 500, ambiguous=False)
RESOURCES = [f"arn:aws:proton:eu-west-1:123456789012:environment/e{number}" for number in range(1000)]


@pytest.fixture
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    with Journal.open_as_daemon(str(tmp_path_factory.mktemp("memory") / "private" / "journal.db")) as journal:
        journal._connection.execute("PRAGMA synchronous = OFF")  # nobody cuts the power here
        yield journal


def told_of(arns: list[str]) -> list[Notification]:
    """Two notifications of every resource, none of which makes the other pointless."""
    numbered = [(RESOURCES.index(arn), arn) for arn in arns]
    both = [(n, arn, status) for n, arn in numbered for status in (Status.FAILED, Status.SUCCEEDED)]
    return [notification(2 * n + (s is Status.SUCCEEDED), s, arn, run_id=f"run-{n}") for n, arn, s in both]


@pytest.mark.parametrize(
    "kind", [OutcomeKind.UNAVAILABLE, OutcomeKind.UNRESOLVABLE, OutcomeKind.DENIED, OutcomeKind.GONE]
)
@pytest.mark.parametrize("lines", [1, 30])
def test_a_day_without_the_sink_costs_two_thousand_requests_at_most_and_loses_nothing(
    journal: Journal, kind: OutcomeKind, lines: int
) -> None:
    relay = VirtualRelay(
        journal, lambda _told, now: Outcome(kind) if now < DAY - 1 else ACCEPTED, random.Random(1).random
    )
    relay.enqueue(*told_of(RESOURCES[:lines]))
    relay.run(DAY - 1)
    assert len(relay.requests) <= 2000
    assert set(states(journal)) <= {"pending", "retryable"}
    relay.run(DAY + HOUR)
    assert set(states(journal)) == {"delivered"}


def test_after_a_day_of_outage_a_thousand_resources_are_told_in_order_and_soon(journal: Journal) -> None:
    relay = VirtualRelay(
        journal,
        lambda _told, now: Outcome(OutcomeKind.UNAVAILABLE, "ConnectTimeoutError") if now < DAY else ACCEPTED,
        random.Random(2).random,
    )
    told = told_of(RESOURCES)
    relay.enqueue(*told)
    relay.run(DAY)
    outage = len(relay.requests)
    assert outage <= 2000
    relay.run(DAY + HOUR)
    assert set(states(journal)) == {"delivered"}
    after = relay.requests[outage:]
    assert len(after) == len(told), "after the first success nothing is wasted"
    assert after[0][0] <= DAY + 60
    assert after[-1][0] <= DAY + 60 + len(told) / 5
    sent = [told_id for _, told_id, _ in after]
    for number in range(len(RESOURCES)):
        assert sent.index(f"ntf-{2 * number}") < sent.index(f"ntf-{2 * number + 1}")
    assert [name for name, _ in relay.log.lines() if name.startswith("sink.")] == ["sink.held", "sink.resumed"]


def test_a_host_that_means_nothing_for_a_day_is_said_to_be_gone_once_and_kept(journal: Journal) -> None:
    nowhere = Outcome(OutcomeKind.UNRESOLVABLE, "HostUnresolvable")
    relay = VirtualRelay(journal, lambda _told, now: nowhere if now < 3 * DAY else ACCEPTED, random.Random(3).random)
    relay.enqueue(*told_of(RESOURCES[:5]))
    relay.run(2 * DAY)
    before = len(relay.requests)
    relay.run(3 * DAY)
    assert len(relay.requests) - before <= 4 * 24
    assert set(states(journal)) == {"pending", "retryable"}
    relay.run(3 * DAY + HOUR)
    assert set(states(journal)) == {"delivered"}
    told = [name for name, _ in relay.log.lines() if name.startswith("sink.")]
    assert told == ["sink.held", "sink.gone", "sink.resumed"]


@pytest.mark.parametrize(
    "sick",
    [
        Outcome(OutcomeKind.INVALID, "ValidationException", 400),
        Outcome(OutcomeKind.CONFLICT, "ConflictException", 400),
        Outcome(OutcomeKind.DENIED, "AccessDeniedException", 400),
        BROKEN,
    ],
    ids=lambda outcome: outcome.kind.value,
)
def test_one_bad_resource_never_slows_another(journal: Journal, sick: Outcome) -> None:
    """Its own entries wait or are parked; each of the others is told as soon as it would be without it."""

    def answers(bad: bool) -> list[tuple[float, str]]:
        with Journal.open_as_daemon(f"{journal.path}-{bad}") as fresh:
            fresh._connection.execute("PRAGMA synchronous = OFF")
            relay = VirtualRelay(
                fresh,
                lambda told, _now: sick if bad and told.resource_arn == RESOURCES[0] else ACCEPTED,
                random.Random(4).random,
            )
            others = told_of(RESOURCES[1:100])
            relay.enqueue(*(one for one in told_of(RESOURCES[:1]) if bad))
            for number, one in enumerate(others):
                relay.later(60.0 * number, partial(relay.enqueue, one))
            relay.run(DAY)
            of_others = [
                row for row in fresh.query("entries", after=0, limit=10_000) if row["resource_arn"] != RESOURCES[0]
            ]
            assert {row["state"] for row in of_others} == {"delivered"}
            return [(at, told) for at, told, _ in relay.requests if told not in ("ntf-0", "ntf-1")]

    with_it, without = answers(True), answers(False)
    assert [told for _, told in with_it] == [told for _, told in without]
    for (at, told), (usual, _) in zip(with_it, without, strict=True):
        assert at - usual < 0.2, f"{told} was {at - usual:.1f} s late"


def test_a_server_error_that_one_resource_alone_meets_becomes_suspect_and_rare_and_recovers(journal: Journal) -> None:
    mended = 30 * HOUR
    relay = VirtualRelay(
        journal,
        lambda told, now: BROKEN if told.resource_arn == RESOURCES[0] and now < mended else ACCEPTED,
        random.Random(5).random,
    )
    relay.enqueue(*told_of(RESOURCES[:1]))
    for number, one in enumerate(told_of(RESOURCES[1:200])):
        relay.later(300.0 * number, partial(relay.enqueue, one))
    relay.run(6 * HOUR)
    (row,) = journal.query("entry", seq=1)
    assert row["suspect"]
    assert [keys["seq"] for name, keys in relay.log.lines() if name == "notification.suspected"] == [1]
    before = Counter(told for _, told, _ in relay.requests)["ntf-0"]
    relay.run(30 * HOUR)
    assert 96 <= Counter(told for _, told, _ in relay.requests)["ntf-0"] - before <= 192
    relay.run(34 * HOUR)
    assert set(states(journal)) == {"delivered"}


def test_credentials_that_expire_pause_everyone_cost_nobody_anything_and_are_noticed_within_half_a_minute(
    journal: Journal,
) -> None:
    renewed = 6 * HOUR
    expired = Outcome(OutcomeKind.UNAUTHENTICATED, "ExpiredTokenException", 403)
    relay = VirtualRelay(journal, lambda _told, now: expired if now < renewed else ACCEPTED, random.Random(6).random)
    relay.enqueue(*told_of(RESOURCES[:50]))
    relay.run(renewed)
    assert len(relay.requests) <= 6 * HOUR / 15 + 10
    before = len(relay.requests)
    relay.run(renewed + HOUR)
    assert relay.requests[before][0] <= renewed + 30
    assert set(states(journal)) == {"delivered"}


@pytest.mark.parametrize("limit", [0.2, 2, 20])
def test_a_storm_of_throttling_parks_nothing_and_wastes_little(journal: Journal, limit: float) -> None:
    tokens, at = max(1.0, limit), 0.0

    def answer(_told: Notification, now: float) -> Outcome:
        nonlocal tokens, at
        tokens, at = min(max(1.0, limit), tokens + (now - at) * limit), now
        if tokens < 1:
            return Outcome(OutcomeKind.THROTTLED, "ThrottlingException", 400)
        tokens -= 1
        return ACCEPTED

    lines = int(max(40, 60 * limit))
    relay = VirtualRelay(journal, answer, random.Random(7).random)
    relay.enqueue(*told_of(RESOURCES[:lines]))
    relay.run(2 * DAY)
    assert set(states(journal)) == {"delivered"}
    late = [outcome.kind for now, _, outcome in relay.requests if now > 120]
    assert late.count(OutcomeKind.THROTTLED) <= 0.1 * len(late) + 2
