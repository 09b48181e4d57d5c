"""kill -9 at any instant: restarted, the agent arrives at the same rows, and Proton hears every verdict once.

Runs are recorded ones that happen again as real processes with real locks, a few lines at a time, so that the
instants of the kills fall everywhere: before the agent is ready, between two lines of a log, inside a transaction,
and while a request has been accepted but not answered.
"""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, takewhile
from operator import eq
from pathlib import Path

import pytest
from support.agents import AgentProcess, runs_in, settings_for, with_journal
from support.enactors import Enactor, Script
from support.soak import rounds
from support.watching import bind_directory

from proton_tf_agent.journal import notification_of
from proton_tf_agent.receiver import Receiver, Record
from proton_tf_agent.settings import Settings

KILLS = rounds(50, 1000)
REPEATED = rounds(2, 40)  # how often every scenario happens in every directory
ALL = 10_000  # more rows than there are
LONGEST_LIFE_S = 0.9
LAST_WORD_S = 30.0
ARN = "arn:aws:proton:us-east-1:111122223333:environment/"
# From what a death is inferred, and who held the lock, depends on what was left to be seen; the verdict does not.
_SEEN = re.compile(r"(?<=\(inferred): [^)]*| \(run by [^)]*\)")
SEED = 20261123
SCENARIOS = ("apply_ok", "apply_partial_failure", "sigint_once", "apply_update", "plan_fail_data", "destroy_ok")
# The last in its directory: the lock info a dead run leaves behind is evidence, and the next run sweeps it away.
KILLED = "sigkill_mid_apply"
DIRECTORIES = ("east", "west", "north")


class Accident:
    """Kills the agent while the receiver holds its request: accepted, not yet answered."""

    def __init__(self) -> None:
        self.happened = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._spared = 0

    def arm(self, agent: AgentProcess | None, spared: int | None) -> None:
        """Kill this agent over the request after so many; None: spare it altogether."""
        self._spared = spared or 0
        self._process = agent.process if agent is not None and spared is not None else None

    def on_accepted(self, _record: Record) -> None:
        """Called by the receiver, before it answers."""
        process = self._process
        if process is not None and self._spared <= 0:
            self._process = None
            self.happened += 1
            process.kill()
            process.wait()
        self._spared -= 1


@dataclass
class World:
    """A watched root, what happens below it, and an agent that may die at any time."""

    root: Path
    memory: Path
    scripts: dict[str, list[Script]]
    receiver: Receiver
    going_on: dict[str, Enactor] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    agents: list[AgentProcess] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        return settings_for(str(self.root), str(self.memory / "journal.db"), self.receiver.url)

    def agent(self) -> AgentProcess:
        """A new agent on the same journal."""
        self.agents.append(AgentProcess(self.settings, str(self.memory)))
        return self.agents[-1]

    def advance(self, rng: random.Random) -> bool:
        """Let a run or two write some more lines; False when everything has happened."""
        unfinished = [name for name in self.scripts if self.done[name] < len(self.scripts[name])]
        for name in rng.sample(unfinished, min(len(unfinished), rng.randrange(1, 3))):
            enactor = self.going_on.get(name) or Enactor(self.scripts[name][self.done[name]])
            self.going_on[name] = enactor
            enactor.write(rng.randrange(1, 16))
            if not enactor.left:
                del self.going_on[name]
                self.done[name] += 1
        return bool(unfinished)

    def wait_for_the_last_word(self) -> None:
        """Until the verdict on the last run of every directory, the killed one, was heard."""
        arns = {ARN + name for name in self.scripts}

        def heard(records: Sequence[Record]) -> bool:
            return arns <= {r.resource_arn for r in records if "inferred" in str(r.status_message)}

        self.receiver.wait_for(heard, LAST_WORD_S)

    def found(self) -> dict[str, tuple[object, ...]]:
        """What the journal holds of every run, by its log's first line, and how its end is told."""
        told: dict[str, list[object]] = defaultdict(list)
        for row in self.rows("entries", after=0, limit=ALL):
            notification = notification_of(row["body"])
            if notification.status.is_terminal and not row["reassertion"]:
                why = _SEEN.sub("", notification.status_message)
                told[notification.run_id].append((notification.status, why, notification.outputs))
        runs = runs_in(self.settings.journal.path)
        assert told.keys() <= {run.run_id for run in runs}, "something is told about no run"
        return {run.anchor or run.run_id: (run.directory, run.status, *told[run.run_id]) for run in runs}

    def rows(self, query: str, **values: object) -> list[sqlite3.Row]:
        """Rows of the journal."""
        return with_journal(self.settings.journal.path, lambda journal: journal.query(query, **values))

    def close(self) -> None:
        """Leave no process and no socket."""
        for agent in self.agents:
            agent.kill()
        for enactor in self.going_on.values():
            enactor.close()
        self.receiver.close()


def content(record: Record) -> tuple[object, ...]:
    """What was said, whenever."""
    return (record.deployment_id, record.status, record.status_message, tuple(record.outputs.items()))


@pytest.fixture
def scripts(tmp_path: Path) -> dict[str, list[Script]]:
    """Every scenario once in every directory, in an order of its own; one directory keeps a single log."""
    planned: dict[str, list[Script]] = {}
    soon = time.time() + 60  # what began before the agent first saw the root would be history
    for place, name in enumerate(DIRECTORIES):
        scenarios = list(SCENARIOS) * REPEATED
        random.Random(name).shuffle(scenarios)
        scenarios.append(KILLED)
        directory = str(tmp_path / "watched" / name)
        planned[name] = [
            Script.of(scenario, directory, n, soon + 100 * place + 10 * n, "runs.log" if place == 0 else f"{n}.log")
            for n, scenario in enumerate(scenarios)
        ]
    return planned


