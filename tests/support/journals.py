"""Small real journals, to be damaged: every row they hold is known."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from proton_tf_agent.domain.circuit import Circuit
from proton_tf_agent.domain.evidence import Cursor, Mark
from proton_tf_agent.domain.outbox import OutcomeKind
from proton_tf_agent.journal import Journal
from proton_tf_agent.journal_care import take_up
from proton_tf_agent.journal_store import Store

from .outboxes import filled

TABLES = ("meta", "cursor", "run", "evidence", "outbox", "attempt", "circuit")
ROOT, SINCE, NOW = "/w", 900.0, 2000.0
MEMORY_DISK = "/dev/shm"

Row = tuple[Any, ...]
Told = list[tuple[str, dict[str, object]]]


@contextmanager
def directory_in_memory() -> Iterator[Path]:
    """A directory whose disk is memory, where there is one: thousands of journals are written in it."""
    with tempfile.TemporaryDirectory(dir=MEMORY_DISK if os.path.isdir(MEMORY_DISK) else None) as directory:
        yield Path(directory)


def fill(journal: Journal) -> None:
    """Something in every table that has seals."""
    filled(journal)
    journal.first_seen(ROOT, SINCE)
    journal.put_boot_id("0a1b2c3d-0000-4000-8000-00000000b007")
    for name, anchor in (("network/apply.log", "a1"), ("dns/apply.log", "a2"), ("old/none.log", "")):
        marks = (Mark(anchor, 0),) if anchor else ()
        journal.put_cursor(Cursor(f"/w/{name}", 1, 2, 4096, "head", 256, marks))
    journal.put_circuit("console", Circuit(held_for=OutcomeKind.UNAVAILABLE, code="503", probes=2, waited=9.0), 1500.0)


def taken_up(path: str, told: Told | None = None) -> Journal:
    """The journal, opened as an agent opens it; what it says is added to `told`."""
    said: Told = [] if told is None else told
    return take_up(path, lambda name, keys: said.append((name, dict(keys))), NOW)


def rows_in(path: str) -> dict[str, dict[object, Row]]:
    """Every row of every table by its key, read by SQLite whatever it is."""
    with Store.open_to_verify(path) as journal:
        return rows_of(journal)


def rows_of(journal: Store) -> dict[str, dict[object, Row]]:
    """The same of one that is open."""
    return {
        table: {row[0]: tuple(row) for row in journal.query_undecoded(f"verify_{table}", at=first, limit=-1)}
        for table, first in ((t, -1 if t in ("evidence", "outbox", "attempt") else "") for t in TABLES)
    }
