"""Routes: what a sink is told of all that happens, and that it holds over restarts, crashes and replays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.outboxes import ARN, OTHER_ARN, enqueued, notification

from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.routing import EVERYTHING, Occasion, Route, left_out
from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal
from proton_tf_agent.pipeline import Addressee
from proton_tf_agent.replay import append, choose
from proton_tf_agent.selection import Scope

STARTED, FAILED, SUCCEEDED = (notification(1, s) for s in (Status.IN_PROGRESS, Status.FAILED, Status.SUCCEEDED))
DESTROYED = replace(SUCCEEDED, run_status=RunStatus.DESTROYED)
# Which occasions each is, when the last end of its resource was none, a failure, or a success.
TABLE = [
    (STARTED, "in_progress", "in_progress", "in_progress"),
    (FAILED, "terminal failed", "terminal failed", "terminal failed"),
    (SUCCEEDED, "terminal succeeded", "terminal succeeded recovered", "terminal succeeded"),
    (DESTROYED, "terminal destroyed", "terminal destroyed recovered", "terminal destroyed"),
]


@pytest.mark.parametrize(("told", "first", "after_failure", "after_success"), TABLE)
def test_what_each_notification_is_an_occasion_of(
    told: Notification, first: str, after_failure: str, after_success: str
) -> None:
    for before, words in ((None, first), (Status.FAILED, after_failure), (Status.SUCCEEDED, after_success)):
        fitting = [
            one
            for one in Occasion
            if not left_out(Route((one,)), told, lambda before=before: before)  # type: ignore[misc]
        ]
        assert sorted(fitting) == sorted(words.split())


def test_of_several_occasions_one_is_enough() -> None:
    for pair in itertools.combinations(Occasion, 2):
        for told in (STARTED, FAILED, SUCCEEDED, DESTROYED):
            both = left_out(Route(pair), told, lambda: Status.FAILED)
            each = [left_out(Route((one,)), told, lambda: Status.FAILED) for one in pair]
            assert bool(both) == all(each)


@pytest.mark.parametrize(
    ("route", "why"),
    [
        (EVERYTHING, ""),
        (Route(resources=("arn:*:environment/net*",)), ""),
        (
            Route(resources=("arn:*:environment/dns", "arn:*:service/*")),
            "about arn:*:environment/dns or arn:*:service/*",
        ),
        (Route(directories=("/w/*",)), ""),
        (Route(directories=("/w/n?twork",)), ""),
        (Route(directories=("/w",)), "what runs in /w"),
        (Route((Occasion.FAILED,), ("arn:*",), ("/w/*",)), ""),
        (Route((Occasion.SUCCEEDED,), ("arn:*",), ("/w/*",)), "what is succeeded"),
        (Route((Occasion.FAILED,), ("arn:*/dns",), ("/w/*",)), "about arn:*/dns"),
        (Route((Occasion.FAILED,), ("arn:*",), ("/v/*",)), "what runs in /v/*"),
    ],
)
def test_whom_and_where_a_route_is_about(route: Route, why: str) -> None:
    """Everything that a route says must fit, and what does not is named."""
    said = left_out(route, FAILED, lambda: None)
    assert said == (f"it is told only {why}" if why else "")


# --- recovered: what the journal knows ------------------------------------------------------------------------------


def before(journal: Journal, number: int, status: Status = Status.SUCCEEDED, arn: str = ARN) -> Status | None:
    return journal.told_before(notification(number, status, arn))


def test_what_failed_is_known_of_the_resource_whichever_sink_was_told(journal: Journal) -> None:
    enqueued(journal, notification(1, Status.FAILED), sink="pager")
    enqueued(journal, notification(2, Status.IN_PROGRESS), sink="proton")
    assert before(journal, 3) is Status.FAILED
    assert before(journal, 3, arn=OTHER_ARN) is None


def test_it_is_the_last_end_that_counts(journal: Journal) -> None:
    enqueued(journal, notification(1, Status.FAILED), notification(2, Status.SUCCEEDED))
    assert before(journal, 3) is Status.SUCCEEDED


def test_it_holds_over_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "kept" / "journal.db")
    with Journal.open_as_daemon(path) as journal:
        enqueued(journal, notification(1, Status.FAILED))
    with Journal.open_as_daemon(path) as journal:
        assert before(journal, 2) is Status.FAILED


def test_what_was_said_again_changes_nothing(journal: Journal) -> None:
    """A replayed failure makes no later success a recovery, and a replayed recovery is still one."""
    enqueued(journal, notification(1, Status.FAILED), notification(2, Status.SUCCEEDED))
    with journal.transaction():
        journal.replay(journal.query("entry", seq=1)[0], 2000.0)
    assert before(journal, 3) is Status.SUCCEEDED
    assert before(journal, 2) is Status.FAILED, "looked at again, it has the same before it as then"


def test_a_failure_that_came_too_late_is_none(journal: Journal) -> None:
    """What an earlier run had to say after a later one's end is kept and was never told."""
    enqueued(journal, notification(1, Status.SUCCEEDED, run_id="later", began=20.0))
    enqueued(journal, notification(2, Status.FAILED, run_id="earlier", began=10.0))
    assert before(journal, 3) is Status.SUCCEEDED


