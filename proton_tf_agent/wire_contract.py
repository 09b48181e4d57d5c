"""The wire contract of AWS Proton as a receiver judges it: pure, bytes in, verdict out.

Two operations: `NotifyResourceDeploymentStatusChange`, and `GetDeployment`, by which a sender asks what became of it.

The limits are written out and not taken from the domain on purpose: this is the second opinion.
Source: botocore `proton/2020-07-20/service-2.json`, AWS JSON 1.0, the AWS Proton API Reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any

NOTIFY = "NotifyResourceDeploymentStatusChange"
GET_DEPLOYMENT = "GetDeployment"
TARGETS = {f"AwsProton20200720.{operation}": operation for operation in (NOTIFY, GET_DEPLOYMENT)}
CONTENT_TYPE = "application/x-amz-json-1.0"


class Refused(Exception):
    """The request is not accepted; the text is for the sender and repeats none of its values."""

    def __init__(self, code: str, text: str, http_status: int = 400, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.http_status = http_status
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class _Text:
    """The constraint of a string member: its length in characters, a pattern, or a list of values."""

    shortest: int = 0
    longest: int | None = None
    pattern: re.Pattern[str] | None = None
    one_of: tuple[str, ...] = ()

    def objections(self, text: str) -> Iterator[str]:
        if len(text) < self.shortest:
            yield f"must have length greater than or equal to {self.shortest}"
        if self.longest is not None and len(text) > self.longest:
            yield f"must have length less than or equal to {self.longest}"
        elif self.pattern is not None and not self.pattern.fullmatch(text):
            yield f"must satisfy regular expression pattern: {self.pattern.pattern}"
        if self.one_of and text not in self.one_of:
            yield f"must satisfy enum value set: [{', '.join(self.one_of)}]"


MAX_OUTPUTS = 50
_OUTPUT_TEXT = _Text(1, 1024)
_ARN = r"arn:(aws|aws-cn|aws-us-gov):[a-zA-Z0-9-]+:[a-zA-Z0-9-]*:\d{12}:([\w+=,.@-]+[/:])*[\w+=,.@-]+"
_DEPLOYMENT_ID = _Text(pattern=re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"))
_NAME = _Text(1, 100, re.compile(r"[0-9A-Za-z]+[0-9A-Za-z_\-]*", re.ASCII))
_MEMBERS = {
    NOTIFY: {
        "resourceArn": _Text(1, 200, re.compile(_ARN, re.ASCII)),
        "deploymentId": _DEPLOYMENT_ID,
        "status": _Text(one_of=("IN_PROGRESS", "FAILED", "SUCCEEDED")),
        "statusMessage": _Text(0, 5000),
    },
    GET_DEPLOYMENT: {
        "id": _DEPLOYMENT_ID,
        "componentName": _NAME,
        "environmentName": _NAME,
        "serviceInstanceName": _NAME,
        "serviceName": _NAME,
    },
}
_NOT = "failed to satisfy constraint: Member"
_REQUIRED = {NOTIFY: "resourceArn", GET_DEPLOYMENT: "id"}  # so says the model; a status became optional in 2022
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=[^/,\s]+/\d{8}/[a-z0-9-]+/(?P<service>[^/,\s]+)/aws4_request, *"
    r"SignedHeaders=[a-z0-9;-]+, *Signature=[0-9a-f]{64}",
    re.ASCII,
)


def check_envelope(method: str, path: str, headers: Message) -> str:
    """The operation that is called, if the call is signed. Raises Refused."""
    operation = TARGETS.get(headers.get("X-Amz-Target", ""))
    if operation is None or (method, path) != ("POST", "/"):
        raise Refused("UnknownOperationException", f"Only {NOTIFY} and {GET_DEPLOYMENT} are spoken here")
    if headers.get("Content-Type", "").partition(";")[0].strip() != CONTENT_TYPE:
        raise Refused("UnknownOperationException", f"The content type must be {CONTENT_TYPE}")
    signature = headers.get("Authorization")
    if signature is None:
        raise Refused("MissingAuthenticationTokenException", "The request is not signed", 403)
    signed = _SIGNED.fullmatch(signature)
    if signed is None or "X-Amz-Date" not in headers:
        raise Refused("IncompleteSignatureException", "The signature is not one of AWS4-HMAC-SHA256")
    if signed["service"] != "proton":
        raise Refused("InvalidSignatureException", "Credential should be scoped to correct service: proton", 403)
    return operation


def read_request(operation: str, body: bytes) -> dict[str, Any]:
    """The members of a valid request; optional ones may be missing. Raises Refused."""
    try:
        document = json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Refused("SerializationException", "The body is not valid JSON") from None
    if not isinstance(document, dict):
        raise Refused("SerializationException", "The body is not a JSON object")
    members = {name: value for name, value in document.items() if value is not None}  # null is absent
    required = _REQUIRED[operation]
    found = [] if required in members else [f"Value at '{required}' {_NOT} must not be null"]
    for name, constraint in _MEMBERS[operation].items():
        if name in members:
            found += _objections(name, members[name], constraint)
    if operation == NOTIFY:
        found += _objections_to_outputs(members.get("outputs", []))
    elif "serviceInstanceName" in members and "serviceName" not in members:
        found.append("'serviceName' must be specified to identify the service instance")
    if found:
        raise Refused("ValidationException", f"{len(found)} validation error(s) detected: {'; '.join(found)}")
    return members


def _objections(where: str, value: object, constraint: _Text) -> list[str]:
    if not isinstance(value, str):
        raise Refused("SerializationException", f"The value at '{where}' is not a string")
    return [f"Value at '{where}' {_NOT} {objection}" for objection in constraint.objections(value)]


def _objections_to_outputs(outputs: object) -> list[str]:
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise Refused("SerializationException", "The value at 'outputs' is not a list of structures")
    found = []
    if len(outputs) > MAX_OUTPUTS:
        found.append(f"Value at 'outputs' {_NOT} must have length less than or equal to {MAX_OUTPUTS}")
    for place, output in enumerate(outputs[:MAX_OUTPUTS], 1):
        for member in ("key", "valueString"):  # the model requires neither, yet an output needs both to be one
            value = "" if output.get(member) is None else output[member]
            found += _objections(f"outputs.{place}.member.{member}", value, _OUTPUT_TEXT)
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
