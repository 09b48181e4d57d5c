"""Entries of the outbox for a person, what was done with them, and what is wrong with the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .drawing import COLOURS, clock, draw_line, draw_table, resource_of, safe

if TYPE_CHECKING:
    from .status import Row

_WITH_REASON = ("parked", "retryable", "discarded")


def entries(rows: Sequence[Row]) -> None:
    """`journal list` for a person."""
    draw_table(
        ("seq", "status", "state", "sink", "resource", "attempts", "message"),
        [
            (
                row["seq"],
                row["status"],
                row["state"] + (f" ({row['reason']})" if row["state"] in _WITH_REASON else ""),
                row["sink"],
                resource_of(row["subject"]),
                row["attempts"],
                (f"replay of #{row['replay_of']}: " if row["replay_of"] else "") + row["status_message"],
            )
            for row in rows
        ],
    )


def parked(rows: Sequence[Row]) -> None:
    """`journal list --parked` for a person: each with why, what that means, and what to do."""
    if not rows:
        print("nothing is parked")
    for row in rows:
        told = f"{row['status']} of {resource_of(row['subject'])} to {row['sink']}"
        draw_line((f"#{row['seq']}", "bold"), told, row["state"], f"({row['reason']})")
        since = f"since {clock(row['settled_at'])} UTC, attempts: {row['attempts']}"
        draw_line(("    why", "bright_black"), (f"{row['means']}; {since}", ""))
        if row["resolved_by"]:
            by = f"#{row['resolved_by']['seq']} told it to {row['resolved_by']['sink']}"
            draw_line(("    resolved", "bright_black"), (by, ""))
        else:
            draw_line(("    to do", "bright_black"), (row["remedy"], ""))


_LEFT_OUT = ("outputs", "omitted", "resolved_by")


def entry(row: Row, attempted: Sequence[Row]) -> None:
    """`journal show` for a person: one entry, its outputs and every attempt."""
    for key, value in row.items():
        if key not in _LEFT_OUT:
            draw_line(f"{key:>16} ", (safe(value), COLOURS.get(str(value), "")))
    for key, value in row["outputs"].items():
        draw_line((f"{'output':>16}  {safe(key)} = {safe(value)}", ""))
    for name, reason in row["omitted"].items():
        draw_line((f"{'output':>16}  {safe(name)} withheld: {safe(reason)}", ""))
    if row["resolved_by"]:
        draw_line((f"{'resolved_by':>16}  #{row['resolved_by']['seq']} to {safe(row['resolved_by']['sink'])}", ""))
    for attempt in attempted:
        draw_line(f"{'attempt':>16} ", attempt["started_at"] or "", outcome_of(attempt))


def outcome_of(attempt: Row) -> str:
    """What came of an attempt."""
    if attempt["finished_at"] is None:
        return "on the wire"
    code = f" ({attempt['code']})" if attempt["code"] else ""
    return f"{attempt['outcome']}{code}" + (", may have arrived" if attempt["ambiguous"] else "")


def entry_told(told: Row) -> None:
    """What was told about a run, to whom, and every attempt."""
    instead = f"by #{told['superseded_by']}" if told["superseded_by"] else ""
    again = f"(a replay of #{told['replay_of']})" if told["replay_of"] else ""
    refused = f"({told['reason']})" if told["state"] in _WITH_REASON else ""
    number = f"    #{told['seq']}"
    draw_line(number, told["status"], f"to {told['sink']}:", told["state"], instead, refused, again)
    draw_line((" " * 7, ""), (told["status_message"], ""))
    for name, value in told["outputs"].items():
        draw_line((f"        output {name} =", ""), (value, ""))
    for name, reason in told["omitted"].items():
        draw_line((f"        output {safe(name)} withheld: {safe(reason)}", ""))
    for attempt in told["attempted"]:
        draw_line(f"        {clock(attempt['started_at'])}", outcome_of(attempt))


def replayed(row: Row, *, in_full: bool) -> None:
    """`replay` for a person: what became of one entry; in_full: with everything that is, or would be, sent."""
    to = f"to {row['sink']}" if row["sink"] == row["replay_sink"] else f"from {row['sink']} to {row['replay_sink']}"
    behind = f" as #{row['replay_seq']}" if row["replay_seq"] else f": {row['refusal']}" if row["refusal"] else ""
    print(safe(f"#{row['seq']} {row['status']} of {row['subject']} {to}: {row['outcome']}{behind}"))
    if in_full and not row["refusal"]:
        draw_line((" " * 3, ""), (row["status_message"], ""))
        for name, value in row["outputs"].items():
            draw_line((f"    output {name} =", ""), (value, ""))


def discarded(row: Row) -> None:
    """`journal discard` for a person: what became of one entry."""
    told = f"#{row['seq']} {row['status']} of {row['subject']} to {row['sink']}: {row['outcome']}"
    print(safe(told + (f": {row['refusal']}" if row["refusal"] else "")))


def finding(row: Row) -> None:
    """One line of `journal verify` for a person."""
    print(safe(f"{row['table']}: {row['key']}: {row['what']}"))


def backed_up(row: Row) -> None:
    """`journal backup` for a person."""
    for found in row["findings"]:
        finding(found)
    print(safe(f"{row['file']}: {row['bytes']:,} bytes, " + ("not sound" if row["findings"] else "verified")))


def pruned(row: Row) -> None:
    """`journal prune` for a person."""
    counted = ", ".join(f"{row[name]} {name}" for name in ("runs", "entries", "attempts", "evidence"))
    print(f"{counted} {row['outcome']}; the file has {row['bytes']:,} bytes")
