"""How a run goes: one transition table, and `fold`, which applies one fact to one run.

Theory. A run is what has been *found* about it so far (`Run`, frozen) plus one `RunStatus`. Every fact is first
noted: findings only accumulate, so a fact seen twice notes the same again. Then the first row of TRANSITIONS
whose sources hold the run's status, whose evidence is the fact's type and whose guard holds for the findings is
taken; no row means nothing changes. A row either moves the run at once (wait NOW) or *proposes a verdict* that
waits: SETTLE for a stronger source to speak or for the log to end, GRACE to be sure that a process is really
gone. A waiting verdict gives way only to one of equal or stronger basis; `Elapsed` makes it final once its time
has come, `NextRunBegan` at once unless more is on its way. A final status is amended only by a row of a stronger basis.

What the table promises:
- `applied` and `destroyed` stand on Terraform's own apply summary, or on the exit status 0 of an apply that the wrapper
  has waited for: no row leads there from silence, from time or from a missing file. The one exception has a name: a
  person's decision about a run that nothing has proven (`DecisionTaken`), to which the message bears witness; proof
  that comes later outranks it.
- As long as a wrapper is at work nothing else ends a run: it will say how Terraform ended.
- Error diagnostics come at the end of an operation (terraform internal/command/apply.go: the view prints them
  after the operation returned, before the deferred unlock), so "errors and the log closed" is proof of failure.
- Silence is a sign of death only where a log was read to its end: what was written over may have told a success.
- A lock that nobody holds although its info file is there means that its owner died (it is deleted before the
  unlock: internal/states/statemgr/filesystem.go, Unlock); that is an inference and the reason says so.

`docs/states.md` is generated from TRANSITIONS; a test holds both together. Table and fold stay in one file, however
long: neither is understood without the other.
"""

from __future__ import annotations

from collections.abc import Callable

from . import evidence as ev
from .evidence import Evidence, Fact, Form, Operation
from .findings import note
from .run import (
    AMENDABLE,
    DECIDABLE,
    FINAL,
    OPEN,
    Basis,
    Lock,
    Log,
    Patience,
    Run,
    RunStatus,
    Transition,
    Verdict,
    Wait,
)
from .values import Struct, replace

# --- guards: conditions on the findings, after the fact was noted -------------------------------------------


def always(run: Run) -> bool:
    """always"""
    return True


def lock_is_a_runs(run: Run) -> bool:
    """the lock's operation is plan, apply or refresh"""
    return run.operation is not None


def destroy_summarised(run: Run) -> bool:
    """the summary says destroy"""
    return run.operation is Operation.DESTROY


def destroyed_by_apply(run: Run) -> bool:
    """apply summary, only deletions planned, no outputs left"""
    return run.summary is not None and run.destroys_everything and not run.outputs


def summarised(run: Run) -> bool:
    """the apply summary was seen"""
    return run.summary is not None


def log_closed(run: Run) -> bool:
    """the log is closed"""
    return run.log is Log.CLOSED


def lock_not_held(run: Run) -> bool:
    """the lock is not held"""
    return run.lock is not Lock.HELD


def nothing_concluded(run: Run) -> bool:
    """no other verdict is waiting"""
    return run.verdict is None


def over(run: Run) -> bool:
    """the log is closed and the lock is not held"""
    return log_closed(run) and lock_not_held(run)


def over_and_refused(run: Run) -> bool:
    """over, and the lock was refused"""
    return over(run) and run.refused


def over_and_interrupted(run: Run) -> bool:
    """over, interrupted, and Terraform came to its own end (errors or a released lock)"""
    return over(run) and not summarised(run) and run.interrupted and (run.errors > 0 or run.lock is Lock.RELEASED)


def over_and_crashed(run: Run) -> bool:
    """over, and Terraform's own crash report was seen"""
    return over(run) and run.crashed and not summarised(run)


