"""Rows still readable in the bytes of a damaged SQLite database: bytes in, what may be rows out; no file, no schema.

Every page is read on its own, reached by no tree, by the SQLite file format (https://www.sqlite.org/fileformat2.html,
its sections in brackets). Where a page's cells, free blocks and fragments add up to the whole page, its cell pointers
are believed; in any other page every byte is tried as the first of a cell. So a flipped bit costs at most the row
whose own bytes it is in, and one in a page's header or pointers costs none.

Promises: a row is found when its cell and its overflow pages are intact and in their places, and the size of a page can
be told from the file's header or from its pages. No bytes make it raise. A byte is read for at most _READERS rows, so
time and memory stay linear; only a damaged page crowded with overlapping forgeries can exceed that and hide a row.

What looks like a row need not be one, and may be an older copy of one: the caller knows its rows by their checksums and
prefers those that are `listed`. Values are as stored: a whole number in a REAL column is an int, an INTEGER PRIMARY KEY
is None and stands in the rowid, columns added after the row was written are missing. Text is UTF-8.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import NamedTuple

from .sqlite_record import Value, survey, values_of, varint

_TABLE_LEAF, _TABLE_INTERIOR, _INDEX_LEAF, _INDEX_INTERIOR = 0x0D, 0x05, 0x0A, 0x02  # types of b-tree pages [1.6]
_CHILD_SIZE = {_TABLE_LEAF: 0, _INDEX_LEAF: 0, _TABLE_INTERIOR: 4, _INDEX_INTERIOR: 4}  # of a pointer to a child page
_HEADER_SIZE = 8  # of a b-tree page; in an interior page the pointer to the last child follows
_FILE_HEADER_SIZE = 100
_PAGE_SIZES = (4096, 512, 1024, 2048, 8192, 16384, 32768, 65536)  # [1.3.2], SQLite's own choice first
_LEAST_USABLE, _MOST_RESERVED = 480, 255
_READERS = 32  # rows that a byte is read for; in truth it belongs to one
_MARGIN = bytes(32)  # behind a page: the numbers that a cell begins with end somewhere


@dataclass(frozen=True, slots=True)
class Row:
    """What may be a row: of a rowid table, or, with no rowid, of a WITHOUT ROWID table or an index.

    listed: its page's cell pointers name it; otherwise it may be an older copy that SQLite no longer reads.
    """

    rowid: int | None
    values: tuple[Value, ...]
    listed: bool


def rows(data: bytes | memoryview) -> Iterator[Row]:
    """Every row that can be read in the bytes of a database file, in no order, and what cannot be told from a row."""
    view = memoryview(data).cast("B")
    pages = _Pages(view, *_page_size(view))
    unclear = []
    for number in range(1, pages.count + 1):
        page = pages.read(number)
        layout = pages.layout(page, number)
        if layout is None or layout.end != pages.usable:
            unclear.append(number)
        elif layout.kind != _TABLE_INTERIOR:
            yield from pages.rows_listed(page, layout)
    for number in unclear:
        if not pages.is_overflow[number]:
            yield from pages.rows_anywhere(pages.read(number), number)


class _Layout(NamedTuple):
    """A b-tree page whose cells and free blocks do not overlap; by their sizes its usable part ends at `end`."""

    kind: int
    cells: list[int]  # where they begin, behind the child pointers
    end: int


class _Cell(NamedTuple):
    """Where a record is: `local` of its `size` bytes in this page, the rest in overflow pages."""

    rowid: int | None
    begin: int
    local: int
    size: int
    end: int  # of the cell


class _Pages:
    """A file as pages of one size, and what is known of each: numbers begin at 1."""

    def __init__(self, view: memoryview, size: int, usable: int) -> None:
        self.usable = usable
        self._most_local = (usable - 12) * 64 // 255 - 23, usable - 35  # bytes of a record: in an index, in a table
        self._least_local = (usable - 12) * 32 // 255 - 23  # of a record that has overflow pages
        self.count = -(-len(view) // size)
        self.is_overflow = bytearray(self.count + 1)  # it belongs to a row that was read
        self._readers = bytearray(self.count + 1)
        self._view, self._size = view, size

    def read(self, number: int) -> bytes:
        begin = (number - 1) * self._size
        return bytes(self._view[begin : begin + self._size]).ljust(self._size, b"\0") + _MARGIN

    def ends(self) -> Counter[int]:
        """Where the usable part of a page ends by its cells, and how many pages say so."""
        ends: Counter[int] = Counter()
        for number in range(1, self.count + 1):
            if number == 1 or self._view[(number - 1) * self._size] in _CHILD_SIZE:
                layout = self.layout(self.read(number), number)
                if layout and max(_LEAST_USABLE, self._size - _MOST_RESERVED) <= layout.end <= self._size:
                    ends[layout.end] += 1
        return ends

    def layout(self, page: bytes, number: int) -> _Layout | None:
        """The page by its own header [1.6]; None if that cannot be."""
        kind, free_block, count, content, fragments = _header(page, number)
        child = _CHILD_SIZE.get(kind, 0)
        array = _start(page, number) + _HEADER_SIZE + child
        if kind not in _CHILD_SIZE or not array + 2 * count <= content <= self.usable:
            return None
        named = struct.unpack_from(f">{count}H", page, array)
        if count and not content <= min(named) <= max(named) < self.usable:
            return None
        cells = [at + child for at in named]
        if kind == _TABLE_INTERIOR:
            ends = [varint(page, at)[1] for at in cells]
        else:
            ends = [self._cell(page, at, kind == _TABLE_LEAF).end for at in cells]
        spans = [(at, max(end, at + 4)) for at, end in zip(named, ends, strict=True)]
        while free_block:
            if not content <= free_block <= self.usable - 4:
                return None
            following, size = struct.unpack_from(">HH", page, free_block)
            if 0 < following <= free_block:
                return None
            spans.append((free_block, free_block + size))
            free_block = following
        if any(end > begin for (_, end), (begin, _) in pairwise([*sorted(spans), (self.usable, self.usable)])):
            return None
        return _Layout(kind, cells, content + fragments + sum(end - begin for begin, end in spans))

    def rows_listed(self, page: bytes, layout: _Layout) -> Iterator[Row]:
        """The rows of a page that can be believed."""
        for at in layout.cells:
            cell = self._cell(page, at, layout.kind == _TABLE_LEAF)
            record, overflow = self._record(page, cell)
            values = values_of(record)
            if values is not None:
                for number in overflow:
                    self.is_overflow[number] = 1
                yield Row(cell.rowid, values, listed=True)

    def rows_anywhere(self, page: bytes, number: int) -> Iterator[Row]:
        """The rows of a page that cannot be believed; what its pointers name is tried first, then every byte."""
        if not page.strip(b"\0"):
            return
        _, _, count, content, _ = _header(page, number)
        array = _start(page, number) + _HEADER_SIZE
        slots = min(count + 2, (self.usable - array) // 2)  # two more: it may have been an interior page
        named = {at for at in struct.unpack_from(f">{slots}H", page, array) if content <= at < self.usable}
        behind_child = {at + 4 for at in named}
        first = named | behind_child
        allowance = _READERS * self.usable
        for at, is_table in self._candidates(page, chain(first, (at for at in range(self.usable) if at not in first))):
            cell = self._cell(page, at, is_table)
            record, _ = self._record(page, cell)
            allowance -= min(len(record), cell.local)
            if allowance < 0:
                return
            values = values_of(record)
            if values is not None:
                yield Row(cell.rowid, values, listed=at in named or (at in behind_child and not is_table))

    def _candidates(self, page: bytes, offsets: Iterable[int]) -> Iterator[tuple[int, bool]]:
        """Where a cell may begin, and whether it is a table's: the header of its record fits the size it states."""
        numbers, ends, record_sizes = survey(page)
        (in_index, in_table), least = self._most_local, self._least_local  # a longer header may go on in overflow pages
        for at in offsets:
            size = numbers[at]
            if 2 <= size <= len(self._view):
                index, table = ends[at], ends[ends[at]]  # where the record would begin
                if record_sizes[index] == size or (size > in_index and size >= numbers[index] > least):
                    yield at, False
                if record_sizes[table] == size or (size > in_table and size >= numbers[table] > least):
                    yield at, True

    def _cell(self, page: bytes, at: int, is_table: bool) -> _Cell:
        """The cell at `at`; how much of it is local is said in [1.6]."""
        rowid = None
        size, begin = varint(page, at)
        if is_table:
            rowid, begin = varint(page, begin)
            rowid -= (rowid >> 63) << 64
        most = self._most_local[is_table]
        if size <= most:
            return _Cell(rowid, begin, size, size, begin + size)
        fitting = self._least_local + (size - self._least_local) % (self.usable - 4)
        local = fitting if fitting <= most else self._least_local
        return _Cell(rowid, begin, local, size, begin + local + 4)

    def _record(self, page: bytes, cell: _Cell) -> tuple[bytes, list[int]]:
        """The bytes of a record, none if some are missing; and its overflow pages, if they end as they should."""
        if cell.end > self.usable or cell.size > len(self._view):
            return b"", []
        parts, overflow = [page[cell.begin : cell.begin + cell.local]], []
        missing = cell.size - cell.local
        number = int.from_bytes(page[cell.end - 4 : cell.end], "big") if missing else 0
        while missing:
            if not 1 < number <= self.count or self._readers[number] == _READERS:
                return b"", []
            self._readers[number] += 1
            begin, taken = (number - 1) * self._size, min(missing, self.usable - 4)
            overflow.append(number)
            parts.append(bytes(self._view[begin + 4 : begin + 4 + taken]))
            missing -= taken
            number = int.from_bytes(self._view[begin : begin + 4], "big")
        record = b"".join(parts)
        return (record, [] if number else overflow) if len(record) == cell.size else (b"", [])


