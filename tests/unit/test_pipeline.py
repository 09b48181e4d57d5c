"""The pipeline: one commit for all that belongs together, the same rows however often and in whatever pieces."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support.facts import LOGS
from support.watching import bind_directory

from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.composition import violations
from proton_tf_agent.domain.errors import AgentError
from proton_tf_agent.domain.evidence import Evidence, Fact, Observation
from proton_tf_agent.domain.notification import Notification
from proton_tf_agent.domain.output_mapping import OutputMapping
from proton_tf_agent.domain.run import Patience, Run, RunStatus
from proton_tf_agent.journal import Journal, notification_of
from proton_tf_agent.pipeline import Addressee, Pipeline, Rules, Told, proton_objection
from proton_tf_agent.run_directories import RunDirectories
from proton_tf_agent.settings import AllowSettings, BindSettings, Settings
from proton_tf_agent.sinks.console import ConsoleSink
from proton_tf_agent.sinks.proton import ProtonSink
from proton_tf_agent.sources.observe import observe
from proton_tf_agent.sources.place import place_of
from proton_tf_agent.sources.safe_open import SafeOpener
from proton_tf_agent.sources.watch import Touched

ARN = "arn:aws:proton:us-east-1:111122223333:environment/net"
FOREIGN_ARN = "arn:aws:proton:us-east-1:999999999999:environment/net"
DEPLOYMENT_ID = "fcda9f18-f569-4079-8474-0832f45b97ea"
NOW = 1_900_000_000.0
SECRET = 'k"ey-\\9\N{SNOWMAN}/s3cr3t'
LOGS_OF_RUNS = ("apply_ok.log", "apply_partial_failure.log", "destroy.log", "apply_no_changes.log", "lock_refused.log")
each_log = pytest.mark.parametrize("name", LOGS_OF_RUNS)


def recorded(name: str) -> bytes:
    return (LOGS / name).read_bytes()


class Scene:
    """A watched root with one run directory, and a pipeline that is shown files when the test says so."""

    def __init__(self, base: Path, journal: Journal, rules: Rules | None = None, settings: Settings | None = None):
        self.root = str(base / "watched")
        self.directory = f"{self.root}/net"
        os.makedirs(self.directory, exist_ok=True)
        self.journal = journal
        self.opener = SafeOpener([self.root])
        settings = settings or Settings(allow=AllowSettings(("arn:aws:proton:*:111122223333:*",)))
        surroundings = RunDirectories(self.opener, settings)
        proton, console = ProtonSink("proton", "us-east-1"), ConsoleSink("console")
        addressees = [
            Addressee("proton", proton.wants, proton_objection),
            Addressee("console", console.wants, lambda _notification: ""),
        ]
        self.told: list[Told] = []
        self.born = 0.0
        rules = rules or Rules(Patience(10.0, 3.0))
        self.pipeline = Pipeline(journal, surroundings, addressees, rules, self.told.append)

    def write(self, name: str, content: bytes, mode: str = "wb", at: float | None = None) -> str:
        path = f"{self.directory}/{name}"
        with open(path, mode) as file:
            file.write(content)
        if at is not None:
            os.utime(path, (at, at))
        return path

    def look(self, name: str) -> Observation | None:
        path = f"{self.directory}/{name}"
        place = place_of(path, ("*.log",))
        assert place is not None
        return observe(self.opener, Touched(path, place, closed=False), self.pipeline.cursors.get(path))

    def absorb(self, *observations: Observation | None, now: float = NOW) -> None:
        self.pipeline.absorb([o for o in observations if o is not None], now, lambda _path: self.born)

    def run_through(self, name: str, log: str = "apply.log", now: float = NOW) -> None:
        """Let a recorded log appear, be read, and be found closed."""
        self.write(log, recorded(name))
        self.absorb(self.look(log), now=now)
        self.close(now)

    def close(self, now: float = NOW) -> None:
        """Nobody writes any log any more; later, all is decided."""
        self.learn(*((run, ev.LogClosed()) for run in self.pipeline.open_runs), now=now)
        self.pipeline.elapse(now + 60.0)

    def learn(self, *facts: tuple[Run, Evidence], now: float = NOW) -> None:
        """Let runs have facts that a probe of their processes would bring."""
        self.absorb(
            *(
                Observation("liveness", r.log_path, r.directory, r.workspace, (Fact(e, r.anchor),), None)
                for r, e in facts
            ),
            now=now,
        )

    def runs(self) -> list[Run]:
        return [recorded.run for recorded in reversed(self.journal.runs(100))]

    def sent(self, sink: str = "proton") -> list[Notification]:
        return [notification_of(row["body"]) for row in self.rows() if row["sink"] == sink]

    def statuses(self, sink: str = "proton") -> list[str]:
        return [notification.status.value for notification in self.sent(sink)]

    def rows(self) -> list[sqlite3.Row]:
        return self.journal.query("entries", after=0, limit=1000)

    def names(self) -> list[str]:
        return [told.name for told in self.told]


def dump(journal: Journal) -> list[str]:
    """Everything in the journal, row by row."""
    return list(journal._connection.iterdump())


def on_disk(journal: Journal) -> bytes:
    return b"".join(path.read_bytes() for path in Path(journal.path).parent.iterdir())


@pytest.fixture
def scene(tmp_path: Path, journal: Journal) -> Scene:
    scene = Scene(tmp_path, journal)
    bind_directory(scene.directory, ARN, DEPLOYMENT_ID)
    return scene


@contextmanager
def another_scene(tmp_path: Path, memory: str) -> Iterator[Scene]:
    """The same run directory, seen by an agent with a memory of its own."""
    with Journal.open_as_daemon(str(tmp_path / memory / "journal.db")) as journal:
        yield Scene(tmp_path, journal)


# --- one commit ---------------------------------------------------------------------------------------------------


class Interrupted:
    """Interrupts SQLite in the midst of whatever it does, after so many of its steps."""

    def __init__(self, journal: Journal, steps: int) -> None:
        self._connection = journal._connection
        self._left = steps
        self.happened = False

    def __enter__(self) -> Interrupted:
        self._connection.set_progress_handler(self._step, 1)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.set_progress_handler(None, 1)

    def _step(self) -> int:
        self._left -= 1
        # Behind COMMIT's last step nothing is left to stop, and a rollback is let through.
        stops = self._left <= 0 and self._connection.in_transaction and not self.happened
        self.happened |= stops
        return stops


@each_log
def test_a_failure_at_any_step_leaves_nothing_and_the_next_look_brings_everything(
    tmp_path: Path, scene: Scene, name: str
) -> None:
    """One commit holds cursor, run, evidence and notification; memory and the log follow it."""
    with another_scene(tmp_path, "undisturbed") as undisturbed:
        undisturbed.run_through(name)
        expected, names = dump(undisturbed.journal), undisturbed.names()
    path = scene.write("apply.log", recorded(name))
    empty, steps, interruptions = dump(scene.journal), 1, 0
    observation = scene.look("apply.log")
    while True:
        with Interrupted(scene.journal, steps) as interrupted, suppress(sqlite3.OperationalError, AgentError):
            scene.absorb(observation)
        if not interrupted.happened:
            break
        assert dump(scene.journal) == empty
        assert (scene.pipeline.open_runs, dict(scene.pipeline.cursors), scene.told) == ([], {}, [])
        interruptions += 1
        steps += 1 + steps // 8
    assert interruptions > 20
    assert path in scene.pipeline.cursors
    scene.close()
    assert dump(scene.journal) == expected
    assert scene.names() == names


@pytest.mark.parametrize("table", ["cursor", "run", "evidence", "outbox", "attempt"])
def test_when_one_table_cannot_be_written_none_is(scene: Scene, table: str) -> None:
    execute = scene.journal._connection.execute
    before = dump(scene.journal)
    execute(f"CREATE TEMP TRIGGER full BEFORE INSERT ON main.{table} BEGIN SELECT RAISE(ABORT, 'no room'); END")
    scene.write("apply.log", recorded("apply_ok.log"))
    with pytest.raises(sqlite3.IntegrityError, match="no room"):
        scene.absorb(scene.look("apply.log"))
    execute("DROP TRIGGER full")
    assert dump(scene.journal) == before
    assert (scene.pipeline.open_runs, dict(scene.pipeline.cursors), scene.told) == ([], {}, [])
    scene.absorb(scene.look("apply.log"))
    assert scene.statuses()[-1] == "SUCCEEDED"


def test_a_verdict_that_comes_due_commits_with_its_notification(scene: Scene) -> None:
    scene.write("apply.log", recorded("sigkill.log"))
    scene.absorb(scene.look("apply.log"))
    (run,) = scene.pipeline.open_runs
    scene.learn((run, ev.LogClosed()))
    before = dump(scene.journal)
    execute = scene.journal._connection.execute
    execute("CREATE TEMP TRIGGER full BEFORE INSERT ON main.outbox BEGIN SELECT RAISE(ABORT, 'no room'); END")
    with pytest.raises(sqlite3.IntegrityError):
        scene.pipeline.elapse(NOW + 60.0)
    execute("DROP TRIGGER full")
    assert dump(scene.journal) == before
    assert [run.status for run in scene.pipeline.open_runs] == [RunStatus.APPLYING]
    scene.pipeline.elapse(NOW + 60.0)
    assert scene.statuses()[-1] == "FAILED"
    assert scene.runs()[0].status is RunStatus.LOST


def test_the_log_follows_the_commit(scene: Scene) -> None:
    seen: list[int] = []
    scene.pipeline.tell = lambda _told: seen.append(len(scene.rows()))
    scene.run_through("apply_ok.log")
    assert set(seen) == {len(scene.rows())}


# --- the same rows ------------------------------------------------------------------------------------------------


@each_log
def test_what_is_absorbed_twice_adds_nothing(scene: Scene, name: str) -> None:
    path = scene.write("apply.log", recorded(name))
    observation = scene.look("apply.log")
    scene.absorb(observation, observation)
    scene.absorb(observation)
    scene.close()
    once = dump(scene.journal)
    scene.absorb(observation, now=NOW + 100.0)
    scene.pipeline.forget([path])
    scene.absorb(scene.look("apply.log"), now=NOW + 200.0)
    assert dump(scene.journal) == once
    with Journal.open_existing(scene.journal.path) as restarted:
        again = Scene(Path(scene.root).parent, restarted)
        again.absorb(observation, now=NOW + 300.0)
    assert dump(scene.journal) == once


# --- why nothing was told -----------------------------------------------------------------------------------------


def silences(scene: Scene) -> list[str]:
    return [recorded.silence for recorded in reversed(scene.journal.runs(100))]


def test_of_a_run_whose_outcome_was_told_there_is_no_silence(scene: Scene) -> None:
    scene.run_through("apply_ok.log")
    scene.run_through("apply_partial_failure.log", "second.log", NOW + 100)
    assert silences(scene) == ["", ""]


def test_a_run_in_whose_directory_nothing_binds_is_silent_for_that(tmp_path: Path, journal: Journal) -> None:
    scene = Scene(tmp_path, journal)
    scene.write("apply.log", recorded("sigkill.log"))
    scene.absorb(scene.look("apply.log"))
    assert silences(scene) == [""], "as long as it is open nothing is said of its end"
    scene.close()
    assert silences(scene) == ["no deployment metadata and no [[bind]] for this directory"]


def test_a_run_from_before_the_root_was_watched_is_silent_for_that(scene: Scene) -> None:
    scene.born = NOW
    scene.write("apply.log", recorded("apply_ok.log"), at=NOW - 100)
    scene.absorb(scene.look("apply.log"))
    assert silences(scene) == ["it was over before the agent first watched its root"]


def test_a_finished_plan_says_what_would_make_it_a_success(scene: Scene) -> None:
    scene.run_through("plan_changes.log")
    assert silences(scene) == ["a plan with changes stays IN_PROGRESS until they are applied"]


def test_what_one_sink_does_not_take_is_said_although_others_do(tmp_path: Path, journal: Journal) -> None:
    scene = Scene(tmp_path, journal)
    bind_directory(scene.directory, ARN, DEPLOYMENT_ID, deleted=True)
    scene.run_through("destroy.log")
    assert silences(scene) == ["proton takes no such notification; the resource is deleted there"]
    assert scene.statuses("console")[-1] == "SUCCEEDED"


def test_without_sinks_nobody_is_told(scene: Scene) -> None:
    scene.pipeline.addressees = ()
    scene.run_through("apply_ok.log")
    assert silences(scene) == ["no [[sink]] is there to be told"]


def test_what_a_later_run_has_overtaken_is_said_to_be(scene: Scene) -> None:
    scene.write("old.log", recorded("sigkill.log"))
    scene.absorb(scene.look("old.log"))
    (run,) = scene.pipeline.open_runs
    later = recorded("apply_ok.log").replace(b"2026-11-23", b"2027-11-23")
    scene.write("new.log", later)
    scene.absorb(scene.look("new.log"))
    late = b'{"@level":"info","@message":"x","@module":"terraform.ui","type":"diagnostic",'
    late += b'"diagnostic":{"severity":"error","summary":"late"}}\n'
    scene.write("old.log", late, "ab")
    scene.absorb(scene.look("old.log"))
    scene.close()
    ended = scene.journal.run(run.run_id)
    assert ended is not None
    assert ended.run.status is RunStatus.ERRORED
    assert "not told to proton: a later run of this resource had told its outcome already" in ended.silence


@each_log
@pytest.mark.parametrize("size", [1, 700, 5000])
def test_a_log_that_is_read_in_pieces_gives_the_same_rows(tmp_path: Path, scene: Scene, name: str, size: int) -> None:
    content = recorded(name)
    with another_scene(tmp_path, "whole") as whole:
        whole.run_through(name)
        expected = dump(whole.journal)
    lines = content.splitlines(keepends=True)
    pieces = lines if size == 1 else [content[n : n + size] for n in range(0, len(content), size)]
    scene.write("apply.log", b"")
    for piece in pieces:
        scene.write("apply.log", piece, "ab")
        scene.absorb(scene.look("apply.log"))
    scene.close()
    assert dump(scene.journal) == expected


def test_a_restart_in_mid_run_gives_the_same_rows(tmp_path: Path, scene: Scene) -> None:
    with another_scene(tmp_path, "whole") as whole:
        whole.run_through("apply_ok.log")
        expected = dump(whole.journal)
    content = recorded("apply_ok.log")
    for end in range(0, len(content), 1500):
        scene.write("apply.log", content[:end])
        with another_scene(tmp_path, "restarted") as after_restart:
            after_restart.absorb(after_restart.look("apply.log"))
    with another_scene(tmp_path, "restarted") as last:
        last.run_through("apply_ok.log")
        assert dump(last.journal) == expected


# --- what is recorded ---------------------------------------------------------------------------------------------


def test_a_log_of_init_leaves_no_run_but_is_not_read_again(scene: Scene) -> None:
    scene.run_through("init.log")
    assert scene.runs() == []
    assert scene.rows() == []
    assert scene.journal._connection.execute("SELECT count(*) FROM evidence").fetchone()[0] == 0
    assert scene.look("apply.log") is None
    assert scene.pipeline.open_runs == []


def test_the_story_of_a_run_counts_resources_and_keeps_no_output(scene: Scene) -> None:
    scene.run_through("apply_ok.log")
    (run,) = scene.runs()
    story = scene.journal.evidence_of(run.run_id)
    assert [(row["kind"], row["status"]) for row in story] == [
        ("OperationStarted", None),
        ("ChangePlanned", "planning"),
        ("PlanSummarised", "planned"),
        ("OutputsPlanned", None),
        ("ApplyStarted", "applying"),
        ("ApplySummarised", None),
        ("OutputsReported", "applied"),
    ]
    assert (run.planned, run.applied) == (3, 3)
    reported = json.loads(story[-1]["fields"])
    assert {output["name"]: output["value"] for output in reported["outputs"]} == {
        "const": None,
        "ids": None,
        "last": None,
        "pw": None,
    }


def test_every_transition_and_every_entry_is_told_to_the_log_without_values(scene: Scene) -> None:
    scene.run_through("apply_ok.log")
    moved = [told.keys["status"] for told in scene.told if told.name == "run.transitioned"]
    assert moved == ["planning", "planned", "applying", "applied"]
    enqueued = [told.keys["seq"] for told in scene.told if told.name == "notification.enqueued"]
    assert enqueued == [row["seq"] for row in scene.rows()]
    superseded = [told.keys for told in scene.told if told.name == "notification.superseded"]
    assert len(superseded) == sum(row["state"] == "superseded" for row in scene.rows())
    assert "c-1" not in repr(scene.told)


def test_a_success_is_told_with_the_outputs_it_may_tell(scene: Scene) -> None:
    scene.run_through("apply_ok.log")
    last = scene.sent()[-1]
    assert scene.statuses() == ["IN_PROGRESS"] * 3 + ["SUCCEEDED"]
    assert dict(last.outputs).keys() == {"const", "ids", "last"}
    assert "pw (sensitive)" in last.status_message
    assert violations(last) == []


def test_the_state_tells_the_outputs_when_the_log_ends_before_it_does(scene: Scene) -> None:
    *lines, summary, _outputs = recorded("apply_ok.log").splitlines(keepends=True)
    scene.write("apply.log", b"".join((*lines, summary)))
    scene.write("terraform.tfstate", (LOGS / "apply_ok.tfstate").read_bytes())
    scene.absorb(scene.look("apply.log"))
    scene.close()
    assert scene.runs()[0].status is RunStatus.APPLIED
    assert dict(scene.sent()[-1].outputs)["const"] == "c-1"
    assert "pw" not in dict(scene.sent()[-1].outputs)


# --- whose run it is ----------------------------------------------------------------------------------------------


def test_a_run_without_a_binding_is_recorded_and_not_told(tmp_path: Path, journal: Journal) -> None:
    scene = Scene(tmp_path, journal)
    scene.run_through("apply_ok.log")
    (recorded,) = journal.runs(10)
    assert recorded.run.status is RunStatus.APPLIED
    assert scene.rows() == []
    assert getattr(recorded.binding, "reason", "") == "no deployment metadata and no [[bind]] for this directory"


def test_a_run_that_is_bound_later_is_told_from_there_on(tmp_path: Path, journal: Journal) -> None:
    scene = Scene(tmp_path, journal)
    *lines, summary, outputs = recorded("apply_ok.log").splitlines(keepends=True)
    scene.write("apply.log", b"".join(lines))
    scene.absorb(scene.look("apply.log"))
    scene.pipeline.bind({scene.directory}, NOW)
    assert scene.rows() == []
    bind_directory(scene.directory, ARN, DEPLOYMENT_ID)
    scene.pipeline.bind({scene.directory}, NOW)
    scene.pipeline.bind({scene.directory}, NOW)
    assert scene.statuses() == ["IN_PROGRESS"]
    assert scene.sent()[0].run_status is RunStatus.APPLYING
    scene.write("apply.log", summary + outputs, "ab")
    scene.absorb(scene.look("apply.log"))
    assert scene.statuses() == ["IN_PROGRESS", "SUCCEEDED"]


def test_a_run_that_was_over_before_it_was_bound_is_not_told(tmp_path: Path, journal: Journal) -> None:
    scene = Scene(tmp_path, journal)
    scene.run_through("apply_ok.log")
    bind_directory(scene.directory, ARN, DEPLOYMENT_ID)
    scene.pipeline.bind({scene.directory}, NOW)
    scene.absorb(scene.look("apply.log"))
    scene.pipeline.forget([f"{scene.directory}/apply.log"])
    scene.absorb(scene.look("apply.log"))
    assert scene.rows() == []


def test_a_binding_is_frozen_once_found(scene: Scene) -> None:
    content = recorded("apply_ok.log")
    scene.write("apply.log", content[:6000])
    scene.absorb(scene.look("apply.log"))
    assert scene.statuses() == ["IN_PROGRESS"] * len(scene.statuses())
    assert scene.statuses()
    bind_directory(scene.directory, ARN + "-2", "0" * 8 + DEPLOYMENT_ID[8:])
    scene.write("apply.log", content)
    scene.absorb(scene.look("apply.log"))
    assert {(n.resource_arn, n.deployment_id) for n in scene.sent()} == {(ARN, DEPLOYMENT_ID)}
    assert scene.statuses()[-1] == "SUCCEEDED"


def test_an_arn_outside_of_allow_is_not_spoken_for_and_shown(tmp_path: Path, journal: Journal) -> None:
    scene = Scene(tmp_path, journal)
    bind_directory(scene.directory, FOREIGN_ARN, DEPLOYMENT_ID)
    scene.run_through("apply_ok.log")
    assert scene.rows() == []
    assert "[allow] resource_arns" in getattr(journal.runs(1)[0].binding, "reason", "")


def test_a_directory_that_the_settings_bind_needs_no_metadata(tmp_path: Path, journal: Journal) -> None:
    directory = str(tmp_path / "watched" / "net")
    scene = Scene(tmp_path, journal, settings=Settings(bind=(BindSettings(directory, FOREIGN_ARN),)))
    scene.run_through("apply_ok.log")
    assert {(n.resource_arn, n.deployment_id) for n in scene.sent()} == {(FOREIGN_ARN, None)}


def test_the_destruction_of_a_deleted_resource_is_told_to_all_but_proton(tmp_path: Path, journal: Journal) -> None:
    scene = Scene(tmp_path, journal)
    bind_directory(scene.directory, ARN, "<proton-resource-deleted>", deleted=True)
    scene.run_through("destroy.log")
    assert scene.sent("proton") == []
    last = scene.sent("console")[-1]
    assert (last.status, last.run_status, last.resource_deleted, last.outputs) == ("SUCCEEDED", "destroyed", True, ())
    assert last.deployment_id is None


def test_what_a_sink_could_never_accept_is_parked_and_said(tmp_path: Path, journal: Journal) -> None:
    scene = Scene(tmp_path, journal)
    bind_directory(scene.directory, ARN, DEPLOYMENT_ID)
    proton, console = scene.pipeline.addressees
    refusing = Addressee("proton", proton.wants, lambda n: "no outputs, please" if n.outputs else "")
    scene.pipeline.addressees = (refusing, console)
    scene.run_through("apply_ok.log")
    row = next(row for row in scene.rows() if row["state"] == "parked")
    assert (row["sink"], row["status"], row["reason"]) == ("proton", "SUCCEEDED", "no outputs, please")
    (keys,) = [told.keys for told in scene.told if told.name == "notification.parked"]
    assert (keys["seq"], keys["reason"]) == (row["seq"], "no outputs, please")
    assert scene.statuses("console")[-1] == "SUCCEEDED"


# --- a refused lock -----------------------------------------------------------------------------------------------


def test_a_refused_lock_is_told_when_no_other_run_is_open(scene: Scene) -> None:
    scene.run_through("lock_refused.log")
    assert scene.statuses() == ["FAILED"]
    assert "state lock could not be acquired" in scene.sent()[0].status_message


def test_a_refused_lock_is_recorded_and_not_told_while_the_run_that_holds_it_is_open(scene: Scene) -> None:
    content = recorded("apply_ok.log").splitlines(keepends=True)
    scene.write("apply.log", b"".join(content[:8]))
    scene.absorb(scene.look("apply.log"))
    before = scene.statuses()
    scene.write("second.log", recorded("lock_refused.log"))
    scene.absorb(scene.look("second.log"))
    (refused,) = [run for run in scene.pipeline.open_runs if run.refused]
    scene.learn((refused, ev.LogClosed()))
    scene.pipeline.elapse(NOW + 60.0)
    assert RunStatus.ERRORED in [run.status for run in scene.runs()]
    assert scene.statuses() == before
    scene.write("apply.log", b"".join(content))
    scene.absorb(scene.look("apply.log"))
    assert scene.statuses()[-1] == "SUCCEEDED"


# --- runs from before the agent -----------------------------------------------------------------------------------

BORN = 1_800_000_000.0  # after the recorded runs, before NOW


@each_log
def test_a_run_that_was_over_before_the_root_was_watched_is_recorded_and_not_told(scene: Scene, name: str) -> None:
    scene.born = BORN
    scene.write("apply.log", recorded(name), at=BORN - 1.0)
    scene.absorb(scene.look("apply.log"))
    scene.close()
    (run,) = scene.runs()
    assert run.historic
    assert not run.is_open
    assert scene.rows() == []


def test_a_run_that_died_before_the_root_was_watched_is_recorded_and_not_told(scene: Scene) -> None:
    """That nobody writes its log any more is found out now, but it is no sign of life."""
    scene.born = BORN
    scene.write("apply.log", recorded("sigkill.log"), at=BORN - 1.0)
    scene.absorb(scene.look("apply.log"))
    scene.close()
    assert [(run.status, run.historic) for run in scene.runs()] == [(RunStatus.LOST, True)]
    assert scene.rows() == []


def test_old_runs_of_a_log_that_the_next_run_appends_to_are_not_told(scene: Scene) -> None:
    """`terraform apply -json >> apply.log`: what stood there before speaks for nobody's present deployment."""
    scene.born = BORN
    scene.write("apply.log", recorded("apply_partial_failure.log") + recorded("apply_ok.log"), at=BORN - 1.0)
    scene.absorb(scene.look("apply.log"))
    fresh = recorded("apply_no_changes.log").replace(b'"@timestamp":"2026', b'"@timestamp":"2027')
    scene.write("apply.log", fresh, "ab", at=BORN + 1.0)
    scene.absorb(scene.look("apply.log"))
    scene.close()
    assert [run.historic for run in scene.runs()] == [True, True, False]
    assert {n.run_id for n in scene.sent()} == {scene.runs()[-1].run_id}


