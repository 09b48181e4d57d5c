"""What IAM says that we may do, asked dry: nothing is done, sent or changed.

`sts:GetCallerIdentity` tells who we are and needs no permission. `iam:SimulatePrincipalPolicy` tells what a user's or
role's policies, its permissions boundary and its organisation let it do; a session knows its role's name alone, so the
path of one that is not found is looked up (`iam:GetRole`). Not seen are policies of the resource, which may grant more,
and those of a session, which may grant less. Promises: never an exception; every question that has no certain answer is
`UNSURE`. Source: the API references of IAM and STS; IAM User Guide, "Testing IAM policies with the IAM policy
simulator".
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .aws_client import DIRECT, Access
from .aws_outcomes import outcome_of
from .aws_service import AwsService, Call, Place, accepted
from .domain.outbox import Outcome, OutcomeKind

_IDENTITY = {"GetCallerIdentity": Call(tells="Arn")}
_POLICIES = {
    "SimulatePrincipalPolicy": Call(1024 * 1024, tells="EvaluationResults"),
    "GetRole": Call(256 * 1024, tells="Role"),
}
_TIMEOUTS = (5.0, 10.0)
_SESSION = re.compile(r"arn:(aws[a-z-]*):sts::(\d{12}):assumed-role/([\w+=,.@-]{1,64})/.+", re.ASCII)
_IDENTITY_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:(?:user|role)/[\x21-\x7e]{1,600}", re.ASCII)
_CALLER_ARN = re.compile(r"arn:aws[a-z-]*:(?:sts|iam)::\d{12}:[\x21-\x7e]{1,1000}", re.ASCII)


class Verdict(StrEnum):
    """What IAM says of one action on one resource. REFUSED: something denies it; NOT_GRANTED: nothing allows it."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    NOT_GRANTED = "not granted"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks AWS. principal: the user or role (an ARN) whose policies count; empty where IAM can simulate none."""

    arn: str
    principal: str

    @property
    def account(self) -> str:
        """The number of its account."""
        return self.arn.split(":")[4]


@dataclass(frozen=True, slots=True)
class Decision:
    """IAM's word on one action on one resource; why: what it rests on, empty where that needs no word."""

    action: str
    resource: str
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """IAM's word on each action; without decisions what the asking failed of. principal: whose they are."""

    principal: str
    decisions: tuple[Decision, ...] = ()
    failed: Outcome | None = None


class Permissions:
    """Asks IAM in the partition of a region. sts_url, iam_url: where those are; None: where AWS has them."""

    def __init__(
        self,
        region: str,
        access: Access = DIRECT,
        sts_url: str | None = None,
        iam_url: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        def meaning(error: Exception, now: float, *, built: bool) -> Outcome:
            return outcome_of(error, now, (*_IDENTITY, *_POLICIES), built=built)

        self._sts = AwsService("sts", Place(region, sts_url, _TIMEOUTS, access), _IDENTITY, meaning, clock)
        self._iam = AwsService("iam", Place(region, iam_url, _TIMEOUTS, access), _POLICIES, meaning, clock)

    def caller(self) -> Caller | Outcome:
        """Who we are, or what the question failed of."""
        outcome, answer = _asked(self._sts, lambda client: client.get_caller_identity())
        arn = str(answer.get("Arn", ""))
        if outcome.kind is not OutcomeKind.ACCEPTED or not _CALLER_ARN.fullmatch(arn):
            return outcome if outcome.kind is not OutcomeKind.ACCEPTED else _ODD
        return Caller(arn, principal_of(arn))

    def may(self, caller: Caller, actions: Sequence[str], resource: str) -> Answers:
        """What the caller's policies say of actions on a resource, by its ARN or `*`."""
        principal = caller.principal
        outcome, answer = self._simulated(principal, actions, resource)
        if outcome.code.startswith("NoSuchEntity") and _SESSION.fullmatch(caller.arn):
            found = self._with_its_path(principal)
            if found is None:
                return Answers(principal, failed=outcome)
            principal = found
            outcome, answer = self._simulated(principal, actions, resource)
        if outcome.kind is not OutcomeKind.ACCEPTED:
            return Answers(principal, failed=outcome)
        results = answer.get("EvaluationResults") or []
        return Answers(principal, tuple(_decision(action, resource, results) for action in actions))

    def close(self) -> None:
        """Close idle connections."""
        self._sts.close()
        self._iam.close()

    def _simulated(self, principal: str, actions: Sequence[str], resource: str) -> tuple[Outcome, dict[str, Any]]:
        question = {"PolicySourceArn": principal, "ActionNames": list(actions), "ResourceArns": [resource]}
        return _asked(self._iam, lambda client: client.simulate_principal_policy(**question))

    def _with_its_path(self, role: str) -> str | None:
        """The whole ARN of a role; None where nobody tells."""
        name = role.rpartition("/")[2]
        _, answer = _asked(self._iam, lambda client: client.get_role(RoleName=name))
        arn = str((answer.get("Role") or {}).get("Arn", ""))
        return arn if _IDENTITY_ARN.fullmatch(arn) else None


_ODD = Outcome(OutcomeKind.UNAVAILABLE, "ResponseUnexpected")


def principal_of(caller_arn: str) -> str:
    """The user or role (an ARN, a role's without its path) behind who asks; empty for the root user, who has no
    policies, and for federated users."""
    session = _SESSION.fullmatch(caller_arn)
    if session:
        partition, account, role = session.groups()
        return f"arn:{partition}:iam::{account}:role/{role}"
    return caller_arn if _IDENTITY_ARN.fullmatch(caller_arn) else ""


def _asked(service: AwsService, ask: Callable[[Any], dict[str, Any]]) -> tuple[Outcome, dict[str, Any]]:
    """What came of a question, and its answer; empty where there is none."""
    answer: dict[str, Any] = {}

    def call(client: Any) -> Outcome:
        answer.update(ask(client))
        return accepted(answer["ResponseMetadata"])

    return service.attempt(call), answer


def _decision(action: str, resource: str, results: Sequence[dict[str, Any]]) -> Decision:
    """IAM's word on an action in the results for one resource."""
    result = next((one for one in results if one.get("EvalActionName", "").lower() == action.lower()), None)
    if result is None:
        return Decision(action, resource, Verdict.UNSURE, "IAM says nothing of it")
    for detail, allowed, what in _BOUNDS:
        if result.get(detail, {}).get(allowed) is False:
            return Decision(action, resource, Verdict.REFUSED, what)
    decision = result.get("EvalDecision")
    if decision == "explicitDeny":
        return Decision(action, resource, Verdict.REFUSED, "a policy denies it")
    missing = ", ".join(sorted(map(str, result.get("MissingContextValues") or [])))
    if missing or decision not in ("allowed", "implicitDeny"):
        return Decision(action, resource, Verdict.UNSURE, f"it depends on {missing}" if missing else "")
    return Decision(action, resource, Verdict.ALLOWED if decision == "allowed" else Verdict.NOT_GRANTED)


_BOUNDS = (
    ("OrganizationsDecisionDetail", "AllowedByOrganizations", "a policy of the organisation does not allow it"),
    ("PermissionsBoundaryDecisionDetail", "AllowedByPermissionsBoundary", "its permissions boundary does not allow it"),
)
