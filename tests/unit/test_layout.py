"""Where cells stand on a terminal and behind a pipe. That they fit: tests/property/test_any_terminal.py."""

from __future__ import annotations

import pytest

from proton_tf_agent.layout import Line, folded, table

SENTENCE = "the log says: apply complete, 3 added"
RUNS = [
    [("run-1", ""), ("applied", "green"), ("environment/network", ""), ("2m20s", ""), (SENTENCE, "")],
    [("run-2", ""), ("planning", "cyan"), ("ネットワーク/東京", ""), ("", ""), ("", "")],
]
HEADINGS = ("run", "status", "resource", "age", "note")


def shown(lines: list[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def test_what_is_piped_is_as_wide_as_it_is_and_counts_characters() -> None:
    assert shown(table(HEADINGS, RUNS, None)) == [
        "run    status    resource             age    note",
        f"run-1  applied   environment/network  2m20s  {SENTENCE}",
        "run-2  planning  ネットワーク/東京",
    ]


def test_on_a_wide_terminal_a_sentence_folds_in_its_column() -> None:
    assert shown(table(HEADINGS, RUNS, 75)) == [
        "run    status    resource             age    note",
        "run-1  applied   environment/network  2m20s  the log says: apply complete,",
        "                                             3 added",
        "run-2  planning  ネットワーク/東京",
    ]


def test_however_wide_a_terminal_is_a_sentence_goes_on_in_its_column() -> None:
    rows = [[("run-1", ""), ("x" * 300, ""), (SENTENCE, "")]]
    for width in range(70, 200, 10):
        _, first, second = shown(table(("run", "resource", "note"), rows, width))
        assert first.endswith("…  the log says: apply")
        assert second == "complete, 3 added".rjust(len(second))
        assert second.index("complete") == first.index("the log")


def test_a_cell_that_is_too_long_leaves_a_sentence_its_room_where_it_stays_readable_itself() -> None:
    rows = [[("run-1", ""), ("/srv/infra/" + "x" * 80, ""), (SENTENCE, "")]]
    assert shown(table(("run", "resource", "note"), rows, 65))[1:] == [
        f"run-1  /srv/infra/{'x' * 16}…  the log says: apply",
        "                                     complete, 3 added",
    ]
    assert shown(table(("run", "resource", "note"), rows, 54))[1:] == [
        f"run-1  /srv/infra/{'x' * 35}…",
        f"    {SENTENCE}",
    ]


def test_on_a_narrow_one_it_stands_below_its_row() -> None:
    assert shown(table(HEADINGS, RUNS, 45)) == [
        "run    status    resource             age",
        "run-1  applied   environment/network  2m20s",
        "    the log says: apply complete, 3 added",
        "run-2  planning  ネットワーク/東京",
    ]


def test_on_a_narrower_one_the_widest_cells_are_cut_but_those_that_are_asked_for() -> None:
    assert shown(table(HEADINGS, RUNS, 36)) == [
        "run    status    resource      age",
        "run-1  applied   environment…  2m20s",
        "    the log says: apply complete, 3",
        "    added",
        "run-2  planning  ネットワー…",
    ]
    assert shown(
        table(("run", "resource", "note"), [[("run-1", ""), ("environment/network", ""), (SENTENCE, "")]], 20)
    ) == [
        "run    resource",
        "run-1  environment/…",
        "    the log says:",
        "    apply complete,",
        "    3 added",
    ]
    assert shown(table(("run", "status"), [[("run-0123456789", ""), ("planned", "")]], 16))[-2:] == [
        "run-0123456789",
        "planned",
    ]


@pytest.mark.parametrize(
    ("cells", "lines"),
    [
        (("  resource  ", "environment/network"), ["  resource   environment/network"]),
        (("  why  ", SENTENCE), ["  why   the log says: apply", "        complete, 3 added"]),
        (
            ("  seen in  ", f"the file /{'x' * 25}"),
            ["  seen in   the file", f"            /{'x' * 19}", f"            {'x' * 6}"],
        ),
        (("  path  ", "x" * 30), [f"  path   {'x' * 23}", f"         {'x' * 7}"]),
        (("     #7 SUCCEEDED", "parked", "(what AWS says)"), ["     #7 SUCCEEDED parked (what", "     AWS says)"]),
        (("日本語", "日本語日本語日本語日本語日本語"), ["日本語 日本語日本語日本語日本語", "       日本語"]),
    ],
    ids=lambda value: value[0].strip(),
)
def test_a_line_goes_on_below_its_last_cell_or_where_there_is_room(cells: tuple[str, ...], lines: list[str]) -> None:
    assert shown(folded([(text, "") for text in cells], 32)) == lines
