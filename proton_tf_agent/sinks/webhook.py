"""The webhook sink: every notification as one POST, signed after Standard Webhooks, its body a CloudEvent.

`webhook-id` is the notification's id: the same over retries and replays, so that who receives it twice can tell. The
signature is over id, timestamp and body; each of the secrets signs, so that one can be exchanged for another. Source:
the Standard Webhooks specification 1.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Sequence

from ..cloud_event import event
from ..domain.notification import Notification
from ..domain.outbox import Outcome, OutcomeKind
from ..http_request import HttpPlace, outcome_of
from ..secret_source import SecretMissing

_PREFIX = "whsec_"


class WebhookSink:
    """POSTs to one place. secrets gives the present secrets, the newest first; SecretMissing when there are none.

    source is who tells.
    """

    def __init__(
        self,
        name: str,
        place: HttpPlace,
        secrets: Callable[[], Sequence[str]],
        source: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._place = place
        self._secrets = secrets
        self._source = source
        self._clock = clock
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
        answer = self._place.request("POST", self._place.path, headers, body)
        return answer if isinstance(answer, Outcome) else outcome_of(answer, self._clock())

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


def _key(secret: str) -> bytes:
    """The bytes of a secret: base64, with the prefix `whsec_` or without it."""
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise SecretMissing("SecretNotBase64") from None
