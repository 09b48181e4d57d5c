"""A world in virtual time: runs that happen, an agent that reads and tells them and may die anywhere, an endpoint that
answers as a script says, a person at the command line. One seed reproduces everything.

The agent's heart is the real one: fold, pipeline, journal on a real file, retry rules, circuit, pace, relay. Put on
instead are the clocks, the threads (a request is something that happens later), the log files (facts that are there
from a moment on) and the network. It can die wherever `point` is called; those places have names.
"""

from __future__ import annotations

import heapq
import random
import shutil
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from proton_tf_agent import replay
from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.binding import Binding, Unbound
from proton_tf_agent.domain.errors import UsageInvalid
from proton_tf_agent.domain.evidence import Cursor, Evidence, Fact, Observation, Output
from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.domain.redaction import NOTHING_TAINTED, Taint
from proton_tf_agent.domain.run import Run
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal
from proton_tf_agent.pipeline import Addressee, Pipeline, Rules
from proton_tf_agent.relay import Relay
from proton_tf_agent.selection import Scope

SINK = "proton"
EPOCH = 1_900_000_000.0
LATEST_S = 290.0  # a request that was given up still arrives: its signature is valid for so long
FAULTS_UNTIL_S = 4000.0
PATIENCE_S = 15 * 86_400.0  # longer than everything together is borne with
_SHM = "/dev/shm"  # where there is memory, commits cost no disk


POINTS = (
    "transaction: begins", "statement: done", "transaction: about to commit", "transaction: committed",
    "request: answered",
)  # fmt: skip


class Crash(BaseException):
    """The agent dies here."""


# --- what happens ------------------------------------------------------------------------------------------------

_BEGIN = (ev.OperationStarted("terraform", "1.11.4"), ev.PlanSummarised(1, 0, 0), ev.ApplyStarted("a.b"))
_NOTHING = (ev.OperationStarted("terraform", "1.11.4"), ev.PlanSummarised(0, 0, 0), ev.OutputsPlanned(False))
STORIES: Mapping[str, tuple[tuple[Evidence, ...], Status]] = {
    "applied": (
        (*_BEGIN, ev.ApplySummarised(1, 0, 0), ev.OutputsReported((Output("id", '"x"'),)), ev.LogClosed()),
        Status.SUCCEEDED,
    ),
    "errored": ((*_BEGIN, ev.ErrorReported("it broke", "a.b"), ev.LogClosed()), Status.FAILED),
    "died": ((*_BEGIN, ev.LogClosed()), Status.FAILED),
    "planned": (
        (ev.OperationStarted("terraform", "1.11.4"), ev.ErrorReported("no", ""), ev.LogClosed()),
        Status.FAILED,
    ),
    "nothing": ((*_NOTHING, ev.LogClosed()), Status.SUCCEEDED),
    # What seemed to be a plan without changes goes on: by then SUCCEEDED has been told.
    "resumed": ((*_NOTHING, ev.LogClosed(), ev.ApplyStarted("a.b"), ev.ErrorReported("no", "a.b")), Status.SUCCEEDED),
}


@dataclass(frozen=True)
class Script:
    """One run: whose it is, its log, what it says from which second on, and how it ends."""

    resource: int
    number: int  # among the runs of its resource
    path: str
    binding: Binding
    facts: tuple[tuple[float, Fact], ...]
    ends: Status

    @property
    def anchor(self) -> str:
        return self.facts[0][1].anchor


def scripts(rng: random.Random, wall_at: Callable[[float], float]) -> list[Script]:
    """Runs of a few resources, those of one resource one after the other. Their logs have wall-clock time."""
    made = []
    for resource in range(rng.randrange(1, 4)):
        at, deployment = rng.uniform(0, 300), 0
        for number in range(rng.randrange(1, 4)):
            deployment += rng.random() < 0.6
            evidence, ends = STORIES[rng.choice(list(STORIES))]
            anchor, facts = f"log-{resource}-{number}", []
            for position, one in enumerate(evidence):
                at += rng.choice((0.0, rng.uniform(0, 2), rng.uniform(0, 200)))
                if isinstance(one, ev.OperationStarted):
                    one = replace(one, at=wall_at(at))
                facts.append((at, Fact(one, anchor, position)))
            arn = f"arn:aws:proton:eu-west-1:123456789012:environment/r{resource}"
            bound = Binding(arn, f"0a1b2c3d-0000-4000-8000-{deployment:012}")
            made.append(Script(resource, number, f"/sim/r{resource}/{number}.log", bound, tuple(facts), ends))
            at += rng.uniform(1, 60)
    return made


