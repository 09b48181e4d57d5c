"""Retention: what is over and done goes, a resource's last word stays, and nothing that went is ever told again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.agents import AgentThread, settings_for
from support.facts import LOGS
from support.outboxes import ARN, DEPLOYMENT, OTHER_ARN, attempted, enqueued, notification, parked, states
from support.watching import bind_directory

from proton_tf_agent.domain.binding import Binding, Unbound
from proton_tf_agent.domain.evidence import ErrorReported, Fact, LogClosed, Observation
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import OutcomeKind
from proton_tf_agent.domain.run import Basis, Patience, Run, RunStatus, Verdict
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal, Recorded
from proton_tf_agent.journal_upkeep import PIECE, Pruned
from proton_tf_agent.journal_verify import check
from proton_tf_agent.pipeline import Addressee, Pipeline, Rules
from proton_tf_agent.receiver import Receiver
from proton_tf_agent.retention import DAY_S, EVERY_S, Limits, Retention
from proton_tf_agent.run_directories import RunDirectories
from proton_tf_agent.settings import AllowSettings, JournalSettings, Settings
from proton_tf_agent.sources.observe import observe
from proton_tf_agent.sources.place import place_of
from proton_tf_agent.sources.safe_open import SafeOpener
from proton_tf_agent.sources.watch import Touched

IN_PROGRESS, FAILED = Status.IN_PROGRESS, Status.FAILED
LATER = 1e9


class Told:
    """Runs that are told one after the other: number n begins at second 100 n and ends half a minute later."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def run(self, number: int, arn: str = ARN, *, evidence: int = 2, lasts: float = 30.0, **changes: Any) -> Run:
        began = 100.0 * number
        run = Run(f"run-{number}", "/w/n", began, status=RunStatus.ERRORED, ended_at=began + lasts, anchor=f"a{number}")
        run = replace(run, **changes)
        with self.journal.transaction():
            self.journal.put_run(Recorded(run, Binding(arn, DEPLOYMENT)))
            for _ in range(evidence):
                self.journal.put_evidence(run.run_id, "json_log", "/w/n/a.log", Fact(ErrorReported("x")), None, began)
        return run

    def enqueue(
        self, number: int, arn: str = ARN, sink: str = "proton", statuses: Any = (IN_PROGRESS, FAILED)
    ) -> list[int]:
        told = [
            notification(10 * number + place, status, arn, run_id=f"run-{number}", began=100.0 * number)
            for place, status in enumerate(statuses)
        ]
        return [enqueued(self.journal, one, sink=sink, now=100.0 * number + 30.0)[0] for one in told]

    def whole(self, number: int, arn: str = ARN, **how: Any) -> None:
        """A run that was told to the end, and accepted."""
        self.run(number, arn, **how)
        first, second = self.enqueue(number, arn)
        for seq in (first, second):
            if self.journal.query("entry", seq=seq)[0]["state"] != "superseded":
                attempted(self.journal, seq, now=100.0 * number + 31.0)

    def kept(self) -> list[str]:
        return sorted(recorded.run.run_id for recorded in self.journal.runs(1000))


@pytest.fixture
def told(journal: Journal) -> Iterator[Told]:
    yield Told(journal)
    assert list(check(journal)) == []


def test_all_but_the_last_run_of_a_resource_go_whole(told: Told) -> None:
    for number in (1, 2, 3):
        told.whole(number)
    told.whole(4, OTHER_ARN)
    assert told.journal.prunable(LATER) == Pruned(runs=2, evidence=4, entries=4, attempts=4)
    assert told.journal.prune_all(LATER) == Pruned(runs=2, evidence=4, entries=4, attempts=4)
    assert told.kept() == ["run-3", "run-4"]
    assert [row["run_id"] for row in told.journal.query("entries", after=0, limit=99)] == ["run-3"] * 2 + ["run-4"] * 2
    assert told.journal.prune_all(LATER) == told.journal.prunable(LATER) == Pruned()


def test_what_is_younger_stays(told: Told) -> None:
    for number in (1, 2, 3, 4):
        told.whole(number)
    told.journal.prune_all(before=231.0)
    assert told.kept() == ["run-3", "run-4"]


@pytest.mark.parametrize("state", ["pending", "retryable", "sending", "parked"])
def test_what_is_not_done_stays(told: Told, state: str) -> None:
    told.run(1)
    (seq,) = told.enqueue(1, statuses=(FAILED,))
    if state == "pending":
        told.journal.withdraw_attempt(seq)
    elif state == "parked":
        parked(told.journal, seq)
    elif state == "retryable":
        attempted(told.journal, seq, OutcomeKind.UNAVAILABLE)
    told.whole(2) if state == "parked" else (told.run(2), told.enqueue(2))
    assert states(told.journal)[0] == state
    assert told.journal.prune_all(LATER) == Pruned()


