"""The webhook sink: every notification as one POST, signed after Standard Webhooks, its body a CloudEvent.

`webhook-id` is the notification's id: the same over retries and replays, so that who receives it twice can tell. The
signature is over id, timestamp and body; each of the secrets signs, so that one can be exchanged for another. Redirects
are not followed: whoever receives is named in the settings alone. Source: the Standard Webhooks specification 1.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from ..cloud_event import event
from ..domain.notification import Notification
from ..domain.outbox import Outcome, OutcomeKind
from ..secret_source import SecretMissing

_MOST_ANSWER = 64 * 1024  # bytes that are read of an answer; nothing in it is believed
_PREFIX = "whsec_"
_KINDS = {
    400: OutcomeKind.INVALID, 401: OutcomeKind.UNAUTHENTICATED, 403: OutcomeKind.DENIED, 404: OutcomeKind.NOT_FOUND,
    408: OutcomeKind.UNAVAILABLE, 409: OutcomeKind.CONFLICT, 410: OutcomeKind.GONE, 413: OutcomeKind.INVALID,
    415: OutcomeKind.INVALID, 422: OutcomeKind.INVALID, 425: OutcomeKind.UNAVAILABLE, 429: OutcomeKind.THROTTLED,
}  # fmt: skip


class WebhookSink:
    """POSTs to one URL. secrets gives the present secrets, the newest first; SecretMissing when there are none.

    Timeouts are in seconds; ca_bundle is a file of certificates to trust instead of the system's. source is who tells.
    """

    def __init__(
        self,
        name: str,
        url: str,
        secrets: Callable[[], Sequence[str]],
        source: str,
        connect_timeout: float = 5.0,
        read_timeout: float = 20.0,
        *,
        ca_bundle: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._url = urlsplit(url)
        self._secrets = secrets
        self._source = source
        self._timeouts = (connect_timeout, read_timeout)
        self._ca_bundle = ca_bundle
        self._clock = clock
        self._context: ssl.SSLContext | None = None
        self._closed = False

    def wants(self, notification: Notification) -> bool:
        """True: a webhook can be told everything, the end of a deleted resource too."""
        return True

    def send(self, notification: Notification) -> Outcome:
        """Make one request. What may have arrived and was not answered is ambiguous."""
        if self._closed:
            return Outcome(OutcomeKind.UNAVAILABLE, "SinkClosed")
        body = json.dumps(event(notification, self._source), separators=(",", ":")).encode("ascii")
        try:
            headers = self._headers(notification.notification_id, body)
        except SecretMissing as missing:
            return Outcome(OutcomeKind.UNAUTHENTICATED, missing.code)
        return self._post(body, headers)

    def close(self) -> None:
        """Take no more notifications; a request under way ends by itself."""
        self._closed = True

    def _headers(self, notification_id: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(self._clock()))
        signed = f"{notification_id}.{timestamp}.".encode() + body
        digests = (hmac.digest(_key(secret), signed, hashlib.sha256) for secret in self._secrets())
        return {
            "Content-Type": "application/cloudevents+json",
            "User-Agent": "proton-tf-agent",
            "webhook-id": notification_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
        }

    def _post(self, body: bytes, headers: dict[str, str]) -> Outcome:
        has_begun = False
        try:
            connection = self._connection()
            try:
                connection.connect()
                connection.sock.settimeout(self._timeouts[1])
                has_begun = True
                connection.request("POST", self._path(), body, headers)
                answer = connection.getresponse()
                answer.read(_MOST_ANSWER)
                return self._outcome(answer)
            finally:
                connection.close()
        except socket.gaierror:
            return Outcome(OutcomeKind.UNRESOLVABLE, "HostUnresolvable")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Outcome(OutcomeKind.UNAVAILABLE, type(error).__name__, ambiguous=has_begun)

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeouts[0])
        if self._context is None:  # twice at worst, by two threads at once
            self._context = ssl.create_default_context(cafile=self._ca_bundle)
        return http.client.HTTPSConnection(host, port, timeout=self._timeouts[0], context=self._context)

    def _path(self) -> str:
        return (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")

    def _outcome(self, answer: http.client.HTTPResponse) -> Outcome:
        status = answer.status
        code = f"Http{status}"
        if 200 <= status < 300:
            return Outcome(OutcomeKind.ACCEPTED, "", status)
        retry_after = _seconds(answer.headers.get("Retry-After"), self._clock())
        if 300 <= status < 400:
            return Outcome(OutcomeKind.UNAVAILABLE, "ResponseRedirected", status)
        if status >= 500:
            return Outcome(OutcomeKind.UNAVAILABLE, code, status, ambiguous=True, retry_after=retry_after)
        return Outcome(_KINDS.get(status, OutcomeKind.UNKNOWN), code, status, retry_after=retry_after)


def _key(secret: str) -> bytes:
    """The bytes of a secret: base64, with the prefix `whsec_` or without it."""
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise SecretMissing("SecretNotBase64") from None


def _seconds(retry_after: str | None, now: float) -> float | None:
    """What Retry-After asks for, as seconds or as a date (RFC 9110, 10.2.3); None for nothing that makes sense."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after[:9])
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except ValueError:
        return None
