"""The observer: what is looked at and in which order, so that what ended a run is known before the next one is told."""

from __future__ import annotations

import fcntl
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from support.facts import LOGS
from support.holders import LOCKER, Start
from support.observing import ObservedRoot
from support.watching import bind_directory
from watchdog.events import FileModifiedEvent

from proton_tf_agent.batch import Batch
from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.evidence import Cursor, Fact, Observation
from proton_tf_agent.domain.order import in_order
from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal
from proton_tf_agent.sources import liveness
from proton_tf_agent.sources.liveness import Presence
from proton_tf_agent.sources.place import Kind
from proton_tf_agent.sources.watch import Touched

ARN = "arn:aws:proton:us-east-1:111122223333:environment/net"
DEPLOYMENT_ID = "fcda9f18-f569-4079-8474-0832f45b97ea"
STARTED, PLANNING = Fact(ev.OperationStarted("terraform", "1"), "b", 0), Fact(ev.ResourceRefreshed("a.b"), "b", 9)


def seen(path: str, *facts: Fact, source: str = "json_log") -> Observation:
    return Observation(source, path, "/w", None, facts, Cursor(path, 1, 1, 10))


def told(observations: Sequence[Observation]) -> list[tuple[str, Fact]]:
    return [(o.path, fact) for o in observations for fact in o.facts]


def test_a_lock_is_told_after_the_line_that_opens_a_run_and_before_what_comes_behind_it() -> None:
    lock = Fact(ev.LockTaken("L", "OperationTypeApply"))
    ordered = in_order([seen("new.log", STARTED, PLANNING), seen("lock", lock, source="lock_file")])
    assert told(ordered) == [("new.log", STARTED), ("lock", lock), ("new.log", PLANNING)]
    assert [o.cursor is not None for o in ordered if o.path == "new.log"] == [False, True], "the cursor goes last"


def test_what_goes_on_in_a_log_is_told_before_a_lock_and_in_its_order() -> None:
    lock = Fact(ev.LockReleased("L"))
    first, second = seen("a.log", STARTED, PLANNING), seen("a.log", Fact(ev.LogClosed(), "b"))
    goes_on = seen("b.log", Fact(ev.ResourceApplied("a.b"), "c", 50))
    ordered = told(in_order([first, goes_on, seen("lock", lock, source="lock_file"), second]))
    assert ordered == [
        ("a.log", STARTED),
        ("b.log", goes_on.facts[0]),
        ("lock", lock),
        ("a.log", PLANNING),
        ("a.log", second.facts[0]),
    ]


def test_what_a_planned_log_says_when_the_next_lock_was_seen_is_told_behind_that() -> None:
    planned, applied = seen("a.log", PLANNING), seen("a.log", Fact(ev.ApplySummarised(1, 0, 0), "b", 90))
    lock = Fact(ev.LockTaken("L", "OperationTypeApply"))
    batch = [planned, seen("lock", lock, source="lock_file"), applied]
    assert [fact for _, fact in told(in_order(batch, planned=["a.log"]))] == [PLANNING, lock, *applied.facts]
    assert [fact for _, fact in told(in_order(batch))] == [PLANNING, *applied.facts, lock]


def test_of_two_logs_the_one_that_was_over_earlier_is_told_first_and_each_in_its_order() -> None:
    begins = replace(seen("a.log", STARTED, PLANNING), spoke_at=30.0)
    earlier = replace(seen("b.log", Fact(ev.ResourceApplied("a.b"), "c", 50)), modified_at=20.0)
    written_over = replace(seen("a.log", Fact(ev.LogOverwritten(), "b")), spoke_at=10.0)
    assert told(in_order([begins, earlier, written_over])) == [
        ("b.log", earlier.facts[0]),
        ("a.log", STARTED),
        ("a.log", PLANNING),
        ("a.log", written_over.facts[0]),
    ]


@pytest.fixture
def scene(tmp_path: Path, journal: Journal) -> ObservedRoot:
    scene = ObservedRoot(tmp_path, journal)
    bind_directory(scene.directory, ARN, DEPLOYMENT_ID)
    return scene


@contextmanager
def written(path: str) -> Iterator[None]:
    """Somebody, here this process, has the log open for writing."""
    with open(path, "ab"):
        yield


