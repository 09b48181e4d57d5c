"""The EventBridge sink: every notification as one entry of `PutEvents`, its detail what a webhook is told as `data`.

EventBridge takes an entry for a bus that does not exist, answers 200 and drops it. So the bus is asked for before the
first entry, and again every ten minutes; when there is none, nothing is sent. Who may not ask tells without asking.
An entry that failed stands inside of a 200 and means what its code means.
Source: the API reference of PutEvents, and "PutEvents event entry size" of the user guide.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ..aws_outcomes import REFUSALS, NoAnswer, outcome_named, outcome_of
from ..aws_service import AwsService, Call, Place, accepted
from ..cloud_event import event
from ..domain.notification import Notification
from ..domain.outbox import Outcome, OutcomeKind, fitted
from ..domain.values import replace

SOURCE = "proton-tf-agent"
MAX_ENTRY = 256 * 1024 - 1  # bytes, as AWS counts them
BUS_KNOWN_S = 600.0  # seconds for which a bus that was there is taken to be there
_OPERATIONS = {"PutEvents": Call(tells="Entries"), "DescribeEventBus": Call(tells="Arn")}
_TIME_BYTES = 14
_REFUSALS = {
    **REFUSALS,
    "Internal": OutcomeKind.UNAVAILABLE,
    "InvalidArgument": OutcomeKind.INVALID,
    "MalformedDetail": OutcomeKind.INVALID,
    "NotAuthorizedForDetailType": OutcomeKind.DENIED,
    "NotAuthorizedForSource": OutcomeKind.DENIED,
    "OperationDisabled": OutcomeKind.DENIED,
    "ResourceNotFound": OutcomeKind.UNRESOLVABLE,
}
# What asking for the bus may come to without saying anything of the bus.
_SAYS_NOTHING = (OutcomeKind.DENIED, OutcomeKind.THROTTLED, OutcomeKind.QUOTA_EXCEEDED, OutcomeKind.UNKNOWN)


class EventBridgeSink:
    """Puts events on one bus, which is given by name or ARN. source is who tells; ticks are seconds that only go
    forward."""

    def __init__(
        self,
        name: str,
        place: Place,
        event_bus: str,
        source: str,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._event_bus = event_bus
        self._source = source
        self._ticks = ticks
        self._known_until = float("-inf")  # ticks; that two threads ask at once does no harm
        self._service = AwsService("events", place, _OPERATIONS, _meaning, clock)

    def wants(self, notification: Notification) -> bool:
        """True: a bus can be told everything, the end of a deleted resource too."""
        return True

    def send(self, notification: Notification) -> Outcome:
        """Put one entry, once the bus is known to be there."""
        if self._ticks() >= self._known_until:
            asked = self.try_out()
            if asked.kind is not OutcomeKind.ACCEPTED and asked.kind not in _SAYS_NOTHING:
                return replace(asked, ambiguous=False)
            self._known_until = self._ticks() + BUS_KNOWN_S
        entry = entry_of(notification, self._event_bus, self._source)
        return self._service.attempt(lambda client: _put(client, entry))

    def try_out(self) -> Outcome:
        """Ask what the bus is, which takes the IAM action events:DescribeEventBus."""
        return self._service.attempt(
            lambda client: accepted(client.describe_event_bus(Name=self._event_bus)["ResponseMetadata"])
        )

    def close(self) -> None:
        """Close idle connections and take no more notifications; an attempt under way ends by itself."""
        self._service.close()


def entry_of(notification: Notification, event_bus: str, source: str) -> dict[str, Any]:
    """An entry within AWS's limit of size; what it has no room for is named in `omitted` of its detail."""
    made = fitted(notification, MAX_ENTRY, lambda told: size_of(_entry(told, event_bus, source)))
    return _entry(made, event_bus, source)


def size_of(entry: dict[str, Any]) -> int:
    """The bytes of an entry, as AWS counts them."""
    texts = (entry["Source"], entry["DetailType"], entry["Detail"], *entry["Resources"])
    return _TIME_BYTES + sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def _entry(notification: Notification, event_bus: str, source: str) -> dict[str, Any]:
    told = event(notification, source)
    detail = {"notification_id": told["id"], "source": source, **told["data"]}
    return {
        "Time": datetime.fromtimestamp(notification.created_at, UTC),
        "Source": SOURCE,
        "DetailType": told["type"],
        "Detail": json.dumps(detail, separators=(",", ":")),
        "Resources": [notification.resource_arn] if notification.resource_arn else [],
        "EventBusName": event_bus,
    }


def _put(client: Any, entry: dict[str, Any]) -> Outcome:
    answer = client.put_events(Entries=[entry])
    meta, (result, *others) = answer["ResponseMetadata"], answer["Entries"] or [{}]
    if answer.get("FailedEntryCount") or result.get("ErrorCode"):
        return outcome_named(result.get("ErrorCode", ""), meta, _REFUSALS)
    if not result.get("EventId") or others:
        raise NoAnswer("ResponseUnexpected", meta["HTTPStatusCode"])
    return accepted(meta)


def _meaning(error: Exception, now: float, *, built: bool) -> Outcome:
    return outcome_of(error, now, _OPERATIONS, _REFUSALS, built=built)
