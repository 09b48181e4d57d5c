"""The processes behind logs and runs: who still writes, who still holds a lock, what nobody will finish.

Asks `liveness` about files that `SafeOpener` has opened. Nothing is remembered here and nothing concluded: a process
that cannot be seen is never taken for one that is gone.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence

from ..domain.evidence import Cursor, Fact, HolderGone, LogClosed, Observation, TracesGone
from ..domain.run import Lock, Log, Run
from ..domain.values import replace
from . import liveness, lock_file
from .liveness import Presence
from .place import Kind
from .safe_open import SafeOpener, Unreadable
from .watch import Stamp, Touched, stamp_of


class Processes:
    """What the processes of this host tell about files below the watched roots."""

    def __init__(self, opener: SafeOpener) -> None:
        self._opener = opener

    def complete_logs(self, looks: Sequence[Touched]) -> dict[str, Touched]:
        """By path: those looks that are at logs which nobody writes any more, marked as complete.

        Ask before they are read, so that nothing is missed. One pass over /proc serves all. Where it may not be looked
        into, the kernel's notice that a writer closed the log is believed.
        """
        keys: dict[str, tuple[int, int]] = {}
        mounts: dict[tuple[int, int], int] = {}
        as_of: dict[str, Stamp] = {}
        for look in looks:
            if look.place.kind is Kind.LOG:
                try:
                    with self._opener.open(look.path) as file:
                        keys[look.path] = (file.stat.st_dev, file.stat.st_ino)
                        mounts[keys[look.path]] = file.mount
                        as_of[look.path] = stamp_of(file.stat)
                except (FileNotFoundError, Unreadable):
                    continue
        found = liveness.writers(mounts) if mounts else {}
        complete = {}
        for look in looks:
            presence = found[keys[look.path]] if look.path in keys else Presence.PRESENT
            hearsay = presence is Presence.UNKNOWN and look.closed
            if presence is Presence.ABSENT or hearsay:
                complete[look.path] = replace(look, complete=True, as_of=as_of[look.path], hearsay=hearsay)
        return complete

    def is_alive(self, run: Run) -> bool:
        """Whether a process certainly holds the very lock that was seen to be the run's."""
        # Asked in this order: the info file is deleted before the unlock, so whoever held the lock while the file still
        # names the run is the run (or, for the instant between its lock and its info file, the next one behind a run
        # that was killed). A file that is empty or torn names nobody: the next run is writing it.
        if run.lock is not Lock.HELD or self._holder(run.state_path) is not Presence.PRESENT:
            return False
        try:
            return self._named(run.state_path) == run.lock_id
        except Unreadable:
            return False

    def probe(self, runs: Sequence[Run], closed: Collection[str], cursors: Mapping[str, Cursor]) -> list[Observation]:
        """What the processes around open runs tell: a lock's holder is gone, a log has no writer left, nothing is left.

        closed: logs of which the kernel told that a writer closed them; believed only where /proc may not be looked
        into. cursors tell which file a log was that is not there any more: a process may still write it. One pass over
        /proc serves all runs, and none is made while every run's lock is held.
        """
        gone = {run.run_id: self._holder_gone(run) for run in runs if run.lock is Lock.HELD}
        robbed = {run.run_id for run in runs if self._is_robbed(run)}
        silent = [
            run for run in runs
            if run.log is Log.OPEN
            and (run.lock is not Lock.HELD or gone.get(run.run_id) is not None or run.run_id in robbed)
        ]  # fmt: skip
        written = self._writers(silent, cursors)
        observations = []
        for run in runs:
            facts = []
            holder = gone.get(run.run_id)
            if holder is not None:
                facts.append(Fact(holder))
            presence = written.get(run.run_id)
            if run.run_id in robbed:
                if presence is Presence.ABSENT or (
                    presence is not Presence.PRESENT and not self._opener.is_away(_trace(run))
                ):
                    facts.append(Fact(TracesGone(run.lock_id), run.anchor))
            elif presence is Presence.ABSENT or (presence is Presence.UNKNOWN and run.log_path in closed):
                facts.append(Fact(LogClosed(self._written_at(run.log_path)), run.anchor))
            if facts:
                place = (run.directory, run.workspace)
                observations.append(Observation("liveness", _trace(run), *place, tuple(facts), None))
        return observations

    def _is_robbed(self, run: Run) -> bool:
        """Whether what would tell of the run's end is gone from disk: the directory of its lock, else its log."""
        if run.lock is Lock.HELD:
            return self._opener.is_missing(os.path.dirname(run.state_path))
        if run.log is not Log.OPEN:
            return False
        try:
            with self._opener.open(run.log_path):
                return False
        except FileNotFoundError:
            return True
        except Unreadable:
            return False

    def _written_at(self, path: str) -> float | None:
        try:
            with self._opener.open(path) as file:
                return file.stat.st_mtime
        except (FileNotFoundError, Unreadable):
            return None

    def _holder(self, state_path: str) -> Presence:
        try:
            with self._opener.open(state_path) as file:
                return liveness.lock_holder(file.fd)
        except FileNotFoundError:
            return Presence.ABSENT  # the lock lives on the state file: no file, no holder
        except Unreadable:
            return Presence.UNKNOWN

    def _holder_gone(self, run: Run) -> HolderGone | None:
        if self._holder(run.state_path) is not Presence.ABSENT:
            return None
        # Asked in this order: the info file is deleted before the unlock, so an info file that is still there after
        # the lock was found free was left behind. One that is gone was released in order; its own reader says so.
        try:
            named = self._named(run.state_path)
        except Unreadable:
            return None
        if named == "" and self._holder(run.state_path) is not Presence.ABSENT:
            return None  # the next run has taken the lock since, and is writing it
        return HolderGone(run.lock_id) if named in ("", run.lock_id) else None

    def _named(self, state_path: str) -> str | None:
        """The id of the lock that a state's info file names; empty where that is torn, None where there is none."""
        content = self._opener.read_small(lock_file.lock_info_path_of(state_path), lock_file.MAX_SIZE)
        return None if content is None else lock_file.read(content, "", state_path)[1]

    def _writers(self, runs: Sequence[Run], cursors: Mapping[str, Cursor]) -> dict[str, Presence]:
        """By run id: whether somebody writes its log. A run is left out if nobody knows which file that was, or if it
        may not be read: what its log still holds would not be heard."""
        keys: dict[str, tuple[int, int]] = {}
        mounts: dict[tuple[int, int], int] = {}
        for run in runs:
            try:
                with self._opener.open(run.log_path) as file:
                    keys[run.run_id] = (file.stat.st_dev, file.stat.st_ino)
                    mounts[keys[run.run_id]] = file.mount
            except FileNotFoundError:
                cursor = cursors.get(run.log_path)
                if cursor is not None and cursor.inode:
                    keys[run.run_id] = (cursor.device, cursor.inode)
                    mounts[keys[run.run_id]] = self._opener.mount_around(run.log_path)
            except Unreadable:
                continue
        found = liveness.writers(mounts) if mounts else {}
        return {run_id: found[key] for run_id, key in keys.items()}


def _trace(run: Run) -> str:
    return run.log_path or run.state_path