def test_old_runs_of_a_log_that_is_first_seen_in_the_midst_of_its_next_run_are_not_told(scene: Scene) -> None:
    scene.born = BORN
    content = recorded("apply_ok.log")
    living = recorded("sigkill.log")
    scene.write("apply.log", content + living, at=BORN + 1.0)
    scene.absorb(scene.look("apply.log"))
    assert [(run.status, run.historic) for run in scene.runs()] == [
        (RunStatus.APPLIED, True),
        (RunStatus.APPLYING, False),
    ]
    assert set(scene.statuses()) == {"IN_PROGRESS"}


def test_a_run_from_before_that_goes_on_is_told_from_there_on(scene: Scene) -> None:
    scene.born = BORN
    *lines, summary, outputs = recorded("apply_ok.log").splitlines(keepends=True)
    scene.write("apply.log", b"".join(lines), at=BORN - 1.0)
    scene.absorb(scene.look("apply.log"))
    assert scene.rows() == []
    scene.write("apply.log", summary + outputs, "ab", at=BORN + 1.0)
    scene.absorb(scene.look("apply.log"))
    assert scene.statuses() == ["IN_PROGRESS", "SUCCEEDED"]
    assert not scene.runs()[0].historic


def test_a_run_from_before_whose_process_lives_is_adopted(scene: Scene) -> None:
    scene.born = BORN
    scene.write("apply.log", recorded("sigkill.log"), at=BORN - 1.0)
    scene.absorb(scene.look("apply.log"))
    (run,) = scene.pipeline.open_runs
    scene.pipeline.adopt(run.run_id, NOW)
    scene.pipeline.adopt(run.run_id, NOW)
    scene.pipeline.adopt("run-unknown", NOW)
    assert scene.statuses() == ["IN_PROGRESS"]
    scene.close()
    assert scene.statuses() == ["IN_PROGRESS", "FAILED"]


