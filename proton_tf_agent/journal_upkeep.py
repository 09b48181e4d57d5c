"""What is done to a journal that has grown: entries given up by name, and what is old let go.

Which entries and which runs is decided elsewhere (`discard`, `retention`). Here the rows change, each with its seal, in
transactions that the daemon and the command line may both make.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from .domain.outbox import EntryState
from .journal_store import Store

PIECE = 500  # rows let go in one transaction
_RUNS_AT_ONCE = 100
_EVERY_RUN = -1  # a LIMIT


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows were let go, or would be."""

    runs: int = 0
    evidence: int = 0
    entries: int = 0
    attempts: int = 0

    @property
    def rows(self) -> int:
        return self.runs + self.evidence + self.entries + self.attempts

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(
            self.runs + other.runs, self.evidence + other.evidence, self.entries + other.entries,
            self.attempts + other.attempts,
        )  # fmt: skip


class Upkeep(Store):
    """The part of a journal that forgets."""

    def discard(self, seq: int, states: Collection[EntryState], reason: str, now: float) -> bool:
        """Give up an entry that is in one of these states; False when it is in none of them any more.

        A request for it that a dead agent has left under way counts as interrupted.
        """
        with self.transaction():
            if not self._do("discard", seq=seq, states=json.dumps(list(states)), reason=reason, now=now).rowcount:
                return False
            self._do("seal_entry", seq=seq)
            if self._do("interrupt_attempts_of", seq=seq, now=now).rowcount:
                self._do("seal_attempts_of", seq=seq)
            return True

    # --- letting go ------------------------------------------------------------------------------------------

    def prune(self, before: float, limit: int = PIECE) -> Pruned:
        """Let go of the oldest of what may be: runs that were over before a wall-clock second, whole, with everything
        about them. One transaction of at most `limit` rows, but that what was told about a run goes together with it.

        A run may go when all that was told about it is done, and, for every sink, a run that began after its end has
        told its own: should its log come back, what it has to say is known to come too late. So the last word about a
        resource always stays.
        """
        done = Pruned()
        with self.transaction():
            for row in self._prunable(before, _RUNS_AT_ONCE):
                done += Pruned(evidence=self._do("prune_evidence", limit=limit - done.rows, **row).rowcount)
                whole = self._told_about(row["run_id"])
                if done.rows + whole.rows > limit and done.rows:
                    break
                self._do("prune_attempts", **row)
                self._do("prune_entries", **row)
                self._do("delete_run", **row)
                done += whole
        return done

    def prune_all(self, before: float) -> Pruned:
        """Everything that may go, piece by piece."""
        done = Pruned()
        while (piece := self.prune(before)).rows:
            done += piece
        return done

    def prunable(self, before: float) -> Pruned:
        """What `prune` would let go of altogether."""
        done = Pruned()
        for row in self._prunable(before, _EVERY_RUN):
            evidence = self._all("count_evidence", **row)[0][0]
            done += self._told_about(row["run_id"]) + Pruned(evidence=evidence)
        return done

    def _prunable(self, before: float, limit: int) -> list[dict[str, str]]:
        rows = self._all("prunable_runs", before=before, limit=limit)
        rows = rows or self._all("prunable_entries_of_nobody", before=before, limit=limit)
        return [{"run_id": row["run_id"]} for row in rows]

    def _told_about(self, run_id: str) -> Pruned:
        (row,) = self._all("count_told", run_id=run_id)
        return Pruned(runs=row["runs"], entries=row["entries"], attempts=row["attempts"])

    def entries_kept(self) -> int:
        """How many entries the outbox holds."""
        return int(self._all("count_entries")[0][0])

    def untold(self) -> tuple[int, int]:
        """How many entries wait or are on their way, and how many are parked."""
        waiting, parked = (sum(row["entries"] for row in self._all(name)) for name in ("count_active", "count_parked"))
        return waiting, parked

    def bytes_kept(self) -> int:
        """How much of the file is in use, besides the reserve. What was let go is written over; only `vacuum` makes the
        file smaller."""
        (row,) = self._all("count_bytes")
        return int(row["bytes"])

    def vacuum(self) -> None:
        """Write the file anew without what was let go. For who holds the journal alone: it may take long."""
        self._all("vacuum")
