"""Hints that something may have changed, from the kernel and from rescans; both give the same `Touched`.

A hint is never the truth: hints repeat, come late or not at all. What is true is read by `observe`, and a rescan
finds whatever a lost hint would have told. watchdog is imported here and nowhere else.

Why an event filter: with watchdog's default mask, walking a tree of 10,000 directories makes enough IN_OPEN and
IN_CLOSE_NOWRITE to overflow the kernel's queue while watches are being added; watchdog then drops and re-adds all
of them, which overflows it again, for ever. With the filter our own reads are silent.
Why `dispatch` only adds to a set: an exception that leaves it ends watchdog's thread without a word.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from ..domain.evidence import Cursor
from .place import Kind, Place, place_of

_FILTER: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
]
_UNWATCHED_DIRECTORIES = frozenset({".git", ".terraform", "node_modules"})
_MAX_DEPTH = 32
_MAX_ENTRIES = 1000


@dataclass(frozen=True, slots=True)
class Touched:
    """A path a reader wants to look at.

    closed: the kernel told that a writer closed it. complete: it was found that nobody writes it any more.
    """

    path: str
    place: Place
    closed: bool
    complete: bool = False


@dataclass(frozen=True, slots=True)
class WatchedRoot:
    """A directory watched with everything below it, and the names its logs have."""

    path: str
    logs: tuple[str, ...]


class _Hints(FileSystemEventHandler):
    """Collects paths under a lock and wakes the one consumer."""

    def __init__(self, wake: threading.Event) -> None:
        self._lock = threading.Lock()
        self._paths: dict[str, bool] = {}
        self._rescan = False
        self._wake = wake

    def dispatch(self, event: FileSystemEvent) -> None:
        if event.is_directory:
            if isinstance(event, DirMovedEvent):
                self.ask_rescan()  # a tree that is moved in brings files nobody announces one by one
            return
        closed = isinstance(event, FileClosedEvent | FileMovedEvent)
        with self._lock:
            for path in (event.src_path, event.dest_path):
                if path:
                    name = os.fsdecode(path)
                    self._paths[name] = closed or self._paths.get(name, False)
        self._wake.set()

    def ask_rescan(self) -> None:
        with self._lock:
            self._rescan = True
        self._wake.set()

    def take(self) -> tuple[dict[str, bool], bool]:
        with self._lock:
            paths, self._paths = self._paths, {}
            rescan, self._rescan = self._rescan, False
        return paths, rescan


class _OverflowListener(logging.Handler):
    """The only sign watchdog 7 gives of IN_Q_OVERFLOW is a warning in its own log."""

    def __init__(self, hints: _Hints) -> None:
        super().__init__(logging.WARNING)
        self._hints = hints
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage().lower():
            self.count += 1
            self._hints.ask_rescan()


class Watch:
    """Watches the roots. wake is set whenever there is something to take."""

    def __init__(self, roots: Sequence[WatchedRoot], wake: threading.Event) -> None:
        self.roots = tuple(roots)
        self._hints = _Hints(wake)
        self._observer: BaseObserver | None = None
        self._watches: dict[str, ObservedWatch] = {}
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._overflow = _OverflowListener(self._hints)
        logging.getLogger("watchdog.observers.inotify_c").addHandler(self._overflow)

    @property
    def overflows(self) -> int:
        """How often the kernel's queue overflowed since the start."""
        return self._overflow.count

    def start(self) -> list[str]:
        """Begin to watch; returns what is wrong, as `heal` does."""
        self._observer = Observer()
        self._observer.start()
        return self.heal()

    def stop(self) -> None:
        """End the observer's threads."""
        logging.getLogger("watchdog.observers.inotify_c").removeHandler(self._overflow)
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join(timeout=5)

    def heal(self) -> list[str]:
        """Watch every root that exists and is not watched (any more); returns one sentence per problem.

        Call every few seconds: a root may appear, vanish or be made again, and watchdog tells of none of it.
        """
        if self._observer is None or not self._observer.is_alive():
            return ["the observer has died; only rescans see changes now"]
        alive = {emitter.watch: emitter.is_alive() for emitter in self._observer.emitters}
        problems = []
        for root in self.roots:
            watch = self._watches.get(root.path)
            if watch is not None and (not alive.get(watch, False) or not os.path.isdir(root.path)):
                self._observer.unschedule(watch)  # schedule() without it would silently do nothing
                del self._watches[root.path]
                watch = None
            if watch is None:
                try:
                    self._watches[root.path] = self._observer.schedule(
                        self._hints, root.path, recursive=True, event_filter=_FILTER
                    )
                except OSError as error:
                    problems.append(f"{root.path} cannot be watched: {error.strerror or error}; rescans only")
                else:
                    self._hints.ask_rescan()
        return problems

    def take(self) -> tuple[list[Touched], bool]:
        """What was touched since the last call, logs before locks before the rest; and whether to rescan.

        Logs first: Terraform prints its `version` line before it takes the lock, so a run is known by its log
        whenever it has one.
        """
        paths, rescan = self._hints.take()
        touched = [t for path, closed in paths.items() if (t := self._touched(path, closed)) is not None]
        return sorted(touched, key=lambda t: _ORDER[t.place.kind]), rescan

    def rescan(self, cursors: Mapping[str, Cursor]) -> tuple[list[Touched], list[str]]:
        """Every file below the roots that is new or changed since the last rescan and every lock that is gone;
        and the paths of logs with a cursor that are no more.

        A root that is missing altogether (unmounted, being replaced) is no proof that its files are gone.
        """
        seen: dict[str, tuple[int, int, int]] = {}
        touched = []
        age: dict[str, int] = {}
        for root in self.roots:
            for entry in _files_below(root.path):
                place = place_of(entry.path, root.logs)
                if place is None or not _is_text(entry.path):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                mark = (status.st_ino, status.st_size, status.st_mtime_ns)
                seen[entry.path] = mark
                if self._seen.get(entry.path) != mark:
                    age[entry.path] = status.st_mtime_ns
                    touched.append(Touched(entry.path, place, closed=False))
        vanished = []
        present = tuple(root.path.rstrip("/") + "/" for root in self.roots if os.path.isdir(root.path))
        for path, cursor in cursors.items():
            if path in seen or not path.startswith(present):
                continue
            gone = self._touched(path, closed=False)
            if gone is not None and cursor.lock_id:
                touched.append(gone)
            else:
                vanished.append(path)
        self._seen = seen
        # Oldest first, so that runs that went by unseen are told in the order in which they ended.
        return sorted(touched, key=lambda t: (_ORDER[t.place.kind], age.get(t.path, 0))), vanished

    def touched(self, paths: Iterable[str]) -> list[Touched]:
        """These paths as if a hint had named them; those no reader wants are left out."""
        return [touched for path in paths if (touched := self._touched(path, closed=False)) is not None]

    def logs_around(self, directory: str, cursors: Mapping[str, Cursor]) -> list[Touched]:
        """The logs that have grown since they were last looked at, in a directory and in those above it up to the root.

        `terraform -chdir=envs/prod apply > apply.log` writes its log above the directory it locks.
        """
        root = next((root for root in self.roots if f"{directory}/".startswith(root.path.rstrip("/") + "/")), None)
        found: list[Touched] = []
        while root is not None and f"{directory}/".startswith(root.path.rstrip("/") + "/"):
            for path, size in _sizes(directory):
                place = place_of(path, root.logs)
                cursor = cursors.get(path)
                if place is not None and place.kind is Kind.LOG and size != (cursor.offset if cursor else 0):
                    found.append(Touched(path, place, closed=False))
            directory = os.path.dirname(directory)
        return found

    def _touched(self, path: str, closed: bool) -> Touched | None:
        root = next((root for root in self.roots if path.startswith(root.path.rstrip("/") + "/")), None)
        place = place_of(path, root.logs) if root and _is_text(path) else None
        return Touched(path, place, closed) if place else None


_ORDER = {Kind.BINDING: 0, Kind.LOG: 1, Kind.LOCK: 2, Kind.STATE: 3}


def _is_text(path: str) -> bool:
    """Whether a name is UTF-8; others cannot be kept in the journal or shown, and no tool of ours writes them."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _sizes(directory: str) -> Iterator[tuple[str, int]]:
    """Regular files of one directory with their sizes, as many as a look may take time for."""
    try:
        with os.scandir(directory) as entries:
            for entry in islice(entries, _MAX_ENTRIES):
                if entry.is_file(follow_symlinks=False) and _is_text(entry.path):
                    yield entry.path, entry.stat(follow_symlinks=False).st_size
    except OSError:
        return


def _files_below(root: str) -> Iterator[os.DirEntry[str]]:
    """Regular files below root, without following links, in no particular order; bounded in depth."""
    pending = [(root, 0)]
    while pending:
        directory, depth = pending.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            if depth < _MAX_DEPTH and entry.name not in _UNWATCHED_DIRECTORIES:
                                pending.append((entry.path, depth + 1))
                        elif entry.is_file(follow_symlinks=False):
                            yield entry
                    except OSError:
                        continue
        except OSError:
            continue
