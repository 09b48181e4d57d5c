"""The SNS sink: every notification as one message to a topic, a CloudEvent in JSON with attributes to filter by.

A topic whose name ends in `.fifo` keeps the order of each resource and drops what it has taken within the last five
minutes under the same notification id, as a queue does (`sqs`).
Source: the API reference of Publish.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from typing import Any

from ..aws_outcomes import REFUSALS, outcome_of
from ..aws_service import AwsService, Call, Place, accepted
from ..cloud_event import event
from ..domain.notification import Notification
from ..domain.outbox import Outcome, OutcomeKind, fitted

MAX_MESSAGE = 255 * 1024  # bytes, of the 256 KiB that message and attributes may have together
MAX_SUBJECT = 100
_OPERATIONS = {"Publish": Call(tells="MessageId"), "GetTopicAttributes": Call(256 * 1024, tells="Attributes")}
_REFUSALS = {
    **REFUSALS,
    "AuthorizationError": OutcomeKind.DENIED,
    "EndpointDisabled": OutcomeKind.DENIED,
    "InternalError": OutcomeKind.UNAVAILABLE,
    "InvalidParameter": OutcomeKind.INVALID,
    "InvalidSecurity": OutcomeKind.DENIED,
    "KMSAccessDenied": OutcomeKind.DENIED,
    "KMSDisabled": OutcomeKind.DENIED,
    "KMSInvalidState": OutcomeKind.DENIED,
    "KMSNotFound": OutcomeKind.DENIED,
    "KMSOptInRequired": OutcomeKind.DENIED,
    "KMSThrottling": OutcomeKind.THROTTLED,
    "NotFound": OutcomeKind.UNRESOLVABLE,
    "ParameterValueInvalid": OutcomeKind.INVALID,
    "PlatformApplicationDisabled": OutcomeKind.DENIED,
}


class SnsSink:
    """Publishes to one topic. source is who tells."""

    def __init__(
        self, name: str, place: Place, topic_arn: str, source: str, clock: Callable[[], float] = time.time
    ) -> None:
        self.name = name
        self._topic_arn = topic_arn
        self._source = source
        self._service = AwsService("sns", place, _OPERATIONS, _meaning, clock)

    def wants(self, notification: Notification) -> bool:
        """True: a topic can be told everything, the end of a deleted resource too."""
        return True

    def send(self, notification: Notification) -> Outcome:
        """Publish one message."""
        request = request_of(notification, self._topic_arn, self._source)
        return self._service.attempt(lambda client: accepted(client.publish(**request)["ResponseMetadata"]))

    def try_out(self) -> Outcome:
        """Ask what the topic is, which takes the IAM action sns:GetTopicAttributes."""
        return self._service.attempt(
            lambda client: accepted(client.get_topic_attributes(TopicArn=self._topic_arn)["ResponseMetadata"])
        )

    def close(self) -> None:
        """Close idle connections and take no more notifications; an attempt under way ends by itself."""
        self._service.close()


def request_of(notification: Notification, topic_arn: str, source: str) -> dict[str, Any]:
    """The parameters of `Publish`; what the message has no room for is named in its `omitted`."""
    told = event(fitted(notification, MAX_MESSAGE, lambda one: len(_text(event(one, source)))), source)
    attributes = {
        "type": told["type"],
        "status": notification.status.value,
        "run_status": notification.run_status.value,
        "resource_type": _resource(notification).partition("/")[0] if notification.resource_arn else "",
    }
    request: dict[str, Any] = {
        "TopicArn": topic_arn,
        "Subject": subject_of(notification),
        "Message": _text(told),
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value
        },
    }
    if topic_arn.endswith(".fifo"):
        # Whose order it keeps: a subject may be longer, and hold other characters, than a group may.
        request["MessageGroupId"] = hashlib.sha256(notification.subject.encode()).hexdigest()
        request["MessageDeduplicationId"] = notification.notification_id
    return request


def subject_of(notification: Notification) -> str:
    """For mail: status and resource; printable ASCII, at most 100 characters, as SNS wants it."""
    told = f"{notification.status.value} {_resource(notification)}"
    return re.sub(r"[^ -~]", "?", told)[:MAX_SUBJECT].rstrip()


def _resource(notification: Notification) -> str:
    """The resource without partition, region and account, `environment/network`; else name or directory."""
    arn = notification.resource_arn
    return arn.rpartition(":")[2] if arn else notification.subject


def _text(told: dict[str, Any]) -> str:
    return json.dumps(told, separators=(",", ":"))


def _meaning(error: Exception, now: float, *, built: bool) -> Outcome:
    return outcome_of(error, now, _OPERATIONS, _REFUSALS, built=built)
