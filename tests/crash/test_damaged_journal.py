"""The journal is damaged while no agent runs: the next one salvages it, and tells what is still to be told.

Two runs, told or waiting to be told, and pages of the journal that are lost with the rows that are in them. What the
outbox still holds is not told twice; what it does not hold any more is told from the logs.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.agents import DEADLINE_S, AgentProcess, runs_in, with_journal
from support.failing_disk import ARN, DIRECTORIES, World
from support.journals import rows_in

from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.receiver import Fault, FaultKind, Receiver

PAGE = 4096


@pytest.fixture
def world(tmp_path: Path, aws_environment: None) -> Iterator[World]:
    with Receiver() as receiver, closing(World(tmp_path, receiver)) as world:
        yield world


def ready(world: World) -> AgentProcess:
    agent = world.agent()
    assert agent.wait_until_ready()
    return agent


def let_all_happen(world: World) -> None:
    """Both runs, from their beginning to their end."""
    for run in world.runs.values():
        run.write(run.left)


def lose(path: str, *tables: str, numbers: Collection[int] = ()) -> bytes:
    """Zero every page that has the seal of a row of these tables, and the pages with these numbers."""
    data = bytearray(Path(path).read_bytes())
    seals = [str(row[-1]).encode() for table in tables for row in rows_in(path)[table].values()]
    for page in {data.index(seal) // PAGE for seal in seals} | {*numbers}:
        data[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
    with open(path, "r+b") as file:
        file.write(data)
    return bytes(data)


def judge_the_salvage(world: World, damaged: bytes) -> dict[str, object]:
    """It was told once, and the damaged file is kept; returns what was told."""
    (told,) = [row for row in world.log() if row["event"] == "journal.salvaged"]
    assert told["level"] == "error"
    (aside,) = [path for path in world.memory.glob("journal.db.damaged-*") if not path.name.endswith("-journal")]
    assert str(aside) == told["aside"]
    assert aside.read_bytes() == damaged
    assert stat.S_IMODE(os.stat(aside).st_mode) == 0o400
    return dict(told)


def ends_heard(world: World) -> Counter[str]:
    return Counter(record.resource_arn for record in world.receiver.records() if record.status == "SUCCEEDED")


def wait_for_ends(world: World, times: int) -> None:
    """Until the end of each run was heard so many times."""
    expected = {ARN + name: times for name in DIRECTORIES}
    world.receiver.wait_for(lambda _records: ends_heard(world) == expected, DEADLINE_S)


def judge_the_runs(world: World) -> None:
    """Both are known, as what they were, and everything is delivered."""
    assert [run.status for run in runs_in(world.journal_path)] == [RunStatus.APPLIED] * len(DIRECTORIES)
    entries = with_journal(world.journal_path, lambda journal: journal.query("entries", after=0, limit=1000))
    assert {row["state"] for row in entries if not row["reassertion"]} <= {"delivered", "superseded"}


def told_everything(world: World) -> None:
    agent = ready(world)
    let_all_happen(world)
    wait_for_ends(world, 1)
    assert agent.stop() == 0


def test_what_waited_is_delivered_though_the_middle_of_the_journal_is_gone(world: World) -> None:
    world.receiver.fail(Fault(FaultKind.INTERNAL_SERVER))
    agent = ready(world)
    let_all_happen(world)
    world.receiver.wait_for(lambda _records: world.receiver.requests >= len(DIRECTORIES), DEADLINE_S)
    assert agent.stop() == 0
    world.receiver.clear()
    pages = os.path.getsize(world.journal_path) // PAGE
    damaged = lose(world.journal_path, numbers=[0, pages // 2])
    agent = ready(world)
    wait_for_ends(world, 1)
    assert agent.stop() == 0
    judge_the_salvage(world, damaged)
    judge_the_runs(world)


def test_runs_and_cursors_that_are_lost_are_read_again_and_not_told_again(world: World) -> None:
    told_everything(world)
    before, heard = runs_in(world.journal_path), len(world.receiver.records())
    damaged = lose(world.journal_path, "run", "cursor", "meta", numbers=[0])
    assert ready(world).stop() == 0
    told = judge_the_salvage(world, damaged)
    assert told["lost_by_table"] == {"run": 2}
    judge_the_runs(world)
    assert {run.run_id for run in runs_in(world.journal_path)} == {run.run_id for run in before}
    assert len(world.receiver.records()) == heard, "it has told again what the outbox holds"


@pytest.mark.parametrize("tables", [("outbox",), ("outbox", "run"), ("outbox", "run", "cursor", "evidence", "meta")])
def test_what_was_lost_with_the_outbox_is_told_from_the_logs(world: World, tables: tuple[str, ...]) -> None:
    told_everything(world)
    damaged = lose(world.journal_path, *tables, numbers=[0])
    agent = ready(world)
    wait_for_ends(world, 2)
    assert agent.stop() == 0
    told = judge_the_salvage(world, damaged)
    assert told["lost"]
    judge_the_runs(world)


def test_a_journal_that_has_vanished_is_said_to_have(world: World) -> None:
    told_everything(world)
    os.unlink(world.journal_path)
    assert ready(world).stop() == 0
    (said,) = [row for row in world.log() if row["event"] == "journal.renewed"]
    assert (said["level"], said["journal"]) == ("warning", world.journal_path)
