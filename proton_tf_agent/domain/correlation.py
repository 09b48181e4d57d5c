"""Correlation: which run a fact belongs to.

Asked in this order: the log's anchor (the digest of its `version` line), Terraform's lock id, then the one open
run of the directory and workspace that still lacks what the fact brings. A `version` line or a run's lock that
belongs to nobody opens a new run.

A log may lie above the directory whose state is locked (`terraform -chdir=envs/prod apply > apply.log`): an open
run without a lock and a lock without a log are one run if one directory contains the other and the lock was taken
within LINK_WINDOW seconds of the `version` line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from . import evidence as ev
from .evidence import Fact
from .run import Lock, Log, Run, identify

LINK_WINDOW = 60.0
CLOCK_SLACK = 1.0
VERSION_LINE_SLACK = 0.05


def correlate(runs: Sequence[Run], fact: Fact, directory: str, workspace: str | None) -> Run | None:
    """The run among `runs` (those open, and any that share the anchor or lock id) that the fact is about."""
    evidence = fact.evidence
    if fact.anchor:
        known = next((run for run in runs if run.anchor == fact.anchor), None)
        if known or not isinstance(evidence, ev.OperationStarted):
            return known
        return _nearest((run for run in runs if _awaits_log(run, directory, evidence)), directory)
    if isinstance(evidence, ev.LockTaken | ev.LockReleased | ev.LockReplaced | ev.HolderGone):
        known = next((run for run in runs if run.lock_id == evidence.lock_id), None)
        if known or not isinstance(evidence, ev.LockTaken):
            return known
        if evidence.operation not in ev.OPERATION_OF_LOCK:
            return None
        awaiting = [run for run in runs if _awaits_lock(run, directory, workspace, evidence)]
        if any(run.is_open for run in awaiting):
            return _nearest((run for run in awaiting if run.is_open), directory)
        return _one(awaiting)
    if isinstance(evidence, ev.LockPassed):
        return _nearest((run for run in runs if _may_have_locked(run, directory, workspace)), directory)
    return _one(run for run in runs if _lives_in(run, directory, workspace))


def opens_run(fact: Fact) -> bool:
    """Whether a fact that belongs to no known run begins a new one."""
    if isinstance(fact.evidence, ev.LockTaken):
        return fact.evidence.operation in ev.OPERATION_OF_LOCK
    return isinstance(fact.evidence, ev.OperationStarted)


def begin(fact: Fact, directory: str, workspace: str | None, log_path: str, now: float) -> Run:
    """The run that `fact` opens."""
    evidence = fact.evidence
    at = evidence.at if isinstance(evidence, ev.OperationStarted) else getattr(evidence, "created_at", None)
    return Run(
        run_id=identify(directory, workspace, evidence, fact.anchor),
        directory=directory,
        workspace=workspace,
        started_at=at or now,
        anchor=fact.anchor,
        log_path=log_path,
    )


def tie(run: Run, fact: Fact, directory: str, workspace: str | None, log_path: str) -> Run:
    """The run with whatever the fact's place adds to its identity: its log, its lock's directory, its workspace."""
    if isinstance(fact.evidence, ev.OperationStarted) and not run.anchor:
        run = replace(run, anchor=fact.anchor, log_path=log_path)
    if isinstance(fact.evidence, ev.LockTaken | ev.LockPassed) and not run.lock_directory:
        run = replace(run, lock_directory=directory, workspace=workspace)
    if fact.anchor and log_path and run.log_path != log_path:
        run = replace(run, log_path=log_path)  # the log was moved or copied; its newest place is watched
    return run


def _one(candidates: object) -> Run | None:
    """The only candidate, or the one that began last; ambiguity must not tie a fact to an older run."""
    return max(candidates, key=lambda run: run.started_at, default=None)  # type: ignore[call-overload, no-any-return]


def _nearest(candidates: Iterable[Run], directory: str) -> Run | None:
    """The run of this very directory that began last, else the only one of a directory above or below.

    Two runs above that both wait (`terraform -chdir=a ... > a.log &`, the same for b) cannot be told apart: the fact
    is then tied to neither, for a wrong tie would report one run's outcome for another's resource.
    """
    runs = list(candidates)
    here = _one(run for run in runs if run.directory == directory)
    return here or (runs[0] if len(runs) == 1 else None)


def _awaits_log(run: Run, directory: str, started: ev.OperationStarted) -> bool:
    if not run.is_open or run.log is not Log.ABSENT or run.anchor:
        return False
    # A run that was opened by its lock began when that was taken, and its `version` line was printed before.
    near = started.at is None or -LINK_WINDOW <= started.at - run.started_at <= VERSION_LINE_SLACK
    return near and (run.directory == directory or _contains(directory, run.directory))


def _awaits_lock(run: Run, directory: str, workspace: str | None, lock: ev.LockTaken) -> bool:
    if run.lock is not Lock.UNSEEN or run.refused or not (run.is_open or _was_on(run, lock)):
        return False
    if workspace is not None and run.workspace not in (None, workspace):
        return False
    if lock.created_at is not None and lock.created_at < run.started_at - CLOCK_SLACK:
        return False  # Terraform prints its `version` line first: an older lock is another's, for which it waits
    if run.directory == directory:
        return True
    near = lock.created_at is None or abs(lock.created_at - run.started_at) <= LINK_WINDOW
    return near and _contains(run.directory, directory)


def _may_have_locked(run: Run, directory: str, workspace: str | None) -> bool:
    """Whether a lock that nobody read may have been this run's: it tells where the run's state is, no more."""
    if not run.is_open or run.lock is not Lock.UNSEEN or run.refused or run.state_path:
        return False
    if workspace is not None and run.workspace not in (None, workspace):
        return False
    return run.directory == directory or _contains(run.directory, directory)


def _was_on(run: Run, lock: ev.LockTaken) -> bool:
    """Whether an ended run was on when the lock was taken: its log may be read to the end before its lock is."""
    if run.ended_at is None or lock.created_at is None:
        return False
    return run.started_at <= lock.created_at <= min(run.ended_at, run.started_at + LINK_WINDOW)


def _lives_in(run: Run, directory: str, workspace: str | None) -> bool:
    here = directory in run.directories
    return run.is_open and here and (workspace is None or run.workspace in (None, workspace))


def _contains(parent: str, child: str) -> bool:
    return child.startswith(parent.rstrip("/") + "/")
