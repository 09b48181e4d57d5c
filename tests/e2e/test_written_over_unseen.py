"""A run ends and the next one writes over its log while the agent is away: with a real Terraform and the daemon as a
process of its own. No failure is told of a run that may have succeeded, and what was read before is not forgotten."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.daemons import Row
from support.matrix.case import APPLY, CONFIGURATION, GATED, HUMAN
from support.matrix.play import World
from support.matrix.stage import Step, end, hear, pass_gate, reach_gate, read, run, send, start

_HUMAN_GATED = f"exec {HUMAN} -no-color -var gate=$GATE"
_UNDER_WAY = (reach_gate, hear("IN_PROGRESS", "Applying"))
_GO_ON = (pass_gate, end(0))
_AT_WORK = start(f"mkfifo $OUTSIDE/second; exec {APPLY} -var rev=2 -var gate=$OUTSIDE/second > apply.log")
_AGAIN, _HUMAN_AGAIN = run(f"{APPLY} -var rev=2 > apply.log"), run(f"{HUMAN} -no-color -var rev=2 > apply.log")


@dataclass(frozen=True)
class Absence:
    """What is seen of a run, what happens unseen, the truth, and what happens behind that; told are the ends."""

    seen: tuple[Step, ...]
    unseen: tuple[Step, ...]
    told: tuple[str, ...]
    runs: tuple[str, ...]
    seen_again: tuple[Step, ...] = ()


ABSENCES = {
    "a success": Absence(
        (start(f"{GATED} > apply.log"), *_UNDER_WAY), (*_GO_ON, _AGAIN), ("SUCCEEDED",), ("undetermined", "applied")
    ),
    "a success without a lock": Absence(
        (start(f"{GATED} -lock=false > apply.log"), *_UNDER_WAY), (*_GO_ON, _AGAIN),
        ("SUCCEEDED",), ("undetermined", "applied"),
    ),
    "a success in a human log": Absence(
        (start(f"{_HUMAN_GATED} > apply.log"), *_UNDER_WAY), (*_GO_ON, _HUMAN_AGAIN),
        ("SUCCEEDED",), ("undetermined", "applied"),
    ),
    "a success in a human log without a lock": Absence(
        (start(f"{_HUMAN_GATED} -lock=false > apply.log"), *_UNDER_WAY), (*_GO_ON, _HUMAN_AGAIN),
        ("SUCCEEDED",), ("undetermined", "applied"),
    ),
    "a success, its log kept": Absence(
        (start(f"{GATED} > apply.log"), *_UNDER_WAY), (*_GO_ON, run("cp apply.log kept.log"), _AGAIN),
        ("SUCCEEDED",), ("applied", "applied"),
    ),
    "a success behind a wrapper": Absence(
        (start(f"exec $EXEC {APPLY} -var gate=$GATE > apply.log"), *_UNDER_WAY), (*_GO_ON, _AGAIN),
        ("SUCCEEDED",), ("applied", "applied"),
    ),
    "a success, and the next run is at work": Absence(
        (start(f"{GATED} > apply.log"), *_UNDER_WAY), (*_GO_ON, _AT_WORK, read("gated: Destroying")),
        ("SUCCEEDED",), ("undetermined", "applied"), (run("echo > $OUTSIDE/second"), end(0)),
    ),
    "a failure": Absence(
        (start(f"{GATED} -var bad=1 > apply.log"), *_UNDER_WAY), (pass_gate, end(1), _AGAIN),
        ("SUCCEEDED",), ("undetermined", "applied"),
    ),
    "a failure that was read": Absence(
        (start(f"exec > apply.log; {APPLY} -var bad=1; cat $GATE"), hear("FAILED", "2 of 3 applied"), reach_gate),
        (*_GO_ON, _AGAIN), ("FAILED", "SUCCEEDED"), ("errored", "applied"),
    ),
    "a death": Absence(
        (start(f"{GATED} > apply.log"), *_UNDER_WAY), (send(signal.SIGKILL), end(-9), _AGAIN),
        ("SUCCEEDED",), ("undetermined", "applied"),
    ),
    "a death that was seen": Absence(
        (start(f"{GATED} > apply.log"), *_UNDER_WAY, send(signal.SIGKILL), end(-9), hear("FAILED", "inferred")),
        (_AGAIN,), ("FAILED", "SUCCEEDED"), ("lost", "applied"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("absence", ABSENCES.values(), ids=ABSENCES.keys())
def test_what_is_told_of_a_run_whose_log_was_written_over_while_the_agent_was_away(
    tmp_path: Path, terraform_path: str, absence: Absence
) -> None:
    with World(tmp_path, terraform_path) as world:
        stage = world.stage("net")
        try:
            stage.write("main.tf", CONFIGURATION)
            for step in absence.seen:
                step(stage)
            assert world.agent.stop() == 0
            for step in absence.unseen:
                step(stage)
            world.start_agent()
            for step in absence.seen_again:
                step(stage)
        finally:
            stage.close()
        if absence.runs[0] == "undetermined":
            world.agent.wait_for(lambda rows: moved_to("undetermined", rows), "never gave the first run up")
        world.come_to_rest()
        ends = [record.status for record in stage.records() if record.status != "IN_PROGRESS"]
        runs = [row for row in world.runs() if row["directory"] == str(stage.directory)]
        assert tuple(row["status"] for row in runs) == absence.runs, runs
        assert tuple(ends) == absence.told, stage.records()
        if absence.runs[0] == "undetermined":
            assert runs[0]["reason"] == "its log was written over before its end was read"


def moved_to(status: str, rows: list[Row]) -> bool:
    """Whether the agent's log tells of a run that took a status."""
    return any(row["event"] == "run.transitioned" and row["status"] == status for row in rows)