def recorded(name: str, until: bytes) -> tuple[bytes, bytes]:
    """A recorded log, parted before the first line that holds some text."""
    lines = (LOGS / name).read_bytes().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if until in line)
    return b"".join(lines[:at]), b"".join(lines[at:])


OTHER = (LOGS / "apply_partial_failure.log").read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("hint", [".terraform.tfstate.lock.info", "again.log"])
def test_a_killed_run_is_told_before_the_run_that_took_its_lock(scene: ObservedRoot, hint: str) -> None:
    """Whichever hint comes first, of the new run's log or of the lock, and although nobody told that the log closed."""
    began, _ = recorded("apply_ok.log", b'"type":"apply_complete"')
    scene.write("terraform.tfstate", b"")
    scene.lock("first")
    log = scene.write("apply.log", began)
    with written(log):
        scene.look("apply.log", ".terraform.tfstate.lock.info")
    assert scene.statuses() == ["IN_PROGRESS"]
    scene.lock("second")
    with written(scene.write("again.log", b"".join(OTHER[:6]))):
        scene.look(hint)
    assert [(run.status, run.lock_id) for run in scene.runs() if not run.is_open] == [(RunStatus.LOST, "first")]
    assert scene.statuses() == ["IN_PROGRESS", "FAILED", "IN_PROGRESS"]
    assert [run.lock_id for run in scene.runs() if run.is_open] == ["second"]


def test_a_run_that_let_its_lock_go_a_moment_ago_is_not_called_killed(
    scene: ObservedRoot,
) -> None:
    began, end = recorded("apply_ok.log", b'"operation":"apply"')
    scene.lock("first")
    log = scene.write("apply.log", began)
    with written(log):
        scene.look("apply.log", ".terraform.tfstate.lock.info")
        scene.lock("second")
        with written(scene.write("again.log", b"".join(OTHER[:6]))):
            scene.look("again.log", ".terraform.tfstate.lock.info")
            scene.write("apply.log", end, "ab")
            scene.look("apply.log")
    assert "SUCCEEDED" in scene.statuses()
    assert "FAILED" not in scene.statuses()


@pytest.mark.parametrize("hints", [["a.log", "b.log"], ["b.log", "a.log"], ["b.log"]], ids=" ".join)
@pytest.mark.parametrize("open_still", [False, True], ids=["closed", "open still"])
def test_of_two_runs_that_have_ended_the_earlier_is_told_first_whatever_is_hinted_at(
    scene: ObservedRoot, hints: list[str], open_still: bool
) -> None:
    """The second has waited for the lock of the first, and the last word about the resource is its."""
    began, end = recorded("apply_ok.log", b'"type":"apply_complete"')
    waits, goes_on = (LOGS / "apply_ok.log").read_bytes().replace(b"T02:33:4", b"T02:33:5").split(b"\n", 1)
    with ExitStack() as writers:
        for log, content in (("a.log", began), ("b.log", waits + b"\n")):
            writers.enter_context(written(scene.write(log, content)))
        scene.look("a.log", "b.log")
        for log, content in (("a.log", end), ("b.log", goes_on)):
            scene.write(log, content, "ab")
        if not open_still:
            writers.close()
        scene.look(*hints)
    second, first = scene.runs()
    assert [run.status for run in (first, second)] == [RunStatus.APPLIED] * 2
    ends = [notification.run_id for notification in scene.notifications() if notification.status.is_terminal]
    assert ends == [first.run_id, second.run_id]


def test_a_run_is_named_by_its_log_although_its_lock_is_hinted_at_first(scene: ObservedRoot) -> None:
    began, _ = recorded("apply_ok.log", b'"type":"apply_complete"')
    log = scene.write("apply.log", began)
    scene.lock("first")
    with written(log):
        scene.look(".terraform.tfstate.lock.info")
    (run,) = scene.runs()
    assert (run.lock_id, run.log_path) == ("first", log)
    assert run.anchor


def test_a_lock_too_short_to_be_read_below_the_log_still_tells_whose_run_it_is(scene: ObservedRoot) -> None:
    """`terraform -chdir=envs/prod apply > apply.log`, with the metadata below."""
    bind_directory(f"{scene.directory}/envs/prod", ARN.replace("net", "prod"), DEPLOYMENT_ID)
    os.remove(f"{scene.directory}/.proton/deployment-metadata.json")
    scene.write("apply.log", (LOGS / "apply_ok.log").read_bytes())
    os.utime(f"{scene.directory}/envs/prod", (scene.now - 0.5, scene.now - 0.5))
    scene.look("apply.log", "envs/prod/.terraform.tfstate.lock.info")
    (run,) = scene.runs()
    assert run.lock_directory == f"{scene.directory}/envs/prod"
    assert scene.statuses() == ["IN_PROGRESS", "SUCCEEDED"]


