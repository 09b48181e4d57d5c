"""SIGKILL of `terraform apply` at many points of one apply: never a success that Terraform has not printed itself, and
no end that is missed.

One daemon watches; every apply has a directory of its own. Where an apply is killed is drawn from a seed: after a line
of its log, in the middle of a resource, or after a part of the time one apply takes. PROTON_TF_AGENT_KILL_POINTS sets
how many points there are.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.daemons import DEADLINE_S, Row
from support.matrix.play import World
from support.matrix.stage import Stage

SEED = 20_201_007
KILL_POINTS = int(os.environ.get("PROTON_TF_AGENT_KILL_POINTS", "100"))
AT_ONCE = 3
RESOURCES = 10
LINES = 5 * RESOURCES + RESOURCES + 5  # of one log

CONFIGURATION = """
variable "kill_at" { default = -1 }
resource "terraform_data" "each" {
  count = RESOURCES
  input = join("", [for n in range(200) : "0123456789"])
  provisioner "local-exec" { command = "test ${count.index} != ${var.kill_at} || kill -9 $PPID" }
}
output "ids" { value = terraform_data.each[*].id }
""".replace("RESOURCES", str(RESOURCES))

APPLY = "exec terraform apply -json -auto-approve -parallelism=1"
FORMS = ("> apply.log", ">> apply.log", "| tee apply.log", "| sed 's/x/x/' > apply.log")
AFTER_A_LINE = """
exec 3< <({apply})
terraform=$!
tee apply.log <&3 | {{ head -n {lines} > /dev/null; kill -9 $terraform; cat > /dev/null; }}
"""


@dataclass(frozen=True)
class Point:
    """When one apply is killed, and how its log is written. Exactly one of the first three says when."""

    number: int
    form: str
    line: int | None = None
    resource: int | None = None
    share: float | None = None

    @property
    def name(self) -> str:
        """Its directory."""
        return f"killed-{self.number}"


def points() -> list[Point]:
    """Every line of the log and every resource once, and moments for the rest; the same ones every time."""
    rng = random.Random(SEED)
    drawn = [Point(n, "", line=n) for n in range(1, LINES + 1)]
    drawn += [Point(100 + n, form, resource=n) for n in range(RESOURCES) for form in FORMS[:2]]
    drawn += [Point(200 + n, rng.choice(FORMS), share=rng.uniform(0.4, 1.2)) for n in range(KILL_POINTS)]
    rng.shuffle(drawn)
    return [Point(n, p.form, p.line, p.resource, p.share) for n, p in enumerate(drawn[:KILL_POINTS])]


@pytest.mark.timeout(60 + 3 * KILL_POINTS)
def test_a_killed_apply_is_never_told_as_succeeded_unless_terraform_said_so_and_no_end_is_missed(
    tmp_path: Path, terraform_path: str
) -> None:
    with World(tmp_path, terraform_path) as world:
        lasts = time_of_one_apply(world)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda point: kill(world, point, lasts), points()))
        world.come_to_rest()
        runs, entries = world.runs(), world.entries()
        verdicts: Counter[str] = Counter()
        for point in points():
            directory = world.base / "watched" / point.name
            mine = [row for row in runs if row["directory"] == str(directory)]
            told = [row for row in entries if row["resource_arn"].endswith(f"/{point.name}")]
            verdicts[judge(point, (directory / "apply.log"), mine, told)] += 1
        print(verdicts)
        assert verdicts["lost"] > KILL_POINTS // 3, f"too few were killed in time: {verdicts}"


def time_of_one_apply(world: World) -> float:
    """How many seconds one apply takes here, in which points in time are meant."""
    stage = world.stage("undisturbed")
    try:
        stage.write("main.tf", CONFIGURATION)
        began = time.monotonic()
        assert stage.run(f"{APPLY} > apply.log") == 0
        return time.monotonic() - began
    finally:
        stage.close()


def kill(world: World, point: Point, lasts: float) -> None:
    """Let one apply begin and be killed."""
    stage = world.stage(point.name)
    try:
        stage.write("main.tf", CONFIGURATION)
        if point.line is not None:
            stage.run(AFTER_A_LINE.format(apply=APPLY, lines=point.line))
        elif point.resource is not None:
            stage.run(f"{APPLY} -var kill_at={point.resource} {point.form}")
        else:
            assert point.share is not None
            kill_after(stage, point.form, lasts * point.share)
    finally:
        stage.close()


def kill_after(stage: Stage, form: str, seconds: float) -> None:
    """Kill Terraform alone, and let what it has written come through its pipe."""
    line = f"exec 3> $OUTSIDE/pid; (echo $BASHPID >&3; {APPLY}) {form}"
    process = stage.start(line)
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    pid = (stage.outside / "pid").read_text() if (stage.outside / "pid").exists() else ""
    if pid:
        with suppress(ProcessLookupError):
            os.kill(int(pid), 9)
    process.wait(DEADLINE_S)


def judge(point: Point, log: Path, runs: list[Row], told: list[Row]) -> str:
    """Hold what the agent concluded against what Terraform has written; returns the verdict."""
    said = [json.loads(line) for line in whole_lines(log)]
    where = f"{point}: {[row['status'] for row in runs]}, {[(row['status'], row['status_message']) for row in told]}"
    summarised = any(
        row["type"] == "change_summary" and row["changes"]["operation"] == "apply" for row in said if "type" in row
    )
    ends = [row["status"] for row in told if row["status"] != "IN_PROGRESS"]
    if summarised:
        assert (ends, [row["status"] for row in runs]) == (["SUCCEEDED"], ["applied"]), where
        return "applied"
    assert "SUCCEEDED" not in ends, where
    if not said:  # it had not come to say that it exists, nor to take its lock
        assert (ends, runs) == ([], []), where
        return "silent"
    (run,) = runs
    assert run["status"] in ("lost", "undetermined"), where
    assert ends == (["FAILED"] if run["status"] == "lost" else []), where
    return str(run["status"])


def whole_lines(log: Path) -> list[bytes]:
    """The lines of a log that were written to their end."""
    if not log.exists():
        return []
    return [line for line in log.read_bytes().split(b"\n")[:-1] if line.startswith(b"{")]
