"""What is wrong with a journal, row by row: rot, and rows that contradict each other.

    the file      SQLite's own integrity check; the version, which stands in two places
    every row     its seal (all columns but `filler`'s); the checksum of an entry's body
    together      the invariants: `INVARIANTS` names a query for each (journal.sql)

Only reads, and never raises for what it finds: a page that cannot be read is a finding, and what lies behind it is
looked at all the same. A daemon may be at work meanwhile: each look is one reading transaction.

The invariants are those of the design, which allows more than a textbook would: a run may tell two ends, because proof
amends an inference; a superseded entry may be an end, and name an older entry, for a later run's end was told before.
That nothing is let go that is a resource's last word can only be seen where it is done (`retention`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .domain.errors import AgentError
from .journal_store import SCHEMA_VERSION, JournalRow, Store, checksum_of, is_sealed

_PAGE = 500
# Every table with its key; where its rows begin, seen from the front and from the back.
_TABLES = {
    "meta": "key", "cursor": "path", "run": "run_id", "evidence": "id", "outbox": "seq", "attempt": "id",
    "circuit": "sink",
}  # fmt: skip
_NUMBERED = ("evidence", "outbox", "attempt")
_FRONT = {table: (-(2**63) if table in _NUMBERED else "", operator.lt) for table in _TABLES}
_BACK = {table: (2**63 - 1 if table in _NUMBERED else "\U0010ffff" * 4, operator.gt) for table in _TABLES}

Row = JournalRow

INVARIANTS = (
    ("verify_told_twice", "outbox", "another entry that is no replay either tells this sink the same"),
    ("verify_two_subjects", "outbox", "its sink has heard of its run by another subject, too"),
    ("verify_told_nothing", "run", "the run is over, and neither an end was told nor a reason for silence kept"),
    ("verify_seq_reused", "outbox", "the counter stands below this entry: its number would be given again"),
    ("verify_two_under_way", "outbox", "two entries of one line are under way at once"),
    ("verify_overtook_in_line", "outbox", "it was sent before an earlier entry of its line was done"),
    ("verify_under_way_behind_another", "outbox", "it is under way while an earlier entry of its line waits"),
    ("verify_state", "outbox", "its state is none, or contradicts when it was settled"),
    ("verify_attempts", "outbox", "its attempts are not those it counts, or it is under way without one"),
    ("verify_body_can_change", "outbox", "the trigger that keeps bodies from changing is missing"),
    ("verify_went_back", "outbox", "it says IN_PROGRESS behind the end of its own run"),
    ("verify_delivered_unheard", "outbox", "it is delivered, and no attempt was accepted"),
    ("verify_shadowed", "outbox", "it was never to be sent, and a request was made for it"),
    ("verify_superseded", "outbox", "it is superseded though it was sent, or by no entry of its line"),
    ("verify_replay", "outbox", "it is a replay of no earlier entry that says the same"),
    ("verify_says_something_else", "outbox", "its columns and its body say different things"),
    ("verify_evidence_of_nobody", "evidence", "it is of a run that is not there"),
    ("verify_attempt_for_nothing", "attempt", "it is of an entry that is not there"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: in which table, where in it, and what. key names a row with the ids it shows."""

    table: str
    key: str
    what: str


def check(journal: Store) -> Iterator[Finding]:
    """Everything that is wrong, in the order of the docstring above; nothing when the journal is sound."""
    yield from rot(journal)
    for query, table, what in INVARIANTS:
        rows = _ask(journal, query)
        if isinstance(rows, str):
            yield Finding(table, query, f"cannot be looked into: {rows}")
        else:
            yield from (Finding(table, _key(table, row["key"], row), what) for row in rows)


def rot(journal: Store) -> Iterator[Finding]:
    """What is not what was written: in the file, and in every row."""
    yield from _file(journal)
    for table, key in _TABLES.items():
        yield from _rows(journal, table, key)


def _ask(journal: Store, query: str, **values: Any) -> Sequence[Row] | str:
    """Rows, or why there are none. Text is read whether it is UTF-8 or not."""
    try:
        return journal.query_undecoded(query, **values)
    except AgentError as error:
        return error.problems[0].what.removeprefix("the journal cannot be read: ")


# --- the file -----------------------------------------------------------------------------------------------------


def _file(journal: Store) -> Iterator[Finding]:
    found = _ask(journal, "verify_integrity")
    lines = [found] if isinstance(found, str) else [str(row[0]) for row in found]
    yield from (Finding("file", journal.path, line) for text in lines for line in text.splitlines() if line != "ok")
    stamped, written = _ask(journal, "verify_version"), _ask(journal, "meta", key="schema_version")
    if isinstance(stamped, str) or isinstance(written, str):
        return  # said already, or by the rows of meta
    versions = str(stamped[0][0]), str(written[0]["value"]) if written else "none"
    if versions != (str(SCHEMA_VERSION),) * 2:
        what = f"its version is {versions[0]} by its header and {versions[1]} by meta; this agent's is {SCHEMA_VERSION}"
        yield Finding("meta", "schema_version", what)


# --- rows ---------------------------------------------------------------------------------------------------------


def _rows(journal: Store, table: str, key: str) -> Iterator[Finding]:
    """Every row that can be reached: from the front, and, where something is in the way, from the back."""
    last, problem = None, ""
    for row in _walk(journal, f"verify_{table}", key, *_FRONT[table]):
        if isinstance(row, str):
            problem = row
            break
        yield from _examined(table, key, row)
        last = row[key]
    if not problem:
        return
    first, behind = None, list[Finding]()
    for row in _walk(journal, f"verify_{table}_back", key, *_BACK[table]):
        if isinstance(row, str) or row[key] == last:
            break
        behind = [*_examined(table, key, row), *behind]
        first = row[key]
    ends = [f"{word} {key} {end}" for word, end in (("behind", last), ("before", first)) if end is not None]
    yield Finding(table, " and ".join(ends) or "all of it", f"rows cannot be read: {problem}")
    yield from behind


def _walk(journal: Store, query: str, key: str, at: Any, precedes: Callable[[Any, Any], bool]) -> Iterator[Row | str]:
    """Row by row from `at` on; at last, when there are more that cannot be reached from here, why."""
    limit = _PAGE
    while page := _ask(journal, query, at=at, limit=limit):
        if isinstance(page, str):
            if limit == 1:
                yield page
                return
            limit = 1  # up to the very row
            continue
        for row in page:
            if type(row[key]) is not type(at) or not precedes(at, row[key]):
                yield "their order is broken"
                return
            yield row
            at = row[key]


def _examined(table: str, key: str, row: Row) -> Iterator[Finding]:
    names = row.keys()
    if "seal" in names and not is_sealed(table, row):
        yield Finding(table, _key(table, row[key], row), "it is not what was written: its seal does not hold")
    if "checksum" in names and checksum_of(row["body"]) != row["checksum"]:
        yield Finding(table, _key(table, row[key], row), "its body is not what was written: its checksum does not hold")


def _key(table: str, key: object, row: Row) -> str:
    """A row as a person finds it: its key, and the ids it shows."""
    names = row.keys()
    shown = [row[name] for name in ("notification_id", "run_id") if name in names and row[name] not in (None, key)]
    if table == "attempt" and "seq" in names:
        shown.append(f"of seq {row['seq']}")
    return f"{_TABLES[table]} {key}" + (f" ({', '.join(map(str, shown))})" if shown else "")
