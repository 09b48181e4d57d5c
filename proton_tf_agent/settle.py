"""Settle: what a person says about a run that no evidence can decide, in the form in which it is kept.

Who speaks is found out here, not asked: the login name behind the process and the host, and behind `sudo` the person
who called it. The name is bounded and harmless to show; it is a signature among colleagues, not a proof of identity.
"""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Mapping

from .domain.errors import Problem, UsageInvalid
from .domain.evidence import DecisionTaken
from .domain.redaction import NOTHING_TAINTED, scrub

MAX_REASON = 500
_MAX_NAME = 64
_MAX_HOST = 255


def decision(succeeded: bool, reason: str, who: str) -> DecisionTaken:
    """A person's decision; UsageInvalid when it gives no reason, or one that is too long."""
    return DecisionTaken(succeeded, who, reason_given(reason, "say how you know what became of the run"))


def reason_given(reason: str, hint: str) -> str:
    """A person's reason as it is kept: on one line, what they may have pasted masked; UsageInvalid when there is none,
    or it is too long."""
    kept = " ".join(scrub(reason, NOTHING_TAINTED).split())
    if not kept:
        raise UsageInvalid(Problem("a decision needs a reason", "--reason", hint))
    if len(reason) > MAX_REASON:
        raise UsageInvalid(Problem(f"{len(reason)} characters are too many", "--reason", f"at most {MAX_REASON}"))
    return kept


def who_decides(environment: Mapping[str, str] = os.environ) -> str:
    """Who has started this process: `alice@host`, or `alice as root@host` behind sudo."""
    login = _login(os.getuid())
    behind = _harmless(environment.get("SUDO_USER", ""), _MAX_NAME)
    name = f"{behind} as {login}" if behind and behind != login else login
    return f"{name}@{_harmless(socket.gethostname(), _MAX_HOST) or 'unknown host'}"


def _login(uid: int) -> str:
    try:
        return _harmless(pwd.getpwuid(uid).pw_name, _MAX_NAME) or f"uid {uid}"
    except KeyError:
        return f"uid {uid}"


def _harmless(name: str, limit: int) -> str:
    return "".join(c for c in name if c.isprintable() and not c.isspace())[:limit]
