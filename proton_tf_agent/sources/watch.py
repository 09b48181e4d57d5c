"""What is touched below the watched roots, from the kernel's hints and from rescans; both give the same `Touched`.

A hint (`hints`) is never the truth. What is true is read by `observe`, and a rescan finds whatever a lost hint would
have told.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice

from ..domain.binding import METADATA_PATH, OPERATION_PATH, TFVARS_PATH
from ..domain.evidence import Cursor
from ..domain.values import Struct
from .hints import Hints, KernelWatch
from .place import Kind, Place, names, place_of
from .safe_open import SafeOpener, Unreadable
from .tree import Refuse, walk

_MAX_ENTRIES = 1000
# What is asked for by name in a directory that holds more than is listed.
_WELL_KNOWN = ("terraform.tfstate", ".terraform.tfstate.lock.info", METADATA_PATH, OPERATION_PATH, TFVARS_PATH)
_MAX_UNCOVERED = 100  # directories without a watch that are remembered: enough to know of them
_ROOT_MODULE = (".tf", ".tf.json", ".tofu", ".tofu.json")
_CONFIGURATION = (*_ROOT_MODULE, ".tfvars.json")


Stamp = tuple[int, int, int]


def stamp_of(status: os.stat_result) -> Stamp:
    """What changes when a file is written, or another takes its place."""
    return status.st_ino, status.st_size, status.st_mtime_ns


class Touched(Struct, frozen=True):
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


class WatchedRoot(Struct, frozen=True):
    """A directory watched with everything below it, and the names its logs have."""

    path: str
    logs: tuple[str, ...]


_Mark = tuple[int, int, int, int]


class Watch:
    """Watches the roots. wake is set whenever there is something to take, or something happens in one of `waking`:
    directories that others look into. opener: for the roots, where they have bounds of their own. beat is called for
    every directory that is looked into."""

    def __init__(
        self,
        roots: Sequence[WatchedRoot],
        wake: threading.Event,
        waking: Sequence[str] = (),
        opener: SafeOpener | None = None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.roots = tuple(roots)
        self._opener = opener or SafeOpener([root.path for root in roots])
        self._hints = Hints(wake)
        self._kernel = KernelWatch([self._opener.bounds_of(root.path) for root in roots], self._hints, waking)
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
        """What was touched since the last call, and whether to rescan."""
        self._kernel.listen_again()
        taken = self._hints.take()
        self._new += taken.directories
        touched = [t for path, closed in taken.files.items() if (t := self._touched(path, closed)) is not None]
        return touched, taken.rescan

    def has_news(self, known: Set[str]) -> bool:
        """Whether there is word of a file beside those that are known."""
        return self._hints.names_others(known)

    def scan_new(self) -> list[Touched]:
        """What a rescan would find below the directories that have appeared lately."""
        new, self._new = sorted(map(_below, self._new)), []
        found: dict[str, Touched] = {}
        walked = ""
        for below in new:
            directory = below.rstrip("/")
            root = self._root_of(directory)
            if root is not None and not (walked and below.startswith(walked)):  # else it was met on the way down
                walked = below
                marks: dict[str, _Mark] = {}
                found |= {look.path: look for look in self._scan(root, directory, marks, [], _tell_nobody)}
                self._seen |= marks
        return sorted(found.values(), key=self._oldest_first)

    def rescan(self, cursors: Mapping[str, Cursor], refuse: Refuse | None = None) -> tuple[list[Touched], list[str]]:
        """Every file below the roots that is new or changed since the last rescan and every lock that is gone;
        and the paths of files with a cursor that are no more. refuse is told what was not looked through.

        A root that shows nothing at all (unmounted, being replaced) is no proof that its files are gone, and a lock
        that is gone with its directory was not released.
        """
        seen: dict[str, _Mark] = {}
        uncovered: list[str] = []
        refuse = refuse or _tell_nobody
        touched = [look for root in self.roots for look in self._scan(root, root.path, seen, uncovered, refuse)]
        self._kernel.uncovered(uncovered)
        vanished = []
        present = tuple(_below(root.path) for root in self.roots if _shows_anything(root.path))
        for path, cursor in cursors.items():
            if path in seen or not path.startswith(present):
                continue
            named = self._touched(path, closed=False)
            status = self._look(path)
            if named is not None and status is not None:  # beyond what is listed
                touched += self._mark(path, status, named.place, seen)
            elif named is not None and cursor.lock_id and not self._opener.is_missing(os.path.dirname(path)):
                touched.append(named)
            else:
                vanished.append(path)
        self._seen = seen
        return sorted(touched, key=self._oldest_first), vanished

    def is_there(self, path: str) -> bool:
        """Whether there is anything at a path, or may be."""
        if self._opener.root_of(path) is None:
            return os.path.lexists(path)  # of the spool
        try:
            return self._opener.look(path) is not None
        except Unreadable:
            return True

    def look_again(self, path: str) -> None:
        """Let the next rescan find a file even if it stays as it is."""
        self._seen.pop(path, None)

    def _oldest_first(self, touched: Touched) -> tuple[int, int]:
        """Within a kind: runs that went by unseen are told in the order in which they ended."""
        _, _, modified_ns, _ = self._seen.get(touched.path, (0, 0, 0, 0))
        return _ORDER[touched.place.kind], modified_ns

    def _scan(
        self, root: WatchedRoot, start: str, seen: dict[str, _Mark], uncovered: list[str], refuse: Refuse
    ) -> Iterator[Touched]:
        """Files below start that are new or changed; adds to `seen` how each looks, to `uncovered` directories that
        have no watch."""
        is_wanted = names(root.logs)
        for directory in walk(self._opener, root.path, start, refuse):
            self._beat()
            if len(uncovered) < _MAX_UNCOVERED and not self._kernel.covers(directory.path):
                uncovered.append(directory.path)
            below = _below(directory.path)
            for entry in directory.entries:
                if not is_wanted(entry.name):
                    continue
                path = below + entry.name
                place = place_of(path, root.logs)
                if place is None or _is_no_file(entry, place.kind):
                    continue
                if not _is_text(path):
                    refuse(path, "E_NAME")
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                yield from self._mark(path, status, place, seen)
            for name in _WELL_KNOWN if directory.is_cut else ():
                known, status_of = self._touched(below + name, closed=False), self._look(below + name)
                if known is not None and status_of is not None:
                    yield from self._mark(known.path, status_of, known.place, seen)

    def _mark(self, path: str, status: os.stat_result, place: Place, seen: dict[str, _Mark]) -> list[Touched]:
        """Keep how a file looks; it is worth a look if it is new or has changed."""
        # The time of change, too: what was unreadable is worth a look when its mode has changed.
        seen[path] = mark = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return [] if self._seen.get(path) == mark else [Touched(path, place, closed=False)]

    def _look(self, path: str) -> os.stat_result | None:
        try:
            return self._opener.look(path)
        except Unreadable:
            return None

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
            for path, place in self._logs_in(directory, root):
                status, cursor = self._look(path), cursors.get(path)
                is_file = status is not None and stat.S_ISREG(status.st_mode)
                if status is not None and is_file and status.st_size != (cursor.offset if cursor else 0):
                    found.append(Touched(path, place, closed=False))
            directory = os.path.dirname(directory)
        return found

    def run_directory(self, directory: str) -> str:
        """The run directory of a log that lies in `directory`: itself, unless a directory above it holds the
        configuration, or the deployment metadata, and it does not: `terraform -chdir=infra apply > logs/apply.log`."""
        root = self._root_of(directory)
        above = directory
        while root is not None and not self._is_run_directory(above):
            above = os.path.dirname(above)
            if not f"{above}/".startswith(_below(root.path)):
                return directory
        return above

    def _is_run_directory(self, directory: str) -> bool:
        """Whether Terraform or OpenTofu could have been started here (terraform internal/configs/parser_config_dir.go),
        or Proton has a deployment here, or Service Catalog has asked for one."""
        if any(self._look(_below(directory) + path) is not None for path in (METADATA_PATH, OPERATION_PATH)):
            return True
        return any(entry.name.endswith(_ROOT_MODULE) for entry in self._entries(directory))

    def _logs_in(self, directory: str, root: WatchedRoot) -> Iterator[tuple[str, Place]]:
        """What has the name of a log in one directory, as much as a look may take time for."""
        for entry in self._entries(directory):
            path = _below(directory) + entry.name
            place = place_of(path, root.logs) if _is_text(path) else None
            if place is not None and place.kind is Kind.LOG:
                yield path, place

    def _entries(self, directory: str) -> Iterator[os.DirEntry[str]]:
        try:
            with self._opener.directory(directory) as fd, os.scandir(fd) as entries:
                yield from islice(entries, _MAX_ENTRIES)
        except (OSError, Unreadable):
            return

    def _root_of(self, directory: str) -> WatchedRoot | None:
        return next((root for root in self.roots if f"{directory}/".startswith(_below(root.path))), None)

    def _touched(self, path: str, closed: bool) -> Touched | None:
        root = self._root_of(path)
        place = place_of(path, root.logs) if root and _is_text(path) else None
        return Touched(path, place, closed) if place else None


_ORDER = {Kind.BINDING: 0, Kind.LOG: 1, Kind.LOCK: 2, Kind.STATE: 3}


def logs_first(looks: Iterable[Touched]) -> list[Touched]:
    """Logs before locks before states, and otherwise in the order they come in. Terraform prints its `version` line
    before it takes the lock, so a run is known by its log whenever it has one."""
    return sorted(looks, key=lambda look: _ORDER[look.place.kind])


def _is_text(path: str) -> bool:
    """Whether a name is UTF-8; others cannot be kept in the journal or shown, and no tool of ours writes them."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _below(directory: str) -> str:
    return directory.rstrip("/") + "/"


def _shows_anything(root: str) -> bool:
    """Whether there is anything in a root: an unmounted one is an empty directory."""
    try:
        with os.scandir(root) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def _is_no_file(entry: os.DirEntry[str], kind: Kind) -> bool:
    """Whether nobody could expect an entry to be read: a directory, or configuration that is linked from elsewhere. Any
    other link, a FIFO and the like are looked at: it is said why they are not read."""
    try:
        if entry.is_dir(follow_symlinks=False):
            return True
        return kind is Kind.LOG and entry.name.endswith(_CONFIGURATION) and entry.is_symlink()
    except OSError:
        return True


def _tell_nobody(_path: str, _code: str) -> None:
    """What a look at a new directory finds the next rescan will say."""