# --- what nobody may see ------------------------------------------------------------------------------------------


def state_with(outputs: dict[str, Any]) -> bytes:
    document = {"version": 4, "serial": 3, "lineage": "l", "outputs": outputs, "resources": []}
    return json.dumps(document, ensure_ascii=False).encode()


def log_with(outputs: dict[str, Any], error: dict[str, str] | None = None) -> bytes:
    """A recorded apply that ends with these outputs, or with this error instead."""
    *lines, summary, reported = recorded("apply_ok.log").splitlines(keepends=True)
    if error:
        diagnostic = {"@level": "error", "@module": "terraform.ui", "diagnostic": error, "type": "diagnostic"}
        return b"".join((*lines, json.dumps({**json.loads(summary), **diagnostic}).encode(), b"\n"))
    return b"".join((*lines, summary, json.dumps({**json.loads(reported), "outputs": outputs}).encode(), b"\n"))


def forms(secret: str) -> Iterable[bytes]:
    text = secret
    for _ in range(3):
        yield text.encode()
        text = json.dumps(text, ensure_ascii=False)[1:-1]
    text = secret
    for _ in range(3):
        text = json.dumps(text)[1:-1]
        yield text.encode()


SENSITIVE_STATE = state_with({"pw": {"value": SECRET, "type": "string", "sensitive": True}})
GIVE_AWAY: Sequence[Callable[[], Any]] = (
    lambda: SECRET,
    lambda: f"prefix-{SECRET}-suffix",
    lambda: json.dumps({"password": SECRET}),
    lambda: ["x", {"deep": [json.dumps({"password": SECRET})]}],
    lambda: "y" * 5000 + json.dumps({"password": SECRET}),
)


