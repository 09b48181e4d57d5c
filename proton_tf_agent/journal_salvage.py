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
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
_STATES = (
    "pending",
    "retryable",
    "sending",
    "parked",
    "superseded",
    "discarded",
    "shadowed",
    "delivered",
)  # rather again than not


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What has become of a damaged journal: where it is kept, and how many rows of each table are in the new one, and
    are known to have been in the old one and not to be in the new one."""

    aside: str
    kept: Mapping[str, int]
    lost: Mapping[str, int]


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
    unfinished = path + _SUFFIX
    _remove(unfinished, unfinished + "-journal")
    try:
        create_private_file(unfinished)
        with in_words(path), _Making.open_new(unfinished, os.dup(hold)) as journal:
            journal.let_be_quick()
            kept, lost = journal.fill(path, memory)
        _sync(unfinished)
        if what := damage(unfinished, Depth.WHOLE):
            raise JournalUnusable(Problem(f"what was salvaged of the journal cannot be used: {what}", path))
    except BaseException:
        _remove(unfinished, unfinished + "-journal")
        raise
    _remove(unfinished + "-journal")
    return Salvaged(_put_in_place(unfinished, path), kept, lost)


def set_aside(path: str) -> str:
    """Give a journal's rollback journal, which belongs to no other file than its own, the name of what is kept aside;
    returns where the journal itself is to go."""
    aside = _name_aside(path)
    with suppress(FileNotFoundError):
        os.rename(path + "-journal", aside + "-journal")
        os.chmod(aside + "-journal", 0o400)
    return aside


# --- reading --------------------------------------------------------------------------------------------------------


@contextmanager
def _bytes_of(path: str) -> Iterator[memoryview]:
    with open(path, "rb") as file:
        while file.read(_PIECE):  # what the disk cannot read is an error here, and a signal in what is mapped
            pass
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data, memoryview(data) as view:
            yield view


class _Named:
    """Keys that something else than the row itself names. An index has no seals, but lists only what is there."""

    def __init__(self) -> None:
        self.keys: dict[str, set[Key]] = {table: set() for table in _TABLES}
        self.counters: list[int] = []

    def take(self, row: Row) -> None:
        """Look at what is no row of a table of ours, but may be one of an index (see the schema), or the counter."""
        if not row.listed:
            return
        match row.values:
            case ("outbox", int(counter)) if row.rowid is not None:
                self.counters.append(counter)
            case _ if row.rowid is not None:
                return
            case (str(), int(seq)):  # outbox_run
                self.keys["outbox"].add(seq)
            case (str(of), int(key), int(again)) if key == again:  # outbox_resource, evidence_run
                self.keys["outbox" if of.startswith("arn:") else "evidence"].add(key)
            case (int(), int(key), int(again)) if key == again:  # attempt_seq
                self.keys["attempt"].add(key)
            case (int() | float(), str(run_id)):  # run_started
                self.keys["run"].add(run_id)

    def counter(self) -> int:
        """The highest seq ever given."""
        known = max((seq for seq in self.keys["outbox"] if isinstance(seq, int)), default=0)
        return max([known, *(seq for seq in self.counters if seq <= known + _MOST_AHEAD)])


def _preference(table: str, values: Values, listed: bool) -> tuple[object, ...]:
    """Of two copies of a row the one for which this is larger is kept."""
    if table == "outbox":
        state = values[_OUTBOX_STATE]
        rank = _STATES.index(state) if state in _STATES else len(_STATES)
        return (listed, listed and state == "delivered", -rank)
    if table == "run":
        return (listed, values[_RUN_ENDED_AT] is None)
    if table == "attempt":
        return (listed, values[_ATTEMPT_FINISHED_AT] is not None)
    if table == "cursor" and isinstance(values[1], bytes):
        return (listed, -_decode_cursor(values[1]).offset)
    return (listed,)


def _refuse_others(path: str, version: int | None, any_rows: bool) -> None:
    with open(path, "rb") as file:
        header = file.read(100).ljust(100, b"\0")
    is_ours = header.startswith(_MAGIC) and int.from_bytes(header[68:72], "big") == APPLICATION_ID
    stamped = int.from_bytes(header[60:64], "big", signed=True)
    if not any_rows and not (is_ours and stamped == SCHEMA_VERSION):
        what = "this is no journal of proton-tf-agent, or nothing of it can be read any more"
        raise JournalUnusable(Problem(what, path, "set [journal] path to another file, or move this one away"))
    if (version or stamped) != SCHEMA_VERSION and (version is not None or is_ours):
        what = f"the journal, of version {version or stamped}, is damaged; this agent knows version {SCHEMA_VERSION}"
        raise JournalUnusable(Problem(what, path, "start the agent that has written it; nothing was changed"))


# --- writing --------------------------------------------------------------------------------------------------------


class _Making(Store):
    """A journal that is being made out of another's rows. They pass one by one: the other may be larger than memory."""

    _columns: Mapping[str, list[str]]
    _kept: dict[str, dict[Key, tuple[object, ...]]]  # by table, each with what it is preferred for
    _broken: dict[str, set[Key]]

    @classmethod
    def open_new(cls, path: str, hold: int) -> _Making:
        try:
            return cls._open(path, hold)
        except BaseException:
            os.close(hold)
            raise

    def let_be_quick(self) -> None:
        """Do without SQLite's care: should this be cut short, the file is not used."""
        for pragma in ("quick_journal", "quick_sync", "quick_cache"):
            self._all(pragma)

    def fill(self, path: str, memory: Memory) -> tuple[dict[str, int], dict[str, int]]:
        """Take over every row that can be read; returns how many of each table were, and how many are lost."""
        self._columns = {table: [row["name"] for row in self._all("columns", table=table)] for table in _TABLES}
        self._kept, self._broken = {table: {} for table in _TABLES}, {table: set() for table in _TABLES}
        self._version: int | None = None
        named = _Named()
        with self.transaction():
            with _bytes_of(path) as view:
                for row in rows(view):
                    if not self._take(row):
                        named.take(row)
            _refuse_others(path, self._version, any(self._kept.values()))
            named.keys["outbox"].update(row["seq"] for row in self._all("seqs_named"))
            self._do("keep_counter")
            self._do("raise_counter", seq=named.counter())
            self._fill_meta(memory)
            self._let_be_read_again((named.keys["run"] or self._broken["run"]) - self._kept["run"].keys())
        # A broken row may be one that is named, under a key that has rotted.
        lost = {
            table: max(len(self._broken[table] - kept.keys()), len(named.keys[table] - kept.keys()))
            for table, kept in self._kept.items()
        }
        return {table: len(kept) for table, kept in self._kept.items()}, {t: n for t, n in lost.items() if n}

    def _take(self, row: Row) -> bool:
        """Keep a row if its seal holds; whether it was meant to be a row of ours."""
        seal = row.values[-1] if row.values else None
        if not isinstance(seal, str) or len(seal) != _SEAL:
            return False
        values = row.values if row.rowid is None else (row.rowid, *row.values[1:])
        key = values[0]
        tables = [
            table
            for table, columns in self._columns.items()
            if len(columns) == len(values) and (table in _NUMBERED) is (row.rowid is not None)
        ]
        if not tables or not isinstance(key, str | int):
            return False
        for table in tables:
            if seal_of(table, *values[:-1]) == seal:
                self._keep(table, key, values, row.listed)
                return True
        if row.listed:
            of_cursor = isinstance(values[1], bytes)
            self._broken[next(t for t in tables if t not in ("meta", "cursor") or of_cursor is (t == "cursor"))].add(
                key
            )
        return True

    def _keep(self, table: str, key: Key, values: Values, listed: bool) -> None:
        preference = _preference(table, values, listed)
        if key not in self._kept[table] or preference > self._kept[table][key]:
            self._kept[table][key] = preference
            if (table, key) == ("meta", "schema_version"):
                self._version = int(str(values[1]))
            self._do(f"keep_{table}", **dict(zip(self._columns[table], values, strict=True)))

    def _fill_meta(self, memory: Memory) -> None:
        for root, since in memory.first_seen.items():  # else what happened before today would not be told
            self._do("put_meta_once", key=f"first_seen:{root}", value=repr(since))
        self._do("put_meta_once", key="boot_id", value="lost")  # none would mean: the first start of all

    def _let_be_read_again(self, missing: Collection[Key]) -> None:
        """Drop the cursors behind which runs were that are missing, and runs whose end was told by a lost entry."""
        logs, located = set[str](), set[str]()
        for run_id, body in self._all("runs_told_nothing"):
            run = _decode_run(body)
            if run.anchor and os.path.lexists(run.log_path):
                self._do("delete_run", run_id=run_id)
        for run_id, path in self._all("evidence_of_nobody"):
            located.add(run_id)
            logs.add(path)
        for run_id in located:
            self._do("delete_evidence_of_run", run_id=run_id)
        every_log = any(run_id not in located for run_id in missing)
        anchors = {"", *(row["anchor"] for row in self._all("anchors"))}
        for (body,) in self._all("cursors"):
            cursor = _decode_cursor(body)
            is_behind = any(mark.anchor not in anchors for mark in cursor.marks)
            if cursor.path in logs or is_behind or (every_log and cursor.marks):
                self._do("forget_cursor", path=cursor.path)


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
