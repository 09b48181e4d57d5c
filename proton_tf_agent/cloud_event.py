"""A notification as a CloudEvents 1.0 event in its JSON form: what `journal export` writes and a webhook is told.

Its shape is a contract: docs/deployment-event.schema.json. Source: CloudEvents 1.0.2, JSON Event Format.
"""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import quote

from .domain.notification import Notification, Status
from .domain.run import RunStatus
from .moments import iso

_TYPE = "dev.proton-tf-agent.deployment."
_TEST = "dev.proton-tf-agent.test"
_TYPES = {Status.IN_PROGRESS: "in_progress", Status.SUCCEEDED: "succeeded", Status.FAILED: "failed"}


def source_of(host: str | None = None) -> str:
    """Who tells: this host, unless another is named."""
    return f"proton-tf-agent://{quote(host or socket.gethostname(), safe='') or 'localhost'}"


def event(told: Notification, source: str) -> dict[str, Any]:
    """A notification as a CloudEvents 1.0 event in its JSON form; with its source, its id is unique."""
    destroyed = told.run_status is RunStatus.DESTROYED
    return {
        "specversion": "1.0",
        "id": told.notification_id,
        "source": source,
        "type": _TEST if told.is_test else _TYPE + ("destroyed" if destroyed else _TYPES[told.status]),
        "subject": told.subject,
        "time": iso(told.created_at),
        "datacontenttype": "application/json",
        "data": {
            "run_id": told.run_id,
            "directory": told.directory,
            "workspace": told.workspace,
            "run_status": told.run_status.value,
            "resource_arn": told.resource_arn,
            "name": told.name,
            "deployment_id": told.deployment_id,
            "status": told.status.value,
            "status_message": told.status_message,
            "outputs": dict(told.outputs),
            "omitted": dict(told.omitted),
        },
    }
