"""A run: what each fact adds to its findings, and what its id is made of."""

from __future__ import annotations

from typing import get_args

import pytest
from support.facts import (
    APPLIED,
    EVERY_EVIDENCE,
    FAILED,
    GONE,
    LOCK,
    LOCKED_TO_APPLY,
    RELEASED,
    REPLACED,
    STARTED,
    a_run,
)

from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.correlation import identify
from proton_tf_agent.domain.evidence import Operation
from proton_tf_agent.domain.findings import note
from proton_tf_agent.domain.run import AMENDABLE, FINAL, OPEN, Counts, Lock, Log, Run, RunStatus
from proton_tf_agent.domain.values import replace


def noted(*facts: ev.Evidence) -> Run:
    run = a_run()
    for evidence in facts:
        run = note(run, evidence)
    return run


@pytest.mark.parametrize("evidence", EVERY_EVIDENCE, ids=repr)
def test_noting_a_fact_never_decides_anything(evidence: ev.Evidence) -> None:
    """Status, verdict and time belong to `fold`."""
    before, after = a_run(), noted(evidence)
    for name in ("run_id", "status", "reason", "basis", "ended_at", "revision", "verdict", "position"):
        assert getattr(after, name) == getattr(before, name)


def test_the_tests_know_every_kind_of_evidence() -> None:
    assert {type(evidence) for evidence in EVERY_EVIDENCE} == set(get_args(ev.Evidence))


def test_a_run_may_be_bound_where_it_was_seen_where_its_lock_is_and_where_its_log_is() -> None:
    run = replace(a_run(), directory="/repo", lock_directory="/repo/envs/prod", log_path="/repo/logs/apply.log")
    assert run.directories == ("/repo", "/repo/envs/prod", "/repo/logs")
    assert replace(a_run(), log_path="/w/apply.log").directories == ("/w",)


def test_a_run_keeps_the_first_error_and_counts_the_rest() -> None:
    run = noted(FAILED, ev.ErrorReported("execution halted"), ev.ErrorReported("another", "b.c"))
    assert (run.errors, run.error_summary, run.error_address) == (3, FAILED.summary, FAILED.address)


def test_a_lock_says_which_operation_who_and_where_the_state_is() -> None:
    run = noted(LOCKED_TO_APPLY)
    assert (run.lock, run.lock_id, run.operation) == (Lock.HELD, LOCK, Operation.APPLY)
    assert (run.who, run.state_path) == ("ci@runner", "/w/terraform.tfstate")


def test_the_version_of_the_log_is_believed_before_that_of_the_lock() -> None:
    assert noted(STARTED, ev.LockTaken(LOCK, "OperationTypePlan", version="1.0.0")).version == "1.11.4"
    assert noted(ev.LockTaken(LOCK, "OperationTypePlan", version="1.0.0")).version == "1.0.0"


@pytest.mark.parametrize(("end", "lock"), [(RELEASED, Lock.RELEASED), (REPLACED, Lock.REPLACED)])
def test_a_lock_whose_holder_died_cannot_be_released_any_more(end: ev.Evidence, lock: Lock) -> None:
    assert noted(LOCKED_TO_APPLY, end).lock is lock
    assert noted(LOCKED_TO_APPLY, GONE, end).lock is Lock.ABANDONED


def test_a_plan_of_zeros_changes_something_when_outputs_or_addresses_do() -> None:
    zeros = ev.PlanSummarised(0, 0, 0)
    assert not noted(zeros, ev.OutputsPlanned(False)).has_changes
    assert noted(zeros, ev.OutputsPlanned(True)).has_changes
    assert noted(ev.ChangePlanned("a.b", "move"), zeros).has_changes
    assert noted(ev.PlanSummarised(0, 0, 0, imported=1)).has_changes


def test_only_deletions_without_a_reason_are_a_destroy_by_another_name() -> None:
    delete = ev.ChangePlanned("a.b", "delete")
    removed = ev.ChangePlanned("a.c", "delete", "delete_because_no_resource_config")
    assert noted(delete, delete).destroys_everything
    assert not noted(delete, removed).destroys_everything
    assert not noted(delete, ev.ChangePlanned("a.d", "create")).destroys_everything
    assert not a_run().destroys_everything


def test_the_apply_summary_says_whether_it_was_a_destroy() -> None:
    run = noted(LOCKED_TO_APPLY, ev.ApplySummarised(0, 0, 3, 0, Operation.DESTROY))
    assert (run.operation, run.summary) == (Operation.DESTROY, Counts(0, 0, 3))


def test_a_state_adds_its_serial_and_lineage_and_nothing_that_looks_like_success() -> None:
    before, after = a_run(), noted(ev.StateWritten("lineage-1", 7, ()))
    changed = {name for name in Run.__struct_fields__ if getattr(before, name) != getattr(after, name)}
    assert changed == {"lineage", "serial"}


def test_a_line_of_the_log_opens_it_and_its_end_closes_it() -> None:
    assert a_run().log is Log.ABSENT
    assert noted(STARTED).log is Log.OPEN
    assert noted(STARTED, ev.LogClosed()).log is Log.CLOSED


def test_open_and_final_statuses_are_told_apart_and_only_final_ones_can_be_amended() -> None:
    assert not OPEN & FINAL
    assert set(RunStatus) == OPEN | FINAL
    assert AMENDABLE < FINAL
    assert not AMENDABLE & {RunStatus.APPLIED, RunStatus.DESTROYED, RunStatus.ERRORED, RunStatus.CANCELED}


def test_the_same_content_gives_the_same_id_and_other_content_another() -> None:
    ids = {
        identify("/w", "default", LOCKED_TO_APPLY, ""),
        identify("/w", "blue", LOCKED_TO_APPLY, ""),
        identify("/x", "default", LOCKED_TO_APPLY, ""),
        identify("/w", "default", ev.LockTaken("another", "OperationTypeApply"), ""),
        identify("/w", None, STARTED, "anchor-1"),
        identify("/w", None, STARTED, "anchor-2"),
    }
    assert len(ids) == 6
    assert identify("/w", "default", LOCKED_TO_APPLY, "") in ids


def test_what_a_lock_says_besides_its_id_does_not_change_the_run_id() -> None:
    """The same lock read again in another light (a later `who`, a lost date) opens no second run."""
    bare = ev.LockTaken(LOCK, "OperationTypeApply")
    assert identify("/w", "default", bare, "") == identify("/w", "default", LOCKED_TO_APPLY, "")


def test_a_directory_with_an_undecodable_name_has_an_id_too() -> None:
    assert identify("/w/\udcff", None, STARTED, "a").startswith("run-")


def test_an_apply_summary_leaves_the_plan_as_it_was() -> None:
    run = noted(ev.PlanSummarised(12, 0, 0), APPLIED)
    assert (run.plan, run.summary) == (Counts(12), Counts(3))
