"""The journal: one SQLite file that holds cursors, runs, evidence, the outbox and every attempt.

Everything that belongs together commits together (`transaction`), so a crash between any two steps leaves either
all of it or nothing. `journal_mode=PERSIST, synchronous=EXTRA`: what COMMIT returned for survives power loss on
storage that honours fsync, and several writers (daemon and command line) are safe on every SQLite
(docs/decisions/0003-journal.md). All SQL stands in `journal.sql`, by name.

One `Journal` may be used from several threads: it serialises them. The daemon additionally holds an flock, so that
a second daemon on the same journal refuses to start (`journal_file`).

Over 400 lines because every write and every query of the one file belongs together here.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeGuard

import msgspec

from .domain.binding import Binding, Unbound
from .domain.errors import AgentError, JournalUnusable, Problem
from .domain.evidence import Cursor, Fact
from .domain.notification import Notification
from .domain.outbox import MAX_RETRY_WAIT_S, Entry, EntryState, Outcome, Settled
from .domain.run import Run, RunStatus, Transition
from .journal_file import (
    create_private_file,
    make_private_directory,
    refuse_wide_mode,
    sync_directory,
    take_hold,
)

SCHEMA_VERSION = 3
_OLDEST_VERSION = 1  # that `migrate_*` of journal.sql can bring up to date
_PLANS = (RunStatus.PLANNING, RunStatus.PLANNED, RunStatus.PLANNED_AND_FINISHED)
_APPLICATION_ID = 0x50544641  # "PTFA"
_BUSY_TIMEOUT_S = 10.0
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)

OnDiskFailure = Callable[[str], None]
JournalRow = sqlite3.Row  # a row of a named query, its columns by name

_decode_run = msgspec.json.Decoder(Run).decode
_decode_binding = msgspec.json.Decoder(Binding).decode
_decode_notification = msgspec.json.Decoder(Notification).decode
_decode_cursor = msgspec.json.Decoder(Cursor).decode
_encode = msgspec.json.encode


def _queries() -> Mapping[str, str]:
    _, *parts = _NAME.split(files(__package__).joinpath("journal.sql").read_text("utf-8"))
    return dict(zip(parts[::2], parts[1::2], strict=True))


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run as the journal holds it, with its binding or the reason why it has none.

    silence: why no outcome was told when the run ended; empty while it is open and where one was told.
    """

    run: Run
    binding: Binding | Unbound
    silence: str = ""


