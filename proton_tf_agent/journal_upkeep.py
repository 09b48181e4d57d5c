"""What is done to a journal that has grown: entries given up by name, and what is old let go.

Which entries and which runs is decided elsewhere (`discard`, `retention`). Here the rows change, each with its seal, in
transactions that the daemon and the command line may both make.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from .domain.outbox import EntryState
from .journal_store import Store


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
                self._do("seal_attempts", seq=seq)
            return True
