"""A new journal out of what can still be read in a damaged one, in its place; the damaged file is kept beside it.

Every row whose seal holds is kept, wherever in the file it lies. Of several copies of a row the one counts that SQLite
would read; among others the one by which something is rather told again than lost. What is lost is counted by what is
left of it: rows with a broken seal, and rows that only an index or another row still names.

What can be read on disk again is made to be: the cursor of a log that a lost run was in is dropped, and a run whose
end was in a lost entry is forgotten if its log is still there. To read a log twice tells nothing twice, as long as the
entries are kept. A lost entry that said IN_PROGRESS is not told again: the run's end will be.

The new journal is complete, checked and on disk under a name of its own before anything is renamed, and the damaged
one has its second name before it loses its first: power may fail anywhere.
"""

from __future__ import annotations

import mmap
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

import msgspec

from .domain.errors import AgentError, JournalUnusable, Problem
from .domain.evidence import Cursor
from .domain.run import Run
from .journal_check import Depth, damage
from .journal_file import create_private_file, sync_directory
from .journal_memory import Memory
from .journal_store import APPLICATION_ID, SCHEMA_VERSION, Store, in_words, seal_of
from .sqlite_pages import Row, rows
from .sqlite_record import Value

_TABLES = ("meta", "cursor", "run", "evidence", "outbox", "attempt", "circuit")
_NUMBERED = ("evidence", "outbox", "attempt")  # by their rowid
_SUFFIX = ".salvaged"  # of the new journal until it is complete
_SEAL = 16  # characters
_MOST_AHEAD = 1_000_000  # that the counter may be above every entry, for those that were let go; it has no seal
_PIECE = 1 << 20
_MAGIC = b"SQLite format 3\0"
_decode_cursor = msgspec.json.Decoder(Cursor).decode
_decode_run = msgspec.json.Decoder(Run).decode

