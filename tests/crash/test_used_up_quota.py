"""The agent's user has used up his quota: what SQLite takes for a broken disk is a full one.

A filter of system calls lets every write fail that would let the journal grow, and gives no other file room. It holds
as long as its process: how an agent goes on once there is room is seen in `tests/machine`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.daemons import DEADLINE_S, AgentCommand, ask, write_settings
from support.io_faults import IOFault
from support.many_runs import ManyRuns, happened, journaled, told

from proton_tf_agent.domain.values import replace
from proton_tf_agent.receiver import Receiver

USED_UP = IOFault(("pwrite64",), error="EDQUOT", growth=True)
BROKEN = replace(USED_UP, error="EIO")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "memory" / "journal.db"


@pytest.fixture
def settings_file(tmp_path: Path, journal: Path, receiver: Receiver) -> Path:
    file = tmp_path / "agent.toml"
    write_settings(file, journal, [tmp_path / "watched"], receiver.url)
    return file


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def runs(tmp_path: Path) -> ManyRuns:
    return ManyRuns(tmp_path / "watched")


def test_an_agent_without_quota_lives_on_its_reserve_and_then_waits(
    settings_file: Path, journal: Path, receiver: Receiver, runs: ManyRuns
) -> None:
    with closing(AgentCommand(settings_file, fault=replace(USED_UP, path=str(journal)))) as agent:
        agent.wait_until_ready()
        runs.add(1)
        receiver.wait_for(runs.all_are_told, DEADLINE_S)  # by now there is a reserve
        agent.fail()
        runs.add(5)
        receiver.wait_for(runs.all_are_told, DEADLINE_S)
        agent.wait_for(lambda rows: happened(rows, "journal.short"), "does not say that its reserve is in use")
        assert not happened(agent.rows(), "journal.full")
        (status,) = ask(settings_file, "status")
        assert status["degraded"] is None
        runs.add(40)
        agent.wait_for(lambda rows: happened(rows, "journal.full", part="evidence"), "does not say that it waits")
        receiver.wait_for(lambda records: len(told(records)) == journaled(agent.rows()), DEADLINE_S)
        (status,) = ask(settings_file, "status")
        assert (status["agent"], status["degraded"]) == ("running", "journal-full")
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for(lambda rows: happened(rows, "agent.reloaded"), "does not read its settings")
        assert agent.stop() == 0
        assert not happened(agent.rows(), "agent.failed")
        assert 6 < journaled(agent.rows()) < runs.count
    (status,) = ask(settings_file, "status")
    assert (status["agent"], status["degraded"]) == ("stopped", None)
    with closing(AgentCommand(settings_file)) as agent:
        receiver.wait_for(runs.all_are_told, DEADLINE_S)
        assert agent.stop() == 0
    runs.judge(receiver.records())


def test_a_disk_that_breaks_where_the_journal_grows_is_no_full_one(
    settings_file: Path, journal: Path, receiver: Receiver, runs: ManyRuns
) -> None:
    with closing(AgentCommand(settings_file, fault=replace(BROKEN, path=str(journal)))) as agent:
        agent.wait_until_ready()
        agent.fail()
        runs.add(40)
        assert agent.gone() == 1
        assert happened(agent.rows(), "agent.failed", part="journal")
