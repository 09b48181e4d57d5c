"""Sinks for a person: `sinks list`, and what came of testing, pausing and resuming one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .display_overview import held, paused, span
from .drawing import clock, draw_line, safe

if TYPE_CHECKING:
    from .status import Row

_INDENT = "    "


def sinks(rows: Sequence[Row]) -> None:
    """`sinks list`: a sink a paragraph."""
    if not rows:
        print("there is no [[sink]]: what is found stays in the journal")
    for row in rows:
        draw_line((row["sink"], "bold"), row["verdict"])
        _say("type", f"{row['type']}, {row['where']}")
        _say("is told", _route(row))
        waiting = f"{row['waiting']} waiting, for {span(row['waiting_s'])}" if row["waiting"] else "nothing waiting"
        more = ((row["failing"], "failing"), (row["parked"], "parked"), (row["suspect"], "suspect"))
        if row["shadow"]:
            _say("shadow", "nothing is sent to it; `journal list` shows what it would be told")
        _say("entries", ", ".join([waiting, *(f"{number} {what}" for number, what in more if number)]))
        accepted = row["last_accepted_at"]
        _say("accepted", f"last at {clock(accepted)} UTC" if accepted else "nothing yet")
        if row["paused_since"]:
            _say("paused", paused(row))
        if row["held_for"]:
            _say("held", held(row))


def _route(row: Row) -> str:
    """What it is told, in words."""
    narrowed = [
        ", ".join(row["only"]) or "everything",
        f"about {', '.join(row['resources'])}" if row["resources"] else "",
        f"of what runs in {', '.join(row['directories'])}" if row["directories"] else "",
        "unbound runs, too" if row["unbound"] else "",
    ]
    return "; ".join(filter(None, narrowed))


def trial(row: Row) -> None:
    """`sinks test`: whether it has arrived."""
    code = f" ({row['code']})" if row["code"] else ""
    by = "by the agent" if row["by_agent"] else "from here"
    if row["id"] and row["ok"]:
        print(safe(f"{row['sink']}: {row['id']} was sent {by} and accepted"))
    elif row["ok"]:
        print(safe(f"{row['sink']}: it is there{code}; no test was sent: {row['note']}"))
    else:
        sent = f"{row['id']} was not accepted" if row["id"] else "it is not there"
        print(safe(f"{row['sink']}: {sent}{code}" + (f": {row['means']}" if row["means"] else "")))
        for text in filter(None, (row["note"], row["remedy"])):
            _say("", text)


def changed(row: Row) -> None:
    """`sinks pause` and `sinks resume`: how it is now."""
    since = f", since {clock(row['paused_since'])} UTC by {row['paused_by']}" if row["paused_since"] else ""
    why = f": {row['paused_because']}" if row["paused_because"] else ""
    print(safe(f"{row['sink']}: {row['outcome']}{since}{why}"))


def _say(name: str, text: str) -> None:
    draw_line((f"{_INDENT}{name:<9}", "bright_black"), (text, ""))
