"""What is new in a growing file: whole lines, each once, whatever happens to the file. Real files throughout."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proton_tf_agent.domain.evidence import Cursor
from proton_tf_agent.sources import tail
from proton_tf_agent.sources.tail import Tail, read_new

READ_LIMIT, MAX_LINE = 1024, 4096


class Reader:
    """Looks at one path again and again, as the agent does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cursor: Cursor | None = None
        self.asked = 0

    def look(self) -> Tail:
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())

            def read_at(offset: int, length: int) -> bytes:
                self.asked += length
                return os.pread(file.fileno(), length, offset)

            new = read_new(read_at, status.st_size, status.st_dev, status.st_ino, self.cursor)
        self.cursor = Cursor(
            str(self.path), status.st_dev, status.st_ino, new.offset, new.head, new.head_length, end=new.end
        )  # fmt: skip
        return new

    def lines(self) -> list[bytes]:
        return [line for _, line in self.look().lines]

    def all_lines(self) -> list[bytes]:
        """Everything up to the end, look by look."""
        lines = []
        while True:
            new = self.look()
            lines += [line for _, line in new.lines]
            if not new.more:
                return lines


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "apply.log"


@pytest.fixture
def reader(log: Path) -> Reader:
    return Reader(log)


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "READ_LIMIT", READ_LIMIT)
    monkeypatch.setattr(tail, "MAX_LINE", MAX_LINE)


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def test_each_whole_line_is_read_once(log: Path, reader: Reader) -> None:
    log.write_bytes(b"one\ntwo\n")
    assert reader.lines() == [b"one\n", b"two\n"]
    assert reader.lines() == []
    append(log, b"three\n")
    assert reader.lines() == [b"three\n"]


def test_every_line_says_where_it_begins(log: Path, reader: Reader) -> None:
    log.write_bytes(b"one\n\ntwo\r\n\xff\0x\n")
    content = log.read_bytes()
    first = reader.look().lines
    append(log, b"last\n")
    for offset, line in (*first, *reader.look().lines):
        assert log.read_bytes()[offset : offset + len(line)] == line
    assert b"".join(line for _, line in first) == content


def test_a_byte_order_mark_is_no_part_of_the_first_line_and_moves_no_other(log: Path, reader: Reader) -> None:
    """Where a line begins is what runs are known by: the same whether lines are read one by one or all at once."""
    log.write_bytes(b"\xef\xbb\xbffirst\nsecond\n\xef\xbb\xbfthird\n")
    assert reader.look().lines == ((0, b"first\n"), (9, b"second\n"), (16, b"\xef\xbb\xbfthird\n"))


def test_a_line_is_not_read_before_it_is_whole(log: Path, reader: Reader) -> None:
    log.write_bytes(b"")
    for byte in b"a line":
        append(log, bytes([byte]))
        assert reader.lines() == []
    append(log, b"\nand half")
    assert reader.lines() == [b"a line\n"]
    append(log, b" another\n")
    assert reader.lines() == [b"and half another\n"]


def test_only_a_newline_ends_a_line(log: Path, reader: Reader) -> None:
    log.write_bytes("a\rb\x0bc\x0cd\x1ce\x85f\u2028g\r\n".encode())
    assert len(reader.lines()) == 1


def test_an_empty_file_has_no_lines(log: Path, reader: Reader) -> None:
    log.write_bytes(b"")
    assert reader.look() == Tail((), 0, "", 0, False, False)


def test_a_truncated_file_is_read_from_its_start(log: Path, reader: Reader) -> None:
    log.write_bytes(b"one\ntwo\nthree\n")
    reader.lines()
    log.write_bytes(b"new\n")
    new = reader.look()
    assert new.restarted
    assert new.lines == ((0, b"new\n"),)


def test_a_file_truncated_to_nothing_is_read_from_its_start_when_it_grows_again(log: Path, reader: Reader) -> None:
    log.write_bytes(b"one\n")
    reader.lines()
    os.truncate(log, 0)
    assert reader.look().restarted
    append(log, b"new\n")
    assert reader.lines() == [b"new\n"]


@pytest.mark.parametrize("rewritten", [b"ONE\nTWO\n", b"ONE\nTWO\nTHREE\n", b"ne\none\ntwo\nthree\n"])
def test_a_file_rewritten_in_place_between_two_looks_is_read_again_though_it_never_looked_shorter(
    log: Path, reader: Reader, rewritten: bytes
) -> None:
    log.write_bytes(b"one\ntwo\n")
    reader.lines()
    log.write_bytes(rewritten)
    assert reader.lines() == rewritten.splitlines(keepends=True)


def test_a_file_rewritten_in_place_with_the_same_beginning_is_read_again(log: Path, reader: Reader) -> None:
    beginning = b"the same in every run\n" * 100
    log.write_bytes(beginning + b"it failed\n")
    reader.lines()
    log.write_bytes(beginning + b"it went well and said more\n")
    assert reader.look().restarted


def test_a_file_replaced_by_another_is_read_from_its_start(log: Path, reader: Reader) -> None:
    log.write_bytes(b"one\ntwo\n")
    reader.lines()
    other = log.with_suffix(".new")
    other.write_bytes(b"of the other\nand more of it\n")
    other.replace(log)
    assert reader.lines() == [b"of the other\n", b"and more of it\n"]


