"""Two thousand worlds, each from one seed, in which everything goes wrong: every promise about delivery holds.

And it is shown that the simulator can tell: without the transaction, the head-of-line rule, the ratchet or the
reassertion it finds a broken promise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.oracle import judge
from support.simulator import POINTS, MortalJournal, World
from support.soak import rounds

from proton_tf_agent.domain import composition

SEEDS = rounds(2000, 100_000)
CHUNK = 50
SABOTAGED = 1000  # seeds within which what is broken must show


def lived(seed: int, journal_type: type[MortalJournal] = MortalJournal) -> Counter[str]:
    """Let one world happen and judge it; returns where its agents died."""
    world = World(seed, journal_type)
    try:
        world.live()
        judge(world)
        return world.deaths
    finally:
        world.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_whatever_happens_every_promise_holds(first: int) -> None:
    """P1, P4, P5, P6, P8, P9, P12; the failing seed is in the error."""
    for seed in range(first, first + CHUNK):
        lived(seed)


def test_the_agent_dies_in_every_place_that_has_a_name() -> None:
    deaths = Counter[str]()
    for seed in range(200):
        deaths += lived(seed)
    assert deaths.keys() == set(POINTS)


def finds(journal_type: type[MortalJournal] = MortalJournal) -> bool:
    """Whether the simulator finds a promise broken."""
    for seed in range(SABOTAGED):
        try:
            lived(seed, journal_type)
        except AssertionError:
            return True
    return False


def test_without_the_transaction_it_finds_a_broken_promise() -> None:
    class Statements(MortalJournal):
        @contextmanager
        def transaction(self) -> Iterator[None]:
            self.world.point("transaction: begins")
            yield

    assert finds(Statements)


def test_without_the_head_of_line_rule_it_finds_a_broken_promise() -> None:
    class Crowd(MortalJournal):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            everyone = (
                "SELECT seq, sink, resource_arn, state = 'sending' AS sending, failing, NULL AS waits_until FROM outbox"
                " WHERE state IN ('pending', 'sending', 'retryable') AND :sinks <> '' ORDER BY seq"
            )
            self._sql = {**self._sql, "heads": everyone}

    assert finds(Crowd)


def test_without_the_ratchet_it_finds_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "_may_have_ended", lambda *_: False)
    assert finds()


def test_without_the_reassertion_it_finds_a_broken_promise() -> None:
    class Silent(MortalJournal):
        def _reassert(self, *_: object) -> int:
            return 0

    assert finds(Silent)
