"""Room for what is to be written: who has none left says so once, waits, and says once more when there is room again.

`journal_reserve` is what comes between a full disk and this. A part of the agent that has met JournalFull leaves its
work as it is, and asks here every now and then whether it may go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .journal import Journal, Part

Tell = Callable[[str, Mapping[str, object]], None]


class JournalRoom:
    """The room for one part of the agent. Not thread-safe: one thread owns it."""

    def __init__(self, journal: Journal, part: Part, tell: Tell) -> None:
        self._journal = journal
        self._part = part
        self._tell = tell
        self._is_short = False
        self.is_used_up = False

    @property
    def is_missing(self) -> bool:
        """Whether any part of the agent waits for room."""
        return self._journal.is_full

    def used_up(self) -> None:
        """There is none left: the journal has raised JournalFull."""
        if not self.is_used_up:
            self.is_used_up = True
            self._journal.mark_full(self._part, True)
            self._tell("journal.full", {"journal": self._journal.path, "part": self._part.value})

    def has_returned(self) -> bool:
        """Whether there is room (again); fetches for the reserve what it lacks."""
        if not self._journal.refill(self._part):
            return False
        if self.is_used_up:
            self.is_used_up = False
            self._journal.mark_full(self._part, False)
            self._tell("journal.recovered", {"journal": self._journal.path, "part": self._part.value})
        return True

    def keep(self) -> None:
        """Fetch for the reserve what it lacks; say when there is no room for that, and when there is again."""
        self._journal.refill(self._part)
        is_short = not self._journal.is_reserve_whole
        if is_short and not self._is_short:
            self._tell("journal.short", {"journal": self._journal.path})
        if self._is_short and not is_short:
            self._tell("journal.refilled", {"journal": self._journal.path})
        self._is_short = is_short
