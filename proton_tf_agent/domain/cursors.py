"""How far every file has been read, and by what else than its path a log is known.

A log that was renamed is still the same file, and one that was copied begins as its original does. Neither is looked
for among all others: there may be ten thousand of them, and every new log is asked about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from itertools import chain
from typing import TypeVar

from .terms import Form
from .values import Struct


class Mark(Struct, frozen=True):
    """Where in a log its reader stands.

    anchor names the run whose lines come now (empty: none), offset is where the line began that opened it. phase is
    the human reader's own word for how far that run has come. unit is the directory Terragrunt prefixes lines with;
    a log without such prefixes has one mark, and its unit is empty. cut: the file began anew, and no line of the run
    has been read since.
    """

    anchor: str = ""
    offset: int = 0
    form: Form | None = None
    phase: str = ""
    unit: str = ""
    cut: bool = False


class Cursor(Struct, frozen=True):
    """How far a file has been read, and which file that was.

    head is a digest of the first `head_length` bytes, end one of the last before `offset`: they tell a rewritten file
    from a grown one when truncation went unseen. generation tells what a human log holds from what the same inode held
    before, and modified_ns is when it had last been written (ns since the epoch); both are 0 for a JSON log. lock_id is
    the lock last seen in a lock info file.
    """

    path: str
    device: int = 0
    inode: int = 0
    offset: int = 0
    head: str = ""
    head_length: int = 0
    marks: tuple[Mark, ...] = ()
    generation: int = 0
    modified_ns: int = 0
    lock_id: str = ""
    end: str = ""


_Key = TypeVar("_Key")
_Alike = dict[_Key, dict[str, Cursor]]


class Cursors(MutableMapping[str, Cursor]):
    """Cursors by path; those of logs also by file and by beginning."""

    def __init__(self, cursors: Iterable[Cursor] = ()) -> None:
        self._by_path: dict[str, Cursor] = {}
        self._by_file: _Alike[tuple[int, int]] = {}
        self._by_head: _Alike[str] = {}
        for cursor in cursors:
            self[cursor.path] = cursor

    def of_file(self, device: int, inode: int) -> Iterable[Cursor]:
        """The logs for people that were this file when they were last read."""
        return self._by_file.get((device, inode), {}).values()

    def beginning_with(self, head: str) -> Iterable[Cursor]:
        """The logs whose beginning has this digest (`Cursor.head`)."""
        return self._by_head.get(head, {}).values()

    def for_people(self) -> Iterable[Cursor]:
        """The logs that are not of the JSON UI alone."""
        return chain.from_iterable(alike.values() for alike in self._by_file.values())

    def __getitem__(self, path: str) -> Cursor:
        return self._by_path[path]

    def __setitem__(self, path: str, cursor: Cursor) -> None:
        self.pop(path, None)
        self._by_path[path] = cursor
        if cursor.generation:
            self._by_file.setdefault((cursor.device, cursor.inode), {})[path] = cursor
        if cursor.head:
            self._by_head.setdefault(cursor.head, {})[path] = cursor

    def __delitem__(self, path: str) -> None:
        cursor = self._by_path.pop(path)
        if cursor.generation:
            _unlist(self._by_file, (cursor.device, cursor.inode), path)
        if cursor.head:
            _unlist(self._by_head, cursor.head, path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_path)

    def __len__(self) -> int:
        return len(self._by_path)


def _unlist(table: _Alike[_Key], key: _Key, path: str) -> None:
    del table[key][path]
    if not table[key]:
        del table[key]