def died_with_its_host(run: Run) -> bool:
    """no apply summary, no error diagnostics, the run had not come to its own end, and its log was not written over"""
    ended = summarised(run) or run.errors or run.crashed or run.interrupted or run.refused
    unknown = run.log is Log.OVERWRITTEN and run.lock is not Lock.ABANDONED
    return not ended and not unknown and run.lock not in (Lock.RELEASED, Lock.REPLACED)


def over_with_errors(run: Run) -> bool:
    """over, with error diagnostics and no apply summary"""
    return over(run) and not summarised(run) and run.errors > 0


def over_and_abandoned(run: Run) -> bool:
    """over, and the lock's holder is gone"""
    return over(run) and run.lock is Lock.ABANDONED


def over_without_release(run: Run) -> bool:
    """over, no lock was seen to be released, and the log is no other run's, not contradictory and without outputs"""
    # Outputs are the last that Terraform says, of what went well (internal/command/apply.go): it was not killed.
    return over(run) and not run.misled and run.outputs is None and run.lock in (Lock.UNSEEN, Lock.REPLACED)


def over_and_was_a_plan(run: Run) -> bool:
    """over, and its lock was a plan's"""
    return over(run) and run.lock is not Lock.ABANDONED and run.operation is Operation.PLAN


def over_and_seems_a_plan(run: Run) -> bool:
    """over, and no lock says what it was"""
    return over(run) and run.lock is not Lock.ABANDONED and run.operation is None


def overwritten(run: Run) -> bool:
    """the log was written over before its end was read, and the lock is not held"""
    return run.log is Log.OVERWRITTEN and lock_not_held(run)


def overwritten_and_refused(run: Run) -> bool:
    """log written over, and the lock was refused"""
    return overwritten(run) and run.refused


def overwritten_and_interrupted(run: Run) -> bool:
    """log written over, interrupted, with error diagnostics"""
    return overwritten_with_errors(run) and run.interrupted


def overwritten_and_crashed(run: Run) -> bool:
    """log written over, and Terraform's own crash report was seen"""
    return overwritten(run) and run.crashed and not summarised(run)


def overwritten_with_errors(run: Run) -> bool:
    """log written over, with error diagnostics and no apply summary"""
    return overwritten(run) and not summarised(run) and run.errors > 0


def overwritten_and_abandoned(run: Run) -> bool:
    """log written over, and the lock's holder is gone"""
    return overwritten(run) and run.lock is Lock.ABANDONED


def released_and_interrupted(run: Run) -> bool:
    """log open, interrupted, with errors or a released lock"""
    ended = released_with_log(run) or (run.errors > 0 and lock_not_held(run))
    return run.log is Log.OPEN and run.interrupted and not summarised(run) and ended


def unlocked_and_crashed(run: Run) -> bool:
    """log open, lock not held, with Terraform's own crash report"""
    return run.log is Log.OPEN and lock_not_held(run) and run.crashed and not summarised(run)


def unlocked_with_errors(run: Run) -> bool:
    """log open, lock not held, with error diagnostics"""
    return run.log is Log.OPEN and lock_not_held(run) and not summarised(run) and run.errors > 0


def released_and_was_a_plan(run: Run) -> bool:
    """log open, lock released, operation plan"""
    return released_with_log(run) and run.operation is Operation.PLAN


def released_with_log(run: Run) -> bool:
    """log open, lock released or replaced"""
    return run.log is Log.OPEN and run.lock in (Lock.RELEASED, Lock.REPLACED)


def log_open(run: Run) -> bool:
    """the log is open"""
    return run.log is Log.OPEN


def no_log(run: Run) -> bool:
    """no log was found"""
    return run.log is Log.ABSENT


def released_without_log(run: Run) -> bool:
    """no log was found, and no lock is held or was left behind"""
    return no_log(run) and run.lock not in (Lock.ABANDONED, Lock.HELD)


def abandoned_with_log(run: Run) -> bool:
    """the log is open, the lock's holder is gone"""
    return log_open(run) and run.lock is Lock.ABANDONED


