"""What a person sees: everything, and never a character that steers the terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import unicodedata

import pytest
from support.outboxes import STEERING, filled

from proton_tf_agent import display, status
from proton_tf_agent.journal import Journal

# Every sequence rich may write: colours and styles, nothing that moves, erases or names anything.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
DRAW = """
import sys
from proton_tf_agent import display, status
from proton_tf_agent.journal import Journal
with Journal.open_existing(sys.argv[1]) as journal:
    display.overview(status.overview(journal, True, 1200.0))
    display.runs(status.run_rows(journal, 10))
    display.entries(status.entries(journal, 100))
    for row in status.entries(journal, 100):
        display.entry(row, status.attempts(journal, row["seq"]))
    for run_id in ("run-1", "run-2", "run-3"):
        display.story(*status.explain(journal, run_id))
"""


@pytest.fixture
def journal(journal: Journal) -> Journal:
    filled(journal)
    return journal


def draw_everything(journal: Journal) -> None:
    display.overview(status.overview(journal, True, 1200.0))
    display.runs(status.run_rows(journal, 10))
    display.entries(status.entries(journal, 100))
    for row in status.entries(journal, 100):
        display.entry(row, status.attempts(journal, row["seq"]))
    for run_id in ("run-1", "run-2", "run-3"):
        display.story(*status.explain(journal, run_id))


def steering(text: str) -> set[str]:
    """The characters of a text that are no ordinary text and no line ends."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") and c != "\n"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, "–"),
        ("", ""),
        (7, "7"),
        ("naïve \N{GRINNING FACE}", "naïve \N{GRINNING FACE}"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\udcff", r"\udcff"),
        ("\x9b\u2028\u200b\U000e0041", r"\x9b\u2028\u200b\U000e0041"),
    ],
)
def test_what_is_not_printable_is_shown_escaped(text: object, shown: str) -> None:
    assert display.safe(text) == shown


def test_piped_output_is_plain_and_no_foreign_text_steers_whoever_reads_it(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_everything(journal)
    shown = capsys.readouterr().out
    assert steering(shown) == set()
    assert r"\x1b[31mred" in shown
    assert "[/x] [bold]:smile:" in shown, "brackets and colons are no markup"


def test_a_terminal_gets_colours_and_no_foreign_text_steers_it(journal: Journal) -> None:
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {
        "TERM": "xterm-256color",
        "COLUMNS": "200",
    }
    with subprocess.Popen([sys.executable, "-c", DRAW, journal.path], stdout=theirs, env=environment) as drawing:
        os.close(theirs)
        pieces = []
        try:
            while piece := os.read(ours, 65536):
                pieces.append(piece)
        except OSError:  # the other end is closed
            pass
        finally:
            os.close(ours)
    assert drawing.returncode == 0
    shown = b"".join(pieces).decode().replace("\r\n", "\n")
    assert _COLOUR.search(shown)
    assert steering(_COLOUR.sub("", shown)) == set()
    assert "[/x] [bold]:smile:" in shown


def test_a_row_stays_one_line_when_piped(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    display.entries(status.entries(journal, 100))
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["seq", "status", "state", "sink", "resource", "attempts", "message"]
    assert [int(row.split()[0]) for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert "retryable (unavailable)" in rows[4]


def test_nothing_is_said_to_be_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    display.runs([])
    display.entries([])
    assert capsys.readouterr().out == "nothing yet\nnothing yet\n"


def test_the_overview_never_merges_whether_it_observes_and_whether_it_delivers(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    display.overview(status.overview(journal, False, 1200.0))
    shown = capsys.readouterr().out
    assert "proton-tf-agent stopped" in shown
    assert "observing   1 open, 3 recorded" in shown
    assert "delivering  degraded" in shown
    assert "proton: 2 waiting for 98.0 s, 1 failing, next attempt 1970-" in shown
    assert "parked      1: see `proton-tf-agent journal list --parked`" in shown


def test_a_story_goes_from_evidence_to_the_last_attempt(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    display.story(*status.explain(journal, "run-1"))
    told = (
        "run run-1 applied (the log says: apply complete)",
        "directory   /w/network  workspace default",
        "PlanSummarised(add=3)   [json_log apply.log]",
        "OutputsReported  → applied",
        "#1 IN_PROGRESS to proton: delivered",
        "#3 SUCCEEDED to proton: delivered",
        "  unavailable",
        "  accepted",
        "#7 SUCCEEDED to console: sending",
        "  on the wire",
    )
    assert re.search(".*".join(map(re.escape, told)), capsys.readouterr().out, re.DOTALL)


def test_a_run_that_is_not_told_says_why(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    display.story(*status.explain(journal, "run-3"))
    shown = capsys.readouterr().out
    assert f"not bound   {display.safe(STEERING)}: nothing is told" in shown
    assert "over before the agent first watched this root" in shown


def test_an_entry_is_shown_with_its_outputs(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = [row for row in status.entries(journal, 100) if row["seq"] == 3]
    display.entry(row, status.attempts(journal, 3))
    shown = capsys.readouterr().out
    assert "output  vpc_id = vpc-3" in shown
    assert shown.count("attempt  1970-") == 2
