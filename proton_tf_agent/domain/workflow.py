"""A workflow of Service Catalog: which operation on which provisioned product a run carries out, and the token by which
its result is told.

Service Catalog hands these to an engine of type EXTERNAL by a queue: `token`, `operation`, `recordId`,
`provisionedProductId`. The token is a capability: whoever has it can tell the result. It is kept in the journal until
the result is told, is in nothing that is shown, and is sent to Service Catalog alone.
Source: AWS Service Catalog Administrator Guide, "External engines"; botocore servicecatalog/2015-12-10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from .values import Struct

MAX_TOKEN = 20_000
_TOKEN = re.compile(r"[0-9A-Za-z+/=]+", re.ASCII)
_RECORD_ID = re.compile(r"[0-9A-Za-z_-]{1,100}", re.ASCII)
_PRODUCT_ID = re.compile(r"pp-[0-9A-Za-z]{1,97}", re.ASCII)


class WorkflowOperation(StrEnum):
    """What Service Catalog asks an engine for, in its own words."""

    PROVISION = "PROVISION_PRODUCT"
    UPDATE = "UPDATE_PROVISIONED_PRODUCT"
    TERMINATE = "TERMINATE_PROVISIONED_PRODUCT"


class Workflow(Struct, frozen=True):
    """One operation of Service Catalog's. product_id is the provisioned product's."""

    operation: WorkflowOperation
    record_id: str
    product_id: str
    token: str

    def __repr__(self) -> str:
        """All of it but the token."""
        return f"Workflow({self.operation!r}, {self.record_id!r}, {self.product_id!r})"


def workflow_of(message: Mapping[str, object]) -> Workflow | str:
    """The workflow that a message of the queue is about, or what of it is wrong; its parameters and tags are not looked
    at. No value is ever named."""
    operation, record_id, product_id, token = (
        message.get(key) for key in ("operation", "recordId", "provisionedProductId", "token")
    )
    if not isinstance(operation, str) or operation not in list(WorkflowOperation):
        return f"operation is none of {', '.join(WorkflowOperation)}"
    if not isinstance(record_id, str) or not _RECORD_ID.fullmatch(record_id):
        return "recordId is missing or is none"
    if not isinstance(product_id, str) or not _PRODUCT_ID.fullmatch(product_id):
        return "provisionedProductId is missing or is none"
    if not isinstance(token, str) or len(token) > MAX_TOKEN or not _TOKEN.fullmatch(token):
        return "token is missing or is none"
    return Workflow(WorkflowOperation(operation), record_id, product_id, token)
