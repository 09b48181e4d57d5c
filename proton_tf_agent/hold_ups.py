"""Which looks must wait for a log that is not read to its end yet: those in its directory, and for a while those below.

What ended a run must be known before the next run is told, and a run may write its log above the directory it locks
(`terraform -chdir=prod apply > apply.log`). But whoever lets a log grow for ever may hold up his own directory alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from .sources.watch import Touched

BELOW_S = 10.0  # seconds for which what lies below waits


def above(directory: str) -> Iterator[str]:
    """The directories that a directory lies in, from within."""
    while (parent := os.path.dirname(directory)) != directory:
        yield parent
        directory = parent


class Directories:
    """Directories in which something is left to be read."""

    def __init__(self, is_late: Callable[[Touched], bool]) -> None:
        self._is_late = is_late
        self._alone: set[str] = set()
        self._with_all_below: set[str] = set()

    def add(self, look: Touched) -> None:
        """Something is left of what was looked at."""
        self._alone.add(look.place.directory)
        if not self._is_late(look):
            self._with_all_below.add(look.place.directory)

    def hold_up(self, directory: str) -> bool:
        """Whether what is in a directory must wait."""
        if directory in self._alone:
            return True
        return bool(self._with_all_below) and any(each in self._with_all_below for each in above(directory))


class HoldUps:
    """Remembers since when something of a log is left. ticks: seconds that only go forward."""

    def __init__(self, ticks: Callable[[], float]) -> None:
        self._ticks = ticks
        self._since: dict[str, float] = {}

    def of(self, left: Iterable[Touched] = ()) -> Directories:
        """The directories that looks of which something is left hold up."""
        now = self._ticks()
        directories = Directories(lambda look: now - self._since.get(look.path, now) >= BELOW_S)
        for look in left:
            directories.add(look)
        return directories

    def keep(self, left: Iterable[Touched]) -> None:
        """Of these looks something is left now; of all others nothing is."""
        now = self._ticks()
        self._since = {look.path: self._since.get(look.path, now) for look in left}
