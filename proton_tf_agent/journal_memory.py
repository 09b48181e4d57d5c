"""What is remembered of a journal outside it, in the file of its hold: that it has been here, and what cannot be read
on any other disk should its own rows be lost.

Behind the process id of the holder, with a checksum, written over in place. It is a help and no promise: a disk that
takes no more, or power lost in the midst of writing, costs the memory and nothing else. The holder alone writes.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import blake2b

import msgspec

_BEGIN = 64  # in the file; the holder's own words stand before it
_CHECKSUM = 16
_MOST = 1 << 20


class Memory(msgspec.Struct, frozen=True):
    """first_seen: as in the journal's meta: when it first heard of each watch root. checked_at: when everything in it
    was last checked. ended_well: its last holder ended in order. suspect: it ended with an error, which may come of
    damage.
    """

    first_seen: dict[str, float] = {}
    checked_at: float = 0.0
    ended_well: bool = False
    suspect: bool = False


def recall(hold: int) -> Memory | None:
    """What is remembered; None when no journal has been here. Of a memory that has rotted only that there was one."""
    written = os.pread(hold, _MOST, _BEGIN)
    if not written.split(b"\n", 1)[0].strip(b" \0"):
        return None
    content = out_of_one_line(written)
    if content is not None:
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(content, type=Memory)
    return Memory()


def recall_of(journal: str) -> Memory | None:
    """What is remembered of the journal at a path, by whoever may read it; None when that cannot be said."""
    try:
        fd = os.open(journal + ".lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return recall(fd)
    except OSError:
        return None
    finally:
        os.close(fd)


def remember(hold: int, memory: Memory) -> None:
    """Write all of it anew, to survive power loss."""
    content = msgspec.json.encode(memory)
    with suppress(OSError):
        os.pwrite(hold, in_one_line(content), _BEGIN)
        os.fdatasync(hold)


def in_one_line(content: bytes) -> bytes:
    """Content without line ends as a line that can be written over in place: whether all of it is there shows."""
    return _checksum(content) + content + b"\n"


def out_of_one_line(written: bytes) -> bytes | None:
    """What a line holds that begins here; None when it is torn or has rotted."""
    line = written.split(b"\n", 1)[0]
    checksum, content = line[:_CHECKSUM], line[_CHECKSUM:]
    return content if checksum == _checksum(content) else None


def _checksum(content: bytes) -> bytes:
    return blake2b(content, digest_size=_CHECKSUM // 2).hexdigest().encode()