@pytest.mark.parametrize(
    "changes",
    [
        {"status": RunStatus.APPLYING, "ended_at": None},
        {"verdict": Verdict(RunStatus.ERRORED, Basis.INFERENCE, "x", 9.0)},
    ],
)
def test_a_run_that_is_on_or_whose_verdict_waits_stays(told: Told, changes: dict[str, Any]) -> None:
    told.run(1, **changes)
    told.whole(2)
    assert told.journal.prune_all(LATER) == Pruned()


def test_a_run_that_overlapped_with_the_one_that_is_kept_stays_too(told: Told) -> None:
    """Should its log come back, nothing would say that it comes too late."""
    told.whole(1, lasts=150.0)
    told.whole(2)
    assert told.journal.prune_all(LATER) == Pruned()


def test_each_sink_must_have_heard_of_a_later_end(told: Told) -> None:
    told.whole(1)
    (seq,) = told.enqueue(1, sink="console", statuses=(FAILED,))
    attempted(told.journal, seq)
    told.whole(2)
    assert told.journal.prune_all(LATER) == Pruned()
    (seq,) = told.enqueue(2, sink="console", statuses=(FAILED,))
    attempted(told.journal, seq)
    assert told.journal.prune_all(LATER).runs == 1


def test_a_run_that_was_told_again_of_late_stays(told: Told) -> None:
    told.whole(1)
    told.whole(2)
    (original,) = told.journal.query("entry", seq=1)
    attempted(told.journal, told.journal.replay(original, 5000.0), now=5001.0)
    assert told.journal.prune_all(4000.0) == Pruned()
    assert told.journal.prune_all(6000.0) == Pruned(runs=1, evidence=2, entries=3, attempts=3)


def test_a_run_that_told_nothing_goes_when_it_is_old(told: Told) -> None:
    with told.journal.transaction():
        told.journal.put_run(Recorded(Run("run-1", "/w/n", 1.0, status=RunStatus.LOST, ended_at=2.0), Unbound("why")))
    assert told.journal.prune_all(2.0) == Pruned()
    assert told.journal.prune_all(3.0) == Pruned(runs=1)


def test_entries_of_a_run_that_is_gone_go_by_the_same_rule(told: Told) -> None:
    told.enqueue(1)
    for seq in (1, 2):
        attempted(told.journal, seq, now=131.0)
    assert told.journal.prune_all(LATER) == Pruned()
    told.whole(2)
    assert told.journal.prune_all(LATER) == Pruned(entries=2, attempts=2)


def test_no_transaction_lets_go_of_more_than_a_piece_and_each_leaves_a_sound_journal(told: Told) -> None:
    for number in range(1, 40):
        told.whole(number, evidence=1200 if number == 7 else 40)
    pieces = []
    while (piece := told.journal.prune(LATER)).rows:
        pieces.append(piece.rows)
        assert list(check(told.journal)) == []
    assert max(pieces) <= PIECE
    assert len(pieces) > 5
    assert told.kept() == ["run-39"]


# --- the daemon's --------------------------------------------------------------------------------------------------


class Hours:
    """A retention whose clocks the test moves."""

    def __init__(self, journal: Journal, limits: Limits) -> None:
        self.now = 5000.0
        self.heard: list[tuple[str, object]] = []
        self.retention = Retention(journal, limits, lambda *line: self.heard.append(line), self._clock, self._clock)

    def _clock(self) -> float:
        return self.now

    def turns(self, times: int = 20) -> None:
        for _ in range(times):
            self.retention.turn()


def test_what_is_too_old_goes_at_the_start_and_then_every_hour(told: Told) -> None:
    for number in (1, 2, 3):
        told.whole(number)
    hours = Hours(told.journal, Limits(days=1))
    hours.turns()
    assert (told.kept(), hours.heard) == (["run-1", "run-2", "run-3"], [])
    hours.now += DAY_S
    hours.turns()
    assert told.kept() == ["run-3"]
    assert hours.heard == [("journal.pruned", {"runs": 2, "evidence": 4, "entries": 4, "attempts": 4})]
    told.whole(4)
    hours.now += EVERY_S - 1
    hours.turns()
    assert told.kept() == ["run-3", "run-4"]
    hours.now += 1
    hours.turns()
    assert (told.kept(), len(hours.heard)) == (["run-4"], 2)


