"""Recorded runs of which only one kind of file can be seen: a single source may say less, never something else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.recordings import Change, Recording, recordings
from support.truth import (
    ARN,
    DEPLOYMENT_ID,
    LONG,
    grows_only,
    judge_outputs,
    judge_secrets,
    judge_verdicts,
    last_applied,
    told_of,
    with_ends,
)
from support.watching import Watching, bind_directory

from proton_tf_agent.domain.evidence import OPERATION_OF_LOCK
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.run import RunStatus

each_recording = pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.name)


@pytest.fixture
def watching(recording: Recording, tmp_path: Path) -> Iterator[Watching]:
    root = tmp_path / "watched"
    root.mkdir()
    with Watching(recording, str(root), str(tmp_path / "journal" / "journal.db")) as watching:
        bind_directory(watching.directory, ARN, DEPLOYMENT_ID)
        yield watching


def is_log(change: Change) -> bool:
    return change.path.endswith((".log", ".jsonl", ".json")) and not change.path.startswith(".")


def is_lock_info(change: Change) -> bool:
    return change.path.endswith(".lock.info")


def re_enact(recording: Recording, watching: Watching, is_seen: Callable[[Change], bool]) -> None:
    """Let it all happen as it was recorded, but for the files that are not seen."""
    now, waiting = 0.0, 0
    for at, everything in with_ends(recording):
        now = at
        changes = [change for change in everything if change.is_directory or is_seen(change)]
        watching.wait(now)
        watching.happen(changes)
        waiting = waiting + 1 if recording.is_chatty and grows_only(changes) else 0
        if waiting % 40 == 0:
            watching.look(now)
    watching.look(now)
    watching.wait(now + LONG)


@each_recording
def test_logs_alone_tell_every_verdict_and_a_json_log_every_output(recording: Recording, watching: Watching) -> None:
    re_enact(recording, watching, is_log)
    judge_verdicts(recording, watching)
    last = last_applied(recording)
    if last is not None and last.is_json:
        judge_outputs(recording, told_of(last, watching))
    elif last is not None:
        assert not told_of(last, watching).outputs
    judge_secrets(recording, watching)


@each_recording
@pytest.mark.parametrize("with_states", [True, False], ids=["locks and states", "locks"])
def test_locks_tell_that_a_run_was_and_whether_it_was_killed_and_no_outcome(
    recording: Recording, watching: Watching, with_states: bool
) -> None:
    re_enact(recording, watching, lambda change: not is_log(change) if with_states else is_lock_info(change))
    runs = watching.runs()
    assert {run.lock_id for run in runs} == locks_of_runs(recording)
    assert len(runs) == len(locks_of_runs(recording))
    steps = [(run, watching.step_of(run)) for run in runs]
    killed = {run.run_id for run, step in steps if step and step.verdict is RunStatus.LOST}
    assert {run.run_id for run in runs if run.status is RunStatus.LOST} == killed
    assert {run.status for run in runs if run.run_id not in killed} <= {RunStatus.UNDETERMINED}
    told = watching.notifications(superseded=True)
    assert {n.status for n in told if n.run_id not in killed} <= {Status.IN_PROGRESS}
    assert {n.status for n in told if n.run_id in killed} <= {Status.IN_PROGRESS, Status.FAILED}
    assert not any(n.outputs for n in told)


@each_recording
def test_a_state_alone_is_no_run(recording: Recording, watching: Watching) -> None:
    """It may have been restored, pulled or pushed: nobody has seen a run."""
    re_enact(recording, watching, lambda change: not is_log(change) and not is_lock_info(change))
    assert watching.runs() == []
    assert watching.notifications(superseded=True) == []


def test_the_recordings_hold_enough_of_every_source() -> None:
    everything = recordings()
    locks = sum(len(locks_of_runs(recording)) for recording in everything)
    killed = sum(step.verdict is RunStatus.LOST for recording in everything for step in recording.steps)
    assert (locks, killed) == (79, 6)


def locks_of_runs(recording: Recording) -> set[str]:
    """The ids of the locks that plans, applies and destroys held, as Terraform wrote them down."""
    snapshots = {
        change.snapshot
        for _, changes in recording.instants()
        for change in changes
        if is_lock_info(change) and change.snapshot
    }
    contents = [recording.content(snapshot) for snapshot in snapshots]
    held = [json.loads(content) for content in contents if content]
    return {lock["ID"] for lock in held if lock["Operation"] in OPERATION_OF_LOCK}
