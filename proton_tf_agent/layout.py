"""How cells are laid out on lines: the same whether piped, as wide as they are, or within the width of a terminal.

Pure: cells and a width in, lines out; `drawing` colours and writes them. Texts are safe ones (`drawing.safe`): without
anything that acts, on one line. Source for how wide a character is: Unicode Standard Annex 11 (East Asian width).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from unicodedata import category, east_asian_width

Cell = tuple[str, str]
"""A text, and the name of its style."""
Line = Sequence[Cell]

_NEVER_CUT = ("seq", "run", "status", "started")
_FOLDING = ("message", "note")  # columns of sentences, always the last one
_ROOM = 28  # that a sentence is to have beside other columns, and that is left of a cell which is cut for it
_WORD = re.compile(r" +|[^ ]+")
_EMOJI = "\ufe0f"  # makes the character before it an emoji, which some terminals show wide then


def folded(cells: Line, width: int | None) -> list[Line]:
    """Cells side by side, on as many lines as they need in a width (None: on one): broken between words, within a word
    only where it is longer than a line. What is left of the last cell goes on below its beginning."""
    spaced = [part for cell in cells for part in ((" ", ""), cell)][1:]
    if width is None or sum(columns_of(text) for text, _ in spaced) <= width:
        return [spaced]
    margin = _margin(cells, width)
    lines: list[list[Cell]] = [[]]
    at = 0
    for word, style in ((word, style) for text, style in spaced for word in _WORD.findall(text)):
        while not word.isspace() and (fitting := _fitting(word, width - at)) < len(word):
            begun = 0 if at > margin else max(1, fitting)
            lines[-1].append((word[:begun], style))
            lines.append([(" " * margin, "")])
            word, at = word[begun:], margin
        lines[-1].append((word, style))
        at += columns_of(word)
    return [line for line in map(_trimmed, lines) if line]


def table(columns: Sequence[str], rows: Sequence[Line], width: int | None) -> list[Line]:
    """Rows under their headings, as wide as they are (None) or within a width.

    In a width the widest cells are cut, and a last column of sentences folds. Where that would leave either too little
    room, sentences stand below their rows.
    """
    heading = [(name, "bold") for name in columns]
    measure = len if width is None else columns_of  # what is behind a pipe counts characters
    natural = [max(measure(cells[i][0]) for cells in (heading, *rows)) for i in range(len(columns))]
    widths, is_below = _arranged(columns, natural, width)
    lines: list[Line] = []
    for cells in (heading, *rows):
        row = [_filling(cell, w, measure) for cell, w in zip(cells, widths, strict=False)]
        sentences = cells[len(widths) :]
        lines += folded(_trimmed(row if is_below else [*row, *sentences]), width)
        if is_below and cells is not heading and sentences[0][0]:
            lines += folded([("   ", ""), *sentences], width)
    return lines


def _arranged(columns: Sequence[str], natural: Sequence[int], width: int | None) -> tuple[list[int], bool]:
    """The widths of the columns that stand side by side, and whether the one of sentences stands below them."""
    side = [name for name in columns if name not in _FOLDING]
    widths = natural[: len(side)]
    if width is None:
        return list(widths), False
    may_shrink = [name not in _NEVER_CUT for name in side]
    if len(side) == len(columns):
        return _shrunk(widths, may_shrink, width), False
    beside = _shrunk(widths, may_shrink, width - 2 - min(natural[-1], _ROOM))
    if all(w >= min(wanted, _ROOM) for w, wanted in zip(beside, widths, strict=True)):
        return beside, False
    return _shrunk(widths, may_shrink, width), True


def _shrunk(widths: Sequence[int], may_shrink: Sequence[bool], width: int) -> list[int]:
    """Widths of columns that fit into one, with two spaces between them, if they can: the widest are made narrower."""
    shrunk = list(widths)
    for widest in range(max(width, 1), 0, -1):
        shrunk = [min(w, widest) if may else w for w, may in zip(widths, may_shrink, strict=True)]
        if sum(shrunk) + 2 * len(shrunk) - 2 <= width:
            break
    return shrunk


def _filling(cell: Cell, width: int, measure: Callable[[str], int]) -> Cell:
    """A cell that fills a column and a space beside it; it shows it where something of it is missing."""
    text, style = cell
    if measure(text) > width:
        text = text[: _fitting(text, width - 1)] + "…"
    return text + " " * (width + 1 - measure(text)), style


def columns_of(text: str) -> int:
    """How many columns of a terminal a safe text takes: wide characters two, combining ones none."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if category(character) in ("Mn", "Me"):
        return character == _EMOJI
    return 2 if east_asian_width(character) in "WF" else 1


def _fitting(text: str, width: int) -> int:
    """How many of its characters fit into a width."""
    ends = accumulate(map(_columns, text))
    return next((i for i, end in enumerate(ends) if end > width), len(text))


def _margin(cells: Line, width: int) -> int:
    """Where a line goes on: below its last cell or, where too little room is left to that, below its first."""
    before = sum(columns_of(text) + 1 for text, _ in cells[:-1])
    whole, last = " ".join(text for text, _ in cells), cells[-1][0]
    margins = (before + len(last) - len(last.lstrip(" ")), len(whole) - len(whole.lstrip(" ")), 0)
    return next(margin for margin in margins if width - margin >= min(_ROOM, width // 4))


def _trimmed(line: Line) -> list[Cell]:
    """A line without the spaces at its end."""
    kept = list(line)
    while kept and not kept[-1][0].rstrip(" "):
        kept.pop()
    return [*kept[:-1], (kept[-1][0].rstrip(" "), kept[-1][1])] if kept else []