def abandoned_without_log(run: Run) -> bool:
    """no log was found, the lock's holder is gone"""
    return no_log(run) and run.lock is Lock.ABANDONED


def destroy_has_succeeded(run: Run) -> bool:
    """status 0 of a destroy"""
    return _has_succeeded(run) and run.operation is Operation.DESTROY


def everything_was_destroyed(run: Run) -> bool:
    """status 0 of an apply, only deletions planned, no outputs left"""
    return apply_has_succeeded(run) and run.destroys_everything and not run.outputs


def apply_has_succeeded(run: Run) -> bool:
    """status 0 of an apply or a refresh"""
    return _has_succeeded(run) and run.operation in (Operation.APPLY, Operation.REFRESH)


def plan_is_complete(run: Run) -> bool:
    """status 0 of a plan, or 2 with -detailed-exitcode"""
    found = run.wrapped is not None and run.wrapped.has_found_changes
    return run.operation is Operation.PLAN and (_has_succeeded(run) or found)


def refused(run: Run) -> bool:
    """the lock was refused"""
    return run.refused


def stopped(run: Run) -> bool:
    """interrupted, not approved, or ended by SIGINT or SIGTERM"""
    return run.interrupted or run.declined or (run.wrapped is not None and run.wrapped.exit_signal in _STOP_SIGNALS)


def killed(run: Run) -> bool:
    """ended by a signal"""
    return run.wrapped is not None and run.wrapped.exit_signal != 0


_STOP_SIGNALS = (2, 15)  # SIGINT, SIGTERM: signal(7)


def _has_succeeded(run: Run) -> bool:
    return run.wrapped is not None and run.wrapped.has_succeeded


def decided_as_success(run: Run) -> bool:
    """the decision says: succeeded"""
    return run.decision is not None and run.decision.succeeded


# --- the table ----------------------------------------------------------------------------------------------


class Row(Struct, frozen=True):
    """From any of `sources`, on `evidence`, when `guard` holds: `target`."""

    sources: frozenset[RunStatus]
    evidence: tuple[type, ...]
    guard: Callable[[Run], bool]
    target: RunStatus
    reason: str
    basis: Basis | None = None
    wait: Wait = Wait.NOW


def _from(*statuses: RunStatus) -> frozenset[RunStatus]:
    return frozenset(statuses)


S, B, W = RunStatus, Basis, Wait
UNPROVEN = AMENDABLE | DECIDABLE  # `fold` lets no fact come near a final status that rests on proof
RELEASES = (ev.LockReleased, ev.LockReplaced)
OTHER_ENDS = (*RELEASES, ev.HolderGone, ev.HostRestarted, ev.WrapperGone)
ENDS = (ev.LogClosed, *OTHER_ENDS)
CUTS = (ev.LogOverwritten, *OTHER_ENDS)

