"""Rows of damaged SQLite files: real databases, real damage, compared with what is known to be intact."""

from __future__ import annotations

import random
import sqlite3
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sqlite_files import (
    B_TREE_TYPES,
    INDEX_INTERIOR,
    INDEX_LEAF,
    LEAST,
    MOST,
    TABLE_LEAF,
    Database,
    RowValues,
    cells_of,
    database,
    tag_in,
)

from proton_tf_agent.sqlite_pages import Row, rows


def find(data: bytes) -> set[RowValues]:
    return {(row.rowid, row.values) for row in rows(data)}


DATABASES = {
    "512": lambda: database(512, count=40),
    "4096": lambda: database(4096, count=30),
    "65536": lambda: database(65536, count=12),
    "reserved-512": lambda: database(512, count=40, reserved=32),
    "reserved-4096": lambda: database(4096, count=20, reserved=8),
    "reserved-65536": lambda: database(65536, count=6, reserved=255),
    "deleted": lambda: database(1024, change="DELETE FROM entry WHERE seq % 3 = 0; DELETE FROM run WHERE number > 0"),
    "vacuumed": lambda: database(1024, count=30, pragma="PRAGMA auto_vacuum=FULL"),
}


@pytest.fixture(params=DATABASES)
def whole(request: pytest.FixtureRequest) -> Database:
    return DATABASES[request.param]()


# --- undamaged ---------------------------------------------------------------------------------------------


def test_every_row_of_an_intact_file_is_found_once_and_listed(whole: Database) -> None:
    found = [row for row in rows(whole.data) if (row.rowid, row.values) in whole.rows]
    assert {(row.rowid, row.values) for row in found} == whole.rows.keys()
    assert len(found) == len(whole.rows)
    assert all(row.listed for row in found)


def test_an_intact_file_gives_its_tables_its_indices_and_nothing_else() -> None:
    whole = database(4096)
    others = [row for row in rows(memoryview(whole.data)) if (row.rowid, row.values) not in whole.rows]
    schema = [row for row in others if row.values[0] in ("table", "index")]
    assert len(schema) == 4
    assert len(others) == len(schema) + 2 * 60


def test_what_an_intact_row_holds_is_not_taken_for_rows() -> None:
    """Neither in its page nor in its overflow pages."""
    forged = b"\x0b\x02\x1fforgedrow"
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (body BLOB)")
        connection.executemany("INSERT INTO t VALUES (?)", [(forged * 3,), (forged * 2000,)])
        connection.commit()
        data = connection.serialize()
    assert {row.rowid for row in rows(data)} == {1, 2}
    damaged = without_headers(data, [4096])
    assert Row(None, ("forgedrow",), listed=False) in [*rows(damaged)]


@pytest.mark.parametrize("keys", [range(5), range(100, 400)], ids=["one page", "pages"])
def test_cells_smaller_than_sqlite_frees_are_found(keys: range) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript("PRAGMA page_size=512; CREATE TABLE small (k PRIMARY KEY) WITHOUT ROWID")
        connection.executemany("INSERT INTO small VALUES (?)", [(key,) for key in keys])
        connection.commit()
        data = connection.serialize()
    found = [row for row in rows(data) if row.values[0] != "table"]
    assert Counter(row.values[0] for row in found) == Counter(keys)
    assert all(row.listed for row in found)


def test_rows_whose_record_header_goes_on_in_an_overflow_page_are_found() -> None:
    """Listed, and with the page's own header gone."""
    columns = [f"c{i}" for i in range(90)]
    values = [tuple(f"{row}-{i}" * 5 for i in range(90)) for row in range(4)]
    for form in ("", "WITHOUT ROWID"):
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.executescript(
                f"PRAGMA page_size=512; CREATE TABLE wide (k PRIMARY KEY, {', '.join(columns)}) {form}"
            )
            connection.executemany(
                f"INSERT INTO wide VALUES (?{', ?' * 90})", [(i, *row) for i, row in enumerate(values)]
            )
            connection.commit()
            data = connection.serialize()
        homes = [at for at in range(512, len(data), 512) if data[at] in B_TREE_TYPES]
        for damaged in (data, without_headers(data, homes)):
            assert {row.values[1:] for row in rows(damaged)} >= {*values}