class Around:
    """The run directories, as the pipeline asks for them."""

    def __init__(self, planned: Sequence[Script]) -> None:
        self._bindings = {script.anchor: script.binding for script in planned}

    def binding(self, run: Run, until: float | None = None) -> Binding | Unbound:
        return self._bindings[run.anchor]

    def is_held(self, run: Run) -> bool:
        return False

    def state_written_at(self, directory: str) -> float:
        return 0.0

    def recorded_state(self, directory: str) -> str:
        return ""

    def taint(self, run: Run, until: float | None = None) -> Taint:
        return NOTHING_TAINTED

    def outputs(self, run: Run) -> tuple[Output, ...] | None:
        return None

    def why_no_outputs(self, run: Run) -> str:
        return "there is no state"


# --- the endpoint ------------------------------------------------------------------------------------------------

_REFUSALS = {
    "throttled": OutcomeKind.THROTTLED, "unauthenticated": OutcomeKind.UNAUTHENTICATED, "gone": OutcomeKind.GONE,
    "denied": OutcomeKind.DENIED, "conflict": OutcomeKind.CONFLICT, "missing": OutcomeKind.NOT_FOUND,
    "unknown": OutcomeKind.UNKNOWN, "unresolvable": OutcomeKind.UNRESOLVABLE,
}  # fmt: skip
MOODS = ("well", "well", "down", "lost", "lost", "lost", "broken", *_REFUSALS)  # of the whole endpoint, for a while
FOR_GOOD = 10_000
CURSES = ("well", "well", "well", "invalid", "wordy", "conflict", "missing", "denied", "broken")  # of one resource


class Endpoint:
    """What stands behind the sink: how it feels at any time, what it was told, and what it has believed."""

    name = SINK

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        changes = sorted(rng.uniform(0, FAULTS_UNTIL_S) for _ in range(rng.randrange(6)))
        self._moods = [(0.0, "well"), *((at, rng.choice(MOODS)) for at in changes), (FAULTS_UNTIL_S, "well")]
        self._curses: dict[str, tuple[str, int]] = {}
        self.said: dict[str, set[Notification]] = defaultdict(set)
        self.believed: Counter[str] = Counter()
        self.applied: dict[str, list[Notification]] = defaultdict(list)
        self.requests: dict[int, tuple[str, OutcomeKind, bool]] = {}  # by attempt: whose, the answer, whether believed
        self.first_heard: dict[str, list[str]] = defaultdict(list)

    def wants(self, notification: Notification) -> bool:
        return True

    def close(self) -> None:
        """Nothing to let go of."""

    def send(self, notification: Notification) -> Outcome:
        told, line = notification.notification_id, notification.subject
        self.said[told].add(notification)
        if told not in self.first_heard[line]:
            self.first_heard[line].append(told)
        attempt, believed_before = self._world.attempt_under_way(told), self.believed[told]
        outcome = self._answer(notification)
        assert attempt not in self.requests, f"seed {self._world.seed}: one attempt, two requests"
        self.requests[attempt] = (told, outcome.kind, self.believed[told] > believed_before)
        self._world.point("request: answered")
        return outcome

    def _answer(self, notification: Notification) -> Outcome:
        mood = next(mood for at, mood in reversed(self._moods) if at <= self._world.ticks)
        if mood == "well":
            mood = self._curse(notification)
        if mood in _REFUSALS:
            return Outcome(_REFUSALS[mood], mood, 400, retry_after=self._rng.choice((None, 3.0)))
        if mood == "invalid" or (mood == "wordy" and notification.status_message):
            return Outcome(OutcomeKind.INVALID, "ValidationException", 400)
        if mood == "down":
            return Outcome(OutcomeKind.UNAVAILABLE, "ConnectTimeoutError")
        if mood == "broken":
            return Outcome(OutcomeKind.UNAVAILABLE, "InternalServerException", 500, ambiguous=True)
        if mood == "lost":
            if self._rng.random() < 0.6:
                late = self._rng.choice((0.0, self._rng.uniform(0, LATEST_S)))
                self.believed[notification.notification_id] += 1
                self._world.later(late, lambda: self._apply(notification))
            return Outcome(OutcomeKind.UNAVAILABLE, "ReadTimeoutError", ambiguous=True)
        self.believed[notification.notification_id] += 1
        self._apply(notification)
        return Outcome(OutcomeKind.ACCEPTED, http_status=200)

    def _curse(self, notification: Notification) -> str:
        """What ails this one resource: some things for a few requests, some for good."""
        known = self._curses.get(notification.subject)
        curse, left = known or (self._rng.choice(CURSES), self._rng.choice((1, 3, FOR_GOOD)))
        if curse in ("broken", "denied"):
            left = min(left, 40)  # what is broken for good is tried for good, what is denied for a day
        self._curses[notification.subject] = (curse, left - 1)
        return curse if left > 0 else "well"

    def _apply(self, notification: Notification) -> None:
        self.applied[notification.subject].append(notification)


