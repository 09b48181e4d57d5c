"""A run writes over the log of the one before, and the agent is stopped wherever that may hurt: how the second ends is
found out and told, and nothing else is told of it; of the first, whose end may have gone unread, no failure is told
that was none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.interleaving import RUN, UNLOCKED, Command, Interleaving, Pause

from proton_tf_agent.domain.run import RunStatus

A_TURN = 60  # no turn of the agent has more system calls

calls = st.just(0) | st.integers(0, 12) | st.integers(0, A_TURN)
pauses = st.builds(Pause, calls, st.sampled_from([0.001, 0.2, 1.5, 4.0]))
both_runs = st.lists(pauses, min_size=2 * len(RUN), max_size=2 * len(RUN))


def both_end_well(script: Sequence[Pause], *, hidden: bool, run: Sequence[str] = RUN) -> None:
    commands = [Command(lock_id, steps=run) for lock_id in ("first", "second")]
    with (
        TemporaryDirectory() as base,
        Interleaving(Path(base), script, hidden=hidden, commands=commands) as interleaving,
    ):
        interleaving.play()
        second, *others = interleaving.scene.runs()
        assert len(others) <= 1  # none where the first has come and gone unseen
        assert (second.status, second.misled, second.lock_id) in (
            (RunStatus.APPLIED, False, "second"),
            (RunStatus.APPLIED, False, ""),  # nobody looked while it was held
        )
        told = [(n.run_id, n.status) for n in interleaving.scene.notifications()]
        ends = [status for run_id, status in told if run_id == second.run_id and status.is_terminal]
        assert (ends, told[-1]) == (["SUCCEEDED"], (second.run_id, "SUCCEEDED"))
        for first in others:
            assert first.status in (RunStatus.APPLIED, RunStatus.UNDETERMINED), first.reason
            ends = [status for run_id, status in told if run_id == first.run_id and status.is_terminal]
            assert ends == (["SUCCEEDED"] if first.status is RunStatus.APPLIED else [])


@pytest.mark.parametrize("hidden", [False, True], ids=["processes are seen", "processes are hidden"])
@pytest.mark.parametrize("until", ["version", "info", "summary", "close"])
def test_a_run_that_comes_as_far_as_this_while_the_agent_is_stopped_is_told(hidden: bool, until: str) -> None:
    """Before any of its system calls, about the end of the first run."""
    at_once = RUN.index(until)
    for stopped_before in range(25):
        script = [Pause(A_TURN)] * len(RUN) + [Pause(stopped_before)] + [Pause(0)] * at_once
        script += [Pause(A_TURN, 4.0)] * (2 * len(RUN) - len(script))
        both_end_well(script, hidden=hidden)


@settings(max_examples=100)
@given(both_runs, st.booleans(), st.sampled_from([RUN, UNLOCKED]))
def test_of_two_runs_nothing_false_is_told_and_the_second_is_however_they_and_the_agent_interleave(
    script: list[Pause], hidden: bool, run: tuple[str, ...]
) -> None:
    both_end_well(script, hidden=hidden, run=run)
