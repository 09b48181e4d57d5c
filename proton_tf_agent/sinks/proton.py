"""The Proton sink: one notification becomes one call of `NotifyResourceDeploymentStatusChange`.

Promises what `aws_service` does. What a failure means stands in `proton_outcomes`.

boto3 is imported with the first attempt, never with this module. When botocore has dropped Proton, as it does
with ended services, the model of the two operations in `models/` stands in.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..aws_client import DIRECT, Access
from ..aws_outcomes import NoAnswer, request_id_of
from ..aws_service import AwsService, Call, Place, accepted
from ..domain.binding import is_deployment_id, region_of
from ..domain.notification import Notification
from ..domain.outbox import Outcome, OutcomeKind
from ..domain.values import replace
from .proton_outcomes import GET_DEPLOYMENT, NOTIFY, outcome_of

if TYPE_CHECKING:
    from mypy_boto3_proton.client import ProtonClient
    from mypy_boto3_proton.type_defs import NotifyResourceDeploymentStatusChangeInputTypeDef as Request

MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")
# Proton's answers to a notification are below 1 KiB; a deployment's come with templates and specs.
OPERATIONS = {NOTIFY: Call(), GET_DEPLOYMENT: Call(1024 * 1024)}

# Deployment statuses after which no notification counts any more, whatever it says.
_GONE_ON = ("CANCELLING", "CANCELLED", "DELETE_IN_PROGRESS", "DELETE_FAILED", "DELETE_COMPLETE")
_STILL_IN_CONFLICT = Outcome(OutcomeKind.CONFLICT, "ConflictException")
# What a question may come to. Anything else, such as being denied, leaves the conflict what it was.
_READ_BACK = (
    OutcomeKind.CONFIRMED,
    OutcomeKind.OVERTAKEN,
    OutcomeKind.THROTTLED,
    OutcomeKind.UNAVAILABLE,
    OutcomeKind.UNRESOLVABLE,
    OutcomeKind.GONE,
    OutcomeKind.UNAUTHENTICATED,
)
_RESOURCE = re.compile(
    r"environment/(?P<environmentName>[^/]+)|component/(?P<componentName>[^/]+)"
    r"|service/(?P<serviceName>[^/]+)/(?:service-instance/(?P<serviceInstanceName>[^/]+)|pipeline)"
)


_NO_DEPLOYMENT = "00000000-0000-0000-0000-000000000000"
_REACHED = (OutcomeKind.ACCEPTED, OutcomeKind.NOT_FOUND, OutcomeKind.INVALID, OutcomeKind.THROTTLED)


class ProtonSink:
    """Tells AWS Proton, or whatever speaks its wire contract at `endpoint_url`.

    Timeouts are in seconds. read_back: whether the sink may ask what became of a deployment, for which it needs the IAM
    action proton:GetDeployment. clock: wall-clock seconds.
    """

    def __init__(
        self,
        name: str,
        region: str,
        endpoint_url: str | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 20.0,
        *,
        read_back: bool = False,
        access: Access = DIRECT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._region = region
        self._may_ask = read_back
        place = Place(region, endpoint_url, (connect_timeout, read_timeout), access)
        # botocore's own model of Proton goes before ours while it exists.
        self._service = AwsService("proton", place, OPERATIONS, outcome_of, clock, [MODELS])

    def wants(self, notification: Notification) -> bool:
        """False without a resource; once it is deleted, for Proton has no record of it any more; and for one of another
        region: the request goes to our own, whatever an ARN names."""
        arn = notification.resource_arn
        return arn is not None and not notification.resource_deleted and region_of(arn) == self._region

    def send(self, notification: Notification) -> Outcome:
        """Make one request and say what came of it. See `proton_outcomes` for what means what."""
        return self._service.attempt(lambda client: _tell(client, notification))

    def read_back(self, notification: Notification) -> Outcome:
        """Ask what became of the notification's deployment, in at most two requests.

        CONFIRMED when it has the notification's status. OVERTAKEN when it was canceled or deleted, or when its
        resource has a newer deployment. CONFLICT when the answer is neither, or the question may not be asked; without
        `read_back` or a deployment ID no request is made. Otherwise what the asking failed of.
        """
        if not self._may_ask or notification.deployment_id is None:
            return _STILL_IN_CONFLICT
        outcome = self._service.attempt(lambda client: _ask_back(client, notification))
        return replace(outcome, ambiguous=False) if outcome.kind in _READ_BACK else _STILL_IN_CONFLICT

    def try_out(self) -> Outcome:
        """Ask for a deployment that cannot be: only who takes our signature finds that there is none."""
        outcome = self._service.attempt(_ask_for_nothing)
        return replace(outcome, kind=OutcomeKind.ACCEPTED) if outcome.kind in _REACHED else outcome

    def close(self) -> None:
        """Close idle connections and take no more notifications; an attempt under way ends by itself."""
        self._service.close()


def request_of(notification: Notification) -> Request:
    """The parameters of the call. What is empty is left out: the model wants it so for outputs' members."""
    request: Request = {"resourceArn": notification.resource_arn or "", "status": notification.status.value}
    if notification.deployment_id is not None:
        request["deploymentId"] = notification.deployment_id
    if notification.status_message:
        request["statusMessage"] = notification.status_message
    if notification.outputs:
        request["outputs"] = [{"key": key, "valueString": value} for key, value in notification.outputs]
    return request