@pytest.mark.parametrize(("booted_at", "end"), [(1e12, RunStatus.LOST), (0.0, RunStatus.PLANNED)])
def test_a_run_that_was_on_when_the_machine_was_restarted_is_lost(
    scene: ObservedRoot, booted_at: float, end: RunStatus
) -> None:
    began, _ = recorded("apply_ok.log", b'"type":"apply_start"')
    scene.lock("first")
    log = scene.write("apply.log", began)
    state = scene.write("terraform.tfstate", b"")
    with written(log), open(state, "rb+") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        scene.look("apply.log", ".terraform.tfstate.lock.info")
        scene.pipeline.host_restarted(scene.now, booted_at)
    (run,) = scene.runs()
    assert run.status is end
    assert scene.statuses()[-1] == ("FAILED" if end is RunStatus.LOST else "IN_PROGRESS")


@pytest.mark.parametrize(
    ("configuration", "log", "expected"),
    [
        ("main.tf", "logs/apply.log", "."),
        ("main.tf", "out/today/apply.log", "."),
        ("modules/a/main.tf", "apply.log", "."),
        ("modules/a/main.tf", "modules/a/apply.log", "modules/a"),
        ("main.tofu", "logs/apply.log", "."),
        ("README.md", "logs/apply.log", "."),
        ("infra/main.tf", "logs/apply.log", "."),
        (".proton/deployment-metadata.json", "artifacts/1/apply.log", "."),
        ("artifacts/1/.proton/deployment-metadata.json", "artifacts/1/apply.log", "artifacts/1"),
    ],
)
def test_a_log_below_the_configuration_or_the_metadata_speaks_for_their_directory(
    scene: ObservedRoot, configuration: str, log: str, expected: str
) -> None:
    scene.write(configuration, b"")
    scene.write(log, (LOGS / "apply_ok.log").read_bytes())
    scene.look(log)
    (run,) = scene.runs()
    assert run.directory == os.path.normpath(f"{scene.directory}/{expected}")
    assert run.log_path == f"{scene.directory}/{log}"


# --- human logs beside a run whose log is not known ---------------------------------------------------------------


HUMAN = LOGS.parent / "human"
LOCK = ".terraform.tfstate.lock.info"


def at_work(scene: ObservedRoot, monkeypatch: pytest.MonkeyPatch, *lock_ids: str) -> None:
    """Let these locks be held, and no others."""
    monkeypatch.setattr(scene.pipeline.surroundings, "is_held", lambda run: run.lock_id in lock_ids)


def complete(scene: ObservedRoot, name: str) -> None:
    """Somebody finds that nobody writes this log any more."""
    scene.observer.read([replace(look, complete=True) for look in scene.watch.touched([f"{scene.directory}/{name}"])])


