"""The store below the journal: one SQLite file opened, made, brought up to date, and written in whole transactions.

`journal_mode=PERSIST, synchronous=EXTRA`: what COMMIT returned for survives power loss on storage that honours fsync,
and several writers (daemon and command line) are safe on every SQLite (docs/decisions/0003-journal.md). All SQL stands
in `journal.sql`, by name. Every row carries a seal, a checksum over all its columns: SQLite itself notices less than a
fifth of the bits that rot.

What the tables mean is `journal`'s. When the disk is full the daemon writes into its reserve (`journal_reserve`); what
finds no room there either raises JournalFull. One store may be used from several threads: it serialises them. The
daemon additionally holds an flock, so that a second daemon on the same journal refuses to start (`journal_file`).

Over 400 lines because who opens, migrates, commits and runs out of room shares one connection and its lock.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import cache
from hashlib import blake2b
from typing import Any, Self, TypeGuard, TypeVar

import msgspec

from .domain.errors import AgentError, JournalDamaged, JournalFull, JournalUnusable, Problem
from .journal_file import (
    create_private_file,
    make_private_directory,
    mark_hold,
    refuse_what_others_may_open,
    refuse_wide_mode,
    sync_directory,
    take_hold,
)
from .journal_memory import Memory, recall, remember
from .journal_reserve import (
    MOST_AT_ONCE,
    PIECE,
    ROLLBACK_JOURNAL,
    Part,
    Reserve,
    grow_rollback_journal,
    has_no_room,
    is_grown,
)

SCHEMA_VERSION = 4
_OLDEST_VERSION = 1  # that `migrate_*` of journal.sql can bring up to date
APPLICATION_ID = 0x50544641  # "PTFA"
_BUSY_TIMEOUT_S = 10.0
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
# A schema that does not parse, or lacks a table, is an SQLITE_ERROR.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG)
_encode = msgspec.msgpack.encode  # of a row: one value, one encoding
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_PRAGMAS = (
    "journal_mode = PERSIST",
    "synchronous = EXTRA",
    f"journal_size_limit = {ROLLBACK_JOURNAL}",
    "foreign_keys = ON",
    "trusted_schema = OFF",
    "cell_size_check = ON",
    "secure_delete = ON",
    "temp_store = MEMORY",
)

OnDiskFailure = Callable[[str], None]
T = TypeVar("T")
JournalRow = sqlite3.Row  # a row of a named query, its columns by name


@cache
def _queries() -> Mapping[str, str]:
    # Not by importlib.resources: what that imports costs a command more than the query it is about to ask.
    with open(os.path.join(os.path.dirname(__file__), "journal.sql"), encoding="utf-8") as file:
        _, *parts = _NAME.split(file.read())
    return dict(zip(parts[::2], parts[1::2], strict=True))


class Store:
    """An open journal file. Use as a context manager or call close."""

    def __init__(
        self, path: str, connection: sqlite3.Connection, hold: int | None, on_disk_failure: OnDiskFailure
    ) -> None:
        self.path = path
        self._connection = connection
        self._hold = hold
        self._on_disk_failure = on_disk_failure
        self._lock = threading.RLock()
        self._depth = 0
        self._sql = _queries()
        self._reserve = Reserve(0)
        self._full: set[Part] = set()

    # --- opening and closing -----------------------------------------------------------------------------

    @classmethod
    def open_as_daemon(
        cls,
        path: str,
        on_disk_failure: OnDiskFailure = lambda _failure: None,
        reserve: int = 0,
        prepare: Callable[[int], None] = lambda _hold: None,
    ) -> Self:
        """Create the journal if need be and hold it: JournalHeld when another daemon does.

        on_disk_failure is called with the name of an I/O error, in the thread that met it and before any thread can use
        the journal again: an fsync that is tried again may return although what it is about is lost.
        reserve: bytes to be kept for when the disk is full; `refill` fetches them.
        prepare is called with the hold before the file is made or opened.
        """
        make_private_directory(os.path.dirname(path))
        refuse_what_others_may_open(path)
        hold = take_hold(path)
        try:
            prepare(hold)
            create_private_file(path)
            return cls._open(path, hold, on_disk_failure, reserve)
        except BaseException:
            os.close(hold)
            raise

    @classmethod
    def open_existing(cls, path: str) -> Self:
        """Open a journal beside the daemon, to read it or to add a row under the same rules."""
        if not os.path.exists(path):
            raise _missing(path)
        return cls._open(path, None)

    @classmethod
    def open_to_verify(cls, path: str) -> Self:
        """Open a journal in whatever state it is, to read it: nothing is checked, set or brought up to date."""
        if not os.path.exists(path):
            raise _missing(path)
        connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        return cls(path, connection, None, lambda _failure: None)

    @classmethod
    def model(cls) -> Self:
        """An empty journal in memory, to compare another's schema with."""
        journal = cls(":memory:", sqlite3.connect(":memory:", isolation_level=None), None, lambda _failure: None)
        journal._connection.row_factory = sqlite3.Row
        journal._connection.executescript(journal._sql["schema"])
        return journal

    @classmethod
    def _open(
        cls,
        path: str,
        hold: int | None,
        on_disk_failure: OnDiskFailure = lambda _failure: None,
        reserve: int = 0,
    ) -> Self:
        refuse_wide_mode(path)
        connection = None
        try:
            connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            connection.row_factory = sqlite3.Row
            connection.create_function("seal_of", -1, seal_of, deterministic=True)
            journal = cls(path, connection, hold, on_disk_failure)
            empty = journal._is_empty()
            if not empty:
                journal._check_version()  # before any pragma: one of them writes into a file that is not ours
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            if empty:
                journal._create()
            else:
                journal._migrate()
            if hold is not None:
                journal._reserve = Reserve(reserve, journal._pieces_held())
            return journal
        except BaseException as error:
            if _is_disk_failure(error):
                on_disk_failure(error.sqlite_errorname)
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.DatabaseError | UnicodeDecodeError):
                raise unreadable(error, path) from None
            raise

    def _pieces_held(self) -> int:
        pieces: int = self._all("count_filler")[0][0]
        return pieces

    def _pragma(self, name: str) -> int:
        value: int = self._connection.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    def _is_empty(self) -> bool:
        nobodys = self._pragma("user_version") == 0 and self._pragma("application_id") == 0
        return nobodys and not self._connection.execute("SELECT 1 FROM sqlite_master").fetchone()

    def _create(self) -> None:
        if self._hold is None:  # only who holds a journal may make one
            raise _missing(self.path)
        schema = self._sql["schema"] + self._sql["stamp"]
        self._connection.executescript(f"BEGIN IMMEDIATE;{schema}PRAGMA application_id = {APPLICATION_ID};COMMIT;")

    def _migrate(self) -> None:
        """Bring a journal of an older agent up to date in one transaction; the old file is kept beside it."""
        version = self._pragma("user_version")
        if version == SCHEMA_VERSION:
            return
        self._back_up(f"{self.path}.v{version}")
        steps = "".join(self._sql[f"migrate_{step}_to_{step + 1}"] for step in range(version, SCHEMA_VERSION))
        self._connection.executescript(f"BEGIN IMMEDIATE;{steps}{self._sql['stamp']}COMMIT;")

    def back_up(self, path: str) -> None:
        """Copy the journal to a new file, beside a daemon at work; AgentError, and nothing left, when it cannot be
        written."""
        try:
            with self._lock:
                self._back_up(path)
        except (JournalUnusable, sqlite3.Error, OSError) as error:
            with suppress(OSError):
                os.unlink(path + ".new")
            why = error.problems[0].what if isinstance(error, JournalUnusable) else str(error)
            raise AgentError(Problem(f"the copy cannot be written: {why}", path)) from None

    def _back_up(self, path: str) -> None:
        """Copy the journal to `path`, 0600, whole or not at all."""
        unfinished = path + ".new"
        with suppress(FileNotFoundError):
            os.unlink(unfinished)  # of an agent that was killed in the midst of this
        create_private_file(unfinished)
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as copy:
            self._connection.backup(copy)
        os.rename(unfinished, path)
        sync_directory(os.path.dirname(path))

    def _check_version(self) -> None:
        version = self._pragma("user_version")
        if self._pragma("application_id") != APPLICATION_ID:
            raise JournalUnusable(
                Problem("this is no journal of proton-tf-agent", self.path, "set [journal] path to another file")
            )
        if version > SCHEMA_VERSION:
            raise JournalUnusable(
                Problem(
                    f"the journal has version {version}, this agent knows up to {SCHEMA_VERSION}",
                    self.path,
                    "install the newer agent again; nothing was changed",
                )
            )
        if version < _OLDEST_VERSION:
            raise JournalUnusable(Problem(f"the journal has version {version}, which no agent has written", self.path))
        if version < SCHEMA_VERSION and self._hold is None:
            raise JournalUnusable(
                Problem(
                    f"the journal has version {version} of an older agent, this one reads version {SCHEMA_VERSION}",
                    self.path,
                    "start this agent once: it brings the journal up to date and keeps the old one beside it",
                )
            )

    def close(self) -> None:
        """Close the file and, for the daemon, let it go."""
        with self._lock:
            self._connection.close()
            if self._hold is not None:
                os.close(self._hold)
                self._hold = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # --- what is remembered of it beside it ----------------------------------------------------------------

    def memory(self) -> Memory:
        """What the daemon remembers of this journal."""
        with self._lock:
            return (None if self._hold is None else recall(self._hold)) or Memory()

    def remember(self, **changes: Any) -> None:
        """Change some of it; nothing beside a daemon."""
        with self._lock:
            if self._hold is not None:
                remember(self._hold, msgspec.structs.replace(self.memory(), **changes))

    # --- transactions ------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; one inside another is part of it. Other threads wait; other processes up to ten seconds."""
        with self._lock:
            if self._depth:
                yield
                return
            self._depth = 1
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except BaseException as error:
                heeded = self._heed(error)
                if self._connection.in_transaction:  # SQLite has rolled back by itself when the disk is full
                    self._connection.execute("ROLLBACK")
                raise heeded from None
            finally:
                self._depth = 0

    def commit(self, work: Callable[[], T], part: Part) -> T:
        """Do all of `work` or nothing, in one transaction, and in the room that is kept for `part` if need be.

        It is done again from the beginning when the disk is full. JournalFull when the reserve is used up, too.
        """
        with self._lock:
            if self._depth:
                return work()
            pieces = 1
            while True:
                try:
                    with self.transaction():
                        return work()
                except JournalFull:
                    if not self._release(pieces, part):
                        raise
                    pieces = min(2 * pieces, MOST_AT_ONCE)

    def _release(self, pieces: int, part: Part) -> bool:
        pieces = min(pieces, self._reserve.to_spare(part))
        if not pieces:
            return False
        with self.transaction():
            self._do("release_filler", pieces=pieces)
        self._reserve.held -= pieces
        return True

    def refill(self, part: Part) -> bool:
        """Add to the reserve what it lacks, as far as there is room; whether a part that had to stop may go on."""
        with suppress(JournalFull):
            if self._reserve.whole and not is_grown(self.path):
                with self.transaction():
                    grow_rollback_journal(self.path)
            while self._reserve.lacking:
                with self._lock:  # others may write between two steps
                    pieces = min(self._reserve.lacking, MOST_AT_ONCE)
                    with self.transaction():
                        for _ in range(pieces):
                            self._do("add_filler", size=PIECE)
                    self._reserve.held += pieces
        return self._reserve.suffices(part)

    @property
    def is_reserve_whole(self) -> bool:
        """Whether the reserve is what it was asked to be."""
        return not self._reserve.lacking

    @property
    def is_full(self) -> bool:
        """Whether any part waits for room."""
        return bool(self._full)

    def mark_full(self, part: Part, is_full: bool) -> None:
        """Let the commands beside the daemon know that a part waits for room; that needs none itself."""
        with self._lock:
            (self._full.add if is_full else self._full.discard)(part)
            if self._hold is not None:
                mark_hold(self._hold, is_full=bool(self._full))

    def _do(self, name: str, **values: Any) -> sqlite3.Cursor:
        with self._lock:
            try:
                return self._connection.execute(self._sql[name], values)
            except sqlite3.OperationalError as error:
                raise self._heed(error) from None

    def _all(self, name: str, **values: Any) -> list[JournalRow]:
        with self._lock:
            try:
                return self._connection.execute(self._sql[name], values).fetchall()
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                heeded = self._heed(error)
                raise (unreadable(error, self.path) if heeded is error else heeded) from None

    def _heed(self, error: BaseException) -> BaseException:
        """What is to be raised for an error; one of the disk is told to whom it concerns."""
        if self._tells_of_full_disk(error):
            hint = "make room on its disk, or raise the quota: what is to be written waits"
            return JournalFull(Problem("the journal's disk is full", self.path, hint))
        if _is_disk_failure(error):
            self._on_disk_failure(error.sqlite_errorname)
        return error

    def _tells_of_full_disk(self, error: BaseException) -> bool:
        """SQLite takes an exceeded quota for a broken disk. The failed write is not tried again to find out."""
        code = getattr(error, "sqlite_errorcode", 0) if isinstance(error, sqlite3.Error) else 0
        return code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR_WRITE and has_no_room(self.path))

    def _one(self, name: str, **values: Any) -> JournalRow | None:
        rows = self._all(name, **values)
        return rows[0] if rows else None

    # --- reading for people ------------------------------------------------------------------------------

    def query(self, name: str, **values: Any) -> list[JournalRow]:
        """A named reading query of `journal.sql`; the read model is built from these."""
        return self._all(name, **values)

    def query_undecoded(self, name: str, **values: Any) -> list[JournalRow]:
        """The same, of a file in which text may have rotted: bytes that are no UTF-8 come as lone surrogates."""
        with self._lock:
            self._connection.text_factory = _as_it_is
            try:
                return self._all(name, **values)
            finally:
                self._connection.text_factory = str


