"""Whether a log is one that was known under another name.

A human log carries nothing by which one run could be told from another that printed the same, so what was read of it
under its old name must not be read again under the new one. (A JSON log is known by its first line.) The kernel's own
notice of a rename is not relied on: a rescan may be faster than it, and the agent may not have been there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..domain.evidence import Cursor
from .safe_open import SafeOpener, Unreadable

FileKey = tuple[int, int]  # device and inode


def human_logs(cursors: Mapping[str, Cursor]) -> dict[FileKey, Cursor]:
    """The cursors of human logs by what file they are of."""
    return {(cursor.device, cursor.inode): cursor for cursor in cursors.values() if cursor.generation}


def former_cursor(
    opener: SafeOpener, path: str, known: Mapping[FileKey, Cursor], being_written: Collection[str]
) -> Cursor | None:
    """The cursor that the file at path had under another name; None when it is new to us.

    A kernel gives the inode number of a deleted file to the next one. So the old name must no longer lead to the file,
    and the file must be as it was last seen, unless its old name is among those `being_written`: while somebody has
    the file open its number is not given away.
    """
    try:
        with opener.open(path) as file:
            status = file.stat
    except (FileNotFoundError, Unreadable):
        return None
    cursor = known.get((status.st_dev, status.st_ino))
    if cursor is None or cursor.path == path or _leads_to_its_file(opener, cursor):
        return None
    return cursor if cursor.modified_ns == status.st_mtime_ns or cursor.path in being_written else None


def _leads_to_its_file(opener: SafeOpener, cursor: Cursor) -> bool:
    try:
        with opener.open(cursor.path) as file:
            return (file.stat.st_dev, file.stat.st_ino) == (cursor.device, cursor.inode)
    except FileNotFoundError:
        return False
    except Unreadable:
        return True  # nobody can tell
