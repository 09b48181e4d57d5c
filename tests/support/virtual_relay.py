"""The real relay on a real journal in virtual time, before a sink that answers as a test says: a day passes at once."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

from proton_tf_agent.domain.notification import Notification
from proton_tf_agent.domain.outbox import Outcome
from proton_tf_agent.journal import Journal
from proton_tf_agent.relay import Relay

from .agents import Heard

WALL = 1_900_000_000.0
Answer = Callable[[Notification, float], Outcome]  # (what is told, seconds) -> what came of it


class VirtualRelay:
    """A relay and its sink `proton`. requests: (seconds, notification id, outcome) of every request, when answered."""

    name = "proton"

    def __init__(self, journal: Journal, answer: Answer, draw: Callable[[], float], latency: float = 0.05) -> None:
        self.now = 0.0
        self.requests: list[tuple[float, str, Outcome]] = []
        self.log = Heard()
        self.journal = journal
        self._answer = answer
        self._latency = latency
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        self._relay = Relay(
            journal, {"proton": self}, self.log.tell, lambda: WALL + self.now, draw, ticks=lambda: self.now,
            submit=lambda job: self.later(self._latency, job),
        )  # fmt: skip

    def wants(self, notification: Notification) -> bool:
        return True

    def send(self, notification: Notification) -> Outcome:
        outcome = self._answer(notification, self.now)
        self.requests.append((self.now, notification.notification_id, outcome))
        return outcome

    def close(self) -> None:
        """Nothing to let go of."""

    def later(self, seconds: float, happens: Callable[[], object]) -> None:
        """Let something happen after so many seconds; the relay has a turn after it."""
        heapq.heappush(self._events, (self.now + seconds, next(self._order), happens))

    def enqueue(self, *told: Notification) -> None:
        """What the pipeline would do, now."""
        for one in told:
            with self.journal.transaction():
                self.journal.enqueue(one, self.name, WALL + self.now)
        self._relay.nudge()

    def run(self, until: float) -> None:
        """Let time pass until so many seconds, or until nothing is left to happen."""
        while True:
            due = self.now + self._relay.turn()
            if self._events:
                due = min(due, self._events[0][0])
            if due > until:
                self.now = until
                return
            self.now = max(self.now, due)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
