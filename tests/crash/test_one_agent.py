"""One agent to a journal, and its end: who comes second is refused, who is killed is succeeded, who is asked to stop
does so although a server keeps it waiting."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from support.agents import DEADLINE_S, AgentProcess, settings_for, with_journal
from support.outboxes import notification

from proton_tf_agent.domain.notification import Status
from proton_tf_agent.journal import Journal
from proton_tf_agent.receiver import Receiver

AGENTS = 20
HELD = 75  # sysexits(3) EX_TEMPFAIL: another agent holds the journal
STOPPED_WITHIN_S = 15.0


def waiting(path: str, *numbers: int) -> None:
    """A journal in which notifications wait to be told."""
    with Journal.open_as_daemon(path) as journal, journal.transaction():
        for number in numbers:
            journal.enqueue(notification(number, Status.FAILED), "proton", 1000.0)


def test_of_twenty_agents_that_start_at_once_one_works_and_the_others_name_it(
    tmp_path: Path, receiver: Receiver
) -> None:
    """P17; and once it is killed, another one takes over."""
    (tmp_path / "watched").mkdir()
    settings = settings_for(str(tmp_path / "watched"), str(tmp_path / "memory" / "journal.db"), receiver.url)
    agents = [AgentProcess(settings, str(tmp_path)) for _ in range(AGENTS)]
    try:
        winners = [agent for agent in agents if agent.wait_until_ready()]
        assert len(winners) == 1
        losers = Counter(agent.gone() for agent in agents if agent is not winners[0])
        assert losers == {HELD: AGENTS - 1}
        pid = f"process {winners[0].process.pid}"
        assert (tmp_path / "agent.log").read_text("utf-8").count(pid) == AGENTS - 1
    finally:
        for agent in agents:
            agent.process.kill()
    successor = AgentProcess(settings, str(tmp_path))
    assert successor.wait_until_ready()
    assert successor.stop() == 0


def test_asked_to_stop_it_ends_in_time_though_a_request_is_never_answered_and_loses_nothing(
    tmp_path: Path, receiver: Receiver
) -> None:
    """P27: no new request, ten seconds for those under way, exit status 0; what they were about is sent again."""
    (tmp_path / "watched").mkdir()
    path = str(tmp_path / "memory" / "journal.db")
    settings = settings_for(str(tmp_path / "watched"), path, receiver.url)
    waiting(path, 1, 2)
    hold = receiver.hold()
    agent = AgentProcess(settings, str(tmp_path))
    hold.wait(DEADLINE_S)
    agent.process.terminate()
    assert agent.gone(STOPPED_WITHIN_S) == 0
    states = with_journal(path, lambda journal: [row["state"] for row in journal.query("entries", after=0, limit=9)])
    assert states == ["sending", "pending"]
    hold.release(applied=False)
    receiver.clear()
    successor = AgentProcess(settings, str(tmp_path))
    try:
        heard = receiver.wait_for(lambda records: len(records) >= 2, DEADLINE_S)
        assert [record.status_message for record in heard] == ["number 1", "number 2"]
        first = with_journal(path, lambda journal: journal.query("attempts_of_entry", seq=1))
        assert ("interrupted", 1) in {(attempt["outcome"], attempt["ambiguous"]) for attempt in first}
    finally:
        assert successor.stop() == 0
