"""Whether a journal is what was written, before it is used: what a daemon looks at when it starts.

Always: the header's fixed fields, the version in both its places, the schema, and the seals of all that work goes on
from: meta, cursors, circuits, open runs, entries not yet done with the checksums of their bodies. That costs in
proportion to what is open. Thorough: also SQLite's quick check and whether the indexes name all that is open, which
reads the whole file. Whole: every row (`journal_verify`).

Only reads, but that SQLite rolls back what a dead agent has left half done. A file that is not ours, or a newer or an
older agent's, is no damage: to refuse it is `journal_store`'s.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from enum import IntEnum
from functools import cache

from .domain.errors import JournalDamaged, JournalUnusable, Problem
from .journal_store import APPLICATION_ID, SCHEMA_VERSION, JournalRow, Store, checksum_of, is_sealed
from .journal_verify import rot

_HEADER_SIZE = 100
_LEAST_SIZE = 512  # of a file with a page
# Fields with one value in every journal (https://www.sqlite.org/fileformat2.html, 1.3): reserved bytes and payload
# fractions; schema format; no auto-vacuum; UTF-8; no incremental vacuum; unused bytes. SQLite itself minds few of them.
_FIXED = {
    20: bytes((0, 64, 32, 32)), 44: b"\0\0\0\4", 52: bytes(4), 56: b"\0\0\0\1", 64: bytes(4), 72: bytes(20),
}  # fmt: skip
_ROLLBACK_OR_WAL = (b"\1\1", b"\2\2")
_SPACE = re.compile(r"\s+")


class Depth(IntEnum):
    """How closely to look."""

    OPEN = 0
    THOROUGH = 1
    WHOLE = 2


def damage(path: str, depth: Depth) -> str:
    """The first thing that is wrong with a journal's file; empty when it may be used, or is for others to refuse.

    JournalUnusable when it is a damaged one that must stay as it is, AgentError when it cannot be read for now.
    """
    with Store.open_to_verify(path) as journal:
        try:
            return next(_complaints(journal, depth), "")
        except JournalDamaged as damaged:
            return damaged.problems[0].what


def _complaints(journal: Store, depth: Depth) -> Iterator[str]:
    application, stamped = _number(journal, "application_id"), _number(journal, "verify_version")
    try:
        written = _version_in_meta(journal)
    except JournalDamaged:
        written = None
    if written is not None and written > SCHEMA_VERSION and stamped != written:
        what = f"the journal has version {written}, and its header says {stamped}: a newer agent's, and damaged"
        raise JournalUnusable(Problem(what, journal.path, "install the newer agent again; nothing was changed"))
    if application != APPLICATION_ID and written is None:
        if 0 < os.path.getsize(journal.path) < _LEAST_SIZE:  # SQLite takes some of these for empty
            what = "this is no journal of proton-tf-agent, or what is left of one"
            raise JournalUnusable(Problem(what, journal.path, "set [journal] path to another file, or move it away"))
        return
    if stamped != SCHEMA_VERSION and written != SCHEMA_VERSION:
        _look_at_older(journal, stamped)
        return
    if (application, stamped) != (APPLICATION_ID, SCHEMA_VERSION):
        yield "what its header says of its application and version is not what was written"
    yield from _header(journal)
    if _schema(journal) != _model():
        yield "its schema is not what was written"
    if written is None:
        yield "its version is missing from meta"
    yield from _open_rows(journal)
    if depth >= Depth.THOROUGH:
        yield from _whole_file(journal)
    if depth >= Depth.WHOLE:
        yield from (f"{found.table}, {found.key}: {found.what}" for found in rot(journal))


def _look_at_older(journal: Store, version: int) -> None:
    """Refuse an older agent's journal that is damaged: rows had no seals then, and rubbish would pass."""
    if 0 < version < SCHEMA_VERSION:
        try:
            complaint = next(_quick_check(journal), "")
        except JournalDamaged as damaged:
            complaint = damaged.problems[0].what
        if complaint:
            what = f"the journal, of version {version}, is damaged: {complaint}"
            hint = "nothing was changed; put back a copy, or move it away and begin anew"
            raise JournalUnusable(Problem(what, journal.path, hint))


def _version_in_meta(journal: Store) -> int | None:
    rows = [row for row in journal.query_undecoded("verify_meta", at="", limit=-1) if row[0] == "schema_version"]
    sealed = [row[1] for row in rows if "seal" in row.keys() and is_sealed("meta", row)]  # noqa: SIM118
    return int(sealed[0]) if sealed else None


def _header(journal: Store) -> Iterator[str]:
    with open(journal.path, "rb") as file:
        header = file.read(_HEADER_SIZE)
    fixed = all(header.startswith(value, at) for at, value in _FIXED.items())
    if not fixed or header[18:20] not in _ROLLBACK_OR_WAL:
        yield "its header is not what was written"


@cache
def _model() -> set[tuple[str, ...]]:
    with Store.model() as model:
        return _schema(model)


def _schema(journal: Store) -> set[tuple[str, ...]]:
    """Columns of tables, whatever migrations they have come by; of the rest its text."""
    columns = journal.query_undecoded("columns_of_all")
    others = journal.query_undecoded("schema_of_others")
    return {tuple(map(str, row)) for row in columns} | {
        tuple(_SPACE.sub(" ", str(part)) for part in row) for row in others
    }


def _open_rows(journal: Store) -> Iterator[str]:
    for table in ("meta", "cursor", "circuit"):
        yield from _broken(table, journal.query_undecoded(f"verify_{table}", at="", limit=-1))
    yield from _broken("run", journal.query_undecoded("rows_of_open_runs"))
    yield from _broken("outbox", journal.query_undecoded("rows_of_active_entries"))


def _broken(table: str, rows: list[JournalRow]) -> Iterator[str]:
    for row in rows:
        if not is_sealed(table, row) or (table == "outbox" and checksum_of(row["body"]) != row["checksum"]):
            yield f"{table}, {row[0]}: it is not what was written"


def _whole_file(journal: Store) -> Iterator[str]:
    yield from _quick_check(journal)
    for listed, present in journal.query_undecoded("count_open_both_ways"):
        if listed != present:
            yield "an index of what is open is not what was written"


def _quick_check(journal: Store) -> Iterator[str]:
    yield from (line for (line,) in journal.query_undecoded("quick_check") if line != "ok")


def _number(journal: Store, query: str) -> int:
    return int(journal.query_undecoded(query)[0][0])
