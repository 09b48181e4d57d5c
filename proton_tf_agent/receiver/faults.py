"""The ways in which the receiver can be told to fail, by name. How each looks on the wire is `wire`'s."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..domain.errors import Problem, UsageInvalid


class FaultKind(StrEnum):
    """The ways in which the receiver can fail. Those with an error's name answer with that error."""

    ACCESS_DENIED = "AccessDeniedException"
    CONFLICT = "ConflictException"
    INTERNAL_SERVER = "InternalServerException"
    RESOURCE_NOT_FOUND = "ResourceNotFoundException"
    SERVICE_QUOTA_EXCEEDED = "ServiceQuotaExceededException"
    THROTTLING = "ThrottlingException"
    VALIDATION = "ValidationException"
    EXPIRED_TOKEN = "ExpiredTokenException"  # noqa: S105 - the name of an error
    UNRECOGNIZED_CLIENT = "UnrecognizedClientException"
    UNHEARD_OF = "UnheardOfException"  # an error nobody has described
    CLOCK_SKEW = "clock_skew"  # refuses the signature; its own clock is an hour ahead
    RETIRED_DENIED = "retired_denied"  # the service has ended, and says so as AccessDeniedException
    RETIRED_INVALID = "retired_invalid"  # the same as ValidationException
    HTTP_410 = "http_410"
    HTTP_429 = "http_429"
    HTTP_503 = "http_503"
    LATENCY = "latency"  # accepts, but late
    HOLD = "hold"  # answers when told to, and not at all if nobody tells it to; see Receiver.hold
    RESET_AFTER_APPLY = "reset_after_apply"  # accepts, then resets the connection instead of answering
    HALF_RESPONSE = "half_response"  # accepts, then answers with less than it announced
    OVERLONG_RESPONSE = "overlong_response"  # accepts, then answers with a megabyte
    HTML = "html"  # a login page under status 200; nothing is accepted
    REDIRECT = "redirect"  # 302 to somewhere else; nothing is accepted


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a request is refused. code: none for an answer without a body. ahead: seconds the Date header is off."""

    http_status: int
    code: str = ""
    text: str = "The receiver was told to fail"
    ahead: float = 0.0


REFUSALS: Mapping[FaultKind, Refusal] = {
    **{kind: Refusal(400, kind.value) for kind in FaultKind if kind.value.endswith("Exception")},
    FaultKind.INTERNAL_SERVER: Refusal(500, FaultKind.INTERNAL_SERVER.value),
    FaultKind.EXPIRED_TOKEN: Refusal(403, FaultKind.EXPIRED_TOKEN.value),
    FaultKind.UNRECOGNIZED_CLIENT: Refusal(403, FaultKind.UNRECOGNIZED_CLIENT.value),
    FaultKind.CLOCK_SKEW: Refusal(403, "InvalidSignatureException", "Signature expired", ahead=3600.0),
    FaultKind.RETIRED_DENIED: Refusal(400, "AccessDeniedException", "AWS Proton is no longer accepting new customers"),
    FaultKind.RETIRED_INVALID: Refusal(400, "ValidationException", "AWS is discontinuing support for this service"),
    FaultKind.HTTP_410: Refusal(410),
    FaultKind.HTTP_429: Refusal(429),
    FaultKind.HTTP_503: Refusal(503),
}


class Hold:
    """Requests held back until they are released; made by `Receiver.hold`."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._held = 0
        self._applied: bool | None = None

    def wait(self, deadline_s: float, requests: int = 1) -> None:
        """Wait until so many requests have been held. Raises TimeoutError after deadline_s."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._held >= requests, deadline_s):
                raise TimeoutError(f"not within {deadline_s:g} s; {self._held} requests are held")

    def release(self, *, applied: bool) -> None:
        """Let them go, and all that come later: accepted and answered, or with neither. Their senders may be gone."""
        with self._changed:
            self._applied = applied
            self._changed.notify_all()

    def is_applied(self, closing: threading.Event) -> bool:
        """Called for a request: whether it is to be accepted, once that has been said or the receiver closes."""
        with self._changed:
            self._held += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._applied is not None or closing.is_set())
            return self._applied is True


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail.

    delay (LATENCY) and retry_after (refusals) are in seconds; location is for REDIRECT, hold for HOLD.
    """

    kind: FaultKind
    delay: float = 1.0
    retry_after: float | None = None
    location: str = "http://169.254.169.254/"
    hold: Hold | None = None

    @classmethod
    def named(cls, name: str) -> Fault:
        """The fault of that name, in any case. Raises UsageInvalid for a name nobody knows."""
        for kind in FaultKind:
            if name.lower() in (kind.value.lower(), kind.name.lower()):
                return cls(kind)
        known = ", ".join(kind.value for kind in FaultKind)
        raise UsageInvalid(Problem("there is no such fault", name, f"known are {known}"))
