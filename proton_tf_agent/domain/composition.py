"""Composition: what is told of a transition, in the words and within the limits of Proton's contract.

`compose` turns a transition into at most one notification, and `silence` says why it tells no outcome. `violations`
lists what of a notification the receiver would refuse, because botocore checks neither maxima nor patterns nor enums
(tried with botocore 1.44.5).

Source of the limits: botocore `proton/2020-07-20/service-2.json`, NotifyResourceDeploymentStatusChangeInput.
"""

from __future__ import annotations

import hashlib
import re

from .binding import Binding, is_deployment_id, is_resource_arn
from .notification import Notification
from .output_mapping import MAX_KEY, MAX_OUTPUTS, MAX_VALUE
from .outputs import Mapped
from .redaction import NOTHING_TAINTED, Taint, exposes, scrub
from .run import Run, RunStatus, Transition
from .status_message import MAX_MESSAGE, message_of
from .terms import Status
from .values import replace

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_WITHHELD = "The text of this message is withheld."


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
        status_message=message_of(run, transition, omitted, unreadable if tells_outputs else "", taint),
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


def _commit(run: Run) -> str:
    """The CI job's commit; a job may have written anything there."""
    job = run.wrapped.job if run.wrapped else None
    return job.commit if job is not None and _COMMIT.fullmatch(job.commit) else ""
