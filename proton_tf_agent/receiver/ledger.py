"""What the receiver has accepted, and which failures are still to come: all that its connections share."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..domain.errors import AgentError, Problem
from ..wire_contract import GET_DEPLOYMENT, NOTIFY, Refused
from .deployments import Deployments
from .faults import Fault


@dataclass(frozen=True, slots=True)
class Record:
    """One accepted notification. received_at: wall-clock seconds. outcome: `accepted`, or the fault that hid it."""

    number: int
    received_at: float
    resource_arn: str
    deployment_id: str | None
    status: str | None
    status_message: str | None
    outputs: dict[str, str]
    outcome: str


def json_line(record: Record) -> str:
    """A record as one line of JSON, in ASCII."""
    return json.dumps(asdict(record))


@dataclass(slots=True)
class Planned:
    """A failure still to come. remaining: for how many requests; None: for all of them."""

    fault: Fault
    operation: str
    resource_arn: str | None
    remaining: int | None


class Ledger:
    """Everything the connections' threads share; every method may be called from any of them."""

    def __init__(self, journal_path: str | None, on_accepted: Callable[[Record], None] | None) -> None:
        self.changed = threading.Condition()
        self.closing = threading.Event()
        self.requests = 0
        self.records: list[Record] = []
        self.deployments = Deployments()
        self.planned: list[Planned] = []
        self._on_accepted = on_accepted
        self._journal = None
        if journal_path is not None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            try:
                self._journal = os.open(journal_path, flags, 0o600)
            except OSError as error:
                raise AgentError(Problem(f"the file cannot be written: {error.strerror}", journal_path)) from error

    def count(self) -> None:
        with self.changed:
            self.requests += 1
            self.changed.notify_all()

    def draw(self, operation: str, request: Mapping[str, Any]) -> Fault | None:
        """The failure this request is to meet: of those told, the oldest that still applies."""
        with self.changed:
            arn = request["resourceArn"] if operation == NOTIFY else self.deployments.resource_arn(request)
            for planned in self.planned:
                if planned.operation != operation or planned.resource_arn not in (None, arn):
                    continue
                if planned.remaining != 0:
                    if planned.remaining is not None:
                        planned.remaining -= 1
                    return planned.fault
        return None

    def apply(self, operation: str, request: Mapping[str, Any], outcome: str) -> bytes:
        """Do what is asked and return the body of the answer. outcome: what the record is to say. Raises Refused."""
        if operation == GET_DEPLOYMENT:
            with self.changed:
                return json.dumps({"deployment": self.deployments.describe(request)}).encode()
        self._keep(request, outcome)
        return b"{}"

    def _keep(self, request: Mapping[str, Any], outcome: str) -> None:
        """Number a request and remember it; on disk first. Raises Refused when it cannot be written."""
        outputs = {output["key"]: output["valueString"] for output in request.get("outputs", [])}
        deployment_id, status, text = (request.get(name) for name in ("deploymentId", "status", "statusMessage"))
        with self.changed:
            number, now, arn = len(self.records) + 1, time.time(), request["resourceArn"]
            record = Record(number, now, arn, deployment_id, status, text, outputs, outcome)
            self._write(json_line(record) + "\n")
            self.records.append(record)
            if deployment_id is not None:
                self.deployments.note(arn, deployment_id, status, now)
            self.changed.notify_all()
            if self._on_accepted is not None:
                self._on_accepted(record)

    def _write(self, line: str) -> None:
        if self._journal is None:
            return
        try:
            written = os.write(self._journal, line.encode())
        except OSError:
            written = 0
        if written != len(line):
            raise Refused("InternalServerException", "The receiver cannot write its journal", 500)

    def begin_closing(self) -> None:
        with self.changed:
            self.closing.set()
            self.changed.notify_all()

    def close(self) -> None:
        journal, self._journal = self._journal, None
        if journal is not None:
            os.close(journal)
