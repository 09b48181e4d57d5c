"""Notifications: what is told about a run, in the words and within the limits of Proton's contract.

`compose` turns a transition into at most one notification, and `silence` says why it tells no outcome. `violations`
lists what of a notification the receiver would refuse, because botocore checks neither maxima nor patterns nor enums
(tried with botocore 1.44.5).

Source of the limits: botocore `proton/2020-07-20/service-2.json`, NotifyResourceDeploymentStatusChangeInput.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from .binding import Binding, is_deployment_id, is_resource_arn
from .outputs import MAX_KEY, MAX_OUTPUTS, MAX_VALUE, Mapped
from .redaction import NOTHING_TAINTED, Taint, exposes, scrub
from .run import Basis, Counts, Log, Run, RunStatus, Transition
from .terms import Form
from .workflow import Workflow

MAX_MESSAGE = 5000
_CUT = " …"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_WITHHELD = "The text of this message is withheld."


class Status(StrEnum):
    """The three statuses `NotifyResourceDeploymentStatusChange` accepts."""

    IN_PROGRESS = "IN_PROGRESS"
    FAILED = "FAILED"
    SUCCEEDED = "SUCCEEDED"

    @property
    def is_terminal(self) -> bool:
        return self is not Status.IN_PROGRESS


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing told about one run. outputs are (key, value string), omitted (name, reason) of those that are not told;
    run_status is for sinks that tell more.

    run_started_at (wall-clock seconds) orders the runs of one subject: the last word is the last run's.
    resource_arn is None of a run that reports for no Proton resource; name is what the settings call it, if anything.
    commit: what the run's CI job was started for, as its environment said; empty where no wrapper saw one.
    """

    notification_id: str
    run_id: str
    resource_arn: str | None
    deployment_id: str | None
    status: Status
    status_message: str
    outputs: tuple[tuple[str, str], ...]
    run_status: RunStatus
    resource_deleted: bool
    directory: str
    workspace: str | None
    created_at: float
    run_started_at: float = 0.0
    omitted: tuple[tuple[str, str], ...] = ()
    name: str | None = None
    commit: str = ""
    workflow: Workflow | None = None  # of a run that carries one out; for Service Catalog alone, never shown

    @property
    def subject(self) -> str:
        """Whom it is about, and whose order it keeps: the ARN, else the name, else the run directory. No two are the
        same, for names hold neither a colon nor a slash."""
        return self.resource_arn or self.name or self.directory

    @property
    def whose(self) -> str:
        """Whose run it is, for people: of an ARN what stands behind its account."""
        return self.resource_arn.split(":", 5)[-1] if self.resource_arn else self.subject

    @property
    def environment(self) -> str:
        """What a forge calls the place that is deployed to: the last part of the ARN, else name or directory.

        A directory is whole, so that nobody who chooses its last part speaks for a resource of that name.
        """
        return self.whose.rsplit("/", 1)[-1] if self.resource_arn else self.subject.strip("/")


def under(notification: Notification, subject: str) -> Notification | None:
    """A notification for a sink that has heard of its run by another subject already: it goes on hearing by that one.

    None where that was an ARN: nobody is told by an ARN which is not the run's (any more).
    """
    if subject == notification.subject:
        return notification
    if is_resource_arn(subject):
        return None
    nobodys = replace(notification, resource_arn=None, deployment_id=None, resource_deleted=False)
    if subject.startswith("/"):
        return replace(nobodys, name=None, directory=subject)
    return replace(nobodys, name=subject)


def keys_of(notification: Notification) -> dict[str, str | None]:
    """Whom a notification is about, as log lines have it."""
    keys = {"resource_arn": notification.resource_arn, "deployment_id": notification.deployment_id}
    return keys if notification.resource_arn else {**keys, "subject": notification.subject}


TOLD: dict[RunStatus, Status | None] = {
    RunStatus.PENDING: None,
    RunStatus.PLANNING: Status.IN_PROGRESS,
    RunStatus.PLANNED: Status.IN_PROGRESS,
    RunStatus.PLANNED_AND_FINISHED: Status.IN_PROGRESS,
    RunStatus.APPLYING: Status.IN_PROGRESS,
    RunStatus.APPLIED: Status.SUCCEEDED,
    RunStatus.DESTROYED: Status.SUCCEEDED,
    RunStatus.ERRORED: Status.FAILED,
    RunStatus.CANCELED: Status.FAILED,
    RunStatus.LOST: Status.FAILED,
    RunStatus.UNDETERMINED: None,
    RunStatus.NO_RUN: None,
}


def status_told(run: Run, status: RunStatus, no_changes_succeed: bool) -> Status | None:
    """What a receiver hears when `run` takes `status`; None for nothing."""
    if status is RunStatus.PLANNED_AND_FINISHED and no_changes_succeed and run.lacks_changes:
        return Status.SUCCEEDED
    return TOLD[status]


