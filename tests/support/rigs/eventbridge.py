"""EventBridge, with an endpoint behind it that keeps its model and its limits, and drops silently what it does."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from proton_tf_agent.aws_service import Place
from proton_tf_agent.sinks import sink_type

from .. import aws_endpoint
from ..aws_endpoint import AwsEndpoint, Refused
from .rig import Rig

FAULTS = (*aws_endpoint.FAULTS, "NO_SUCH_BUS", "ENTRY_FAILED", "ENTRY_THROTTLED", "NO_RESULT")
BUS = "deployments"


class Bus(AwsEndpoint):
    """One bus, and what is on it. result: what becomes of an entry instead of being put."""

    def __init__(self) -> None:
        self.exists = True
        self.result: dict[str, Any] | None = None
        self.details: list[dict[str, Any]] = []
        super().__init__("events", {"PutEvents": self._put, "DescribeEventBus": self._describe})

    def _describe(self, parameters: dict[str, Any]) -> dict[str, Any]:
        if not self.exists or parameters["Name"] != BUS:
            raise Refused("ResourceNotFoundException")
        return {"Name": BUS, "Arn": f"arn:aws:events:eu-west-1:123456789012:event-bus/{BUS}"}

    def _put(self, parameters: dict[str, Any]) -> dict[str, Any]:
        (entry,) = parameters["Entries"]
        texts = (entry["Source"], entry["DetailType"], entry["Detail"], *entry["Resources"])
        if 14 + sum(len(text.encode()) for text in texts) >= 256 * 1024:
            raise Refused("ValidationException")
        if self.result is not None:
            return self.result
        if self.exists and entry["EventBusName"] == BUS:
            self.details.append(json.loads(entry["Detail"]))
        return {"FailedEntryCount": 0, "Entries": [{"EventId": f"event-{len(self.details)}"}]}


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    bus = Bus()
    place = Place("eu-west-1", bus.url, (5.0, 1.0))
    sink = sink_type("eventbridge")("eventbridge", place, BUS, "proton-tf-agent://here")

    def fail_entry(code: str) -> None:
        bus.result = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": code, "ErrorMessage": "no"}]}

    faults = aws_endpoint.faults_of(bus) | {
        "NO_SUCH_BUS": lambda: setattr(bus, "exists", False),
        "ENTRY_FAILED": lambda: fail_entry("InternalFailure"),
        "ENTRY_THROTTLED": lambda: fail_entry("ThrottlingException"),
        "NO_RESULT": lambda: setattr(bus, "result", {"FailedEntryCount": 0, "Entries": []}),
    }
    try:
        yield Rig(sink, lambda: [detail["status_message"] for detail in bus.details], faults)
    finally:
        sink.close()
        bus.close()
