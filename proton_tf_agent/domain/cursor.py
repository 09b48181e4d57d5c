"""How far a file has been read: its cursor, and in a log the marks of the runs whose lines it holds."""

from __future__ import annotations

from dataclasses import dataclass

from .terms import Form


@dataclass(frozen=True, slots=True)
class Mark:
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


@dataclass(frozen=True, slots=True)
class Cursor:
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
