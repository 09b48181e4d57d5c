"""One HTTP request to one place that the settings name: what a sink sends, and what came back or why nothing did.

Redirects are not followed and no proxy or certificate comes from the environment: who is told is named in the settings
alone. However slowly a server takes and answers, a request ends: `read_timeout` bounds all of it. Whether an answer
means that something was accepted, the sink says.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urlsplit

from .domain.outbox import Outcome, OutcomeKind

_MOST_ANSWER = 64 * 1024  # bytes that are read of an answer
_KINDS = {
    400: OutcomeKind.INVALID, 401: OutcomeKind.UNAUTHENTICATED, 403: OutcomeKind.DENIED, 404: OutcomeKind.NOT_FOUND,
    408: OutcomeKind.UNAVAILABLE, 409: OutcomeKind.CONFLICT, 410: OutcomeKind.GONE, 413: OutcomeKind.INVALID,
    415: OutcomeKind.INVALID, 422: OutcomeKind.INVALID, 425: OutcomeKind.UNAVAILABLE, 429: OutcomeKind.THROTTLED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: at most the first 64 KiB of the body; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpPlace:
    """A server, as its URL names it: https, or http to a literal loopback address.

    Timeouts are in seconds: one for connecting to each of its addresses, one for sending a request and having its whole
    answer. ca_bundle is a file of certificates to trust instead of the system's.
    """

    def __init__(
        self, url: str, connect_timeout: float = 5.0, read_timeout: float = 20.0, ca_bundle: str | None = None
    ) -> None:
        self._url = urlsplit(url)
        self._timeouts = (connect_timeout, read_timeout)
        self._ca_bundle = ca_bundle
        self._context: ssl.SSLContext | None = None

    @property
    def path(self) -> str:
        """The URL's own path and query."""
        return (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer | Outcome:
        """Make one request; an Outcome when no answer came. What may have arrived and was not answered is ambiguous,
        unless the method only asks."""
        has_begun = False
        try:
            connection = self._connection()
            try:
                connection.connect()
                connection.sock = cast("socket.socket", _Timed(connection.sock, self._timeouts[1]))
                has_begun = True
                connection.request(method, path, body, dict(headers))
                answer = connection.getresponse()
                told = {name.lower(): value for name, value in answer.getheaders()}
                return Answer(answer.status, told, answer.read(_MOST_ANSWER))
            finally:
                connection.close()
        except socket.gaierror:
            return Outcome(OutcomeKind.UNRESOLVABLE, "HostUnresolvable")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Outcome(OutcomeKind.UNAVAILABLE, type(error).__name__, ambiguous=has_begun and method != "GET")

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeouts[0])
        if self._context is None:  # twice at worst, by two threads at once
            self._context = ssl.create_default_context(cafile=self._ca_bundle)
        return http.client.HTTPSConnection(host, port, timeout=self._timeouts[0], context=self._context)


class _Timed:
    """A connected socket as `http.client` uses one, on which everything together may take so many seconds. A timeout of
    the socket's own begins anew with each byte that comes."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock = sock
        self._end = time.monotonic() + seconds

    def sendall(self, content: bytes) -> None:
        left = memoryview(content)
        while left:
            self._bound()
            left = left[self._sock.send(left) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock.makefile("rb", buffering=0), self._bound))

    def close(self) -> None:
        self._sock.close()

    def _bound(self) -> None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)


class _TimedReader(io.RawIOBase):
    def __init__(self, inner: io.RawIOBase | Any, bound: Callable[[], None]) -> None:
        self._inner = inner
        self._bound = bound

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._bound()
        return cast("int | None", self._inner.readinto(buffer))

    def close(self) -> None:
        self._inner.close()
        super().close()


def is_trustworthy(url: str) -> bool:
    """Whether a URL that was found in a secret leads to a server that is certain to be the one it names: https, or http
    to a literal loopback address."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        split = urlsplit(url)
        host, _ = split.hostname or "", split.port
        return bool(host) and (split.scheme == "https" or (split.scheme == "http" and _is_loopback(host)))
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    return "%" not in host and ipaddress.ip_address(host).is_loopback


def outcome_of(answer: Answer, now: float) -> Outcome:
    """What an answer means by its status alone, for a sink whose server adds nothing to it. now: wall-clock seconds."""
    status = answer.status
    if 200 <= status < 300:
        return Outcome(OutcomeKind.ACCEPTED, "", status)
    if 300 <= status < 400:
        return Outcome(OutcomeKind.UNAVAILABLE, "ResponseRedirected", status)
    code, wait = f"Http{status}", retry_after(answer, now)
    if status >= 500:
        return Outcome(OutcomeKind.UNAVAILABLE, code, status, ambiguous=True, retry_after=wait)
    return Outcome(_KINDS.get(status, OutcomeKind.UNKNOWN), code, status, retry_after=wait)


def retry_after(answer: Answer, now: float) -> float | None:
    """What Retry-After asks for, as seconds or as a date (RFC 9110, 10.2.3); None for nothing that makes sense."""
    asked = answer.headers.get("retry-after")
    if asked is None:
        return None
    if asked.isascii() and asked.isdecimal():
        return float(asked[:9])
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - now)
    except ValueError:
        return None