@pytest.mark.parametrize("value", GIVE_AWAY)
def test_a_copy_of_a_sensitive_value_never_comes_near_the_journal(scene: Scene, value: Callable[[], Any]) -> None:
    scene.write("terraform.tfstate", SENSITIVE_STATE)
    outputs = {
        "copy": {"sensitive": False, "type": "string", "value": value()},
        "pw": {"sensitive": True, "type": "string", "value": SECRET},
        "plain": {"sensitive": False, "type": "string", "value": "vpc-1"},
    }
    scene.write("apply.log", log_with(outputs))
    scene.absorb(scene.look("apply.log"))
    last = scene.sent()[-1]
    assert dict(last.outputs) == {"plain": "vpc-1"}
    assert "pw (sensitive)" in last.status_message
    found = on_disk(scene.journal)
    assert b"vpc-1" in found
    for form in forms(SECRET):
        assert form not in found
        assert form not in repr(scene.told).encode()


@pytest.mark.parametrize(
    "credential", ["AKIAIOSFODNN7EXAMPLE", "ghp_" + "a1" * 18, "postgres://admin:hunter2hunter2@db.internal/x"]
)
def test_a_well_known_credential_never_comes_near_the_journal(scene: Scene, credential: str) -> None:
    outputs = {"url": {"sensitive": False, "type": "string", "value": credential}}
    scene.write("apply.log", log_with(outputs))
    scene.absorb(scene.look("apply.log"))
    assert "url (holds a sensitive value)" in scene.sent()[-1].status_message
    assert credential.encode() not in on_disk(scene.journal)


