"""Status messages: what a notification says in words. Least text, never a diagnostic's detail, and nothing sensitive.

Source of the limit: that of `statusMessage`, botocore `proton/2020-07-20/service-2.json`.
"""

from __future__ import annotations

from collections.abc import Sequence

from .redaction import NOTHING_TAINTED, Taint, scrub
from .run import Basis, Counts, Run, RunStatus, Transition

MAX_MESSAGE = 5000
_CUT = " …"


def message_of(
    run: Run, transition: Transition, omitted: Sequence[tuple[str, str]], unreadable: str, taint: Taint
) -> str:
    """What is said of a run that takes a status: at most MAX_MESSAGE characters.

    omitted: (name, reason) of outputs that are not told; unreadable: why none could be had, empty when they could.
    """
    tell = _settled if transition.basis is Basis.DECISION else _SENTENCES[transition.status]
    text = tell(run, transition, taint)
    if unreadable:
        text += f" No outputs were sent ({unreadable})."
    if omitted:
        listed = ", ".join(f"{name} ({reason})" for name, reason in omitted)
        text += f" {len(omitted)} not sent: {listed}."
    known = taint if taint.known else NOTHING_TAINTED
    job = _job(run)
    job = f"\n{scrub(job, known)}" if job else ""
    text = scrub(text, known)  # what else is foreign: addresses, names, a lock id
    room = MAX_MESSAGE - len(job)
    return (text if len(text) <= room else text[: room - len(_CUT)] + _CUT) + job


def _job(run: Run) -> str:
    """The last line of a message: which CI job it was, as far as its environment told the wrapper."""
    job = run.wrapped.job if run.wrapped else None
    if job is None:
        return ""
    told = (
        f"commit {job.commit[:12]}" if job.commit else "",
        f"by {job.actor}" if job.actor else "",
        f"attempt {job.attempt}" if job.attempt else "",
    )
    said = " ".join(filter(None, told))
    return f"{job.system}: {', '.join(filter(None, (said, job.url)))}"


def _started(run: Run, _transition: Transition, _taint: Taint) -> str:
    verb = run.operation.value if run.operation else "plan"
    return f"Terraform {verb} started."


def _planned(run: Run, _transition: Transition, _taint: Taint) -> str:
    return f"Planned: {_to_do(run)}."


def _plan_finished(run: Run, _transition: Transition, _taint: Taint) -> str:
    if not run.has_changes and not run.lacks_changes:
        return "Plan complete. Nothing was applied."
    return f"Plan complete: {_to_do(run)}. Nothing was applied."


def _applying(run: Run, _transition: Transition, _taint: Taint) -> str:
    if run.plan is None and not run.has_changes:
        return "Applying a saved plan."  # its log does not tell again what was planned
    return f"Applying: {_to_do(run)}."


def _applied(run: Run, _transition: Transition, _taint: Taint) -> str:
    done = run.summary
    if done is None and run.wrapped is not None:
        return f"{_command(run)} exited with status 0."
    done = done or Counts()
    imported = f"{done.imported} imported, " if done.imported else ""
    return f"Apply complete: {imported}{done.add} added, {done.change} changed, {done.remove} destroyed."


def _destroyed(run: Run, _transition: Transition, _taint: Taint) -> str:
    if run.summary is None and run.wrapped is not None:
        return f"{_command(run)} exited with status 0."
    return f"Destroy complete: {(run.summary or Counts()).remove} destroyed."


def _errored(run: Run, transition: Transition, taint: Taint) -> str:
    if run.refused:
        holder = f" (held by {run.refused_by})" if run.refused_by else ""
        return f"The state lock could not be acquired{holder}. Nothing was changed."
    if run.wrapped is not None and not (run.errors or run.crashed):
        return f"{_ending(run)}.{_unsaved(run)}{_progress(run, transition)}"
    stage = "Apply" if _was_applying(run, transition) else "Plan"
    return f"{stage} failed: {_first_error(run, taint)}.{_unsaved(run)}{_progress(run, transition)}"


def _canceled(run: Run, transition: Transition, _taint: Taint) -> str:
    by = f" (run by {run.who})" if run.who else ""
    if run.wrapped is not None and run.wrapped.exit_signal:
        return f"Canceled: {_ending(run)}{by}.{_unsaved(run)}{_progress(run, transition)}"
    if not run.interrupted:  # nobody asked Terraform to stop: it asked, and the answer was no
        return f"Canceled: the plan was not approved{by}. Nothing was changed."
    return f"Canceled: Terraform was interrupted and stopped{by}.{_unsaved(run)}{_progress(run, transition)}"


