"""The Proton sink: one notification becomes one call of `NotifyResourceDeploymentStatusChange`.

Promises: one attempt, one request (botocore's own retries are off); never an exception, always an outcome;
ACCEPTED only for an answer that is whole and Proton's own; no redirect is followed, no proxy and no endpoint
is taken from the environment. botocore says nothing when an answer is cut short or is a login page, and lets
AttributeError through for odd error documents (tried with 1.44.5), so every answer passes `_examine` first.

boto3 is imported with the first attempt, never with this module. When botocore has dropped Proton, as it does
with ended services, the model of this one operation in `models/` stands in.
"""

from __future__ import annotations

import json
import math
import os
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..aws_client import build_client
from ..domain.notification import Notification
from ..domain.outbox import Outcome, OutcomeKind

if TYPE_CHECKING:
    from mypy_boto3_proton.client import ProtonClient
    from mypy_boto3_proton.type_defs import NotifyResourceDeploymentStatusChangeInputTypeDef as Request

OPERATION = "NotifyResourceDeploymentStatusChange"
MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")
MAX_ANSWER = 64 * 1024  # bytes read of an answer; Proton's own are below 1 KiB
_RECONNECT_AFTER = 5.0  # seconds a client without valid credentials is kept; building one costs up to 0.3 s

# What an error's name means, without its suffix "Exception": the seven of the operation, then AWS's common ones.
# https://docs.aws.amazon.com/proton/latest/APIReference/CommonErrors.html, botocore retries/standard.py
REFUSALS: Mapping[str, OutcomeKind] = {
    "AccessDenied": OutcomeKind.DENIED,
    "Conflict": OutcomeKind.CONFLICT,
    "InternalServer": OutcomeKind.UNAVAILABLE,
    "ResourceNotFound": OutcomeKind.NOT_FOUND,
    "ServiceQuotaExceeded": OutcomeKind.QUOTA_EXCEEDED,
    "Throttling": OutcomeKind.THROTTLED,
    "Validation": OutcomeKind.INVALID,
    "Forbidden": OutcomeKind.DENIED,
    "NotAuthorized": OutcomeKind.DENIED,
    "UnauthorizedOperation": OutcomeKind.DENIED,
    "InternalFailure": OutcomeKind.UNAVAILABLE,
    "RequestTimeout": OutcomeKind.UNAVAILABLE,
    "ServiceUnavailable": OutcomeKind.UNAVAILABLE,
    "Serialization": OutcomeKind.INVALID,
    "ValidationError": OutcomeKind.INVALID,
    "AuthFailure": OutcomeKind.UNAUTHENTICATED,
    "ExpiredToken": OutcomeKind.UNAUTHENTICATED,
    "IncompleteSignature": OutcomeKind.UNAUTHENTICATED,
    "InvalidClientTokenId": OutcomeKind.UNAUTHENTICATED,
    "InvalidSignature": OutcomeKind.UNAUTHENTICATED,
    "MissingAuthenticationToken": OutcomeKind.UNAUTHENTICATED,
    "RequestExpired": OutcomeKind.UNAUTHENTICATED,
    "RequestTimeTooSkewed": OutcomeKind.UNAUTHENTICATED,
    "SignatureDoesNotMatch": OutcomeKind.UNAUTHENTICATED,
    "TokenRefreshRequired": OutcomeKind.UNAUTHENTICATED,
    "UnrecognizedClient": OutcomeKind.UNAUTHENTICATED,
    "BandwidthLimitExceeded": OutcomeKind.THROTTLED,
    "LimitExceeded": OutcomeKind.THROTTLED,
    "PriorRequestNotComplete": OutcomeKind.THROTTLED,
    "ProvisionedThroughputExceeded": OutcomeKind.THROTTLED,
    "RequestLimitExceeded": OutcomeKind.THROTTLED,
    "RequestThrottled": OutcomeKind.THROTTLED,
    "SlowDown": OutcomeKind.THROTTLED,
    "Throttled": OutcomeKind.THROTTLED,
    "TooManyRequests": OutcomeKind.THROTTLED,
}

