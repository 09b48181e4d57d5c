"""Binding: whose run it is. Identity comes from a resource ARN, never from a path.

Looked for in this order and frozen once found: `.proton/deployment-metadata.json` of the run directory, a
`[[bind]]` of the settings, the `"//"` ARN of `proton.auto.tfvars.json`. The files come from untrusted jobs:
they are parsed strictly here (bytes in, `Binding` or `Unbound` out), and an ARN read from one must match
`[allow] resource_arns`. The published pattern of AWS accepts IAM roles and `..`; the grammar below does not.

What was written after a run was over is about another deployment: it binds nothing (`run_directories`).

Source of the shapes: the files AWS Proton committed between 2022 and 2023; `isResourceDeleted` is missing in
the older ones, a deleted resource carries the literal `<proton-resource-deleted>` for its deployment ID.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

METADATA_PATH = ".proton/deployment-metadata.json"
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


@dataclass(frozen=True, slots=True)
class Binding:
    """The resource and deployment a run reports for. deployment_id is None where none is known (`[[bind]]`)."""

    resource_arn: str
    deployment_id: str | None = None
    resource_deleted: bool = False
    source: str = ""

    @property
    def region(self) -> str:
        match = _ARN.fullmatch(self.resource_arn)
        return match["region"] if match else ""


@dataclass(frozen=True, slots=True)
class Unbound:
    """No binding, and the reason a person is shown."""

    reason: str
    refused_arn: str = ""


def is_resource_arn(text: object) -> bool:
    """Whether text is the ARN of a Proton environment, component, service instance or service pipeline."""
    return isinstance(text, str) and len(text) <= MAX_ARN and _ARN.fullmatch(text) is not None


def is_deployment_id(text: object) -> bool:
    """Whether text is a deployment ID: a UUID in lower case."""
    return isinstance(text, str) and _DEPLOYMENT_ID.fullmatch(text) is not None


def allows(patterns: Sequence[str], resource_arn: str) -> bool:
    """Whether an ARN read from a watched directory may be spoken for."""
    return any(fnmatch.fnmatchcase(resource_arn, pattern) for pattern in patterns)


def from_metadata(content: bytes, allowed: Sequence[str]) -> Binding | Unbound:
    """Read `.proton/deployment-metadata.json`."""
    document = _strict_object(content, METADATA_PATH)
    if isinstance(document, Unbound):
        return document
    blocks = [key for key in ("resourceMetadata", "componentMetadata") if key in document]
    if len(blocks) != 1 or not isinstance(document[blocks[0]], dict):
        return Unbound(f"{METADATA_PATH} needs exactly one of resourceMetadata and componentMetadata")
    arn = document[blocks[0]].get("arn")
    if not is_resource_arn(arn):
        return Unbound(f"{METADATA_PATH} names no valid Proton resource ARN")
    deleted = document.get("isResourceDeleted", False)
    if not isinstance(deleted, bool):
        return Unbound(f"{METADATA_PATH}: isResourceDeleted is neither true nor false")
    deployment_id = document.get("deploymentId")
    if deleted and deployment_id == _DELETED:
        deployment_id = None
    elif not is_deployment_id(deployment_id):
        return Unbound(f"{METADATA_PATH}: deploymentId is not a UUID in lower case")
    if not allows(allowed, arn):
        return _refused(arn)
    return Binding(arn, deployment_id, deleted, METADATA_PATH)


def from_tfvars(content: bytes, allowed: Sequence[str]) -> Binding | Unbound:
    """Read the ARN that Proton repeats under the key `//` of `proton.auto.tfvars.json`."""
    document = _strict_object(content, TFVARS_PATH)
    if isinstance(document, Unbound):
        return document
    return from_tfvars_arn(document.get("//"), allowed)


def from_tfvars_arn(arn: object, allowed: Sequence[str]) -> Binding | Unbound:
    """What the value under the key `//` of `proton.auto.tfvars.json` binds to."""
    if not is_resource_arn(arn):
        return Unbound(f'{TFVARS_PATH} has no "//" key with a Proton resource ARN')
    if not allows(allowed, str(arn)):
        return _refused(str(arn))
    return Binding(str(arn), None, False, TFVARS_PATH)


def _refused(arn: str) -> Unbound:
    return Unbound(f"{arn} is not covered by [allow] resource_arns", arn)


class _Malformed(ValueError):
    """The document is not strict JSON; the text says why."""


def _strict_object(content: bytes, name: str) -> dict[str, Any] | Unbound:
    if len(content) > MAX_METADATA:
        return Unbound(f"{name} is larger than {MAX_METADATA // 1024} KiB")
    try:
        text = content.decode("utf-8-sig")
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        return Unbound(f"{name} is not UTF-8")
    except RecursionError:
        return Unbound(f"{name} is nested too deeply")
    except _Malformed as why:
        return Unbound(f"{name}: {why}")
    except ValueError:
        return Unbound(f"{name} is not valid JSON")
    return document if isinstance(document, dict) else Unbound(f"{name} is not a JSON object")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise _Malformed("a key occurs twice")
    return document


def _refuse_constant(name: str) -> Any:
    raise _Malformed(f"{name} is not JSON")
