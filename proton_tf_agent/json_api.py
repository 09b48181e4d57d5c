"""An HTTP API of JSON that a token lets one in to: what the sinks for forges send, and what came back.

What an answer means is the sink's to say. What is no JSON where the API answers with JSON has not come from it: a login
page, a proxy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .domain.outbox import Outcome, OutcomeKind
from .http_request import Answer, HttpPlace
from .secret_source import SecretMissing


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and what it says; None where that is no JSON."""

    answer: Answer
    content: Any

    @property
    def status(self) -> int:
        return self.answer.status

    def number(self, *path: str) -> str:
        """A positive number of an object in it, as text; empty when it is not there."""
        found = self.content
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return str(found) if type(found) is int and found > 0 else ""


class JsonApi:
    """The API at a place. token gives the secret, SecretMissing when there is none; headers make it headers."""

    def __init__(self, place: HttpPlace, token: Callable[[], str], headers: Callable[[str], Mapping[str, str]]) -> None:
        self._place = place
        self._base = place.path.rstrip("/")
        self._token = token
        self._headers = headers

    def ask(self, method: str, path: str, content: object = None) -> Reply | Outcome:
        """Make one request; an Outcome when no answer came or no token could be had. path: below the place's own."""
        try:
            headers = dict(self._headers(_token(self._token())))
        except SecretMissing as missing:
            return Outcome(OutcomeKind.UNAUTHENTICATED, missing.code)
        headers["User-Agent"] = "proton-tf-agent"
        body = None
        if content is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(content).encode("ascii")
        answer = self._place.request(method, self._base + path, headers, body)
        return answer if isinstance(answer, Outcome) else Reply(answer, _parsed(answer.body))


def _token(text: str) -> str:
    """A token as it may stand in a header."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise SecretMissing("SecretNotToken")
    return text


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
