"""The SQS sink: every notification as one message, its body a CloudEvent in JSON.

A queue whose name ends in `.fifo` keeps the order of each resource (its group) and drops what it has taken within the
last five minutes under the same deduplication id, which is the notification's: so a request whose answer was lost does
no harm, and a replay within five minutes arrives no second time. JSON in ASCII holds no character that SQS refuses.
Source: the API reference of SendMessage.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from ..aws_outcomes import REFUSALS, NoAnswer, outcome_of
from ..aws_service import AwsService, Call, Place, accepted
from ..cloud_event import event
from ..domain.notification import Notification
from ..domain.outbox import Outcome, OutcomeKind, fitted

MAX_BODY = 256 * 1024  # bytes; queues may be set to take more or less, this is what all of them took before 2025
_OPERATIONS = {"SendMessage": Call(tells="MD5OfMessageBody"), "GetQueueAttributes": Call(tells="Attributes")}
_REFUSALS = {
    **REFUSALS,
    "InvalidAddress": OutcomeKind.UNRESOLVABLE,
    "InvalidMessageContents": OutcomeKind.INVALID,
    "InvalidParameterValue": OutcomeKind.INVALID,
    "InvalidSecurity": OutcomeKind.DENIED,
    "KmsAccessDenied": OutcomeKind.DENIED,
    "KmsDisabled": OutcomeKind.DENIED,
    "KmsInvalidKeyUsage": OutcomeKind.DENIED,
    "KmsInvalidState": OutcomeKind.DENIED,
    "KmsNotFound": OutcomeKind.DENIED,
    "KmsOptInRequired": OutcomeKind.DENIED,
    "KmsThrottled": OutcomeKind.THROTTLED,
    "MissingParameter": OutcomeKind.INVALID,
    "NonExistentQueue": OutcomeKind.UNRESOLVABLE,  # by the name it had when SQS spoke XML, which it still gives
    "OverLimit": OutcomeKind.THROTTLED,
    "QueueDoesNotExist": OutcomeKind.UNRESOLVABLE,
    "UnsupportedOperation": OutcomeKind.INVALID,
}


class SqsSink:
    """Sends to one queue. source is who tells."""

    def __init__(
        self, name: str, place: Place, queue_url: str, source: str, clock: Callable[[], float] = time.time
    ) -> None:
        self.name = name
        self._queue_url = queue_url
        self._source = source
        self._service = AwsService("sqs", place, _OPERATIONS, _meaning, clock)

    def wants(self, notification: Notification) -> bool:
        """True: a queue can be told everything, the end of a deleted resource too."""
        return True

    def send(self, notification: Notification) -> Outcome:
        """Send one message. Accepted only when SQS names the digest of what was sent."""
        request = request_of(notification, self._queue_url, self._source)
        return self._service.attempt(lambda client: _send(client, request))

    def try_out(self) -> Outcome:
        """Ask for the queue's ARN, which takes the IAM action sqs:GetQueueAttributes."""
        asked = {"QueueUrl": self._queue_url, "AttributeNames": ["QueueArn"]}
        return self._service.attempt(lambda client: accepted(client.get_queue_attributes(**asked)["ResponseMetadata"]))

    def close(self) -> None:
        """Close idle connections and take no more notifications; an attempt under way ends by itself."""
        self._service.close()


def request_of(notification: Notification, queue_url: str, source: str) -> dict[str, str]:
    """The parameters of `SendMessage`; what the body has no room for is named in its `omitted`."""
    told = fitted(notification, MAX_BODY, lambda one: len(_body(one, source)))
    request = {"QueueUrl": queue_url, "MessageBody": _body(told, source)}
    if queue_url.endswith(".fifo"):
        # Whose order it keeps: a subject may be longer, and hold other characters, than a group may.
        request["MessageGroupId"] = hashlib.sha256(notification.subject.encode()).hexdigest()
        request["MessageDeduplicationId"] = notification.notification_id
    return request


def _body(notification: Notification, source: str) -> str:
    return json.dumps(event(notification, source), separators=(",", ":"))


def _send(client: Any, request: dict[str, str]) -> Outcome:
    answer = client.send_message(**request)
    meta = answer["ResponseMetadata"]
    sent = hashlib.md5(request["MessageBody"].encode(), usedforsecurity=False).hexdigest()
    if answer["MD5OfMessageBody"] != sent:
        raise NoAnswer("ResponseUnexpected", meta["HTTPStatusCode"])
    return accepted(meta)


def _meaning(error: Exception, now: float, *, built: bool) -> Outcome:
    return outcome_of(error, now, _OPERATIONS, _REFUSALS, built=built)
