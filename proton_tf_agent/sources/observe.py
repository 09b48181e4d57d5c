"""One look at one file below a watched root: what is new in it, as an `Observation`.

READERS says which reader is for which kind of file; a new source is one file and one row here. The same looks serve
hints and rescans. Nothing is remembered here: cursors come in as arguments and go out with the observation, so that
facts and cursor can commit together.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..domain.binding import MAX_METADATA, METADATA_PATH, TFVARS_PATH
from ..domain.evidence import Cursor, Fact, Form, LogClosed, Observation, StateWritten
from ..domain.redaction import Taint
from . import json_log, lock_file, log, state_file, tail
from .backend import Backend
from .place import Kind
from .s3_state import OutOfReach, S3States
from .safe_open import OpenFile, SafeOpener, Unreadable
from .watch import Touched

_LAST_LINES = 64 * 1024  # bytes of a log in which its last line with a time is looked for

Look = Callable[[SafeOpener, Touched, Cursor | None], Observation | None]


def _look_at_log(opener: SafeOpener, touched: Touched, cursor: Cursor | None) -> Observation | None:
    try:
        with opener.open(touched.path) as file:
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
    facts, marks = log.read(readable, new, cursor, touched.complete)
    forms = {mark.form for mark in marks if mark.form}
    human = Form.HUMAN in forms or bool(cursor and cursor.generation and not forms)  # the copy of one has no mark
    advanced = Cursor(touched.path, status.st_dev, status.st_ino, new.offset, new.head, new.head_length, marks)
    spoke_at = status.st_mtime if touched.complete else None
    if human:
        advanced = replace(advanced, generation=generation, modified_ns=status.st_mtime_ns)
    elif (said_at := _said_at(file)) is not None:
        spoke_at = min(said_at, status.st_mtime)  # a copy is written later than what it tells of
        closed = LogClosed(status.st_mtime)
        facts = tuple(replace(f, evidence=LogClosed(spoke_at)) if f.evidence == closed else f for f in facts)
    return Observation(
        log.source_of(marks), touched.path, place.directory, None, facts, advanced, status.st_mtime, new.more,
        spoke_at,
    )  # fmt: skip


def _said_at(file: OpenFile) -> float | None:
    """When the last line of a JSON log was written, by the log's own clock."""
    return json_log.spoke_at(file.read(max(0, file.stat.st_size - _LAST_LINES), _LAST_LINES).split(b"\n"))


def _look_at_lock(opener: SafeOpener, touched: Touched, cursor: Cursor | None) -> Observation | None:
    path, place = touched.path, touched.place
    modified_at = 0.0
    content: bytes | None = None
    try:
        with opener.open(path) as file:
            content, modified_at = file.read(0, lock_file.MAX_SIZE), file.stat.st_mtime
    except FileNotFoundError:
        if opener.is_missing(os.path.dirname(path)):
            return None  # gone with its directory, or with the whole root: nobody has released it
    before = cursor.lock_id if cursor else ""
    facts, lock_id = lock_file.read(content, before, lock_file.state_path_of(path))
    if not facts:
        return None
    advanced = Cursor(path, lock_id=lock_id) if lock_id != before else None
    return Observation("lock_file", path, place.directory, place.workspace, facts, advanced, modified_at)


def _look_at_state(opener: SafeOpener, touched: Touched, _cursor: Cursor | None) -> Observation | None:
    path, place = touched.path, touched.place
    if is_locked(path):
        return None
    try:
        with opener.open(path) as file:
            state = state_file.read(file.read, file.stat.st_size, file.is_unchanged)
            if state is None:
                return None
            facts = (Fact(StateWritten(state.lineage, state.serial, state.outputs)),)
            return Observation("state_file", path, place.directory, place.workspace, facts, None, file.stat.st_mtime)
    except FileNotFoundError:
        return None


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
    if observation is None or (not observation.facts and observation.cursor == cursor):
        return None
    return observation