def _as_it_is(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def seal_of(table: str, *values: str | bytes | float | None) -> str:
    """The seal of a row of a table: a checksum over the values of its other columns, in their order."""
    # Numbers as floats: what is bound as 1 comes back from a REAL column as 1.0.
    row = [float(value) if isinstance(value, int) else value for value in values]
    return blake2b(_encode((table, row)), digest_size=8).hexdigest()


def checksum_of(body: bytes) -> str:
    """The checksum of an outbox entry's body, which stands beside it and never changes."""
    return blake2b(body, digest_size=16).hexdigest()


def is_sealed(table: str, row: JournalRow) -> bool:
    """Whether a whole row of a table (`SELECT *`) is what was written."""
    seal: str = row["seal"]
    try:
        return seal_of(table, *(row[name] for name in row.keys() if name != "seal")) == seal  # noqa: SIM118 - no mapping
    except UnicodeEncodeError:  # what came as lone surrogates is no text that was written
        return False


def unreadable(error: sqlite3.DatabaseError | UnicodeDecodeError, path: str) -> AgentError:
    """What SQLite could not do with the journal, in the words of this house.

    It quotes a schema that has rotted in what it complains of, which may be no text any more.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    what = f"the journal cannot be read: {error}"
    if isinstance(error, UnicodeDecodeError):
        code, what = sqlite3.SQLITE_CORRUPT, "the journal cannot be read: its schema is no text"
    if code in _PASSING:
        return AgentError(Problem(what, path))
    if code in _DAMAGED:
        hint = "start the agent, which salvages it, or let `proton-tf-agent journal verify` say what is wrong"
        return JournalDamaged(Problem(what, path, hint))
    return JournalUnusable(Problem(what, path))


@contextmanager
def in_words(path: str) -> Iterator[None]:
    """Let what SQLite raises about a journal come as `unreadable` says it."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise unreadable(error, path) from None


def _is_disk_failure(error: BaseException) -> TypeGuard[sqlite3.Error]:
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR


def _missing(path: str) -> JournalUnusable:
    return JournalUnusable(Problem("there is no journal yet", path, "has the agent been started once?"))
