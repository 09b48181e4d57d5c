"""The journal as who only reads it has it: runs and pauses as the domain knows them, everything else as rows.

Commands that tell a person how things are open this and no more. What is decided and delivered (`journal`) is not even
imported for them: that takes as long as their answer.
"""

from __future__ import annotations

import os

import msgspec

from .domain.binding import Binding, Unbound
from .domain.notification import Notification
from .domain.run import Run
from .domain.values import Struct
from .journal_store import JournalRow, Store, checksum_of

__all__ = ["JournalReader", "JournalRow", "Pause", "Recorded", "is_damaged", "notification_of"]

_decode_run = msgspec.json.Decoder(Run).decode
_decode_binding = msgspec.json.Decoder(Binding).decode
_decode_notification = msgspec.json.Decoder(Notification).decode


class Recorded(Struct, frozen=True):
    """A run as the journal holds it, with its binding or the reason why it has none.

    silence: why no outcome was told when the run ended; empty while it is open and where one was told.
    """

    run: Run
    binding: Binding | Unbound
    silence: str = ""


class Pause(Struct, frozen=True):
    """That a person has paused a sink: since which wall-clock second, who, and why (may be empty)."""

    since: float
    who: str
    reason: str


_decode_pause = msgspec.json.Decoder(Pause).decode


class JournalReader(Store):
    """An open journal, to be read; see `Store` for how it is opened."""

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

    def evidence_of(self, run_id: str) -> list[JournalRow]:
        """A run's story, oldest first."""
        return self._all("evidence_of_run", run_id=run_id)

    def pauses(self) -> dict[str, Pause]:
        """The sinks that are paused, by name. Commands write them beside the daemon; it looks at every turn."""
        return {row["sink"]: _decode_pause(row["value"]) for row in self._all("pauses")}

    def size(self) -> int:
        """Bytes of the file, in use or not."""
        return os.stat(self.path).st_size


def notification_of(body: bytes) -> Notification:
    """The notification in an outbox row's body."""
    return _decode_notification(body)


def is_damaged(row: JournalRow) -> bool:
    """Whether an outbox row's body is not what was written; it must not be believed then."""
    checksum: str = row["checksum"]
    return checksum_of(row["body"]) != checksum


def _recorded(row: JournalRow) -> Recorded:
    binding = _decode_binding(row["binding"]) if row["binding"] else Unbound(row["unbound_reason"])
    return Recorded(_decode_run(row["body"]), binding, row["silence"])