# --- the world ---------------------------------------------------------------------------------------------------


class MortalJournal(Journal):
    """The journal of an agent that may die before, inside and after every transaction, and behind every write."""

    world: World

    def _do(self, name: str, **values: Any) -> sqlite3.Cursor:
        done = super()._do(name, **values)
        self.world.point("statement: done")
        return done

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self._depth:
            yield
            return
        self.world.point("transaction: begins")
        with super().transaction():
            yield
            self.world.point("transaction: about to commit")
        self.world.point("transaction: committed")


@dataclass
class World:
    """One simulated world. `live` lets it happen."""

    seed: int
    journal_type: type[MortalJournal] = MortalJournal
    ticks: float = 0.0
    deaths: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        jumps = (-3.2e8, 3.2e8, -3600.0, 3600.0, -100.0)
        self.jumps = [(self.rng.uniform(0, 1500), self.rng.choice(jumps)) for _ in range(self.rng.randrange(3))]
        self.scripts = scripts(self.rng, self._wall_at)
        self.endpoint = Endpoint(self, random.Random(self.seed + 1))
        self.directory = tempfile.mkdtemp(dir=_SHM)
        self.path = f"{self.directory}/memory/journal.db"
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._lives_left = self.rng.choice((0, 1, 3, 8))
        self._dies_in = self._next_death()
        self._agent: Agent | None = None
        self._lives: list[tuple[float, float]] = []
        self._plan()

    # --- time and chance -----------------------------------------------------------------------------------

    def wall(self) -> float:
        """Wall-clock seconds; they jump now and then."""
        return self._wall_at(self.ticks)

    def _wall_at(self, ticks: float) -> float:
        return EPOCH + ticks + sum(jump for at, jump in self.jumps if at <= ticks)

    def later(self, seconds: float, happens: Callable[[], None]) -> None:
        """Let something happen after so many seconds, whatever becomes of the agent."""
        heapq.heappush(self._events, (self.ticks + seconds, next(self._order), happens))

    def watched(self, ticks: float) -> bool:
        """Whether an agent was at work then."""
        return any(born <= ticks < died for born, died in self._lives)

    def point(self, name: str) -> None:
        """A place where the agent may die."""
        self._dies_in -= 1
        if self._dies_in == 0 and self._lives_left and self.ticks < FAULTS_UNTIL_S:
            self.deaths[name] += 1
            raise Crash(name)

    def _next_death(self) -> int:
        return self.rng.randrange(1, self.rng.choice((60, 1200)))

    def _plan(self) -> None:
        self.later(self.rng.choice((0.0, 0.0, self.rng.uniform(0, 500))), self._begin)
        for script in self.scripts:
            for at, _ in script.facts:
                self.later(at, self._turn)
        for _ in range(self.rng.randrange(4)):
            self.later(self.rng.uniform(0, 2 * FAULTS_UNTIL_S), self._replay)

    # --- the agent and what it does --------------------------------------------------------------------------

    def _begin(self) -> None:
        self._guarded(lambda: Agent(self))
        self._turn()

    def _turn(self) -> None:
        if self._agent is not None:
            self._guarded(self._agent.turn)

    def _replay(self) -> None:
        """A person sends something again, as the command line lets them."""
        if self._agent is None:
            return
        journal, rows = self._agent.journal, self._agent.journal.query("entries", after=0, limit=10_000)
        if not rows:
            return
        scope = Scope(notification=str(self.rng.choice(rows)["seq"]))
        with suppress(UsageInvalid):  # a replay itself, or superseded
            self._guarded(lambda: list(replay.append(journal, replay.choose(journal, scope), self.wall())))
        self._turn()

    def _guarded(self, work: Callable[[], object]) -> None:
        """Let the agent do something; if it dies over it, another takes its place after a while."""
        try:
            done = work()
        except Crash:
            self._bury()
            self.later(self.rng.choice((0.0, self.rng.uniform(0, 400))), self._begin)
        else:
            if isinstance(done, Agent):
                self._agent = done
                self._lives.append((self.ticks, float("inf")))

    def _bury(self) -> None:
        self._lives_left -= 1
        self._dies_in = self._next_death()
        if self._agent is not None:
            self._agent.die()
            self._lives[-1] = (self._lives[-1][0], self.ticks)
        self._agent = None

    def live(self) -> None:
        """Let everything happen until nothing more does; AssertionError when it does not come to rest."""
        while self._events:
            at, _, happens = heapq.heappop(self._events)
            self.ticks = max(self.ticks, at)
            happens()
            assert self.ticks < FAULTS_UNTIL_S + PATIENCE_S, f"seed {self.seed}: it does not come to rest"

    def close(self) -> None:
        """Leave nothing behind."""
        if self._agent is not None:
            self._agent.journal.close()
        shutil.rmtree(self.directory)

    def attempt_under_way(self, notification_id: str) -> int:
        """The one attempt of a notification that has begun and not ended."""
        rows = self.journal.query("entries_by_notification", notification_id=notification_id)
        under_way = "SELECT id FROM attempt WHERE seq = ? AND finished_at IS NULL"
        found = [id_ for row in rows for (id_,) in self.journal._connection.execute(under_way, (row["seq"],))]
        assert len(found) == 1, f"seed {self.seed}: a request for {notification_id}, and attempts {found} under way"
        return int(found[0])

    @property
    def journal(self) -> Journal:
        """The journal of the agent that is at work at the end."""
        assert self._agent is not None
        return self._agent.journal


