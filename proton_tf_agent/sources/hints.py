"""Hints from the kernel: inotify through watchdog, which is imported here and nowhere else.

A hint is never the truth: hints repeat, come late or not at all. `KernelWatch` keeps them coming and says what it
cannot watch; whoever takes the hints looks for himself, and now and then at everything.

What watchdog 7 does not tell, and is found out here (`heal`):
- a root that was made again, replaced by another directory, unmounted, or closed to us and opened again;
- directories that got no watch, because the kernel's limit was reached (it swallows ENOSPC below a root) or because
  they could not be read when they appeared;
- the death of one of its threads.

Why an event filter: with watchdog's default mask, walking a tree of 10,000 directories makes enough IN_OPEN and
IN_CLOSE_NOWRITE to overflow the kernel's queue while watches are being added; watchdog then drops and re-adds all
of them, which overflows it again, for ever. With the filter our own reads are silent.
Why watches stay when the queue overflows (`_Group.on_queue_overflow`): watchdog drops all of them and adds them again.
What happens in between nobody hears, and each makes an IN_IGNORED: with more directories than the queue has places that
is the next overflow, for ever.
Why a directory in which too much happens is not listened to for a while: hints of all roots come through one queue, and
one job can make a hundred thousand a second. It is looked through when it is listened to again (`listen_again`).
Why watches are added by a walk of our own (`tree`): watchdog's follows whatever stands at a path by then, enters mounts
that never answer and directories nobody wants, knows no limits, and ends in a RecursionError a thousand levels down.
Over 400 lines because whatever watchdog does not do is one thing: one queue, one set of watches, one walk.
Why `dispatch` only adds to a set: an exception that leaves it ends watchdog's thread without a word.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver, EventEmitter, ObservedWatch
from watchdog.observers.inotify import InotifyEmitter, InotifyObserver, InotifyWatchGroup
from watchdog.observers.inotify_c import (
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
    inotify_add_watch,
)
from watchdog.observers.inotify_move_event_grouper import GroupedInotifyEvent, PathedInotifyEvent

from ..domain.values import replace
from .safe_open import Bounds, SafeOpener
from .tree import UNWATCHED_DIRECTORIES, Directory, Limits, walk

_FILTER: list[type[FileSystemEvent]] = [
    FileAttribEvent,  # a file may have become readable
    FileCreatedEvent,
    FileModifiedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
]
_MAX_DIRECTORIES = 1000  # new directories that are looked at one by one; for more a rescan is less work
_SETTLED_S = 1.0  # after which a new directory has its watch, or will not get one
_REBUILD_REST_S = 15.0
_STORM = 500  # notices of one branch in a second
_DEAF_S, _LONGEST_DEAF_S = 1.0, 4.0  # how long nobody listens then: twice as long each time, up to that
_OWN_LOG = "watchdog"


@dataclass(slots=True)
class Taken:
    """What was hinted at since the last time: files (True: a writer closed it), new directories, everything."""

    files: dict[str, bool]
    directories: list[str]
    rescan: bool


class Hints(FileSystemEventHandler):
    """Collects paths under a lock and wakes the one consumer."""

    def __init__(self, wake: threading.Event) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, bool] = {}
        self._directories: dict[str, float] = {}
        self._rescan = False
        self._wake = wake

    def dispatch(self, event: FileSystemEvent) -> None:
        """Keep what an event names."""
        self.note(event, [os.fsdecode(path) for path in (event.src_path, event.dest_path) if path])

    def note(self, event: FileSystemEvent, paths: Sequence[str]) -> None:
        """Keep paths an event is about; the last is where what it is about is now."""
        if event.is_directory:
            # Watchdog tells of files it finds in a new or moved directory. Whether it has found all of them depends on
            # who was faster, so the directory is looked at once more.
            if isinstance(event, DirCreatedEvent | DirMovedEvent) and paths:
                self._note_directory(paths[-1])
            return
        closed = isinstance(event, FileClosedEvent | FileMovedEvent)
        written_again = isinstance(event, FileModifiedEvent)  # by whoever has opened it since
        with self._lock:
            for path in paths:
                self._files[path] = closed or (self._files.get(path, False) and not written_again)
        self._wake.set()

    def _note_directory(self, path: str) -> None:
        if not UNWATCHED_DIRECTORIES.isdisjoint(path.split("/")):
            return
        with self._lock:
            self._directories.setdefault(path, time.monotonic())
            if len(self._directories) > _MAX_DIRECTORIES:
                self._directories.clear()
                self._rescan = True
        self._wake.set()

    def look_through(self, path: str) -> None:
        """A directory is to be looked through as if it had just appeared."""
        self._note_directory(path)

    def ask_rescan(self) -> None:
        """Somebody has to look at everything."""
        with self._lock:
            self._rescan = True
        self._wake.set()

    def names_others(self, known: Set[str]) -> bool:
        """Whether a file beside those that are known was hinted at since the last time."""
        with self._lock:
            return not self._files.keys() <= known

    def take(self) -> Taken:
        """Everything since the last time; directories only when they are old enough to have been watched."""
        old = time.monotonic() - _SETTLED_S
        with self._lock:
            files, self._files = self._files, {}
            directories = [path for path, since in self._directories.items() if since <= old]
            for path in directories:
                del self._directories[path]
            rescan, self._rescan = self._rescan, False
        return Taken(files, directories, rescan)


class _NamedHints(FileSystemEventHandler):
    """Hints of one root, whose path may lead through symbolic links: told by the name that the settings use."""

    def __init__(self, hints: Hints, real: str, named: str) -> None:
        self._hints = hints
        self._real = real.rstrip("/") + "/"
        self._named = named.rstrip("/") + "/"

    def dispatch(self, event: FileSystemEvent) -> None:
        self._hints.note(event, [self._name(path) for path in (event.src_path, event.dest_path) if path])

    def _name(self, path: bytes | str) -> str:
        text = os.fsdecode(path)
        return self._named + text[len(self._real) :] if text.startswith(self._real) else text


class _OwnLog(logging.Handler):
    """Listens to watchdog's own log: the only sign it gives of IN_Q_OVERFLOW is a warning there.

    Nothing of that log goes anywhere else: it is no line of ours.
    """

    def __init__(self, hints: Hints) -> None:
        super().__init__(logging.WARNING)
        self._hints = hints
        self.overflows = 0

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().lower()
        if "overflow" in text and "reconciling" not in text:  # said once for the queue and once more for each root
            self.overflows += 1
            self._hints.ask_rescan()


@dataclass(frozen=True, slots=True)
class _Watched:
    """A root under watch: by which of watchdog's watches, where it really is, and which directory that was."""

    watch: ObservedWatch
    real: str
    identity: tuple[int, int]