# What botocore raises before anything has left. A class stands for its subclasses too.
UNSENT: Mapping[str, OutcomeKind] = {
    "ParamValidationError": OutcomeKind.INVALID,
    # the connection was never made
    "ConnectTimeoutError": OutcomeKind.UNAVAILABLE,
    "EndpointConnectionError": OutcomeKind.UNAVAILABLE,
    # the credentials chain: none, incomplete, or their source does not answer
    "ConfigNotFound": OutcomeKind.UNAUTHENTICATED,
    "ConfigParseError": OutcomeKind.UNAUTHENTICATED,
    "CredentialRetrievalError": OutcomeKind.UNAUTHENTICATED,
    "InvalidConfigError": OutcomeKind.UNAUTHENTICATED,
    "LoginError": OutcomeKind.UNAUTHENTICATED,
    "MetadataRetrievalError": OutcomeKind.UNAUTHENTICATED,
    "NoAuthTokenError": OutcomeKind.UNAUTHENTICATED,
    "NoCredentialsError": OutcomeKind.UNAUTHENTICATED,
    "PartialCredentialsError": OutcomeKind.UNAUTHENTICATED,
    "ProfileNotFound": OutcomeKind.UNAUTHENTICATED,
    "RefreshWithMFAUnsupportedError": OutcomeKind.UNAUTHENTICATED,
    "SSOError": OutcomeKind.UNAUTHENTICATED,
    "TokenRetrievalError": OutcomeKind.UNAUTHENTICATED,
    "UnknownCredentialError": OutcomeKind.UNAUTHENTICATED,
    # where to send it cannot be told; no request can be signed either
    "EndpointProviderError": OutcomeKind.UNAUTHENTICATED,
    "InvalidRegionError": OutcomeKind.UNAUTHENTICATED,
    "NoRegionError": OutcomeKind.UNAUTHENTICATED,
}

# Ended services keep answering, with an ordinary error and one of these phrases in its text: OpsWorks with
# AccessDenied, Elastic Transcoder with Validation. Such an entry waits; parking it would lose a migration's time.
_RETIRED = re.compile(r"no longer (?:accepting|available|supported)|discontinu|end of support|existing customers", re.I)
_SAID_BY_RETIRED = (OutcomeKind.DENIED, OutcomeKind.INVALID, OutcomeKind.UNKNOWN)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,79}", re.ASCII)
_REQUEST_ID = re.compile(r"[\w.:=/+-]{1,128}", re.ASCII)


class ProtonSink:
    """Tells AWS Proton, or whatever speaks its wire contract at `endpoint_url`.

    Timeouts are in seconds. Credentials come from the AWS chain; after a refusal for their sake the chain is
    walked again, so that credentials put right on disk are picked up without a restart.
    """

    def __init__(
        self,
        name: str,
        region: str,
        endpoint_url: str | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 20.0,
    ) -> None:
        self.name = name
        self._region = region
        self._endpoint_url = endpoint_url
        self._timeouts = (connect_timeout, read_timeout)
        self._lock = threading.Lock()  # clients are thread-safe, building one is not
        self._client: ProtonClient | None = None
        self._built_at = 0.0
        self._closed = False

    def wants(self, notification: Notification) -> bool:
        """False once the resource is deleted: Proton has no record of it any more."""
        return not notification.resource_deleted

    def send(self, notification: Notification) -> Outcome:
        """Make one request and say what came of it. See REFUSALS and UNSENT for what means what."""
        client = None
        try:
            client = self._connected()
            if client is None:
                return Outcome(OutcomeKind.UNAVAILABLE, "SinkClosed")
            answer = client.notify_resource_deployment_status_change(**request_of(notification))
        except Exception as error:
            # Exception, not BotoCoreError: botocore lets others through, and the relay must hear of each.
            outcome = _outcome_of(error, built=client is not None)
        else:
            meta = answer["ResponseMetadata"]
            outcome = Outcome(OutcomeKind.ACCEPTED, "", meta["HTTPStatusCode"], _request_id(meta))
        if outcome.kind is OutcomeKind.UNAUTHENTICATED:
            self._forget(client)
        return outcome

    def close(self) -> None:
        """Close idle connections and take no more notifications; an attempt under way ends by itself."""
        with self._lock:
            client, self._client, self._closed = self._client, None, True
        if client is not None:
            client.close()

    def _connected(self) -> ProtonClient | None:
        with self._lock:
            if self._client is None and not self._closed:
                self._client = _build_client(self._region or None, self._endpoint_url, self._timeouts)
                self._built_at = time.monotonic()
            return self._client

    def _forget(self, client: ProtonClient | None) -> None:
        """Drop a client whose credentials did not do: a session looks for them only once."""
        with self._lock:
            if client is self._client and time.monotonic() - self._built_at >= _RECONNECT_AFTER:
                self._client = None  # not closed: others may be sending with it; its sockets go with it


def request_of(notification: Notification) -> Request:
    """The parameters of the call. What is empty is left out: the model wants it so for outputs' members."""
    request: Request = {"resourceArn": notification.resource_arn, "status": notification.status.value}
    if notification.deployment_id is not None:
        request["deploymentId"] = notification.deployment_id
    if notification.status_message:
        request["statusMessage"] = notification.status_message
    if notification.outputs:
        request["outputs"] = [{"key": key, "valueString": value} for key, value in notification.outputs]
    return request


