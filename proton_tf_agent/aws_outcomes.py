"""What came of a call to AWS: errors, answers and exceptions in, outcomes out. Pure; asks no clock and no network.

Here is what all services have in common; what is one's own, its sink adds. Promises: whatever an exception is, there is
an outcome for it; of the server's free text nothing is kept but names that look like names. Classes are told by their
names, so that an agent whose botocore cannot be imported still gets its answer.
"""

from __future__ import annotations

import calendar
import math
import re
import socket
import ssl
from collections.abc import Collection, Iterator, Mapping
from email.utils import parsedate_tz
from typing import Any

from .domain.outbox import Outcome, OutcomeKind

# What an error's name means, without its suffix "Exception": those that many services model, then the common ones.
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
    "RequestInTheFuture": OutcomeKind.UNAUTHENTICATED,
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

# Refusals of a signature for which a wrong clock may be the reason; it is when the server's clock is this far away.
_OF_SIGNATURES = (
    "AuthFailure", "InvalidSignature", "RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
)  # fmt: skip
MAX_SKEW_S = 240.0  # signatures are valid for 5 minutes

_NO_SUCH_HOST = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,79}", re.ASCII)
_REQUEST_ID = re.compile(r"[\w.:=/+-]{1,128}", re.ASCII)


class NoAnswer(Exception):
    """What came back under a status of success or redirection is no answer of the service's; the text names why."""

    def __init__(self, name: str, http_status: int) -> None:
        super().__init__(name)
        self.http_status = http_status


class HostUnresolvable(Exception):
    """The DNS says that the endpoint's host does not exist."""


def is_unresolvable(error: BaseException) -> bool:
    """Whether a connection failed because there is no such host. A DNS that does not answer has not said so."""
    return any(isinstance(cause, socket.gaierror) and cause.errno in _NO_SUCH_HOST for cause in _causes(error))


def outcome_of(
    error: Exception,
    now: float,
    operations: Collection[str],
    refusals: Mapping[str, OutcomeKind] = REFUSALS,
    *,
    built: bool,
) -> Outcome:
    """What an exception means.

    now: wall-clock seconds. operations: those of the service itself; another one is the credentials chain's. refusals:
    what the service's errors mean by name. built: there was a client, so something may have left.
    """
    if isinstance(error, NoAnswer):
        return Outcome(OutcomeKind.UNAVAILABLE, str(error), error.http_status, ambiguous=True)
    if isinstance(error, HostUnresolvable):
        return Outcome(OutcomeKind.UNRESOLVABLE, "HostUnresolvable")
    names = [base.__name__ for base in type(error).__mro__]
    if "ClientError" in names:
        return _refusal(error, now, operations, refusals)
    kind = next((UNSENT[name] for name in names if name in UNSENT), None) if "BotoCoreError" in names else None
    if kind is not None:
        return Outcome(kind, names[0])
    # A TLS connection may just end at any time; other TLS errors are the handshake's.
    was_cut = any(isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError) for cause in _causes(error))
    refused_by_tls = "SSLError" in names and not was_cut
    return Outcome(OutcomeKind.UNAVAILABLE, names[0], ambiguous=built and not refused_by_tls)


def request_id_of(meta: Mapping[str, Any]) -> str:
    """The request ID in botocore's ResponseMetadata, if it looks like one."""
    found = str(meta.get("RequestId", ""))
    return found if _REQUEST_ID.fullmatch(found) else ""


def outcome_named(code: str, meta: Mapping[str, Any], refusals: Mapping[str, OutcomeKind] = REFUSALS) -> Outcome:
    """What an error means that stands inside of an answer. meta: botocore's ResponseMetadata."""
    kind = refusals.get(_of(code), OutcomeKind.UNKNOWN)
    told = code if _NAME.fullmatch(code) else "ErrorUnnamed"
    return Outcome(kind, told, meta["HTTPStatusCode"], request_id_of(meta), ambiguous=kind is OutcomeKind.UNAVAILABLE)


def text_of(error: Exception) -> str:
    """The free text of a refusal, to be looked into and never kept; empty where there is none."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Message", "")) if isinstance(response, Mapping) else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, and what it was raised over."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _refusal(error: Any, now: float, operations: Collection[str], refusals: Mapping[str, OutcomeKind]) -> Outcome:
    """What a ClientError means: by the error's name if we know it, else by the HTTP status."""
    problem, meta = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    headers: Mapping[str, str] = meta.get("HTTPHeaders", {})
    http_status = int(meta.get("HTTPStatusCode", 0))
    code = str(problem.get("Code", ""))
    if code.isdigit():  # botocore's stand-in for a name it did not find in the body
        code = headers.get("x-amzn-errortype", "").partition(":")[0]
    code = code.rpartition(".")[2]  # SQS: AWS.SimpleQueueService.NonExistentQueue
    kind = _kind_of(code, http_status, refusals)
    skewed = _of(code) in _OF_SIGNATURES and _skew(headers, now) > MAX_SKEW_S
    if not _NAME.fullmatch(code):
        code = f"HTTP {http_status}"
    if error.operation_name not in operations:
        kind = OutcomeKind.UNAUTHENTICATED  # a call of the credentials chain was refused, such as AssumeRole
    if skewed:
        code = "ClockSkewed"
    unavailable = kind is OutcomeKind.UNAVAILABLE
    return Outcome(
        kind, code, http_status, request_id_of(meta), ambiguous=unavailable, retry_after=_retry_after(headers)
    )


def _kind_of(code: str, http_status: int, refusals: Mapping[str, OutcomeKind]) -> OutcomeKind:
    if http_status == 410:
        return OutcomeKind.GONE
    by_name = refusals.get(_of(code))
    if by_name is not None:
        return by_name
    if http_status == 429:
        return OutcomeKind.THROTTLED
    return OutcomeKind.UNAVAILABLE if http_status >= 500 or http_status == 408 else OutcomeKind.UNKNOWN


def _of(code: str) -> str:
    return code.removesuffix("Exception")


def _skew(headers: Mapping[str, str], now: float) -> float:
    """Seconds between the server's clock and ours; 0 when it does not tell the time."""
    date = parsedate_tz(headers.get("date", ""))
    try:
        return abs(calendar.timegm(date[:9]) - (date[9] or 0) - now) if date is not None else 0.0
    except (ValueError, OverflowError):
        return 0.0


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
