"""What a failure means and what to do about it, in a sentence each: one row for every kind of outcome that is one.

For people who look at an entry that is parked, or at a sink that is held up. What the agent itself does about it stands
in `retry`.
"""

from __future__ import annotations

from collections.abc import Mapping

from .terms import OutcomeKind
from .values import Struct

DAMAGED = "checksum"  # the reason of an entry that was parked because its body has rotted


class Explanation(Struct, frozen=True):
    """means: what has happened, as far as it is known. remedy: what a person can do."""

    means: str
    remedy: str


EXPLANATIONS: Mapping[OutcomeKind, Explanation] = {
    OutcomeKind.THROTTLED: Explanation(
        "the sink asks for fewer requests", "nothing: the agent slows down until the sink bears it"
    ),
    OutcomeKind.UNAVAILABLE: Explanation(
        "the sink cannot be reached, or answers with server errors; a file cannot be written, a program not be run",
        "look at the network and the endpoint, or what the code names (docs/sinks); "
        "if one resource alone meets it, at the sink's permissions for that one",
    ),
    OutcomeKind.UNRESOLVABLE: Explanation(
        "where the sink should be there is nothing: no such host to the DNS, or no such queue, topic or bus",
        "check region, endpoint_url and what else names its place in the [[sink]], and the DNS",
    ),
    OutcomeKind.GONE: Explanation(
        "the sink answers as a retired service does",
        "carry what it never took over to another sink: `replay --undelivered --from SINK --sink OTHER`",
    ),
    OutcomeKind.UNAUTHENTICATED: Explanation(
        "there are no valid credentials, or the clock is off", "put the credentials right; it goes on by itself"
    ),
    OutcomeKind.DENIED: Explanation(
        "the credentials do not allow to tell it about this resource",
        "allow proton:NotifyResourceDeploymentStatusChange on the ARN (for other sinks see docs/sinks), then replay it",
    ),
    OutcomeKind.QUOTA_EXCEEDED: Explanation(
        "a quota of the account is used up", "raise the quota or wait until it is free again, then replay it"
    ),
    OutcomeKind.UNKNOWN: Explanation(
        "the sink refuses it with an error that nobody has described",
        "look its code up (`journal show`), put right what it says, then replay it",
    ),
    OutcomeKind.CONFLICT: Explanation(
        "the resource is in a state in which it cannot take this status",
        "look at its deployment; replay it when nothing else is under way, or discard it",
    ),
    OutcomeKind.NOT_FOUND: Explanation(
        "the sink does not know the resource or its deployment",
        "check ARN, account and region; replay it when the resource is there, or discard it if it was deleted",
    ),
    OutcomeKind.INVALID: Explanation(
        "the sink finds the request invalid, even without message and outputs",
        "check the ARN and the deployment ID against what the sink has; discard it if they are wrong for good",
    ),
    OutcomeKind.OVERTAKEN: Explanation(
        "the deployment was canceled or deleted, or its resource has a newer one",
        "nothing is left to be told: discard it",
    ),
}
_DAMAGED = Explanation(
    "its content is not what was written: the disk has lost it", "see `journal verify`; discard it, it cannot be told"
)
_OBJECTION = Explanation(
    "our own check finds that it breaks the contract of its sink, so it was never sent",
    "put right what the reason names (binding or settings); later runs are told then. Discard this one",
)
_UNRECORDED = Explanation(
    "the sink refused it; the agent of that time did not record the kind",
    "look at its attempts, then replay or discard it",
)


def explain(failing: OutcomeKind | None, reason: str, attempts: int) -> Explanation:
    """Why an entry is parked or keeps failing. failing: the kind it failed with last, if any was recorded."""
    if reason == DAMAGED:
        return _DAMAGED
    if failing is not None:
        return EXPLANATIONS[failing]
    return _UNRECORDED if attempts else _OBJECTION
