"""The world of the live matrix: one daemon, one receiver, and many cases that happen below the same roots."""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from proton_tf_agent.receiver import Receiver, Record

from ..daemons import AgentCommand, Row, all_have_ended, ask, write_settings
from ..terraform import Literal, mapped
from .case import APPLY, Case
from .stage import Stage

_AT_ONCE = 3
_LONGEST_VALUE = 1024  # characters of an output's value, by Proton's contract
_ALL = "1000000"


@dataclass
class Outcome:
    """What came of one case."""

    trouble: str = ""
    heard: list[Record] = field(default_factory=list)
    runs: list[Row] = field(default_factory=list)
    entries: list[Row] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)


class World:
    """Two watched roots, a receiver and a daemon that watches and tells. Use as a context manager."""

    def __init__(self, base: Path, terraform_path: str) -> None:
        self.base = base
        self.memory = base / "memory"
        self.settings_file = base / "agent.toml"
        self._terraform_path = terraform_path
        roots = [base / "watched", base / "elsewhere"]
        for root in roots:
            root.mkdir()
        self.receiver = Receiver()
        write_settings(self.settings_file, self.memory / "journal.db", roots, self.receiver.url)
        self.agents: list[AgentCommand] = []

    def __enter__(self) -> World:
        self.start_agent()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for agent in self.agents:
            agent.close()
        self.receiver.close()

    @property
    def agent(self) -> AgentCommand:
        """The one that was started last."""
        return self.agents[-1]

    def start_agent(self) -> None:
        """Start a daemon; returns when it has looked at everything once."""
        self.agents.append(AgentCommand(self.settings_file))
        self.agent.wait_until_ready()

    def stage(self, name: str) -> Stage:
        """A place for one case."""
        return Stage(self.base, name, self._terraform_path, self.receiver, self.agent)

    def play(self, cases: Sequence[Case]) -> dict[str, Outcome]:
        """Let every case happen, several at once; returns when the agent has drawn all its conclusions."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            outcomes = dict(zip((case.name for case in cases), pool.map(self._play, cases), strict=True))
        self.come_to_rest()
        runs, entries = self.runs(), self.entries()
        for case in cases:
            outcome, arn = outcomes[case.name], f"environment/{case.slug}"
            places = tuple(f"{self.base}/{root}/{case.slug}/" for root in ("watched", "elsewhere"))
            outcome.runs = [row for row in runs if f"{row['directory']}/".startswith(places)]
            outcome.heard = [record for record in self.receiver.records() if record.resource_arn.endswith(f":{arn}")]
            outcome.entries = [row for row in entries if row["resource_arn"].endswith(f":{arn}")]
        return outcomes

    def come_to_rest(self) -> None:
        """Wait until what has happened was read, every verdict has come due and everything was told."""
        stage = self.stage(f"last-word-{len(self.agents)}")
        try:
            stage.write("main.tf", "")
            assert stage.run(f"{APPLY} > apply.log") == 0
            stage.wait_until_heard(lambda records: records[-1:] != [] and records[-1].status == "SUCCEEDED", "is deaf")
            self.agent.wait_for(all_have_ended, "left runs open")
            self.agent.wait_for(all_is_told, "left something untold")
        finally:
            stage.close()

    def runs(self) -> list[Row]:
        """Every run in the journal as `runs list` tells them, oldest first."""
        rows = ask(self.settings_file, "runs", "list", "--limit", _ALL)
        return rows[::-1]

    def entries(self) -> list[Row]:
        """Every entry of the outbox as `journal list` tells them."""
        return ask(self.settings_file, "journal", "list", "--limit", _ALL)

    def everything_kept(self) -> bytes:
        """All the agent has put on disk or into its log."""
        kept = b"".join(path.read_bytes() for path in self.memory.iterdir())
        return kept + json.dumps([agent.rows() for agent in self.agents]).encode()

    def _play(self, case: Case) -> Outcome:
        outcome = Outcome()
        stage = self.stage(case.slug)
        try:
            assert self.agent.process.poll() is None, f"the agent has ended: {self.agent.rows()[-2:]}"
            for path, text in case.files.items():
                stage.write(path, text)
            for step in case.steps:
                step(stage)
            if "SUCCEEDED" in case.told[-1:]:
                outcome.outputs = _outputs(stage, case.outputs)
        except Exception:  # it is this case's, not the world's
            outcome.trouble = traceback.format_exc()
        finally:
            stage.close()
        return outcome


def all_is_told(rows: Sequence[Row]) -> bool:
    """Whether everything the log says to have been enqueued was delivered or became pointless."""
    told = {row["seq"] for row in rows if row["event"] in ("notification.delivered", "notification.parked")}
    enqueued = [row for row in rows if row["event"] == "notification.enqueued"]
    last = {row["resource_arn"]: row["seq"] for row in enqueued}
    return set(last.values()) <= told


def _outputs(stage: Stage, line: str) -> dict[str, str]:
    """What Terraform itself says the outputs are, as they are to be told."""
    answer = stage.outside / "outputs.json"
    assert stage.run(f"{line} > {answer}") == 0
    said = json.loads(answer.read_text(), parse_float=Literal, parse_int=Literal)
    values = {name: mapped(output["value"]) for name, output in said.items() if not output["sensitive"]}
    return {name: value for name, value in values.items() if len(value) <= _LONGEST_VALUE}
