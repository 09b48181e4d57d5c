"""How the daemon takes up a journal: checked before it is used, salvaged when it is damaged, checked whole each day.

How closely it is looked at when the daemon starts is decided here. What is open always is: that is what work goes on
from, and it costs milliseconds. The whole file is read only when the last daemon did not end in order: SQLite's quick
check takes 0.3 s for 100,000 entries (375 MB) that are in memory, as they are when a process was killed, and as long
as the disk needs after power loss, when rot is likeliest. Every row is looked at when a daemon has ended with an error,
and else once a day beside the work, 6 s for the same journal.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from .domain.errors import AgentError, JournalDamaged, Problem
from .journal import Journal, JournalRow
from .journal_check import Depth, damage
from .journal_memory import Memory, recall
from .journal_salvage import salvage, set_aside
from .journal_store import OnDiskFailure, Store
from .journal_verify import Finding, rot
from .telemetry import notify_systemd

CHECK_EVERY_S = 86_400.0
_AT_MOST_TO_SALVAGE_S = 600  # for systemd; 100,000 entries take half a minute
_AT_MOST_S = 5.0  # for one look: a commit waits for who reads, and gives up after ten seconds
_INTERRUPTED = "interrupted"

Tell = Callable[[str, Mapping[str, object]], None]


def take_up(
    path: str, tell: Tell, now: float, on_disk_failure: OnDiskFailure = lambda _failure: None, reserve: int = 0
) -> Journal:
    """Open the journal as its daemon, made or salvaged if need be; `tell` hears of it.

    Raises as `Journal.open_as_daemon` does; JournalUnusable as well for damage of which nothing can be salvaged.
    """

    changes: dict[str, Any] = {"ended_well": False, "suspect": False}
    at_least = Depth.OPEN

    def prepare(hold: int) -> None:
        memory = recall(hold)
        if not _has_content(path):
            if memory is not None:
                aside = set_aside(path) + "-journal"
                tell("journal.renewed", {"journal": path, "aside": aside if os.path.exists(aside) else None})
            changes.update(first_seen={}, checked_at=now)
            return
        reason = damage(path, max(_depth(memory), at_least))
        if reason:
            notify_systemd(f"EXTEND_TIMEOUT_USEC={_AT_MOST_TO_SALVAGE_S * 1_000_000}")
            salvaged = salvage(path, hold, memory or Memory())
            tell("journal.salvaged", {
                "aside": salvaged.aside, "reason": reason, "kept": sum(salvaged.kept.values()),
                "lost": sum(salvaged.lost.values()), "lost_by_table": salvaged.lost or None,
            })  # fmt: skip
            changes.update(checked_at=now)

    try:
        journal = Journal.open_as_daemon(path, on_disk_failure, reserve, prepare)
    except JournalDamaged:  # in what is not looked at when it was left in order
        at_least = Depth.WHOLE
        journal = Journal.open_as_daemon(path, on_disk_failure, reserve, prepare)
    journal.remember(**changes)  # only now is there a journal to be remembered
    return journal


def _has_content(path: str) -> bool:
    try:
        return os.path.getsize(path) > 0
    except FileNotFoundError:
        return False
    except OSError as error:
        raise AgentError(Problem(f"it cannot be looked at: {error.strerror}", path)) from None


def _depth(memory: Memory | None) -> Depth:
    if memory is None:
        return Depth.THOROUGH
    return Depth.WHOLE if memory.suspect else Depth.OPEN if memory.ended_well else Depth.THOROUGH


class DailyCheck:
    """Every row of a journal, looked at once a day in a thread of its own, from `start` to `stop`.

    on_damage is called in that thread when something is not what was written, after `tell` has heard of it; the next
    `take_up` will look at every row. It is no check of what the rows mean (`journal verify` is). rest: seconds before
    the first one, however long it is due: everything else begins at `start`, too, and is waited for.
    """

    def __init__(
        self,
        journal: Journal,
        tell: Tell,
        clock: Callable[[], float],
        on_damage: Callable[[], None],
        rest: float = 0.0,
    ) -> None:
        self._journal = journal
        self._tell = tell
        self._clock = clock
        self._on_damage = on_damage
        self._rest = rest
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal check")

    def start(self) -> None:
        """Begin; the first check is due a day after the last one by whomever."""
        self._thread.start()

    def stop(self) -> None:
        """End, in the midst of a check if need be."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        self._stopping.wait(self._rest)
        while not self._stopping.wait(max(0.0, self._journal.memory().checked_at + CHECK_EVERY_S - self._clock())):
            found = self._look()
            if self._stopping.is_set():
                return
            if found:
                self._journal.remember(suspect=True)
                first = found[0]
                reason = f"{first.table}, {first.key}: {first.what}"
                self._tell("journal.damaged", {"reason": reason, "findings": len(found)})
                self._on_damage()
                return
            self._journal.remember(checked_at=self._clock())

    def _look(self) -> list[Finding]:
        with _Interruptible.open_to_verify(self._journal.path) as journal:
            journal.let_be_interrupted(self._stopping.is_set)
            try:
                return [finding for finding in rot(journal) if not finding.what.endswith(_INTERRUPTED)]
            except _Stopped:
                return []


class _Stopped(Exception):
    """The agent ends, and the check with it."""


class _Interruptible(Store):
    """A journal of which no look takes long: that of SQLite at a very large file is given up. Once the agent ends there
    are no more: whoever meets a look that was given up would go on row by row."""

    _since = 0.0
    _is_stopping: Callable[[], bool]

    def let_be_interrupted(self, is_stopping: Callable[[], bool]) -> None:
        def give_up() -> bool:
            return is_stopping() or time.monotonic() - self._since > _AT_MOST_S

        self._is_stopping = is_stopping
        self._connection.set_progress_handler(give_up, 10_000)

    def _all(self, name: str, **values: Any) -> list[JournalRow]:
        if self._is_stopping():
            raise _Stopped
        self._since = time.monotonic()
        return super()._all(name, **values)
