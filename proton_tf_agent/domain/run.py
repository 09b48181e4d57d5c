"""A run: everything found about it so far, and how one fact adds to that.

Findings only accumulate: what a fact notes depends on nothing but the findings before it. What the findings
amount to, the run's status, is decided in `transitions`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from . import evidence as ev
from .evidence import Evidence, Form, Operation, Output


class RunStatus(StrEnum):
    """HCP Terraform's run statuses, and two of our own: lost and undetermined."""

    PENDING = "pending"  # a command has started; whether it is a run is not known yet
    PLANNING = "planning"
    PLANNED = "planned"
    PLANNED_AND_FINISHED = "planned_and_finished"  # the command was a plan and is over
    APPLYING = "applying"
    APPLIED = "applied"
    DESTROYED = "destroyed"
    ERRORED = "errored"
    CANCELED = "canceled"
    LOST = "lost"  # the process is gone and wrote no verdict: an inference
    UNDETERMINED = "undetermined"  # it ended, and success cannot be told from failure
    NO_RUN = "no_run"  # the log turned out to belong to init, test or the like; nothing is kept


OPEN = frozenset({RunStatus.PENDING, RunStatus.PLANNING, RunStatus.PLANNED, RunStatus.APPLYING})
FINAL = frozenset(RunStatus) - OPEN
AMENDABLE = frozenset({RunStatus.PLANNED_AND_FINISHED, RunStatus.LOST, RunStatus.UNDETERMINED})
DECIDABLE = frozenset({RunStatus.APPLIED, RunStatus.ERRORED})  # what a person may settle a run as


class Basis(IntEnum):
    """What a verdict rests on, weakest first."""

    INFERENCE = 1
    STATE = 2
    DECISION = 3  # a person's
    PROOF = 4


class Wait(StrEnum):
    """How long a verdict waits before it is final."""

    NOW = "now"
    GRACE = "grace"
    SETTLE = "settle"


class Lock(StrEnum):
    """What is known of the run's state lock."""

    UNSEEN = "unseen"
    HELD = "held"
    RELEASED = "released"
    REPLACED = "replaced"
    ABANDONED = "abandoned"
    GONE = "gone"  # from disk, directory and all: neither released nor left behind


class Wrapper(StrEnum):
    """What is known of the wrapper of a run."""

    AT_WORK = "at_work"  # it will say how Terraform ends: nothing is inferred meanwhile
    DONE = "done"
    GONE = "gone"  # it died before it could, and Terraform is gone, too


class Log(StrEnum):
    """What is known of the run's log."""

    ABSENT = "absent"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long verdicts wait, in seconds."""

    settle: float = 10.0
    grace: float = 3.0

    def of(self, wait: Wait) -> float:
        return {Wait.NOW: 0.0, Wait.GRACE: self.grace, Wait.SETTLE: self.settle}[wait]


@dataclass(frozen=True, slots=True)
class Counts:
    """Resources by what happens to them, as a change summary counts them."""

    add: int = 0
    change: int = 0
    remove: int = 0
    imported: int = 0

    @property
    def total(self) -> int:
        return self.add + self.change + self.remove + self.imported


@dataclass(frozen=True, slots=True)
class Wrapped:
    """What the wrapper of a run has recorded; see `evidence.CommandStarted` and `evidence.ProcessExited`."""

    record_id: str
    wrapper: Wrapper = Wrapper.AT_WORK
    command: tuple[str, ...] = ()
    detailed: bool = False
    listens: bool = False
    job: ev.Job | None = None
    exit_status: int | None = None
    exit_signal: int = 0
    exited_at: float | None = None

    @property
    def has_succeeded(self) -> bool:
        """Whether Terraform's exit status says that all went well."""
        return self.exit_status == 0 and not self.exit_signal

    @property
    def has_found_changes(self) -> bool:
        """Whether the exit status says of a plan that it changes something (`-detailed-exitcode`)."""
        return self.detailed and self.exit_status == 2 and not self.exit_signal


@dataclass(frozen=True, slots=True)
class Verdict:
    """A status a run is about to take; due_at is the wall-clock second from which it may."""

    status: RunStatus
    basis: Basis
    reason: str
    due_at: float