def world_of(tmp_path: Path, name: str, scripts: dict[str, list[Script]], receiver: Receiver) -> World:
    """A fresh world in which the same is going to happen."""
    root, memory = tmp_path / "watched", tmp_path / name
    shutil.rmtree(root, ignore_errors=True)
    memory.mkdir(mode=0o700)
    for number, directory in enumerate(DIRECTORIES):
        deployment_id = f"00000000-0000-4000-8000-00000000000{number}"
        bind_directory(str(root / directory), ARN + directory, deployment_id)
    return World(root, memory, scripts, receiver)


@pytest.mark.timeout(600 * rounds(1, 12))
def test_kill_9_at_any_instant_loses_no_verdict_repeats_none_and_changes_none(
    tmp_path: Path, scripts: dict[str, list[Script]], aws_environment: None
) -> None:
    with closing(world_of(tmp_path, "control", scripts, Receiver())) as undisturbed:
        let_happen(undisturbed, kills=0, accident=Accident())
        expected = undisturbed.found()
    judge_the_verdicts(expected, scripts)
    accident = Accident()
    with closing(world_of(tmp_path, "crash", scripts, Receiver(on_accepted=accident.on_accepted))) as world:
        let_happen(world, kills=KILLS, accident=accident)
        found = world.found()
        differing = {key: (found.get(key), expected.get(key)) for key in found.keys() | expected.keys()}
        assert not {key: pair for key, pair in differing.items() if pair[0] != pair[1]}
        assert accident.happened, "no kill fell between accepting and answering"
        judge_the_lines(world)
        judge_the_order(world)


def judge_the_verdicts(found: dict[str, tuple[object, ...]], scripts: dict[str, list[Script]]) -> None:
    """Every run has its true verdict, and one notification tells it."""
    for planned in scripts.values():
        statuses = Counter(run[1] for run in found.values() if run[0] == planned[0].directory)
        assert statuses == Counter(script.verdict for script in planned)
    assert all(len(run) == 3 for run in found.values())


def let_happen(world: World, kills: int, accident: Accident) -> None:
    """Let every run happen while agents are killed, then give a last agent the time to tell everything."""
    rng = random.Random(SEED)
    start(world.agent()).stop()  # from here on the root is known: what happens is to be told
    for _ in range(kills):
        agent = world.agent()
        accident.arm(agent, rng.randrange(4) if rng.random() < 0.5 else None)
        if rng.random() < 0.7:
            agent.wait_until_ready()
        for _ in range(rng.randrange(3)):
            world.advance(rng)
        with suppress(subprocess.TimeoutExpired):
            agent.process.wait(rng.uniform(0, LONGEST_LIFE_S))
        world.advance(rng)
        agent.kill()
        accident.arm(None, None)
        if rng.random() < 0.4:
            world.advance(rng)
    last = start(world.agent())
    while world.advance(rng):
        pass
    world.wait_for_the_last_word()
    assert last.stop() == 0


def start(agent: AgentProcess) -> AgentProcess:
    """Let an agent have its first look in peace."""
    assert agent.wait_until_ready()
    return agent


def judge_the_lines(world: World) -> None:
    """For every resource: what was heard is what was enqueued, in that order, with no repeats but those of requests
    that were under way when the agent died."""
    heard: dict[str, list[Record]] = defaultdict(list)
    for record in world.receiver.records():
        heard[record.resource_arn].append(record)
    lines: dict[str, list[sqlite3.Row]] = defaultdict(list)
    for row in world.rows("entries", after=0, limit=ALL):
        assert row["state"] in ("delivered", "superseded") or row["reassertion"], dict(row)
        if row["state"] == "delivered":
            lines[row["resource_arn"]].append(row)
    for arn, line in lines.items():
        for said, rows in groupby(line, key=meant):
            times = len(list(takewhile(partial(eq, said), map(content, heard[arn]))))
            entries = list(rows)
            allowed = len(entries) + sum(interrupted(world, entry["seq"]) for entry in entries)
            assert len(entries) <= times <= allowed, f"{said} was heard {times} times here, {allowed} allowed"
            del heard[arn][:times]
    assert not any(heard.values()), f"nobody meant to say {heard}"


def meant(row: sqlite3.Row) -> tuple[object, ...]:
    """What an entry of the outbox says."""
    n = notification_of(row["body"])
    return (n.deployment_id, n.status.value, n.status_message, n.outputs)


def interrupted(world: World, seq: int) -> int:
    """How many requests for an entry were under way when the agent died."""
    return sum(attempt["ambiguous"] or 0 for attempt in world.rows("attempts_of_entry", seq=seq))


def judge_the_order(world: World) -> None:
    """For every resource the verdicts are told in the order of its runs. One that comes to light only when a later
    run's was told already is superseded by that: the last word is the last run's."""
    began = {run.run_id: run.started_at for run in runs_in(world.settings.journal.path)}
    ends = [row for row in world.rows("entries", after=0, limit=ALL) if row["status"] != "IN_PROGRESS"]
    rows = {row["seq"]: row for row in ends if not row["reassertion"]}
    for name in world.scripts:
        line = [row for row in rows.values() if row["resource_arn"] == ARN + name]
        told = [began[row["run_id"]] for row in line if row["state"] == "delivered"]
        assert told == sorted(told)
        for row in line:
            assert row["state"] == "delivered" or began[rows[row["superseded_by"]]["run_id"]] > began[row["run_id"]]