def _command(run: Run) -> str:
    return f"Terraform {run.operation.value}" if run.operation else "Terraform"


def _ending(run: Run) -> str:
    """How Terraform ended, as the wrapper that waited for it has seen."""
    wrapped = run.wrapped
    if wrapped is None or wrapped.exit_status is None:
        return f"{_command(run)} failed"
    if wrapped.exit_signal:
        name = _SIGNALS.get(wrapped.exit_signal, f"signal {wrapped.exit_signal}")
        return f"{_command(run)} was ended by {name}"
    return f"{_command(run)} exited with status {wrapped.exit_status}"


_SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    6: "SIGABRT",
    9: "SIGKILL",
    11: "SIGSEGV",
    13: "SIGPIPE",
    15: "SIGTERM",
}  # signal(7)


def _lost(run: Run, transition: Transition, _taint: Taint) -> str:
    asked = " It had been asked to stop." if run.interrupted else ""
    why = run.reason.removeprefix("inferred: ")
    return f"Terraform is gone without a verdict (inferred: {why}).{asked}{_unsaved(run)}{_progress(run, transition)}"


def _settled(run: Run, transition: Transition, _taint: Taint) -> str:
    if run.decision is None:
        return run.reason
    before = _BEFORE_DECISION.get(transition.previous, "")
    reason = run.decision.reason.rstrip(".")
    return f"Settled as {run.decision.outcome} by {run.decision.who}: {reason}.{before}{_progress(run, transition)}"


_BEFORE_DECISION = {
    RunStatus.LOST: " Terraform itself was gone without a verdict.",
    RunStatus.UNDETERMINED: " Terraform itself had ended, and its outcome could not be told.",
    RunStatus.PLANNED_AND_FINISHED: " It had been seen as a plan.",
}


def _unsaid(run: Run, _transition: Transition, _taint: Taint) -> str:
    return run.reason


_SENTENCES = {
    RunStatus.PENDING: _unsaid,
    RunStatus.PLANNING: _started,
    RunStatus.PLANNED: _planned,
    RunStatus.PLANNED_AND_FINISHED: _plan_finished,
    RunStatus.APPLYING: _applying,
    RunStatus.APPLIED: _applied,
    RunStatus.DESTROYED: _destroyed,
    RunStatus.ERRORED: _errored,
    RunStatus.CANCELED: _canceled,
    RunStatus.LOST: _lost,
    RunStatus.UNDETERMINED: _unsaid,
    RunStatus.NO_RUN: _unsaid,
}


def _to_do(run: Run) -> str:
    if not run.has_changes:
        return "no changes"
    if run.plan is None:
        return f"{run.planned} changes" if run.planned else "changes"
    if not run.plan.total:
        return "only outputs or addresses change"
    imported = f"{run.plan.imported} to import, " if run.plan.imported else ""
    return f"{imported}{run.plan.add} to add, {run.plan.change} to change, {run.plan.remove} to destroy"


def _was_applying(run: Run, transition: Transition) -> bool:
    return transition.previous is RunStatus.APPLYING or bool(run.applied or run.errored)


def _first_error(run: Run, taint: Taint) -> str:
    crashed = "Terraform crashed" if run.crashed else ""
    if not run.errors and crashed:
        return crashed
    summary = scrub(run.error_summary, taint).rstrip(".") or "the error text is withheld"
    address = f" at {run.error_address}" if run.error_address else ""
    others = run.errors - 1
    more = f" (and {others} more error{'s' if others > 1 else ''})" if others > 0 else ""
    return f"{crashed}{': ' if crashed else ''}{summary}{address}{more}"


def _unsaved(run: Run) -> str:
    if run.state_saved:
        return ""
    return " The state could not be saved: what was applied, outputs too, is in errored.tfstate in the run directory."


def _progress(run: Run, transition: Transition) -> str:
    """How far an apply had come. What was under way at the end is known only where Terraform counted its failures."""
    if not _was_applying(run, transition):
        return ""
    expected = max(run.plan.total if run.plan else run.planned, run.applied + run.errored)
    told = [f"{run.applied} of {expected} applied"]
    if run.errored:
        told.append(f"{run.errored} failed")
        waiting = expected - run.applied - run.errored
        if waiting and not run.interrupted and transition.basis is Basis.PROOF and not run.crashed:
            told.append(f"{waiting} never started")
    return f" {', '.join(told)}."
