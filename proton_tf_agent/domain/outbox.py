"""The outbox: one entry for each notification and sink, the states it goes through, and what one attempt may come to.

An entry's line is its (sink, subject): within a line entries are sent strictly one after the other in the
order of `seq`; lines know nothing of each other. What becomes of an entry after an attempt is decided in `retry`.
"""

from __future__ import annotations

from collections.abc import Callable

from .notification import Notification
from .terms import ACTIVE, EntryState, OutcomeKind
from .values import Struct, replace

__all__ = [
    "ACTIVE", "MAX_LISTED", "Entry", "EntryState", "Outcome", "OutcomeKind", "Trouble", "fitted", "reduced",
]  # fmt: skip


class Outcome(Struct, frozen=True):
    """One attempt's result.

    code:        the error's own name (`ThrottlingException`, `ReadTimeoutError`), never the server's free text
    request_id:  the receiver's own name for the request, or for what it keeps of the whole run (`sinks.Continues`)
    ambiguous:   the request may have arrived although no answer says so
    retry_after: seconds the server asked for, when it did
    """

    kind: OutcomeKind
    code: str = ""
    http_status: int | None = None
    request_id: str = ""
    ambiguous: bool = False
    retry_after: float | None = None


class Trouble(Struct, frozen=True):
    """Failures of one kind in a row.

    waited: seconds `retry.settle` has made the entry wait over them. Patience is measured in these, so that no clock
    that jumps, and no time in which no agent ran, can use it up.
    """

    kind: OutcomeKind
    times: int
    waited: float


class Entry(Struct, frozen=True):
    """One row of the outbox, as far as its delivery needs it. attempts counts requests made so far.

    reduced: it is told without message and outputs, because the sink refused the whole. suspect: it fails again and
    again where others succeed. reassertion: it says a terminal status once more, because an earlier request of its
    line may have been late.
    """

    seq: int
    sink: str
    notification: Notification
    state: EntryState
    attempts: int
    trouble: Trouble | None = None
    reduced: bool = False
    suspect: bool = False
    replay_of: int | None = None
    reassertion: bool = False

    @property
    def line(self) -> str:
        """Whose order it keeps, among the entries of its sink."""
        return self.notification.subject


def reduced(notification: Notification) -> Notification:
    """What is left of a notification whose details the sink refuses: whose, which deployment, which status."""
    return replace(notification, status_message="", outputs=(), omitted=())


MAX_LISTED = 100  # of the omitted, once there is no room for all


def fitted(notification: Notification, room: int, size: Callable[[Notification], int]) -> Notification:
    """What of a notification a sink has room for, with as little loss as can be; itself when that is all of it.

    size: how many of the room's bytes a notification takes. Names of the omitted go first, but for a hundred; then
    outputs, the largest first, each named among the omitted with the reason. Status and message stay. The same
    notification always comes to the same.
    """
    if size(notification) <= room:
        return notification
    if len(notification.omitted) > MAX_LISTED:
        rest = len(notification.omitted) - MAX_LISTED
        listed = (*notification.omitted[:MAX_LISTED], (f"(and {rest:,} more)", "no room to name them"))
        notification = replace(notification, omitted=listed)
    while size(notification) > room and notification.outputs:
        largest = max(notification.outputs, key=lambda pair: len(pair[0]) + len(pair[1]))
        kept = tuple(pair for pair in notification.outputs if pair is not largest)
        why = (largest[0], f"no room: the sink takes {room:,} bytes in all")
        notification = replace(notification, outputs=kept, omitted=(*notification.omitted, why))
    return notification
