"""What is touched below the watched roots, from the kernel's hints and from rescans; both give the same `Touched`.

A hint (`hints`) is never the truth. What is true is read by `observe`, and a rescan finds whatever a lost hint would
have told.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from ..domain.binding import METADATA_PATH
from ..domain.evidence import Cursor
from .hints import UNWATCHED_DIRECTORIES, Hints, KernelWatch
from .place import Kind, Place, place_of

_MAX_DEPTH = 32
_MAX_ENTRIES = 1000
_MAX_UNCOVERED = 100  # directories without a watch that are remembered: enough to know of them
_CONFIGURATION = (".tf", ".tf.json", ".tofu", ".tofu.json")


Stamp = tuple[int, int, int]


def stamp_of(status: os.stat_result) -> Stamp:
    """What changes when a file is written, or another takes its place."""
    return status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True, slots=True)
class Touched:
    """A path a reader wants to look at.

    closed: the kernel told that a writer closed it. complete: it was found that nobody writes it any more; as_of: how
    it looked before that was asked, for what has been written since is the next writer's; hearsay: only the kernel's
    notice says so, which tells nothing of who has opened it since.
    """

    path: str
    place: Place
    closed: bool
    complete: bool = False
    as_of: Stamp | None = None
    hearsay: bool = False

    def is_complete(self, status: os.stat_result) -> bool:
        """Whether what the file holds, as it looks now, is all that its writer had to say."""
        return self.complete and self.as_of in (None, stamp_of(status))


@dataclass(frozen=True, slots=True)
class WatchedRoot:
    """A directory watched with everything below it, and the names its logs have."""

    path: str
    logs: tuple[str, ...]


_Mark = tuple[int, int, int, int]


class Watch:
    """Watches the roots. wake is set whenever there is something to take, or something happens in one of `waking`:
    directories that others look into. beat is called for every directory that is looked into."""

    def __init__(
        self,
        roots: Sequence[WatchedRoot],
        wake: threading.Event,
        waking: Sequence[str] = (),
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.roots = tuple(roots)
        self._hints = Hints(wake)
        self._kernel = KernelWatch([root.path for root in roots], self._hints, waking)
        self._beat = beat
        self._seen: dict[str, _Mark] = {}
        self._new: list[str] = []

    @property
    def overflows(self) -> int:
        """How often the kernel's queue overflowed since the start."""
        return self._kernel.overflows

    @property
    def is_blind(self) -> bool:
        """Whether there is something to see of which the kernel gives no hints."""
        return self._kernel.is_blind

    def start(self) -> list[str]:
        """Begin to watch; returns what is wrong, as `heal` does."""
        return self.heal()

    def stop(self) -> None:
        """End the threads that watch."""
        self._kernel.stop()

    def heal(self) -> list[str]:
        """Watch everything that exists and is not watched (any more); returns one sentence per problem.

        Call every few seconds: a root may appear, vanish or be made again, and the kernel tells of none of it.
        """
        return self._kernel.heal()

    def take(self) -> tuple[list[Touched], bool]:
        """What was touched since the last call, logs before locks before the rest; and whether to rescan.

        Logs first: Terraform prints its `version` line before it takes the lock, so a run is known by its log
        whenever it has one.
        """
        taken = self._hints.take()
        self._new += taken.directories
        touched = [t for path, closed in taken.files.items() if (t := self._touched(path, closed)) is not None]
        return sorted(touched, key=lambda t: _ORDER[t.place.kind]), taken.rescan

    def scan_new(self) -> list[Touched]:
        """What a rescan would find below the directories that have appeared lately."""
        directories, self._new = sorted(self._new), []
        found: dict[str, Touched] = {}
        for directory in directories:
            root = self._root_of(directory)
            if root is not None:
                marks: dict[str, _Mark] = {}
                found |= {look.path: look for look in self._scan(root, directory, marks, [])}
                self._seen |= marks
        return sorted(found.values(), key=self._oldest_first)

    def rescan(self, cursors: Mapping[str, Cursor]) -> tuple[list[Touched], list[str]]:
        """Every file below the roots that is new or changed since the last rescan and every lock that is gone;
        and the paths of files with a cursor that are no more.

        A root that shows nothing at all (unmounted, being replaced) is no proof that its files are gone, and a lock
        that is gone with its directory was not released.
        """
        seen: dict[str, _Mark] = {}
        uncovered: list[str] = []
        touched = [look for root in self.roots for look in self._scan(root, root.path, seen, uncovered)]
        self._kernel.uncovered(uncovered)
        vanished = []
        present = tuple(_below(root.path) for root in self.roots if _shows_anything(root.path))
        for path, cursor in cursors.items():
            if path in seen or not path.startswith(present):
                continue
            gone = self._touched(path, closed=False)
            if gone is not None and cursor.lock_id and os.path.isdir(os.path.dirname(path)):
                touched.append(gone)
            else:
                vanished.append(path)
        self._seen = seen
        return sorted(touched, key=self._oldest_first), vanished

    def look_again(self, path: str) -> None:
        """Let the next rescan find a file even if it stays as it is."""
        self._seen.pop(path, None)

    def _oldest_first(self, touched: Touched) -> tuple[int, int]:
        """Within a kind: runs that went by unseen are told in the order in which they ended."""
        _, _, modified_ns, _ = self._seen.get(touched.path, (0, 0, 0, 0))
        return _ORDER[touched.place.kind], modified_ns

    def _scan(self, root: WatchedRoot, start: str, seen: dict[str, _Mark], uncovered: list[str]) -> Iterator[Touched]:
        """Files below start that are new or changed; adds to `seen` how each looks, to `uncovered` directories that
        have no watch."""

        def visit(directory: str) -> None:
            self._beat()
            if len(uncovered) < _MAX_UNCOVERED and not self._kernel.covers(directory):
                uncovered.append(directory)

        for entry in _files_below(start, visit):
            place = place_of(entry.path, root.logs)
            if place is None or not _is_text(entry.path):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            # The time of change, too: what was unreadable is worth a look when its mode has changed.
            mark = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            seen[entry.path] = mark
            if self._seen.get(entry.path) != mark:
                yield Touched(entry.path, place, closed=False)

    def touched(self, paths: Iterable[str]) -> list[Touched]:
        """These paths as if a hint had named them; those no reader wants are left out."""
        return [touched for path in paths if (touched := self._touched(path, closed=False)) is not None]

    def logs_around(self, directory: str, cursors: Mapping[str, Cursor]) -> list[Touched]:
        """The logs that have grown since they were last looked at, in a directory and in those above it up to the root.

        `terraform -chdir=envs/prod apply > apply.log` writes its log above the directory it locks.
        """
        root = self._root_of(directory)
        found: list[Touched] = []
        while root is not None and f"{directory}/".startswith(_below(root.path)):
            for path, size in _sizes(directory):
                place = place_of(path, root.logs)
                cursor = cursors.get(path)
                if place is not None and place.kind is Kind.LOG and size != (cursor.offset if cursor else 0):
                    found.append(Touched(path, place, closed=False))
            directory = os.path.dirname(directory)
        return found

    def run_directory(self, directory: str) -> str:
        """The run directory of a log that lies in `directory`: itself, unless a directory above it holds the
        configuration, or the deployment metadata, and it does not: `terraform -chdir=infra apply > logs/apply.log`."""
        root = self._root_of(directory)
        above = directory
        while root is not None and not _is_run_directory(above):
            above = os.path.dirname(above)
            if not f"{above}/".startswith(_below(root.path)):
                return directory
        return above

    def _root_of(self, directory: str) -> WatchedRoot | None:
        return next((root for root in self.roots if f"{directory}/".startswith(_below(root.path))), None)

    def _touched(self, path: str, closed: bool) -> Touched | None:
        root = self._root_of(path)
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