class KernelWatch:
    """Keeps roots, and everything below them, under watch. Not thread-safe: one thread owns it.

    optional: directories that are watched while they are there and missed by nobody.
    is_blind: whether, when it was last healed, something was there that has no watch.
    """

    def __init__(self, roots: Sequence[Bounds], hints: Hints, optional: Sequence[str] = ()) -> None:
        self._bounds = {bounds.path: bounds for bounds in (*map(Bounds, optional), *roots)}
        self._real_bounds: Mapping[str, Bounds] = {}
        self._roots = tuple(bounds.path for bounds in roots)
        self._optional = tuple(optional)
        self._hints = hints
        self._observer: BaseObserver | None = None
        self._watched: dict[str, _Watched] = {}
        self._own_log = _OwnLog(hints)
        self._uncovered: list[str] = []
        self._rebuilt_at: dict[str, float] = {}
        self._storms = _Storms(time.monotonic)
        self.is_blind = False
        logging.getLogger(_OWN_LOG).addHandler(self._own_log)

    @property
    def overflows(self) -> int:
        """How often the kernel's queue overflowed since the start."""
        return self._own_log.overflows

    def stop(self) -> None:
        """End watchdog's threads."""
        self._end_observer()
        logging.getLogger(_OWN_LOG).removeHandler(self._own_log)

    def heal(self) -> list[str]:
        """Watch whatever exists and is not watched (any more); returns one sentence per problem, always the same one.

        Call every few seconds.
        """
        self.is_blind = False
        if not self._lives():
            self._end_observer()
            problem = self._begin_observer()
            if problem:
                return [problem]
        roots = (*self._roots, *filter(os.path.isdir, self._optional))
        problems = [problem for root in roots if (problem := self._heal_root(root))]
        return problems or self._heal_uncovered()

    def listen_again(self) -> None:
        """Listen to the directories that were quiet for long enough, or not listened to, and have them looked through.
        Call at every turn."""
        for path in self._storms.over():
            for root, watched in self._watched.items():
                if path.startswith(f"{watched.real}/"):
                    group = getattr(self._emitter_of(root), "_inotify", None)
                    if isinstance(group, _Group):
                        group.listen_again(os.fsencode(path))
                    self._hints.look_through(root.rstrip("/") + path[len(watched.real) :])

    def uncovered(self, directories: Iterable[str]) -> None:
        """Directories that are there and, when somebody last looked, were not watched."""
        self._uncovered = list(directories)

    def covers(self, directory: str) -> bool:
        """Whether a directory below a root has a watch; True where that cannot be known."""
        root = next((root for root in self._watched if f"{directory}/".startswith(root.rstrip("/") + "/")), None)
        watches = self._watches_of(root) if root is not None else None
        if root is None or watches is None:
            return root is not None
        real = self._watched[root].real + directory[len(root.rstrip("/")) :]
        # -1: inotify said EACCES, and watchdog took it for one
        return watches.get(os.fsencode(real), -1) != -1 or self._storms.is_deaf_to(real)

    # --- one observer ----------------------------------------------------------------------------------------

    def _lives(self) -> bool:
        reader: Any = getattr(self._observer, "_inotify_fd", self._observer)
        return self._observer is not None and self._observer.is_alive() and reader.is_alive()

    def _begin_observer(self) -> str:
        # Said on stderr, with a list of all watches, of a tree that appears faster than it is watched: harmless.
        warnings.filterwarnings("ignore", "Callback with id ", RuntimeWarning)
        try:
            self._observer = _Observer(self._walk, self._storms, self._hints.ask_rescan)
            self._observer.start()
        except OSError as error:
            self._observer = None
            self.is_blind = True
            return f"nothing can be watched: {_reason(error)}; rescans only"
        return ""

    def _end_observer(self) -> None:
        self._watched.clear()
        observer, self._observer = self._observer, None
        if observer is not None and observer.is_alive():
            observer.stop()
            observer.join(timeout=5)

    def _walk(self, path: str, enter: Callable[[str, int], None] = lambda _path, _fd: None) -> Iterator[Directory]:
        """A directory and those below it, by the names they really have; watchdog's threads ask."""
        roots = [root for root in self._real_bounds if f"{path}/".startswith(root.rstrip("/") + "/")]
        for root in sorted(roots, key=len)[-1:]:
            yield from walk(SafeOpener([self._real_bounds[root]]), root, path, _tell_nobody, None, enter)

    # --- roots -----------------------------------------------------------------------------------------------

    def _heal_root(self, root: str) -> str:
        identity = _identity(root)
        watched = self._watched.get(root)
        if watched is not None and (watched.identity != identity or not self._is_sound(root)):
            self._unwatch(root)
            watched = None
        if watched is not None:
            return ""
        if isinstance(identity, str):
            return f"{root} cannot be watched: {identity}; rescans only"
        return self._watch(root, identity)

    def _is_sound(self, root: str) -> bool:
        emitter = self._emitter_of(root)
        return emitter is not None and emitter.is_alive() and self.covers(root)

    def _watch(self, root: str, identity: tuple[int, int]) -> str:
        if self._observer is None:
            return ""
        real = os.path.realpath(root)  # inotify would watch a link instead of the directory behind it
        self._real_bounds = {**self._real_bounds, real: replace(self._bounds[root], path=real)}
        handler = _NamedHints(self._hints, real, root)
        try:
            watch = self._observer.schedule(handler, real, recursive=True, event_filter=_FILTER)
        except OSError as error:
            self.is_blind = True
            return f"{root} cannot be watched: {_reason(error)}; rescans only"
        self._watched[root] = _Watched(watch, real.rstrip("/"), identity)
        self._rebuilt_at[root] = time.monotonic()
        self._hints.ask_rescan()
        return ""

    def _unwatch(self, root: str) -> None:
        watched = self._watched.pop(root)
        if self._observer is not None and self._emitter_of_watch(watched.watch) is not None:
            self._observer.unschedule(watched.watch)  # schedule() without it would silently do nothing

    def _emitter_of(self, root: str) -> EventEmitter | None:
        watched = self._watched.get(root)
        return self._emitter_of_watch(watched.watch) if watched else None

    def _emitter_of_watch(self, watch: ObservedWatch) -> EventEmitter | None:
        emitters = self._observer.emitters if self._observer is not None else ()
        return next((emitter for emitter in emitters if emitter.watch == watch), None)

    def _watches_of(self, root: str) -> dict[bytes, int] | None:
        """watchdog's table of watched directories of a root; None in a version that keeps it elsewhere."""
        group = getattr(self._emitter_of(root), "_inotify", None)
        table = getattr(group, "_active_callbacks_by_path", None)
        return table if isinstance(table, dict) else None

    # --- directories without a watch --------------------------------------------------------------------------

    def _heal_uncovered(self) -> list[str]:
        """Watch again what lies without one, unless the kernel has none left."""
        self._uncovered = [path for path in self._uncovered if os.path.isdir(path) and not self.covers(path)]
        problems = []
        for root in self._roots:
            below = root.rstrip("/") + "/"
            path = next((path for path in self._uncovered if path.startswith(below)), None)
            if path is None or self._observer is None:
                continue
            try:
                asked = self._observer.schedule(Hints(threading.Event()), path, recursive=False)
            except OSError as error:
                self.is_blind = True
                problems.append(f"not every directory below {root} can be watched: {_reason(error)}; rescans only")
                continue
            self._observer.unschedule(asked)
            if time.monotonic() - self._rebuilt_at[root] >= _REBUILD_REST_S:
                self._unwatch(root)
                problems += filter(None, [self._heal_root(root)])
        return problems


