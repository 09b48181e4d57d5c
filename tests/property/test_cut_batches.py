"""Runs in several directories at once, and an agent whose batches of looks have no time: wherever they are cut, the
same becomes known as when they are not, and no end is told twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.interleaving import APPLY, HUMAN_SAVED_PLAN, PLAN, RUN, SAVED_PLAN, Command, Crowd

from proton_tf_agent.domain.values import replace

JSON_PLAN = Command("plan", PLAN, operation="OperationTypePlan")
WORLD: Mapping[str, Sequence[Command]] = {
    "one-log": (JSON_PLAN.appends, Command("apply", SAVED_PLAN).appends),
    "for-people": (JSON_PLAN.appends, Command("apply", HUMAN_SAVED_PLAN).appends),
    "two-logs": (replace(JSON_PLAN, log="plan.log"), Command("apply", SAVED_PLAN)),
    "above/prod": (Command("first", APPLY, log="first.log"), Command("second", APPLY, log="second.log")),
    "alone": (Command("only", APPLY),),
}
PIECE = 700  # bytes of a log that one look reads: about two lines

GENERATED = (Phase.explicit, Phase.reuse, Phase.generate)  # to make a script shorter takes minutes

steps = st.dictionaries(st.sampled_from(sorted(WORLD)), st.integers(1, 8), max_size=len(WORLD))
scripts = st.lists(steps, max_size=2 * len(RUN))


def known(script: Sequence[Mapping[str, int]], *, hurried: bool, patient: bool, pieces: int) -> dict[str, Any]:
    """By directory: the runs, what was told of them, and every end that anybody could have been told."""
    with TemporaryDirectory() as base, Crowd(Path(base), WORLD, hurried=hurried, pieces=pieces) as crowd:
        crowd.play(script, patient=patient)
        return {
            name: {
                "runs": [(run.status, run.lock_id, run.misled, run.reason) for run in crowd.runs(name)],
                "told": [(n.status, n.status_message, n.outputs) for n in crowd.told(name)],
                "ends": Counter((n.run_id, n.run_status) for n in crowd.told(name) if n.status.is_terminal),
            }
            for name in WORLD
        }


@settings(max_examples=40, phases=GENERATED)
@given(scripts, st.sampled_from([PIECE, 1 << 16]))
def test_wherever_batches_are_cut_the_same_runs_and_notifications_come_of_them(
    script: list[dict[str, int]], pieces: int
) -> None:
    """The world waits until everything that was touched has been looked at."""
    control = known(script, hurried=False, patient=True, pieces=pieces)
    cut = known(script, hurried=True, patient=True, pieces=pieces)
    for name in WORLD:
        assert (cut[name]["runs"], cut[name]["told"]) == (control[name]["runs"], control[name]["told"]), name


@settings(max_examples=40, phases=GENERATED)
@given(scripts, st.sampled_from([PIECE, 1 << 16]))
def test_while_the_world_goes_on_between_cut_batches_every_end_is_told_once(
    script: list[dict[str, int]], pieces: int
) -> None:
    for name, found in known(script, hurried=True, patient=False, pieces=pieces).items():
        verdicts = [status for status, *_ in found["runs"]]
        succeeded = 1 if name in ("one-log", "for-people", "two-logs", "alone") else 2
        assert verdicts.count("applied") == succeeded, (name, found)
        assert set(verdicts) <= {"applied", "planned_and_finished"}, (name, found)
        assert len(verdicts) == len(WORLD[name]), (name, found)
        assert sorted(found["ends"].values()) == [1] * succeeded, (name, found)
        assert {status for _, status in found["ends"]} == {"applied"}, (name, found)