Key = str | int
Values = tuple[Value, ...]  # of a whole row
# Columns that decide which of two copies is kept.
_OUTBOX_STATE, _RUN_ENDED_AT, _ATTEMPT_FINISHED_AT = 9, 5, 3
_STATES = ("pending", "retryable", "sending", "parked", "superseded", "discarded", "delivered")  # rather again than not


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What has become of a damaged journal: where it is kept, and how many rows of each table are in the new one, and
    are known to have been in the old one and not to be in the new one."""

    aside: str
    kept: Mapping[str, int]
    lost: Mapping[str, int]


@dataclass(slots=True)
class _Found:
    """What can be read: for every table its rows by key, the keys of rows whose seal is broken, and the keys that an
    index or another row names. counter: the highest seq ever given."""

    rows: dict[str, dict[Key, Values]] = field(default_factory=lambda: {table: {} for table in _TABLES})
    broken: dict[str, set[Key]] = field(default_factory=lambda: {table: set() for table in _TABLES})
    named: dict[str, set[Key]] = field(default_factory=lambda: {table: set() for table in _TABLES})
    counter: int = 0
    _listed: set[tuple[str, Key]] = field(default_factory=set)

    def add(self, table: str, key: Key, values: Values, listed: bool) -> None:
        kept = self.rows[table].get(key)
        if kept is None or (listed, _preference(table, values, listed)) > (
            (table, key) in self._listed,
            _preference(table, kept, listed),
        ):
            self.rows[table][key] = values
            if listed:
                self._listed.add((table, key))

    def lost(self) -> dict[str, int]:
        """How many rows of each table are gone. A broken row may be one that is named, under a key that has rotted."""
        lost = {
            table: max(len(self.broken[table] - kept.keys()), len(self.named[table] - kept.keys()))
            for table, kept in self.rows.items()
        }
        return {table: number for table, number in lost.items() if number}


def salvage(path: str, hold: int, memory: Memory) -> Salvaged:
    """Put a journal of what can be read in place of a damaged one. hold: of who calls this, the daemon.

    JournalUnusable, and nothing changed, when the file is not plainly ours, is another version's, or nothing can be
    made of it; AgentError when the disk does not let us.
    """
    try:
        return _salvage(path, hold, memory)
    except OSError as error:
        raise AgentError(Problem(f"the journal is damaged, and cannot be salvaged: {error.strerror}", path)) from None


def _salvage(path: str, hold: int, memory: Memory) -> Salvaged:
    with _Making.model() as model:
        columns = {table: model.columns_of(table) for table in _TABLES}
    found = _read(path, columns)
    _refuse_others(path, found)
    unfinished = path + _SUFFIX
    _remove(unfinished, unfinished + "-journal")
    try:
        create_private_file(unfinished)
        with in_words(path), _Making.open_new(unfinished, os.dup(hold)) as journal:
            journal.fill(found, columns, memory)
        if what := damage(unfinished, Depth.WHOLE):
            raise JournalUnusable(Problem(f"what was salvaged of the journal cannot be used: {what}", path))
    except BaseException:
        _remove(unfinished, unfinished + "-journal")
        raise
    _remove(unfinished + "-journal")
    kept = {table: len(of_table) for table, of_table in found.rows.items()}
    return Salvaged(_put_in_place(unfinished, path), kept, found.lost())


def set_aside(path: str) -> str:
    """Give a journal's rollback journal, which belongs to no other file than its own, the name of what is kept aside;
    returns where the journal itself is to go."""
    aside = _name_aside(path)
    with suppress(FileNotFoundError):
        os.rename(path + "-journal", aside + "-journal")
        os.chmod(aside + "-journal", 0o400)
    return aside


# --- reading --------------------------------------------------------------------------------------------------------


def _read(path: str, columns: Mapping[str, list[str]]) -> _Found:
    found, named = _Found(), _Named()
    with open(path, "rb") as file:
        while file.read(_PIECE):  # what the disk cannot read is an error here, and a signal in what is mapped
            pass
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data, memoryview(data) as view:
        for row in rows(view):
            if not _take(row, found, columns):
                named.take(row)
    named.add_to(found)
    return found


def _take(row: Row, found: _Found, columns: Mapping[str, list[str]]) -> bool:
    """Keep a row if it is one; whether it was meant to be one."""
    seal = row.values[-1] if row.values else None
    if not isinstance(seal, str) or len(seal) != _SEAL:
        return False
    tables = [
        table
        for table in _TABLES
        if len(columns[table]) == len(row.values) and (table in _NUMBERED) is (row.rowid is not None)
    ]
    values = row.values if row.rowid is None else (row.rowid, *row.values[1:])
    key = values[0]
    for table in tables:
        if isinstance(key, str | int) and seal_of(table, *values[:-1]) == seal:
            found.add(table, key, values, row.listed)
            return True
    if row.listed and isinstance(key, str | int):
        for table in tables:
            if table not in ("meta", "cursor") or isinstance(values[1], bytes) is (table == "cursor"):
                found.broken[table].add(key)
    return bool(tables)


class _Named:
    """Rows that an index names, which has no seals, but lists only what is there."""

    def __init__(self) -> None:
        self.entries: set[int] = set()
        self.attempts: set[int] = set()
        self.runs: set[str] = set()
        self.of_runs: Counter[tuple[str, int]] = Counter()
        self.counters: list[int] = []

    def take(self, row: Row) -> None:
        if len(row.values) != 2 or not row.listed:
            return
        first, second = row.values
        if row.rowid is not None:
            if first == "outbox" and isinstance(second, int):
                self.counters.append(second)
        elif isinstance(first, str) and isinstance(second, int):  # outbox_resource; evidence_run and outbox_run
            if first.startswith("arn:"):
                self.entries.add(second)
            else:
                self.of_runs[first, second] += 1
        elif isinstance(first, int) and isinstance(second, int):  # attempt_seq
            self.attempts.add(second)
        elif isinstance(first, int | float) and isinstance(second, str):  # run_started
            self.runs.add(second)

    def add_to(self, found: _Found) -> None:
        kept, named = found.rows, found.named
        named["outbox"] |= self.entries | {_whole(values[1]) for values in kept["attempt"].values()}
        named["attempt"] |= self.attempts
        named["run"] |= self.runs
        for (run_id, number), times in self.of_runs.items():
            entry, evidence = kept["outbox"].get(number), kept["evidence"].get(number)
            is_kept = (entry is not None and entry[2] == run_id) + (evidence is not None and evidence[1] == run_id)
            if is_kept < times:
                named["outbox" if evidence or number in named["outbox"] - kept["outbox"].keys() else "evidence"].add(
                    number
                )
        known = max((_whole(seq) for seq in (*kept["outbox"], *named["outbox"])), default=0)
        found.counter = max([known, *(seq for seq in self.counters if seq <= known + _MOST_AHEAD)])


def _whole(value: Value) -> int:
    return value if isinstance(value, int) else 0


def _preference(table: str, values: Values, listed: bool) -> tuple[object, ...]:
    """Of two copies of a row the one for which this is larger is kept."""
    if table == "outbox":
        state = values[_OUTBOX_STATE]
        return (listed and state == "delivered", -_STATES.index(state) if state in _STATES else -len(_STATES))
    if table == "run":
        return (values[_RUN_ENDED_AT] is None,)
    if table == "attempt":
        return (values[_ATTEMPT_FINISHED_AT] is not None,)
    if table == "cursor" and isinstance(values[1], bytes):
        return (-_decode_cursor(values[1]).offset,)
    return ()


def _refuse_others(path: str, found: _Found) -> None:
    with open(path, "rb") as file:
        header = file.read(100).ljust(100, b"\0")
    is_ours = header.startswith(_MAGIC) and int.from_bytes(header[68:72], "big") == APPLICATION_ID
    stamped = int.from_bytes(header[60:64], "big", signed=True)
    written = found.rows["meta"].get("schema_version")
    version = int(str(written[1])) if written else None
    if not any(found.rows.values()) and not (is_ours and stamped == SCHEMA_VERSION):
        what = "this is no journal of proton-tf-agent, or nothing of it can be read any more"
        raise JournalUnusable(Problem(what, path, "set [journal] path to another file, or move this one away"))
    if (version or stamped) != SCHEMA_VERSION and (version is not None or is_ours):
        what = f"the journal, of version {version or stamped}, is damaged; this agent knows version {SCHEMA_VERSION}"
        raise JournalUnusable(Problem(what, path, "start the agent that has written it; nothing was changed"))


# --- writing --------------------------------------------------------------------------------------------------------


class _Making(Store):
    """A journal that is being made."""

    @classmethod
    def open_new(cls, path: str, hold: int) -> _Making:
        return cls._open(path, hold)

    def columns_of(self, table: str) -> list[str]:
        return [row["name"] for row in self._all("columns", table=table)]

    def fill(self, found: _Found, columns: Mapping[str, list[str]], memory: Memory) -> None:
        with self.transaction():
            for table, of_table in found.rows.items():
                names = columns[table]
                for key in sorted(of_table):
                    self._do(f"keep_{table}", **dict(zip(names, of_table[key], strict=True)))
            self._do("keep_counter")
            self._do("raise_counter", seq=found.counter)
            self._fill_meta(found.rows["meta"], memory)
            self._let_be_read_again(found)

    def _fill_meta(self, kept: Mapping[Key, Values], memory: Memory) -> None:
        for root, since in memory.first_seen.items():  # else what happened before today would not be told
            self._do("put_meta_once", key=f"first_seen:{root}", value=repr(since))
        if "boot_id" not in kept:
            self._do("put_meta_once", key="boot_id", value="lost")  # none would mean: the first start of all

    def _let_be_read_again(self, found: _Found) -> None:
        """Drop the cursors behind which runs were that are missing, and runs whose end was told by a lost entry."""
        again = set[str]()
        for run_id, body in self._all("runs_told_nothing"):
            run = _decode_run(body)
            if run.anchor and os.path.lexists(run.log_path):
                again.add(run.log_path)
                self._do("delete_run", run_id=run_id)
        present = {row["run_id"]: row["anchor"] for row in self._all("run_ids")}
        located = set[Key]()
        for run_id, path in self._all("evidence_of_nobody"):
            located.add(run_id)
            again.add(path)
            self._do("delete_evidence_of_run", run_id=run_id)
        missing = (found.named["run"] or found.broken["run"]) - found.rows["run"].keys()
        every_log = bool(missing - located)
        anchors = {*present.values(), ""}
        for path, values in found.rows["cursor"].items():
            marks = _decode_cursor(_bytes(values[1])).marks
            lost = any(mark.anchor not in anchors for mark in marks)
            if path in again or lost or (every_log and marks):
                self._do("forget_cursor", path=path)


def _bytes(value: Value) -> bytes:
    return value if isinstance(value, bytes) else b""


# --- names ----------------------------------------------------------------------------------------------------------


def _put_in_place(unfinished: str, path: str) -> str:
    directory = os.path.dirname(path)
    sync_directory(directory)  # the new one, under its own name
    aside = set_aside(path)
    try:
        os.link(path, aside)
    except FileExistsError:
        pass  # by the last attempt, which ended here
    except OSError:  # a file system without links
        shutil.copyfile(path, aside, follow_symlinks=False)
        _sync(aside)
    sync_directory(directory)
    os.rename(unfinished, path)
    sync_directory(directory)
    os.chmod(aside, 0o400)
    return aside


def _name_aside(path: str) -> str:
    """`PATH.damaged-` and when, in UTC; the name that this very file has already, if an attempt was cut short."""
    directory, name = os.path.split(path)
    begin = f"{name}.damaged-"
    for entry in os.scandir(directory or "."):
        if entry.name.startswith(begin) and os.path.exists(path) and os.path.samefile(entry.path, path):
            return entry.path
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    names = (f"{path}.damaged-{stamp}{suffix}" for suffix in _suffixes())
    return next(aside for aside in names if not os.path.lexists(aside) and not os.path.lexists(aside + "-journal"))


def _suffixes() -> Iterator[str]:
    yield ""
    yield from (f"-{number}" for number in count(2))


def _sync(path: str) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _remove(*paths: str) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            os.unlink(path)
