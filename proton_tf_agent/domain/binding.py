"""Binding: whose run it is. A Proton resource is known by its ARN alone, never by a path.

Whoever has neither ARN nor name in the settings is known by the run directory (`Notification.subject`): what a job
writes there speaks for that directory and for nothing else.

Looked for in this order and frozen once found: `.proton/deployment-metadata.json` of the run directory, the operation
that Service Catalog has asked for (where there is a sink for that), a `[[bind]]` of the settings, the `"//"` ARN of
`proton.auto.tfvars.json`. The files come from untrusted jobs:
they are parsed strictly here (bytes in, `Binding` or `Unbound` out), and an ARN read from one must match
`[allow] resource_arns` and lie in a region that a sink talks to: an ARN chooses neither region nor endpoint. The
published pattern of AWS accepts IAM roles and `..`; the grammar below does not.

What was written after a run was over is about another deployment: it binds nothing (`run_directories`). A directory
may be another resource's with its next run, for the path says nothing: what a job may claim, `[allow]` says.

Source of the shapes: the files AWS Proton committed between 2022 and 2023; `isResourceDeleted` is missing in
the older ones, a deleted resource carries the literal `<proton-resource-deleted>` for its deployment ID.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Collection, Sequence
from typing import Any

from .values import Struct
from .workflow import Workflow, workflow_of

METADATA_PATH = ".proton/deployment-metadata.json"
OPERATION_PATH = ".service-catalog/operation.json"  # a name of ours: AWS names none
TFVARS_PATH = "proton.auto.tfvars.json"

_NAME = r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}"
_ARN = re.compile(
    r"arn:(?:aws|aws-cn|aws-us-gov):proton:(?P<region>[a-z]{2}(?:-[a-z]+)+-\d):\d{12}:"
    rf"(?:environment/{_NAME}|component/{_NAME}|service/{_NAME}/(?:service-instance/{_NAME}|pipeline))",
    re.ASCII,
)
_DEPLOYMENT_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_DELETED = "<proton-resource-deleted>"
MAX_ARN = 200
MAX_METADATA = 64 * 1024
MAX_OPERATION = 256 * 1024  # as large as a message of its queue may be
MAX_DEPTH = 128
_CODE = re.compile(r"E_[A-Z0-9_]+", re.ASCII)
# What AWS publishes as the pattern of a resource ARN: botocore proton/2020-07-20/service-2.json, shape Arn.
_ANY_ARN = re.compile(r"arn:(?:aws|aws-cn|aws-us-gov):[a-zA-Z0-9-]+:[a-zA-Z0-9-]*:\d{12}:[\w+=,.@:/-]*", re.ASCII)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # linear: it matches from every quote
_BRACKET = re.compile(r"[\[{]|[\]}]")


class Binding(Struct, frozen=True):
    """The resource and deployment a run reports for. deployment_id is None where none is known (`[[bind]]`).

    name: what the settings call it. Without an ARN a run is told by that name, to sinks that take such runs. workflow:
    of Service Catalog, whose provisioned product is the name then.
    """

    resource_arn: str | None
    deployment_id: str | None = None
    resource_deleted: bool = False
    source: str = ""
    name: str | None = None
    workflow: Workflow | None = None


class Unbound(Struct, frozen=True):
    """No binding, and the reason a person is shown. Where an input was refused it begins with a code (`refusals`)."""

    reason: str
    refused_arn: str = ""

    @property
    def code(self) -> str:
        """The code of a refusal; empty where nothing was there to be refused."""
        return code_in(self.reason)


def code_in(reason: str) -> str:
    """The code a reason begins with; empty where it has none."""
    found = _CODE.match(reason)
    return found[0] if found else ""


def is_resource_arn(text: object) -> bool:
    """Whether text is the ARN of a Proton environment, component, service instance or service pipeline."""
    return isinstance(text, str) and len(text) <= MAX_ARN and _ARN.fullmatch(text) is not None


def region_of(resource_arn: str) -> str:
    """The region in the ARN of a Proton resource; empty where it is none."""
    match = _ARN.fullmatch(resource_arn)
    return match["region"] if match else ""


def is_deployment_id(text: object) -> bool:
    """Whether text is a deployment ID: a UUID in lower case."""
    return isinstance(text, str) and _DEPLOYMENT_ID.fullmatch(text) is not None


def allows(patterns: Sequence[str], resource_arn: str) -> bool:
    """Whether an ARN read from a watched directory may be spoken for."""
    return any(fnmatch.fnmatchcase(resource_arn, pattern) for pattern in patterns)


def from_metadata(content: bytes, allowed: Sequence[str], regions: Collection[str] = ()) -> Binding | Unbound:
    """Read `.proton/deployment-metadata.json`. regions: those that sinks talk to; none: any will do."""
    document = _strict_object(content, METADATA_PATH)
    if isinstance(document, Unbound):
        return document
    blocks = [key for key in ("resourceMetadata", "componentMetadata") if key in document]
    if len(blocks) != 1 or not isinstance(document[blocks[0]], dict):
        return Unbound(f"E_SCHEMA: {METADATA_PATH} needs exactly one of resourceMetadata and componentMetadata")
    arn = document[blocks[0]].get("arn")
    if not is_resource_arn(arn):
        return Unbound(f"{_code_of_arn(arn)}: {METADATA_PATH} names no valid Proton resource ARN")
    deleted = document.get("isResourceDeleted", False)
    if not isinstance(deleted, bool):
        return Unbound(f"E_SCHEMA: {METADATA_PATH}: isResourceDeleted is neither true nor false")
    deployment_id = document.get("deploymentId")
    if deleted and deployment_id == _DELETED:
        deployment_id = None
    elif not is_deployment_id(deployment_id):
        return Unbound(f"E_DEPLOYMENT_ID: {METADATA_PATH}: deploymentId is not a UUID in lower case")
    return _permitted(arn, Binding(arn, deployment_id, deleted, METADATA_PATH), allowed, regions)


def from_operation(content: bytes) -> Binding | Unbound:
    """Read the operation that Service Catalog has asked for: the body of the queue's message, as it came.

    Its token proves whose it is, and to whom: there is nothing to be allowed.
    """
    document = _strict_object(content, OPERATION_PATH, MAX_OPERATION)
    if isinstance(document, Unbound):
        return document
    found = workflow_of(document)
    if isinstance(found, str):
        return Unbound(f"E_SCHEMA: {OPERATION_PATH}: {found}")
    return Binding(None, None, False, OPERATION_PATH, found.product_id, found)


def from_tfvars(content: bytes, allowed: Sequence[str], regions: Collection[str] = ()) -> Binding | Unbound:
    """Read the ARN that Proton repeats under the key `//` of `proton.auto.tfvars.json`."""
    document = _strict_object(content, TFVARS_PATH)
    if isinstance(document, Unbound):
        return document
    return from_tfvars_arn(document.get("//"), allowed, regions)


def from_tfvars_arn(arn: object, allowed: Sequence[str], regions: Collection[str] = ()) -> Binding | Unbound:
    """What the value under the key `//` of `proton.auto.tfvars.json` binds to."""
    if not is_resource_arn(arn):
        return Unbound(f'{TFVARS_PATH} has no "//" key with a Proton resource ARN')
    return _permitted(str(arn), Binding(str(arn), None, False, TFVARS_PATH), allowed, regions)


def _permitted(arn: str, binding: Binding, allowed: Sequence[str], regions: Collection[str]) -> Binding | Unbound:
    if not allows(allowed, arn):
        return Unbound(f"E_ARN_DENIED: {arn} is not covered by [allow] resource_arns", arn)
    if regions and region_of(arn) not in regions:
        return Unbound(f"E_ARN_DENIED: {arn} is in a region that no [[sink]] talks to", arn)
    return binding


def _code_of_arn(arn: object) -> str:
    """Whether what is no Proton resource is at least the ARN of something."""
    is_any = isinstance(arn, str) and len(arn) <= MAX_ARN and _ANY_ARN.fullmatch(arn)
    return "E_ARN_TYPE" if is_any else "E_ARN"


class _Malformed(ValueError):
    """The document is not strict JSON; the text is the reason, its code first."""


def _strict_object(content: bytes, name: str, most: int = MAX_METADATA) -> dict[str, Any] | Unbound:
    try:
        document = _strict(content, most)
    except _Malformed as why:
        code, what = why.args
        return Unbound(f"{code}: {name} {what}")
    return document if isinstance(document, dict) else Unbound(f"E_SCHEMA: {name} is not a JSON object")


def _strict(content: bytes, most: int) -> Any:
    if len(content) > most:
        raise _Malformed("E_TOO_LARGE", f"is larger than {most // 1024} KiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _Malformed("E_UTF8", "is not UTF-8") from None
    if not text.strip():
        raise _Malformed("E_EMPTY", "is empty")
    if _depth(text) > MAX_DEPTH:
        raise _Malformed("E_JSON_DEPTH", "is nested too deeply")
    try:
        # Numbers mean nothing here; as text none is too long to be read.
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=str, parse_float=str
        )
    except _Malformed:
        raise
    except ValueError:
        raise _Malformed("E_JSON", "is not valid JSON") from None


def _depth(text: str) -> int:
    """How deeply a document is nested, at most; of what is none, as deeply as its brackets say."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise _Malformed("E_JSON_DUPKEY", "has a key that occurs twice")
    return document


def _refuse_constant(name: str) -> Any:
    raise _Malformed("E_JSON_NUM", f"holds {name}, which is not JSON")