@pytest.mark.parametrize("closed", [True, False])
def test_a_success_that_is_over_while_a_run_without_a_log_is_at_work_is_nobodys(
    scene: ObservedRoot, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    """A log of old was copied in; how the run ends nobody knows."""
    at_work(scene, monkeypatch, "first")
    scene.lock("first")
    scene.look(LOCK)
    scene.write("old.log", (HUMAN / "apply_creates.log").read_bytes())
    complete(scene, "old.log") if closed else scene.look("old.log")
    os.remove(f"{scene.directory}/{LOCK}")
    at_work(scene, monkeypatch)
    scene.look(LOCK, "old.log")
    scene.wait(60.0)
    assert [run.status for run in scene.runs()] == [RunStatus.UNDETERMINED]
    assert scene.statuses() == ["IN_PROGRESS"]


def test_a_summary_while_the_lock_is_held_proves_nothing_and_neither_does_what_comes_behind_it(
    scene: ObservedRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Terraform gives its lock back before it says that all is well."""
    text = (HUMAN / "apply_creates.log").read_bytes()
    begun, _, _ = text.partition(b"Apply complete!")
    scene.lock("first")
    scene.look(LOCK)
    with written(scene.write("apply.log", begun)):
        scene.look("apply.log")
        at_work(scene, monkeypatch, "first")
        scene.write("apply.log", text)
        scene.look("apply.log")
    os.remove(f"{scene.directory}/{LOCK}")
    at_work(scene, monkeypatch)
    scene.look(LOCK)
    complete(scene, "apply.log")
    scene.wait(60.0)
    assert [run.status for run in scene.runs()] == [RunStatus.UNDETERMINED]
    assert set(scene.statuses()) == {"IN_PROGRESS"}


@pytest.mark.parametrize("log", ["lock_refused_plain.log", "fails_reference_plain.log"])
def test_an_error_alone_waits_for_its_end_to_tell_whose_it_is(
    scene: ObservedRoot, monkeypatch: pytest.MonkeyPatch, log: str
) -> None:
    at_work(scene, monkeypatch, "first")
    scene.lock("first")
    scene.look(LOCK)
    with written(scene.write("apply-2.log", (HUMAN / log).read_bytes())):
        scene.look("apply-2.log")
        assert len(scene.runs()) == 1
    complete(scene, "apply-2.log")
    scene.wait(60.0)
    assert sorted((run.lock_id, run.is_open) for run in scene.runs()) == [("", False), ("first", True)]


def test_an_error_alone_is_the_runs_that_has_given_its_lock_back(scene: ObservedRoot) -> None:
    scene.lock("first")
    scene.look(LOCK)
    os.remove(f"{scene.directory}/{LOCK}")
    scene.write("apply.log", (HUMAN / "fails_reference_plain.log").read_bytes())
    scene.look(LOCK)
    complete(scene, "apply.log")
    scene.wait(60.0)
    assert [(run.lock_id, run.status) for run in scene.runs()] == [("first", RunStatus.ERRORED)]


def test_a_refusal_is_never_the_run_that_holds_the_lock(scene: ObservedRoot) -> None:
    """Although that has given it back by the time the log is read."""
    refusal = (HUMAN / "lock_refused_plain.log").read_bytes()
    holder = re.search(rb"ID: +(\S+)", refusal)
    assert holder is not None
    scene.lock(holder[1].decode())
    scene.look(LOCK)
    os.remove(f"{scene.directory}/{LOCK}")
    scene.write("apply-2.log", refusal)
    scene.look(LOCK)
    complete(scene, "apply-2.log")
    scene.wait(60.0)
    assert sorted(run.status for run in scene.runs()) == [RunStatus.ERRORED, RunStatus.UNDETERMINED]


# --- two processes that write one log -----------------------------------------------------------------------------


def let_go(scene: ObservedRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    os.remove(f"{scene.directory}/{LOCK}")
    at_work(scene, monkeypatch)
    scene.look(LOCK)


def test_of_two_runs_that_write_one_log_nothing_is_proven(scene: ObservedRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary of the first stands behind the `version` line of the second."""
    begun, end = recorded("apply_ok.log", b'"operation":"apply"')
    with written(scene.write("apply.log", begun)):
        scene.lock("first")
        scene.look("apply.log", LOCK)
        at_work(scene, monkeypatch, "first")
        scene.write("apply.log", b"".join(OTHER[:6]), "ab")
        scene.look("apply.log")
        let_go(scene, monkeypatch)
        scene.write("apply.log", end, "ab")
        scene.look("apply.log")
        scene.wait(60.0)
    complete(scene, "apply.log")
    scene.wait(60.0)
    assert "SUCCEEDED" not in scene.statuses()
    assert not {RunStatus.APPLIED} & {run.status for run in scene.runs()}


def test_a_lock_that_the_next_run_is_just_taking_is_not_the_one_of_the_run_before(
    scene: ObservedRoot, start: Start
) -> None:
    """It writes over the log of a run that was proven before it was seen to give its lock back."""
    state = scene.write("terraform.tfstate", b"")
    ended = (LOGS / "apply_ok.log").read_bytes()
    begun, rest = recorded("apply_destroy.log", b'"type":"apply_start"')
    version, _, planned = begun.partition(b"\n")
    scene.lock("first")
    with written(scene.write("apply.log", ended[: len(ended) // 2])):
        scene.look("apply.log", LOCK)
    scene.write("apply.log", ended)
    os.remove(f"{scene.directory}/{LOCK}")
    scene.look("apply.log", LOCK)
    holder = start(LOCKER, state)
    scene.write(LOCK, b"")
    with written(scene.write("apply.log", version + b"\n")):
        scene.look("apply.log", LOCK)
        scene.lock("second")
        scene.write("apply.log", planned, "ab")
        scene.look("apply.log", LOCK)
        os.remove(f"{scene.directory}/{LOCK}")
        holder.tell("unlock")
        scene.write("apply.log", rest, "ab")
        scene.look("apply.log", LOCK)
    assert [run.status for run in scene.runs()][::-1] == [RunStatus.APPLIED, RunStatus.DESTROYED]
    assert [status for status in scene.statuses() if status != "IN_PROGRESS"] == ["SUCCEEDED", "SUCCEEDED"]


def test_a_log_is_handed_back_by_a_run_that_was_refused_the_lock(
    scene: ObservedRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, end = recorded("apply_ok.log", b'"operation":"apply"')
    refusal = (LOGS / "lock_refused.log").read_bytes()
    holder = re.search(rb"ID: +([0-9a-f-]+)", refusal)
    assert holder is not None
    lock_id = holder[1].decode()
    with written(scene.write("apply.log", begun)):
        scene.lock(lock_id)
        scene.look("apply.log", LOCK)
        at_work(scene, monkeypatch, lock_id)
        scene.write("apply.log", refusal, "ab")
        scene.look("apply.log")
        let_go(scene, monkeypatch)
        scene.write("apply.log", end, "ab")
        scene.look("apply.log")
    complete(scene, "apply.log")
    scene.wait(60.0)
    assert sorted((run.status, run.lock_id) for run in scene.runs()) == [
        (RunStatus.APPLIED, lock_id),
        (RunStatus.ERRORED, ""),
    ]
    assert [status for status in scene.statuses() if status != "IN_PROGRESS"] == ["SUCCEEDED"]


def test_a_run_is_not_refused_its_own_lock(scene: ObservedRoot) -> None:
    """A second command wrote into its human log."""
    refusal = (HUMAN / "lock_refused_plain.log").read_bytes()
    holder = re.search(rb"ID: +(\S+)", refusal)
    assert holder is not None
    begun, _, _ = (HUMAN / "apply_creates.log").read_bytes().partition(b"Apply complete!")
    scene.lock(holder[1].decode())
    with written(scene.write("apply.log", begun)):
        scene.look(LOCK, "apply.log")
        scene.write("apply.log", refusal, "ab")
        scene.look("apply.log")
        scene.wait(60.0)
    (run,) = scene.runs()
    assert (run.is_open, run.refused, run.errors) == (True, False, 0)


# --- a log that is written over before its end was read -----------------------------------------------------------


SECOND = b"".join(OTHER)


@pytest.mark.parametrize("over", [b"", OTHER[0], b"".join(OTHER[:6])], ids=["nothing", "a beginning", "a plan"])
def test_who_is_gone_just_before_another_writes_over_its_log_is_not_called_killed(
    scene: ObservedRoot, monkeypatch: pytest.MonkeyPatch, over: bytes
) -> None:
    """Between the question who writes the log and the look at what it holds."""
    began, _ = recorded("apply_ok.log", b'"type":"apply_complete"')
    log = scene.write("apply.log", began)
    with written(log):
        scene.look("apply.log")
    ask = liveness.writers
    writer: list[BinaryIO] = []

    def asked_too_early(files: Mapping[tuple[int, int], int]) -> dict[tuple[int, int], Presence]:
        found = ask(files)
        if not writer:
            writer.append(open(log, "wb", buffering=0))  # noqa: SIM115 - it stays open
            writer[0].write(over)
        return found

    monkeypatch.setattr(liveness, "writers", asked_too_early)
    scene.observer._probe(None)
    with writer[0]:
        scene.wait(60.0)
        writer[0].write(SECOND[len(over) :])
        scene.look("apply.log")
    scene.observer.turn(rescan=True)
    scene.wait(60.0)
    assert [run.status for run in scene.runs()] == [RunStatus.ERRORED, RunStatus.UNDETERMINED]
    assert scene.notifications()[-1].run_id == scene.runs()[0].run_id
    assert [n.status for n in scene.notifications() if n.run_id == scene.runs()[1].run_id] == ["IN_PROGRESS"]


@pytest.mark.parametrize("order", [("apply-1.log", "apply.log"), ("apply.log", "apply-1.log")])
@pytest.mark.parametrize("has_ended", [True, False])
def test_a_log_that_was_renamed_is_not_written_over_by_the_next_of_its_name(
    scene: ObservedRoot, order: tuple[str, str], has_ended: bool
) -> None:
    began, end = recorded("apply_ok.log", b'"type":"apply_complete"')
    log = scene.write("apply.log", began)
    with written(log):
        scene.look("apply.log")
    os.rename(log, scene.write("apply-1.log", b""))
    scene.write("apply-1.log", end if has_ended else b"", "ab")
    scene.write("apply.log", SECOND)
    for name in order:
        complete(scene, name)
    scene.wait(60.0)
    first = RunStatus.APPLIED if has_ended else RunStatus.LOST
    assert [run.status for run in scene.runs()] == [RunStatus.ERRORED, first]


def test_a_copy_of_the_whole_log_settles_what_became_of_a_run_whose_log_was_written_over(scene: ObservedRoot) -> None:
    began, end = recorded("apply_ok.log", b'"type":"apply_complete"')
    with written(scene.write("apply.log", began)):
        scene.look("apply.log")
    scene.write("apply.log", SECOND)
    complete(scene, "apply.log")
    scene.wait(60.0)
    assert [run.status for run in scene.runs()] == [RunStatus.ERRORED, RunStatus.UNDETERMINED]
    scene.write("kept.log", began + end)
    complete(scene, "kept.log")
    assert [run.status for run in scene.runs()] == [RunStatus.ERRORED, RunStatus.APPLIED]


def test_a_run_goes_on_in_its_renamed_log_although_the_next_begins_in_one_of_its_old_name(scene: ObservedRoot) -> None:
    began, end = recorded("apply_ok.log", b'"type":"apply_complete"')
    first, *rest = end.splitlines(keepends=True)
    log = scene.write("apply.log", began)
    with open(log, "ab", buffering=0) as writer:
        scene.look("apply.log")
        os.rename(log, f"{scene.directory}/apply-1.log")
        writer.write(first)
        scene.look("apply-1.log")
        scene.write("apply.log", SECOND)
        complete(scene, "apply.log")
        scene.wait(60.0)
        assert [run.status for run in scene.runs()] == [RunStatus.ERRORED, RunStatus.APPLYING]
        writer.write(b"".join(rest))
        scene.look("apply-1.log")
    assert [run.status for run in scene.runs()] == [RunStatus.ERRORED, RunStatus.APPLIED]


@pytest.mark.parametrize("known", [True, False], ids=["its run was known before", "its run is over already"])
@pytest.mark.parametrize("closed", [True, False])
def test_a_lock_below_that_was_too_short_tells_whose_success_it_is(
    scene: ObservedRoot, known: bool, closed: bool
) -> None:
    """The agent comes to look at it when the log above has its last line."""
    prod = ARN.replace("net", "prod")
    bind_directory(f"{scene.directory}/envs/prod", prod, DEPLOYMENT_ID)
    os.remove(f"{scene.directory}/.proton/deployment-metadata.json")
    began, end = recorded("apply_ok.log", b'"type":"apply_complete"')
    with ExitStack() as writers:
        writers.enter_context(written(scene.write("apply.log", began)))
        if known:
            scene.look("apply.log")
        scene.write("apply.log", end, "ab")
        if closed:
            writers.close()
        looks = ("apply.log", "envs/prod/.terraform.tfstate.lock.info")
        os.utime(f"{scene.directory}/envs/prod", (scene.now - 0.5, scene.now - 0.5))
        scene.observer.read(scene.watch.touched(f"{scene.directory}/{name}" for name in looks), found=True)
    told = [(n.resource_arn, n.status) for n in scene.notifications() if n.status.is_terminal]
    assert told == [(prod, "SUCCEEDED")]


def test_a_log_that_is_renamed_away_before_its_last_words_are_read_is_no_sign_of_death(scene: ObservedRoot) -> None:
    began, end = recorded("apply_ok.log", b'"type":"apply_complete"')
    log = scene.write("apply.log", began)

    def rename() -> None:
        if os.path.exists(log):
            os.rename(log, f"{log}.1")

    with written(log):
        scene.observer.turn(rescan=True)
        scene.write("apply.log", end, "ab")
        scene.at_each_step = rename
    scene.observer.turn()
    assert not os.path.exists(log)
    for _ in range(3):
        scene.observer.turn(rescan=True)
        scene.wait(60.0)
    assert [run.status for run in scene.runs()] == [RunStatus.UNDETERMINED]
    assert "FAILED" not in scene.statuses()


def test_the_lock_of_an_apply_is_not_that_of_a_plan_whose_own_log_is_over(
    scene: ObservedRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`terraform plan -out=p > plan.log; terraform apply p > apply.log`, and the plan's lock has changed hands by the
    time its log is read."""
    monkeypatch.setattr(liveness, "lock_holder", lambda _fd: Presence.PRESENT)
    scene.write("terraform.tfstate", b"")
    scene.lock("plan", operation="OperationTypePlan")
    scene.observer.turn(rescan=True)
    log = scene.write("plan.log", (HUMAN / "plan_saved.log").read_bytes())
    os.utime(log, (scene.now - 0.3, scene.now - 0.3))
    scene.lock("apply", created_at=scene.now)
    scene.observer.turn(rescan=True)
    os.unlink(f"{scene.directory}/.terraform.tfstate.lock.info")
    scene.observer.turn(rescan=True)
    scene.wait(60.0)
    assert {run.lock_id: run.status for run in scene.runs()}["plan"] is RunStatus.PLANNED_AND_FINISHED


def test_every_look_is_a_step_and_so_is_every_piece_of_a_log_that_takes_many(scene: ObservedRoot) -> None:
    """A long look that gets on must not pass for one that hangs."""
    for name in ("a.log", "b.log", "c.log"):
        scene.write(name, b"no log of Terraform's\n")
    scene.look("a.log", "b.log", "c.log")
    assert len(scene.steps) == 3
    line = b'{"@level":"info","@message":"refreshing","type":"refresh_start","hook":{"resource":{"addr":"a.b"}}}\n'
    scene.write("long.log", (LOGS / "apply_ok.log").read_bytes().splitlines(keepends=True)[0] + line * 100_000)
    scene.look("long.log")
    assert len(scene.steps) > 3 + 1


@pytest.mark.parametrize("log_directory", [".", ".."], ids=["beside its lock", "above its lock"])
def test_what_belongs_together_is_told_in_one_order_however_little_time_a_batch_has(
    scene: ObservedRoot, log_directory: str
) -> None:
    """The line that opens a run, its lock, the rest of its log; the logs of others come first, and use the time up."""
    log = (LOGS / "apply_ok.log").read_bytes()
    with ExitStack() as writers:
        for number in range(3):
            path = scene.write(f"../other-{number}/apply.log", log)
            writers.enter_context(open(path, "ab"))  # somebody still writes it
        path = scene.write(f"{log_directory}/apply.log", log)
        writers.enter_context(open(path, "ab"))
        scene.lock("lock-1")
        spent = itertools.count()
        scene.cpu = lambda: float(next(spent))
        scene.observer.turn(rescan=True)
        while scene.observer.has_backlog:
            scene.observer.turn()
    (run,) = (run for run in scene.runs() if run.lock_id == "lock-1")
    kinds = [row["kind"] for row in scene.journal.query("evidence_of_run", run_id=run.run_id)]
    assert kinds[:2] == ["OperationStarted", "LockTaken"]
    assert "ApplySummarised" in kinds[2:]


def test_many_new_directories_are_taken_in_piece_by_piece(scene: ObservedRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes while hundreds of logs are read for the first time waits for a piece of them, however fast the
    machine; that each has metadata ties no two directories together."""
    log = (LOGS / "apply_ok.log").read_bytes()
    for number in range(60):
        bind_directory(f"{scene.root}/unit-{number}", f"{ARN}-{number}", DEPLOYMENT_ID)
        scene.write(f"../unit-{number}/apply.log", log.replace(b"terraform_data", b"terraform_data_%d" % number))
    pieces: list[int] = []
    absorb = scene.pipeline.absorb

    def absorb_and_count(observations: Sequence[Observation], *rest: Any) -> None:
        pieces.append(sum(len(observation.facts) for observation in observations))
        absorb(observations, *rest)

    monkeypatch.setattr(scene.pipeline, "absorb", absorb_and_count)
    scene.cpu = lambda: 0.0
    scene.observer.turn(rescan=True)
    while scene.observer.has_backlog:
        scene.observer.turn()
    assert [run.status for run in scene.runs()] == [RunStatus.APPLIED] * 60
    assert sum(pieces) > 3 * 200
    assert max(pieces) < 2 * 200


def test_whoever_delivers_gets_a_word_in_while_a_log_is_read_on_and_on(scene: ObservedRoot) -> None:
    """Nobody waits for the next turn where logs wait that a rescan has found; a long log is read on with a rest between
    two looks."""
    assert scene.observer.rest is None
    chatter = b'{"@level":"info","type":"log"}\n' * 20_000
    scene.write("long.log", (LOGS / "apply_ok.log").read_bytes() + chatter)
    scene.observer.turn(rescan=True)
    assert scene.observer.rest
    while scene.observer.has_backlog:
        assert scene.observer.rest
        scene.observer.turn()
    assert scene.observer.rest is None
    for number in range(300):
        scene.write(f"../unit-{number}/apply.log", b"x\n")
    scene.observer.turn(rescan=True)
    assert scene.observer.rest == 0.0


def test_a_log_that_is_read_on_and_on_lets_pass_what_has_come_meanwhile_but_not_for_ever(
    scene: ObservedRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word of another file comes with every turn: the long log has every other turn all the same."""
    chatter = b'{"@level":"info","type":"log"}\n' * 100_000
    long = scene.write("long.log", (LOGS / "apply_ok.log").read_bytes() + chatter)
    scene.observer.turn(rescan=True)
    come = (os.path.normpath(scene.write(f"../unit-{number}/apply.log", b"x\n")) for number in range(100))
    seen: list[str] = []
    look = scene.observer._look

    def look_and_note(touched: Touched, batch: Batch) -> bool:
        seen.append(touched.path)
        if not scene.watch.has_news(set()):
            scene.watch._hints.dispatch(FileModifiedEvent(next(come)))
        return look(touched, batch)

    monkeypatch.setattr(scene.observer, "_look", look_and_note)
    scene.watch._hints.dispatch(FileModifiedEvent(next(come)))
    while scene.observer.has_backlog:
        scene.observer.turn()
    rounds = [len(list(paths)) for path, paths in itertools.groupby(seen, key=lambda path: path == long) if not path]
    assert len(rounds) > 2
    assert set(rounds[:-1]) == {2}


def test_logs_are_looked_at_before_locks_and_states_whoever_has_told_of_them(
    scene: ObservedRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large state in a new directory is looked at behind the log that the kernel has just told of."""
    log = scene.write("apply.log", (LOGS / "apply_ok.log").read_bytes())
    scene.lock("lock-1", "../new")
    for name in ("terraform.tfstate", "apply.log"):
        scene.write(f"../new/{name}", (LOGS / "apply_ok.tfstate").read_bytes())
    scene.watch._new = [f"{scene.root}/new"]
    scene.watch._hints.dispatch(FileModifiedEvent(log))
    seen: list[Kind] = []
    look = scene.observer._look

    def look_and_note(touched: Touched, batch: Batch) -> bool:
        seen.append(touched.place.kind)
        return look(touched, batch)

    monkeypatch.setattr(scene.observer, "_look", look_and_note)
    scene.observer.turn()
    assert seen[:4] == [Kind.LOG, Kind.LOG, Kind.LOCK, Kind.STATE]


def test_word_of_whose_runs_are_under_way_is_journaled_once_for_all_of_them(
    scene: ObservedRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each commit waits for the disk, and everybody behind it, too."""
    begun = b"".join((LOGS / "apply_ok.log").read_bytes().splitlines(keepends=True)[:4])
    with ExitStack() as writers:
        for number in range(20):
            path = scene.write(f"../unit-{number}/apply.log", begun.replace(b"terraform_data", b"data_%d" % number))
            writers.enter_context(open(path, "ab"))  # somebody still writes it
        scene.observer.turn(rescan=True)
        assert scene.notifications() == []
        for number in range(20):
            bind_directory(f"{scene.root}/unit-{number}", f"{ARN}-{number}", DEPLOYMENT_ID)
        commits: list[None] = []
        commit = scene.journal.commit

        def commit_and_count(*arguments: Any) -> Any:
            commits.append(None)
            return commit(*arguments)

        monkeypatch.setattr(scene.journal, "commit", commit_and_count)
        scene.observer.turn(rescan=True)
    assert {notification.resource_arn for notification in scene.notifications()} == {f"{ARN}-{n}" for n in range(20)}
    assert len(commits) == 1
