"""Export: the outbox as lines of text, whole and in order, for whoever reads it next.

`jsonl` is every entry as `journal show --json` tells it. `cloudevents` is every notification once, as a CloudEvents 1.0
event in its JSON form: what happened, whoever was told of it and how often. What was superseded was never told, and is
no event; what is damaged on disk cannot become one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from . import status
from .cloud_event import event, source_of
from .domain.outbox import EntryState
from .journal_reading import JournalReader, JournalRow, is_damaged, notification_of

FORMATS = ("jsonl", "cloudevents")


class Export:
    """Lines of one format, without their ends. damaged: how many entries could not be told, once all were read."""

    def __init__(self, journal: JournalReader, form: str, host: str | None = None) -> None:
        self._journal = journal
        self._told = self._entry if form == "jsonl" else self._event
        self._source = source_of(host)
        self._known: set[str] = set()
        self.damaged = 0

    def lines(self, rows: Iterable[JournalRow]) -> Iterator[str]:
        """One line for each row that is told, in the order of the rows."""
        for row in rows:
            told = self._told(row)
            if told is not None:
                yield json.dumps(told, separators=(",", ":"))

    def _entry(self, row: JournalRow) -> dict[str, Any]:
        (entry,) = status.entry_rows(self._journal, [row])
        return {**entry, "attempted": status.attempts(self._journal, entry["seq"])}

    def _event(self, row: JournalRow) -> dict[str, Any] | None:
        if row["state"] == EntryState.SUPERSEDED or row["notification_id"] in self._known:
            return None
        if is_damaged(row):
            self.damaged += 1
            return None
        self._known.add(row["notification_id"])
        return event(notification_of(row["body"]), self._source)