def test_a_file_replaced_by_its_own_copy_is_not_read_again(log: Path, reader: Reader) -> None:
    """A log that is moved or copied about tells its story once."""
    log.write_bytes(b"one\ntwo\n")
    reader.lines()
    copy = log.with_suffix(".copy")
    copy.write_bytes(log.read_bytes() + b"three\n")
    copy.replace(log)
    assert reader.lines() == [b"three\n"]


def test_another_file_with_nothing_read_of_it_yet_is_read_from_its_start(log: Path, reader: Reader) -> None:
    log.write_bytes(b"partial")
    assert reader.lines() == []
    other = log.with_suffix(".new")
    other.write_bytes(b"whole\n")
    other.replace(log)
    assert reader.lines() == [b"whole\n"]


def test_copytruncate_loses_no_line_written_after_it(log: Path, reader: Reader) -> None:
    log.write_bytes(b"one\ntwo\nthree\n")
    seen = reader.lines()
    log.with_suffix(".1").write_bytes(log.read_bytes())
    os.truncate(log, 0)
    append(log, b"four\n")
    seen += reader.lines()
    append(log, b"five\n")
    seen += reader.lines()
    assert seen == [b"one\n", b"two\n", b"three\n", b"four\n", b"five\n"]


def test_a_line_torn_by_copytruncate_is_given_up_and_the_next_is_whole(log: Path, reader: Reader) -> None:
    log.write_bytes(b"one\ntorn in ")
    reader.lines()
    os.truncate(log, 0)
    append(log, b"half\nnext\n")
    assert reader.lines() == [b"half\n", b"next\n"]


@pytest.mark.usefixtures("small_limits")
def test_one_look_is_bounded_and_says_that_there_is_more(log: Path, reader: Reader) -> None:
    lines = [b"line %d of many\n" % n for n in range(1000)]
    log.write_bytes(b"".join(lines))
    new = reader.look()
    assert new.more
    assert 0 < new.offset <= READ_LIMIT
    assert reader.asked <= READ_LIMIT + 1024
    rest = reader.all_lines()
    assert [line for _, line in new.lines] + rest == lines


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("length", [READ_LIMIT - 1, READ_LIMIT, READ_LIMIT + 1, MAX_LINE - 1])
def test_a_line_longer_than_one_look_is_read_whole(log: Path, reader: Reader, length: int) -> None:
    lines = [b"x" * length + b"\n", b"after\n"]
    log.write_bytes(b"".join(lines))
    assert reader.all_lines() == lines


@pytest.mark.usefixtures("small_limits")
def test_a_line_beyond_every_limit_is_given_up_and_holds_nobody_back(log: Path, reader: Reader) -> None:
    log.write_bytes(b"x" * (3 * MAX_LINE) + b"\nafter\n")
    lines = reader.all_lines()
    assert lines[-1] == b"after\n"
    assert b"".join(lines) == log.read_bytes()


@pytest.mark.usefixtures("small_limits")
def test_a_long_line_that_is_not_whole_yet_is_waited_for_and_not_asked_for_again_at_once(
    log: Path, reader: Reader
) -> None:
    log.write_bytes(b"x" * (READ_LIMIT + 10))
    assert not reader.look().more
    append(log, b"end\n")
    assert reader.lines() == [b"x" * (READ_LIMIT + 10) + b"end\n"]


def test_a_file_that_got_shorter_since_it_was_measured_loses_no_later_line() -> None:
    """Truncated between fstat and read: short reads, and the next look begins again."""
    old = b"one\ntwo\n"
    first = read_new(of(old), len(old), 1, 1, None)
    cursor = Cursor("p", 1, 1, first.offset, first.head, first.head_length)
    torn = read_new(of(b"n"), len(old) + 10, 1, 1, cursor)
    after = Cursor("p", 1, 1, torn.offset, torn.head, torn.head_length)
    again = read_new(of(b"new\n"), 4, 1, 1, after)
    assert [line for _, line in again.lines] == [b"new\n"]


def of(content: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: content[offset : offset + length]


@pytest.mark.parametrize("known", [b"", b"old\n" * 600], ids=["nothing read yet", "read to its end"])
def test_a_file_written_over_between_any_two_reads_of_a_look_is_read_whole_by_the_next(known: bytes) -> None:
    """Although it is as long as it was by then."""
    old, new = b"old\n" * 600, b"new\n" * 600
    for before in range(10):
        cursor = None
        if known:
            first = read_new(lambda at, length: old[at : at + length], len(old), 1, 1, None)
            cursor = Cursor("/w/a.log", 1, 1, first.offset, first.head, first.head_length, end=first.end)
        reads = iter(range(100))

        def read_at(at: int, length: int, reads: Iterator[int] = reads, before: int = before) -> bytes:
            return (old if next(reads) < before else new)[at : at + length]

        seen = read_new(read_at, len(old), 1, 1, cursor)
        cursor = Cursor("/w/a.log", 1, 1, seen.offset, seen.head, seen.head_length, end=seen.end)
        later = read_new(lambda at, length: new[at : at + length], len(new), 1, 1, cursor)
        told = [line for _, line in (*seen.lines, *later.lines)]
        assert told.count(b"new\n") == 600, before