class Journal:
    """An open journal. Use as a context manager or call close."""

    def __init__(
        self, path: str, connection: sqlite3.Connection, hold: int | None, on_disk_failure: OnDiskFailure
    ) -> None:
        self.path = path
        self._connection = connection
        self._hold = hold
        self._on_disk_failure = on_disk_failure
        self._lock = threading.RLock()
        self._sql = _queries()

    # --- opening and closing -----------------------------------------------------------------------------

    @classmethod
    def open_as_daemon(cls, path: str, on_disk_failure: OnDiskFailure = lambda _failure: None) -> Journal:
        """Create the journal if need be and hold it: JournalHeld when another daemon does.

        on_disk_failure is called with the name of an I/O error, in the thread that met it and before any thread can use
        the journal again: an fsync that is tried again may return although what it is about is lost.
        """
        make_private_directory(os.path.dirname(path))
        hold = take_hold(path)
        try:
            create_private_file(path)
            return cls._open(path, hold, on_disk_failure)
        except BaseException:
            os.close(hold)
            raise

    @classmethod
    def open_existing(cls, path: str) -> Journal:
        """Open a journal beside the daemon, to read it or to add a row under the same rules."""
        if not os.path.exists(path):
            raise _missing(path)
        return cls._open(path, None)

    @classmethod
    def _open(cls, path: str, hold: int | None, on_disk_failure: OnDiskFailure = lambda _failure: None) -> Journal:
        refuse_wide_mode(path)
        connection = None
        try:
            connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            connection.row_factory = sqlite3.Row
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
            return journal
        except BaseException as error:
            if _is_disk_failure(error):
                on_disk_failure(error.sqlite_errorname)
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise _unreadable(error, path) from None
            raise

    def _pragma(self, name: str) -> int:
        value: int = self._connection.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    def _is_empty(self) -> bool:
        nobodys = self._pragma("user_version") == 0 and self._pragma("application_id") == 0
        return nobodys and not self._connection.execute("SELECT 1 FROM sqlite_master").fetchone()

    def _create(self) -> None:
        if self._hold is None:  # only who holds a journal may make one
            raise _missing(self.path)
        self._connection.executescript(
            f"BEGIN IMMEDIATE;{self._sql['schema']}"
            f"PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )

    def _migrate(self) -> None:
        """Bring a journal of an older agent up to date: each step commits as a whole, and the old file is kept."""
        version = self._pragma("user_version")
        if version == SCHEMA_VERSION:
            return
        self._back_up(f"{self.path}.v{version}")
        for step in range(version, SCHEMA_VERSION):
            self._connection.executescript(
                f"BEGIN IMMEDIATE;{self._sql[f'migrate_{step}_to_{step + 1}']};PRAGMA user_version = {step + 1};COMMIT;"
            )

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
        if self._pragma("application_id") != _APPLICATION_ID:
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

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # --- transactions ------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Other threads wait; other processes wait up to ten seconds."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except BaseException as error:
                self._heed(error)
                if self._connection.in_transaction:  # SQLite has rolled back by itself when the disk is full
                    self._connection.execute("ROLLBACK")
                raise

    def _do(self, name: str, **values: Any) -> sqlite3.Cursor:
        with self._lock:
            try:
                return self._connection.execute(self._sql[name], values)
            except sqlite3.OperationalError as error:
                self._heed(error)
                raise

    def _all(self, name: str, **values: Any) -> list[JournalRow]:
        with self._lock:
            try:
                return self._connection.execute(self._sql[name], values).fetchall()
            except sqlite3.DatabaseError as error:
                self._heed(error)
                raise _unreadable(error, self.path) from None

    def _heed(self, error: BaseException) -> None:
        if _is_disk_failure(error):
            self._on_disk_failure(error.sqlite_errorname)

    def _one(self, name: str, **values: Any) -> JournalRow | None:
        rows = self._all(name, **values)
        return rows[0] if rows else None

    # --- meta and cursors --------------------------------------------------------------------------------

    def first_seen(self, root: str, now: float) -> float:
        """When this journal first heard of a watch root; now, if it is new."""
        key = f"first_seen:{root}"
        self._do("put_meta_once", key=key, value=repr(now))
        row = self._one("meta", key=key)
        return float(row["value"]) if row else now

    def boot_id(self) -> str:
        """The machine's boot in which this journal was last worked on; empty when none was kept."""
        row = self._one("meta", key="boot_id")
        return str(row["value"]) if row else ""

    def put_boot_id(self, boot_id: str) -> None:
        """Keep the machine's present boot."""
        self._do("put_meta", key="boot_id", value=boot_id)

    def cursors(self) -> dict[str, Cursor]:
        """Every cursor by path."""
        return {cursor.path: cursor for (body,) in self._all("cursors") for cursor in (_decode_cursor(body),)}

    def put_cursor(self, cursor: Cursor) -> None:
        """Advance a cursor."""
        self._do("put_cursor", path=cursor.path, body=_encode(cursor))

    def forget_cursor(self, path: str) -> None:
        """Drop the cursor of a file that is gone."""
        self._do("forget_cursor", path=path)

    # --- runs and evidence -------------------------------------------------------------------------------

    def put_run(self, recorded: Recorded) -> None:
        """Write a run as it stands now. To the index of what is not over, a run whose verdict waits is open."""
        run, binding = recorded.run, recorded.binding
        bound = binding if isinstance(binding, Binding) else None
        self._do(
            "put_run",
            run_id=run.run_id, directory=run.directory, workspace=run.workspace, status=run.status.value,
            started_at=run.started_at, ended_at=None if run.verdict else run.ended_at,
            anchor=run.anchor, lock_id=run.lock_id, record_id=run.wrapped.record_id if run.wrapped else "",
            resource_arn=bound.resource_arn if bound else None,
            deployment_id=bound.deployment_id if bound else None,
            binding=_encode(bound) if bound else None,
            unbound_reason=binding.reason if isinstance(binding, Unbound) else "",
            silence=recorded.silence, body=_encode(run),
        )  # fmt: skip

    def delete_run(self, run_id: str) -> None:
        """Forget what turned out to be no run."""
        self._do("delete_evidence_of_run", run_id=run_id)
        self._do("delete_run", run_id=run_id)

    def open_runs(self) -> list[Recorded]:
        """Runs without a final status, and ended ones of which proof has come that still waits; oldest first."""
        return [_recorded(row) for row in self._all("open_runs")]

    def run(self, run_id: str) -> Recorded | None:
        """One run."""
        row = self._one("run", run_id=run_id)
        return _recorded(row) if row else None

    def runs_known_as(self, anchor: str = "", lock_id: str = "", record_id: str = "") -> list[Recorded]:
        """Runs, open or ended, with this log anchor, this lock id or this record of a wrapper."""
        rows = self._all("run_by_anchor", anchor=anchor) if anchor else []
        rows += self._all("run_by_lock", lock_id=lock_id) if lock_id else []
        rows += self._all("run_by_record", record_id=record_id) if record_id else []
        return [_recorded(row) for row in rows]

    def runs(self, limit: int, directory: str | None = None) -> list[Recorded]:
        """The newest runs first, of one directory if given; of those that began at once the one last heard of first."""
        name = "runs" if directory is None else "runs_in"
        values = {"limit": limit} if directory is None else {"limit": limit, "directory": directory}
        return [_recorded(row) for row in self._all(name, **values)]

    def runs_around(self, directory: str, before: float, limit: int) -> list[Recorded]:
        """The newest runs of a directory and those below it that began before a moment, newest first."""
        values = {"directory": directory, "below": directory.rstrip("/") + "/", "behind": directory.rstrip("/") + "0"}
        return [_recorded(row) for row in self._all("runs_around", before=before, limit=limit, **values)]

    def put_evidence(
        self, run_id: str, source: str, path: str, fact: Fact, made: Transition | None, now: float
    ) -> None:
        """Keep a fact for `explain`, with where it stands in its log and the transition it made."""
        evidence = fact.evidence
        self._do(
            "put_evidence",
            run_id=run_id, at=now, source=source, path=path, position=fact.position,
            kind=type(evidence).__name__, fields=_encode(evidence),
            status=made.status.value if made else None, reason=made.reason if made else None,
        )  # fmt: skip

    def evidence_of(self, run_id: str) -> list[JournalRow]:
        """A run's story, oldest first."""
        return self._all("evidence_of_run", run_id=run_id)

    def last_seen(self, run_id: str, *kinds: type) -> float | None:
        """When facts of these kinds were last noted of a run; None when none was."""
        found = (self._one("last_of_kind", run_id=run_id, kind=kind.__name__) for kind in kinds)
        return max((row["at"] for row in found if row and row["at"] is not None), default=None)

    # --- the outbox --------------------------------------------------------------------------------------

    def enqueue(
        self,
        notification: Notification,
        sink: str,
        now: float,
        objection: str = "",
        was_over: Callable[[str], bool] = lambda _later: True,
    ) -> tuple[int, list[str]]:
        """Add a notification for a sink, unless it is there already; call inside a transaction.

        On an idle line the daemon's entry is written as `sending` at once: one commit between disk and wire. objection
        parks it; what is not sent supersedes nothing. was_over: whether the run was over when another began, by its id.
        Once a run that began then has told its end, what the earlier run has to say is kept as superseded; so is what
        a plan has to say of a deployment whose end was told since the plan began. Returns the seq of an entry that is
        to be told (0 when there is none) and the notifications that were superseded.
        """
        if self._one("notification_exists", notification_id=notification.notification_id, sink=sink):
            return 0, []
        line = {"sink": sink, "resource_arn": notification.resource_arn}
        ends = self._all(
            "overtaken_by", **line, run_id=notification.run_id, deployment_id=notification.deployment_id,
            run_started_at=notification.run_started_at, plans=notification.run_status in _PLANS,
        )  # fmt: skip
        later = next((row for row in ends if row["done"] or was_over(row["run_id"])), None)
        if later:
            superseded = EntryState.SUPERSEDED
            self._insert_entry(notification, sink, superseded, now, "superseded", superseded_by=later["seq"])
            return 0, [notification.notification_id]
        # Who does not hold the journal sends nothing: the daemon does, at its next tick or when it starts.
        idle = self._hold is not None and not objection and not self._one("line_is_busy", **line)
        state = EntryState.PARKED if objection else EntryState.SENDING if idle else EntryState.PENDING
        seq = self._insert_entry(notification, sink, state, now, objection)
        if idle:
            self._do("put_attempt", seq=seq, started_at=now)
        if objection:
            return seq, []
        earlier = self._all(
            "supersede", **line, seq=seq, now=now, deployment_id=notification.deployment_id,
            run_started_at=notification.run_started_at,
        )  # fmt: skip
        return seq, [row["notification_id"] for row in earlier]

    def replay(self, original: JournalRow, now: float) -> int:
        """Append a new entry with the same content behind everything its line holds; returns its seq."""
        with self.transaction():
            notification = _decode_notification(original["body"])
            return self._insert_entry(
                notification, original["sink"], EntryState.PENDING, now, "replayed",
                replay_of=original["seq"], body=original["body"],
            )  # fmt: skip

    def _insert_entry(
        self,
        notification: Notification,
        sink: str,
        state: EntryState,
        now: float,
        reason: str,
        *,
        superseded_by: int | None = None,
        replay_of: int | None = None,
        body: bytes | None = None,  # as an older agent has written it
    ) -> int:
        body = _encode(notification) if body is None else body
        cursor = self._do(
            "enqueue",
            notification_id=notification.notification_id, run_id=notification.run_id, sink=sink,
            resource_arn=notification.resource_arn, deployment_id=notification.deployment_id,
            status=notification.status.value, body=body, checksum=_checksum(body), state=state.value,
            attempts=int(state is EntryState.SENDING), due_at=now, reason=reason, created_at=now,
            run_started_at=notification.run_started_at, settled_at=now if state in _SETTLED else None,
            superseded_by=superseded_by, replay_of=replay_of,
        )  # fmt: skip
        assert cursor.lastrowid is not None  # noqa: S101 - an INSERT that returned has one
        return cursor.lastrowid

    def due_heads(self, sinks: Collection[str], now: float, limit: int) -> list[Entry]:
        """The first active entry of every line to one of the sinks that is due, oldest first, at most limit.

        An entry whose checksum does not hold is parked and left out. Entries for a sink that the settings no longer
        name stay as they are.
        """
        entries = []
        for row in self._all(
            "heads", sinks=_encode(list(sinks)).decode(), now=now, furthest=MAX_RETRY_WAIT_S, limit=limit
        ):
            if is_damaged(row):
                self._do("park_damaged", seq=row["seq"], now=now)
                continue
            entries.append(
                Entry(
                    row["seq"], row["sink"], _decode_notification(row["body"]), EntryState(row["state"]),
                    row["attempts"], row["due_at"], row["reason"], row["replay_of"],
                )
            )  # fmt: skip
        return entries

    def next_due_at(self, now: float) -> float | None:
        """When the next retry that is not due yet becomes due, in wall-clock seconds."""
        row = self._one("next_due", now=now)
        return row["due_at"] if row else None

    def begin_attempt(self, seq: int, now: float) -> bool:
        """Commit that a request is about to leave; False when its entry has been superseded meanwhile."""
        with self.transaction():
            if not self._do("begin_attempt", seq=seq).rowcount:
                return False
            self._do("put_attempt", seq=seq, started_at=now)
            return True

    def finish_attempt(self, seq: int, outcome: Outcome, settled: Settled, now: float) -> None:
        """Commit what came of an attempt and what becomes of its entry."""
        with self.transaction():
            self._do(
                "finish_attempt",
                seq=seq, now=now, outcome=outcome.kind.value, code=outcome.code, http_status=outcome.http_status,
                request_id=outcome.request_id, ambiguous=int(outcome.ambiguous),
            )  # fmt: skip
            final = settled.state is not EntryState.RETRYABLE
            self._do(
                "settle",
                seq=seq, state=settled.state.value, due_at=settled.due_at, reason=settled.reason,
                settled_at=now if final else None,
            )  # fmt: skip

    def resume_after_crash(self, now: float) -> int:
        """Make entries that were on the wire when the agent died due again; returns how many."""
        with self.transaction():
            self._do("interrupt_attempts", now=now)
            return self._do("resume_sending", now=now).rowcount

    # --- reading for people ------------------------------------------------------------------------------

    def query(self, name: str, **values: Any) -> list[JournalRow]:
        """A named reading query of `journal.sql`; the read model is built from these."""
        return self._all(name, **values)


_SETTLED = (EntryState.PARKED, EntryState.SUPERSEDED)
_PRAGMAS = (
    "journal_mode = PERSIST",
    "synchronous = EXTRA",
    "journal_size_limit = 2097152",
    "foreign_keys = ON",
    "trusted_schema = OFF",
    "cell_size_check = ON",
    "secure_delete = ON",
    "temp_store = MEMORY",
)


def notification_of(body: bytes) -> Notification:
    """The notification in an outbox row's body."""
    return _decode_notification(body)


def is_damaged(row: JournalRow) -> bool:
    """Whether an outbox row's body is not what was written; it must not be believed then."""
    checksum: str = row["checksum"]
    return _checksum(row["body"]) != checksum


def _recorded(row: JournalRow) -> Recorded:
    binding = _decode_binding(row["binding"]) if row["binding"] else Unbound(row["unbound_reason"])
    return Recorded(_decode_run(row["body"]), binding, row["silence"])


def _checksum(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def _is_disk_failure(error: BaseException) -> TypeGuard[sqlite3.Error]:
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR


def _missing(path: str) -> JournalUnusable:
    return JournalUnusable(Problem("there is no journal yet", path, "has the agent been started once?"))


def _unreadable(error: sqlite3.DatabaseError, path: str) -> AgentError:
    problem = Problem(f"the journal cannot be read: {error}", path)
    return AgentError(problem) if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING else JournalUnusable(problem)