def test_an_error_that_quotes_a_sensitive_value_is_kept_without_it(scene: Scene) -> None:
    scene.write("terraform.tfstate", SENSITIVE_STATE)
    error = {"severity": "error", "summary": f"cannot log in with {SECRET}", "detail": f"tried {SECRET}"}
    scene.write("apply.log", log_with({}, error | {"address": f'aws_x.y["{SECRET}"]'}))
    scene.absorb(scene.look("apply.log"))
    scene.close()
    assert scene.statuses()[-1] == "FAILED"
    assert "cannot log in with [REDACTED]" in scene.sent()[-1].status_message
    assert "tried" not in scene.sent()[-1].status_message
    found = on_disk(scene.journal)
    for form in forms(SECRET):
        assert form not in found


def test_no_foreign_text_is_kept_while_nobody_can_tell_what_is_sensitive(scene: Scene) -> None:
    scene.write("terraform.tfstate", SENSITIVE_STATE[:40])
    error = {"severity": "error", "summary": f"cannot log in with {SECRET}", "detail": ""}
    scene.write("apply.log", log_with({}, error))
    scene.absorb(scene.look("apply.log"))
    scene.close()
    assert scene.statuses()[-1] == "FAILED"
    assert "the error text is withheld" in scene.sent()[-1].status_message
    assert b"cannot log in" not in on_disk(scene.journal)


