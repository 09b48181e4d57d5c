"""Every command that shows something is readable on a terminal of eighty columns: of an empty journal, of a full one,
and of one that is damaged."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from support.outboxes import filled
from support.terminal import Terminal

from proton_tf_agent import health
from proton_tf_agent.health import Health
from proton_tf_agent.journal import Journal

SEQUENCE = re.compile(r"\x1b\[[0-9;]*m")
SHOWING = [
    ("status",),
    ("runs", "list"),
    ("runs", "show", "run-1"),
    ("explain", "run-2"),
    ("journal", "list"),
    ("journal", "list", "--parked"),
    ("journal", "show", "3"),
    ("journal", "tail"),
    ("doctor",),
    ("config", "test-bind", "/nowhere"),
]
READING = [*SHOWING[:8], ("journal", "verify"), ("replay", "--all", "--dry-run")]  # sentences, which a terminal wraps


def on_terminal(settings_file: str, *command: str) -> tuple[int, list[str]]:
    """Exit code and lines of a command, as a person sees them."""
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
    program = [sys.executable, "-m", "proton_tf_agent", *command, "--config", settings_file]
    with Terminal(program, Path.cwd(), environment | {"TERM": "xterm-256color"}, (24, 80)) as terminal:
        code = terminal.end()
    text = SEQUENCE.sub("", terminal.screen.decode().replace("\r\n", "\n"))
    return code, text.splitlines()


@pytest.fixture
def full(journal_path: str) -> None:
    with Journal.open_as_daemon(journal_path) as journal:
        filled(journal)
        health.put(journal_path, Health(1, "1", 1.0, 2.0, roots=("/w",), problems=("x" * 300,)))


@pytest.mark.parametrize("command", SHOWING, ids=" ".join)
def test_of_a_full_journal(full: None, settings_file: str, command: tuple[str, ...]) -> None:
    code, lines = on_terminal(settings_file, *command)
    assert code in (0, 1), lines
    assert lines
    assert max(map(len, lines)) <= 80, max(lines, key=len)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("status",), "no agent is running"),
        (("runs", "list"), "nothing yet"),
        (("journal", "list"), "nothing yet"),
        (("journal", "list", "--parked"), "nothing is parked"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_of_an_empty_journal(journal_path: str, settings_file: str, command: tuple[str, ...], said: str) -> None:
    Journal.open_as_daemon(journal_path).close()
    code, lines = on_terminal(settings_file, *command)
    assert code == 0
    assert said in " ".join(lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_of_a_damaged_journal_each_says_what_it_can_and_what_is_wrong(
    full: None, journal_path: str, settings_file: str, command: tuple[str, ...]
) -> None:
    """Never a traceback, and never as if nothing had been there."""
    with open(journal_path, "r+b") as file:
        file.seek(4096)
        file.write(bytes(4096 * 20))
    code, lines = on_terminal(settings_file, *command)
    text = " ".join(lines)
    assert code != 0, text
    assert "Traceback" not in text
    assert "damaged" in text or "malformed" in text or "cannot be read" in text, text