def compose(
    run: Run,
    transition: Transition,
    binding: Binding,
    mapped: Mapped,
    taint: Taint,
    *,
    no_changes_succeed: bool = False,
    another_run_open: bool = False,
    unreadable: str = "",
) -> Notification | None:
    """The notification a transition gives rise to, or None when nothing is to be told.

    unreadable: why the outputs of a success could not be had; empty when they could.
    another_run_open: a refused lock is not told while the run that holds it is open; its outcome decides.
    """
    status = status_told(run, transition.status, no_changes_succeed)
    if status is None or (run.refused and another_run_open):
        return None
    if status is Status.IN_PROGRESS and _may_have_ended(transition.previous, no_changes_succeed):
        return None  # the ratchet: nothing goes back from a terminal status of the same run
    tells_outputs = status is Status.SUCCEEDED and transition.status is not RunStatus.DESTROYED
    omitted = mapped.omitted if tells_outputs else ()
    known = taint if taint.known else NOTHING_TAINTED
    return Notification(
        notification_id=_identify(run, transition, status),
        run_id=run.run_id,
        resource_arn=binding.resource_arn,
        deployment_id=binding.deployment_id,
        status=status,
        status_message=_message(run, transition, omitted, unreadable if tells_outputs else "", taint),
        outputs=mapped.told if tells_outputs else (),
        run_status=transition.status,
        resource_deleted=binding.resource_deleted,
        directory=run.directory,
        workspace=run.workspace,
        created_at=transition.at,
        run_started_at=run.started_at,
        omitted=tuple((scrub(name, known), scrub(reason, known)) for name, reason in omitted),
        name=binding.name,
        commit=_commit(run),
        workflow=binding.workflow,
    )


def without_exposed(notification: Notification, taint: Taint) -> Notification:
    """The last scan: the notification without any text that still holds a sensitive value; itself when none does.

    Whatever was composed before, its status is told. That something is found here is a defect of ours.
    """
    outputs = tuple((key, value) for key, value in notification.outputs if not exposes([value], taint))
    omitted = tuple(pair for pair in notification.omitted if not exposes(pair, taint))
    exposed = exposes([notification.status_message], taint)
    if not exposed and len(outputs) == len(notification.outputs) and len(omitted) == len(notification.omitted):
        return notification
    message = _WITHHELD if exposed else notification.status_message
    return replace(notification, status_message=message, outputs=outputs, omitted=omitted)


def silence(run: Run, status: RunStatus, *, no_changes_succeed: bool = False, another_run_open: bool = False) -> str:
    """Why no outcome is told of a run that ends with `status`; empty where one is. The words are for a person."""
    told = status_told(run, status, no_changes_succeed)
    if status is RunStatus.UNDETERMINED:
        return "it ended, and success cannot be told from failure"
    if told is Status.IN_PROGRESS:
        if run.has_changes:
            return "a plan with changes stays IN_PROGRESS until they are applied"
        return 'a plan stays IN_PROGRESS; [run] no_changes = "succeed" would tell one without changes as SUCCEEDED'
    if run.refused and another_run_open:
        holder = f" ({run.refused_by})" if run.refused_by else ""
        return f"the state lock was refused: the outcome of the run that had it{holder} is told instead"
    return ""


def remedies(run: Run) -> tuple[str, ...]:
    """What would settle a run that ended undetermined, or make its like tell their outcome; best first."""
    if run.status is not RunStatus.UNDETERMINED:
        return ()
    log = "a log with Terraform's own verdict (`terraform apply -json > apply.log`)"
    if run.log is Log.OVERWRITTEN:
        log = "a copy of its whole log in the run directory, should there be one" if run.form is Form.JSON else ""
    elif run.log is not Log.ABSENT:
        log = "the rest of its log, should it still come"
    word = f"your word: `proton-tf-agent runs settle {run.run_id} --as succeeded|failed --reason '...'`"
    return (log, word) if log else (word,)


def _may_have_ended(status: RunStatus, no_changes_succeed: bool) -> bool:
    # Whether a finished plan was told as SUCCEEDED depends on findings of that time, which may have grown since.
    told = TOLD[status]
    return (told is not None and told.is_terminal) or (status is RunStatus.PLANNED_AND_FINISHED and no_changes_succeed)


def violations(notification: Notification) -> list[str]:
    """Everything about a notification that breaks Proton's contract; empty when it can be sent."""
    found = []
    if not is_resource_arn(notification.resource_arn):
        found.append("resourceArn is not the ARN of a Proton resource")
    if notification.deployment_id is not None and not is_deployment_id(notification.deployment_id):
        found.append("deploymentId is not a UUID in lower case")
    if len(notification.status_message) > MAX_MESSAGE:
        found.append(f"statusMessage is longer than {MAX_MESSAGE:,} characters")
    if len(notification.outputs) > MAX_OUTPUTS:
        found.append(f"more than {MAX_OUTPUTS} outputs")
    for key, value in notification.outputs:
        if not 0 < len(key) <= MAX_KEY:
            found.append(f"output key {key[:40]!r} is empty or longer than {MAX_KEY} characters")
        if not 0 < len(value) <= MAX_VALUE:
            found.append(f"output {key[:40]!r} is empty or longer than {MAX_VALUE:,} characters")
    return found


def _identify(run: Run, transition: Transition, status: Status) -> str:
    seed = "\0".join((run.run_id, str(run.revision), transition.status, status))
    return "ntf-" + hashlib.sha256(seed.encode()).hexdigest()[:20]


# --- status messages: least text, never a diagnostic's detail ------------------------------------------------


def _message(
    run: Run, transition: Transition, omitted: Sequence[tuple[str, str]], unreadable: str, taint: Taint
) -> str:
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


def _commit(run: Run) -> str:
    """The CI job's commit; a job may have written anything there."""
    job = run.wrapped.job if run.wrapped else None
    return job.commit if job is not None and _COMMIT.fullmatch(job.commit) else ""


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
