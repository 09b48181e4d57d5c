"""IAM and STS on loopback: they know one caller, and simulate its policies with moto's evaluation of policies. What the
services' models refuse, and a principal that does not exist, is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from moto.iam.access_control import IAMPolicy, PermissionResult

from proton_tf_agent.aws_client import DIRECT
from proton_tf_agent.aws_permissions import Permissions

from .aws_endpoint import AwsEndpoint, Refused

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/deploy/runner"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/runner/i-0123456789abcdef0"
_DECISIONS = {
    PermissionResult.PERMITTED: "allowed",
    PermissionResult.DENIED: "explicitDeny",
    PermissionResult.NEUTRAL: "implicitDeny",
}
Statement = Mapping[str, object]


def allow(actions: str | Sequence[str], resource: str) -> Statement:
    """A statement of a policy."""
    return {"Effect": "Allow", "Action": actions, "Resource": resource}


class Iam:
    """Both services. caller: the ARN of who asks; principal: of the user or role that has the policies. details: what
    IAM says of every action besides its decision."""

    def __init__(self, caller: str = SESSION, principal: str = ROLE) -> None:
        self.statements: list[Statement] = []
        self.details: dict[str, Any] = {}
        self.hides: set[str] = set()
        self._principal = principal
        self.sts = AwsEndpoint("sts", {"GetCallerIdentity": lambda _: self._identity(caller)})
        self.iam = AwsEndpoint("iam", {"SimulatePrincipalPolicy": self._simulate, "GetRole": self._role})

    def permissions(self) -> Permissions:
        """What asks them."""
        return Permissions("eu-west-1", DIRECT, self.sts.url, self.iam.url)

    def close(self) -> None:
        self.sts.close()
        self.iam.close()

    @property
    def asked(self) -> list[str]:
        """Every operation that was called."""
        return [name for name, _ in (*self.sts.requests, *self.iam.requests)]

    def _identity(self, caller: str) -> dict[str, Any]:
        return {"UserId": "AROAEXAMPLE:x", "Account": ACCOUNT, "Arn": caller}

    def _role(self, parameters: dict[str, Any]) -> dict[str, Any]:
        if "GetRole" in self.hides:
            raise Refused("AccessDenied")
        if parameters["RoleName"] != self._principal.rpartition("/")[2]:
            raise Refused("NoSuchEntity")
        path = self._principal.partition(":role")[2].rpartition("/")[0] + "/"
        role = {
            "Path": path,
            "RoleName": parameters["RoleName"],
            "RoleId": "AROAEXAMPLE000000000",
            "Arn": self._principal,
        }
        return {"Role": role | {"CreateDate": "2026-01-01T00:00:00Z"}}

    def _simulate(self, parameters: dict[str, Any]) -> dict[str, Any]:
        if "SimulatePrincipalPolicy" in self.hides:
            raise Refused("AccessDenied")
        if parameters["PolicySourceArn"] != self._principal:
            raise Refused("NoSuchEntity")
        policy = IAMPolicy({"policy_document": json.dumps({"Version": "2012-10-17", "Statement": self.statements})})
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalResourceName": resource,
                    "EvalDecision": _DECISIONS[policy.is_action_permitted(action, resource)],
                    **self.details,
                }
                for action in parameters["ActionNames"]
                for resource in parameters["ResourceArns"]
            ],
            "IsTruncated": False,
        }
