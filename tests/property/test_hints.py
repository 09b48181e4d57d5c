"""Hints may be lost, late, repeated and out of order: what becomes known in the end is the same."""

from __future__ import annotations

import random
import tempfile
from functools import cache
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.recordings import Recording, recordings
from support.truth import ARN, DEPLOYMENT_ID, LONG, judge, with_ends
from support.watching import Watching, bind_directory

# What becomes of the hints of an instant.
MOVES = (
    "all come",
    "some come",
    "none has come yet",
    "they are lost",
    "old ones come again",
    "all is looked at",
)
SMALL = [recording for recording in recordings() if sum(1 for _ in recording.instants()) < 200]


@given(
    recording=st.sampled_from(SMALL),
    moves=st.lists(st.sampled_from(MOVES), min_size=1, max_size=30),
    rng=st.randoms(use_true_random=False),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_interleaving_loss_and_repetition_of_hints_leads_to_the_same_runs_and_notifications(
    recording: Recording, moves: list[str], rng: random.Random
) -> None:
    """As long as everything is looked at when a process has ended: a log may be overwritten by the next one."""
    assert what_is_known(recording, moves, rng) == known_with_every_hint(recording.name)


def test_enough_recordings_are_small() -> None:
    assert len(SMALL) >= 45


@cache
def known_with_every_hint(name: str) -> list[dict[str, Any]]:
    return what_is_known(Recording(name), ["all come"], random.Random(0))


def what_is_known(recording: Recording, moves: list[str], rng: random.Random) -> list[dict[str, Any]]:
    """The logged runs of a recording and the last that was told of each, with hints that come as `moves` says.

    Not the message: who had the lock and from what an end was inferred is said as far as it was seen.
    """
    with (
        tempfile.TemporaryDirectory() as directory,
        Watching(recording, f"{directory}/watched", f"{directory}/journal/journal.db") as watching,
    ):
        bind_directory(watching.directory, ARN, DEPLOYMENT_ID)
        now = 0.0
        for number, (at, changes) in enumerate(with_ends(recording)):
            now = at
            watching.wait(now)
            watching.happen(changes)
            play(watching, moves[number % len(moves)] if changes else "all is looked at", now, rng)
        watching.look_everywhere(now)
        watching.wait(now + LONG)
        judge(recording, watching)
        return summary(watching)


def play(watching: Watching, move: str, now: float, rng: random.Random) -> None:
    match move:
        case "all come":
            watching.look(now)
        case "some come":
            watching.look(now, lambda _path: rng.random() < 0.5)
        case "they are lost":
            watching.lose_hints()
        case "old ones come again":
            watching.repeat_hints(lambda _path: rng.random() < 0.2)
            watching.look(now)
        case "all is looked at":
            watching.look_everywhere(now)


def summary(watching: Watching) -> list[dict[str, Any]]:
    last = {n.run_id: n for n in watching.notifications(superseded=True) if n.status.is_terminal}
    return [
        {
            "step": watching.step_of(run),
            "status": run.status,
            "told": (n.status, n.outputs) if (n := last.get(run.run_id)) else None,
        }
        for run in watching.runs()
        if run.log_path
    ]
