"""One look at one file below a watched root: what is new in it, as an `Observation`.

READERS says which reader is for which kind of file; a new source is one file and one row here. The same looks serve
hints and rescans. Nothing is remembered here: cursors come in as arguments and go out with the observation, so that
facts and cursor can commit together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from ..domain.binding import MAX_METADATA, METADATA_PATH, TFVARS_PATH
from ..domain.evidence import Cursor, Fact, HolderGone, LogClosed, Mark, Observation, StateWritten
from ..domain.redaction import Taint
from ..domain.run import Lock, Log, Run
from . import json_log, liveness, lock_file, state_file, tail
from .liveness import Presence
from .place import Kind
from .safe_open import OpenFile, SafeOpener, Unreadable
from .watch import Touched

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
    mark = cursor.marks[0] if cursor and cursor.marks else Mark()
    generation = cursor.generation if cursor else 0
    if cursor and new.restarted:
        # Without a version line of its own the new content continues the run: copytruncate cuts logs anywhere.
        mark, generation = replace(mark, offset=mark.offset - cursor.offset), generation + 1
    facts, mark = json_log.read(new.lines, mark, place.directory)
    if touched.complete and mark.anchor and not new.more:
        facts = (*facts, Fact(LogClosed(), mark.anchor))
    advanced = Cursor(
        touched.path, status.st_dev, status.st_ino, new.offset, new.head, new.head_length, (mark,), generation
    )
    return Observation("json_log", touched.path, place.directory, None, facts, advanced, status.st_mtime, new.more)


def _look_at_lock(opener: SafeOpener, touched: Touched, cursor: Cursor | None) -> Observation | None:
    path, place = touched.path, touched.place
    modified_at = 0.0
    content: bytes | None = None
    try:
        with opener.open(path) as file:
            content, modified_at = file.read(0, lock_file.MAX_SIZE), file.stat.st_mtime
    except FileNotFoundError:
        pass
    before = cursor.lock_id if cursor else ""
    facts, lock_id = lock_file.read(content, before, lock_file.state_path_of(path))
    if not facts:
        return None
    advanced = Cursor(path, lock_id=lock_id) if lock_id != before else None
    return Observation("lock_file", path, place.directory, place.workspace, facts, advanced, modified_at)


def _look_at_state(opener: SafeOpener, touched: Touched, _cursor: Cursor | None) -> Observation | None:
    path, place = touched.path, touched.place
    if os.path.lexists(lock_file.lock_info_path_of(path)):
        return None  # in the middle of an apply outputs are a mix of old and new
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


def complete_logs(opener: SafeOpener, looks: Sequence[Touched]) -> set[str]:
    """The paths of those logs that nobody writes any more; ask before they are read, so that nothing is missed.

    One pass over /proc serves all. Where it may not be looked into, the kernel's notice that a writer closed the log
    is believed.
    """
    keys: dict[str, tuple[int, int]] = {}
    for look in looks:
        if look.place.kind is Kind.LOG:
            try:
                with opener.open(look.path) as file:
                    keys[look.path] = (file.stat.st_dev, file.stat.st_ino)
            except (FileNotFoundError, Unreadable):
                continue
    found = liveness.writers(set(keys.values())) if keys else {}
    closed = {look.path for look in looks if look.closed}
    return {
        path for path, key in keys.items()
        if found[key] is Presence.ABSENT or (found[key] is Presence.UNKNOWN and path in closed)
    }  # fmt: skip


# --- is the run still alive? ----------------------------------------------------------------------------------


def probe(opener: SafeOpener, runs: Sequence[Run], closed: Collection[str]) -> list[Observation]:
    """What the processes around open runs tell: a lock's holder is gone, a log has no writer left.

    closed: logs of which the kernel told that a writer closed them; believed only where /proc may not be looked
    into. One pass over /proc serves all runs, and none is made while every run's lock is held.
    """
    gone = {run.run_id: _holder_gone(opener, run) for run in runs if run.lock is Lock.HELD}
    silent = [
        run for run in runs
        if run.log is Log.OPEN and (run.lock is not Lock.HELD or gone.get(run.run_id) is not None)
    ]  # fmt: skip
    written = _writers(opener, silent)
    observations = []
    for run in runs:
        facts = []
        holder = gone.get(run.run_id)
        if holder is not None:
            facts.append(Fact(holder))
        presence = written.get(run.run_id, Presence.PRESENT)
        if presence is Presence.ABSENT or (presence is Presence.UNKNOWN and run.log_path in closed):
            facts.append(Fact(LogClosed(), run.anchor))
        if facts:
            path = run.log_path or run.state_path
            observations.append(Observation("liveness", path, run.directory, run.workspace, tuple(facts), None))
    return observations


def is_alive(opener: SafeOpener, run: Run) -> bool:
    """Whether a process certainly holds the run's lock."""
    return run.lock is Lock.HELD and _holder(opener, run.state_path) is Presence.PRESENT


