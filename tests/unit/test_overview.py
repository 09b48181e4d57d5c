"""`status`: four verdicts that are never merged, and what is not known is never said to be well."""

from __future__ import annotations

import os

import msgspec
import pytest
from support.outboxes import DEPLOYMENT, enqueued, filled, notification

from proton_tf_agent import health
from proton_tf_agent.domain.binding import Binding
from proton_tf_agent.domain.circuit import Circuit
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import OutcomeKind
from proton_tf_agent.domain.run import Run
from proton_tf_agent.domain.values import replace
from proton_tf_agent.health import FRESH_S, Health
from proton_tf_agent.journal import Journal, Part, Recorded
from proton_tf_agent.journal_room import JournalRoom
from proton_tf_agent.overview import overview

NOW = 1200.0
WELL = Health(4711, "1.2.3", 900.0, NOW - 2, roots=("/w",), rescanned_at=NOW - 10)


def verdicts(journal: Journal, is_running: bool = True, now: float = NOW) -> tuple[str, str, str, str]:
    row = overview(journal, is_running, now)
    return row["verdict"], row["observing"], row["delivering"], row["keeping"]


def beat(journal: Journal, **changes: object) -> None:
    health.put(journal.path, msgspec.structs.replace(WELL, **changes))


@pytest.fixture
def well(journal: Journal) -> Journal:
    """A journal that was checked, and an agent that is at work and says so."""
    beat(journal)
    journal.remember(checked_at=NOW - 600)
    return journal


def test_an_agent_that_is_at_work_and_has_told_everything_is_well(well: Journal) -> None:
    row = overview(well, True, NOW)
    assert verdicts(well) == ("current", "current", "current", "current")
    assert (row["reason"], row["because"], row["lag_s"], row["parked"]) == (
        None, {"observing": None, "keeping": None, "delivering": None}, 0.0, 0,
    )  # fmt: skip
    assert (row["agent"], row["pid"], row["version"], row["roots"]) == ("running", 4711, "1.2.3", ["/w"])
    assert row["checked_at"] == "1970-01-01T00:10:00.000Z"
    assert (row["rescanned_at"], row["heard_at"]) == ("1970-01-01T00:19:50.000Z", "1970-01-01T00:19:58.000Z")


@pytest.mark.parametrize("age", [FRESH_S + 1, -FRESH_S - 1], ids=["old", "from the future"])
def test_of_an_agent_that_is_not_heard_it_is_unknown_whether_it_observes(well: Journal, age: float) -> None:
    beat(well, at=NOW - age)
    assert verdicts(well) == ("unknown", "unknown", "current", "current")
    os.unlink(health.path_of(well.path))
    assert verdicts(well) == ("unknown", "unknown", "current", "current")
    assert overview(well, True, NOW)["lag_s"] is None


def test_a_health_that_is_torn_at_any_byte_says_nothing(well: Journal) -> None:
    with open(health.path_of(well.path), "r+b") as file:
        whole = file.read()
        for length in range(len(whole) - 1):
            file.truncate(0)
            file.seek(0)
            file.write(whole[:length])
            file.flush()
            assert health.last(well.path) is None
    assert verdicts(well)[1] == "unknown"


def test_a_shorter_health_over_a_longer_one_is_whole(well: Journal) -> None:
    beat(well, problems=("x" * 5000,))
    beat(well)
    assert health.last(well.path) == WELL


def test_the_health_is_the_agents_alone(well: Journal) -> None:
    assert os.stat(health.path_of(well.path)).st_mode & 0o777 == 0o600


def test_with_the_agent_down_nothing_is_said_to_be_current(well: Journal) -> None:
    row = overview(well, False, NOW)
    assert verdicts(well, False) == ("stopped", "stopped", "stopped", "current")
    assert row["reason"] == "no agent is running since 1970-01-01T00:19:58.000Z"
    assert row["because"]["delivering"] == "nothing waits"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"problems": ("/w: it is not there", "/v: no watches left")}, "/w: it is not there (and 1 more)"),
        ({"has_backlog": True}, "it is still reading what it has found on disk"),
        ({"rescanned_at": 0.0}, "it is still reading what it has found on disk"),
    ],
)
def test_an_agent_that_does_not_see_everything_is_degraded_and_says_why(
    well: Journal, changes: dict[str, object], reason: str
) -> None:
    beat(well, **changes)
    row = overview(well, True, NOW)
    assert (row["verdict"], row["observing"], row["reason"]) == ("degraded", "degraded", reason)


def test_a_file_that_must_not_be_read_is_shown_and_is_no_reason_to_wake_anybody(well: Journal) -> None:
    """Every job could else make the whole agent look ill."""
    beat(well, unreadable={"/w/a.log": "E_NOT_REGULAR"}, unreadable_files=1)
    row = overview(well, True, NOW)
    assert (row["verdict"], row["unreadable"], row["unreadable_files"]) == ("current", {"/w/a.log": "E_NOT_REGULAR"}, 1)