def _is_run_directory(directory: str) -> bool:
    """Whether Terraform or OpenTofu could have been started here (terraform internal/configs/parser_config_dir.go), or
    Proton has a deployment here."""
    if os.path.lexists(f"{directory}/{METADATA_PATH}"):
        return True
    try:
        with os.scandir(directory) as entries:
            return any(entry.name.endswith(_CONFIGURATION) for entry in islice(entries, _MAX_ENTRIES))
    except OSError:
        return False


def _sizes(directory: str) -> Iterator[tuple[str, int]]:
    """Regular files of one directory with their sizes, as many as a look may take time for."""
    try:
        with os.scandir(directory) as entries:
            for entry in islice(entries, _MAX_ENTRIES):
                if entry.is_file(follow_symlinks=False) and _is_text(entry.path):
                    yield entry.path, entry.stat(follow_symlinks=False).st_size
    except OSError:
        return


def _below(directory: str) -> str:
    return directory.rstrip("/") + "/"


def _shows_anything(root: str) -> bool:
    """Whether there is anything in a root: an unmounted one is an empty directory."""
    try:
        with os.scandir(root) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def _files_below(start: str, visit: Callable[[str], None]) -> Iterator[os.DirEntry[str]]:
    """Regular files below start, without following links, in no particular order; bounded in depth.

    visit is called for every directory that can be read.
    """
    pending = [(start, 0)]
    while pending:
        directory, depth = pending.pop()
        try:
            with os.scandir(directory) as entries:
                visit(directory)
                for entry in entries:
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            if depth < _MAX_DEPTH and entry.name not in UNWATCHED_DIRECTORIES:
                                pending.append((entry.path, depth + 1))
                        elif entry.is_file(follow_symlinks=False):
                            yield entry
                    except OSError:
                        continue
        except OSError:
            continue