class Walk(Protocol):
    """A directory and those below it; enter(path, descriptor) is called before each is listed."""

    def __call__(self, path: str, enter: Callable[[str, int], None] = ..., /) -> Iterator[Directory]: ...


def _tell_nobody(_path: str, _code: str) -> None:
    """Rescans say what is not looked through."""


class _Storms:
    """Which directories too much happens in to be listened to; by the names they really have. Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._second = 0
        self._counts: Counter[str] = Counter()
        self._deaf: dict[str, float] = {}
        self._lasted: dict[str, float] = {}

    def is_too_much(self, root: str, directory: str) -> bool:
        """Count a notice of a directory below a root; whether it is one too many of its branch. From now on it is not
        listened to, then."""
        above = root.rstrip("/") + "/"
        if not directory.startswith(above):
            return False  # the root itself is always listened to
        branch = directory[len(above) :].partition("/")[0]
        now = self._clock()
        with self._lock:
            if int(now) != self._second:
                self._second = int(now)
                self._counts.clear()
            self._counts[above + branch] += 1
            if self._counts[above + branch] <= _STORM:
                return False
            lasts = min(self._lasted.get(directory, _DEAF_S / 2) * 2, _LONGEST_DEAF_S)
            self._lasted[directory] = lasts
            self._deaf[directory] = now + lasts
        return True

    def is_deaf_to(self, directory: str) -> bool:
        """Whether a directory is not listened to."""
        return directory in self._deaf

    def over(self) -> list[str]:
        """The directories to listen to again, each once."""
        now = self._clock()
        with self._lock:
            over = [directory for directory, until in self._deaf.items() if until <= now]
            for directory in over:
                del self._deaf[directory]
            if not self._deaf and not over:
                self._lasted.clear()
        return over


class _Group(InotifyWatchGroup):
    """The watches of one root; where to add some, our own walk says. recovered is called when all is watched again of
    which notices were lost."""

    def __init__(
        self,
        walk: Walk,
        storms: _Storms,
        recovered: Callable[[], None],
        inotify: InotifyFD,
        watch: ObservedWatch,
        mask: Mask,
    ) -> None:
        self._walk = walk
        self._storms = storms
        self._recovered = recovered
        super().__init__(inotify, os.fsencode(watch.path), mask, watch.is_recursive)

    def on_event(self, event: InotifyEvent) -> None:
        """Pass it on, unless too much happens where it has happened."""
        path = self._active_callbacks_by_watch.get(event.wd)
        if path is None or not self._storms.is_too_much(os.fsdecode(self.path), os.fsdecode(path)):
            super().on_event(event)
            return
        with self._lock:
            if event.wd in self._active_callbacks_by_watch:
                self._remove_callbacks([event.wd])

    def on_queue_overflow(self) -> None:
        """Watch what is there now: each directory that has its watch keeps it, and goes by the name it has by now."""
        kept: set[WatchDescriptor] = set()

        def enter(directory: str, fd: int) -> None:
            with suppress(OSError):
                wd = self._again(os.fsencode(directory), fd) if len(kept) < Limits().directories else None
                kept.update([] if wd is None else [wd])

        with self._lock:
            if not self.is_active:
                return
            self._move_event_grouper.discard_pending_events()
            for _ in self._walk(os.fsdecode(self.path), enter):
                if not self.is_recursive:
                    break
            self._remove_callbacks([wd for wd in self._active_callbacks_by_watch if wd not in kept])
            self._active_callbacks_by_path = {path: wd for wd, path in self._active_callbacks_by_watch.items()}
        self._recovered()

    def listen_again(self, path: bytes) -> None:
        """Watch a directory again, and what has appeared in it."""
        with self._lock:
            if self.is_active:
                self._add_all_callbacks(path)

    def _add_all_callbacks(self, path: bytes) -> None:
        """Watch first, list then: what comes in between is told twice, and never missed."""
        asked = os.fsdecode(path)
        failed: list[OSError] = []

        def enter(directory: str, fd: int) -> None:
            name = os.fsencode(directory)
            is_known = name in self._active_callbacks_by_path and directory != asked
            if not is_known and len(self._active_callbacks_by_path) < Limits().directories:
                try:
                    self._add(name, fd)
                except OSError as error:
                    failed.append(error)

        for _ in self._walk(asked, enter):
            if not self.is_recursive:
                break
        if path == self.path and path not in self._active_callbacks_by_path:
            raise failed[0] if failed else FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _add(self, path: bytes, fd: int) -> WatchDescriptor | None:
        """Watch the very directory that is open: its path may lead elsewhere by now."""
        if self._storms.is_deaf_to(os.fsdecode(path)):
            return None
        wd = self._inotify_fd.add_callback(_open(fd), self._mask, self._callback, self._id)
        self._active_callbacks_by_path[path] = wd
        self._active_callbacks_by_watch[wd] = path
        return wd

    def _again(self, path: bytes, fd: int) -> WatchDescriptor | None:
        """Watch a directory that may have its watch; the kernel gives the same descriptor for the same directory."""
        if self._storms.is_deaf_to(os.fsdecode(path)):
            return None
        wd = inotify_add_watch(self._inotify_fd._inotify_fd, _open(fd), self._mask)  # noqa: SLF001 - no public way to it
        if wd not in self._active_callbacks_by_watch:
            return self._add(path, fd)
        self._active_callbacks_by_watch[wd] = path
        return wd

    @property
    def _mask(self) -> Mask:
        return Mask(self.event_mask & ~InotifyConstants.IN_DONT_FOLLOW | InotifyConstants.IN_ONLYDIR)

    def _recursive_simulate(self, src_path: bytes) -> list[InotifyEvent]:
        """What has appeared in a new directory before its watch."""
        events = []
        for directory in self._walk(os.fsdecode(src_path)):
            wd = self._active_callbacks_by_path.get(os.fsencode(directory.path))
            for entry in directory.entries if wd is not None else ():
                kind = InotifyConstants.IN_ISDIR if entry.is_dir(follow_symlinks=False) else 0
                name = os.fsencode(entry.name)
                events.append(InotifyEvent(wd, Mask(InotifyConstants.IN_CREATE | kind), 0, name))  # type: ignore[arg-type]
        return events


class _Emitter(InotifyEmitter):
    def __init__(self, *args: Any, walk: Walk, storms: _Storms, recovered: Callable[[], None], **kwargs: Any) -> None:
        self._walk = walk
        self._storms = storms
        self._recovered = recovered
        super().__init__(*args, **kwargs)

    def on_thread_start(self) -> None:
        mask = self.get_event_mask_from_filter()
        self._inotify = _Group(self._walk, self._storms, self._recovered, self._inotify_fd, self.watch, mask)

    def build_and_queue_event(self, event: GroupedInotifyEvent, *, full_events: bool = False) -> None:
        """Of a directory that was moved, tell of what lies in it now; everything else is watchdog's."""
        source, target = (None, event) if isinstance(event, PathedInotifyEvent) else event
        if not target.ev.is_directory or (source is None and not target.ev.is_moved_to):
            super().build_and_queue_event(event, full_events=full_events)
            return
        path = os.fsdecode(target.path)
        before = os.fsdecode(source.path) if source is not None else ""
        self.queue_event(DirMovedEvent(before, path) if before else DirCreatedEvent(path))
        for directory in self._walk(path) if self.watch.is_recursive else ():
            for entry in directory.entries:
                here = f"{directory.path}/{entry.name}"
                if not entry.is_dir(follow_symlinks=False):
                    there = before + here[len(path) :]
                    self.queue_event(FileMovedEvent(there, here) if before else FileCreatedEvent(here))


