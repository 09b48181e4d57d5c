"""Discard: a person gives up entries by name; they are kept, with who and why, and never sent.

What was accepted or superseded cannot be given up, and nothing that an agent has under way: its request may have
arrived. All that is named is judged and written in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .domain.errors import Problem, UsageInvalid
from .domain.outbox import EntryState
from .journal import Journal, JournalRow
from .journal_file import is_held
from .selection import find_entries

_WAITING = (EntryState.PENDING, EntryState.RETRYABLE, EntryState.PARKED)


@dataclass(frozen=True, slots=True)
class Discarded:
    """An entry as it is now. refusal: why it was not given up; empty when it was."""

    row: JournalRow
    refusal: str


def discard(journal: Journal, names: Sequence[str], reason: str, now: float) -> list[Discarded]:
    """Give up the entries of these ids (whichever of them wait or are parked) and seqs.

    reason: who does it, and why. UsageInvalid, and nothing changed, when one of the names is nobody's.
    """
    done: dict[int, Discarded] = {}
    with journal.transaction():
        may_be_sent = is_held(journal.path)
        states = _WAITING if may_be_sent else (*_WAITING, EntryState.SENDING)
        for row in _named(journal, names, states):
            before = f"{row['state']}: {row['reason']}" if row["reason"] else row["state"]
            given_up = journal.discard(row["seq"], states, f"{reason} (it was {before})", now)
            (present,) = journal.query("entry", seq=row["seq"])
            if row["seq"] not in done:
                done[row["seq"]] = Discarded(present, "" if given_up else _refusal(row))
    return list(done.values())


def _named(journal: Journal, names: Sequence[str], states: Sequence[EntryState]) -> list[JournalRow]:
    rows: list[JournalRow] = []
    for name in names:
        found = find_entries(journal, name)
        if not found:
            raise UsageInvalid(Problem(f"no entry {name!r}", journal.path, "name it by seq or by id"))
        rows += [row for row in found if row["state"] in states] or found
    return rows


def _refusal(row: JournalRow) -> str:
    if row["state"] == EntryState.SENDING:
        return "the agent has it under way: the request may arrive; try again when it has come back"
    return f"it is {row['state']} already"