def test_values_are_as_stored() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, ratio REAL, flag INTEGER)")
        connection.execute("INSERT INTO t VALUES (7, 2.0, 1)")
        connection.execute("ALTER TABLE t ADD COLUMN late TEXT DEFAULT ''")
        connection.commit()
        data = connection.serialize()
    assert Row(7, (None, 2, 1), listed=True) in [*rows(data)]


# --- damage ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_what", ["zeros", "noise"])
def test_a_lost_file_header_loses_no_row(whole: Database, with_what: str) -> None:
    """Page size and reserved bytes are told from the pages."""
    lost = bytes(100) if with_what == "zeros" else random.Random(1).randbytes(100)
    assert find(whole.overwritten(0, lost)) >= whole.rows.keys()


def test_a_flipped_bit_of_the_file_header_loses_no_row() -> None:
    whole = database(512, count=6, reserved=32)
    for bit in range(100 * 8):
        assert find(flipped(whole.data, bit)) >= whole.rows.keys(), bit


def test_a_lost_page_loses_the_rows_that_are_in_it(whole: Database) -> None:
    for number in range(whole.page_count):
        content = b"\0\xff"[number % 2 : number % 2 + 1] * whole.page_size
        damaged = whole.overwritten(number * whole.page_size, content)
        assert find(damaged) >= whole.rows_outside({number}), number


def test_lost_interior_pages_lose_no_row_of_a_rowid_table(whole: Database) -> None:
    damaged = bytearray(whole.data)
    interior = [number for number in range(1, whole.page_count) if whole.page(number)[0] in (0x02, 0x05)]
    for number in interior:
        damaged[number * whole.page_size : (number + 1) * whole.page_size] = bytes(whole.page_size)
    assert interior or whole.page_size == 65536
    assert find(bytes(damaged)) >= whole.rows_outside(interior)


def test_swapped_pages_lose_only_rows_that_have_them_as_overflow_pages(whole: Database) -> None:
    rng = random.Random(5)
    size = whole.page_size
    for _ in range(4 if size == 65536 else 15):
        first, second = sorted(rng.sample(range(whole.page_count), 2))
        damaged = whole.overwritten(first * size, whole.page(second))
        damaged = damaged[: second * size] + whole.page(first) + damaged[(second + 1) * size :]
        moved = {number for number in (first, second) if whole.page(number)[0] not in B_TREE_TYPES}
        assert find(damaged) >= whole.rows_outside(moved), (first, second)


