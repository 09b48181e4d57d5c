"""The deployments that the receiver knows of, and how `GetDeployment` tells of them.

They come from accepted notifications, and from what a test lays down in Proton's place. What only Proton knows is left
out of an answer: a service's environment, a deployment's templates and specs. Not thread-safe; the ledger sees to that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..wire_contract import Refused

_NAMES = re.compile(
    r"environment/(?P<environmentName>[^/]+)|component/(?P<componentName>[^/]+)"
    r"|service/(?P<serviceName>[^/]+)/(?:service-instance/(?P<serviceInstanceName>[^/]+)|pipeline)"
)
_KINDS = {
    "environmentName": "ENVIRONMENT",
    "componentName": "COMPONENT",
    "serviceInstanceName": "SERVICE_INSTANCE",
    "serviceName": "SERVICE_PIPELINE",
}


@dataclass(slots=True)
class _Deployment:
    status: str
    created_at: float
    modified_at: float


class Deployments:
    """Every deployment by its resource ARN and ID, in the order in which they were first heard of."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Deployment] = {}

    def note(self, resource_arn: str, deployment_id: str, status: str | None, now: float) -> None:
        """A deployment has this status from now on; None leaves it as it is."""
        known = self._known.setdefault((resource_arn, deployment_id), _Deployment("IN_PROGRESS", now, now))
        known.status, known.modified_at = status or known.status, now

    def resource_arn(self, request: Mapping[str, Any]) -> str | None:
        """Whose deployment a valid request asks for; None when there is none of that ID and those names."""
        asked = {member: request[member] for member in _KINDS if member in request}
        for resource_arn, deployment_id in self._known:
            if deployment_id == request["id"] and asked.items() <= _names(resource_arn).items():
                return resource_arn
        return None

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The deployment that a valid request asks for. Raises Refused when there is none."""
        resource_arn, deployment_id = self.resource_arn(request), request["id"]
        if resource_arn is None:
            raise Refused("ResourceNotFoundException", "There is no such deployment")
        known, names = self._known[resource_arn, deployment_id], _names(resource_arn)
        of_resource = [(other, deployment) for (arn, other), deployment in self._known.items() if arn == resource_arn]
        described = {
            "arn": ":".join([*resource_arn.split(":")[:5], f"deployment/{deployment_id}"]),
            "id": deployment_id,
            "targetArn": resource_arn,
            "targetResourceType": next((kind for member, kind in _KINDS.items() if member in names), None),
            "targetResourceCreatedAt": of_resource[0][1].created_at,
            "deploymentStatus": known.status,
            "createdAt": known.created_at,
            "lastModifiedAt": known.modified_at,
            "lastAttemptedDeploymentId": of_resource[-1][0],
        }
        return {member: value for member, value in described.items() if value is not None} | names


def _names(resource_arn: str) -> dict[str, str]:
    """The names in an ARN, as `GetDeployment` takes them; none for an ARN of another grammar."""
    named = _NAMES.fullmatch(resource_arn.split(":", 5)[5])
    return {member: name for member, name in named.groupdict().items() if name} if named else {}
