"""SQLite files with rows whose places are known, to be damaged."""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import struct
import tempfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

B_TREE_TYPES = (0x02, 0x05, 0x0A, 0x0D)
TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR = 0x0D, 0x0A, 0x02
LEAST, MOST = -(1 << 63), (1 << 63) - 1
NUMBERS = [
    None,
    0,
    1,
    2,
    -1,
    127,
    -128,
    128,
    -32768,
    32768,
    1 << 23,
    -(1 << 31),
    1 << 31,
    1 << 46,
    1 << 47,
    MOST,
    LEAST,
]
SCHEMA = """
CREATE TABLE entry (seq INTEGER PRIMARY KEY, tag TEXT, number INTEGER, ratio REAL, body BLOB, remark TEXT);
CREATE INDEX entry_number ON entry (number);
CREATE TABLE run (name TEXT PRIMARY KEY, tag TEXT, number INTEGER, body BLOB, remark TEXT) WITHOUT ROWID;
CREATE INDEX run_number ON run (number);
"""

RowValues = tuple[int | None, tuple[object, ...]]


@dataclass(frozen=True)
class Database:
    """The bytes of a file, and in which of its pages (from 0) each of its rows has bytes."""

    data: bytes
    page_size: int
    rows: dict[RowValues, frozenset[int]]

    @property
    def page_count(self) -> int:
        return len(self.data) // self.page_size

    def page(self, number: int) -> bytes:
        return self.data[number * self.page_size : (number + 1) * self.page_size]

    def pages_of_type(self, kind: int) -> list[int]:
        """Pages that hold rows."""
        with_rows = frozenset().union(*self.rows.values())
        return [number for number in sorted(with_rows) if self.page(number)[0] == kind]

    def rows_outside(self, damaged: Iterable[int]) -> set[RowValues]:
        return {row for row, pages in self.rows.items() if not pages & {*damaged}}

    def only(self, kept: frozenset[int]) -> bytes:
        """The file with all other pages zeroed."""
        empty = bytes(self.page_size)
        return b"".join(self.page(number) if number in kept else empty for number in range(self.page_count))

    def overwritten(self, offset: int, content: bytes) -> bytes:
        return self.data[:offset] + content + self.data[offset + len(content) :]


def tag_of(table: str, number: int) -> str:
    """Eight characters that are in no other row; whatever page holds 15 bytes of a row's body holds them too."""
    return hashlib.sha256(f"{table}{number}".encode()).hexdigest()[:8]


@cache
def database(page_size: int, count: int = 60, reserved: int = 0, change: str = "", pragma: str = "") -> Database:
    """Rows of all sizes, in a random order; every ninth has overflow pages."""
    rng = random.Random(page_size)
    entries, runs = [], []
    for i in range(count):
        size = rng.randrange(page_size, 4 * page_size) if i % 9 == 4 else rng.randrange(min(page_size // 4, 4000))
        seq = {0: LEAST, 1: -1, 2: 0, 3: MOST}.get(i, i * i * i)
        tags = tag_of("entry", i), tag_of("run", i)
        bodies = [(tag * (size // 8 + 1)).encode() for tag in tags]
        number = NUMBERS[i % len(NUMBERS)]
        entries.append((seq, tags[0], number, i + 0.5, bodies[0], "é" * (i % 40)))
        runs.append((f"run-{i:05}", tags[1], number, bodies[1], ""))
    rng.shuffle(entries)
    rng.shuffle(runs)
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "journal.db")
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(f"PRAGMA page_size={page_size}; {pragma}; VACUUM")
        if reserved:
            reserve(path, page_size, reserved)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript(f"PRAGMA synchronous=OFF; PRAGMA secure_delete=ON; {SCHEMA} BEGIN")
            connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", entries)
            connection.executemany("INSERT INTO run VALUES (?, ?, ?, ?, ?)", runs)
            connection.executescript(change)  # commits first
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            found = [(row[0], (None, *row[1:])) for row in connection.execute("SELECT * FROM entry")]
            found += [(None, row) for row in connection.execute("SELECT * FROM run")]
        with open(path, "rb") as file:
            data = file.read()
    assert data[20] == reserved
    places = {row: pages_with(tag_in(row), data, page_size) for row in found}
    return Database(data, page_size, places)


def reserve(path: str, page_size: int, reserved: int) -> None:
    """Reserve bytes at the end of every page of a database that has no table yet."""
    with open(path, "r+b") as file:
        file.seek(20)
        file.write(bytes([reserved]))
        file.seek(105)
        file.write(struct.pack(">H", page_size - reserved))


def pages_with(tag: bytes, data: bytes, page_size: int) -> frozenset[int]:
    pages = set()
    at = data.find(tag)
    while at >= 0:
        pages.add(at // page_size)
        at = data.find(tag, (at // page_size + 1) * page_size)
    return frozenset(pages)


def cells_of(whole: Database, number: int) -> dict[RowValues, tuple[int, int]]:
    """Where the cells of a page that hold rows begin, with their child pointers, and where they end."""
    page = whole.page(number)
    array = 12 if page[0] == INDEX_INTERIOR else 8
    (count,) = struct.unpack_from(">H", page, 3)
    begins = sorted(struct.unpack_from(f">{count}H", page, array))
    spans = dict.fromkeys(pairwise([*begins, whole.page_size]))
    for row, pages in whole.rows.items():
        at = page.find(tag_in(row), begins[0]) if number in pages else -1
        if at >= 0:
            spans[next((begin, end) for begin, end in spans if begin < at < end)] = row
    assert None not in spans.values()
    return {row: span for span, row in spans.items() if row}


def tag_in(row: RowValues) -> bytes:
    return str(row[1][1]).encode()
