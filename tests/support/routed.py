"""Sinks with routes, and recorded runs that happen before them one after the other."""

from __future__ import annotations

from proton_tf_agent.domain.routing import EVERYTHING, Occasion, Route
from proton_tf_agent.pipeline import Addressee, proton_objection
from proton_tf_agent.sinks.proton import ProtonSink

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


def takes_all(name: str) -> Addressee:
    """A sink that is told of unbound runs, too."""
    return sink(name, Route(unbound=True))


def proton() -> Addressee:
    """The Proton sink as the daemon has it; it makes no request here."""
    asked = ProtonSink("proton", "us-east-1")
    return Addressee("proton", asked.wants, proton_objection)


def subjects(root: ObservedRoot, name: str) -> list[tuple[str, str]]:
    """Whom a sink is told about, and what."""
    rows = root.journal.query("entries", after=0, limit=1000)
    return [(row["resource_arn"], row["status"]) for row in rows if row["sink"] == name]


def left_out_of(root: ObservedRoot) -> dict[str, str]:
    """By sink why the newest run was not told there."""
    return dict(root.runs()[0].left_out)
