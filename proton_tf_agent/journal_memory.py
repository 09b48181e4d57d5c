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
    written = os.pread(hold, _MOST, _BEGIN).split(b"\n", 1)[0]
    if not written.strip(b" \0"):
        return None
    checksum, content = written[:_CHECKSUM], written[_CHECKSUM:]
    if checksum == _checksum(content):
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(content, type=Memory)
    return Memory()


def remember(hold: int, memory: Memory) -> None:
    """Write all of it anew, to survive power loss."""
    content = msgspec.json.encode(memory)
    with suppress(OSError):
        os.pwrite(hold, _checksum(content) + content + b"\n", _BEGIN)
        os.fdatasync(hold)


def _checksum(content: bytes) -> bytes:
    return blake2b(content, digest_size=_CHECKSUM // 2).hexdigest().encode()
