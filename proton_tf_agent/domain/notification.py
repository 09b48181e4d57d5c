"""Notifications: what is told about a run, in Proton's words. How they come about is `composition`'s."""

from __future__ import annotations

import hashlib

from .binding import is_resource_arn
from .run import RunStatus
from .terms import Status
from .values import Struct, replace
from .workflow import Workflow

__all__ = ["Notification", "Status", "keys_of", "trial_of", "under"]

_TEST = "test-"


class Notification(Struct, frozen=True):
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

    @property
    def is_test(self) -> bool:
        """Whether it is about no run: a person tries out a sink (`trial_of`)."""
        return self.notification_id.startswith(_TEST)


def trial_of(sink: str, who: str, now: float) -> Notification:
    """What a sink is told when a person tries it out: it says so itself, and its id begins as that of no other.

    It is IN_PROGRESS, so that nobody takes it for an end.
    """
    digest = hashlib.sha256("\0".join((sink, who, repr(now))).encode()).hexdigest()[:20]
    return Notification(
        notification_id=f"{_TEST}{digest}",
        run_id=f"{_TEST}{digest}",
        resource_arn=None,
        deployment_id=None,
        status=Status.IN_PROGRESS,
        status_message=f"This is a test of the sink {sink}, asked for by {who}. No run is behind it.",
        outputs=(),
        run_status=RunStatus.PENDING,
        resource_deleted=False,
        directory="/",
        workspace=None,
        created_at=now,
        run_started_at=now,
        name="proton-tf-agent-test",
    )


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