def test_the_key_of_an_instance_is_a_value_and_not_kept(scene: Scene) -> None:
    """No state marks it sensitive: Terraform takes no sensitive value for a key, but for one behind `nonsensitive`."""
    log = log_with({}).replace(b'"addr":"', b'"addr":"module.x[\\"' + b"hunter2-the-key" + b'\\"].')
    assert log.count(b"hunter2-the-key") > 3
    scene.write("apply.log", log)
    scene.absorb(scene.look("apply.log"))
    assert scene.statuses()[-1] == "SUCCEEDED"
    assert b"hunter2-the-key" not in on_disk(scene.journal)
    assert "hunter2-the-key" not in repr(scene.told)


def test_of_what_is_one_word_by_terraform_only_a_bounded_word_is_kept(scene: Scene) -> None:
    """Lineage, versions and who holds a lock are foreign text like any other: no credential, nothing that acts."""
    foreign = "AKIAIOSFODNN7EXAMPLE \x1b[31m" + "w" * 5000
    lock = {"ID": "1", "Operation": foreign, "Who": foreign, "Version": foreign, "Created": "2026-11-22T10:00:00Z"}
    scene.write(".terraform.tfstate.lock.info", json.dumps(lock | {"Operation": "OperationTypeApply"}).encode())
    scene.absorb(scene.look(".terraform.tfstate.lock.info"))
    os.unlink(f"{scene.directory}/.terraform.tfstate.lock.info")
    scene.absorb(scene.look(".terraform.tfstate.lock.info"))
    scene.write(
        "terraform.tfstate", json.dumps({"version": 4, "serial": 1, "lineage": foreign, "outputs": {}}).encode()
    )
    scene.absorb(scene.look("terraform.tfstate"))
    found = on_disk(scene.journal)
    assert b"[REDACTED]" in found
    assert not re.search(rb"AKIAIOSFODNN7EXAMPLE|\\u001b|w{300}", found)


