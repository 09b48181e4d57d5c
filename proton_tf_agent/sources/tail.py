"""What is new in a growing file since a cursor: whole lines only.

A file that shrank, was replaced, or has other bytes than before where it begins, or where it was read to, is read from
its start again. One look reads at most READ_LIMIT bytes (more when one line is longer) and says whether there is more,
so that a chatty job cannot keep the agent from the others.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..domain.evidence import Cursor

READ_LIMIT = 64 << 10
MAX_LINE = 16 << 20
_HEAD = 1024
_UNFINISHED = 256
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

ReadAt = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Tail:
    """New whole lines with the offset each begins at, and where the next look begins.

    restarted: the file is not the one the cursor knew, or was truncated; more: bytes were left for the next look.
    unfinished: the end of the last line, which has no newline yet (a prompt, or a line being written). given_up: some
    of the lines is a piece of one beyond MAX_LINE.
    """

    lines: tuple[tuple[int, bytes], ...]
    offset: int
    head: str
    head_length: int
    restarted: bool
    more: bool
    unfinished: bytes = b""
    end: str = ""
    given_up: bool = False


def read_new(read: ReadAt, size: int, device: int, inode: int, cursor: Cursor | None) -> Tail:
    """The whole lines behind the cursor. read(offset, length) gives bytes; size is the file's."""
    if cursor is not None and not _is_another(read, size, device, inode, cursor):
        new = _read_from(read, size, cursor.offset)
        # Asked once more: a file that was written over while it was read would else keep the new head with the old
        # offset, and what comes before that would never be read.
        if not _is_another(read, size, device, inode, cursor):
            return new
    return _read_from(read, size, 0, restarted=cursor is not None)


def _read_from(read: ReadAt, size: int, start: int, restarted: bool = False) -> Tail:
    block = read(start, min(READ_LIMIT, size - start))
    end = block.rfind(b"\n") + 1
    length, given_up = READ_LIMIT, False
    while not end and len(block) == length < MAX_LINE:  # a line of its own look
        length = min(4 * length, MAX_LINE)
        block = read(start, min(length, size - start))
        end = block.find(b"\n") + 1
    if not end and len(block) == MAX_LINE:
        end, given_up = len(block), True  # given up in pieces; no piece of it is a JSON document
    lines = []
    position = start
    for line in _split(block[:end]):
        lines.append((position, line if position else line.removeprefix(_BYTE_ORDER_MARK)))
        position += len(line)
    offset = start + end
    if start == 0:  # what tells the file again must be of the very bytes that were read
        read = partial(_part, block)
    head, head_length = head_of(read, offset)
    more = bool(end) and offset < size and len(block) >= READ_LIMIT
    unfinished = b"" if more else block[end:][-_UNFINISHED:]
    return Tail(tuple(lines), offset, head, head_length, restarted, more, unfinished, end_of(read, offset), given_up)


def head_of(read: ReadAt, offset: int) -> tuple[str, int]:
    """What tells a file that was read up to an offset from another: a digest of how it begins, and of how much."""
    length = min(offset, _HEAD)
    return _digest(read, length), length


def end_of(read: ReadAt, offset: int) -> str:
    """A digest of the last bytes before an offset; empty where the file's beginning reaches that far. Two runs of one
    configuration may well begin with the same lines."""
    return _digest(read, _HEAD, offset - _HEAD) if offset > _HEAD else ""


def _part(block: bytes, offset: int, length: int) -> bytes:
    return block[offset : offset + length]


def _split(block: bytes) -> list[bytes]:
    """Lines by newline alone: bytes.splitlines would also cut at a lone carriage return."""
    return io.BytesIO(block).readlines()


def _is_another(read: ReadAt, size: int, device: int, inode: int, cursor: Cursor) -> bool:
    if size < cursor.offset:
        return True
    if cursor.head_length:
        if _digest(read, cursor.head_length) != cursor.head:
            return True
        return bool(cursor.end) and end_of(read, cursor.offset) != cursor.end
    return (device, inode) != (cursor.device, cursor.inode)


def _digest(read: ReadAt, length: int, offset: int = 0) -> str:
    return hashlib.blake2b(read(offset, length), digest_size=12).hexdigest() if length else ""
