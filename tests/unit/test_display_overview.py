"""What a person sees of `status`, piped and on a terminal of 80 columns; nothing in it steers the terminal."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from pathlib import Path

import pytest
from support.outboxes import STEERING, enqueued, filled, notification
from support.terminal import Terminal

from proton_tf_agent import display_overview, health
from proton_tf_agent.domain.binding import Unbound
from proton_tf_agent.domain.circuit import Circuit
from proton_tf_agent.domain.evidence import ApplyStarted, Fact
from proton_tf_agent.domain.outbox import OutcomeKind
from proton_tf_agent.domain.run import Counts, Run, RunStatus
from proton_tf_agent.health import Health
from proton_tf_agent.journal import Journal, Recorded
from proton_tf_agent.overview import overview

NOW = 1200.0
Output = pytest.CaptureFixture[str]
STYLE = re.compile(r"\x1b\[[0-9;]*m")
PLACING = re.compile(r"\x1b\[(?:H|J|K|\?1049[hl]|\?25[hl])")


@pytest.fixture
def journal(journal: Journal) -> Journal:
    filled(journal)
    journal.remember(checked_at=NOW - 7320)
    health.put(journal.path, Health(4711, "1.2.3", 900.0, NOW - 2, roots=("/w",), rescanned_at=NOW - 70))
    return journal


def shown(journal: Journal, capsys: Output, is_running: bool = True) -> str:
    display_overview.overview(overview(journal, is_running, NOW), NOW)
    return capsys.readouterr().out


def steering(text: str) -> set[str]:
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") and c != "\n"}


def test_the_verdict_comes_first_then_why_then_the_four_under_it(journal: Journal, capsys: Output) -> None:
    first, why, observing, delivering, console, proton, kept, parked, *runs = shown(journal, capsys).splitlines()
    assert first == "● proton-tf-agent running 1.2.3 (process 4711) since 1970-01-01 00:15:00 UTC"
    assert why == "  degraded proton: 1 failing"
    assert observing == "  observing   current   1 open, below 1 root, walked 1m10s ago"
    assert delivering == "  delivering  degraded  proton: 1 failing"
    assert console.strip() == "console: 1 waiting, for 2m20s"
    assert proton.strip().startswith("proton: 2 waiting, for 1m38s, 1 failing, next attempt 1970-01-01 00:")
    assert proton.endswith("UTC, 1 parked")
    assert kept.startswith("  journal     current   3 runs, ")
    assert f"checked 2h02m ago, {journal.path}" in kept
    assert parked == "  parked      1         see `proton-tf-agent journal list --parked`"
    assert runs[0] == ""


def test_what_was_told_of_a_run_and_what_became_of_that_stands_beside_it(journal: Journal, capsys: Output) -> None:
    header, open_run, ended, _ = shown(journal, capsys).split("\n\n")[1].splitlines()
    assert header.split() == ["run", "status", "resource", "or", "directory", "age", "done", "told", "note"]
    assert re.match(r"run-2 +planning .* 1m40s +FAILED …$", open_run)
    assert re.match(r"run-1 +applied +environment/network +2m20s +3/3 +SUCCEEDED …, SUCCEEDED ✓ +the log says", ended)


def test_a_run_of_which_there_is_no_news_says_since_when(journal: Journal, capsys: Output) -> None:
    run = Run("run-9", "/w/quiet", 100.0, status=RunStatus.APPLYING, plan=Counts(12, 0, 0), applied=9)
    with journal.transaction():
        journal.put_run(Recorded(run, Unbound("")))
        journal.put_evidence("run-9", "json_log", "/w/quiet/a.log", Fact(ApplyStarted("terraform_data.x")), None, 500.0)
    assert re.search(r"run-9 +applying +/w/quiet +18m20s +9/12 +no news for 11m40s\n", shown(journal, capsys))


def test_with_the_agent_down_that_is_the_verdict(journal: Journal, capsys: Output) -> None:
    first, why, observing, *_ = shown(journal, capsys, is_running=False).splitlines()
    assert first == "● proton-tf-agent stopped"
    assert why == "  stopped no agent is running since 1970-01-01T00:19:58.000Z"
    assert observing.startswith("  observing   stopped   no agent is running")


def test_files_that_are_not_read_are_named_up_to_a_limit(journal: Journal, capsys: Output) -> None:
    unreadable = {f"/w/{number}.log{STEERING}": "E_NOT_REGULAR" for number in range(8)}
    beat = Health(1, "1", 1.0, NOW, ("/w",), NOW, unreadable=unreadable, unreadable_files=3000)
    health.put(journal.path, beat)
    text = shown(journal, capsys)
    assert steering(text) == set()
    assert text.count("not read: /w/") == 5
    assert "and 2995 more files that are not read" in text


def test_a_sink_that_has_ended_is_said_in_one_sentence_with_what_to_do(journal: Journal, capsys: Output) -> None:
    with journal.transaction():
        journal.put_circuit("proton", Circuit(held_for=OutcomeKind.GONE, code="410", probes=7), 1100.0)
        journal.put_circuit("audit", Circuit(held_for=OutcomeKind.UNAUTHENTICATED, code=STEERING, probes=2), 1100.0)
    text = shown(journal, capsys)
    assert steering(text) == set()
    assert (
        "proton answers as a retired service does (410) since 1970-01-01 00:18:20 UTC, asked 7 times: "
        "everything is kept; carry what it never took over to another sink: "
        "`replay --undelivered --from proton --sink OTHER`\n"
    ) in text
    assert "held up: there are no valid credentials, or the clock is off (" in text
    assert "audit: nothing waiting\n" in text


@pytest.mark.parametrize(
    ("seconds", "span"),
    [(0.9, "0s"), (59, "59s"), (60, "1m00s"), (3599, "59m59s"), (4 * 3600 + 300, "4h05m"), (525_600, "6d02h")],
)
def test_spans_of_time_are_short(seconds: float, span: str) -> None:
    assert display_overview.span(seconds) == span


# --- on a terminal ------------------------------------------------------------------------------------------------


def watching(settings_file: str, *options: str, size: tuple[int, int] = (24, 80)) -> Terminal:
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
    command = [sys.executable, "-m", "proton_tf_agent", "status", *options, "--config", settings_file]
    return Terminal(command, Path.cwd(), environment | {"TERM": "xterm-256color"}, size)


def lines_of(screen: bytes) -> list[str]:
    text = screen.decode().replace("\r\n", "\n")
    return PLACING.sub("", STYLE.sub("", text)).split("\n")


def test_eighty_columns_are_enough(journal: Journal, settings_file: str) -> None:
    with watching(settings_file) as terminal:
        assert terminal.end() == 0
    lines = lines_of(terminal.screen)
    assert max(map(len, lines)) <= 80
    assert steering("\n".join(lines)) == set()
    ended = next(i for i, line in enumerate(lines) if line.startswith("run-1 "))
    assert lines[ended + 1] == "    the log says: apply complete", "a note stands below its run"


def test_watching_shows_what_is_new_until_interrupted_and_gives_the_screen_back(
    journal: Journal, settings_file: str
) -> None:
    with watching(settings_file, "--watch") as terminal:
        terminal.wait_for(b"proton: 2 waiting")
        enqueued(journal, notification(90))
        terminal.wait_for(b"proton: 3 waiting")
        terminal.type(b"\x03")
        assert terminal.end() == 130
    assert terminal.screen.startswith(b"\x1b[?1049h\x1b[?25l")
    assert terminal.screen.rstrip(b"\r\n^C").endswith(b"\x1b[?25h\x1b[?1049l")
    frames = terminal.screen.split(b"\x1b[H")[1:]
    assert len(frames) >= 2
    for frame in frames:
        assert len(lines_of(frame)) <= 24, "a frame that scrolls is no view"
        assert steering("\n".join(lines_of(frame)).replace("^C", "")) == set()
