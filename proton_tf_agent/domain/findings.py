"""What one fact adds to what has been found about a run.

Findings only accumulate: what a fact notes depends on nothing but the findings before it.
"""

from __future__ import annotations

from collections.abc import Callable

from . import evidence as ev
from .evidence import Evidence
from .run import AMENDABLE, Counts, Lock, Log, Run, RunStatus, Wrapped, Wrapper
from .values import replace


def _operation_started(run: Run, e: ev.OperationStarted) -> Run:
    return replace(run, tool=e.tool, version=e.version, form=e.form, log=Log.OPEN, log_started_at=e.at)


def _command_started(run: Run, e: ev.CommandStarted) -> Run:
    if run.wrapped is not None:
        return replace(run, wrapped=replace(run.wrapped, exited_at=run.wrapped.exited_at or e.ended_at))
    wrapped = Wrapped(
        e.record_id, command=e.command, detailed=e.detailed, listens=e.listens, files=e.files,
        on_terminal=e.on_terminal, job=e.job, exited_at=e.ended_at,
    )  # fmt: skip
    return replace(run, wrapped=wrapped, operation=e.operation, verdict=None)


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
    return replace(run, lock=lock, log=Log.CLOSED if run.log is Log.OPEN else run.log)


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


def _log_overwritten(run: Run, _e: ev.LogOverwritten) -> Run:
    if run.log is Log.CLOSED:
        return run  # all it had to say was read before
    waiting = run.verdict
    if waiting is not None and (
        waiting.status is RunStatus.PLANNED_AND_FINISHED or (waiting.status is RunStatus.CANCELED and not run.errors)
    ):
        waiting = None  # it waited for what has not been read: errors, or the summary of a run that was asked to stop
    return replace(run, log=Log.OVERWRITTEN, verdict=waiting)


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
    ev.ApprovalDeclined: lambda run, e: replace(run, awaits_approval=False, declined=True),
    ev.CrashReported: lambda run, e: replace(run, crashed=True),
    ev.OutcomeContradicted: lambda run, e: replace(run, misled=True),
    ev.HostRestarted: _host_restarted,
    ev.StateSaveFailed: lambda run, e: replace(run, state_saved=False),
    ev.LogClosed: _log_closed,
    ev.LogOverwritten: _log_overwritten,
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
