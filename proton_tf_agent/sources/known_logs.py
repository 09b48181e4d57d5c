"""Whether a log is one that is known already: renamed, or a copy.

A human log carries nothing by which one run could be told from another that printed the same, so what was read of it
in one place must not be read again in another. A JSON log is known by its first line, and to be the same run in another
directory by how it begins: its lines carry microseconds. The kernel's own notice of a
rename is not relied on: a rescan may be faster than it, and the agent may not have been there.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from heapq import nsmallest

from ..domain.cursors import Cursors
from ..domain.evidence import Cursor
from . import tail
from .safe_open import OpenFile, SafeOpener, Unreadable

_CHUNK = 1 << 20
_MAX_COPY = 64 << 20  # more than anybody prints for people
_MOST_ORIGINALS = 8  # logs that are opened to see whether one is the original: many runs may print the very same


@dataclass(frozen=True, slots=True)
class Original:
    """A log that another file is a copy of. grows: it was or will be written on, and the other
    file is how it begins. lost: something else stands in its place by now."""

    cursor: Cursor
    grows: bool = False
    lost: bool = False


class KnownLogs:
    """The logs among the files that have cursors: journaled, or read by the present batch alone, which are `news`; and
    those that were `written_over` since.

    being_written: the paths of those whose run is open.
    """

    def __init__(
        self,
        opener: SafeOpener,
        journaled: Cursors,
        news: Cursors | None = None,
        being_written: Collection[str] = (),
        written_over: Cursors | None = None,
    ) -> None:
        self._opener = opener
        self._news = Cursors() if news is None else news
        self._all = (journaled, self._news)
        self._written_over = Cursors() if written_over is None else written_over
        self._being_written = being_written

    def is_news(self, cursor: Cursor) -> bool:
        """Whether what was read up to a cursor is not in the journal yet."""
        return self._news.get(cursor.path) == cursor

    def former(self, file: OpenFile) -> Cursor | None:
        """The cursor a file had under another name; None when it is new to us.

        A kernel gives the inode number of a deleted file to the next one. So the old name must no longer lead to the
        file, and the file must be as it was last seen, unless it is still being written: while somebody has a file
        open its number is not given away.
        """
        number = (file.stat.st_dev, file.stat.st_ino)
        for cursor in (cursor for cursors in self._all for cursor in cursors.of_file(*number)):
            unchanged = cursor.modified_ns == file.stat.st_mtime_ns or cursor.path in self._being_written
            if unchanged and cursor.path != file.path and not self._leads_to_its_file(cursor):
                return cursor
        return None

    def originals(self, file: OpenFile) -> Iterator[Original]:
        """The logs that a file is a copy of: of all they hold, or of how they begin if they were written on since."""
        if not 0 < file.stat.st_size <= _MAX_COPY:
            return
        whole: set[str] = set()
        for cursor in self._of_like_content(file):
            is_there = self._begins_with(cursor, file, whole=True)
            if is_there or self._is_lost(cursor, file):
                whole.add(cursor.path)
                yield Original(cursor, lost=not is_there)
        for cursor in self._written_later(file):
            if cursor.path not in whole and self._begins_with(cursor, file):
                yield Original(cursor, grows=True)

    def json_originals(self, file: OpenFile) -> list[Cursor]:
        """The cursors of other JSON logs that begin as a file does."""
        head, _ = tail.head_of(file.read, file.stat.st_size)
        alike = (c for c in self._beginning_with(head) if not c.generation and any(mark.anchor for mark in c.marks))
        return _nearest(file, alike)

    def _of_like_content(self, file: OpenFile) -> list[Cursor]:
        """The logs for people of which all that was read may well be what a file holds."""
        size = file.stat.st_size
        head, _ = tail.head_of(file.read, size)
        end_at = cache(partial(tail.end_of, file.read))
        alike = (cursor for cursor in self._beginning_with(head) if cursor.generation and cursor.offset <= size)
        return _nearest(file, (cursor for cursor in alike if cursor.end in ("", end_at(cursor.offset))))

    def _written_later(self, file: OpenFile) -> list[Cursor]:
        """The logs for people that were or will be written later than a file, and may well begin as it does."""
        size, modified_ns = file.stat.st_size, file.stat.st_mtime_ns
        head_at = cache(partial(tail.head_of, file.read))
        later = (
            cursor for cursors in self._all for cursor in cursors.for_people()
            if cursor.modified_ns > modified_ns or cursor.path in self._being_written
        )  # fmt: skip
        return _nearest(
            file, (c for c in later if c.head_length > size or (c.head, c.head_length) == head_at(c.head_length))
        )

    def _beginning_with(self, head: str) -> Iterator[Cursor]:
        known = (*self._all, self._written_over)
        return (cursor for cursors in known for cursor in cursors.beginning_with(head))

    def json_cursor(self, file: OpenFile, original: Cursor) -> Cursor:
        """The cursor with which a JSON log is read on behind what is known of it: where that has stopped if it was
        moved, else behind all that its original has, which is read there."""
        size = file.stat.st_size
        try:
            with self._opener.open(original.path) as there:
                size = min(size, there.stat.st_size)
        except (FileNotFoundError, Unreadable):
            if original.offset <= size:
                return original
        return cursor_behind(file, original, size)

    def _is_lost(self, cursor: Cursor, file: OpenFile) -> bool:
        """Whether all that is known of a log is how it began and how long it was, and a file is that: it was copied
        away before it was written over, or renamed and touched."""
        if cursor.offset != file.stat.st_size or self._begins_with(cursor, file):
            return False
        try:
            with self._opener.open(cursor.path) as original:
                return original.stat.st_mtime_ns != cursor.modified_ns
        except FileNotFoundError:
            return (cursor.device, cursor.inode) == (file.stat.st_dev, file.stat.st_ino)
        except Unreadable:
            return False

    def _leads_to_its_file(self, cursor: Cursor) -> bool:
        try:
            with self._opener.open(cursor.path) as file:
                return (file.stat.st_dev, file.stat.st_ino) == (cursor.device, cursor.inode)
        except FileNotFoundError:
            return False
        except Unreadable:
            return True  # nobody can tell

    def _begins_with(self, cursor: Cursor, file: OpenFile, whole: bool = False) -> bool:
        """Whether the file of a cursor begins with the bytes of another file, and has no others if it is to be the
        whole of it."""
        size = file.stat.st_size
        try:
            with self._opener.open(cursor.path) as original:
                if original.stat.st_size < size or (whole and original.stat.st_size > size):
                    return False
                return all(
                    original.read(at, min(_CHUNK, size - at)) == file.read(at, min(_CHUNK, size - at))
                    for at in range(0, size, _CHUNK)
                )
        except (FileNotFoundError, Unreadable):
            return False


def cursor_behind(file: OpenFile, original: Cursor, size: int | None = None) -> Cursor:
    """The cursor with which nothing of a copy is read that its original has told; size: of how much it is one."""
    size = file.stat.st_size if size is None else size
    head, length = tail.head_of(file.read, size)
    place = (original.path, file.stat.st_dev, file.stat.st_ino, size)
    end = tail.end_of(file.read, size)
    return Cursor(*place, head, length, generation=original.generation, end=end)  # it may be copied in its turn


def _nearest(file: OpenFile, cursors: Iterable[Cursor]) -> list[Cursor]:
    """The logs among which the original of a file is looked for: those in its own directory first, then the last
    written. What they have in common, most may have in common with many: which of them it is hardly matters then."""
    directory = os.path.dirname(file.path)
    others = (cursor for cursor in cursors if cursor.path != file.path)
    return nsmallest(_MOST_ORIGINALS, others, lambda c: (os.path.dirname(c.path) != directory, -c.modified_ns))