class _Observer(InotifyObserver):
    def __init__(self, walk: Walk, storms: _Storms, recovered: Callable[[], None]) -> None:
        super().__init__()
        made = partial(_Emitter, walk=walk, storms=storms, recovered=recovered)
        self._emitter_class = made  # type: ignore[assignment]


def _open(fd: int) -> bytes:
    """The path of what is open, whatever its own leads to by now (proc_pid_fd(5))."""
    return f"/proc/self/fd/{fd}".encode()


def _identity(root: str) -> tuple[int, int] | str:
    """Which directory a root is now; why there is none that can be watched."""
    try:
        status = os.stat(root)
    except OSError as error:
        return _reason(error)
    if not stat.S_ISDIR(status.st_mode):
        return os.strerror(errno.ENOTDIR)
    if not os.access(root, os.R_OK | os.X_OK):
        return os.strerror(errno.EACCES)
    return status.st_dev, status.st_ino


_LIMITS = {
    errno.ENOSPC: "inotify watch limit reached (sysctl fs.inotify.max_user_watches raises it)",
    errno.EMFILE: "inotify instance limit reached (sysctl fs.inotify.max_user_instances raises it)",
}


def _reason(error: OSError) -> str:
    return _LIMITS.get(error.errno or 0) or error.strerror or str(error)
