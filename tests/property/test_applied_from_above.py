"""A run that writes its log above the directory it locks (`terraform -chdir=prod apply > apply.log`) is told for that
directory, wherever the agent stood when its lock came and went: nothing but the lock tells whose run it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.interleaving import ARN, RUN, Command, Interleaving, Pause

from proton_tf_agent.domain.values import replace

A_TURN = 60  # no turn of the agent has more system calls

calls = st.just(0) | st.integers(0, 12) | st.integers(0, A_TURN)
pauses = st.builds(Pause, calls, st.sampled_from([0.001, 0.2, 1.5, 4.0]))


GIVEN_BACK = RUN.index("info gone")
lags = st.just(0) | st.integers(0, 2 * len(RUN))


def told(
    script: Sequence[Pause], *, hidden: bool, lag: int = 0, commands: Sequence[Command] = (Command("only"),)
) -> list[str]:
    """What is told, all of it for the directory below: by run, and an end at most once for each. Terraform does not
    rest between giving its lock back and saying so."""
    script = [replace(p, seconds=0.01) if n % len(RUN) >= GIVEN_BACK else p for n, p in enumerate(script)]
    with (
        TemporaryDirectory() as base,
        Interleaving(Path(base), script, hidden=hidden, commands=commands, below="prod", lag=lag) as interleaving,
    ):
        interleaving.play()
        notifications = interleaving.scene.notifications()
    assert {notification.resource_arn for notification in notifications} <= {ARN}
    ended = [notification.run_id for notification in notifications if notification.status.is_terminal]
    assert len(ended) == len(set(ended))
    return [notification.status.value for notification in notifications]


@pytest.mark.parametrize("hidden", [False, True], ids=["processes are seen", "processes are hidden"])
@pytest.mark.parametrize("seen", range(len(RUN)), ids=lambda seen: f"seen up to {RUN[seen - 1]}" if seen else "unseen")
def test_a_run_that_goes_on_to_its_end_while_the_agent_is_stopped_is_told(hidden: bool, seen: int) -> None:
    """Before any of its system calls, whatever it has seen of the run by then."""
    for stopped_before in range(25):
        script = [Pause(A_TURN)] * seen + [Pause(stopped_before)] + [Pause(0)] * (len(RUN) - seen - 1)
        assert told(script, hidden=hidden)[-1] == "SUCCEEDED", stopped_before


@settings(max_examples=100)
@given(st.lists(pauses, min_size=len(RUN), max_size=len(RUN)), st.booleans(), lags)
def test_a_run_is_told_however_it_and_the_agent_interleave(script: list[Pause], hidden: bool, lag: int) -> None:
    """And however late the kernel is with what it has to say."""
    assert told(script, hidden=hidden, lag=lag)[-1] == "SUCCEEDED"


@settings(max_examples=100)
@given(st.lists(pauses, min_size=2 * len(RUN), max_size=2 * len(RUN)), st.booleans(), lags)
def test_of_two_such_runs_one_after_the_other_no_end_is_told_twice_or_for_another(
    script: list[Pause], hidden: bool, lag: int
) -> None:
    """Where both were over before either lock was heard of, nobody can tell whose it was."""
    commands = [Command("first", log="first.log"), Command("second", log="second.log")]
    assert set(told(script, hidden=hidden, lag=lag, commands=commands)) <= {"IN_PROGRESS", "SUCCEEDED"}
