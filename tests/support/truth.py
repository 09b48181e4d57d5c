"""What a recorded scenario must have led to: its runs, their verdicts, what was told of them and what was not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.run import RunStatus

from .recordings import Change, Recording, Step
from .watching import Watching

ARN = "arn:aws:proton:us-east-1:111122223333:environment/net"
DEPLOYMENT_ID = "fcda9f18-f569-4079-8474-0832f45b97ea"
LONG = 60.0  # seconds; every verdict that waits has come due
# The step whose outputs were read at the end, where that is not the last apply.
LAST_APPLIED = {"workspaces": 3}


def with_ends(recording: Recording) -> Iterator[tuple[float, list[Change]]]:
    """The recorded instants, and one with no changes just after each process ended."""
    ends = sorted(step.ends for step in recording.steps)
    for at, changes in recording.instants():
        while ends and ends[0] < at:
            yield ends.pop(0), []
        yield at, changes
    for at in ends:
        yield at, []


def grows_only(changes: Sequence[Change]) -> bool:
    return bool(changes) and all(c.kinds == ("MODIFY",) and c.path.endswith(".log") for c in changes)


def judge(recording: Recording, watching: Watching, *, came_late: bool = False) -> None:
    """Compare what the journal holds with what is known to have happened.

    An agent that came late may have found the state of a human log locked by the next run: then it says so.
    """
    judge_verdicts(recording, watching)
    last = last_applied(recording)
    if last is not None:
        told = told_of(last, watching)
        if not (came_late and not last.is_json and "the state is locked again" in told.status_message):
            judge_outputs(recording, told)
    judge_secrets(recording, watching)


def judge_verdicts(recording: Recording, watching: Watching) -> None:
    """Compare runs, their verdicts and what was told of them, but for the outputs."""
    runs = watching.runs()
    logged = [step for step in recording.steps if step.tells_its_run]
    found = {step: [run for run in runs if run.log_path and watching.step_of(run) == step] for step in logged}
    verdicts = {step.number: [run.status for run in found[step]] for step in logged}
    assert verdicts == {step.number: [step.verdict] for step in logged}
    assert sum(run.status is not RunStatus.UNDETERMINED for run in runs) == len(logged), "phantom runs"
    assert not any(run.is_open for run in runs)
    judge_what_is_told(watching, logged)


def judge_what_is_told(watching: Watching, logged: Sequence[Step]) -> None:
    told = watching.notifications(superseded=True)
    terminal = Counter(n.status for n in told if n.status.is_terminal)
    expected = Counter(
        Status.SUCCEEDED if step.verdict in (RunStatus.APPLIED, RunStatus.DESTROYED) else Status.FAILED
        for step in logged
        if step.verdict is not RunStatus.PLANNED_AND_FINISHED and "lock_contention" not in step.truth
    )
    assert terminal == expected
    started = {run.run_id: run.started_at for run in watching.runs()}
    order = [started[n.run_id] for n in watching.notifications() if n.status.is_terminal]
    assert order == sorted(order), "the last word is not the last run's"
    assert all(not n.outputs for n in told if n.run_status is not RunStatus.APPLIED)


def told_of(step: Step, watching: Watching) -> Notification:
    """The notification that a step has succeeded."""
    (run,) = (run for run in watching.runs() if run.log_path and watching.step_of(run) == step)
    told = watching.notifications(superseded=True)
    (notification,) = (n for n in told if n.run_id == run.run_id and n.status is Status.SUCCEEDED)
    return notification


def last_applied(recording: Recording) -> Step | None:
    """The step whose outputs `terraform output` showed at the end, if the agent has its log."""
    steps = [step for step in recording.steps if {"apply_succeeded", "destroy_succeeded"} & set(step.truth)]
    if not steps:
        return None
    last = recording.steps[LAST_APPLIED[recording.name]] if recording.name in LAST_APPLIED else steps[-1]
    return last if last.tells_its_run and last.verdict is RunStatus.APPLIED else None


def judge_outputs(recording: Recording, notification: Notification) -> None:
    told = dict(notification.outputs)
    for name, output in recording.final_outputs.items():
        value = output["value"]
        if output["sensitive"] or value in (None, "") or "\0" in str(value) or len(mapped(value)) > 1024:
            assert name not in told
            assert f"{name} (" in notification.status_message, "an omission is named"
        elif isinstance(value, str):
            assert told.pop(name) == value
        else:
            text = told.pop(name)
            assert json.loads(text) == value  # of numbers the recording kept no more than a double holds
            assert text == "".join(text.split())
    assert told == {}


def mapped(value: Any) -> str:
    """An output's value as it is told: strings as they are, anything else as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def judge_secrets(recording: Recording, watching: Watching) -> None:
    """No sensitive value is kept."""
    for secret in secrets_of(recording):
        for path in Path(watching.journal.path).parent.iterdir():
            assert secret not in path.read_bytes(), f"a sensitive value is in {path.name}"


def secrets_of(recording: Recording) -> Iterator[bytes]:
    """Every sensitive value that is long enough to be recognised."""
    if recording.name == "sensitive_diag":  # not outputs at the end: that apply failed
        yield from (b"hunter2-SECRET", b"Sv2-SECRET", b"Sv3-SECRET")
    for output in recording.final_outputs.values():
        if output["sensitive"]:
            yield from (leaf.encode() for leaf in leaves(output["value"]) if len(leaf) > 3)


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    elif value is not None:
        yield str(value)


def judge_runs_known_by_their_lock_alone(recording: Recording, watching: Watching) -> None:
    """A run that has only a human log, or none, ends undetermined, and nothing but its beginning is told."""
    unlogged = [run for run in watching.runs() if not run.log_path]
    assert all(run.status is RunStatus.UNDETERMINED for run in unlogged)
    ids = {run.run_id for run in unlogged}
    assert {n.status for n in watching.notifications() if n.run_id in ids} <= {Status.IN_PROGRESS}
    steps = {step for run in unlogged if (step := watching.step_of(run)) is not None}
    assert all(step.is_run or not step.command for step in steps), "a command that is no run became one"
    if recording.name != "log_moved_in":  # there the log comes when the lock has come and gone
        assert not any(step.is_json for step in steps), "a run with a log became two"