TRANSITIONS: tuple[Row, ...] = (
    # How a run gets under way.
    Row(_from(S.PENDING), (ev.OtherCommandStarted,), always, S.NO_RUN, "the command is no run"),
    Row(_from(S.PENDING), (ev.CommandStarted,), always, S.PLANNING, "the wrapper has started Terraform"),
    Row(_from(S.PENDING), (ev.LockTaken,), lock_is_a_runs, S.PLANNING, "the state lock was taken"),
    Row(_from(S.PENDING), (ev.ResourceRefreshed, ev.ChangePlanned), always, S.PLANNING, "planning is under way"),
    Row(_from(S.PENDING, S.PLANNING), (ev.PlanSummarised,), always, S.PLANNED, "the plan is summarised"),
    Row(
        _from(S.PENDING, S.PLANNING, S.PLANNED, S.PLANNED_AND_FINISHED),
        (ev.ApplyStarted,), always, S.APPLYING, "the first resource is being changed",
    ),
    # Success, which only Terraform's own summary can prove. Its outputs follow within milliseconds.
    Row(
        OPEN | UNPROVEN, (ev.ApplySummarised,), destroy_summarised, S.DESTROYED,
        "the log says: destroy complete", B.PROOF,
    ),
    Row(
        OPEN | UNPROVEN, (ev.ApplySummarised,), always, S.APPLIED,
        "the log says: apply complete", B.PROOF, W.SETTLE,
    ),
    Row(
        OPEN | UNPROVEN, (ev.OutputsReported,), destroyed_by_apply, S.DESTROYED,
        "the log says: apply complete, and everything was deleted", B.PROOF,
    ),
    Row(OPEN | UNPROVEN, (ev.OutputsReported,), summarised, S.APPLIED, "the log says: apply complete", B.PROOF),
    Row(
        OPEN, (ev.LogClosed, ev.LogOverwritten, ev.TracesGone, ev.HostRestarted, ev.WrapperGone), summarised,
        S.APPLIED, "the log says: apply complete", B.PROOF,
    ),
    # The wrapper has waited for Terraform: its exit status is proof.
    Row(
        OPEN | UNPROVEN, (ev.ProcessExited,), destroy_has_succeeded, S.DESTROYED,
        "Terraform exited with status 0", B.PROOF,
    ),
    Row(
        OPEN | UNPROVEN, (ev.ProcessExited,), everything_was_destroyed, S.DESTROYED,
        "Terraform exited with status 0, and everything was deleted", B.PROOF,
    ),
    Row(
        OPEN | UNPROVEN, (ev.ProcessExited,), apply_has_succeeded, S.APPLIED,
        "Terraform exited with status 0", B.PROOF,
    ),
    Row(OPEN, (ev.ProcessExited,), plan_is_complete, S.PLANNED_AND_FINISHED, "the plan is complete", B.INFERENCE),
    Row(OPEN | UNPROVEN, (ev.ProcessExited,), refused, S.ERRORED, "the state lock was refused", B.PROOF, W.GRACE),
    Row(
        OPEN | UNPROVEN, (ev.ProcessExited,), stopped, S.CANCELED,
        "Terraform was interrupted and stopped", B.PROOF,
    ),
    Row(OPEN | UNPROVEN, (ev.ProcessExited,), killed, S.ERRORED, "Terraform was ended by a signal", B.PROOF),
    Row(
        OPEN | UNPROVEN, (ev.ProcessExited,), always, S.ERRORED,
        "Terraform exited with a status that means failure", B.PROOF,
    ),
    # A refused lock ends the command. Whose outcome counts is decided when the notification is composed; until then the
    # run that holds the lock must have had time to be seen.
    Row(OPEN, (ev.LockRefused,), always, S.ERRORED, "the state lock was refused", B.PROOF, W.SETTLE),
    Row(OPEN, ENDS, over_and_refused, S.ERRORED, "the state lock was refused", B.PROOF, W.GRACE),
    Row(OPEN, (ev.ApprovalDeclined,), always, S.CANCELED, "the plan was not approved", B.PROOF),
    Row(
        OPEN, (ev.HostRestarted,), died_with_its_host, S.LOST,
        "inferred: the machine was restarted and the run left no verdict", B.INFERENCE,
    ),
    # Log and lock are gone from disk, and whoever wrote them too. What was read of them before counts; what was not is
    # not known to say that Terraform failed, or that it was killed.
    Row(OPEN, (ev.TracesGone,), over_and_refused, S.ERRORED, "the state lock was refused", B.PROOF, W.GRACE),
    Row(OPEN, (ev.TracesGone,), over_and_interrupted, S.CANCELED, "Terraform was interrupted and stopped", B.PROOF),
    Row(OPEN, (ev.TracesGone,), over_and_crashed, S.ERRORED, "Terraform crashed", B.PROOF),
    Row(OPEN, (ev.TracesGone,), over_with_errors, S.ERRORED, "Terraform reported errors", B.PROOF),
    Row(
        OPEN, (ev.TracesGone,), nothing_concluded, S.UNDETERMINED,
        "its files are gone, and what was read of them tells no outcome", B.INFERENCE, W.SETTLE,
    ),
    # The log was written over before its end was read. What was read of it counts, and a lock that was left behind
    # still tells of a death. But who was asked to stop may have succeeded, and a plan may have failed or gone on.
    Row(OPEN, CUTS, overwritten_and_refused, S.ERRORED, "the state lock was refused", B.PROOF, W.GRACE),
    Row(OPEN, CUTS, overwritten_and_interrupted, S.CANCELED, "Terraform was interrupted and stopped", B.PROOF),
    Row(OPEN, CUTS, overwritten_and_crashed, S.ERRORED, "Terraform crashed", B.PROOF),
    Row(OPEN, CUTS, overwritten_with_errors, S.ERRORED, "Terraform reported errors", B.PROOF),
    Row(
        OPEN, CUTS, overwritten_and_abandoned, S.LOST,
        "inferred: nobody holds the lock any more, and the log was written over before its end was read",
        B.INFERENCE, W.GRACE,
    ),
    Row(
        OPEN, CUTS, overwritten, S.UNDETERMINED,
        "its log was written over before its end was read", B.INFERENCE, W.SETTLE,
    ),
    # The log is closed and nobody holds the lock: what was found is all there is.
    Row(OPEN, ENDS, over_and_interrupted, S.CANCELED, "Terraform was interrupted and stopped", B.PROOF),
    Row(OPEN, ENDS, over_and_crashed, S.ERRORED, "Terraform crashed", B.PROOF),
    Row(OPEN, ENDS, over_with_errors, S.ERRORED, "the log ends with error diagnostics", B.PROOF),
    Row(
        OPEN, ENDS, over_and_abandoned, S.LOST,
        "inferred: the log ends without a verdict and nobody holds the lock any more", B.INFERENCE, W.GRACE,
    ),
    Row(_from(S.PLANNED), ENDS, over_and_was_a_plan, S.PLANNED_AND_FINISHED, "the plan is complete", B.INFERENCE),
    # The lock of an apply that was killed at once may be seen after the end of its log.
    Row(
        _from(S.PLANNED), ENDS, over_and_seems_a_plan, S.PLANNED_AND_FINISHED,
        "the plan is complete", B.INFERENCE, W.GRACE,
    ),
    Row(
        OPEN, ENDS, over_without_release, S.LOST,
        "inferred: the log ends without a verdict and nobody writes it any more", B.INFERENCE, W.GRACE,
    ),
    Row(OPEN, ENDS, over, S.UNDETERMINED, "Terraform ended in order but its log tells no outcome", B.INFERENCE),
    # The log stays open (a script writes it, or its end was not seen) although the operation is over.
    Row(
        OPEN, (*RELEASES, ev.WrapperGone, ev.ErrorReported), released_and_interrupted, S.CANCELED,
        "Terraform was interrupted and stopped", B.PROOF, W.SETTLE,
    ),
    Row(
        OPEN, (*RELEASES, ev.HolderGone, ev.WrapperGone, ev.CrashReported), unlocked_and_crashed, S.ERRORED,
        "Terraform crashed", B.PROOF, W.SETTLE,
    ),
    Row(
        OPEN, (*RELEASES, ev.HolderGone, ev.WrapperGone, ev.ErrorReported), unlocked_with_errors, S.ERRORED,
        "Terraform reported errors", B.PROOF, W.SETTLE,
    ),
    Row(
        _from(S.PLANNED), (*RELEASES, ev.WrapperGone), released_and_was_a_plan, S.PLANNED_AND_FINISHED,
        "the plan is complete", B.INFERENCE, W.SETTLE,
    ),
    Row(
        OPEN, (*RELEASES, ev.WrapperGone), released_with_log, S.UNDETERMINED,
        "the lock was released but the log tells no outcome", B.INFERENCE, W.SETTLE,
    ),
    Row(
        OPEN, (ev.HolderGone, ev.WrapperGone), abandoned_with_log, S.LOST,
        "inferred: nobody holds the lock any more and the log tells no outcome", B.INFERENCE, W.SETTLE,
    ),
    # No log at all: start and end are certain, the outcome is not.
    # A log may yet come (moved in, flushed at its end).
    Row(
        OPEN, (*RELEASES, ev.WrapperGone), released_without_log, S.UNDETERMINED,
        "the run ended and no log tells how", B.INFERENCE, W.GRACE,
    ),
    Row(
        OPEN, (ev.HolderGone, ev.WrapperGone), abandoned_without_log, S.LOST,
        "inferred: nobody holds the lock any more and there is no log", B.INFERENCE, W.GRACE,
    ),
    # A verdict that was only inferred gives way to a person's decision, and both to proof that arrives late
    # (block-buffered filters).
    Row(AMENDABLE, (ev.DecisionTaken,), decided_as_success, S.APPLIED, "a person decided: succeeded", B.DECISION),
    Row(AMENDABLE, (ev.DecisionTaken,), always, S.ERRORED, "a person decided: failed", B.DECISION),
    Row(UNPROVEN, (ev.ErrorReported,), always, S.ERRORED, "Terraform reported errors", B.PROOF),
)  # fmt: skip


