"""The disks that a power loss may leave behind, out of the steps of a traced process.

What is promised is what fsync promises, and no more: the data of a file since its last sync may be there in part and in
any order, the last write torn between two sectors; a name made, removed or changed since the last sync of its directory
may be as it was before. A sector of 512 bytes is written as a whole or not at all.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .syscall_trace import Acknowledge, Make, Remove, Rename, Step, Sync, SyncDirectory, Truncate, Write

SECTOR = 512

Contents = Mapping[str, bytes | None]  # by path; None is a directory
Change = Write | Truncate
NameChange = Make | Remove | Rename


@dataclass(slots=True)
class File:
    """One file, whatever its name: what is surely there, and what was written since."""

    durable: bytes = b""
    pending: list[Change] = field(default_factory=list)

    def with_changes(self, changes: Iterable[Change]) -> bytes:
        """Its bytes when these changes have reached the disk."""
        content = bytearray(self.durable)
        for change in changes:
            if isinstance(change, Truncate):
                del content[change.size :]
                content.extend(bytes(change.size - len(content)))
                continue
            end = change.at + len(change.data)
            content.extend(bytes(max(0, end - len(content))))
            content[change.at : end] = change.data
        return bytes(content)


Names = dict[str, File | None]  # None is a directory


class Disk:
    """What is below one directory: as it was last synced, and what has been done since."""

    def __init__(self, contents: Contents) -> None:
        self.live: Names = {path: None if data is None else File(data) for path, data in contents.items()}
        self._durable: Names = dict(self.live)
        self.pending_names: list[tuple[NameChange, File | None]] = []

    @property
    def unsynced(self) -> list[File]:
        """The files of which something may be lost."""
        known = [file for file in (*self.live.values(), *self._durable.values()) if file is not None and file.pending]
        return list({id(file): file for file in known}.values())

    def take(self, step: Step) -> None:
        """Let one step happen."""
        match step:
            case Write() | Truncate():
                self._file(step.path).pending.append(step)
            case Sync():
                synced = self._file(step.path)
                synced.durable, synced.pending = synced.with_changes(synced.pending), []
            case SyncDirectory():
                settled = [change for change in self.pending_names if _directory_of(change[0]) == step.path]
                self.pending_names = [change for change in self.pending_names if change not in settled]
                _rename(self._durable, settled)
            case Make():
                made = None if step.is_directory else File()
                self.pending_names.append((step, made))
                _rename(self.live, self.pending_names[-1:])
            case Remove() | Rename():
                self.pending_names.append((step, self.live[step.path]))
                _rename(self.live, self.pending_names[-1:])
            case _:
                raise AssertionError(step)

    def contents(
        self, changes: Mapping[int, Sequence[Change]] | None = None, names: Sequence[int] | None = None
    ) -> Contents:
        """A disk on which of each unsynced file (by its `id`; else all) these changes have arrived, and of the pending
        names (by number; else all) these. What lies in a directory that is not there is not there either."""
        found = self._durable.copy()
        _rename(found, (self.pending_names[n] for n in (range(len(self.pending_names)) if names is None else names)))
        reachable = {path: file for path, file in found.items() if all(above in found for above in _above(path))}
        return {
            path: None if file is None else file.with_changes((changes or {}).get(id(file), file.pending))
            for path, file in reachable.items()
        }

    def _file(self, path: str) -> File:
        file = self.live[path]
        assert file is not None, path
        return file


@dataclass(frozen=True, slots=True)
class CrashState:
    """A disk after a crash: behind so many steps, in which of the ways, after which acknowledgement."""

    steps: int
    way: str
    contents: Contents
    acknowledged: int
    """How many lines had been said; what comes behind them has begun only if `begun`."""
    begun: bool


@dataclass(frozen=True, slots=True)
class Thoroughness:
    """How many torn writes and random subsets to try at each step."""

    cuts: int = 3
    subsets: int = 4


def crash_states(steps: Sequence[Step], contents: Contents, thoroughness: Thoroughness) -> Iterator[CrashState]:
    """Every different disk that a crash between two steps, or in the midst of one, may leave behind."""
    disk, said, begun = Disk(contents), 0, False
    seen: set[int] = set()
    for number, step in enumerate([None, *steps]):
        if isinstance(step, Acknowledge):
            said, begun = said + 1, False
        elif step is not None:
            disk.take(step)
            begun = True
        for way, left in _ways(disk, step, thoroughness, random.Random(number)):
            key = hash((said, begun, frozenset(left.items())))
            if key not in seen:
                seen.add(key)
                yield CrashState(number, way, left, said, begun)


def _ways(
    disk: Disk, last: Step | None, thoroughness: Thoroughness, rng: random.Random
) -> Iterator[tuple[str, Contents]]:
    yield "everything has arrived", disk.contents()
    unsynced = disk.unsynced
    nothing: dict[int, Sequence[Change]] = {id(file): () for file in unsynced}
    yield "only what was synced has arrived", disk.contents(nothing)
    for file in unsynced if len(unsynced) > 1 else ():
        yield "one file was not written", disk.contents({id(file): ()})
    if isinstance(last, Write):
        yield from _torn(disk, last, thoroughness.cuts, rng)
    for n in range(thoroughness.subsets if any(len(file.pending) > 1 for file in unsynced) else 0):
        pieces = _some_sectors if n % 2 else _some_writes
        yield "some writes have arrived", disk.contents({id(file): pieces(file.pending, rng) for file in unsynced})
    everything = range(len(disk.pending_names))
    losses = [[], *([n for n in everything if n != lost] for lost in everything)]
    for names in losses if everything else ():
        yield "a name was lost", disk.contents(names=names)
        yield "a name was lost and nothing was written", disk.contents(nothing, names)


def _torn(disk: Disk, last: Write, cuts: int, rng: random.Random) -> Iterator[tuple[str, Contents]]:
    """The last write in two halves, of which one has arrived."""
    file = disk._file(last.path)
    between = range(last.at // SECTOR * SECTOR + SECTOR, last.at + len(last.data), SECTOR)
    for cut in rng.sample(between, min(cuts, len(between))):
        for half in (_part(last, last.at, cut), _part(last, cut, last.at + len(last.data))):
            yield "the last write is torn", disk.contents({id(file): [*file.pending[:-1], half]})


def _some_writes(pending: Sequence[Change], rng: random.Random) -> list[Change]:
    return [change for change in pending if rng.random() < 0.5]


def _some_sectors(pending: Sequence[Change], rng: random.Random) -> list[Change]:
    """Of every write any of its sectors."""
    pieces: list[Change] = []
    for change in pending:
        if isinstance(change, Truncate):
            pieces.append(change)
            continue
        end = change.at + len(change.data)
        edges = [change.at, *range(change.at // SECTOR * SECTOR + SECTOR, end, SECTOR), end]
        pieces += [_part(change, *edges[n : n + 2]) for n in range(len(edges) - 1)]
    return _some_writes(pieces, rng)


def _part(write: Write, begin: int, end: int) -> Write:
    return Write(write.path, begin, write.data[begin - write.at : end - write.at])


def _rename(names: Names, changes: Iterable[tuple[NameChange, File | None]]) -> None:
    """Let names change. A change whose forerunner was lost takes the file it is about all the same."""
    for change, file in changes:
        if isinstance(change, Remove | Rename):
            names.pop(change.path, None)
        if not isinstance(change, Remove):
            names[change.to if isinstance(change, Rename) else change.path] = file


def _directory_of(change: NameChange) -> str:
    return change.path.rpartition("/")[0]


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def read_contents(directory: Path) -> Contents:
    """What is below a directory, as if it had been synced."""
    return {str(p.relative_to(directory)): None if p.is_dir() else p.read_bytes() for p in sorted(directory.rglob("*"))}


def lay_out(contents: Contents, directory: Path) -> None:
    """Put a disk into an empty directory; files are their owner's alone."""
    for path, data in sorted(contents.items()):
        if data is None:
            (directory / path).mkdir(mode=0o700)
        else:
            (directory / path).write_bytes(data)
            (directory / path).chmod(0o600)
