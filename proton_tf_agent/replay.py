"""Replay: send again what the journal holds, as new entries behind everything their lines hold now.

The original row is untouched and the content is the same to the byte, the notification id too. Two things are refused
unless forced, because they would make a receiver believe something older than it knows: a replay of an entry that has
not been settled yet, and of one that a later terminal status of the same resource has overtaken. An entry that is
damaged on disk is refused even then.
"""

from __future__ import annotations

from dataclasses import dataclass

from .domain.errors import Problem, UsageInvalid
from .domain.outbox import ACTIVE
from .journal import Journal, JournalRow, is_damaged

_LONGEST_SEQ = 19  # digits; SQLite counts no further


@dataclass(frozen=True, slots=True)
class Choice:
    """An entry somebody wants to replay. refusal: why it is not replayed; empty if nothing is against it."""

    row: JournalRow
    refusal: str


def choose(
    journal: Journal,
    *,
    notification: str | None = None,
    run_id: str | None = None,
    everything: bool = False,
    sink: str | None = None,
    force: bool = False,
) -> list[Choice]:
    """The entries a command line names, in the order of their seq; replays and superseded entries are left out."""
    if notification is not None:
        if notification.isdecimal() and len(notification) < _LONGEST_SEQ:
            rows = journal.query("entry", seq=int(notification))
        else:
            rows = journal.query("entries_by_notification", notification_id=notification)
    elif run_id is not None:
        rows = journal.query("entries_of_run", run_id=run_id)
    elif everything:
        rows = journal.query("originals")
    else:
        raise UsageInvalid(Problem("say what to replay", hint="--id, --run or --all"))
    rows = [
        row for row in rows
        if row["replay_of"] is None and row["state"] != "superseded" and sink in (None, row["sink"])
    ]  # fmt: skip
    if not rows:
        hint = "`journal list` shows what there is; superseded entries were never told and are not replayed"
        raise UsageInvalid(Problem("the journal holds nothing like that to replay", journal.path, hint))
    return [Choice(row, _refusal(journal, row, force)) for row in rows]


def append(journal: Journal, choice: Choice, now: float) -> int:
    """Write the replay; returns the seq of the new entry. A running agent sends it within a second."""
    return journal.replay(choice.row, now)


def _refusal(journal: Journal, row: JournalRow, force: bool) -> str:
    if is_damaged(row):
        return "it is damaged on disk; nobody knows any more what it said"
    if force:
        return ""
    if row["state"] in ACTIVE:
        return f"it is {row['state']} and will be sent anyway"
    last = journal.query("last_terminal", sink=row["sink"], resource_arn=row["resource_arn"])
    if last and last[0]["seq"] > row["seq"]:
        return f"{last[0]['status']} of #{last[0]['seq']} was told about this resource later"
    return ""