@pytest.mark.parametrize("quoted", [SECRET, "AKIAIOSFODNN7EXAMPLE"])
def test_what_redaction_has_missed_the_last_scan_finds(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, quoted: str
) -> None:
    """The text goes, the status is told, and the log says so without the text."""
    for room in ("redaction", "redacted_facts", "status_message", "composition"):
        monkeypatch.setattr(f"proton_tf_agent.domain.{room}.scrub", lambda text, _taint, _most=None: text)
    scene.write("terraform.tfstate", SENSITIVE_STATE)
    error = {"severity": "error", "summary": f"cannot log in with {quoted}", "detail": ""}
    scene.write("apply.log", log_with({}, error))
    scene.absorb(scene.look("apply.log"))
    scene.close()
    last = scene.sent()[-1]
    assert (last.status, last.status_message) == ("FAILED", "The text of this message is withheld.")
    (told,) = [told for told in scene.told if told.name == "notification.withheld"]
    assert told.keys == {
        "run_id": last.run_id, "directory": last.directory, "resource_arn": last.resource_arn, "status": "FAILED",
    }  # fmt: skip


def test_an_output_that_the_mapping_has_missed_the_last_scan_finds(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proton_tf_agent.domain.outputs.Taint.touches", lambda _taint, _text: False)
    monkeypatch.setattr("proton_tf_agent.domain.outputs.is_credential", lambda _text: False)
    outputs = {
        "key": {"sensitive": False, "type": "string", "value": "AKIAIOSFODNN7EXAMPLE"},
        "plain": {"sensitive": False, "type": "string", "value": "vpc-1"},
    }
    scene.write("apply.log", log_with(outputs))
    scene.absorb(scene.look("apply.log"))
    assert scene.sent()[-1].outputs == (("plain", "vpc-1"),)
    assert [told.name for told in scene.told].count("notification.withheld") == 1


def test_an_error_is_withheld_once_the_next_run_has_written_over_what_was_secret(scene: Scene) -> None:
    """The agent was away: the state and its backup are those of the next run by now."""
    error = {"severity": "error", "summary": "cannot log in with what-it-was-before", "detail": ""}
    scene.write("apply.log", log_with({}, error), at=NOW - 100)
    scene.write("terraform.tfstate", SENSITIVE_STATE, at=NOW - 50)
    scene.absorb(scene.look("apply.log"))
    scene.close()
    assert "the error text is withheld" in scene.sent()[-1].status_message
    assert b"what-it-was-before" not in on_disk(scene.journal)


def test_of_outputs_that_are_not_told_the_journal_keeps_names_and_reasons_alone(
    tmp_path: Path, journal: Journal
) -> None:
    mapping = OutputMapping(include=("*",), exclude=("internal_*",), rename={"vpc_id": "VpcId"})
    scene = Scene(tmp_path, journal, Rules(outputs=mapping))
    bind_directory(scene.directory, ARN, DEPLOYMENT_ID)
    values = {"internal_note": "not-for-you", "vpc_id": "vpc-1", "long": "z" * 2000, "nothing": None}
    outputs = {name: {"sensitive": False, "type": "string", "value": value} for name, value in values.items()}
    scene.write("apply.log", log_with(outputs))
    scene.absorb(scene.look("apply.log"))
    last = scene.sent()[-1]
    assert dict(last.outputs) == {"VpcId": "vpc-1"}
    for named in ("long (longer than 1,024 characters)", "nothing (null)"):
        assert named in last.status_message
    found = on_disk(journal)
    assert b"not-for-you" not in found
    assert b"zzzzz" not in found
    assert {output.name for output in scene.runs()[0].outputs or ()} == values.keys()


# --- settings -----------------------------------------------------------------------------------------------------


def test_a_plan_without_changes_succeeds_where_the_settings_say_so(tmp_path: Path, journal: Journal) -> None:
    scene = Scene(tmp_path, journal, Rules(no_changes_succeed=True))
    bind_directory(scene.directory, ARN, DEPLOYMENT_ID)
    lines = recorded("apply_no_changes.log").splitlines(keepends=True)
    plan = [line for line in lines if b'"operation":"apply"' not in line and b"Apply complete" not in line][:-1]
    scene.write("plan.log", b"".join(plan))
    scene.absorb(scene.look("plan.log"))
    scene.close()
    assert scene.runs()[0].status is RunStatus.PLANNED_AND_FINISHED
    assert scene.statuses()[-1] == "SUCCEEDED"


def test_the_next_verdict_due_is_the_earliest_that_waits(scene: Scene) -> None:
    assert scene.pipeline.next_due_at() is None
    scene.write("apply.log", recorded("sigkill.log"))
    scene.absorb(scene.look("apply.log"))
    assert scene.pipeline.next_due_at() is None
    (run,) = scene.pipeline.open_runs
    scene.learn((run, ev.LogClosed()))
    assert scene.pipeline.next_due_at() == NOW + 3.0
    scene.pipeline.elapse(NOW + 2.9)
    assert scene.pipeline.open_runs
    scene.pipeline.elapse(NOW + 3.0)
    assert scene.pipeline.open_runs == []
    assert scene.pipeline.next_due_at() is None