def test_a_truncated_file_gives_every_row_in_front_of_its_end(whole: Database) -> None:
    size = whole.page_size
    for end in [*range(0, len(whole.data), size), *range(size // 3, len(whole.data), 5 * size)]:
        remaining = find(whole.data[:end])
        assert remaining >= whole.rows_outside(range(end // size, whole.page_count)), end


def test_a_lost_half_page_leaves_the_rows_of_the_other_half() -> None:
    """A torn write: what remains of a leaf is the end of its cells, without a header or a pointer."""
    whole = database(4096)
    rescued = 0
    for number in whole.pages_of_type(TABLE_LEAF) + whole.pages_of_type(INDEX_LEAF):
        damaged = whole.overwritten(number * 4096, bytes(2048))
        behind = {row for row, (begin, _) in cells_of(whole, number).items() if begin >= 2048}
        assert find(damaged) >= whole.rows_outside({number}) | behind
        rescued += len(behind)
    assert rescued > 50


def without_headers(data: bytes, homes: Iterable[int]) -> bytes:
    """With the headers, and what may be the first pointers, of pages zeroed."""
    damaged = bytearray(data)
    for at in homes:
        damaged[at : at + 14] = bytes(14)
    return bytes(damaged)


def test_lost_headers_of_all_pages_lose_no_row(whole: Database) -> None:
    """Not one page says what it is: every byte is tried. The file's header says the page size."""
    homes = [n * whole.page_size for n in range(1, whole.page_count) if whole.page(n)[0] in B_TREE_TYPES]
    assert find(without_headers(whole.data, homes)) >= whole.rows.keys()


def flipped(data: bytes, bit: int) -> bytes:
    at, mask = bit // 8, 1 << bit % 8
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


@pytest.mark.parametrize("kind", [TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR])
def test_a_flipped_bit_loses_at_most_the_row_it_hits(kind: int) -> None:
    """Every bit of a page. Its header, its pointers and its free space belong to no row."""
    whole = database(512, count=20)
    number = max(whole.pages_of_type(kind), key=lambda number: len(cells_of(whole, number)))
    cells = cells_of(whole, number)
    assert len(cells) >= (2 if kind == INDEX_INTERIOR else 3)
    alone = whole.only(frozenset({0, number}).union(*(whole.rows[row] for row in cells)))
    owner = {at: row for row, (begin, end) in cells.items() for at in range(begin, end)}
    for bit in range(512 * 8):
        lost = cells.keys() - find(flipped(alone, number * 512 * 8 + bit))
        assert lost <= {owner.get(bit // 8)}, bit


def test_a_broken_overflow_chain_loses_only_its_row() -> None:
    """Pointers to nowhere, to the page itself, to the page before it, to another row's pages."""
    whole = database(512)
    overflow = [number for number in range(1, whole.page_count) if whole.page(number)[0] == 0]
    for number in overflow[:20]:
        for following in (
            0,
            1,
            number,
            number + 1,
            overflow[0] + 1,
            overflow[-1] + 1,
            whole.page_count + 1,
            0xFFFFFFFF,
        ):
            damaged = whole.overwritten(number * 512, struct.pack(">I", following))
            assert find(damaged) >= whole.rows_outside({number})


def test_free_blocks_that_go_round_lose_no_row() -> None:
    whole = database(4096)
    (number, *_) = whole.pages_of_type(TABLE_LEAF)
    (lowest,) = struct.unpack_from(">H", whole.page(number), 5)
    page = bytearray(whole.page(number))
    struct.pack_into(">HHH", page, 1, lowest - 4, struct.unpack_from(">H", page, 3)[0], lowest - 4)
    struct.pack_into(">HH", page, lowest - 4, lowest - 4, 4)
    assert find(whole.overwritten(number * 4096, bytes(page))) >= whole.rows.keys()


def test_text_that_is_not_utf_8_makes_no_row() -> None:
    whole = database(4096)
    hit = next(row for row in whole.rows if row[0] is not None and row[1][5])
    at = whole.data.index("é".encode(), whole.data.index(tag_in(hit)))
    damaged = whole.overwritten(at, b"\xff")
    found = [row for row in rows(damaged) if (row.rowid, row.values) in whole.rows]
    assert len(found) == len(whole.rows) - 1
    assert all(hit[1][1] not in row.values for row in rows(damaged))


def test_an_older_copy_in_a_damaged_page_is_found_but_not_listed() -> None:
    """SQLite leaves copies of moved rows between pointers and cells; in an intact page nobody hears of them."""
    whole = database(4096)
    number = max(whole.pages_of_type(TABLE_LEAF), key=lambda number: whole.page(number).count(bytes(1)))
    cells = cells_of(whole, number)
    row = min(cells, key=lambda row: cells[row][1] - cells[row][0])
    begin, end = cells[row]
    page = whole.page(number)
    (lowest,) = struct.unpack_from(">H", page, 5)
    older = page[begin:end].replace(tag_in(row), b"outdated")
    assert 8 + 2 * len(cells) + 2 <= lowest - len(older)
    changed = page[: lowest - len(older)] + older + page[lowest:]
    behind_pointers = 8 + 2 * len(cells)
    changed = changed[:behind_pointers] + struct.pack(">H", lowest - len(older)) + changed[behind_pointers + 2 :]
    with_copy = whole.overwritten(number * 4096, changed)
    assert "outdated" not in {row.values[1] for row in rows(with_copy) if len(row.values) > 1}
    fragments = number * 4096 + 7
    damaged = with_copy[:fragments] + b"\x3f" + with_copy[fragments + 1 :]
    listed = {row.values[1]: row.listed for row in rows(damaged) if row.rowid is not None and len(row.values) == 6}
    assert listed["outdated"] is False
    assert all(listed[str(row[1][1])] for row in cells)


# --- hostile -----------------------------------------------------------------------------------------------


def bytes_read(found: Iterable[Row]) -> Iterator[int]:
    for row in found:
        yield sum(len(value) if isinstance(value, str | bytes) else 1 for value in row.values)


@pytest.mark.parametrize("page_size", [512, 8192])
@pytest.mark.parametrize("filling", [b"\x08", b"\x0d", b"\x03\x02\x08", b"\x7f", b"\xff", b"\x88\x08"])
def test_no_byte_is_read_for_more_rows_than_it_may_be(filling: bytes, page_size: int) -> None:
    header = b"SQLite format 3\0" + struct.pack(">H", page_size) + b"\1\1\0\x40\x20\x20"
    data = header + filling * (8192 // len(filling))
    assert sum(bytes_read(rows(data))) <= 33 * (len(data) + page_size)


def crowded(size: int) -> bytearray:
    """A page of 4,000 overlapping cells, each a record of so many bytes: one blob."""
    cell = encoded(size) + b"\4" + encoded((size - 4) * 2 + 12)
    page = bytearray(b"SQLite format 3\0\0\1\1\1\0\x40\x20\x20".ljust(65536, b"\0"))
    for begin in range(9000, 9000 + 4000 * 8, 8):
        page[begin : begin + len(cell)] = cell
    return page


def test_an_overflow_page_is_lent_to_few_rows() -> None:
    """Without a limit, a chain in which 4,000 cells go on would be read 4,000 times over."""
    size, most, least = 120_000, (65536 - 12) * 64 // 255 - 23, (65536 - 12) * 32 // 255 - 23
    local = least + (size - least) % (65536 - 4)
    page = crowded(size)
    pointers = 9000 + len(encoded(size)) + (local if local <= most else least)
    page[pointers:] = (struct.pack(">I", 2) * 65536)[: 65536 - pointers]
    overflow = b"".join(struct.pack(">I", number) + b"x" * (65536 - 4) for number in (3, 0))
    last_values = [row.values[-1] for row in rows(bytes(page) + overflow)]
    assert sum(isinstance(value, bytes) and value.endswith(b"x") for value in last_values) == 32


def test_forgeries_that_crowd_a_page_hide_no_row_its_pointers_name() -> None:
    page = bytearray(65536) + crowded(10_000)
    page[:100] = page[65536 : 65536 + 100]
    page[65536 : 65536 + 100] = bytes(100)
    cell = struct.pack(">I", 7) + b"\x09\x02\x1bgenuine"
    struct.pack_into(">BHHHBIH", page, 65536, INDEX_INTERIOR, 0, 1, 8000, 0, 7, 60000)
    page[65536 + 60000 : 65536 + 60000 + len(cell)] = cell
    found = [*rows(memoryview(page))]
    assert Row(None, ("genuine",), listed=True) in found
    assert 30 * 65536 < sum(bytes_read(found)) < 33 * 65536


def encoded(number: int) -> bytes:
    """A number as SQLite writes it."""
    parts = [number & 0x7F]
    while number := number >> 7:
        parts.append(number & 0x7F | 0x80)
    return bytes(reversed(parts))


def test_ten_thousand_random_inputs_raise_nothing() -> None:
    """Noise, alone and behind a header that can be believed, of all page types."""
    rng = random.Random(13)
    for _ in range(10_000):
        data = bytearray(rng.randbytes(rng.randrange(rng.choice((300, 300, 600)))))
        if rng.random() < 0.5:
            data[:24] = b"SQLite format 3\0\2\0\1\1" + bytes([rng.choice((0, 0, 8, 255)), 64, 32, 32])
        for at in (100, 512):
            if len(data) > at + 8 and rng.random() < 0.5:
                data[at] = rng.choice(B_TREE_TYPES)
                data[at + 3] = data[at + 5] = rng.randrange(2)
        for row in rows(bytes(data)):
            assert row.rowid is None or LEAST <= row.rowid <= MOST


damages = st.lists(
    st.tuples(st.integers(0, (1 << 16) - 1), st.binary(min_size=1, max_size=40)), min_size=1, max_size=30
)


@settings(max_examples=150, derandomize=True, database=None, deadline=None)
@given(damages=damages, header_too=st.booleans())
def test_any_damage_leaves_the_rows_it_does_not_touch(damages: list[tuple[int, bytes]], header_too: bool) -> None:
    whole = database(512)
    damaged = bytearray(whole.data)
    touched = set()
    for offset, content in damages:
        at = max(100, offset % len(damaged))
        damaged[at : at + len(content)] = content
        touched |= {at // 512, (at + len(content) - 1) // 512}
    if header_too:
        damaged[:100] = bytes(100)
    assert find(bytes(damaged[: len(whole.data)])) >= whole.rows_outside(touched)


@settings(max_examples=100, derandomize=True, database=None, deadline=None)
@given(st.binary(max_size=1500))
def test_any_bytes_give_rows_or_none(data: bytes) -> None:
    for row in rows(data):
        assert row.values
