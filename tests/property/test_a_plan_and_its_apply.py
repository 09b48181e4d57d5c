"""A plan and its apply, one right after the other, in any form, into one log or two; and the agent is stopped wherever
that may hurt. There are two runs, each becomes what it was, and one success is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.interleaving import HUMAN_PLAN, HUMAN_SAVED_PLAN, PLAN, RUN, SAVED_PLAN, Command, Interleaving, Pause

from proton_tf_agent.domain.values import replace

A_TURN = 60  # no turn of the agent has more system calls

calls = st.just(0) | st.integers(0, 12) | st.integers(0, A_TURN)
pauses = st.builds(Pause, calls, st.sampled_from([0.001, 0.02, 0.2, 1.5]))
scripts = st.lists(pauses, min_size=2 * len(RUN), max_size=2 * len(RUN))

JSON = (Command("plan", PLAN, operation="OperationTypePlan"), Command("apply", SAVED_PLAN))
HUMAN = (Command("plan", HUMAN_PLAN, operation="OperationTypePlan"), Command("apply", HUMAN_SAVED_PLAN))
FORMS = {
    "JSON": JSON,
    "a JSON plan": (JSON[0], HUMAN[1]),
    "a JSON apply": (HUMAN[0], JSON[1]),
    "human": HUMAN,
}


def both_are_told(commands: tuple[Command, Command], script: Sequence[Pause], *, hidden: bool = False) -> None:
    with TemporaryDirectory() as base, Interleaving(Path(base), script, hidden=hidden, commands=commands) as world:
        world.play()
        runs = world.scene.runs()
        told = [(n.run_id, n.status) for n in world.scene.notifications() if n.status.is_terminal]
    verdicts = {run.run_id: run.status for run in runs}
    # What an apply of a saved plan prints for people may as well be the rest of one that has planned by itself.
    one = len(verdicts) == 1 and [c.prints for c in commands] == [HUMAN_PLAN, HUMAN_SAVED_PLAN]
    assert sorted(verdicts.values()) == (["applied"] if one else ["applied", "planned_and_finished"])
    assert [(verdicts[run_id], status) for run_id, status in told] == [("applied", "SUCCEEDED")]
    assert all(run.lock_id in ("", "apply" if run.status == "applied" else "plan") or one for run in runs)


@pytest.mark.parametrize("form", FORMS)
def test_the_lock_of_an_apply_is_not_taken_for_that_of_the_plan_before_it(form: str) -> None:
    """The agent comes when the plan has given its lock back and the apply holds it, but has not said a word."""
    plan, apply = FORMS[form]
    silent = len(RUN) + RUN.index("apply")
    script = [Pause(0)] * silent + [Pause(A_TURN, 1.0)] * (2 * len(RUN) - silent)
    both_are_told((plan.appends, apply.appends), script)
    both_are_told((replace(plan, log="plan.log"), apply), script)


@settings(max_examples=100)
@given(scripts, st.booleans(), st.sampled_from(sorted(FORMS)), st.booleans())
def test_a_plan_and_its_apply_are_two_runs_however_they_and_the_agent_interleave(
    script: list[Pause], hidden: bool, form: str, one_log: bool
) -> None:
    plan, apply = FORMS[form]
    commands = (plan.appends, apply.appends) if one_log else (replace(plan, log="plan.log"), apply)
    both_are_told(commands, script, hidden=hidden)
