"""The reserve: room that the journal keeps for the time when its disk is full.

It is rows of zeros in the journal itself (table `filler`): SQLite writes into the pages of a deleted row before it asks
the disk for more, and what is free inside the file no other program can take. The last eighth is for deliveries alone,
which are recorded when evidence no longer is. What a transaction overwrites goes into the rollback journal first, so
that file is grown beforehand.

Here it is counted and divided; `journal_store` deletes and adds the rows.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from enum import Enum

PIECE = 65_536  # bytes in a row
MOST_AT_ONCE = 16  # pieces in one transaction; those given up are zeroed, by way of the rollback journal
ROLLBACK_JOURNAL = 2_097_152  # bytes; SQLite cuts it back to that many after each transaction


class Part(Enum):
    """What the reserve is kept for, in the words of the log."""

    EVIDENCE = "evidence"
    DELIVERIES = "deliveries"


class Reserve:
    """How much of it there is, in pieces. Not thread-safe: the store serialises."""

    def __init__(self, size: int, held: int = 0) -> None:
        self.whole = size // PIECE
        self.held = held
        self._for_deliveries = -(-self.whole // 8)

    @property
    def lacking(self) -> int:
        """Pieces that it should have and has not."""
        return max(0, self.whole - self.held)

    def to_spare(self, part: Part) -> int:
        """Pieces that may be given up for a part."""
        return max(0, self.held - (self._for_deliveries if part is Part.EVIDENCE else 0))

    def suffices(self, part: Part) -> bool:
        """Whether there is enough again for a part that had to stop to go on. More than one piece, so that it does not
        stop and go on all the time."""
        return self.held >= (self.whole // 2 if part is Part.EVIDENCE else self._for_deliveries)


def grow_rollback_journal(path: str) -> None:
    """Let the rollback journal of a journal hold what it may, as far as there is room. Zeros are no transaction to
    SQLite. Whoever calls has the right to write, so that nobody else does."""
    with suppress(OSError):
        fd = os.open(f"{path}-journal", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            size = os.fstat(fd).st_size
            if size < ROLLBACK_JOURNAL:
                os.pwrite(fd, bytes(ROLLBACK_JOURNAL - size), size)
        finally:
            os.close(fd)


def is_grown(path: str) -> bool:
    """Whether the rollback journal of a journal has room for what it may hold."""
    try:
        return os.stat(f"{path}-journal").st_size >= ROLLBACK_JOURNAL
    except OSError:
        return False


def has_no_room(path: str) -> bool:
    """Whether a new file beside `path` gets no room, of the disk or of this user's quota: more is asked for than SQLite
    ever writes at once."""
    probe = f"{path}.probe"
    try:
        fd = os.open(probe, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.unlink(probe)
            os.posix_fallocate(fd, 0, PIECE)
        finally:
            os.close(fd)
    except OSError as refused:
        return refused.errno in (errno.ENOSPC, errno.EDQUOT)
    return False
