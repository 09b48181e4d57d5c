"""What `status` says: whether an agent observes, delivers and keeps its journal, and what is parked.

Four verdicts that are never merged, and one over them for who looks only at that.

A verdict is `current`, `degraded`, `stopped`, or `unknown`: what cannot be told is never said to be well. Observing is
the agent's own word (`health`), everything else is read from the journal, so that it holds with the agent down.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from . import health
from .domain.explanations import EXPLANATIONS
from .domain.terms import OutcomeKind
from .health import Health
from .journal_file import JOURNAL_FULL, is_marked_full
from .journal_memory import recall_of
from .journal_reading import JournalReader
from .moments import iso
from .status import Row, run_row, run_rows

RECENT = 5  # ended runs that are shown
_UNCHECKED_S = 2 * 86_400.0  # the agent checks every row once a day


class Verdict(StrEnum):
    """From best to worst."""

    CURRENT = "current"
    UNKNOWN = "unknown"
    DEGRADED = "degraded"
    STOPPED = "stopped"


_Judged = tuple[Verdict, str]  # and in a sentence why, where that is not said by the verdict


def overview(journal: JournalReader, is_running: bool, now: float) -> Row:
    """One object: the verdicts, the numbers behind them, the open runs and the last that ended.

    is_running: whether an agent holds the journal. now: a wall-clock second.
    """
    heard = health.last(journal.path)
    sinks = sink_rows(journal, now)
    parked = sum(sink["parked"] for sink in sinks)
    memory = recall_of(journal.path)
    checked_at = memory.checked_at if memory else 0.0
    is_full = is_running and is_marked_full(journal.path)
    judged = {
        "observing": _observing(is_running, heard, now),
        "keeping": _keeping(is_full, bool(memory and memory.suspect), checked_at, now),
        "delivering": _delivering(is_running, sinks),
    }
    left = (Verdict.DEGRADED, f"{parked} parked") if parked else (Verdict.CURRENT, "")
    verdict, reason = _worst((*judged.values(), left))
    (ever,) = journal.query("count_ever")
    open_runs = [run_row(journal, recorded) for recorded in journal.open_runs() if recorded.run.is_open]
    return {
        "agent": "running" if is_running else "stopped",
        "verdict": verdict.value,
        "reason": reason or None,
        **{name: one.value for name, (one, _) in judged.items()},
        "because": {name: why or None for name, (_, why) in judged.items()},
        "degraded": JOURNAL_FULL if is_full else None,
        "lag_s": _lag(heard, sinks, now),
        **_heard(heard),
        "journal": journal.path,
        "bytes": journal.size(),
        "checked_at": iso(checked_at or None),
        "runs_open": len(open_runs),
        "runs_recorded": journal.query("count_runs")[0][0],
        "entries_ever": ever["entries"],
        "attempts_ever": ever["attempts"],
        "sinks": sinks,
        "parked": parked,
        "open": open_runs,
        "recent": [row for row in run_rows(journal, RECENT + len(open_runs)) if row["ended_at"]][:RECENT],
    }  # fmt: skip


def _worst(judged: Iterable[_Judged]) -> _Judged:
    """The first of the worst."""
    order = list(Verdict)
    return max(judged, key=lambda one: order.index(one[0]))


def _observing(is_running: bool, heard: Health | None, now: float) -> _Judged:
    if not is_running:
        since = f"since {iso(heard.at)}" if heard else ""
        return Verdict.STOPPED, f"no agent is running {since}".rstrip()
    if heard is None:
        return Verdict.UNKNOWN, "an agent is running and says nothing of itself"
    if not health.is_fresh(heard, now):
        return Verdict.UNKNOWN, f"the agent has said nothing of itself since {iso(heard.at)}"
    if heard.problems:
        more = f" (and {len(heard.problems) - 1} more)" if len(heard.problems) > 1 else ""
        return Verdict.DEGRADED, f"{heard.problems[0]}{more}"
    if not heard.rescanned_at or heard.has_backlog:
        return Verdict.DEGRADED, "it is still reading what it has found on disk"
    return Verdict.CURRENT, ""


def _delivering(is_running: bool, sinks: list[Row]) -> _Judged:
    if not is_running:
        waiting = sum(sink["waiting"] for sink in sinks)
        return Verdict.STOPPED, f"{waiting} waiting" if waiting else "nothing waits"
    for sink in sinks:
        if sink["paused_since"]:
            why = f": {sink['paused_because']}" if sink["paused_because"] else ""
            waiting = f", {sink['waiting']} waiting" if sink["waiting"] else ""
            return Verdict.DEGRADED, f"{sink['sink']} is paused by {sink['paused_by']}{why}{waiting}"
    for sink in sinks:
        if sink["held_for"]:
            return Verdict.DEGRADED, f"{sink['sink']}: {EXPLANATIONS[OutcomeKind(sink['held_for'])].means}"
    for sink in sinks:
        if sink["failing"]:
            return Verdict.DEGRADED, f"{sink['sink']}: {sink['failing']} failing"
    return Verdict.CURRENT, ""


def _keeping(is_full: bool, is_suspect: bool, checked_at: float, now: float) -> _Judged:
    if is_full:
        return Verdict.DEGRADED, f"{JOURNAL_FULL}: make room on its disk; until then evidence waits"
    if is_suspect:
        return Verdict.DEGRADED, "its last agent ended with an error; the next one checks every row"
    if not checked_at:
        return Verdict.UNKNOWN, "it was never checked whole; see `journal verify`"
    if now - checked_at > _UNCHECKED_S:
        return Verdict.UNKNOWN, f"it was last checked whole at {iso(checked_at)}; see `journal verify`"
    return Verdict.CURRENT, ""


def _lag(heard: Health | None, sinks: list[Row], now: float) -> float | None:
    """Seconds for which the first of what waits has waited or, if that is longer, for which nothing was heard of an
    agent; None when nothing ever was."""
    if heard is None:
        return None
    silent = 0.0 if health.is_fresh(heard, now) else max(0.0, now - heard.at)
    return round(max([silent, *(sink["waiting_s"] or 0.0 for sink in sinks)]), 1)


def _heard(heard: Health | None) -> Row:
    """What the agent said last; all null where it never spoke."""
    return {
        "heard_at": iso(heard.at) if heard else None,
        "pid": heard.pid if heard else None,
        "version": heard.version if heard else None,
        "running_since": iso(heard.started_at) if heard else None,
        "roots": list(heard.roots) if heard else None,
        "rescanned_at": iso(heard.rescanned_at or None) if heard else None,
        "overflows": heard.overflows if heard else None,
        "problems": list(heard.problems) if heard else None,
        "unreadable": dict(heard.unreadable) if heard else None,
        "unreadable_files": heard.unreadable_files if heard else None,
    }


def sink_rows(journal: JournalReader, now: float, names: Iterable[str] = ()) -> list[Row]:
    """How each sink does that is named, or for which something waits or is parked, or that is paused or held up as a
    whole; by name."""
    sinks: dict[str, Row] = {}

    def of(name: str) -> Row:
        return sinks.setdefault(name, {
            "sink": name, "verdict": "current", "waiting": 0, "failing": 0, "suspect": 0, "parked": 0,
            "oldest_at": None, "waiting_s": None, "next_attempt_at": None,
            "held_for": None, "held_since": None, "probes": 0, "code": None, "remedy": None,
            "paused_since": None, "paused_by": None, "paused_because": None,
        })  # fmt: skip

    for name in names:
        of(name)

    oldest: dict[str, float] = {}
    for row in journal.query("count_active"):
        sink = of(row["sink"])
        sink["waiting"] += row["entries"]
        sink["suspect"] += int(row["suspect"])
        if row["state"] == "retryable":
            sink["failing"] += row["entries"]
            sink["next_attempt_at"] = iso(row["next_due_at"])
        oldest[row["sink"]] = min(oldest.get(row["sink"], now), row["oldest_at"])
    for name, at in oldest.items():
        of(name).update(oldest_at=iso(at), waiting_s=round(now - at, 1))
    for row in journal.query("count_parked"):
        of(row["sink"])["parked"] = row["entries"]
    for row in journal.query("circuits"):
        remedy = EXPLANATIONS[OutcomeKind(row["held_for"])].remedy.replace("--from SINK", f"--from {row['sink']}")
        held = {"held_for": row["held_for"], "probes": row["probes"], "code": row["code"] or None}
        of(row["sink"]).update(held_since=iso(row["since"]), remedy=remedy, **held)
    for name, pause in journal.pauses().items():
        said = {"paused_by": pause.who, "paused_because": pause.reason or None}
        of(name).update(paused_since=iso(pause.since), **said)
    for sink in sinks.values():
        sink["verdict"] = _verdict(sink)
    return [sinks[name] for name in sorted(sinks)]


def _verdict(sink: Row) -> str:
    if sink["paused_since"] is not None:
        return "paused"
    if sink["held_for"] is not None:
        return "gone" if sink["held_for"] == OutcomeKind.GONE else "held"
    return "failing" if sink["failing"] or sink["parked"] else "current"