@dataclass(frozen=True, slots=True)
class Run:
    """Everything found about one run. Times are seconds since the epoch.

    position is how far into its log (bytes behind its `version` line) facts were noted: a log that is read
    again, under another name or after a truncation, adds nothing twice. echo is the anchor of a human log beside the
    run's JSON log (OpenTofu's -json-into), or of any log of a run whose wrapper listens: the same words a second time,
    which say nothing. misled: its log speaks of another run, too, and what it says proves nothing. state_path is the
    state its lock was seen on, recorded_state the one that `init` has written down for its directory. log_started_at is
    when its log says that it began, log_written_at when it was last written, once it is closed.
    """

    run_id: str
    directory: str
    started_at: float
    workspace: str | None = None
    status: RunStatus = RunStatus.PENDING
    reason: str = ""
    basis: Basis | None = None
    ended_at: float | None = None
    revision: int = 0
    historic: bool = False
    followed: bool = False
    operation: Operation | None = None
    tool: str = ""
    version: str = ""
    anchor: str = ""
    echo: str = ""
    misled: bool = False
    log_path: str = ""
    log: Log = Log.ABSENT
    log_started_at: float | None = None
    log_written_at: float | None = None
    form: Form | None = None
    position: int = -1
    lock_id: str = ""
    lock: Lock = Lock.UNSEEN
    lock_directory: str = ""
    state_path: str = ""
    recorded_state: str = ""
    who: str = ""
    planned: int = 0
    planned_deletes: int = 0
    outputs_change: bool = False
    plan: Counts | None = None
    applied: int = 0
    errored: int = 0
    summary: Counts | None = None
    outputs: tuple[Output, ...] | None = None
    error_summary: str = ""
    error_address: str = ""
    errors: int = 0
    interrupted: bool = False
    awaits_approval: bool = False
    crashed: bool = False
    refused: bool = False
    refused_by: str = ""
    state_saved: bool = True
    lineage: str = ""
    serial: int | None = None
    decision: ev.DecisionTaken | None = None
    wrapped: Wrapped | None = None
    verdict: Verdict | None = None

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def directories(self) -> tuple[str, ...]:
        """Every directory that may be the run's: where it was first seen, where its lock is, where its log is."""
        places = (self.directory, self.lock_directory, self.log_path.rpartition("/")[0])
        return tuple(dict.fromkeys(place for place in places if place))

    @property
    def over_at(self) -> float | None:
        """When the run was over at the latest, as far as it tells by itself; None while it may go on."""
        if self.log is Log.CLOSED:
            return self.log_written_at or self.started_at
        held = self.log is Log.OPEN or self.lock in (Lock.UNSEEN, Lock.HELD)
        return None if held else self.started_at

    @property
    def has_changes(self) -> bool:
        """Whether the plan changes anything; counts alone do not tell (outputs, moves, imports)."""
        found = self.wrapped is not None and self.wrapped.has_found_changes
        return bool(self.planned or self.outputs_change or (self.plan and self.plan.total) or found)

    @property
    def lacks_changes(self) -> bool:
        """Whether the plan is known to change nothing: its summary or its detailed exit status says so."""
        told = self.wrapped is not None and self.wrapped.detailed and self.wrapped.has_succeeded
        return (self.plan is not None or told) and not self.has_changes

    @property
    def is_heard(self) -> bool:
        """Whether the record of a wrapper repeats whatever a log of the run says."""
        return self.wrapped is not None and self.wrapped.listens and self.wrapped.wrapper is not Wrapper.GONE

    @property
    def is_wrapped(self) -> bool:
        """Whether a wrapper is at work that will say how Terraform ends."""
        return self.wrapped is not None and self.wrapped.wrapper is Wrapper.AT_WORK

    @property
    def destroys_everything(self) -> bool:
        """Only deletions were planned, and none because its configuration is gone: a destroy by another name."""
        return bool(self.planned) and self.planned == self.planned_deletes


@dataclass(frozen=True, slots=True)
class Transition:
    """A run has taken a new status."""

    run_id: str
    previous: RunStatus
    status: RunStatus
    basis: Basis | None
    reason: str
    evidence: str
    at: float


