"""That an agent is at work, and what it sees of itself: written beside the journal every few seconds, for `status`.

The file is `PATH.health`, written over in place, with a checksum. It is a help and no promise: never synced, and not
written at all when a disk takes no more. A reader who finds none, one that is torn or an old one knows nothing of the
agent, and has to say so (`is_fresh`). What must last is in the journal.
"""

from __future__ import annotations

import os
from contextlib import suppress

import msgspec

from .journal_memory import in_one_line, out_of_one_line

EVERY_S = 5.0  # between two words of it
FRESH_S = 60.0  # so old one still says what is: looking through a very large tree takes a while
NAMED = 20  # unreadable files that are named; all are counted
_MOST = 1 << 20


class Health(msgspec.Struct, frozen=True):
    """What the agent says of itself. Moments are wall-clock seconds.

    roots: the watch roots. rescanned_at: when everything below them was last walked; 0 before the first time.
    rescan_s: CPU seconds that took. overflows: how often the kernel lost hints. has_backlog: whether rescans have found
    more than was looked at. problems: what cannot be watched, and what mends it, a sentence each. unreadable: by path
    why a file is not read, at most NAMED of so many `unreadable_files`.
    """

    pid: int
    version: str
    started_at: float
    at: float
    roots: tuple[str, ...] = ()
    rescanned_at: float = 0.0
    rescan_s: float = 0.0
    overflows: int = 0
    has_backlog: bool = False
    problems: tuple[str, ...] = ()
    unreadable: dict[str, str] = {}
    unreadable_files: int = 0


def path_of(journal: str) -> str:
    """Where the agent of a journal leaves word of its health."""
    return journal + ".health"


def put(journal: str, health: Health) -> None:
    """Write one."""
    with suppress(OSError):
        flags = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path_of(journal), flags, 0o600)
        try:
            line = in_one_line(msgspec.json.encode(health))
            os.pwrite(fd, line, 0)
            os.ftruncate(fd, len(line))
        finally:
            os.close(fd)


def last(journal: str) -> Health | None:
    """The last one, of whatever age; None where none can be made out."""
    try:
        fd = os.open(path_of(journal), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        for _ in range(3):  # one may be torn because it is being written
            content = out_of_one_line(os.pread(fd, _MOST, 0))
            if content is not None:
                return msgspec.json.decode(content, type=Health)
    except (OSError, msgspec.DecodeError):
        return None
    finally:
        os.close(fd)
    return None


def is_fresh(health: Health, now: float) -> bool:
    """Whether it tells of the present; one from the future does not: the clock was set back since."""
    return -FRESH_S <= now - health.at <= FRESH_S
