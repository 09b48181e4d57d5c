"""Correlation: which run a fact belongs to.

Asked in this order: the id of the wrapper's record, the log's anchor (the digest of its `version` line), Terraform's
lock id, then the one open run of the directory and workspace that still lacks what the fact brings. A `version` line, a
run's lock or a record that belongs to nobody opens a new run.

A log may lie above the directory whose state is locked (`terraform -chdir=envs/prod apply > apply.log`): an open
run without a lock and a lock without a log are one run if one directory contains the other and the lock was taken
within LINK_WINDOW seconds of the `version` line.

Of a lock that came and went unread nobody knows who had it: where no run is on in its very directory, `passed_locks`
says whose it was.

A log that a wrapped command prints is the wrapper's run: its record names the files, a pipe and a terminal leave the
directory and the time. Where the wrapper listens, its record tells whatever the log does, and the log says nothing
(`Run.echo`), unless the wrapper has died.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from . import evidence as ev
from .evidence import Fact, Form, Operation
from .run import AMENDABLE, Lock, Log, Run, RunStatus
from .values import replace

LINK_WINDOW = 60.0
CLOCK_SLACK = 1.0
ECHO_WINDOW = 10.0
VERSION_LINE_SLACK = 0.05
FILE_TIME_SLACK = 0.01  # the kernel stamps files by a clock that ticks 100 to 1000 times a second
LAST_WORDS = 2.0
PIPE_LAG = 0.5  # until what Terraform has printed last has come through a filter


def correlate(
    runs: Sequence[Run],
    fact: Fact,
    directory: str,
    workspace: str | None,
    recorded_state: str = "",
    written_at: float | None = None,
    file: tuple[int, int] | None = None,
) -> Run | None:
    """The run among `runs` (those open, those that ended lately in the directory, and any that share the anchor or lock
    id) that the fact is about.

    recorded_state is the state that `init` has written down for the directory: it may lie, and be locked, elsewhere.
    written_at is when the file that the fact was found in was last written, file which one it is.
    """
    evidence = fact.evidence
    if fact.record_id:
        known = next((run for run in runs if run.wrapped and run.wrapped.record_id == fact.record_id), None)
        if known or not isinstance(evidence, ev.CommandStarted):
            return known
        return _nearest((run for run in runs if _awaits_record(run, directory, workspace, evidence)), directory)
    if fact.anchor:
        known = next((run for run in runs if fact.anchor in (run.anchor, run.echo)), None)
        if known or not isinstance(evidence, ev.OperationStarted):
            return known
        wrapped = _one(run for run in runs if _was_wrapped(run, directory, evidence, written_at, file))
        if wrapped:
            return wrapped
        spoken = _one(run for run in runs if _speaks_twice(run, directory, evidence))
        logless = (run for run in runs if _awaits_log(run, directory, evidence, recorded_state))
        return spoken or _nearest(logless, directory) or _that_missed_its_log(runs, directory, evidence, written_at)
    if isinstance(evidence, ev.LockTaken | ev.LockReleased | ev.LockReplaced | ev.HolderGone | ev.TracesGone):
        known = next((run for run in runs if run.lock_id == evidence.lock_id), None)
        if known or not isinstance(evidence, ev.LockTaken):
            return known
        if evidence.operation not in ev.OPERATION_OF_LOCK:
            return None
        awaiting = [run for run in runs if _awaits_lock(run, directory, workspace, evidence)]
        elsewhere = [run for run in awaiting if run.recorded_state == evidence.state_path != "" and run.is_open]
        if elsewhere:
            return _one(elsewhere)
        if any(run.is_open for run in awaiting):
            return _nearest(_at_work([run for run in awaiting if run.is_open], evidence), directory)
        return _one(awaiting) or _one(run for run in runs if _goes_on_to_apply(run, directory, workspace, evidence))
    if isinstance(evidence, ev.LockPassed):
        return _one(run for run in runs if _may_have_locked(run, directory, workspace))
    return _one(run for run in runs if _lives_in(run, directory, workspace))


def opens_run(fact: Fact) -> bool:
    """Whether a fact that belongs to no known run begins a new one."""
    if isinstance(fact.evidence, ev.LockTaken):
        return fact.evidence.operation in ev.OPERATION_OF_LOCK
    return isinstance(fact.evidence, ev.OperationStarted | ev.CommandStarted)


def begin(
    fact: Fact, directory: str, workspace: str | None, log_path: str, now: float, recorded_state: str = ""
) -> Run:
    """The run that `fact` opens; now is when it began unless the fact knows better."""
    evidence = fact.evidence
    at = getattr(evidence, "at", None) or getattr(evidence, "created_at", None)
    return Run(
        run_id=identify(directory, workspace, evidence, fact.anchor),
        directory=directory,
        workspace=workspace,
        started_at=at or now,
        anchor=fact.anchor,
        log_path=log_path,
        recorded_state=recorded_state,
    )


def tie(run: Run, fact: Fact, directory: str, workspace: str | None, log_path: str) -> Run:
    """The run with whatever the fact's place adds to its identity: its log, its lock's directory, its workspace."""
    if isinstance(fact.evidence, ev.OperationStarted) and fact.anchor != run.anchor:
        if fact.record_id:
            run = _heard_anew(run, fact.anchor)
        elif run.is_heard:
            return replace(run, echo=fact.anchor)
        elif run.wrapped and run.wrapped.listens:  # but no more
            run = replace(_heard_anew(run, fact.anchor), echo="", log_path=log_path)
        else:
            run = _with_log(run, fact.anchor, log_path, fact.evidence.form)
    if fact.anchor and fact.anchor == run.echo:
        return run
    is_taken, is_passed = isinstance(fact.evidence, ev.LockTaken), isinstance(fact.evidence, ev.LockPassed)
    if (is_taken and run.lock is Lock.UNSEEN) or ((is_taken or is_passed) and not run.lock_directory):
        run = replace(run, lock_directory=directory, workspace=workspace)
    if fact.anchor and log_path and run.log_path != log_path:
        run = replace(run, log_path=log_path)  # the log was moved or copied; its newest place is watched
    return run


def follows(later: Run, run: Run, over_at: float | None) -> bool:
    """Whether a run that began later than another began behind its end; over_at is when that was, as far as known.

    Runs of one state take turns at its lock. Others may overlap: workspaces, directories, a run inside of a run. Where
    neither the states nor the time tell, runs of one directory and workspace are taken for runs of one state.
    """
    if later.state_path and run.state_path:
        if later.state_path == run.state_path:
            return True
    elif over_at is None or run.lock is Lock.ABANDONED:
        same_workspace = None in (later.workspace, run.workspace) or later.workspace == run.workspace
        return later.directory == run.directory and same_workspace
    return over_at is not None and over_at < later.started_at


def _with_log(run: Run, anchor: str, log_path: str, form: Form) -> Run:
    """The run with its log; of two that tell the same the JSON log counts, for it tells it without loss."""
    if not run.anchor:
        return replace(run, anchor=anchor, log_path=log_path)
    if run.form in (None, form):
        return run
    if form is Form.HUMAN:
        return replace(run, echo=anchor)
    return replace(_heard_anew(run, anchor), log_path=log_path)


def _heard_anew(run: Run, anchor: str) -> Run:
    """The run with a better log than the one it had: what that told is told again."""
    return replace(
        run, anchor=anchor, echo=run.anchor or run.echo, position=-1,
        planned=0, planned_deletes=0, applied=0, errored=0, errors=0,
    )  # fmt: skip


def _awaits_record(run: Run, directory: str, workspace: str | None, started: ev.CommandStarted) -> bool:
    """Whether a run that was known by its log or its lock may be the one a wrapper has started: it began behind it."""
    if run.wrapped is not None or directory not in run.directories:
        return False
    if workspace is not None and run.workspace not in (None, workspace):
        return False
    open_or_unproven = run.is_open or run.status in AMENDABLE
    return open_or_unproven and -FILE_TIME_SLACK <= run.started_at - started.at <= LINK_WINDOW


def _was_wrapped(
    run: Run, directory: str, started: ev.OperationStarted, written_at: float | None, file: tuple[int, int] | None
) -> bool:
    """Whether a log that begins now is of a run whose wrapper was at work then.

    The wrapper knows which files Terraform prints to. What goes through a pipe may come to lie in a log of any name,
    and what goes to a terminal only if somebody records that.
    """
    wrapped = run.wrapped
    if wrapped is None or not (run.directory == directory or contains(directory, run.directory)):
        return False
    has_log = run.log is Log.OPEN or (run.anchor and run.log is Log.ABSENT)
    if not run.is_heard and has_log:
        return False
    at = started.at
    if at is not None and run.form is Form.JSON and run.log_started_at is not None:
        return at == run.log_started_at  # the very same line
    if wrapped.files and (run.is_open or file in wrapped.files):
        return file in wrapped.files
    recorded_terminal = wrapped.on_terminal and at is None and run.directory == directory
    if not (wrapped.files or wrapped.listens or recorded_terminal or (at is not None and wrapped.writes_json_aside)):
        return False  # it prints to nowhere
    at = written_at if at is None else at
    ended_at = wrapped.exited_at or run.ended_at
    if at is None:
        return run.is_open
    return run.started_at - FILE_TIME_SLACK <= at and (ended_at is None or at <= ended_at + PIPE_LAG)


def _speaks_twice(run: Run, directory: str, started: ev.OperationStarted) -> bool:
    """Whether a log of the other form that begins now tells of a run that is on: `-json-into=FILE`.

    OpenTofu alone has that option, and it prints the `version` line before anything else: a JSON log that begins behind
    the run's lock, or behind its first words for people, is a second command's (refused, or in another workspace).
    """
    here = run.is_open and run.directory == directory and run.anchor and not run.echo
    if not here or run.form in (None, started.form) or run.log is not Log.OPEN or run.summary or run.errors:
        return False
    tool = started.tool if started.form is Form.JSON else run.tool  # a human log need not say whose it is
    if tool != "tofu" or run.lock not in (Lock.UNSEEN, Lock.HELD):
        return False
    if started.at is None:
        return True
    since = started.at - run.started_at
    return since <= VERSION_LINE_SLACK and (run.lock is Lock.HELD or since >= -ECHO_WINDOW)


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


def _awaits_log(run: Run, directory: str, started: ev.OperationStarted, recorded_state: str) -> bool:
    if not run.is_open or run.log is not Log.ABSENT or run.anchor or run.wrapped:
        return False
    if recorded_state and run.state_path == recorded_state:
        return True
    # A run that was opened by its lock began when that was taken, and its `version` line was printed before.
    near = started.at is None or -LINK_WINDOW <= started.at - run.started_at <= VERSION_LINE_SLACK
    return near and (run.directory == directory or contains(directory, run.directory))


def _that_missed_its_log(
    runs: Iterable[Run], directory: str, started: ev.OperationStarted, written_at: float | None
) -> Run | None:
    """The run that is over as far as its lock told and whose log has only come now: moved in, or flushed at its end.

    A JSON log tells when it began, which is shortly before the run's lock was taken; a human log was last written when
    the lock was given back.
    """
    missed = [
        run for run in runs
        if run.log is Log.ABSENT and not run.anchor and not run.wrapped and run.status in AMENDABLE
        and (run.directory == directory or contains(directory, run.directory))
    ]  # fmt: skip
    at = started.at
    if at is not None:
        near = [run for run in missed if -LINK_WINDOW <= at - run.started_at <= VERSION_LINE_SLACK]
        return min(near, key=lambda run: run.started_at, default=None)
    ends = {run.run_id: abs(written_at - run.ended_at) for run in missed if written_at and run.ended_at}
    last = [run for run in missed if ends.get(run.run_id, LAST_WORDS) < LAST_WORDS]
    return min(last, key=lambda run: ends[run.run_id], default=None)


def _goes_on_to_apply(run: Run, directory: str, workspace: str | None, lock: ev.LockTaken) -> bool:
    """Whether a plan in a human log that is still written goes on to its apply: `terraform plan -out=p; terraform apply
    p` in one log. With TF_IN_AUTOMATION set, that prints what an apply alone prints."""
    planned = run.status in (RunStatus.PLANNED, RunStatus.PLANNED_AND_FINISHED, RunStatus.APPLYING)
    # A lock that has changed hands between two looks is told before what the log says of the plan.
    over = (run.lock is Lock.RELEASED and planned) or (run.lock is Lock.REPLACED and run.is_open)
    if not over or run.operation is not Operation.PLAN or run.form is not Form.HUMAN or run.log is not Log.OPEN:
        return False
    here = directory in run.directories and (workspace is None or run.workspace in (None, workspace))
    return here and ev.OPERATION_OF_LOCK.get(lock.operation) is Operation.APPLY


def _at_work(runs: Sequence[Run], lock: ev.LockTaken) -> list[Run]:
    """Those of open runs that may have taken a lock behind which no other of them has begun in the same log; and rather
    those whose JSON log began before that was taken: a run inside of a run begins behind the outer one's lock."""
    goes_on = {run.log_path for run in runs if run.log is Log.OPEN}
    last = [run for run in runs if run.log is not Log.CLOSED or run.log_path not in goes_on]
    at = lock.created_at
    begun = [run for run in last if at is None or (run.log_started_at or at) <= at + VERSION_LINE_SLACK]
    return begun or last


