"""Sinks without anything behind them."""

from __future__ import annotations

from proton_tf_agent.domain.notification import Notification
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind


class Accepting:
    """A sink that accepts everything and keeps the ids of what it was told."""

    def __init__(self, name: str = "proton") -> None:
        self.name = name
        self.sent: list[str] = []

    def wants(self, notification: Notification) -> bool:
        return True

    def send(self, notification: Notification) -> Outcome:
        self.sent.append(notification.notification_id)
        return Outcome(OutcomeKind.ACCEPTED, http_status=200)

    def close(self) -> None:
        """Nothing to let go of."""
