"""Sinks without anything behind them."""

from __future__ import annotations

from proton_tf_agent.domain.notification import Notification
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind

_ACCEPTED = Outcome(OutcomeKind.ACCEPTED, http_status=200)


class Accepting:
    """A sink that accepts everything and keeps the ids of what it was told."""

    def __init__(self, name: str = "proton", answer: Outcome = _ACCEPTED) -> None:
        self.name = name
        self._answer = answer
        self.sent: list[str] = []

    def wants(self, notification: Notification) -> bool:
        return True

    def send(self, notification: Notification) -> Outcome:
        self.sent.append(notification.notification_id)
        return self._answer

    def close(self) -> None:
        """Nothing to let go of."""
