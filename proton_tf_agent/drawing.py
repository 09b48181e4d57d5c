"""How anything is shown to a person: coloured and folded on a terminal, plain and as wide as it is when piped.

Foreign text (paths, messages) is shown through `safe`, which leaves no control or bidirectional character raw. Where it
stands on a line is `layout`'s, what is shown `display`'s and `display_journal`'s. Sources: ECMA-48 (SGR, the only
sequence that is written here), no-color.org.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby

from .domain.printable import printable
from .layout import Cell, Line, folded, table

COLOURS = {
    "applied": "green", "destroyed": "green", "SUCCEEDED": "green", "delivered": "green", "current": "green",
    "running": "green", "accepted": "green", "ok": "green", "problem": "red", "warning": "yellow", "unknown": "yellow",
    "errored": "red", "canceled": "red", "lost": "red", "FAILED": "red", "parked": "red", "stopped": "red",
    "retryable": "yellow", "degraded": "yellow", "undetermined": "yellow",
    "pending": "cyan", "sending": "cyan", "planning": "cyan", "planned": "cyan", "applying": "cyan",
    "IN_PROGRESS": "cyan", "planned_and_finished": "blue", "superseded": "bright_black", "discarded": "bright_black",
    "shadowed": "bright_black", "paused": "yellow", "held": "yellow", "failing": "yellow", "gone": "red",
}  # fmt: skip
_SGR = {
    "bold": "1", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36", "bright_black": "90",
}  # fmt: skip


def draw_line(*parts: str | Cell) -> None:
    """A line of words, each in the colour of its own or in the one given with it; empty ones are left out.

    On a terminal the last one folds below itself: the margin stays clear.
    """
    cells = [part if isinstance(part, tuple) else (part, colour_of(part)) for part in parts]
    _show(folded([(safe(text), style) for text, style in cells if text], _width()))


def draw_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under their headings, whichever way they are looked at."""
    if not rows:
        print("nothing yet")
        return
    cells = [[(safe(cell), colour_of(str(cell).split(" ")[0])) for cell in row] for row in rows]
    _show(table(columns, cells, _width()))


def safe(text: object) -> str:
    """Text with everything that is not printable escaped; None becomes a dash."""
    return "–" if text is None else printable(text)


def resource_of(arn: str | None) -> str:
    """The part of an ARN a person looks for; anything else as it is."""
    return arn.split(":", 5)[5] if arn and arn.startswith("arn:") else arn or ""


def clock(at: str | None) -> str:
    """A moment without its fractions."""
    return (at or "")[:19].replace("T", " ")


def colour_of(word: str) -> str:
    """The colour of a status or a state."""
    return COLOURS.get(word, "")


def _width() -> int | None:
    """Columns of the terminal, at this moment; None where standard output is none."""
    if not sys.stdout.isatty():
        return None
    with suppress(ValueError):
        if (asked := int(os.environ.get("COLUMNS", ""))) > 0:
            return asked
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def _show(lines: Iterable[Line]) -> None:
    """Write lines, coloured where it is a terminal that is to have colours."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown") or not sys.stdout.isatty()
    print("\n".join("".join((text for text, _ in line) if is_plain else _painted(line)) for line in lines))


def _painted(line: Line) -> Iterator[str]:
    """The pieces of a line between the sequences that give each its colour."""
    for style, cells in groupby(line, key=lambda cell: cell[1]):
        text = "".join(text for text, _ in cells)
        codes = ";".join(_SGR[name] for name in style.split())
        yield f"\x1b[{codes}m{text}\x1b[0m" if codes else text
