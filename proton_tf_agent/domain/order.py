"""In which order what was seen at once is told, so that what ended a run is known before the next run is."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import accumulate
from operator import or_

from .evidence import LockPassed, LockTaken, LogClosed, Observation, OperationStarted
from .values import replace


def in_order(
    observations: Sequence[Observation], locked: Collection[str] = (), planned: Collection[str] = ()
) -> list[Observation]:
    """Observations of one batch in the order in which they are to be told.

    Logs up to the line that opens a run, then locks, then the rest; but a complete log whole, unless in one of the
    `locked` directories a run is known to hold its lock: the end of that one comes first; or unless a lock has come and
    gone below it, which may tell whose run it is. Of two logs the one comes first that has said its last earlier. A
    plan for people may go on to apply in one of the logs `planned`: what was read of that when a lock had been seen
    that was taken comes behind the lock. The facts of one file stay in their order, and its cursor goes with the last.
    """
    first: list[Observation] = []
    locks: list[Observation] = []
    rest: list[Observation] = []
    passed = [o.directory for o in observations if o.tells(LockPassed)]
    locked_before = list(accumulate((o.tells(LockTaken) for o in observations), or_))
    behind = {id(o) for o, after in zip(observations, locked_before, strict=True) if after and o.path in planned}
    parted: set[str] = set()
    for observation in _by_last_words(observations):
        if observation.source == "lock_file":
            locks.append(observation)
            continue
        opening = [n for n, fact in enumerate(observation.facts, 1) if isinstance(fact.evidence, OperationStarted)]
        if observation.path in parted or id(observation) in behind:
            rest.append(observation)
            parted.add(observation.path)
        elif opening and (
            observation.directory in locked
            or not _is_complete(observation)
            or any(place.startswith(f"{observation.directory}/") for place in passed)
        ):
            head, tail = observation.facts[: opening[-1]], observation.facts[opening[-1] :]
            first.append(replace(observation, facts=head, cursor=None))
            rest.append(replace(observation, facts=tail))
            parted.add(observation.path)
        else:
            first.append(observation)
    return [*first, *locks, *rest]


def _by_last_words(observations: Sequence[Observation]) -> list[Observation]:
    """Observations in the order in which logs have said their last, as far as they were read; those of one file as they
    were made, and behind the logs everything else."""
    said: dict[str, float] = {}
    for observation in observations:
        is_log = observation.cursor is not None and observation.source != "lock_file"
        at = (observation.spoke_at or observation.modified_at) if is_log else math.inf
        said[observation.path] = max(at, said.get(observation.path, 0.0))
    return sorted(observations, key=lambda observation: said[observation.path])


def _is_complete(observation: Observation) -> bool:
    return isinstance(observation.facts[-1].evidence, LogClosed)
