"""What runs, outputs and the outbox are made of: Terraform's words, Proton's, and our own for what became of an entry.

They lie apart from what is done with them (`evidence`, `composition`, `outbox`, `routing`): who reads the journal needs
no more than these, and is sooner at work without the rest.
"""

from __future__ import annotations

from enum import StrEnum

from .values import Struct


class Operation(StrEnum):
    """What Terraform was asked to do, as far as the evidence tells."""

    PLAN = "plan"
    APPLY = "apply"
    DESTROY = "destroy"
    REFRESH = "refresh"


class Form(StrEnum):
    """How a log speaks: Terraform's machine-readable UI, or what a person sees."""

    JSON = "json"
    HUMAN = "human"


class Status(StrEnum):
    """The three statuses `NotifyResourceDeploymentStatusChange` accepts."""

    IN_PROGRESS = "IN_PROGRESS"
    FAILED = "FAILED"
    SUCCEEDED = "SUCCEEDED"

    @property
    def is_terminal(self) -> bool:
        return self is not Status.IN_PROGRESS


class Occasion(StrEnum):
    """What a notification may be an occasion of. One may be several."""

    TERMINAL = "terminal"  # any end
    IN_PROGRESS = "in_progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DESTROYED = "destroyed"  # a destroy that went well; it is no `succeeded`, as it is none in a CloudEvent's type
    RECOVERED = "recovered"  # an end that is no failure, of a resource that was last told to have failed


class EntryState(StrEnum):
    """Where an entry stands. Each comment: who moves it there, and what a crash makes of it."""

    PENDING = "pending"  # written with the observation; a crash changes nothing
    SENDING = "sending"  # committed before the request leaves; after a crash it is sent again
    RETRYABLE = "retryable"  # an attempt failed in a way that may pass; sent again when due
    DELIVERED = "delivered"  # the sink accepted it
    SUPERSEDED = "superseded"  # an unsent entry that a later notification made pointless
    PARKED = "parked"  # the sink refuses it for good; kept until a person replays or discards it
    DISCARDED = "discarded"  # a person gave it up by name
    SHADOWED = "shadowed"  # written with the observation for a sink that is a shadow: what it would have been told


ACTIVE = (EntryState.PENDING, EntryState.SENDING, EntryState.RETRYABLE)


class OutcomeKind(StrEnum):
    """What came of one attempt. The name is what logs, the journal and metrics show."""

    ACCEPTED = "accepted"
    CONFIRMED = "confirmed"  # asked back, the sink says that it has what it was told
    OVERTAKEN = "overtaken"  # asked back, the sink says that it has gone on without us: canceled, or a newer deployment
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"  # 5xx, network, an answer that is none
    UNRESOLVABLE = "unresolvable"  # where it should be there is nothing: no such host, queue, topic or bus
    GONE = "gone"  # it says itself that the service has ended: 410, or the words of a retired service
    UNAUTHENTICATED = "unauthenticated"  # no, expired or wrong credentials; clock skew
    DENIED = "denied"
    QUOTA_EXCEEDED = "quota_exceeded"
    CONFLICT = "conflict"
    NOT_FOUND = "not_found"
    INVALID = "invalid"
    UNKNOWN = "unknown"  # a refusal nobody has described


class Output(Struct, frozen=True):
    """A root module output.

    value is its JSON text exactly as written (numbers of any precision survive); None when the value is
    withheld: sensitive, or a copy of something sensitive.
    """

    name: str
    value: str | None
    sensitive: bool = False
    withheld: str = ""


class Job(Struct, frozen=True):
    """The CI job a run belongs to, as the job's environment tells; empty: it does not tell."""

    system: str
    commit: str = ""
    actor: str = ""
    url: str = ""
    attempt: str = ""


class DecisionTaken(Struct, frozen=True):
    """A person has settled what no evidence could: who it was, and why they say so."""

    succeeded: bool
    who: str
    reason: str

    @property
    def outcome(self) -> str:
        """The word for what was decided."""
        return "succeeded" if self.succeeded else "failed"
