"""Commands called in this process, and what docs/commands.md promises of their rows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from proton_tf_agent import cli
from proton_tf_agent.journal import Journal

COMMANDS_PAGE = Path(cli.__file__).parents[1] / "docs" / "commands.md"
Output = pytest.CaptureFixture[str]


def run(capsys: Output, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command in this process."""
    try:
        code = cli.main(arguments)
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    out, err = capsys.readouterr()
    return code, out, err


def rows(capsys: Output, *arguments: str) -> list[dict[str, Any]]:
    """What a command says with --json."""
    code, out, _ = run(capsys, *arguments, "--json")
    assert code == 0
    assert out.isascii()
    return [json.loads(line) for line in out.splitlines()]


def documented(*commands: str) -> set[str]:
    """The keys docs/commands.md gives for commands."""
    page = " ".join(COMMANDS_PAGE.read_text("utf-8").split())
    found = re.search(", ".join(f"`{re.escape(c)}`" for c in commands) + r"(?: holds| adds)?:? `([^`]+)`", page)
    assert found, commands
    return set(re.sub(r"\[\{[^}]*\}\]|\[\.\.\.\]|[{},:]", " ", found[1]).split())


def dump(journal: Journal) -> list[str]:
    return list(journal._connection.iterdump())


ENTRY_KEYS = documented("journal list|show|tail")
