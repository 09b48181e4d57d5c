"""What a conformance test needs of a sink."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proton_tf_agent.domain.notification import Notification
from proton_tf_agent.sinks import Sink


@dataclass(frozen=True)
class Rig:
    """A sink and what stands behind it. told: the status messages that arrived, in order; where a receiver has no place
    for a text, the statuses that it took. fits: makes of a notification one that such a sink is for."""

    sink: Sink
    told: Callable[[], list[str]]
    faults: dict[str, Callable[[], object]]
    fits: Callable[[Notification], Notification] = lambda notification: notification
    takes_text: bool = True
