"""Replay: send again what the journal holds, as new entries behind everything their lines hold now.

The original row is untouched and the content is the same to the byte, the notification id too. Refused unless forced is
what would make a receiver believe something older than it knows: what a later terminal status of the resource has
overtaken, and IN_PROGRESS of a deployment whose end was accepted; and what would be said twice without need: what is
still to be sent, or was carried over already. What is damaged on disk is refused even then.

Carried over, an entry of one sink is told to another (`Addressee`): what that one takes, and nothing it objects to;
what its route leaves out only where that is forced. To its own sink an entry is told again whatever the route says
now: it was told there, and somebody has asked for it by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol

from .domain.errors import Problem, UsageInvalid
from .domain.notification import Notification
from .domain.outbox import ACTIVE
from .domain.routing import Route, left_out
from .domain.values import replace
from .journal import Journal, JournalRow, is_damaged, notification_of
from .journal_store import is_sealed
from .selection import Scope, select

_AT_ONCE = 100  # replays in one transaction: the daemon waits meanwhile


class Addressee(Protocol):
    """The sink to which entries are carried over."""

    @property
    def name(self) -> str:
        """Its name in the settings."""

    def wants(self, notification: Notification, /) -> bool:
        """Whether it is to be told at all."""

    def objection(self, notification: Notification, /) -> str:
        """Why it could never accept this notification; empty if it could."""

    @property
    def route(self) -> Route:
        """What it is told of all that it could accept."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An entry somebody wants to replay, and to which sink.

    refusal: why it is not replayed; empty if nothing is against it. seq: of the new entry, 0 while there is none.
    """

    row: JournalRow
    sink: str
    refusal: str
    seq: int = 0


def choose(
    journal: Journal, scope: Scope, *, addressee: Addressee | None = None, force: bool = False
) -> Iterator[Choice]:
    """The entries a person names, in the order of their seq; replays and superseded entries are left out.

    addressee: whom they are carried over to; None: each is told again to its own sink. UsageInvalid when nothing is
    named, or nothing is known by that name; what was asked for by its state may be nothing.
    """
    if not scope.is_named:
        hint = "--id, --run, --resource, --since, --until, --parked, --undelivered or --all"
        raise UsageInvalid(Problem("say what to replay", hint=hint))
    rows = select(journal, scope, originals=True)
    first = next(rows, None)
    if first is None:
        if scope.by_state and (scope.sink is None or journal.query("names_sink", sink=scope.sink)):
            return iter(())
        hint = "`journal list` shows what there is; superseded entries were never told and are not replayed"
        if scope.sink is not None:
            hint += f"; what another sink never took is carried over by --from SINK --sink {scope.sink}"
        raise UsageInvalid(Problem("the journal holds nothing like that to replay", journal.path, hint))
    return (_judged(journal, row, addressee, force) for row in chain((first,), rows))


def append(
    journal: Journal, choices: Iterable[Choice], now: float, *, addressee: Addressee | None = None, force: bool = False
) -> Iterator[Choice]:
    """Write what was chosen, in its order, and give back each when it is committed. A running agent sends it within a
    second. Each is judged once more in the transaction that writes it: the daemon works on meanwhile."""
    left = iter(choices)
    while chosen := list(islice(left, _AT_ONCE)):
        with journal.transaction():
            done = [_append(journal, _judged(journal, choice.row, addressee, force), now) for choice in chosen]
        yield from done


def _append(journal: Journal, choice: Choice, now: float) -> Choice:
    return choice if choice.refusal else replace(choice, seq=journal.replay(choice.row, now, choice.sink))


def _judged(journal: Journal, row: JournalRow, addressee: Addressee | None, force: bool) -> Choice:
    sink = addressee.name if addressee is not None else str(row["sink"])
    return Choice(row, sink, _refusal(journal, row, sink, addressee, force))


def _refusal(journal: Journal, row: JournalRow, sink: str, addressee: Addressee | None, force: bool) -> str:
    if is_damaged(row) or not is_sealed("outbox", row):
        return "it is damaged on disk; nobody knows any more what it said"
    if addressee is not None and (unwelcome := _unwelcome(notification_of(row["body"]), addressee)):
        return unwelcome
    if sink != row["sink"] and (known := journal.known_as(row["run_id"], sink)) not in (None, row["resource_arn"]):
        return f"{sink} has heard of this run as {known}"
    if force:
        return ""
    if addressee is not None and (why := _off_route(journal, notification_of(row["body"]), addressee)):
        return why
    return _repeated(journal, row, sink) or _overtaken(journal, row, sink)


def _unwelcome(notification: Notification, addressee: Addressee) -> str:
    if not addressee.wants(notification):
        return f"{addressee.name} takes no such notification"
    objection = addressee.objection(notification)
    return f"{addressee.name} would refuse it: {objection}" if objection else ""


def _off_route(journal: Journal, notification: Notification, addressee: Addressee) -> str:
    """Why the route of a sink leaves it out."""
    why = left_out(addressee.route, notification, lambda: journal.told_before(notification))
    return f"the route of {addressee.name} leaves it out: {why}" if why else ""


def _repeated(journal: Journal, row: JournalRow, sink: str) -> str:
    """What says it already."""
    names = {"run_id": row["run_id"], "sink": sink}
    if sink != row["sink"]:
        told = journal.query("told_to", notification_id=row["notification_id"], **names)
        return f"{sink} has it already as #{told[0]['seq']} ({told[0]['state']})" if told else ""
    (present,) = journal.query("entry", seq=row["seq"])
    if present["state"] in ACTIVE:
        return f"it is {present['state']} and will be sent anyway"
    waiting = journal.query("waiting_replay", seq=row["seq"], **names)
    return f"its replay #{waiting[0]['seq']} is {waiting[0]['state']} and will be sent anyway" if waiting else ""


def _overtaken(journal: Journal, row: JournalRow, sink: str) -> str:
    """What the receiver knows already that is newer."""
    line = {"sink": sink, "resource_arn": row["resource_arn"]}
    last = journal.query("last_word", **line)
    if last and last[0]["position"] > row["seq"]:
        return f"{last[0]['status']} of #{last[0]['seq']} was told about this resource later"
    if row["status"] == "IN_PROGRESS" and row["deployment_id"] is not None:
        end = journal.query("accepted_end", deployment_id=row["deployment_id"], **line)
        if end:
            return f"{end[0]['status']} of #{end[0]['seq']} was accepted as the end of its deployment"
    return ""
