"""How anything is shown to a person: tables and colour on a terminal, plain aligned text when piped.

Foreign text (paths, messages) is shown through `safe`, which leaves no control or bidirectional character raw.
rich is imported here and only when something is drawn on a terminal: it takes longer to import than most commands to
answer. What is shown is `display`'s and `display_journal`'s.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from .domain.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

COLOURS = {
    "applied": "green", "destroyed": "green", "SUCCEEDED": "green", "delivered": "green", "current": "green",
    "running": "green", "accepted": "green", "ok": "green", "problem": "red", "warning": "yellow", "unknown": "yellow",
    "errored": "red", "canceled": "red", "lost": "red", "FAILED": "red", "parked": "red", "stopped": "red",
    "retryable": "yellow", "degraded": "yellow", "undetermined": "yellow",
    "pending": "cyan", "sending": "cyan", "planning": "cyan", "planned": "cyan", "applying": "cyan",
    "IN_PROGRESS": "cyan", "planned_and_finished": "blue", "superseded": "bright_black", "discarded": "bright_black",
    "shadowed": "bright_black", "paused": "yellow", "held": "yellow", "failing": "yellow", "gone": "red",
}  # fmt: skip


def safe(text: object) -> str:
    """Text with everything that is not printable escaped; None becomes a dash."""
    return "–" if text is None else printable(text)


def draw_line(*parts: str | tuple[str, str]) -> None:
    """A line of words, each in the colour of its own or in the one given with it; empty ones are left out."""
    words = [part if isinstance(part, tuple) else (part, COLOURS.get(part, "")) for part in parts]
    shown = [(safe(text), style) for text, style in words if text]
    if not sys.stdout.isatty():
        print(*(text for text, _ in shown))
        return
    from rich.text import Text

    line = Text()
    for text, style in shown:
        line.append(" " if line else "")
        line.append(text, style)
    _console().print(line)


def draw_columns(*cells: tuple[str, str]) -> None:
    """One line of cells (text, style). On a terminal the last one wraps below itself: the margin stays clear."""
    if not sys.stdout.isatty():
        draw_line(*cells)
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1, 0, 0))
    for text, _ in cells[:-1]:
        grid.add_column(width=len(safe(text)), no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(*(Text(safe(text), style) for text, style in cells))
    _console().print(grid)


def resource_of(arn: str | None) -> str:
    """The part of an ARN a person looks for; anything else as it is."""
    return arn.split(":", 5)[5] if arn and arn.startswith("arn:") else arn or ""


def clock(at: str | None) -> str:
    """A moment without its fractions."""
    return (at or "")[:19].replace("T", " ")


def colour_of(word: str) -> str:
    """The colour of a status or a state."""
    return COLOURS.get(word, "")


def is_narrower(columns: int) -> bool:
    """Whether it is a terminal with fewer columns than that."""
    return sys.stdout.isatty() and _console().width < columns


def _console() -> Console:
    """Standard output, a terminal, for this moment."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would exit with 1; what it means is for the front door to say

    # No markup, no emoji: brackets and colons in foreign text are nothing but that.
    return Plain(highlight=False, markup=False, emoji=False)


def draw_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under their headings, whichever way they are looked at."""
    if not rows:
        print("nothing yet")
        return
    if not sys.stdout.isatty():
        lines = [list(columns), *([safe(cell) for cell in row] for row in rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        overflow: Literal["fold", "ellipsis"] = "fold" if column in ("message", "note") else "ellipsis"
        table.add_column(column, overflow=overflow, no_wrap=column in ("seq", "run", "status", "started"))
    for row in rows:
        table.add_row(*(Text(safe(cell), COLOURS.get(str(cell).split(" ")[0], "")) for cell in row))
    _console().print(table)
