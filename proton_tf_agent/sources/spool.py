"""The spool: where wrappers leave their records, and the agent finds them whether it was up or not.

    ID.json      the record, written aside and renamed
    ID.lock      locked (fcntl) as long as somebody is there who will finish the record

Everybody may put records there (mode 3733: nobody can list it, everybody owns what he wrote, its group is the
agent's), so a record is believed only if its owner may speak for the directory it names. Nothing here is concluded: a
record whose lock is free and whose Terraform is gone is told as `WrapperGone`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from ..domain.evidence import CommandStarted, Fact, Observation, ProcessExited, WrapperGone
from . import exit_record, liveness
from .exit_record import Malformed, Record
from .liveness import Presence
from .place import unit_directory
from .safe_open import Bounds, SafeOpener, Unreadable, uids_of

_SUFFIX, _LOCK = ".json", ".lock"
_MAX_ENTRIES = 50_000

Believes = Callable[[int, str], bool]
"""(owner of a record, directory it speaks for) -> whether to believe it."""


def believes(opener: SafeOpener, users: Iterable[str]) -> Believes:
    """Whom to believe: root, the agent's own user and `users` everything; anybody what he says of a directory below a
    watched root that is his, or whose root is his. Whoever owns a directory may as well write logs there."""
    trusted = {0, os.getuid(), *uids_of(users)}
    nobody = liveness.unmapped_uid()

    def believe(uid: int, directory: str) -> bool:
        if uid == nobody:
            return False
        if uid in trusted:
            return True
        root = opener.root_of(directory + "/")
        return root is not None and uid in (opener.owner_of(directory), opener.owner_of(root))

    return believe


@dataclass(slots=True)
class News:
    """What a look has found: how records begin, how they go on and end, and files that are no use (path, reason).

    Each in the order in which it happened: of two runs for one deployment the later waits for the earlier's end. What
    ended a run comes after whatever its log and its lock have to say.
    """

    begun: list[Observation] = field(default_factory=list)
    ended: list[Observation] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


_Mark = tuple[int, int, int]


class Spool:
    """The records in one directory. Not thread-safe: one thread owns it."""

    def __init__(self, path: str, believes: Believes, roots: Iterable[str] = ()) -> None:
        self.path = path
        self._believes = believes
        self._names = {os.path.realpath(root): root for root in roots}
        self._opener = SafeOpener([Bounds(path, owners=None)])
        self._seen: dict[str, _Mark] = {}
        self._unfinished: dict[str, Record] = {}

    def look(self, awaited: Mapping[str, str] | None = None) -> News:
        """What is new since the last look, and which wrappers have died.

        awaited: the records of runs that have not ended, each with its directory; a wrapper whose record was removed
        will not be heard of again. Nothing is new while the spool cannot be listed.
        """
        news = News()
        present = self._list()
        if present is None:
            return news
        for record_id, mark in present.items():
            if self._seen.get(record_id) != mark:
                self._seen[record_id] = mark
                self._look_at(record_id, news)
        for record_id in self._seen.keys() - present.keys():
            del self._seen[record_id]
            self._unfinished.pop(record_id, None)
        for record in list(self._unfinished.values()):
            self._look_behind(record, news)
        for record_id, directory in (awaited or {}).items():
            # A listing may miss what is renamed meanwhile.
            if record_id not in present and not os.path.lexists(self._path_of(record_id)):
                news.ended.append(self._gone(record_id, directory, None))
        news.begun.sort(key=_at)
        news.ended.sort(key=_at)
        return news

    def record(self, record_id: str) -> Record | None:
        """A record that can be believed; None when there is none (any more)."""
        try:
            return self._read(record_id)
        except (FileNotFoundError, Unreadable, Malformed):
            return None

    def files_behind(self, observations: Iterable[Observation]) -> list[str]:
        """The files of the records behind observations."""
        paths = {observation.path.removesuffix(_SUFFIX) for observation in observations}
        return [path + suffix for path in sorted(paths) for suffix in (_SUFFIX, _LOCK)]

    # --- one record --------------------------------------------------------------------------------------------

    def _list(self) -> dict[str, _Mark] | None:
        records = {}
        try:
            with os.scandir(self.path) as entries:
                for entry in islice(entries, _MAX_ENTRIES):
                    record_id = entry.name.removesuffix(_SUFFIX)
                    if entry.name.endswith(_SUFFIX) and record_id.isalnum() and record_id.isascii():
                        with suppress(OSError):
                            status = entry.stat(follow_symlinks=False)
                            records[record_id] = (status.st_ino, status.st_size, status.st_mtime_ns)
        except OSError:
            return None
        return records

    def _path_of(self, record_id: str) -> str:
        return f"{self.path}/{record_id}{_SUFFIX}"

    def _read(self, record_id: str) -> Record:
        path = self._path_of(record_id)
        with self._opener.open(path, exit_record.MAX_SIZE) as file:
            record = exit_record.read(file.read(0, exit_record.MAX_SIZE), record_id)
            record = msgspec.structs.replace(record, directory=self._run_directory(record.directory))
            if not self._believes(file.stat.st_uid, record.directory):
                raise Malformed(f"uid {file.stat.st_uid} may not speak for {record.directory!r}, see [spool] users")
        return record

    def _run_directory(self, directory: str) -> str:
        """The directory by the name that the settings use (a wrapper knows where it really is); a copy of Terragrunt's
        by that of its unit."""
        directory = unit_directory(directory)
        for real, root in self._names.items():
            if f"{directory}/".startswith(f"{real}/"):
                return root + directory[len(real) :]
        return directory

    def _look_at(self, record_id: str, news: News) -> None:
        path = self._path_of(record_id)
        try:
            record = self._read(record_id)
            heard, ending = exit_record.heard(record), exit_record.ending(record)
        except FileNotFoundError:
            return
        except (Unreadable, Malformed) as error:
            reason = error.code if isinstance(error, Unreadable) else str(error)
            news.refused.append((path, reason))
            return
        beginning = exit_record.beginning(record)
        if ending is None:
            self._unfinished[record_id] = record
            news.begun.append(self._observation(record, beginning, *heard))
        else:
            self._unfinished.pop(record_id, None)
            news.begun.append(self._observation(record, beginning))
            news.ended.append(self._observation(record, *heard, ending))

    def _look_behind(self, record: Record, news: News) -> None:
        """Whether nobody is there any more who could finish a record. One that was finished between is new again."""
        if not self._is_abandoned(record.record_id) or is_alive(record):
            return
        present = (self._list() or {}).get(record.record_id)
        if present is not None and present == self._seen.get(record.record_id):
            news.ended.append(self._gone(record.record_id, record.directory, record.workspace))

    def _is_abandoned(self, record_id: str) -> bool:
        try:
            with self._opener.open(f"{self.path}/{record_id}{_LOCK}") as file:
                return liveness.lock_holder(file.fd) is Presence.ABSENT
        except FileNotFoundError:
            return True
        except Unreadable:
            return False

    def _gone(self, record_id: str, directory: str, workspace: str | None) -> Observation:
        fact = Fact(WrapperGone(), record_id=record_id)
        return Observation("exit_record", self._path_of(record_id), directory, workspace, (fact,), None)

    def _observation(self, record: Record, *facts: Fact) -> Observation:
        path = self._path_of(record.record_id)
        return Observation("exit_record", path, record.directory, record.workspace, facts, None)


def _at(observation: Observation) -> float:
    """When a command began, or ended; last what died before it could say so."""
    facts = (fact.evidence for fact in observation.facts)
    times = (fact.at for fact in facts if isinstance(fact, CommandStarted | ProcessExited))
    return next((at for at in times if at is not None), math.inf)


def is_alive(record: Record) -> bool:
    """Whether the Terraform of a record may still be at work. It may where nobody can tell."""
    process = record.process
    if process is None:
        return False  # the wrapper died before it had started it
    boot = liveness.read_boot()
    if boot is not None and process.boot_id and boot.boot_id != process.boot_id:
        return False
    if process.pid_namespace != liveness.pid_namespace():
        return False  # its pid means nothing here: that the lock is free has to do
    started = liveness.started(process.pid)
    return started is Presence.UNKNOWN or started == process.started
