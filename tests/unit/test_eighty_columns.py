"""Every command that shows something is readable on a terminal of eighty columns: of an empty journal, of a full one,
of one that is damaged, and of one with a hundred thousand entries, whole and damaged."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.journals import directory_in_memory
from support.outboxes import filled, many_run, multiplied
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


# --- a journal of 100,000 entries -------------------------------------------------------------------------------------

RUNS, PER_RUN = 5_000, 20
ENTRIES = RUNS * PER_RUN + 7  # with those of `filled`
PAGE = 4096


def settings_for(base: Path) -> str:
    """Settings that name the journal in a directory of this place."""
    file = base / "agent.toml"
    file.write_text(
        f'[journal]\npath = "{base}/memory/journal.db"\n\n[[watch]]\npath = "/w"\n\n[[sink]]\ntype = "console"\n'
    )
    file.chmod(0o644)
    return str(file)


@pytest.fixture(scope="module")
def busy() -> Iterator[str]:
    """Settings that name it. Nothing changes it: one serves all."""
    with directory_in_memory() as base:
        with Journal.open_as_daemon(f"{base}/memory/journal.db") as journal:
            filled(journal)
            multiplied(journal, RUNS, PER_RUN)
        yield settings_for(base)


@pytest.fixture(scope="module")
def damaged(busy: str) -> Iterator[str]:
    """The same with a hole of twenty pages in the middle of the file."""
    with directory_in_memory() as base:
        (base / "memory").mkdir(mode=0o700)
        path = shutil.copy(Path(busy).parent / "memory" / "journal.db", base / "memory" / "journal.db")
        os.chmod(path, 0o600)
        with open(path, "r+b") as file:
            file.seek(os.path.getsize(path) // 2 // PAGE * PAGE)
            file.write(bytes(20 * PAGE))
        yield settings_for(base)


LAST, MIDDLE = many_run(RUNS - 1), many_run(RUNS // 2)
ASKED = [
    (("status",), f"{RUNS + 3:,} runs"),
    (("runs", "list"), LAST),
    (("runs", "list", "--directory", f"/w/{RUNS // 2:05d}"), MIDDLE),
    (("runs", "show", MIDDLE), f"#{8 + RUNS // 2 * PER_RUN} SUCCEEDED to proton: delivered"),
    (("explain", f"/w/{RUNS // 2:05d}"), "the log says: apply complete"),
    (("explain", "ntf-many-77777"), many_run(77_777 // PER_RUN)),
    (("journal", "list"), str(ENTRIES)),
    (("journal", "list", "-n", "2", "--until", "1970-01-01T00:40"), "SUCCEEDED"),
    (("journal", "list", "--parked"), "#4 FAILED"),
    (("journal", "show", str(ENTRIES)), f"ntf-many-{RUNS * PER_RUN - 1}"),
    (("journal", "tail"), str(ENTRIES)),
]


@pytest.mark.parametrize(("command", "said"), ASKED, ids=[" ".join(command) for command, _ in ASKED])
def test_of_a_busy_journal_each_answers_what_was_asked(busy: str, command: tuple[str, ...], said: str) -> None:
    code, lines = on_terminal(busy, *command)
    assert code == 0, lines
    assert said in "\n".join(lines), lines
    assert max(map(len, lines)) <= 80, max(lines, key=len)
    assert len(lines) < 150


@pytest.mark.parametrize(("command", "said"), ASKED, ids=[" ".join(command) for command, _ in ASKED])
def test_of_a_busy_journal_with_a_hole_each_answers_right_or_says_that_it_is_damaged(
    damaged: str, command: tuple[str, ...], said: str
) -> None:
    code, lines = on_terminal(damaged, *command)
    text = " ".join(lines)
    assert "Traceback" not in text
    assert "defect" not in text
    if code == 0:
        assert said in "\n".join(lines), lines
        assert max(map(len, lines)) <= 80, max(lines, key=len)
    else:
        assert "damaged" in text or "malformed" in text, text


def test_the_hole_is_found_by_verify(damaged: str) -> None:
    code, lines = on_terminal(damaged, "journal", "verify")
    assert code == 1
    assert "malformed" in " ".join(lines) or "damaged" in " ".join(lines) or "integrity" in " ".join(lines), lines[:5]