def _holder(opener: SafeOpener, state_path: str) -> Presence:
    try:
        with opener.open(state_path) as file:
            return liveness.lock_holder(file.fd)
    except FileNotFoundError:
        return Presence.ABSENT  # the lock lives on the state file: no file, no holder
    except Unreadable:
        return Presence.UNKNOWN


def _holder_gone(opener: SafeOpener, run: Run) -> HolderGone | None:
    if _holder(opener, run.state_path) is not Presence.ABSENT:
        return None
    # Asked in this order: the info file is deleted before the unlock, so an info file that is still there after the
    # lock was found free was left behind. One that is gone was released in order; its own reader says so.
    try:
        content = opener.read_small(lock_file.lock_info_path_of(run.state_path), lock_file.MAX_SIZE)
    except Unreadable:
        return None
    if content is None or lock_file.read(content, run.lock_id, run.state_path)[0]:
        return None
    return HolderGone(run.lock_id)


def _writers(opener: SafeOpener, runs: Sequence[Run]) -> dict[str, Presence]:
    """By run id: whether somebody writes its log. A log that is gone or unreadable has no writer we could hear."""
    keys: dict[str, tuple[int, int]] = {}
    presences = {run.run_id: Presence.ABSENT for run in runs}
    for run in runs:
        try:
            with opener.open(run.log_path) as file:
                keys[run.run_id] = (file.stat.st_dev, file.stat.st_ino)
        except (FileNotFoundError, Unreadable):
            continue
    found = liveness.writers(set(keys.values())) if keys else {}
    return presences | {run_id: found[key] for run_id, key in keys.items()}


# --- what else a run directory tells --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StateReading:
    """The local state as far as it could be read: outputs (None: not readable now) and what is sensitive."""

    state: state_file.State | None
    taint: Taint


def read_state(opener: SafeOpener, run: Run) -> StateReading:
    """The state a run wrote, and every value of it and of its backup that nobody may see.

    Taint is unknown when a state exists but cannot be read whole; with no local state nothing can be known to be
    sensitive, and patterns have to do.
    """
    path = run.state_path or f"{run.lock_directory or run.directory}/terraform.tfstate"
    current, secrets, known = _read_one_state(opener, path)
    _, previous, _ = _read_one_state(opener, path + ".backup")
    return StateReading(current, Taint((*secrets, *previous), known))


def _read_one_state(opener: SafeOpener, path: str) -> tuple[state_file.State | None, tuple[str, ...], bool]:
    try:
        with opener.open(path) as file:
            size = file.stat.st_size
            if size == 0:
                return None, (), True  # a first plan or apply that has written nothing yet
            state = state_file.read(file.read, size, file.is_unchanged)
            marked = state_file.secrets_in_resources(file.read, size) if state and not state.encrypted else None
            if state is None or marked is None:
                return state, state.secrets if state else (), False
            return state, (*state.secrets, *marked), file.is_unchanged()
    except FileNotFoundError:
        return None, (), True
    except Unreadable:
        return None, (), False


def read_binding_files(opener: SafeOpener, directory: str) -> tuple[bytes | None, bytes | None]:
    """The deployment metadata and Proton's tfvars of a run directory, as bytes; None where there is none."""
    return (
        opener.read_small(f"{directory}/{METADATA_PATH}", MAX_METADATA),
        opener.read_small(f"{directory}/{TFVARS_PATH}", MAX_METADATA),
    )