@pytest.mark.parametrize("limit", ["rows", "bytes"])
def test_what_is_too_much_goes_oldest_first_until_it_is_not(told: Told, limit: str) -> None:
    for number in range(1, 200):
        told.whole(number)
    used = told.journal.bytes_kept()
    hours = Hours(told.journal, Limits(rows=250) if limit == "rows" else Limits(bytes=used * 2 // 3))
    hours.now = LATER
    hours.turns()
    left = told.kept()
    assert 10 < len(left) < 150
    assert sorted(left, key=lambda run_id: int(run_id[4:])) == [f"run-{n}" for n in range(200 - len(left), 200)]
    assert told.journal.entries_kept() <= 250 if limit == "rows" else told.journal.bytes_kept() <= used * 2 // 3


def test_no_limit_is_none(told: Told) -> None:
    for number in (1, 2, 3):
        told.whole(number)
    hours = Hours(told.journal, Limits())
    hours.now = LATER
    hours.turns()
    assert (len(told.kept()), hours.heard) == (3, [])


def test_the_daemon_lets_go_at_its_start(tmp_path: Path, receiver: Receiver) -> None:
    root, path = tmp_path / "watched", str(tmp_path / "memory" / "journal.db")
    root.mkdir()
    with Journal.open_as_daemon(path) as journal:
        for number in (1, 2, 3):
            Told(journal).whole(number)
    settings = settings_for(str(root), path, receiver.url)
    with AgentThread(replace(settings, journal=JournalSettings(path, keep_days=1))) as agent:
        ((_, keys),) = agent.log.wait_for("journal.pruned")
    assert keys == {"runs": 2, "evidence": 4, "entries": 4, "attempts": 4}


# --- logs that come back -------------------------------------------------------------------------------------------

SERIES = ("apply_ok.log", "apply_saved_plan.log", "sigint_once.log", "apply_partial_failure.log", "destroy.log",
          "plan_fail_reference.log")  # fmt: skip


def span_of(name: str) -> tuple[float, float]:
    """When a recorded run began and ended."""
    from datetime import datetime

    lines = [json.loads(line) for line in (LOGS / name).read_bytes().splitlines()]
    at = [datetime.fromisoformat(line["@timestamp"]).timestamp() for line in lines]
    return at[0], at[-1]


class Directory:
    """A run directory in which recorded runs have left their logs, one after the other."""

    def __init__(self, base: Path) -> None:
        self.root = str(base / "watched")
        self.path = f"{self.root}/net"
        os.makedirs(self.path)
        bind_directory(self.path, ARN, DEPLOYMENT)
        for directory, _, names in os.walk(self.path):
            for name in names:
                os.utime(f"{directory}/{name}", (1e9, 1e9))

    def pipeline(self, journal: Journal) -> Pipeline:
        self.opener = SafeOpener([self.root])
        around = RunDirectories(self.opener, Settings(allow=AllowSettings(("arn:aws:proton:*",))))
        everyone = [Addressee(name, lambda _one: True, lambda _one: "") for name in ("proton", "console")]
        return Pipeline(journal, around, everyone, Rules(Patience(0.1, 0.0)), lambda _told: None)

    def read(self, pipeline: Pipeline, name: str, now: float) -> None:
        """One look at a log, and then nobody writes it any more."""
        path = f"{self.path}/{name}"
        with open(path, "wb") as file:
            file.write((LOGS / name).read_bytes())
        os.utime(path, (span_of(name)[1],) * 2)
        place = place_of(path, ("*.log",))
        assert place is not None
        seen = observe(self.opener, Touched(path, place, closed=True), pipeline.cursors.get(path))
        assert seen is not None
        pipeline.absorb([seen], now, lambda _path: 0.0)
        closed = [
            Observation("liveness", run.log_path, run.directory, run.workspace, (Fact(LogClosed(), run.anchor),), None)
            for run in pipeline.open_runs
        ]
        pipeline.absorb(closed, now, lambda _path: 0.0)
        pipeline.elapse(now + 0.2)


def deliver_everything(journal: Journal, now: float) -> None:
    while waiting := journal.heads(("proton", "console")):
        for head in waiting:
            attempted(journal, head.seq, now=now)


@pytest.mark.parametrize("known", range(1, len(SERIES) + 1))
@pytest.mark.parametrize("backwards", [False, True])
def test_when_every_log_is_read_again_after_a_prune_nothing_is_told_again(
    journal: Journal, tmp_path: Path, known: int, backwards: bool
) -> None:
    """Every cursor is lost, in whatever order they come: a log of a run that went has nothing more to say."""
    directory, series = Directory(tmp_path), SERIES[:known]
    pipeline = directory.pipeline(journal)
    for name in series:
        directory.read(pipeline, name, span_of(name)[1])
        deliver_everything(journal, span_of(name)[1])
    assert all(state in ("delivered", "superseded") for state in states(journal))
    assert journal.prune_all(LATER * 3).runs == known - 1
    last = journal.query("last_entries", limit=1)[0]["seq"]
    journal._connection.execute("DELETE FROM cursor")
    pipeline = directory.pipeline(journal)
    for name in series[::-1] if backwards else series:
        directory.read(pipeline, name, LATER * 3)
    assert len(journal.runs(99)) == known
    assert {row["state"] for row in journal.query("entries", after=last, limit=999)} <= {"superseded"}
    assert list(check(journal)) == []
