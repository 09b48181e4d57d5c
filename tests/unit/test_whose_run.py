"""Whose run it is: metadata in all its shapes, deployments that come again, resources that share a tree or a path."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from support.facts import LOGS
from support.observing import ObservedRoot, began_at
from support.watching import bind_directory

from proton_tf_agent.domain.binding import Unbound
from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal

ACCOUNT = "arn:aws:proton:us-east-1:111122223333"
NETWORK = f"{ACCOUNT}:environment/net"
INSTANCE = f"{ACCOUNT}:service/web/service-instance/blue"
COMPONENT = f"{ACCOUNT}:component/cache"
FIRST, SECOND = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
APPLY, FAILING, DESTROY = (
    (LOGS / name).read_bytes() for name in ("apply_ok.log", "apply_partial_failure.log", "destroy.log")
)
LOCK = ".terraform.tfstate.lock.info"
HUMAN = (LOGS.parent / "human" / "apply_creates.log").read_bytes()


@pytest.fixture
def root(tmp_path: Path, journal: Journal) -> ObservedRoot:
    return ObservedRoot(tmp_path, journal)


def ends(notifications: Iterable[Notification]) -> list[tuple[str | None, str | None, Status]]:
    """Resource ARN, deployment ID and status of what ended."""
    return [(n.resource_arn, n.deployment_id, n.status) for n in notifications if n.status.is_terminal]


def run(root: ObservedRoot, log: bytes, name: str = "apply.log") -> None:
    """Let a recorded run happen in the run directory and come to its end."""
    root.write(name, log)
    root.look(name)
    root.wait(60.0)


def test_a_deployment_that_is_issued_again_is_another_deployment_of_the_same_resource(root: ObservedRoot) -> None:
    bind_directory(root.directory, NETWORK, FIRST)
    run(root, APPLY, "one.log")
    bind_directory(root.directory, NETWORK, SECOND)
    run(root, FAILING, "two.log")
    rows = root.journal.query("entries", after=0, limit=100)
    told = [(row["deployment_id"], row["status"]) for row in rows if row["status"] != "IN_PROGRESS"]
    assert told == [(FIRST, "SUCCEEDED"), (SECOND, "FAILED")]


def test_several_runs_of_one_deployment_are_told_one_after_the_other(root: ObservedRoot) -> None:
    """A re-run of a deployment begins again: IN_PROGRESS, then its own end."""
    bind_directory(root.directory, NETWORK, FIRST)
    run(root, APPLY, "one.log")
    run(root, FAILING, "two.log")
    assert root.statuses() == ["IN_PROGRESS", "SUCCEEDED", "IN_PROGRESS", "FAILED"]
    assert {n.deployment_id for n in root.notifications()} == {FIRST}
    assert len({n.run_id for n in root.notifications()}) == 2


def test_another_resource_made_under_the_same_path_is_another_resource(root: ObservedRoot) -> None:
    """The path says nothing: a service instance may be deployed where an environment was."""
    bind_directory(root.directory, NETWORK, FIRST)
    run(root, APPLY, "one.log")
    bind_directory(root.directory, INSTANCE, SECOND)
    run(root, FAILING, "two.log")
    assert ends(root.notifications()) == [(NETWORK, FIRST, Status.SUCCEEDED), (INSTANCE, SECOND, Status.FAILED)]


def test_two_resources_in_one_tree_are_told_apart(root: ObservedRoot) -> None:
    """An environment at the top, a service instance below: neither speaks for the other."""
    bind_directory(root.directory, NETWORK, FIRST)
    bind_directory(f"{root.directory}/web", INSTANCE, SECOND)
    root.write("web/main.tf", b"")
    run(root, APPLY, "apply.log")
    run(root, FAILING, "web/apply.log")
    assert ends(root.notifications()) == [(NETWORK, FIRST, Status.SUCCEEDED), (INSTANCE, SECOND, Status.FAILED)]


def test_a_directory_without_metadata_does_not_speak_for_the_one_above(root: ObservedRoot) -> None:
    bind_directory(root.directory, NETWORK, FIRST)
    root.write("web/main.tf", b"")
    run(root, APPLY, "web/apply.log")
    assert root.notifications() == []
    assert [r.status for r in root.runs()] == [RunStatus.APPLIED]


def test_metadata_that_a_job_rewrites_in_mid_run_does_not_move_the_run(root: ObservedRoot) -> None:
    bind_directory(root.directory, NETWORK, FIRST)
    lines = APPLY.splitlines(keepends=True)
    root.write("apply.log", b"".join(lines[:8]))
    with open(f"{root.directory}/apply.log", "ab") as log:
        root.look("apply.log")
        bind_directory(root.directory, INSTANCE, SECOND)
        log.write(b"".join(lines[8:]))
        log.flush()
        root.look("apply.log")
    root.wait(60.0)
    assert ends(root.notifications()) == [(NETWORK, FIRST, Status.SUCCEEDED)]


@pytest.mark.parametrize(
    ("metadata", "bound"),
    [
        ({"deploymentId": FIRST, "resourceMetadata": {"arn": INSTANCE}}, (INSTANCE, FIRST)),
        ({"deploymentId": FIRST, "isResourceDeleted": False, "resourceMetadata": {"arn": INSTANCE}}, (INSTANCE, FIRST)),
        (
            {"deploymentId": FIRST, "componentMetadata": {"arn": f"{ACCOUNT}:component/c"}},
            (f"{ACCOUNT}:component/c", FIRST),
        ),
        ({"deploymentId": "1", "resourceMetadata": {"arn": INSTANCE}}, None),
        ({"deploymentId": FIRST, "resourceMetadata": {"arn": "arn:aws:iam::111122223333:role/x"}}, None),
        ([], None),
    ],
)
def test_metadata_binds_in_every_shape_it_was_ever_written_in_and_in_no_other(
    root: ObservedRoot, metadata: object, bound: tuple[str, str] | None
) -> None:
    os.makedirs(f"{root.directory}/.proton")
    os.utime(root.write(".proton/deployment-metadata.json", json.dumps(metadata).encode()), (0.0, 0.0))
    run(root, APPLY)
    told = {(n.resource_arn, n.deployment_id) for n in root.notifications()}
    assert told == ({bound} if bound else set())


def test_a_resource_that_was_deleted_is_destroyed_for_all_sinks_that_still_know_it(root: ObservedRoot) -> None:
    bind_directory(root.directory, NETWORK, "<proton-resource-deleted>", deleted=True)
    run(root, DESTROY)
    (destroyed,) = [n for n in root.notifications() if n.status.is_terminal]
    assert (destroyed.run_status, destroyed.resource_deleted, destroyed.outputs) == (RunStatus.DESTROYED, True, ())


def test_a_newer_deployment_takes_the_place_of_what_an_older_one_has_not_told_yet(root: ObservedRoot) -> None:
    """Nothing was attempted yet, or the line was busy: only what Proton waits for now is still sent."""
    bind_directory(root.directory, NETWORK, FIRST)
    run(root, APPLY, "one.log")
    bind_directory(root.directory, NETWORK, SECOND)
    run(root, FAILING, "two.log")
    rows = root.journal.query("entries", after=0, limit=100)
    waiting = [(row["deployment_id"], row["status"]) for row in rows if row["state"] == "pending"]
    assert (FIRST, "SUCCEEDED") not in waiting
    assert waiting[-1] == (SECOND, "FAILED")


# --- runs that were over before there was a deployment to tell them for -----------------------------------------


def unbound(root: ObservedRoot) -> list[str]:
    recorded = root.journal.runs(10)
    return [r.binding.reason for r in recorded if isinstance(r.binding, Unbound)]


@pytest.mark.parametrize("settled_late", [True, False])
def test_a_run_that_was_over_before_the_metadata_was_written_is_nobodys(root: ObservedRoot, settled_late: bool) -> None:
    """An agent that was down meanwhile, or a log of old that is restored: the next deployment has not run."""
    bind_directory(root.directory, NETWORK, FIRST, written_at=began_at(APPLY) + 3600.0)
    lines = APPLY.splitlines(keepends=True)
    run(root, b"".join(lines[:-2]) if settled_late else APPLY)
    assert root.notifications() == []
    assert unbound(root) == ["the deployment metadata is newer than the run"]


def test_a_human_log_that_was_complete_before_the_metadata_was_written_is_nobodys(root: ObservedRoot) -> None:
    os.utime(root.write("apply.log", HUMAN), (2000.0, 2000.0))
    bind_directory(root.directory, NETWORK, FIRST, written_at=2001.0)
    root.observer.read([replace(look, complete=True) for look in root.watch.touched([f"{root.directory}/apply.log"])])
    root.wait(60.0)
    assert root.notifications() == []
    assert unbound(root) == ["the deployment metadata is newer than the run"]


def test_metadata_that_was_written_in_mid_run_is_the_runs(root: ObservedRoot) -> None:
    bind_directory(root.directory, NETWORK, FIRST, written_at=began_at(APPLY) + 0.1)
    run(root, APPLY)
    assert ends(root.notifications()) == [(NETWORK, FIRST, Status.SUCCEEDED)]


def test_of_two_runs_in_one_log_the_first_is_not_told_for_the_deployment_of_the_second(root: ObservedRoot) -> None:
    first, second = sorted((APPLY, FAILING), key=began_at)
    bind_directory(root.directory, NETWORK, SECOND, written_at=began_at(second) - 1.0)
    run(root, first + second)
    assert len({n.run_id for n in root.notifications()}) == 1
    assert unbound(root) == ["the deployment metadata is newer than the run"]


def test_a_failure_is_not_told_for_the_deployment_whose_run_wrote_over_its_log(root: ObservedRoot) -> None:
    with open(root.write("apply.log", FAILING), "ab"):
        root.look("apply.log")
        bind_directory(root.directory, NETWORK, SECOND, written_at=began_at(FAILING) + 3600.0)
        root.write("apply.log", APPLY)
        root.look("apply.log")
    root.wait(60.0)
    failed = next(r for r in root.journal.runs(10) if r.run.errors)
    assert failed.run.status is RunStatus.ERRORED
    assert isinstance(failed.binding, Unbound)


# --- logs that are copied under the next deployment, directories that are moved ---------------------------------


def complete(root: ObservedRoot, *names: str) -> None:
    looks = root.watch.touched([f"{root.directory}/{name}" for name in names])
    root.observer.read([replace(look, complete=True) for look in looks])


def human_success(root: ObservedRoot, name: str = "apply.log") -> None:
    bind_directory(root.directory, NETWORK, FIRST)
    root.write(name, HUMAN)
    complete(root, name)
    root.wait(60.0)
    assert ends(root.notifications()) == [(NETWORK, FIRST, Status.SUCCEEDED)]


@pytest.mark.parametrize("where", ["apply-1.log", "two/apply.log"])
@pytest.mark.parametrize("written_over", [True, False])
def test_a_copy_of_the_last_deployments_human_log_is_no_run_of_the_next(
    root: ObservedRoot, where: str, written_over: bool
) -> None:
    """Archived, copied with its directory as a template, or copied away before the next run writes over it."""
    human_success(root)
    bind_directory(root.directory, NETWORK, SECOND)
    bind_directory(f"{root.directory}/two", INSTANCE, SECOND)
    root.write("two/main.tf", b"")
    root.write(where, HUMAN)
    if written_over:
        root.write("apply.log", HUMAN[: len(HUMAN) // 2])
    root.look(where)
    complete(root, where)
    root.wait(60.0)
    assert len(root.runs()) == 1
    assert len(ends(root.notifications())) == 1


FAILS = (LOGS.parent / "human" / "provisioner_fails_plain.log").read_bytes()
COPY, NEXT = "apply-1.log", "apply.log"


@pytest.mark.parametrize("lock_was_seen", [True, False], ids=["its lock was seen", "its lock was not seen"])
@pytest.mark.parametrize("log", [NEXT, "apply-2.log"], ids=["over the original", "beside it"])
@pytest.mark.parametrize("turns", [[[COPY]], [[NEXT], [COPY]], [[COPY, NEXT]], [[NEXT, COPY]]], ids=str)
def test_a_log_that_was_copied_away_before_the_next_run_is_not_that_runs(
    root: ObservedRoot, turns: list[list[str]], log: str, lock_was_seen: bool
) -> None:
    """The next deployment fails, and writes its state; whichever of the two logs is looked at first."""
    human_success(root)
    bind_directory(root.directory, NETWORK, SECOND)
    root.write(COPY, HUMAN)
    if lock_was_seen:
        root.lock("second")
        root.look(LOCK)
        os.remove(f"{root.directory}/{LOCK}")
        root.look(LOCK)
    root.write(log, FAILS)
    root.write("terraform.tfstate", b"")
    later = os.stat(f"{root.directory}/{COPY}").st_mtime + 5.0
    for name in ("terraform.tfstate", log):
        os.utime(f"{root.directory}/{name}", (later, later))
    root.now = later + 1.0
    for names in (*turns, [log]):
        complete(root, *(log if name == NEXT else name for name in names))
    root.observer.turn(rescan=True)
    root.wait(60.0)
    assert [run.status for run in root.runs()] == [RunStatus.ERRORED, RunStatus.APPLIED]
    assert ends(root.notifications()) == [(NETWORK, SECOND, Status.FAILED)]


def test_the_same_mistake_in_two_directories_fails_two_runs(root: ObservedRoot) -> None:
    mistake = b'\nError: Reference to undeclared input variable\n\n  on main.tf line 1, in output "x":\n'
    for name, arn in (("one", NETWORK), ("two", INSTANCE)):
        bind_directory(f"{root.directory}/{name}", arn, FIRST)
        root.write(f"{name}/main.tf", b"")
        root.write(f"{name}/apply.log", mistake)
        complete(root, f"{name}/apply.log")
        root.wait(60.0)
    assert ends(root.notifications()) == [(NETWORK, FIRST, Status.FAILED), (INSTANCE, FIRST, Status.FAILED)]


@pytest.mark.parametrize("name", ["plan_saved.log", "fails_reference_plain.log"])
def test_a_plan_or_a_failure_that_says_the_same_is_the_next_deployments(root: ObservedRoot, name: str) -> None:
    """A mistake in the configuration fails every deployment with the same words, and leaves no other trace."""
    text = (LOGS.parent / "human" / name).read_bytes()
    for deployment_id, log in ((FIRST, "plan.log"), (SECOND, "plan-2.log")):
        bind_directory(root.directory, NETWORK, deployment_id)
        root.write(log, text)
        complete(root, log)
        root.wait(60.0)
    assert len(root.runs()) == 2
    assert {n.deployment_id for n in root.notifications()} >= {SECOND}


def test_a_log_that_is_renamed_and_touched_and_then_copied_is_no_run_of_the_next(root: ObservedRoot) -> None:
    human_success(root)
    bind_directory(root.directory, NETWORK, SECOND)
    os.rename(f"{root.directory}/apply.log", f"{root.directory}/old.log")
    os.utime(f"{root.directory}/old.log")
    complete(root, "old.log")
    root.write("older.log", HUMAN)
    complete(root, "older.log")
    root.wait(60.0)
    assert len(root.runs()) == 1


def test_the_same_words_are_a_run_of_the_next_deployment_where_one_awaits_its_log(root: ObservedRoot) -> None:
    human_success(root)
    bind_directory(root.directory, NETWORK, SECOND)
    root.lock("second")
    root.look(LOCK)
    os.remove(f"{root.directory}/{LOCK}")
    root.write("apply-2.log", HUMAN)
    root.look(LOCK)
    complete(root, "apply-2.log")
    root.wait(60.0)
    assert ends(root.notifications())[-1] == (NETWORK, SECOND, Status.SUCCEEDED)


def test_the_same_words_are_a_run_of_the_next_deployment_where_somebody_has_applied_since(root: ObservedRoot) -> None:
    """The agent was down: a run without changes prints the same every time, and writes its state."""
    human_success(root)
    bind_directory(root.directory, NETWORK, SECOND)
    root.write("terraform.tfstate", b"")
    later = os.stat(root.write("apply-2.log", HUMAN)).st_mtime + 5.0
    for name in ("terraform.tfstate", "apply-2.log"):
        os.utime(f"{root.directory}/{name}", (later, later))
    complete(root, "apply-2.log")
    root.wait(60.0)
    assert ends(root.notifications())[-1] == (NETWORK, SECOND, Status.SUCCEEDED)


@pytest.mark.parametrize("moved", [True, False])
def test_a_run_directory_that_is_moved_or_archived_holds_no_other_runs(root: ObservedRoot, moved: bool) -> None:
    for name in ("one", "two"):
        bind_directory(f"{root.directory}/{name}", NETWORK, FIRST)
    run(root, APPLY, "one/apply.log")
    root.write("two/apply.log", APPLY)
    if moved:
        os.remove(f"{root.directory}/one/apply.log")
    root.look("two/apply.log")
    assert len(root.runs()) == 1
    root.write("two/apply.log", FAILING, "ab")
    root.look("two/apply.log")
    root.wait(60.0)
    assert ends(root.notifications()) == [(NETWORK, FIRST, Status.SUCCEEDED), (NETWORK, FIRST, Status.FAILED)]


def test_a_json_log_in_the_directory_of_another_deployment_is_another_run(root: ObservedRoot) -> None:
    bind_directory(f"{root.directory}/one", NETWORK, FIRST)
    bind_directory(f"{root.directory}/two", INSTANCE, SECOND)
    run(root, APPLY, "one/apply.log")
    run(root, APPLY, "two/apply.log")
    assert ends(root.notifications()) == [(NETWORK, FIRST, Status.SUCCEEDED), (INSTANCE, SECOND, Status.SUCCEEDED)]
