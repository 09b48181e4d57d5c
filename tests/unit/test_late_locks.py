"""Whose run it is that writes its log above the directory it locks, when word of the lock comes behind the log's.

`terraform -chdir=envs/prod apply > apply.log`, with the deployment metadata in envs/prod.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.facts import LOGS
from support.observing import ObservedRoot, began_at
from support.watching import bind_directory

from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.journal import Journal

ARN = "arn:aws:proton:us-east-1:111122223333:environment/prod"
OTHER_ARN = ARN + "-other"
DEPLOYMENT_ID = "fcda9f18-f569-4079-8474-0832f45b97ea"
LOG = (LOGS / "apply_ok.log").read_bytes()
BEGAN_AT = began_at(LOG)
LOCK = ".terraform.tfstate.lock.info"


@pytest.fixture
def scene(tmp_path: Path, journal: Journal) -> ObservedRoot:
    scene = ObservedRoot(tmp_path, journal)
    bind_directory(f"{scene.directory}/envs/prod", ARN, DEPLOYMENT_ID)
    bind_directory(f"{scene.directory}/envs/other", OTHER_ARN, DEPLOYMENT_ID)
    return scene


def gone_by(scene: ObservedRoot, at: float, directory: str = "envs/prod") -> None:
    """The lock of a directory is there no more, and nothing else was created or removed there since."""
    os.utime(f"{scene.directory}/{directory}", (at, at))


def told(scene: ObservedRoot) -> list[tuple[str | None, str]]:
    return [(n.resource_arn, n.status.value) for n in scene.notifications()]


def test_a_run_is_told_as_soon_as_its_lock_shows_whose_it_is_whatever_its_log_has_said_by_then(
    scene: ObservedRoot,
) -> None:
    """It stands still at `applying`, and may do so for an hour."""
    lines = LOG.splitlines(keepends=True)
    began = b"".join(lines[: next(n for n, line in enumerate(lines) if b'"apply_complete"' in line)])
    with open(scene.write("apply.log", began), "ab"):
        scene.look("apply.log")
        assert told(scene) == []
        scene.lock("first", "envs/prod", created_at=BEGAN_AT + 0.01)
        scene.look(f"envs/prod/{LOCK}")
    assert told(scene) == [(ARN, "IN_PROGRESS")]
    assert scene.notifications()[0].run_status is RunStatus.APPLYING


def test_a_run_that_ended_before_its_lock_was_heard_of_is_told_when_it_is(scene: ObservedRoot) -> None:
    scene.write("apply.log", LOG)
    scene.look("apply.log")
    scene.wait(10.0)
    assert [run.status for run in scene.runs()] == [RunStatus.APPLIED]
    assert told(scene) == []
    gone_by(scene, BEGAN_AT + 0.5)
    scene.look(f"envs/prod/{LOCK}")
    assert told(scene) == [(ARN, "SUCCEEDED")]
    assert scene.notifications()[0].outputs
    scene.look(f"envs/prod/{LOCK}")
    scene.look(f"envs/other/{LOCK}")
    assert told(scene) == [(ARN, "SUCCEEDED")], "once, and for nobody else"


@pytest.mark.parametrize(
    ("log", "at"),
    [(LOG[:6000], BEGAN_AT - 5.0), (LOG, BEGAN_AT - 5.0), (LOG, BEGAN_AT + 0.6)],
    ids=["before it began, and it goes on", "before it began", "behind its last word"],
)
def test_a_lock_that_was_gone_before_a_run_began_or_taken_when_it_was_over_is_anothers(
    scene: ObservedRoot, log: bytes, at: float
) -> None:
    """`terraform -chdir=envs/prod plan > /dev/null`, before or after the apply of a directory that was never locked."""
    scene.write("apply.log", log)
    scene.look("apply.log")
    scene.wait(10.0)
    gone_by(scene, at)
    scene.look(f"envs/prod/{LOCK}")
    assert told(scene) == []


def test_of_two_runs_that_may_have_had_a_lock_neither_is_told(scene: ObservedRoot) -> None:
    """Both logs lie above, and one lock was seen to pass below them: to guess would be to lie half of the time."""
    for name, log in (("a.log", LOG), ("b.log", LOG.replace(b"44.862242Z", b"44.862250Z"))):
        scene.write(name, log)
        scene.look(name)
    scene.wait(10.0)
    gone_by(scene, BEGAN_AT + 0.5)
    scene.look(f"envs/prod/{LOCK}")
    assert told(scene) == []


def test_metadata_of_a_later_deployment_take_no_run_over_that_had_ended(scene: ObservedRoot) -> None:
    scene.write("apply.log", LOG)
    scene.look("apply.log")
    scene.wait(10.0)
    bind_directory(f"{scene.directory}/envs/prod", ARN, DEPLOYMENT_ID, written_at=BEGAN_AT + 5.0)
    gone_by(scene, BEGAN_AT + 0.5)
    scene.look(f"envs/prod/{LOCK}")
    assert told(scene) == []


def test_a_lock_that_passes_while_a_run_goes_on_is_anothers(scene: ObservedRoot) -> None:
    """`terraform -chdir=envs/other plan > /dev/null`, meanwhile: who holds a lock has not given it back."""
    lines = LOG.splitlines(keepends=True)
    with open(scene.write("apply.log", b"".join(lines[:3])), "ab") as log:
        scene.look("apply.log")
        gone_by(scene, BEGAN_AT + 0.02, "envs/other")
        scene.look(f"envs/other/{LOCK}")
        scene.lock("first", "envs/prod", created_at=BEGAN_AT + 0.01)
        scene.look(f"envs/prod/{LOCK}")
        log.write(b"".join(lines[3:]))
        log.flush()
        scene.look("apply.log")
    assert {arn for arn, _ in told(scene)} == {ARN}


def test_a_lock_that_had_passed_well_before_the_last_word_is_anothers(scene: ObservedRoot) -> None:
    """The one that ran right before: the run's own is given back when it ends."""
    scene.write("apply.log", LOG)
    scene.look("apply.log")
    gone_by(scene, began_at(LOG.splitlines()[-1]) - 0.2, "envs/other")
    scene.look(f"envs/other/{LOCK}")
    assert told(scene) == []


def test_a_lock_that_passed_is_nobodys_when_another_that_was_seen_may_have_been_the_runs(scene: ObservedRoot) -> None:
    for name in ("other", "third"):
        scene.lock(name, f"envs/{name}", created_at=BEGAN_AT + 0.01)
        scene.look(f"envs/{name}/{LOCK}")
    scene.write("apply.log", LOG.replace(b"terraform_data", b"data"))
    before = told(scene)
    scene.look("apply.log")
    gone_by(scene, began_at(LOG.splitlines()[-1]))
    scene.look(f"envs/prod/{LOCK}")
    assert [one for one in told(scene) if one not in before and one[0] == ARN] == []
