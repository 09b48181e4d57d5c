"""The live matrix: every way a run can go, with a real Terraform and the daemon as a process of its own.

All cases happen at once below the same roots, before one daemon and one receiver; each test then judges its own.
Under pytest-xdist they stay on one worker, for they share that world.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.matrix.case import SECRET, Case
from support.matrix.play import Outcome, World
from support.matrix.table import CASES

pytestmark = [pytest.mark.xdist_group("live matrix"), pytest.mark.timeout(300)]

Play = tuple[World, dict[str, Outcome]]


@pytest.fixture(scope="module")
def play(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, terraform_path: str
) -> Iterator[Play]:
    """Every case that was asked for has happened."""
    asked = {item.callspec.id for item in request.session.items if hasattr(item, "callspec")}
    cases = [case for case in CASES if case.name in asked]
    with World(tmp_path_factory.mktemp("matrix"), terraform_path) as world:
        yield world, world.play(cases)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_proton_hears_of_a_run_is_what_became_of_it(play: Play, case: Case) -> None:
    outcome = play[1][case.name]
    assert not outcome.trouble, outcome.trouble
    told, runs = case.told, case.runs
    if case.lagging and [row["status"] for row in outcome.runs] == list(case.lagging[1]):
        told, runs = case.lagging
    assert without_beginnings(outcome) == list(told), (heard(outcome), outcome.runs)
    assert [row["status"] for row in outcome.runs] == list(runs), outcome.runs
    assert case.message in last_message(outcome), heard(outcome)
    assert SECRET not in str(outcome)
    if case.told[-1:] == ("SUCCEEDED",):
        assert outcome.heard[-1].outputs == outcome.outputs


def test_every_success_that_was_told_is_one_and_nothing_was_told_twice(play: Play) -> None:
    world, outcomes = play
    expected = sum(case.told.count("SUCCEEDED") for case in CASES if case.name in outcomes)
    ours = [row for row in world.entries() if row["status"] == "SUCCEEDED" and "/last-word" not in row["resource_arn"]]
    assert len(ours) == expected
    assert len({row["run_id"] for row in ours}) == expected


def test_what_is_delivered_is_what_was_heard_in_that_order(play: Play) -> None:
    for name, outcome in play[1].items():
        delivered = [(row["status"], row["status_message"]) for row in outcome.entries if row["state"] == "delivered"]
        assert delivered == [(record.status, record.status_message) for record in outcome.heard], name
        assert {row["state"] for row in outcome.entries} <= {"delivered", "superseded"}, name


def test_no_secret_is_kept_logged_or_told(play: Play) -> None:
    world, _ = play
    assert SECRET.encode() not in world.everything_kept()
    assert SECRET not in str(world.receiver.records())


def test_an_agent_that_looks_at_everything_again_finds_and_tells_nothing_new(play: Play) -> None:
    world, _ = play
    assert world.agent.stop() == 0
    runs, entries = world.runs(), world.entries()
    world.start_agent()
    world.come_to_rest()
    assert world.agent.stop() == 0
    assert [row for row in world.runs() if "/last-word-2" not in row["directory"]] == runs
    assert [row for row in world.entries() if "/last-word-2" not in row["resource_arn"]] == entries


def without_beginnings(outcome: Outcome) -> list[str | None]:
    """What was heard, without the IN_PROGRESS before an end, and only the last of several in a row."""
    statuses = [record.status for record in outcome.heard]
    last = len(statuses)
    return [s for n, s in enumerate(statuses, 1) if s != "IN_PROGRESS" or n == last]


def last_message(outcome: Outcome) -> str:
    """What was said last; nothing when nothing was said."""
    return str(outcome.heard[-1].status_message) if outcome.heard else ""


def heard(outcome: Outcome) -> list[tuple[str | None, str | None]]:
    """For a person who reads a failure."""
    return [(record.status, record.status_message) for record in outcome.heard]
