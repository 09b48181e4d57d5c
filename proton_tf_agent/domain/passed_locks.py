"""Locks that came and went unread, and which run had one whose log lies above the directory that was locked.

A run that is short, or an agent that is busy, and nothing is known of a lock but that it was there. As long as a run
goes on it holds its lock: a lock that is gone is another's, then. So it is only asked when a run has had its last word,
and answered where one lock alone was given back about then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .correlation import FILE_TIME_SLACK, LAST_WORDS, LINK_WINDOW, contains, lacks_lock
from .evidence import Form
from .run import Log, Run
from .values import Struct, replace

UNLOCK_LEAD = UNLOCK_LAG = 0.05  # seconds before and behind the last word; no other Terraform gives a lock back so soon
_MOST = 256


class PassedLock(Struct, frozen=True):
    """A lock that came and went unread: the directory, workspace and file of its state, a wall-clock second at which it
    was there no more, and the id of the run that is known to have had it."""

    directory: str
    workspace: str | None
    state_path: str
    gone_by: float
    run_id: str = ""


def remembered(locks: Sequence[PassedLock], one: PassedLock) -> tuple[PassedLock, ...]:
    """The locks of the last minute with one more; word of the same lock comes more than once."""
    kept = [lock for lock in locks if one.gone_by - lock.gone_by < LINK_WINDOW]
    if any((lock.state_path, lock.gone_by) == (one.state_path, one.gone_by) for lock in kept):
        return tuple(kept)
    return tuple([*kept, one][-_MOST:])


def claimed(locks: Iterable[PassedLock], one: PassedLock, run: Run) -> tuple[PassedLock, ...]:
    """The locks when it is known which run had one of them."""
    return tuple(replace(lock, run_id=run.run_id) if lock == one else lock for lock in locks)


def given_back(run: Run, locks: Iterable[PassedLock]) -> PassedLock | None:
    """The lock below its directory that a run which has had its last word may have given back, if it is just one; that
    no other `may_have_had` it is still to be asked."""
    its = [lock for lock in locks if not lock.run_id and contains(run.directory, lock.directory) and _ended(run, lock)]
    return its[0] if len({lock.state_path for lock in its}) == 1 else None


def may_have_had(run: Run, lock: PassedLock) -> bool:
    """Whether a lock may have been a run's: of its very directory, as long as it goes on, or below, when it ended."""
    if run.directory == lock.directory and run.is_open and lacks_lock(run, lock.workspace):
        return True
    return (run.directory == lock.directory or contains(run.directory, lock.directory)) and _ended(run, lock)


def may_be_of(run: Run, other: Run) -> bool:
    """Whether a run may have held the lock that `other` is known by: below its directory, it had no log when this one's
    had its last word."""
    over_at = run.log_spoke_at or run.ended_at or 0.0
    if other.log is not Log.ABSENT or other.anchor or not other.lock_id or not contains(run.directory, other.directory):
        return False
    return other.started_at <= over_at + UNLOCK_LAG and (other.ended_at or over_at) >= over_at - UNLOCK_LEAD


def _ended(run: Run, lock: PassedLock) -> bool:
    """Whether a lock was given back when a run came to its end.

    Terraform does that right before it says that all went well, and right behind its last word about a plan or an
    error (terraform internal/backend/local/backend_apply.go, backend_plan.go; internal/command/apply.go). When a log
    for people that goes on has got that is known only roughly.
    """
    if not lacks_lock(run, lock.workspace):
        return False
    if run.form is Form.JSON and lock.gone_by < run.started_at - FILE_TIME_SLACK:
        return False
    if run.log_spoke_at is not None:
        return -UNLOCK_LEAD <= lock.gone_by - run.log_spoke_at <= UNLOCK_LAG
    return run.ended_at is not None and -LAST_WORDS <= lock.gone_by - run.ended_at <= 0.0
