"""Fixtures for tests of single rooms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.holders import Child, Start

from proton_tf_agent.journal import Journal


@pytest.fixture
def journal_path(tmp_path: Path) -> str:
    """Where a journal may be made."""
    return str(tmp_path / "memory" / "journal.db")


@pytest.fixture
def journal(journal_path: str) -> Iterator[Journal]:
    """A new journal, held as the daemon holds it."""
    with Journal.open_as_daemon(journal_path) as journal:
        yield journal


@pytest.fixture
def settings_file(tmp_path: Path, journal_path: str) -> str:
    """Settings that name the journal of `journal_path` and one watched root."""
    root = tmp_path / "watched"
    root.mkdir()
    text = f'[journal]\npath = "{journal_path}"\n\n[[watch]]\npath = "{root}"\n\n[[sink]]\ntype = "console"\n'
    path = tmp_path / "agent.toml"
    path.write_text(text)
    path.chmod(0o644)
    return str(path)


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes that hold locks and logs; none outlives the test."""
    children: list[Child] = []

    def starting(program: str, *arguments: str) -> Child:
        children.append(Child(program, *arguments))
        return children[-1]

    yield starting
    for child in children:
        child.close()
