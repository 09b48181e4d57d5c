"""What became of a run, out of the lines a human log has about it: what waits to be told, as evidence."""

from __future__ import annotations

from collections.abc import Iterable

from ..domain import evidence as ev
from ..domain.evidence import Evidence, Operation
from . import human_text as text_of
from .human_phase import Pending

LOCK_REFUSED = "Error acquiring the state lock"
_SAVE_FAILED = ("Failed to save state", "Failed to persist state to backend")
_MAX_HELD = 20

Held = tuple[Pending, ...]


def held_with(held: Held, outcome: Pending) -> Held:
    """What is held back, with one outcome more: never so many that a summary is lost among errors."""
    full = len(held) >= _MAX_HELD
    return held if full and _is_summary(held[-1]) else (*held[: _MAX_HELD - 1], outcome)


def told_of(held: Held) -> Held:
    """What of it may be told: where a summary and an error contradict each other only that, and nothing in doubt."""
    summaries = tuple(one for one in held if _is_summary(one))
    if len(summaries) not in (0, len(held)):
        return (Pending("contradiction", held[-1].position, ""),)
    return summaries[:1] or tuple(one for one in held if one.kind != "doubt")


def evidence_of(told: Pending, changes: tuple[int, int, int]) -> Iterable[Evidence]:
    """A pending line as evidence; changes: what a summary among them counts."""
    if told.kind == "contradiction":
        return (ev.OutcomeContradicted(),)
    if told.kind == "crash":
        return (ev.CrashReported(),)
    if _is_summary(told):
        return (ev.ApplySummarised(*changes, int(told.text), Operation(told.kind)),)
    return _deletion(told) if told.kind == "deletion" else _diagnostic(told)


def _is_summary(told: Pending) -> bool:
    return told.kind in (Operation.APPLY, Operation.DESTROY)


def _deletion(pending: Pending) -> Iterable[Evidence]:
    yield ev.ChangePlanned(pending.text, "delete", text_of.reason_of(pending.detail))


def _diagnostic(pending: Pending) -> Iterable[Evidence]:
    rows = pending.detail.splitlines()
    if pending.text == LOCK_REFUSED and "permission denied" not in " ".join(pending.detail.split()):
        holder = next((found["lock_id"] for row in rows if (found := text_of.HOLDER.fullmatch(row))), "")
        yield ev.LockRefused(holder)
    if pending.text in _SAVE_FAILED:
        yield ev.StateSaveFailed()
    located = text_of.WITH.fullmatch(rows[0]) if rows else None
    yield ev.ErrorReported(pending.text, located["address"] if located else "")