def _awaits_lock(run: Run, directory: str, workspace: str | None, lock: ev.LockTaken) -> bool:
    if run.lock is not Lock.UNSEEN or run.refused or not (run.is_open or _was_on(run, lock)):
        return False
    if workspace is not None and run.workspace not in (None, workspace):
        return False
    # Terraform prints its `version` line first: an older lock is another's, for which it waits. A human log begins with
    # whatever is printed first, which is after the lock was taken.
    slack = LINK_WINDOW if run.form is Form.HUMAN else CLOCK_SLACK
    if lock.created_at is not None and lock.created_at < run.started_at - slack:
        return False
    if _had_spoken(run, lock) or _had_ended(run, lock) or _had_exited(run, lock):
        return False
    if run.directory == directory or (lock.state_path and run.recorded_state == lock.state_path):
        return True
    near = lock.created_at is None or abs(lock.created_at - run.started_at) <= LINK_WINDOW
    return near and contains(run.directory, directory)


def _had_spoken(run: Run, lock: ev.LockTaken) -> bool:
    """Whether a run had said before the lock was taken what Terraform says behind that. Its log may still be open: of a
    plan, behind which the same script applies. A human log that is open may go on to that, and where two write into one
    log nobody knows who has spoken."""
    may_go_on = run.misled or (run.form is Form.HUMAN and run.is_open)
    return not may_go_on and spoke_before(run, lock)


