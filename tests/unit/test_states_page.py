"""docs/states.md is the transition table, drawn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.domain.transitions import TRANSITIONS

DOCS = Path(__file__).parents[2] / "docs"


def generated(seed: str) -> str:
    """What `make docs` would write, in a fresh process whose sets are ordered by another seed."""
    return subprocess.run(
        [sys.executable, "-W", "error", str(DOCS / "generate_states.py")],
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(DOCS.parent), "PYTHONIOENCODING": "utf-8"},
        capture_output=True, text=True, check=True, encoding="utf-8",
    ).stdout  # fmt: skip


def test_the_page_of_states_is_what_the_table_says() -> None:
    """After a change of the table: make docs."""
    page = (DOCS / "states.md").read_text(encoding="utf-8")
    assert generated("1") == page
    assert generated("2") == page


def test_the_page_shows_every_row_and_every_status() -> None:
    page = (DOCS / "states.md").read_text(encoding="utf-8")
    for number, row in enumerate(TRANSITIONS, 1):
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {number} |")]
        assert row.reason in line
        assert f"`{row.target}`" in line
    assert all(f"`{status}`" in page for status in RunStatus)
