"""What the observer has seen since it last handed on what it saw, and what belongs to that."""

from __future__ import annotations

from collections import ChainMap

from .domain.cursors import Cursor, Cursors
from .domain.evidence import Observation
from .hold_ups import above
from .log_names import NotYet
from .sources.place import Kind
from .sources.watch import Touched


class Batch:
    """What was seen since the last commit; cursors are those of the pipeline, advanced by what was seen here.

    What belongs together is told in one order, so a batch may be cut only between the directories it is about.
    """

    def __init__(self, cursors: Cursors) -> None:
        self.news = Cursors()
        self.cursors: ChainMap[str, Cursor] = ChainMap(self.news, cursors)
        self.observations: list[Observation] = []
        self.bound: set[str] = set()  # directories with word of whose they are
        self.looked_at: set[str] = set()
        self.facts = 0
        self.surrounded: dict[str, str] = {}  # logs before which those around them are read, and where that is
        self.is_awaited = False  # a log cannot be told from another before what was seen of that is journaled
        self._directories: set[str] = set()
        self._above: set[str] = set()

    def note(self, look: Touched) -> None:
        """A look is made: what else lies in its directory belongs to this batch."""
        self._directories.add(look.place.directory)
        self._above.update(above(look.place.directory))

    def put_off(self, look: Touched, reason: NotYet) -> bool:
        """What a file is cannot be known yet; returns whether it is to be looked at in the next batch."""
        self.is_awaited |= reason.soon
        if reason.around:
            self.surrounded[look.path] = look.place.directory
        return reason.soon

    def is_about(self, look: Touched) -> bool:
        """Whether a look may be about a run of which this batch has seen something: a log may lie above the directory
        that its run has locked. A batch that has seen nothing yet is about whatever comes."""
        directory = look.place.directory
        if look.place.kind is Kind.LOG and directory in self._above:
            return True
        return not self._directories or any(each in self._directories for each in (directory, *above(directory)))

    def add(self, observation: Observation) -> None:
        """Keep an observation, and read on behind it from now on."""
        self.observations.append(observation)
        self.looked_at.add(observation.path)
        self.facts += len(observation.facts)
        if observation.cursor is not None:
            self.cursors[observation.path] = observation.cursor

    def where(self, *kinds: type) -> list[str]:
        """The directories of which something of one of these kinds was seen, each once, in that order."""
        return list(dict.fromkeys(seen.directory for seen in self.observations if seen.tells(*kinds)))