def spoke_before(run: Run, lock: ev.LockTaken) -> bool:
    """Whether all that was read of a run's log was there before a lock was taken, as far as both have a time."""
    if run.log_spoke_at is None or lock.created_at is None:
        return False
    return lock.created_at > run.log_spoke_at + FILE_TIME_SLACK


def _had_ended(run: Run, lock: ev.LockTaken) -> bool:
    """Whether a run's log had got its last line before the lock was taken: Terraform prints its `version` line before,
    and everything else later."""
    if run.log is not Log.CLOSED or run.log_written_at is None or lock.created_at is None:
        return False
    slack = FILE_TIME_SLACK
    if run.form is Form.JSON:
        slack = VERSION_LINE_SLACK if run.position > 0 else CLOCK_SLACK
    return lock.created_at > run.log_written_at + slack


def _had_exited(run: Run, lock: ev.LockTaken) -> bool:
    """Whether the wrapper saw Terraform end before the lock was taken."""
    exited_at = run.wrapped.exited_at if run.wrapped else None
    return exited_at is not None and lock.created_at is not None and lock.created_at > exited_at


def _may_have_locked(run: Run, directory: str, workspace: str | None) -> bool:
    """Whether a lock that nobody read may have been this run's, on in that directory: it tells where the run's state
    is, no more."""
    return run.is_open and run.directory == directory and lacks_lock(run, workspace)