def test_a_failure_that_was_overtaken_unsent_is_one(journal: Journal) -> None:
    """Proton was away and never heard of it; that it failed is true all the same."""
    enqueued(journal, notification(1, Status.IN_PROGRESS))  # on the wire: what follows waits
    enqueued(journal, notification(2, Status.FAILED))
    enqueued(journal, notification(3, Status.IN_PROGRESS, deployment="0a1b2c3d-0000-4000-8000-000000000002"))
    assert journal.query("entry", seq=2)[0]["state"] == "superseded"
    assert before(journal, 4) is Status.FAILED


# --- replays --------------------------------------------------------------------------------------------------------


def to(route: Route) -> Addressee:
    return Addressee("chat", lambda _one: True, lambda _one: "", route)


def outcomes(journal: Journal, route: Route, force: bool = False) -> Sequence[str]:
    """What becomes of everything in the journal when it is carried over to a sink of that route."""
    scope, addressee = Scope(everything=True, sink="proton"), to(route)
    chosen = choose(journal, scope, addressee=addressee, force=force)
    return [choice.refusal for choice in append(journal, chosen, 2000.0, addressee=addressee, force=force)]


def test_carried_over_is_what_the_route_takes(journal: Journal) -> None:
    enqueued(journal, *(notification(n, s) for n, s in enumerate((Status.FAILED, Status.SUCCEEDED), 1)))
    assert outcomes(journal, Route((Occasion.SUCCEEDED,))) == [
        "the route of chat leaves it out: it is told only what is succeeded", "",
    ]  # fmt: skip


def test_a_recovery_is_one_when_it_is_carried_over_later(journal: Journal) -> None:
    told = (Status.FAILED, Status.SUCCEEDED, Status.SUCCEEDED)
    enqueued(journal, *(notification(n, status) for n, status in enumerate(told, 1)))
    refusals = outcomes(journal, Route((Occasion.RECOVERED,)))
    assert ["leaves it out" in refusal for refusal in refusals] == [True, False, True]


def test_forced_it_is_carried_over_whatever_the_route_says(journal: Journal) -> None:
    enqueued(journal, notification(1, Status.FAILED))
    assert outcomes(journal, Route((Occasion.SUCCEEDED,)), force=True) == [""]


def test_to_its_own_sink_it_is_told_again_whatever_the_route_says_now(journal: Journal) -> None:
    enqueued(journal, notification(1, Status.FAILED))
    chosen = choose(journal, Scope(notification="1"), force=True)
    assert [choice.refusal for choice in append(journal, chosen, 2000.0, force=True)] == [""]
