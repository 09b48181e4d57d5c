"""Whether a log is one that is known by another name: renamed, moved or copied; and which run directory it speaks for.

What a log and its copy have in common `sources.known_logs` finds; here is decided whether the one is the other, which
depends on the deployments they are bound to. It concludes nothing about runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from .domain.cursors import Cursors
from .domain.evidence import Cursor, Observation, OperationStarted
from .domain.values import replace
from .pipeline import Pipeline
from .sources.known_logs import KnownLogs, Original, cursor_behind
from .sources.place import unit_directory
from .sources.safe_open import OpenFile, SafeOpener
from .sources.watch import Stamp, Touched, Watch, stamp_of


class NotYet(Exception):
    """What a file is can be known only later. soon: in the next batch; else when it has changed, or is complete.
    around: what the logs around it have to say is to be known before."""

    def __init__(self, soon: bool, around: bool = False) -> None:
        self.soon, self.around = soon, around
        super().__init__()


class LogNames:
    """The names under which logs are, and were, known."""

    def __init__(self, opener: SafeOpener, watch: Watch, pipeline: Pipeline, clock: Callable[[], float]) -> None:
        self._opener = opener
        self._watch = watch
        self._pipeline = pipeline
        self._clock = clock
        self._run_directories: dict[str, str] = {}
        self._put_off: dict[str, Stamp] = {}
        self.written_over = Cursors()  # what was known of logs that another run has written over since

    def run_directory(self, path: str) -> str:
        """The run directory of a log; the one its first run began in, for a run's directory may be cleared away."""
        return self._run_directories.get(path) or self._watch.run_directory(unit_directory(os.path.dirname(path)))

    def was_read(self, look: Touched, before: Cursor | None, observation: Observation) -> None:
        """Remember the run directory in which the first run of a log began, and what was known of a log for people that
        was written over. before: the cursor with which it was read."""
        if any(isinstance(fact.evidence, OperationStarted) for fact in observation.facts):
            self._run_directories.setdefault(look.path, look.place.directory)
        now = observation.cursor
        if before is not None and before.generation and now is not None and now.generation != before.generation:
            self.written_over[look.path] = replace(before, path=look.path)

    def forget(self, path: str) -> None:
        """A log is gone for good."""
        self._run_directories.pop(path, None)
        self._put_off.pop(path, None)
        self.written_over.pop(path, None)

    def cursor_elsewhere(self, look: Touched, known: KnownLogs) -> Cursor | None:
        """The cursor of a log that is known by another name, renamed or copied: what was read of it is no other run.

        Two runs may print the same: under another deployment a human log is a copy only of a success, if it has all of
        it when it is found and no run awaits its log; of which it is one that was written over by then. A JSON log in
        another directory is one for the same deployment. NotYet when that cannot be known yet.
        """
        try:
            with self._opener.open(look.path) as file:
                former = known.former(file)
                if former is not None:
                    return former
                for original in known.originals(file):
                    if self._is_copy(original, look, file, known):
                        return cursor_behind(file, original.cursor)
                return self._cursor_of_json(file, look, known)
        except FileNotFoundError:
            return None

    def _is_copy(self, original: Original, look: Touched, file: OpenFile, known: KnownLogs) -> bool:
        """Whether a human log is a copy of another rather than one that says the same. NotYet: see there."""
        directory = look.place.directory
        if known.is_news(original.cursor):
            raise NotYet(soon=True)  # its run is not journaled yet
        same = self._told_of(original.cursor, directory)
        if not same and (original.grows or self._may_be_another(original, look, file)):
            return False
        if original.grows and not look.is_complete(file.stat):
            raise NotYet(soon=False)  # it may grow and become another
        return True

    def _cursor_of_json(self, file: OpenFile, look: Touched, known: KnownLogs) -> Cursor | None:
        """The cursor behind what is known of a JSON log that has come to another directory; None when it is news."""
        for cursor in known.json_originals(file):
            if self.run_directory(cursor.path) == look.place.directory:
                continue  # an anchor tells the same
            if known.is_news(cursor):
                raise NotYet(soon=True)
            if self._told_of(cursor, look.place.directory):
                return known.json_cursor(file, cursor)
        return None

    def _may_be_another(self, original: Original, look: Touched, file: OpenFile) -> bool:
        """Whether a run of another deployment may have printed the same as a log: plans and failures often do; a
        success leaves its trace in the lock or the state. Whoever wrote over the log may have left that, and so may a
        run whose log is not read yet. NotYet: see there."""
        log = original.cursor
        anchors = [mark.anchor for mark in log.marks if mark.anchor]  # none: it is a copy itself
        if anchors and not any(self._pipeline.succeeded(anchor) for anchor in anchors):
            return True
        directory, written_at = look.place.directory, log.modified_ns / 1e9
        if original.lost or not self._pipeline.awaits_log(directory, written_at, self._clock()):
            return False
        before, self._put_off[look.path] = self._put_off.get(look.path), stamp_of(file.stat)
        if before != stamp_of(file.stat):
            raise NotYet(soon=True, around=True)
        return True

    def _told_of(self, log: Cursor, directory: str) -> bool:
        """Whether a run in a log was for the deployment that is bound to a directory now."""
        return any(self._pipeline.was_for(mark.anchor, directory) for mark in log.marks if mark.anchor)
