"""`status` for a person: one verdict, why, the verdicts under it with their numbers, then the runs.

`Live` shows it again and again on a terminal. What is shown is decided by `overview`; how tables look by `drawing`.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .display import note
from .domain.explanations import EXPLANATIONS
from .domain.terms import OutcomeKind
from .drawing import clock, colour_of, draw_line, draw_table, resource_of
from .moments import seconds_of

if TYPE_CHECKING:
    from .status import Row

QUIET_S = 600.0  # without a fact, after which an open run is said to be quiet
_NAMED = 5
_INDENT = 23  # of what belongs to a verdict
_TOLD = {
    "delivered": "✓",
    "parked": "parked",
    "discarded": "discarded",
    "shadowed": "(shadow)",
    "sending": "…",
    "pending": "…",
}


def overview(row: Row, now: float) -> None:
    """The whole of it. now: a wall-clock second, for ages."""
    who = f"{row['version']} (process {row['pid']}) since {clock(row['running_since'])} UTC"
    is_known = row["agent"] == "running" and row["pid"]
    colour = colour_of(row["verdict"])
    draw_line(("●", colour), ("proton-tf-agent", "bold"), row["agent"], who if is_known else "")
    why = row["reason"] or "all that was seen is told"
    draw_line(" ", (row["verdict"], f"bold {colour}"), why)
    _verdict("observing", row["observing"], row["because"]["observing"] or _walked(row, now))
    for path, code in list((row["unreadable"] or {}).items())[:_NAMED]:
        _below(f"not read: {path}: {code}")
    if (row["unreadable_files"] or 0) > _NAMED:
        _below(f"and {row['unreadable_files'] - _NAMED} more files that are not read")
    _verdict("delivering", row["delivering"], row["because"]["delivering"] or ("" if row["sinks"] else "nothing waits"))
    for sink in row["sinks"]:
        _sink(sink)
    checked = f"checked {_age(row['checked_at'], now)} ago, " if row["checked_at"] else ""
    size = f"{row['runs_recorded']:,} runs, {_bytes(row['bytes'])}, {checked}{row['journal']}"
    _verdict("journal", row["keeping"], row["because"]["keeping"] or size)
    if row["because"]["keeping"]:
        _below(size)
    if row["parked"]:
        _verdict("parked", str(row["parked"]), "see `proton-tf-agent journal list --parked`")
    else:
        _verdict("parked", "0", "")
    if row["open"] or row["recent"]:
        print()
        _runs([*row["open"], *row["recent"]], now)


def _verdict(name: str, verdict: str, text: str) -> None:
    draw_line((f"  {name:<11}", ""), (f"{verdict:<9}", colour_of(verdict)), (text, ""))


def _below(text: str) -> None:
    draw_line((" " * _INDENT, ""), (text, ""))


def _walked(row: Row, now: float) -> str:
    roots = len(row["roots"] or ())
    hints = f", hints lost {row['overflows']} times" if row["overflows"] else ""
    below = f"below {roots} root{'s' if roots != 1 else ''}, walked {_age(row['rescanned_at'], now)} ago{hints}"
    return f"{row['runs_open']} open, {below}"


def _sink(sink: Row) -> None:
    """How a sink does, in a line, and in a sentence what is the matter with it as a whole."""
    late = f", {sink['failing']} failing, next attempt {clock(sink['next_attempt_at'])} UTC" if sink["failing"] else ""
    suspect = f", {sink['suspect']} suspect" if sink["suspect"] else ""
    parked = f", {sink['parked']} parked" if sink["parked"] else ""
    waiting = f"{sink['waiting']} waiting, for {span(sink['waiting_s'])}" if sink["waiting"] else "nothing waiting"
    _below(f"{sink['sink']}: {waiting}{late}{suspect}{parked}")
    if sink["paused_since"]:
        _below(paused(sink))
    if sink["held_for"]:
        _below(held(sink))


def paused(sink: Row) -> str:
    """That a sink is paused, by whom and why, and how it goes on."""
    why = f": {sink['paused_because']}" if sink["paused_because"] else ""
    since = f"{sink['sink']} is paused since {clock(sink['paused_since'])} UTC by {sink['paused_by']}{why}"
    return f"{since}; everything waits, `sinks resume {sink['sink']}` lets it go on"


def held(sink: Row) -> str:
    """What a sink is held up for, since when, and what to do."""
    why = EXPLANATIONS[OutcomeKind(sink["held_for"])]
    code = f" ({sink['code']})" if sink["code"] else ""
    asked = f"{sink['probes']} times" if sink["probes"] != 1 else "once"
    since = f"since {clock(sink['held_since'])} UTC, asked {asked}"
    if sink["verdict"] == "gone":
        return f"{sink['sink']} answers as a retired service does{code} {since}: everything is kept; {sink['remedy']}"
    return f"held up: {why.means}{code} {since}; {sink['remedy']}"


def finding(row: Row) -> None:
    """One finding of `doctor`, and below it what mends it."""
    draw_line((f"{row['severity']:<8}", colour_of(row["severity"])), (f"{row['check']:<12}", ""), (row["what"], ""))
    if row["remedy"]:
        draw_line((" " * 21, ""), ("→", "bright_black"), (row["remedy"], ""))


def _runs(rows: list[Row], now: float) -> None:
    """Open runs and the last that ended. Columns that say nothing of any of them are left out."""
    columns = ("run", "status", "resource or directory", "age", "done", "told", "note")
    cells = [
        (
            row["run_id"], row["status"], resource_of(row["resource_arn"] or row["name"]) or row["directory"],
            _age(row["ended_at"] or row["started_at"], now), _done(row), _told(row), _note(row, now),
        )
        for row in rows
    ]  # fmt: skip
    kept = [i for i in range(len(columns)) if any(line[i] for line in cells)]
    draw_table([columns[i] for i in kept], [[line[i] for i in kept] for line in cells])


def _done(row: Row) -> str:
    """So many of so many resources."""
    if not row["planned"]:
        return str(row["applied"]) if row["applied"] else ""
    return f"{row['applied']}/{row['planned']}"


def _told(row: Row) -> str:
    """What the sinks know of it: of each the last word and what became of it; sinks that agree are told as one."""
    words = {f"{one['status']} {_became(one)}" for one in row["told"]}
    return ", ".join(sorted(words))


def _became(told: Row) -> str:
    if told["state"] == "retryable":
        return f"retry {told['attempts']}"
    return _TOLD.get(told["state"], "")


def _note(row: Row, now: float) -> str:
    heard = row["last_evidence_at"]
    is_quiet = heard and not row["ended_at"] and now - seconds_of(heard) >= QUIET_S
    quiet = f"no news for {_age(heard, now)}" if is_quiet else ""
    return "; ".join(filter(None, (quiet, note(row))))


def _age(at: str | None, now: float) -> str:
    return span(max(0.0, now - seconds_of(at))) if at else "never"


def span(seconds: float) -> str:
    """A span of time with its two largest units: 9s, 3m12s, 4h05m, 6d02h."""
    whole = int(seconds)
    for unit, below, size in (("d", "h", 86_400), ("h", "m", 3600), ("m", "s", 60)):
        if whole >= size:
            rest = whole % size // (size // {"d": 24, "h": 60, "m": 60}[unit])
            return f"{whole // size}{unit}{rest:02d}{below}"
    return f"{whole}s"


def _bytes(size: int) -> str:
    return f"{size / 1024:,.0f} KiB" if size < 1 << 20 else f"{size / (1 << 20):,.0f} MiB"


class _Frame(io.StringIO):
    """Where a frame is drawn before it is shown, as if it were the terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def full_screen() -> Iterator[Callable[[Callable[[], None]], None]]:
    """The terminal's other screen, given back at the end. What it yields shows a frame: one that is drawn by what it is
    given, cut to what fits."""
    terminal = sys.stdout
    terminal.write("\x1b[?1049h\x1b[?25l")

    def show(draw: Callable[[], None]) -> None:
        frame = _Frame()
        sys.stdout = frame
        try:
            draw()
        finally:
            sys.stdout = terminal
        lines = frame.getvalue().split("\n")[: os.get_terminal_size(terminal.fileno()).lines - 1]
        terminal.write("\x1b[H" + "\x1b[K\n".join(lines) + "\x1b[J")
        terminal.flush()

    try:
        yield show
    finally:
        terminal.write("\x1b[?25h\x1b[?1049l")
        terminal.flush()
