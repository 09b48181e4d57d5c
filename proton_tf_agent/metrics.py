"""What the agent's numbers are called as metrics: families of samples out of the row of `status`, and nothing else.

All of them come from the journal or from what the agent last said of itself, so they are the same before and after a
restart, and with the agent down. How they are written is `exposition`'s. Names: Prometheus, "Metric and label naming".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .moments import seconds_of
from .overview import Verdict
from .status import Row

PREFIX = "proton_tf_agent_"
_PARTS = {"observing": "observing", "delivering": "delivering", "keeping": "journal"}
_SINKS = {
    "waiting": "Entries that wait to be told.",
    "failing": "Entries of which the last attempt failed.",
    "suspect": "Entries that meet server errors while others are accepted.",
    "parked": "Entries that were refused for good and wait for a person.",
    "waiting_s": "Seconds for which the oldest entry has waited.",
}
_HEARD = {
    "rescanned_at": ("rescanned_timestamp_seconds", "gauge", "When everything below the roots was last walked."),
    "heard_at": ("heard_timestamp_seconds", "gauge", "When the agent last said anything of itself."),
    "running_since": ("start_timestamp_seconds", "gauge", "When the agent was started."),
    "overflows": ("hints_lost_total", "counter", "How often the kernel's queue of hints overflowed since the start."),
    "unreadable_files": ("unreadable_files", "gauge", "Files that a reader wants and that are not read."),
}


@dataclass(frozen=True, slots=True)
class Family:
    """Samples of one name, each with its labels. A counter's name ends in `_total`."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    samples: tuple[tuple[Mapping[str, str], float], ...]


def families(row: Row, sinks: Sequence[str]) -> Iterator[Family]:
    """Everything that is measured. row: as of `overview.overview`. sinks: the names of those that are told, so that one
    for which nothing waits has samples, too."""
    yield _one("up", "Whether an agent holds the journal.", row["agent"] == "running")
    yield Family(f"{PREFIX}verdict", "gauge", "1 for the verdict of each part, as `status` shows them.", tuple(
        ({"part": part, "verdict": verdict.value}, float(row[key] == verdict))
        for key, part in _PARTS.items() for verdict in Verdict
    ))  # fmt: skip
    if row["lag_s"] is not None:
        yield _one("lag_seconds", "How long the oldest entry waits, or nothing was heard of an agent.", row["lag_s"])
    yield _one("runs_open", "Runs under way.", row["runs_open"])
    yield _one("runs_recorded", "Runs in the journal.", row["runs_recorded"])
    yield Family(f"{PREFIX}entries_total", "counter", "Entries ever enqueued.", (({}, row["entries_ever"]),))
    yield Family(f"{PREFIX}attempts_total", "counter", "Requests ever made.", (({}, row["attempts_ever"]),))
    yield _one("journal_bytes", "Size of the journal's file.", row["bytes"])
    if row["checked_at"] is not None:
        when = "When every row of the journal was last checked."
        yield _one("journal_checked_timestamp_seconds", when, seconds_of(row["checked_at"]))
    yield from _of_sinks(row["sinks"], sinks)
    yield from _of_the_agent(row)


def _of_sinks(rows: Sequence[Row], names: Sequence[str]) -> Iterator[Family]:
    known = {sink["sink"]: sink for sink in rows}
    every = sorted({*known, *names})
    for key, what in _SINKS.items():
        name = "oldest_waiting_seconds" if key == "waiting_s" else key
        samples = ((sink, known.get(sink, {}).get(key) or 0) for sink in every)
        yield Family(f"{PREFIX}{name}", "gauge", what, tuple(({"sink": sink}, float(value)) for sink, value in samples))
    held = tuple(
        ({"sink": sink["sink"], "reason": sink["held_for"]}, 1.0) for sink in rows if sink["held_for"] is not None
    )
    paused = tuple(({"sink": name}, float(bool(known.get(name, {}).get("paused_since")))) for name in every)
    yield Family(f"{PREFIX}sink_paused", "gauge", "1 for each sink that a person has paused.", paused)
    yield Family(f"{PREFIX}sink_held", "gauge", "1 for each sink that is held up as a whole.", held)


def _of_the_agent(row: Row) -> Iterator[Family]:
    """What it last said of itself, if it ever did."""
    if row["heard_at"] is None:
        return
    for key, (name, kind, what) in _HEARD.items():
        value = row[key]
        if value is not None:
            number = seconds_of(value) if isinstance(value, str) else float(value)
            yield Family(f"{PREFIX}{name}", kind, what, (({}, number),))  # type: ignore[arg-type]
    yield _one("watch_problems", "What cannot be watched.", len(row["problems"]))
    yield Family(f"{PREFIX}info", "gauge", "The agent's version.", (({"version": row["version"]}, 1.0),))


def _one(name: str, what: str, value: float) -> Family:
    return Family(f"{PREFIX}{name}", "gauge", what, (({}, float(value)),))