# --- what a fact adds to the findings ---------------------------------------------------------------------


def _operation_started(run: Run, e: ev.OperationStarted) -> Run:
    return replace(run, tool=e.tool, version=e.version, form=e.form, log=Log.OPEN, log_started_at=e.at)


def _command_started(run: Run, e: ev.CommandStarted) -> Run:
    if run.wrapped is not None:
        return replace(run, wrapped=replace(run.wrapped, exited_at=run.wrapped.exited_at or e.ended_at))
    wrapped = Wrapped(
        e.record_id, command=e.command, detailed=e.detailed, listens=e.listens, job=e.job, exited_at=e.ended_at
    )  # fmt: skip
    inferred = run.verdict is not None and run.verdict.basis is Basis.INFERENCE
    return replace(run, wrapped=wrapped, operation=e.operation, verdict=None if inferred else run.verdict)


def _process_exited(run: Run, e: ev.ProcessExited) -> Run:
    if run.wrapped is None or run.wrapped.wrapper is Wrapper.DONE:
        return run
    done = replace(run.wrapped, wrapper=Wrapper.DONE, exited_at=e.at)
    wrapped = replace(done, exit_status=e.status, exit_signal=e.signal)
    return _heard_out(replace(run, wrapped=wrapped))


def _wrapper_gone(run: Run, _e: ev.WrapperGone) -> Run:
    if run.wrapped is None:
        return run
    return _heard_out(replace(run, wrapped=replace(run.wrapped, wrapper=Wrapper.GONE)))


def _heard_out(run: Run) -> Run:
    """What a wrapper listened to has ended with it."""
    listened = run.wrapped is not None and run.wrapped.listens and run.log is Log.OPEN
    return replace(run, log=Log.CLOSED) if listened else run


def _change_planned(run: Run, e: ev.ChangePlanned) -> Run:
    destroying = e.action == "delete" and not e.reason
    return replace(run, planned=run.planned + 1, planned_deletes=run.planned_deletes + destroying)


def _plan_summarised(run: Run, e: ev.PlanSummarised) -> Run:
    return replace(run, plan=Counts(e.add, e.change, e.remove, e.imported))


def _apply_summarised(run: Run, e: ev.ApplySummarised) -> Run:
    return replace(
        run,
        summary=Counts(e.add, e.change, e.remove, e.imported),
        operation=e.operation,
        awaits_approval=False,
    )


def _host_restarted(run: Run, _e: ev.HostRestarted) -> Run:
    if run.wrapped is not None and run.is_wrapped:
        run = replace(run, wrapped=replace(run.wrapped, wrapper=Wrapper.GONE))
    lock = Lock.ABANDONED if run.lock is Lock.HELD else run.lock
    return replace(run, lock=lock, log=Log.ABSENT if run.log is Log.ABSENT else Log.CLOSED)


def _error_reported(run: Run, e: ev.ErrorReported) -> Run:
    if run.errors:
        return replace(run, errors=run.errors + 1)
    return replace(run, errors=1, error_summary=e.summary, error_address=e.address)


def _lock_taken(run: Run, e: ev.LockTaken) -> Run:
    # To a lock a destroy is an apply; who typed the command knows better.
    operation = run.operation if run.wrapped else ev.OPERATION_OF_LOCK.get(e.operation, run.operation)
    return replace(
        run,
        lock=Lock.HELD,
        lock_id=e.lock_id,
        operation=operation,
        who=e.who,
        version=run.version or e.version,
        state_path=e.state_path,
    )


def _lock_refused(run: Run, e: ev.LockRefused) -> Run:
    return replace(run, refused=True, refused_by=e.holder)


def _lock_ended(run: Run, lock: Lock) -> Run:
    # A lock whose holder died can no longer be released in order; whoever removes or rewrites its info is another.
    return run if run.lock is Lock.ABANDONED else replace(run, lock=lock)


def _traces_gone(run: Run, _e: ev.TracesGone) -> Run:
    lock = Lock.GONE if run.lock is Lock.HELD else run.lock
    return replace(run, lock=lock, log=Log.ABSENT if run.log is Log.ABSENT else Log.CLOSED)


