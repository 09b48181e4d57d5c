"""Agents whose disk fails the journal: what happens around them, how they must end, and what the next one must find."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal
from proton_tf_agent.receiver import Receiver, Record

from .agents import DEADLINE_S, AgentProcess, settings_for, with_journal
from .enactors import Enactor, Script
from .io_faults import IOFault
from .watching import bind_directory

ARN = "arn:aws:proton:us-east-1:111122223333:environment/"
DIRECTORIES = ("east", "west")
# Shorter than anything the agent itself may wait for: 15 s for requests under way, 20 s for an answer.
AT_ONCE_S = 8.0


def all_is_told(records: Iterable[Record]) -> bool:
    """Whether the verdict on the run of every directory has been heard."""
    return {(ARN + name, "SUCCEEDED") for name in DIRECTORIES} <= {(r.resource_arn, r.status) for r in records}


class World:
    """Two directories in each of which a run is going to happen, and agents one after the other."""

    def __init__(self, base: Path, receiver: Receiver) -> None:
        self.receiver = receiver
        self.memory = base / "memory"
        self.memory.mkdir(mode=0o700)
        self.journal_path = str(self.memory / "journal.db")
        self.root = base / "watched"
        self._settings = settings_for(str(self.root), self.journal_path, receiver.url)
        self._agents: list[AgentProcess] = []
        self.runs: dict[str, Enactor] = {}
        for name in DIRECTORIES:
            bind_directory(str(self.root / name), ARN + name, "00000000-0000-4000-8000-000000000000")
            script = Script.of("apply_ok", str(self.root / name), 1, time.time() + 60, "apply.log")
            self.runs[name] = Enactor(script)

    def agent(self, fault: IOFault | None = None, tracer: Sequence[str] = ()) -> AgentProcess:
        """A new agent, which such a fault may befall, or which runs under a tracer."""
        if fault is not None and fault.path:
            fault = replace(fault, path=self.journal_path)
        self._agents.append(AgentProcess(self._settings, str(self.memory), fault=fault, tracer=tracer))
        return self._agents[-1]

    def log(self) -> list[dict[str, str]]:
        """What all agents have logged."""
        lines = (self.memory / "agent.log").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Leave no process."""
        for agent in self._agents:
            agent.kill()
        for run in self.runs.values():
            run.close()

    def judge_the_end(self, agent: AgentProcess) -> None:
        """It has ended with an error and one line that says which part, where, and what to do."""
        assert agent.gone(AT_ONCE_S) == 1
        (said,) = [row for row in self.log() if row["event"] == "agent.failed"]
        assert said["part"] == "journal"
        assert said["reason"].startswith(f"{self.journal_path}: the disk has failed the journal: SQLITE_IOERR_")
        assert "look at the disk" in said["reason"]
        assert self.log()[-1] == said, "it went on"

    def judge_the_next(self) -> None:
        """The next agent tells every verdict; whatever was reported as delivered is there."""
        reported = {row["seq"] for row in self.log() if row["event"] == "notification.delivered"}
        with Journal.open_as_daemon(self.journal_path) as journal:  # rolls back what was not committed
            rows = journal.query("entries", after=0, limit=1000)
        assert reported <= {row["seq"] for row in rows if row["state"] == "delivered"}
        self.receiver.clear()
        agent = self.agent()
        assert agent.wait_until_ready()
        for run in self.runs.values():
            if run.left:
                run.write(run.left)
        self.receiver.wait_for(all_is_told, DEADLINE_S)
        assert agent.stop() == 0
        rows = with_journal(self.journal_path, lambda journal: journal.query("entries", after=0, limit=1000))
        entries = [row for row in rows if not row["reassertion"]]
        assert {row["state"] for row in entries} <= {"delivered", "superseded"}
        assert [row["status"] for row in entries].count("SUCCEEDED") == len(DIRECTORIES)
