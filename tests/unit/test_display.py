"""What a person sees: everything, and never a character that steers the terminal."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from pathlib import Path

import pytest
from support.outboxes import STEERING, attempted, filled
from support.terminal import Terminal

from proton_tf_agent import display, display_journal, display_overview, drawing, status
from proton_tf_agent.domain.binding import Unbound
from proton_tf_agent.domain.evidence import ApprovalAwaited, DecisionTaken, Fact
from proton_tf_agent.domain.run import Basis, Run, RunStatus
from proton_tf_agent.journal import Journal, Recorded
from proton_tf_agent.overview import overview
from proton_tf_agent.selection import Scope

# Every sequence that is written: colours and styles, nothing that moves, erases or names anything.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
DRAW = """
import sys
from proton_tf_agent import display, display_journal, display_overview, status
from proton_tf_agent.overview import overview
from proton_tf_agent.selection import Scope
from proton_tf_agent.journal import Journal
with Journal.open_existing(sys.argv[1]) as journal:
    display_overview.overview(overview(journal, True, 1200.0), 1200.0)
    display.runs(status.run_rows(journal, 10))
    display_journal.entries(status.entries(journal, 100))
    for row in status.entries(journal, 100):
        display_journal.entry(row, status.attempts(journal, row["seq"]))
    for run_id in ("run-1", "run-2", "run-3"):
        display.story(*status.explain(journal, run_id))