_ROWS_ON: dict[type, tuple[Row, ...]] = {
    kind: tuple(row for row in TRANSITIONS if kind in row.evidence)
    for kind in {kind for row in TRANSITIONS for kind in row.evidence}
}


def fold(run: Run, evidence: Evidence, now: float, patience: Patience) -> tuple[Run, Transition | None]:
    """Apply one fact to one run.

    now is the wall clock in seconds: it dates transitions and measures waits, it never orders anything.
    Returns the run as it stands afterwards and the transition it made, if it made one.
    """
    if isinstance(evidence, ev.Elapsed):
        if run.verdict is None or not is_due(run.verdict, now, patience):
            return run, None
        return _move(run, run.verdict, evidence, now)
    if isinstance(evidence, ev.NextRunBegan) and run.status in FINAL:
        return run, None
    if isinstance(evidence, ev.NextRunBegan):
        run = replace(run, followed=True)
        if run.verdict is None or _awaits_more(run, run.verdict):
            return run, None
        return _move(run, run.verdict, evidence, now)
    if run.status in FINAL and run.basis is Basis.PROOF:
        # When it was over is worth knowing still: what began later is not of this run.
        return (note(run, evidence) if isinstance(evidence, ev.ProcessExited) else run), None
    if isinstance(evidence, _OUTCOMES) and _is_a_plan_that_is_over(run):
        evidence = ev.LogClosed()
    run = note(run, evidence)
    for row in _ROWS_ON.get(type(evidence), ()):
        if run.status in row.sources and row.guard(run):
            return _take(run, row, evidence, now, patience)
    return run, None


