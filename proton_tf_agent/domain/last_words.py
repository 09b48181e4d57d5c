"""When the runs in a log have spoken last, as far as one look at it tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from .evidence import Fact, LogOverwritten, Observation, OperationStarted


def over_before(since: float, facts: Sequence[Fact]) -> frozenset[str]:
    """The anchors of runs that were over before `since`: the next run in the same log had begun by then."""
    return frozenset(
        last.anchor
        for last, first in pairwise(facts)
        if isinstance(first.evidence, OperationStarted) and (first.evidence.at or since) < since
    )


def spoke_at(observation: Observation) -> Iterator[tuple[str, float]]:
    """The anchor of the run that a log speaks of last, and when it did so, at the latest, by the clock that dates its
    lock; nothing while all it says is that it begins."""
    said = [fact for fact in observation.facts if fact.position is not None and not fact.record_id]
    at = observation.modified_at if observation.source == "human_log" else observation.said_at
    if said and said[-1].position and at:
        yield said[-1].anchor, at


def last_words(observation: Observation) -> dict[str, float]:
    """By anchor: when a run had said its last, as far as a look at its log tells. Of a run that another follows in the
    log only its beginning is known."""
    at = observation.spoke_at
    speaks = [fact for fact in observation.facts if not isinstance(fact.evidence, LogOverwritten)]
    words = {fact.anchor: at for fact in speaks if fact.anchor and at is not None}
    begun: dict[str, Fact] = {}
    for fact in observation.facts:
        if isinstance(fact.evidence, OperationStarted):
            before = begun.get(fact.unit)
            if before and isinstance(before.evidence, OperationStarted) and before.evidence.at is not None:
                words[before.anchor] = before.evidence.at
            begun[fact.unit] = fact
    return words