"""


@pytest.fixture
def journal(journal: Journal) -> Journal:
    filled(journal)
    return journal


def draw_everything(journal: Journal) -> None:
    display_overview.overview(overview(journal, True, 1200.0), 1200.0)
    display.runs(status.run_rows(journal, 10))
    display_journal.entries(status.entries(journal, 100))
    for row in status.entries(journal, 100):
        display_journal.entry(row, status.attempts(journal, row["seq"]))
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
    assert drawing.safe(text) == shown


def test_piped_output_is_plain_and_no_foreign_text_steers_whoever_reads_it(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_everything(journal)
    shown = capsys.readouterr().out
    assert steering(shown) == set()
    assert r"\x1b[31mred" in shown
    assert "[/x] [bold]:smile:" in shown, "brackets and colons are no markup"


def on_terminal(journal: Journal, **environment: str) -> str:
    """What a terminal gets of everything."""
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")} | environment
    command = [sys.executable, "-c", DRAW, journal.path]
    with Terminal(command, Path.cwd(), {"TERM": "xterm-256color"} | environment, (24, 80)) as terminal:
        assert terminal.end() == 0
    return terminal.screen.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colours_and_no_foreign_text_steers_it(journal: Journal) -> None:
    shown = on_terminal(journal, COLUMNS="200", NO_COLOR="")
    assert _COLOUR.search(shown)
    assert steering(_COLOUR.sub("", shown)) == set()
    assert "[/x] [bold]:smile:" in shown


@pytest.mark.parametrize("asked", [{"NO_COLOR": "0"}, {"TERM": "dumb"}], ids=str)
def test_a_terminal_that_is_to_have_no_colour_gets_the_same_without(journal: Journal, asked: dict[str, str]) -> None:
    shown = on_terminal(journal, **asked)
    assert "\x1b" not in shown
    assert shown == _COLOUR.sub("", on_terminal(journal))


@pytest.mark.parametrize(("asked", "widest"), [("", 80), ("40", 40), ("100", 100), ("0", 80), ("wide", 80)])
def test_a_terminal_is_as_wide_as_it_says_or_as_columns_says(journal: Journal, asked: str, widest: int) -> None:
    lines = _COLOUR.sub("", on_terminal(journal, COLUMNS=asked)).splitlines()
    assert widest - 8 < max(map(len, lines)) <= widest


def test_every_colour_is_one_that_is_known(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for word in drawing.COLOURS:
        drawing.draw_line(word, (word, f"bold {drawing.colour_of(word)}"))
        assert re.fullmatch(rf"\x1b\[\d+m{word}\x1b\[0m \x1b\[1;\d+m{word}\x1b\[0m\n", capsys.readouterr().out)


def test_a_row_stays_one_line_when_piped(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    display_journal.entries(status.entries(journal, 100))
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["seq", "status", "state", "sink", "resource", "attempts", "message"]
    assert [int(row.split()[0]) for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert "retryable (unavailable)" in rows[4]


def test_nothing_is_said_to_be_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    display.runs([])
    display_journal.entries([])
    assert capsys.readouterr().out == "nothing yet\nnothing yet\n"


def test_a_story_goes_from_evidence_to_the_last_attempt(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    display.story(*status.explain(journal, "run-1"))
    told = (
        "run-1 applied the log says: apply complete",
        "resource     arn:aws:proton:",
        "directory    /w/network, workspace default",
        "began        1970-01-01 00:16:40 UTC, ended 1970-01-01 00:17:40, by proof",
        "1970-01-01 UTC",
        "00:16:50.000 apply.log+2048 PlanSummarised(add=3)",
        "00:17:40.000 apply.log+4096 OutputsReported",
        "→ applied by rule 10: the log says: apply complete",
        "#1 IN_PROGRESS to proton: delivered",
        "#2 IN_PROGRESS to proton: superseded by #3",
        "#3 SUCCEEDED to proton: delivered",
        "output vpc_id = vpc-3",
        "output pw withheld: sensitive",
        " unavailable",
        " accepted",
        "#7 SUCCEEDED to console: sending",
        " on the wire",
    )
    assert re.search(".*".join(map(re.escape, told)), capsys.readouterr().out, re.DOTALL)


def test_a_run_that_is_not_told_says_why(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    display.story(*status.explain(journal, "run-3"))
    shown = capsys.readouterr().out
    assert f"not bound    {drawing.safe(STEERING)}: nothing is told" in shown
    assert "over before the agent first watched this root" in shown


def a_run(journal: Journal, run: Run, silence: str = "") -> None:
    with journal.transaction():
        journal.put_run(Recorded(run, Unbound("why"), silence))


def test_a_run_that_nobody_can_decide_says_what_would_settle_it_in_the_list_and_in_its_story(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    undetermined = Run("run-4", "/w/n", 1.0, status=RunStatus.UNDETERMINED, reason="no log tells how", ended_at=2.0)
    a_run(journal, undetermined, "success cannot be told from failure")
    display.runs(status.run_rows(journal, 100))
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("run-4 ")]
    assert "no log tells how; not told: success cannot be told from failure; would settle it: a log with" in row
    assert "or your word: `proton-tf-agent runs settle run-4 --as" in row
    display.stories(status.explain(journal, "run-4"))
    shown = capsys.readouterr().out
    assert "not told     success cannot be told from failure" in shown
    assert "settle by    a log with Terraform's own verdict" in shown


def test_a_run_that_waits_for_approval_says_since_when(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    a_run(journal, Run("run-4", "/w/n", 1.0, status=RunStatus.PLANNED, awaits_approval=True))
    with journal.transaction():
        journal.put_evidence("run-4", "human_log", "/w/n/a.log", Fact(ApprovalAwaited()), None, 1095.0)
    display_overview.overview(overview(journal, True, 1200.0), 1200.0)
    assert "waits for approval since 1970-01-01 00:18:15" in capsys.readouterr().out
    display.stories(status.explain(journal, "run-4"))
    assert "waits        for approval since 1970-01-01 00:18:15" in capsys.readouterr().out


def test_a_decision_is_shown_with_what_it_said_even_where_it_said_no(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    said = DecisionTaken(False, "alice@ci-7", STEERING)
    a_run(journal, Run("run-4", "/w/n", 1.0, status=RunStatus.ERRORED, basis=Basis.DECISION, decision=said))
    with journal.transaction():
        journal.put_evidence("run-4", "person", "", Fact(said), None, 1095.0)
    display.stories(status.explain(journal, "run-4"))
    shown = capsys.readouterr().out
    assert "person DecisionTaken(succeeded=False, who=alice@ci-7, reason=" in shown
    assert steering(shown) == set()
    display.runs(status.run_rows(journal, 100))
    assert "settled by alice@ci-7" in capsys.readouterr().out


def test_an_entry_is_shown_with_its_outputs(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = [row for row in status.entries(journal, 100) if row["seq"] == 3]
    display_journal.entry(row, status.attempts(journal, 3))
    shown = capsys.readouterr().out
    assert "output  vpc_id = vpc-3" in shown
    assert "output  pw withheld: sensitive" in shown
    assert shown.count("attempt  1970-") == 2


def test_what_is_parked_says_why_and_what_to_do_or_what_has_resolved_it(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    display_journal.parked(status.entries_matching(journal, Scope(parked=True)))
    first, why, to_do = capsys.readouterr().out.splitlines()
    assert first == "#4 FAILED of environment/dns to proton parked (invalid)"
    assert why.endswith("even without message and outputs; since 1970-01-01 00:18:21 UTC, attempts: 2")
    assert to_do.startswith("    to do check the ARN")
    attempted(journal, journal.replay(journal.query("entry", seq=4)[0], 1200.0, "console"))
    display_journal.parked(status.entries_matching(journal, Scope(parked=True)))
    assert capsys.readouterr().out == "nothing is parked\n"
    display_journal.parked(status.entries_matching(journal, Scope(parked=True, resolved=True)))
    assert capsys.readouterr().out.endswith("    resolved #8 told it to console\n")
    (row, _) = status.entry_rows(journal, journal.query("entries_by_notification", notification_id="ntf-4"))
    display_journal.entry(row, [])
    shown = capsys.readouterr().out
    assert "     resolved_by  #8 to console\n" in shown
    assert re.search(r"^ +remedy +check the ARN", shown, re.MULTILINE)