def _page_size(view: memoryview) -> tuple[int, int]:
    """The size of a page and of its usable part [1.3.2, 1.3.4]: the header's, unless the pages say otherwise."""
    header = bytes(view[:_FILE_HEADER_SIZE]).ljust(_FILE_HEADER_SIZE, b"\0")
    said = 65536 if header[16:18] == b"\0\1" else int.from_bytes(header[16:18], "big")
    reserved = header[20]
    possible = [size for size in _PAGE_SIZES if size <= len(view)] or [min(_PAGE_SIZES)]
    best, score = (possible[0], possible[0]), (0, 0)
    if said in _PAGE_SIZES and said - reserved >= _LEAST_USABLE:
        best = said, said - reserved
        ends = _Pages(view, *best).ends()
        score = ends[best[1]] * best[1], ends.total()
        if 2 * ends[best[1]] > ends.total():
            return best
    for size in possible:
        for usable in {size, max(size - reserved, _LEAST_USABLE)}:
            ends = _Pages(view, size, usable).ends()
            for end, count in ends.most_common(1):
                if (count * end, ends.total()) > score:
                    best, score = (size, end), (count * end, ends.total())
    return best


def _start(page: bytes, number: int) -> int:
    """Where a page's own header is: behind the file's in the first page, unless another page is in its place."""
    return _FILE_HEADER_SIZE if number == 1 and page[0] not in _CHILD_SIZE else 0


def _header(page: bytes, number: int) -> tuple[int, int, int, int, int]:
    """Type, first free block, cells, where their content begins, bytes in fragments [1.6]."""
    kind, free_block, count, content, fragments = struct.unpack_from(">BHHHB", page, _start(page, number))
    return kind, free_block, count, content or 65536, fragments
