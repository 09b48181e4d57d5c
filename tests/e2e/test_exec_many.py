"""200 wrapped runs at once: every record is whole, every verdict right."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.daemons import AgentCommand, all_have_ended, ask
from support.exec_side import WRAPPED
from support.matrix.play import World, all_is_told
from support.watching import bind_directory

pytestmark = pytest.mark.timeout(300)

RUNS = 200
_STUB = """#!/bin/sh
[ "$1" = output ] && { printf '{"n":{"sensitive":false,"type":"string","value":"%s"}}' "$NUMBER"; exit 0; }
printf 'ready\\n' >&3
read go < "$GATE"
echo "Apply complete! Resources: 1 added, 0 changed, 0 destroyed."
case $(($NUMBER % 3)) in 0) exit 0;; 1) exit 1;; 2) kill -9 $$;; esac
"""
EXPECTED = {0: ("applied", "SUCCEEDED"), 1: ("errored", "FAILED"), 2: ("errored", "FAILED")}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, "/nowhere/terraform") as made:
        yield made


def test_two_hundred_at_once_are_all_told_rightly(world: World, tmp_path: Path) -> None:
    stub = tmp_path / "terraform"
    stub.write_text(_STUB)
    stub.chmod(0o755)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    ready, tell_ready = os.pipe()
    directories = [tmp_path / "watched" / f"run-{number}" for number in range(RUNS)]
    for number, directory in enumerate(directories):
        directory.mkdir()
        bind_directory(str(directory), arn(number), f"fcda9f18-f569-4079-8474-{number:012d}")

    def start(number: int) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "PROTON_TF_AGENT_SPOOL": str(tmp_path / "memory-spool"), "NUMBER": str(number), "GATE": str(gate),
        }  # fmt: skip
        os.set_inheritable(tell_ready, True)
        line = f'exec "$@" 3>&{tell_ready} > /dev/null 2>&1'
        command = ["/bin/bash", "-c", line, "-", *WRAPPED, str(stub), "apply", "-auto-approve"]
        return subprocess.Popen(command, cwd=directories[number], env=environment, close_fds=False)

    with ThreadPoolExecutor(8) as pool:
        processes = list(pool.map(start, range(RUNS)))
    try:
        said = b""
        while said.count(b"\n") < RUNS:
            said += os.read(ready, 4096)
        with gate.open("wb") as opened:  # all of them are on: let them go
            opened.write(b"go\n" * RUNS)
            opened.flush()
            statuses = [process.wait(120) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        os.close(ready)
        os.close(tell_ready)
    assert statuses == [(0, 1, -9)[number % 3] for number in range(RUNS)]

    agent: AgentCommand = world.agent
    ended = [f"{directory}" for directory in directories]
    agent.wait_for(lambda rows: len(told_ends(rows, ended)) == RUNS and all_have_ended(rows), "misses an end", 120)
    agent.wait_for(all_is_told, "left something untold", 120)
    runs = {row["directory"]: row for row in world.runs()}
    heard = {record.resource_arn: record for record in world.receiver.records() if record.status != "IN_PROGRESS"}
    for number, directory in enumerate(directories):
        status, told = EXPECTED[number % 3]
        assert runs[str(directory)]["status"] == status
        assert heard[arn(number)].status == told
        if told == "SUCCEEDED":
            assert heard[arn(number)].outputs == {"n": str(number)}
    assert len(runs) == RUNS
    assert os.listdir(tmp_path / "memory-spool") == []
    assert ask(world.settings_file, "status")[0]["runs_open"] == 0


def arn(number: int) -> str:
    return f"arn:aws:proton:us-east-1:111122223333:environment/run-{number}"


def told_ends(rows: list[dict[str, object]], directories: list[str]) -> set[object]:
    final = ("applied", "errored")
    wanted = set(directories)
    moved = [row for row in rows if row["event"] == "run.transitioned" and row["status"] in final]
    return {row["directory"] for row in moved if row["directory"] in wanted}
