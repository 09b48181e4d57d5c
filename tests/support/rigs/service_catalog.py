"""Service Catalog, with an endpoint behind it that speaks its protocol and keeps its model, tokens and records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from proton_tf_agent.aws_service import Place
from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.values import replace
from proton_tf_agent.domain.workflow import Workflow, WorkflowOperation
from proton_tf_agent.sinks import sink_type

from .. import aws_endpoint
from ..aws_endpoint import AwsEndpoint, Refused
from .rig import Rig

FAULTS = (*aws_endpoint.FAULTS, "TOKEN_UNKNOWN", "RECORD_UNKNOWN")
TOKEN = "AGTtokenOfAWorkflow+/0123456789=="
WORKFLOW = Workflow(WorkflowOperation.PROVISION, "rec-0123456789abc", "pp-0123456789abc", TOKEN)
_RESULTS = ("ProvisionProduct", "UpdateProvisionedProduct", "TerminateProvisionedProduct")


class Catalog(AwsEndpoint):
    """Takes results for one token and one record."""

    def __init__(self) -> None:
        self.token = TOKEN
        self.record_id = WORKFLOW.record_id
        self.results: list[dict[str, Any]] = []
        rules = dict.fromkeys((f"Notify{name}EngineWorkflowResult" for name in _RESULTS), self._take)
        super().__init__("servicecatalog", {**rules, "DescribeRecord": self._describe})

    def _take(self, parameters: dict[str, Any]) -> dict[str, Any]:
        if parameters["WorkflowToken"] != self.token:
            raise Refused("InvalidParametersException")
        if parameters["RecordId"] != self.record_id:
            raise Refused("ResourceNotFoundException")
        self.results.append(parameters)
        return {}

    def _describe(self, parameters: dict[str, Any]) -> dict[str, Any]:
        raise Refused("ResourceNotFoundException")


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    catalog = Catalog()
    sink = sink_type("service_catalog")("service_catalog", Place("eu-west-1", catalog.url, (5.0, 1.0)))
    faults = aws_endpoint.faults_of(catalog) | {
        "TOKEN_UNKNOWN": lambda: setattr(catalog, "token", "another"),
        "RECORD_UNKNOWN": lambda: setattr(catalog, "record_id", "another"),
    }

    def fits(notification: Notification) -> Notification:
        """A failure of a workflow: only a failure's text is told."""
        return replace(notification, workflow=WORKFLOW, status=Status.FAILED)

    try:
        yield Rig(sink, lambda: [result.get("FailureReason", "") for result in catalog.results], faults, fits)
    finally:
        sink.close()
        catalog.close()