def question_of(resource_arn: str, deployment_id: str) -> dict[str, str]:
    """The parameters of `GetDeployment`: the ID, and the names in the ARN."""
    named = _RESOURCE.fullmatch(resource_arn.rpartition(":")[2])
    return {"id": deployment_id} | {
        member: name for member, name in (named.groupdict() if named else {}).items() if name
    }


def _tell(client: ProtonClient, notification: Notification) -> Outcome:
    return accepted(client.notify_resource_deployment_status_change(**request_of(notification))["ResponseMetadata"])


def _ask_back(client: ProtonClient, notification: Notification) -> Outcome:
    deployment, meta = _deployment(client, notification, notification.deployment_id or "")
    status, latest = deployment["deploymentStatus"], deployment.get("lastAttemptedDeploymentId")
    if status == notification.status.value:
        kind, found = OutcomeKind.CONFIRMED, status
    elif status in _GONE_ON:
        kind, found = OutcomeKind.OVERTAKEN, status
    elif is_deployment_id(latest) and latest != notification.deployment_id:
        # Whether the last attempt is the resource's, or the one before this, is not documented: time decides.
        other, meta = _deployment(client, notification, latest)
        if other["createdAt"] <= deployment["createdAt"]:
            return _STILL_IN_CONFLICT
        kind, found = OutcomeKind.OVERTAKEN, f"{latest} is newer"
    else:
        return _STILL_IN_CONFLICT
    return Outcome(kind, f"{GET_DEPLOYMENT}: {found}", meta["HTTPStatusCode"], request_id_of(meta))


def _ask_for_nothing(client: ProtonClient) -> Outcome:
    return accepted(client.get_deployment(id=_NO_DEPLOYMENT)["ResponseMetadata"])


def _deployment(client: ProtonClient, notification: Notification, deployment_id: str) -> tuple[Any, Any]:
    """What Proton says of a deployment, and botocore of the answer. Raises NoAnswer when it is not about that one."""
    ask: Any = client.get_deployment
    answer = ask(**question_of(notification.resource_arn or "", deployment_id))
    deployment, meta = answer.get("deployment", {}), answer["ResponseMetadata"]
    if deployment.get("id") != deployment_id or not {"deploymentStatus", "createdAt"} <= deployment.keys():
        raise NoAnswer("ResponseUnexpected", meta["HTTPStatusCode"])
    return deployment, meta
