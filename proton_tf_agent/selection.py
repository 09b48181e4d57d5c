"""Selection: which entries of the outbox a person means.

It reads the journal and nothing else; what is done with the entries is others' (`replay`, `discard`, `export`).
"""

from __future__ import annotations

from collections.abc import Iterator

from .domain.values import Struct
from .journal_reading import JournalReader, JournalRow

_LONGEST_SEQ = 19  # digits; SQLite counts no further
_PAGE = 500


class Scope(Struct, frozen=True):
    """What a person names; what is left out narrows nothing.

    notification: an id or a seq. sink: whose entries. since, until: wall-clock seconds between which an entry was
    written, `until` itself excluded. parked, undelivered (parked, or still waiting): those that no replay has resolved,
    unless `resolved`. everything: said by who wants no narrowing. status: only entries that tell it. after: only those
    with a greater seq.
    """

    notification: str | None = None
    run_id: str | None = None
    resource_arn: str | None = None
    since: float | None = None
    until: float | None = None
    parked: bool = False
    undelivered: bool = False
    everything: bool = False
    sink: str | None = None
    resolved: bool = False
    status: str | None = None
    after: int = 0

    @property
    def is_named(self) -> bool:
        """Whether it names anything but a sink."""
        return self.everything or self.by_state or any(
            named is not None for named in (self.notification, self.run_id, self.resource_arn, self.since, self.until)
        )  # fmt: skip

    @property
    def by_state(self) -> bool:
        """Whether it asks for what is in a state that may well be nothing's."""
        return self.parked or self.undelivered


def select(journal: JournalReader, scope: Scope, *, originals: bool = False) -> Iterator[JournalRow]:
    """The entries, in the order of their seq. originals: without replays and what was superseded."""
    if scope.notification is None and scope.run_id is None:
        yield from _pages(journal, scope, originals)
        return
    if scope.notification is not None:
        found = find_entries(journal, scope.notification)
    else:
        found = journal.query("entries_of_run", run_id=scope.run_id)
    for row in found:
        is_original = row["replay_of"] is None and row["state"] != "superseded"
        if scope.sink in (None, row["sink"]) and (is_original or not originals):
            yield row


def find_entries(journal: JournalReader, wanted: str) -> list[JournalRow]:
    """The entries a person names by notification id or by seq."""
    if wanted.isdecimal() and len(wanted) < _LONGEST_SEQ:
        return journal.query("entry", seq=int(wanted))
    return journal.query("entries_by_notification", notification_id=wanted)


def _pages(journal: JournalReader, scope: Scope, originals: bool) -> Iterator[JournalRow]:
    """Page by page: a journal may be larger than memory, and the daemon must not wait for a slow reader."""
    after = scope.after
    while True:
        page = journal.query(
            "select_entries",
            after=after, sink=scope.sink, resource_arn=scope.resource_arn, since=scope.since, until=scope.until,
            status=scope.status, originals=originals, parked=scope.parked, undelivered=scope.undelivered,
            resolved=scope.resolved, limit=_PAGE,
        )  # fmt: skip
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1]["seq"]
