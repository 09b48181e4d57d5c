"""The ways in which the receiver can be told to fail, by name. How each looks on the wire is `wire`'s."""

from __future__ import annotations

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
    LATENCY = "latency"  # accepts, but late
    RESET_AFTER_APPLY = "reset_after_apply"  # accepts, then resets the connection instead of answering
    HALF_RESPONSE = "half_response"  # accepts, then answers with less than it announced
    OVERLONG_RESPONSE = "overlong_response"  # accepts, then answers with a megabyte
    HTML = "html"  # a login page under status 200; nothing is accepted
    REDIRECT = "redirect"  # 302 to somewhere else; nothing is accepted


ERRORS = frozenset(kind for kind in FaultKind if kind.value.endswith("Exception"))


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail. delay (LATENCY) and retry_after (errors) are in seconds; location is for REDIRECT."""

    kind: FaultKind
    delay: float = 1.0
    retry_after: float | None = None
    location: str = "http://169.254.169.254/"

    @classmethod
    def named(cls, name: str) -> Fault:
        """The fault of that name, in any case. Raises UsageInvalid for a name nobody knows."""
        for kind in FaultKind:
            if name.lower() in (kind.value.lower(), kind.name.lower()):
                return cls(kind)
        known = ", ".join(kind.value for kind in FaultKind)
        raise UsageInvalid(Problem("there is no such fault", name, f"known are {known}"))