# --- what else a run directory tells --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StateReading:
    """A state as far as it could be read: outputs (None: not readable now) and what is sensitive.

    reason says why there is no state, in words for people; modified_at is when the state was last written.
    """

    state: state_file.State | None
    taint: Taint
    reason: str = ""
    modified_at: float = 0.0


NO_STATE = "there is no local state"
TORN = "the state is torn or being written"
ENCRYPTED = "the state is encrypted"


def read_state(opener: SafeOpener, path: str) -> StateReading:
    """The state at path, and every value of it and of its backup that nobody may see.

    Taint is unknown when a state exists but cannot be read whole; with no local state nothing can be known to be
    sensitive, and patterns have to do. An encrypted state (OpenTofu) is no state: neither its outputs nor what is
    sensitive in it can be known.
    """
    current, secrets = _read_one_state(opener, path)
    _, previous = _read_one_state(opener, path + ".backup")
    return replace(current, taint=Taint((*secrets, *previous), current.taint.known))


def _read_one_state(opener: SafeOpener, path: str) -> tuple[StateReading, tuple[str, ...]]:
    nothing, unknown = Taint(), Taint(known=False)
    try:
        with opener.open(path) as file:
            return _reading_of(file.read, file.stat.st_size, file.is_unchanged, file.stat.st_mtime)
    except FileNotFoundError:
        return StateReading(None, nothing, NO_STATE), ()
    except Unreadable as error:
        return StateReading(None, unknown, f"the state cannot be read: {error.code}"), ()


def _reading_of(
    read_at: tail.ReadAt, size: int, is_unchanged: Callable[[], bool], at: float
) -> tuple[StateReading, tuple[str, ...]]:
    nothing, unknown = Taint(), Taint(known=False)
    if size == 0:
        return StateReading(None, nothing, "the state is empty", at), ()  # nothing was written yet
    state = state_file.read(read_at, size, is_unchanged)
    if state is None:
        return StateReading(None, unknown, TORN, at), ()
    if state.encrypted:
        return StateReading(None, unknown, ENCRYPTED, at), ()
    marked = state_file.secrets_in_resources(read_at, size)
    known = marked is not None and is_unchanged()
    return StateReading(state, nothing if known else unknown, "", at), (*state.secrets, *(marked or ()))


def read_state_in_s3(states: S3States, found: Backend, workspace: str | None) -> StateReading:
    """The state of a workspace in S3, and every value of it that nobody may see.

    What cannot be read has no state and a reason; nothing can then be known to be sensitive, and patterns have to do.
    """
    try:
        stored = states.read(found, workspace)
    except OutOfReach as error:
        return StateReading(None, Taint(), str(error))
    content = stored.content
    reading, secrets = _reading_of(
        lambda offset, length: content[offset : offset + length], len(content), lambda: True, stored.modified_at
    )
    return replace(reading, taint=Taint(secrets, reading.taint.known))


def is_locked(path: str) -> bool:
    """Whether a lock info file lies beside a state: its outputs may be a mix of old and new.

    It may also have been left behind by a killed run; then too nobody can vouch for what the state holds.
    """
    return os.path.lexists(lock_file.lock_info_path_of(path))


@dataclass(frozen=True, slots=True)
class BindingFile:
    """What names a resource, as bytes, and when it was written."""

    content: bytes
    modified_at: float


def read_binding_files(opener: SafeOpener, directory: str) -> tuple[BindingFile | None, BindingFile | None]:
    """The deployment metadata and Proton's tfvars of a run directory; None where there is none."""
    return _binding_file(opener, f"{directory}/{METADATA_PATH}"), _binding_file(opener, f"{directory}/{TFVARS_PATH}")


def _binding_file(opener: SafeOpener, path: str) -> BindingFile | None:
    try:
        with opener.open(path) as file:
            if file.stat.st_size > MAX_METADATA:
                raise Unreadable("E_TOO_LARGE", path)
            return BindingFile(file.read(0, MAX_METADATA), file.stat.st_mtime)
    except FileNotFoundError:
        return None