_OUTCOMES = (ev.ErrorReported, ev.CrashReported, ev.ApplySummarised)


def _is_a_plan_that_is_over(run: Run) -> bool:
    """Whether what a human log says now is another command's: the plan was printed whole and its lock given back. An
    apply that goes on in the log has a lock of its own, or has said what it changes; a wrapper hears one command."""
    planned = run.status in (RunStatus.PLANNED, RunStatus.PLANNED_AND_FINISHED) and run.wrapped is None
    return planned and run.form is Form.HUMAN and run.operation is Operation.PLAN and run.lock is Lock.RELEASED


def is_due(verdict: Verdict, now: float, patience: Patience) -> bool:
    """Whether a waiting verdict may become final. A date further away than any wait means that the clock was set
    back: due now."""
    return not now < verdict.due_at <= now + max(patience.settle, patience.grace)


def advance(run: Run, fact: Fact, now: float, patience: Patience) -> tuple[Run, Transition | None]:
    """`fold` for a fact that may have a place in the run's log: read twice it counts once, and a log that
    goes on after it seemed closed is open."""
    if fact.position is not None:
        if fact.position <= run.position:
            return run, None
        # Who seemed gone because the log was closed is not: such an inference has nothing left to stand on.
        # The same goes for who vanished with log and lock and is back with both.
        resumed = run.log in (Log.CLOSED, Log.OVERWRITTEN) and run.lock in (Lock.UNSEEN, Lock.GONE)
        verdict = None if resumed and not _is_proven(run.verdict) else run.verdict
        lock = Lock.HELD if resumed and run.lock is Lock.GONE else run.lock
        run = replace(run, position=fact.position, log=Log.OPEN, lock=lock, verdict=verdict)
    return fold(run, fact.evidence, now, patience)


