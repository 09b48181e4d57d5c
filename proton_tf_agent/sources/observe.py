"""One look at one file below a watched root: what is new in it, as an `Observation`.

READERS says which reader is for which kind of file; a new source is one file and one row here. The same looks serve
hints and rescans. Nothing is remembered here: cursors come in as arguments and go out with the observation, so that
facts and cursor can commit together.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ..domain.evidence import Cursor, Fact, Form, LogClosed, Observation, StateWritten
from ..domain.values import replace
from . import json_log, lock_file, log, state_file, tail
from .place import Kind
from .safe_open import OpenFile, SafeOpener, Unreadable
from .states import MAX_STATE, is_locked
from .tail import Tail
from .watch import Touched
from .weight import LIGHT, is_heavy

MAX_UNREAD = 1 << 30  # bytes of a log that nobody has read: Terraform writes no such log, and reading it takes minutes
_DAY_S = 86_400.0
_LAST_LINES = 64 * 1024  # bytes of a log in which its last line with a time is looked for

Look = Callable[[SafeOpener, Touched, Cursor | None], Observation | None]


def _look_at_log(opener: SafeOpener, touched: Touched, cursor: Cursor | None) -> Observation | None:
    try:
        with opener.open(touched.path) as file:
            if file.stat.st_size - (cursor.offset if cursor else 0) > MAX_UNREAD:
                raise Unreadable("E_TOO_LARGE", touched.path)
            return _log_observation(file, touched, cursor)
    except FileNotFoundError:
        return None


def _log_observation(file: OpenFile, touched: Touched, cursor: Cursor | None) -> Observation:
    status, place = file.stat, touched.place
    new = tail.read_new(file.read, status.st_size, status.st_dev, status.st_ino, cursor)
    # Inode numbers are reused at once and human logs carry no time: a file that is new to us is told from an earlier
    # one of its name and number by when it was last changed.
    generation = ((cursor and cursor.generation) or status.st_ctime_ns) + new.restarted
    identity = f"{place.directory}\0{status.st_dev}\0{status.st_ino}\0{generation}"
    readable = log.LogFile(place.directory, os.path.basename(touched.path), identity, status.st_mtime)
    # Who writes over it while we look, or came between its closing and our look, has it open by now.
    reopened = not file.is_unchanged() or (new.restarted and touched.hearsay)
    complete = touched.is_complete(status) and not reopened
    facts, marks = log.read(readable, new, cursor, complete)
    forms = {mark.form for mark in marks if mark.form}
    human = Form.HUMAN in forms or bool(cursor and cursor.generation and not forms)  # the copy of one has no mark
    advanced = Cursor(
        touched.path, status.st_dev, status.st_ino, new.offset, new.head, new.head_length, marks, end=new.end
    )
    written_at = status.st_mtime
    spoke_at = written_at if complete else None
    said_at = None if human else _said_at(file)
    if human:
        advanced = replace(advanced, generation=generation, modified_ns=status.st_mtime_ns)
    elif said_at is not None:
        if written_at < said_at - _DAY_S:
            written_at = said_at  # somebody has set another time
        spoke_at = min(said_at, written_at)  # a copy is written later than what it tells of
        closed = LogClosed(status.st_mtime)
        facts = tuple(replace(f, evidence=LogClosed(spoke_at)) if f.evidence == closed else f for f in facts)
    return Observation(
        log.source_of(marks), touched.path, place.directory, None, facts, advanced, written_at, new.more,
        spoke_at, (status.st_dev, status.st_ino), _too_large(new), said_at,
    )  # fmt: skip


def _too_large(new: Tail) -> str:
    """Whether a line was too much to be read; the lines around it are."""
    return "E_TOO_LARGE" if new.given_up or any(len(line) > LIGHT and is_heavy(line) for _, line in new.lines) else ""


def _said_at(file: OpenFile) -> float | None:
    """When the last line of a JSON log was written, by the log's own clock."""
    return json_log.spoke_at(file.read(max(0, file.stat.st_size - _LAST_LINES), _LAST_LINES).split(b"\n"))


def _look_at_lock(opener: SafeOpener, touched: Touched, cursor: Cursor | None) -> Observation | None:
    path, place = touched.path, touched.place
    modified_at = 0.0
    content: bytes | None = None
    gone_by: float | None = None
    try:
        with opener.open(path, lock_file.MAX_SIZE) as file:
            content, modified_at = file.read(0, lock_file.MAX_SIZE), file.stat.st_mtime
    except FileNotFoundError:
        if opener.is_missing(os.path.dirname(path)):
            return None  # gone with its directory, or with the whole root: nobody has released it
        gone_by = _changed_at(opener, os.path.dirname(path))
    before = cursor.lock_id if cursor else ""
    facts, lock_id = lock_file.read(content, before, lock_file.state_path_of(path), gone_by)
    if not facts:
        objection = lock_file.objection(content) if content is not None else ""
        return _refused("lock_file", touched, modified_at, objection) if objection else None
    advanced = Cursor(path, lock_id=lock_id) if lock_id != before else None
    return Observation("lock_file", path, place.directory, place.workspace, facts, advanced, modified_at)


def _changed_at(opener: SafeOpener, directory: str) -> float | None:
    """When something was last created or removed in a directory (inode(7), st_mtime); None where nobody can tell."""
    try:
        status = opener.look(directory)
    except Unreadable:
        return None
    return status.st_mtime if status is not None else None


def _look_at_state(opener: SafeOpener, touched: Touched, _cursor: Cursor | None) -> Observation | None:
    path, place = touched.path, touched.place
    if is_locked(opener, path):
        return None
    try:
        with opener.open(path, MAX_STATE) as file:
            state = state_file.read(file.read, file.stat.st_size, file.is_unchanged)
            if state is None:
                objection = state_file.objection(file.read, file.stat.st_size)
                return _refused("state_file", touched, file.stat.st_mtime, objection)
            facts = (Fact(StateWritten(state.lineage, state.serial, state.outputs)),)
            return Observation("state_file", path, place.directory, place.workspace, facts, None, file.stat.st_mtime)
    except FileNotFoundError:
        return None


def _refused(source: str, touched: Touched, modified_at: float, objection: str) -> Observation:
    place = touched.place
    return Observation(
        source, touched.path, place.directory, place.workspace, (), None, modified_at, objection=objection
    )


READERS: dict[Kind, Look] = {
    Kind.LOG: _look_at_log,
    Kind.LOCK: _look_at_lock,
    Kind.STATE: _look_at_state,
}


def observe(opener: SafeOpener, touched: Touched, cursor: Cursor | None) -> Observation | None:
    """What the file says that the cursor has not seen; None when that is nothing.

    Raises Unreadable when the file must not or cannot be read.
    """
    look = READERS.get(touched.place.kind)
    observation = look(opener, touched, cursor) if look else None
    if observation is None or not (observation.facts or observation.cursor != cursor or observation.objection):
        return None
    return observation
