"""Retention: how much of what is over and done the journal keeps, and when the rest goes.

Once an hour what is too old, too many or too large goes, oldest runs first, in pieces between the looks of the agent.
What must stay whatever the limits say is `Upkeep.prune`'s to know: what waits, what is parked, and each resource's last
word. The file does not become smaller by this; what is let go is written over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from .domain.errors import JournalFull
from .journal import Journal
from .journal_upkeep import Pruned

EVERY_S = 3600.0
DAY_S = 86_400.0
_FEW = 20  # rows


@dataclass(frozen=True, slots=True)
class Limits:
    """Days, entries and bytes that are kept; 0 is no limit."""

    days: int = 0
    rows: int = 0
    bytes: int = 0


class Retention:
    """Lets go of what is beyond the limits, a piece a turn.

    clock gives wall-clock seconds, ticks seconds that only go forward; tell hears `journal.pruned` when something went.
    """

    def __init__(
        self,
        journal: Journal,
        limits: Limits,
        tell: Callable[[str, Mapping[str, object]], None],
        clock: Callable[[], float],
        ticks: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._limits = limits
        self._tell = tell
        self._clock = clock
        self._ticks = ticks
        self._due_at = ticks()
        self._gone = Pruned()

    def turn(self) -> None:
        """One piece, if it is time; when nothing is left to go, the next hour begins."""
        if self._ticks() < self._due_at:
            return
        piece = self._piece()
        self._gone += piece
        if piece.rows:
            return
        if self._gone.rows:
            self._tell("journal.pruned", asdict(self._gone))
        self._gone = Pruned()
        self._due_at = self._ticks() + EVERY_S

    def _piece(self) -> Pruned:
        now, limits = self._clock(), self._limits
        piece = Pruned()
        if limits.days:
            piece = self._prune(now - limits.days * DAY_S)
        too_many = limits.rows and self._journal.entries_kept() > limits.rows
        if not piece.rows and (too_many or (limits.bytes and self._journal.bytes_kept() > limits.bytes)):
            piece = self._prune(now)
        return piece

    def _prune(self, before: float) -> Pruned:
        """One piece; a small one where the disk is full, for what goes is copied first so that it may come back."""
        try:
            return self._journal.prune(before)
        except JournalFull:
            return self._journal.prune(before, _FEW)
