"""Whether a log is one that is known already: renamed, or a copy.

A human log carries nothing by which one run could be told from another that printed the same, so what was read of it
in one place must not be read again in another. A JSON log is known by its first line, and to be the same run in another
directory by how it begins: its lines carry microseconds. The kernel's own notice of a
rename is not relied on: a rescan may be faster than it, and the agent may not have been there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from ..domain.evidence import Cursor
from . import tail
from .safe_open import OpenFile, SafeOpener, Unreadable

_CHUNK = 1 << 20
_MAX_COPY = 64 << 20  # more than anybody prints for people


@dataclass(frozen=True, slots=True)
class Original:
    """A log that another file is a copy of. grows: it was or will be written on, and the other
    file is how it begins."""

    cursor: Cursor
    grows: bool


class KnownLogs:
    """The logs among the files that have cursors. being_written: the paths of those whose run is open."""

    def __init__(self, opener: SafeOpener, cursors: Iterable[Cursor], being_written: Collection[str]) -> None:
        self._opener = opener
        self._being_written = being_written
        self._by_file: dict[tuple[int, int], Cursor] = {}
        self._by_head: dict[str, list[Cursor]] = {}
        self._json_by_head: dict[str, list[Cursor]] = {}
        for cursor in cursors:
            self.add(cursor)

    def add(self, cursor: Cursor) -> None:
        """Know one more."""
        if cursor.generation:
            self._by_file.setdefault((cursor.device, cursor.inode), cursor)
            self._by_head.setdefault(cursor.head, []).append(cursor)
        elif cursor.head_length and any(mark.anchor for mark in cursor.marks):
            self._json_by_head.setdefault(cursor.head, []).append(cursor)

    def former(self, file: OpenFile) -> Cursor | None:
        """The cursor a file had under another name; None when it is new to us.

        A kernel gives the inode number of a deleted file to the next one. So the old name must no longer lead to the
        file, and the file must be as it was last seen, unless it is still being written: while somebody has a file
        open its number is not given away.
        """
        cursor = self._by_file.get((file.stat.st_dev, file.stat.st_ino))
        if cursor is None or cursor.path == file.path or self._leads_to_its_file(cursor):
            return None
        unchanged = cursor.modified_ns == file.stat.st_mtime_ns
        return cursor if unchanged or cursor.path in self._being_written else None

    def originals(self, file: OpenFile) -> Iterator[Original]:
        """The logs that a file is a copy of: of all they hold, or of how they begin if they were written on since."""
        if not 0 < file.stat.st_size <= _MAX_COPY:
            return
        head, _ = tail.head_of(file.read, file.stat.st_size)
        for cursor in self._by_head.get(head, []):
            if cursor.path != file.path and (
                self._begins_with(cursor, file, whole=True) or self._is_lost(cursor, file)
            ):
                yield Original(cursor, grows=False)
        for cursor in self._by_file.values():
            later = cursor.path in self._being_written or cursor.modified_ns > file.stat.st_mtime_ns
            if later and cursor.path != file.path and self._begins_with(cursor, file, whole=False):
                yield Original(cursor, grows=True)

    def json_originals(self, file: OpenFile) -> list[Cursor]:
        """The cursors of other JSON logs that begin as a file does."""
        head, _ = tail.head_of(file.read, file.stat.st_size)
        return [cursor for cursor in self._json_by_head.get(head, []) if cursor.path != file.path]

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
