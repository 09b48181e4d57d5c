"""Whatever the cells say, at any width of a terminal: no line is wider, no word of a sentence is lost, nothing acts."""

from __future__ import annotations

import sys
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from proton_tf_agent.drawing import safe
from proton_tf_agent.layout import Cell, Line, columns_of, folded, table

NARROWEST = 8  # room for a wide character in a quarter of it
WIDE, COMBINING, ACTING = "日本語한😀", "\u0301\u0940\ufe0f\u20dd", "\x1b\n\t\x9b\u202e\u200b\ud800"
foreign = st.text(st.sampled_from("ab  /" + WIDE + COMBINING + ACTING) | st.characters(), max_size=60).map(safe)
styles = st.sampled_from(["", "bold", "green", "bold red"])
cells = st.tuples(foreign, styles)
widths = st.integers(NARROWEST, 100)
COLUMNS = ("seq", "run", "status", "started", "sink", "resource", "age")


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[Cell]]]:
    """Headings, the last maybe that of sentences, and rows."""
    columns = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=6, unique=True))
    columns += draw(st.sampled_from([[], ["note"], ["message"]]))
    return columns, draw(st.lists(st.lists(cells, min_size=len(columns), max_size=len(columns)), max_size=5))


def text_of(line: Line) -> str:
    return "".join(text for text, _ in line)


def letters(*texts: str) -> str:
    """What there is to read, whatever lines it stands on."""
    return "".join(texts).replace(" ", "")


def fits(lines: list[Line], width: int) -> None:
    for text in map(text_of, lines):
        assert columns_of(text) <= width, text
        assert all(character.isprintable() for character in text)


@given(st.lists(cells, min_size=1, max_size=5), widths)
@example([("  resource    ", ""), ("arn:" + "x" * 200, "green")], 80)
@example([(" " * 90, ""), ("→", ""), ("word", "")], 80)
@example([("日本語日本語", "")], NARROWEST)
def test_cells_fit_and_nothing_of_them_is_lost(line: Line, width: int) -> None:
    lines = folded(line, width)
    fits(lines, width)
    assert letters(*map(text_of, lines)) == letters(text_of(line))
    for style in ("bold", "green", "bold red"):
        styled = [text for drawn in lines for text, its in drawn if its == style]
        assert letters(*styled) == letters(*(text for text, its in line if its == style))


@given(st.lists(cells, min_size=1, max_size=5), widths)
def test_only_what_does_not_fit_is_folded_and_words_stay_whole_where_they_can(line: Line, width: int) -> None:
    whole = " ".join(text for text, _ in line)
    (alone,) = folded(line, None)
    assert text_of(alone) == whole
    lines = [text_of(drawn) for drawn in folded(line, width)]
    if columns_of(whole) <= width:
        assert lines == [whole]
    elif all(columns_of(word) <= width // 4 for word in whole.split(" ")):
        assert " ".join(lines).split() == whole.split()


@given(tables(), widths)
def test_a_table_fits_and_nothing_of_its_sentences_is_lost(
    drawn: tuple[list[str], list[list[Cell]]], width: int
) -> None:
    columns, rows = drawn
    lines = table(columns, rows, width)
    fits(lines, width)
    if columns[-1] in ("note", "message"):
        for row in rows:
            assert letters(row[-1][0]) in letters(*map(text_of, lines))


@given(tables())
def test_a_table_that_is_piped_has_a_line_for_each_row_and_all_of_each_cell(
    drawn: tuple[list[str], list[list[Cell]]],
) -> None:
    columns, rows = drawn
    lines = [text_of(line) for line in table(columns, rows, None)]
    assert len(lines) == len(rows) + 1
    for line, texts in zip(lines, [columns, *([text for text, _ in row] for row in rows)], strict=True):
        assert letters(line) == letters(*texts)


@given(tables(), widths)
def test_a_column_that_is_asked_for_by_its_text_is_never_cut(
    drawn: tuple[list[str], list[list[Cell]]], width: int
) -> None:
    columns, rows = drawn
    shown = letters(*(text_of(line) for line in table(columns, rows, width)))
    for row in rows:
        for name, (text, _) in zip(columns, row, strict=True):
            if name in ("seq", "run", "status", "started"):
                assert letters(text) in shown


def test_no_character_is_wider_than_it_is_taken_for() -> None:
    """As rich's tables have it, whose Unicode may be newer than Python's: what became wide since is none of ours."""
    printable = [c for c in map(chr, range(sys.maxunicode + 1)) if c.isprintable()]
    narrower = [c for c in printable if cell_len(c) > columns_of(c)]
    assert {unicodedata.east_asian_width(c) for c in narrower} <= {"N"}
    assert len(narrower) < 200
    assert columns_of("❤\ufe0f") == cell_len("❤\ufe0f") == 2
    assert columns_of("e\u0301") == cell_len("e\u0301") == 1
