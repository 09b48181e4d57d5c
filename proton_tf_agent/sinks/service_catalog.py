"""The Service Catalog sink: the result of what an engine of type EXTERNAL was asked for, told by one of three calls,
`NotifyProvisionProductEngineWorkflowResult` and its two siblings.

Only ends are told, and only of runs that carry out a workflow. A success is one only if the run did what was asked for:
an apply for PROVISION and UPDATE, a destroy for TERMINATE. Source: botocore servicecatalog/2015-12-10.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from ..aws_outcomes import REFUSALS, outcome_of
from ..aws_service import AwsService, Call, Place, accepted
from ..domain.notification import Notification, Status
from ..domain.outbox import Outcome, OutcomeKind
from ..domain.run import RunStatus
from ..domain.values import replace
from ..domain.workflow import Workflow, WorkflowOperation

MAX_REASON = 2048
# The tag by which Service Catalog finds what was provisioned; the reference engine sets it on every resource.
TAG_KEY = "SERVICE_CATALOG_TERRAFORM_INTEGRATION-DO_NOT_DELETE"
_CUT = " …"
_NOT_TAKEN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd]")
_CALLS = {
    WorkflowOperation.PROVISION: "notify_provision_product_engine_workflow_result",
    WorkflowOperation.UPDATE: "notify_update_provisioned_product_engine_workflow_result",
    WorkflowOperation.TERMINATE: "notify_terminate_provisioned_product_engine_workflow_result",
}
_OPERATIONS = {
    "NotifyProvisionProductEngineWorkflowResult": Call(),
    "NotifyUpdateProvisionedProductEngineWorkflowResult": Call(),
    "NotifyTerminateProvisionedProductEngineWorkflowResult": Call(),
    "DescribeRecord": Call(256 * 1024, tells="RecordDetail"),
}
_REFUSALS = {**REFUSALS, "InvalidParameters": OutcomeKind.INVALID}
_NO_RECORD = "rec-0000000000000"
_REACHED = (OutcomeKind.ACCEPTED, OutcomeKind.NOT_FOUND, OutcomeKind.INVALID, OutcomeKind.THROTTLED)


class ServiceCatalogSink:
    """Tells Service Catalog in one region. tag_key: of the tag whose value is the provisioned product's id."""

    def __init__(self, name: str, place: Place, tag_key: str = TAG_KEY, clock: Callable[[], float] = time.time) -> None:
        self.name = name
        self._tag_key = tag_key
        self._service = AwsService("servicecatalog", place, _OPERATIONS, _meaning, clock)

    def wants(self, notification: Notification) -> bool:
        """Whether it is the end of a workflow: a failure, or the success of what was asked for."""
        workflow = notification.workflow
        if workflow is None or not notification.status.is_terminal:
            return False
        is_gone = notification.run_status is RunStatus.DESTROYED
        return notification.status is Status.FAILED or is_gone == (workflow.operation is WorkflowOperation.TERMINATE)

    def send(self, notification: Notification) -> Outcome:
        """Make one request. A repeat has the same idempotency token."""
        workflow = notification.workflow
        if workflow is None:
            return Outcome(OutcomeKind.INVALID, "WorkflowMissing")
        call, request = _CALLS[workflow.operation], request_of(notification, workflow, self._tag_key)
        return self._service.attempt(lambda client: accepted(getattr(client, call)(**request)["ResponseMetadata"]))

    def try_out(self) -> Outcome:
        """Ask for a record that cannot be, which takes the IAM action servicecatalog:DescribeRecord."""
        outcome = self._service.attempt(
            lambda client: accepted(client.describe_record(Id=_NO_RECORD)["ResponseMetadata"])
        )
        return replace(outcome, kind=OutcomeKind.ACCEPTED) if outcome.kind in _REACHED else outcome

    def close(self) -> None:
        """Close idle connections and take no more notifications; an attempt under way ends by itself."""
        self._service.close()


def request_of(notification: Notification, workflow: Workflow, tag_key: str) -> dict[str, Any]:
    """The parameters of the call that a workflow wants. Outputs go with a success, never with a termination."""
    request: dict[str, Any] = {
        "WorkflowToken": workflow.token,
        "RecordId": workflow.record_id,
        "Status": notification.status.value,
        "IdempotencyToken": notification.notification_id,
    }
    reason = reason_of(notification.status_message)
    if notification.status is Status.FAILED and reason:
        request["FailureReason"] = reason
    if workflow.operation is WorkflowOperation.PROVISION:
        request["ResourceIdentifier"] = {"UniqueTag": {"Key": tag_key, "Value": workflow.product_id}}
    if workflow.operation is not WorkflowOperation.TERMINATE and notification.outputs:
        request["Outputs"] = [{"OutputKey": key, "OutputValue": value} for key, value in notification.outputs]
    return request


def reason_of(message: str) -> str:
    """A status message as a failure reason: of the characters that are taken, and not longer than is."""
    text = _NOT_TAKEN.sub("?", message)
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - len(_CUT)] + _CUT


def _meaning(error: Exception, now: float, *, built: bool) -> Outcome:
    return outcome_of(error, now, _OPERATIONS, _REFUSALS, built=built)