def _state_written(run: Run, e: ev.StateWritten) -> Run:
    return replace(run, lineage=e.lineage, serial=e.serial)


def _log_closed(run: Run, e: ev.LogClosed) -> Run:
    # Who finds the end once more may know less of it: a copy has another time.
    known = run.log_written_at if run.log is Log.CLOSED else None
    return replace(run, log=Log.CLOSED, log_written_at=e.written_at if known is None else known)


def _decision_taken(run: Run, e: ev.DecisionTaken) -> Run:
    # The first counts, and only where there is something to decide.
    return replace(run, decision=e) if run.status in AMENDABLE and run.decision is None else run


_NOTED: dict[type, Callable[..., Run]] = {
    ev.OperationStarted: _operation_started,
    ev.CommandStarted: _command_started,
    ev.ProcessExited: _process_exited,
    ev.WrapperGone: _wrapper_gone,
    ev.ChangePlanned: _change_planned,
    ev.PlanSummarised: _plan_summarised,
    ev.OutputsPlanned: lambda run, e: replace(run, outputs_change=e.has_changes),
    ev.ResourceApplied: lambda run, e: replace(run, applied=run.applied + 1),
    ev.ResourceErrored: lambda run, e: replace(run, errored=run.errored + 1),
    ev.ApplySummarised: _apply_summarised,
    ev.OutputsReported: lambda run, e: replace(run, outputs=e.outputs),
    ev.ErrorReported: _error_reported,
    ev.InterruptRequested: lambda run, e: replace(run, interrupted=True),
    ev.LockRefused: _lock_refused,
    ev.ApprovalAwaited: lambda run, e: replace(run, awaits_approval=True),
    ev.ApplyStarted: lambda run, e: replace(run, awaits_approval=False),
    ev.ApprovalDeclined: lambda run, e: replace(run, awaits_approval=False),
    ev.CrashReported: lambda run, e: replace(run, crashed=True),
    ev.HostRestarted: _host_restarted,
    ev.StateSaveFailed: lambda run, e: replace(run, state_saved=False),
    ev.LogClosed: _log_closed,
    ev.LockTaken: _lock_taken,
    ev.LockReleased: lambda run, e: _lock_ended(run, Lock.RELEASED),
    ev.LockReplaced: lambda run, e: _lock_ended(run, Lock.REPLACED),
    ev.LockPassed: lambda run, e: replace(run, state_path=e.state_path),
    ev.HolderGone: lambda run, e: replace(run, lock=Lock.ABANDONED),
    ev.TracesGone: _traces_gone,
    ev.StateWritten: _state_written,
    ev.DecisionTaken: _decision_taken,
}


def note(run: Run, evidence: Evidence) -> Run:
    """The run with what `evidence` adds to its findings; the same run when it adds nothing."""
    noted = _NOTED.get(type(evidence))
    return noted(run, evidence) if noted else run


def objection_to_deciding(run: Run) -> str:
    """Why there is nothing for a person to decide about a run; empty when there is."""
    if run.status in OPEN:
        return f"it is still under way ({run.status})"
    if run.basis is Basis.PROOF:
        return f"it was proven: {run.status}, {run.reason}"
    if run.decision is not None:
        return f"{run.decision.who} has settled it as {run.decision.outcome} already"
    if run.verdict is not None:
        return f"proof has come meanwhile and is about to count: {run.verdict.reason}"
    return "" if run.status in AMENDABLE else f"it is {run.status}"


def identify(directory: str, workspace: str | None, first: Evidence, anchor: str) -> str:
    """The id of the run that `first` opens: a digest of content, so that re-reading gives the same id.

    An anchor says it all: it is a digest of the log's place and of the line that opened the run. So does the id of a
    wrapper's record.
    """
    if isinstance(first, ev.CommandStarted):
        return "run-" + hashlib.sha256(first.record_id.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    lock_id = first.lock_id if isinstance(first, ev.LockTaken) else repr(first)
    seed = anchor or "\0".join((directory, workspace or "", lock_id))
    return "run-" + hashlib.sha256(seed.encode("utf-8", "surrogateescape")).hexdigest()[:16]
