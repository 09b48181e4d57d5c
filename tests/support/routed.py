"""Sinks with routes, and recorded runs that happen before them one after the other."""

from __future__ import annotations

from proton_tf_agent.domain.routing import EVERYTHING, Occasion, Route
from proton_tf_agent.pipeline import Addressee

from .enactors import moved
from .facts import LOGS
from .observing import ObservedRoot

LOG_OF = {
    name: (LOGS / f"{log}.log").read_text("utf-8")
    for name, log in (("ok", "apply_ok"), ("failed", "apply_partial_failure"), ("destroyed", "destroy"))
}
FAILED_AND_RECOVERED = Route((Occasion.FAILED, Occasion.RECOVERED))


def sink(name: str, route: Route = EVERYTHING) -> Addressee:
    return Addressee(name, lambda _one: True, lambda _one: "", route)


def happen(root: ObservedRoot, *outcomes: str) -> None:
    """Let runs happen one after the other and come to their end."""
    for outcome in outcomes:
        number = len(root.runs())
        root.write(f"{number}.log", moved(LOG_OF[outcome], root.now).encode())
        root.look(f"{number}.log")
        root.wait(3600.0)


def told(root: ObservedRoot, name: str) -> list[str]:
    """What a sink is told, in order."""
    return [row["status"] for row in root.journal.query("entries", after=0, limit=1000) if row["sink"] == name]


def ends(root: ObservedRoot, name: str) -> list[str]:
    return [status for status in told(root, name) if status != "IN_PROGRESS"]