def _awaits_more(run: Run, verdict: Verdict) -> bool:
    """Whether a verdict waits on although the next run has begun, and the last word about a resource must be the last
    run's: the outputs of a success are on their way, and where nothing was inferred a log may still tell that is open,
    or was renamed before the next run began in a file of its name."""
    unclear = run.log in (Log.OPEN, Log.OVERWRITTEN) and verdict.status is RunStatus.UNDETERMINED
    return unclear or verdict.status is RunStatus.APPLIED


def _is_proven(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.basis is Basis.PROOF


def _take(run: Run, row: Row, evidence: Evidence, now: float, patience: Patience) -> tuple[Run, Transition | None]:
    if row.basis is None:
        return _move(run, Verdict(row.target, Basis.INFERENCE, row.reason, now), evidence, now)
    if run.status in FINAL and run.basis is not None and row.basis <= run.basis:
        return run, None
    if run.verdict is not None and run.verdict.basis > row.basis:
        return run, None
    if run.is_wrapped:
        return run, None  # whatever ends it, the wrapper will say
    verdict = Verdict(row.target, row.basis, row.reason, now + patience.of(row.wait))
    if run.followed and not _awaits_more(run, verdict):
        verdict = replace(verdict, due_at=now)
    if verdict.due_at <= now:
        return _move(run, verdict, evidence, now)
    waiting = run.verdict
    if waiting is not None and (waiting.status, waiting.basis) == (verdict.status, verdict.basis):
        # The same verdict may come sooner, never later; why, the last fact knows best.
        verdict = replace(verdict, due_at=min(waiting.due_at, verdict.due_at))
    return replace(run, verdict=verdict), None


def _move(run: Run, verdict: Verdict, evidence: Evidence, now: float) -> tuple[Run, Transition]:
    final = verdict.status in FINAL
    waiting = None if final else run.verdict  # late lines of a run that is over do not make it run again,
    if verdict.status is RunStatus.APPLYING and waiting and waiting.status is RunStatus.PLANNED_AND_FINISHED:
        waiting = None  # but what applies was more than a plan
    moved = replace(
        run,
        status=verdict.status,
        reason=verdict.reason,
        basis=verdict.basis if final else None,
        ended_at=now if final else None,
        verdict=waiting,
        revision=run.revision + 1,
    )
    transition = Transition(
        run.run_id, run.status, moved.status, moved.basis, moved.reason, type(evidence).__name__, now
    )
    return moved, transition


def rows_behind(status: str, reason: str, evidence: str) -> tuple[int, ...]:
    """The numbers of the rows (docs/states.md) that may have moved a run: to `status`, for `reason`, on `evidence`.

    Where a verdict had waited, what made it final (time, the next run) is not what the row was taken on.
    """
    waited = evidence in (ev.Elapsed.__name__, ev.NextRunBegan.__name__)
    return tuple(
        number
        for number, row in enumerate(TRANSITIONS, 1)
        if (row.target.value, row.reason) == (status, reason)
        and (row.wait is not Wait.NOW if waited else evidence in (kind.__name__ for kind in row.evidence))
    )