def lacks_lock(run: Run, workspace: str | None) -> bool:
    """Whether nothing is known of a run's lock, and it may have one of that workspace."""
    if run.lock is not Lock.UNSEEN or run.refused or run.state_path:
        return False
    return workspace is None or run.workspace in (None, workspace)


def _was_on(run: Run, lock: ev.LockTaken) -> bool:
    """Whether an ended run was on when the lock was taken: its log may be read to the end before its lock is. With a
    human log it began when that was first looked at, or earlier."""
    ended_at = (run.wrapped and run.wrapped.exited_at) or run.ended_at
    if ended_at is None or lock.created_at is None:
        return False
    began_at = run.started_at - (LINK_WINDOW if run.form is Form.HUMAN and run.log_spoke_at is not None else 0.0)
    return began_at <= lock.created_at <= min(ended_at, run.started_at + LINK_WINDOW)


def _lives_in(run: Run, directory: str, workspace: str | None) -> bool:
    here = directory in run.directories
    return run.is_open and here and (workspace is None or run.workspace in (None, workspace))


def contains(parent: str, child: str) -> bool:
    """Whether one directory lies below another."""
    return child.startswith(parent.rstrip("/") + "/")


def identify(directory: str, workspace: str | None, first: ev.Evidence, anchor: str) -> str:
    """The id of the run that `first` opens: a digest of content, so that re-reading gives the same id.

    An anchor says it all: it is a digest of the log's place and of the line that opened the run. So does the id of a
    wrapper's record.
    """
    if isinstance(first, ev.CommandStarted):
        return "run-" + hashlib.sha256(first.record_id.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    lock_id = first.lock_id if isinstance(first, ev.LockTaken) else repr(first)
    seed = anchor or "\0".join((directory, workspace or "", lock_id))
    return "run-" + hashlib.sha256(seed.encode("utf-8", "surrogateescape")).hexdigest()[:16]