class Agent:
    """One life of the agent, as `agent.Agent` assembles it, with a turn in place of threads."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._alive = True
        world.journal_type.world = world
        self.journal = world.journal_type.open_as_daemon(world.path)
        self._on_the_way: list[Notification] = []
        try:
            rules = Rules(no_changes_succeed=True)
            proton = Addressee(SINK, world.endpoint.wants, lambda _notification: "")
            self._relay = Relay(
                self.journal, {SINK: world.endpoint}, lambda _name, _keys: None, world.wall, world.rng.random,
                ticks=lambda: world.ticks, submit=self._submit,
            )  # fmt: skip
            self._pipeline = Pipeline(
                self.journal, Around(world.scripts), [proton], rules, lambda _told: None, self._relay.nudge
            )
        except Crash:
            self.journal.close()
            raise

    def turn(self) -> None:
        """Read what there is, tell what is due, and come back when something is due next."""
        self._read()
        self._pipeline.elapse(self._world.wall())
        wait = self._relay.turn()
        due_at = self._pipeline.next_due_at()
        if due_at is not None:
            wait = min(wait, max(0.0, due_at - self._world.wall()) + 0.001)
        if wait != float("inf"):
            self._world.later(wait, self._turn_if_alive)

    def _turn_if_alive(self) -> None:
        if self._alive:
            self._world._turn()

    def _read(self) -> None:
        rng = self._world.rng
        for script in self._world.scripts:
            known = self._pipeline.cursors.get(script.path)
            offset = known.offset if known else 0
            there = [fact for at, fact in script.facts if at <= self._world.ticks]
            if len(there) > offset:
                until = rng.randrange(offset, len(there)) + 1
                cursor = Cursor(script.path, 1, 1 + hash_of(script.path), until)
                directory = script.path.rpartition("/")[0]
                seen = Observation("json_log", script.path, directory, "default", tuple(there[offset:until]), cursor)
                self._pipeline.absorb([seen], self._world.wall(), lambda _path: 0.0)
                if until < len(there):
                    self._world.later(rng.uniform(0, 3), self._turn_if_alive)

    def _submit(self, job: Callable[[], None]) -> None:
        """A request leaves a little later, unless the agent has died by then, and its answer is found at once."""

        def leaves() -> None:
            if self._alive:
                self._world._guarded(job)
                self._turn_if_alive()

        self._world.later(self._world.rng.choice((0.01, self._world.rng.uniform(0, 20))), leaves)

    def die(self) -> None:
        """What was not committed is gone; what was about to leave never does."""
        self._alive = False
        self.journal.close()


def hash_of(path: str) -> int:
    """A number for a path, the same in every process."""
    return int.from_bytes(path.encode()[-6:], "big") % 1_000_003