def test_a_journal_that_was_not_checked_lately_is_not_said_to_be_sound(well: Journal) -> None:
    well.remember(checked_at=0.0)
    assert verdicts(well) == ("unknown", "current", "current", "unknown")
    well.remember(checked_at=NOW)
    assert verdicts(well, now=NOW + 3 * 86_400)[3] == "unknown"


def test_a_journal_whose_last_agent_failed_or_whose_disk_is_full_is_degraded(well: Journal) -> None:
    well.remember(suspect=True)
    assert verdicts(well) == ("degraded", "current", "current", "degraded")
    well.remember(suspect=False)
    JournalRoom(well, Part.EVIDENCE, lambda _name, _keys: None).used_up()
    row = overview(well, True, NOW)
    assert (row["keeping"], row["degraded"]) == ("degraded", "journal-full")
    assert row["reason"].startswith("journal-full: make room")


def test_what_is_parked_is_a_verdict_of_its_own(well: Journal) -> None:
    filled(well)
    row = overview(well, True, NOW)
    assert (row["parked"], row["delivering"], row["because"]["delivering"]) == (1, "degraded", "proton: 1 failing")
    assert (row["runs_open"], row["runs_recorded"], row["parked"]) == (1, 3, 1)
    assert [run["run_id"] for run in row["open"]] == ["run-2"]
    assert [run["run_id"] for run in row["recent"]] == ["run-1", "run-3"]


def test_each_sink_has_its_numbers(well: Journal) -> None:
    filled(well)
    console, proton = overview(well, True, NOW)["sinks"]
    assert console == {
        "sink": "console", "verdict": "current", "waiting": 1, "failing": 0, "suspect": 0, "parked": 0,
        "oldest_at": "1970-01-01T00:17:40.000Z", "waiting_s": 140.0, "next_attempt_at": None, "held_for": None,
        "held_since": None, "probes": 0, "code": None, "remedy": None,
        "paused_since": None, "paused_by": None, "paused_because": None,
    }  # fmt: skip
    assert (proton["verdict"], proton["parked"], proton["suspect"]) == ("failing", 1, 0)
    assert (proton["waiting"], proton["failing"], proton["waiting_s"]) == (2, 1, 98.0)


def test_delivery_is_current_when_all_that_waits_has_not_failed(well: Journal) -> None:
    enqueued(well, notification(1), notification(2, Status.FAILED))
    assert overview(well, True, NOW)["delivering"] == "current"


def test_the_lag_is_that_of_the_oldest_entry_or_of_an_agent_that_is_not_heard(well: Journal) -> None:
    enqueued(well, notification(1, Status.FAILED), now=NOW - 300)
    assert overview(well, True, NOW)["lag_s"] == 300.0
    beat(well, at=NOW - 7200)
    assert overview(well, False, NOW)["lag_s"] == 7200.0


def test_a_sink_that_is_held_up_says_why_since_when_and_how_often_it_was_asked(well: Journal) -> None:
    filled(well)
    gone = Circuit(held_for=OutcomeKind.GONE, code="410", probes=7, waited=6300.0)
    with well.transaction():
        well.put_circuit("proton", gone, 1100.0)
        well.put_circuit("audit", replace(gone, held_for=OutcomeKind.UNAUTHENTICATED, code=""), 1100.0)
    audit, _, proton = overview(well, True, NOW)["sinks"]
    held = ("verdict", "held_for", "held_since", "probes", "code")
    assert [proton[key] for key in held] == ["gone", "gone", "1970-01-01T00:18:20.000Z", 7, "410"]
    assert [audit[key] for key in held] == ["held", "unauthenticated", "1970-01-01T00:18:20.000Z", 7, None]
    assert (audit["waiting"], audit["waiting_s"]) == (0, None)


def test_a_sink_that_is_held_up_is_enough_for_delivery_to_be_degraded(well: Journal) -> None:
    with well.transaction():
        well.put_circuit("proton", Circuit(held_for=OutcomeKind.UNRESOLVABLE, probes=1), 1100.0)
    assert verdicts(well) == ("degraded", "current", "degraded", "current")


def test_the_last_that_ended_are_shown_however_many_are_open(well: Journal) -> None:
    with well.transaction():
        for number in range(20):
            ended = 1000.0 + number if number < 8 else None
            run = Run(f"run-{number}", f"/w/{number}", 1000.0 + number, ended_at=ended)
            well.put_run(Recorded(run, Binding("arn", DEPLOYMENT)))
    row = overview(well, True, NOW)
    assert len(row["open"]) == row["runs_open"] == 12
    assert [run["run_id"] for run in row["recent"]] == [f"run-{number}" for number in (7, 6, 5, 4, 3)]
