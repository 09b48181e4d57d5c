"""How much work something is, as a ratio of CPU seconds measured in turns: a busy machine disturbs both sides."""

from __future__ import annotations

import time
from collections.abc import Callable

_ROUNDS = 8


def ratio(much: Callable[[], object], little: Callable[[], object], goal: float) -> float:
    """How many times the work of `little` that of `much` is: the best samples of each, of as many rounds as it takes
    to come below the goal, and eight at most. What is really above it stays there."""
    best_much = best_little = float("inf")
    for _ in range(_ROUNDS):
        best_little = min(best_little, _seconds(little))
        best_much = min(best_much, _seconds(much))
        if best_much < goal * best_little:
            break
    return best_much / best_little


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return max(time.process_time() - began, 1e-3)  # what is faster is nobody's trouble
