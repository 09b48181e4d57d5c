"""The disk fails the journal: the agent says so and is gone at once, and the next one derives everything again.

A filter of system calls lets fsync or pwrite64 fail in a running agent, for good. It must not try again, nor wait for a
request that the receiver holds; nothing that it has reported as delivered may be missing afterwards.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.agents import DEADLINE_S, AgentProcess
from support.daemons import write_settings
from support.failing_disk import ARN, World
from support.io_faults import IOFault

from proton_tf_agent.domain.values import replace
from proton_tf_agent.receiver import Fault, FaultKind, Receiver, Record

TESTS = Path(__file__).parents[1]
HELD = Fault(FaultKind.LATENCY, delay=600)

# SQLite calls either of the two, as it was built.
FSYNC = IOFault(("fsync", "fdatasync"))
FSYNC_WITHOUT_SPACE = replace(FSYNC, error="ENOSPC")
PWRITE = IOFault(("pwrite64",))
PWRITE_OF_THE_DATABASE = replace(PWRITE, path="journal.db")
FAULTS = {
    "fsync": FSYNC,
    "fsync_without_space": FSYNC_WITHOUT_SPACE,
    "pwrite": PWRITE,
    "pwrite_of_the_database": PWRITE_OF_THE_DATABASE,
}


# A daemon from the command line whose disk fails from its first moment on.
PROGRAM = """
import sys
from support.io_faults import IOFault, begin
from proton_tf_agent.cli import main
begin(IOFault(("fsync", "fdatasync")))
sys.exit(main(["run", "--config", sys.argv[1]]))
"""


@pytest.fixture
def answered() -> threading.Event:
    """Set: the receiver answers. Until then it keeps whom it has accepted waiting."""
    event = threading.Event()
    event.set()
    return event


@pytest.fixture
def accepted() -> threading.Event:
    """The receiver has accepted a request."""
    return threading.Event()


@pytest.fixture
def world(
    tmp_path: Path, aws_environment: None, answered: threading.Event, accepted: threading.Event
) -> Iterator[World]:
    def hold(_record: Record) -> None:
        accepted.set()
        answered.wait(DEADLINE_S)

    with Receiver(on_accepted=hold) as receiver, closing(World(tmp_path, receiver)) as world:
        yield world


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> IOFault:
    """Each way in which the disk may fail."""
    return FAULTS[request.param]


def begin_both_runs(world: World) -> None:
    """A few lines of each, and IN_PROGRESS is told."""
    for run in world.runs.values():
        run.write(5)
    world.receiver.wait_for(lambda records: len({record.resource_arn for record in records}) == 2, DEADLINE_S)


@pytest.mark.parametrize("fault", ["fsync", "pwrite"], indirect=True)
@pytest.mark.parametrize("is_new", [True, False], ids=["a new journal", "an old journal"])
def test_a_disk_that_fails_before_it_is_ready_ends_it(world: World, fault: IOFault, is_new: bool) -> None:
    if not is_new:
        first = world.agent()
        assert first.wait_until_ready()
        assert first.stop() == 0
    for run in world.runs.values():
        run.write(5)
    agent = world.agent(replace(fault, at_once=True))
    assert not agent.wait_until_ready()
    world.judge_the_end(agent)
    world.judge_the_next()


def test_a_disk_that_fails_while_runs_are_on_ends_it(world: World, fault: IOFault) -> None:
    agent = world.agent(fault)
    assert agent.wait_until_ready()
    begin_both_runs(world)
    agent.fail()
    world.runs["east"].write(20)
    world.judge_the_end(agent)
    world.judge_the_next()


def with_a_request_under_way(world: World, fault: IOFault) -> AgentProcess:
    """An agent that the receiver keeps waiting for the answer to its first request."""
    world.receiver.fail(HELD, resource_arn=ARN + "east")
    agent = world.agent(fault)
    assert agent.wait_until_ready()
    world.runs["east"].write(5)
    world.receiver.wait_for(lambda _records: world.receiver.requests == 1, DEADLINE_S)
    return agent


def test_it_does_not_wait_for_a_request_under_way_when_an_observation_cannot_be_kept(
    world: World, fault: IOFault
) -> None:
    agent = with_a_request_under_way(world, fault)
    agent.fail()
    world.runs["west"].write(5)
    world.judge_the_end(agent)
    world.judge_the_next()


def test_it_does_not_wait_for_a_request_under_way_when_the_answer_to_another_cannot_be_kept(
    world: World, fault: IOFault, answered: threading.Event, accepted: threading.Event
) -> None:
    agent = with_a_request_under_way(world, fault)
    answered.clear()
    world.runs["west"].write(5)
    assert accepted.wait(DEADLINE_S)
    agent.fail()
    answered.set()
    world.judge_the_end(agent)
    world.judge_the_next()


def test_a_directory_that_the_disk_may_lose_is_no_place_for_a_new_journal(tmp_path: Path) -> None:
    settings_file = tmp_path / "agent.toml"
    write_settings(settings_file, tmp_path / "new" / "journal.db", [tmp_path / "watched"], "http://127.0.0.1:9")
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(settings_file)],
        cwd=TESTS, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=DEADLINE_S,
    )  # fmt: skip
    assert said.returncode == 1
    expected = f"proton-tf-agent: {tmp_path}: what was made in it cannot be kept: Input/output error"
    assert said.stderr.splitlines()[-1] == expected