def _build_client(region: str | None, endpoint_url: str | None, timeouts: tuple[float, float]) -> ProtonClient:
    # botocore's own model of Proton goes before ours while it exists. The outbox retries, nobody else.
    client: ProtonClient = build_client("proton", region, endpoint_url, timeouts, models=[MODELS])
    transport = client._endpoint.http_session  # type: ignore[attr-defined]  # noqa: SLF001 - no public way to cap

    def fetch(request: Any, **_: Any) -> Any:
        """Send, but read no more than MAX_ANSWER and one byte: botocore alone reads whatever is sent."""
        request.stream_output = True
        response = transport.send(request)
        body = response.raw.read(MAX_ANSWER + 1)
        if len(body) > MAX_ANSWER:
            response.raw.close()  # the rest is never read, so this connection is of no more use
        response.raw = _Body(body)
        return response

    client.meta.events.register(f"before-send.proton.{OPERATION}", fetch)
    client.meta.events.register(f"before-parse.proton.{OPERATION}", _examine)
    return client


class _Body:
    """The bytes of an answer in the shape in which botocore asks for them."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


class _NoAnswer(Exception):
    """What came back under a status of success or redirection is no answer of Proton's; the text names why."""

    def __init__(self, name: str, http_status: int) -> None:
        super().__init__(name)
        self.http_status = http_status


def _examine(response_dict: dict[str, Any], **_: Any) -> None:
    """Let botocore parse only what it can be trusted with; raise _NoAnswer for an acceptance that is none."""
    http_status, headers, body = (response_dict[key] for key in ("status_code", "headers", "body"))
    document = _json_object(body)
    if http_status >= 400:
        if document is None or not isinstance(document.get("__type", ""), str):
            response_dict["body"] = b""  # the status alone speaks
        return
    if http_status >= 300:
        raise _NoAnswer("ResponseRedirected", http_status)
    if len(body) > MAX_ANSWER:
        raise _NoAnswer("ResponseTooLarge", http_status)
    if headers.get("content-length") not in (None, str(len(body))):
        raise _NoAnswer("ResponseTruncated", http_status)
    if not body and "x-amzn-requestid" in headers:
        return  # the API reference promises an empty body, a login page has no request ID
    if document is None or "__type" in document or "json" not in headers.get("content-type", "json"):
        raise _NoAnswer("ResponseUnexpected", http_status)


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _outcome_of(error: Exception, *, built: bool) -> Outcome:
    """What an exception means. built: there was a client, so something may have left.

    Classes are told by their names, so that an agent whose botocore cannot be imported still gets its answer.
    """
    if isinstance(error, _NoAnswer):
        return Outcome(OutcomeKind.UNAVAILABLE, str(error), error.http_status, ambiguous=True)
    names = [base.__name__ for base in type(error).__mro__]
    if "ClientError" in names:
        return _refusal(error)
    kind = next((UNSENT[name] for name in names if name in UNSENT), None) if "BotoCoreError" in names else None
    if kind is not None:
        return Outcome(kind, names[0])
    refused_by_tls = "SSLError" in names and not _was_cut(error)
    return Outcome(OutcomeKind.UNAVAILABLE, names[0], ambiguous=built and not refused_by_tls)


def _was_cut(error: BaseException) -> bool:
    """Whether a TLS connection just ended, which it may do at any time; other TLS errors are the handshake's."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _refusal(error: Any) -> Outcome:
    """What a ClientError means: by the error's name if we know it, else by the HTTP status."""
    problem, meta = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    headers: Mapping[str, str] = meta.get("HTTPHeaders", {})
    http_status = int(meta.get("HTTPStatusCode", 0))
    code = str(problem.get("Code", ""))
    if code.isdigit():  # botocore's stand-in for a name it did not find in the body
        code = headers.get("x-amzn-errortype", "").partition(":")[0]
    kind = _kind_of(code, http_status)
    if not _NAME.fullmatch(code):
        code = f"HTTP {http_status}"
    if error.operation_name != OPERATION:
        kind = OutcomeKind.UNAUTHENTICATED  # a call of the credentials chain was refused, such as AssumeRole
    elif kind in _SAID_BY_RETIRED and _RETIRED.search(str(problem.get("Message", ""))):
        kind, code = OutcomeKind.DENIED, "ServiceRetired"
    unavailable = kind is OutcomeKind.UNAVAILABLE
    return Outcome(kind, code, http_status, _request_id(meta), ambiguous=unavailable, retry_after=_retry_after(headers))


def _kind_of(code: str, http_status: int) -> OutcomeKind:
    by_name = REFUSALS.get(code.removesuffix("Exception"))
    if by_name is not None:
        return by_name
    if http_status == 429:
        return OutcomeKind.THROTTLED
    return OutcomeKind.UNAVAILABLE if http_status >= 500 or http_status == 408 else OutcomeKind.UNKNOWN


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks for. Its dates are not honoured: they need two clocks that agree."""
    for header, unit in (("x-amz-retry-after", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(header, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None


def _request_id(meta: Mapping[str, Any]) -> str:
    found = str(meta.get("RequestId", ""))
    return found if _REQUEST_ID.fullmatch(found) else ""
