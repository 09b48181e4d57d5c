"""What a log says, whichever way it speaks: parts it by Terragrunt unit and gives each part to its reader.

Lines before the first `version` line of the JSON UI are for people, from it on they are Terraform's JSON UI, until a
line comes that only a run prints for people and the command before may have come to its end. Each unit has a `Mark` of
its own in the cursor.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..domain.evidence import ApprovalAwaited, Cursor, Fact, Form, LogClosed, LogOverwritten, Mark
from ..domain.values import replace
from . import human_log, json_log, terragrunt
from .tail import Tail

_MAX_UNITS = 1000  # of one log; a job that makes up more names than that is not listened to

Line = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log as its readers know it: its run directory, its name, what tells this content from every other, and when it
    was last written (seconds since the epoch)."""

    directory: str
    name: str
    identity: str
    written_at: float


def read(file: LogFile, new: Tail, cursor: Cursor | None, complete: bool) -> tuple[tuple[Fact, ...], tuple[Mark, ...]]:
    """The facts in what is new, and the marks behind them. complete: nobody writes the log any more."""
    marks = {mark.unit: mark for mark in cursor.marks} if cursor else {}
    facts: list[Fact] = []
    if cursor and new.restarted:
        for unit, mark in marks.items():
            left, anew = _begun_anew(mark, cursor.offset)
            facts += left
            if complete and _is_open(anew):  # its writer may have been gone before the file began anew
                facts.append(_end_of(anew))
                anew = human_log.finish(anew)[1]
            marks[unit] = anew
    for unit, lines in _parts(file.directory, new.lines, len(marks)).items():
        found, marks[unit] = _read_part(file, lines, marks.get(unit, Mark(unit=unit)), alone=len(marks) < 2)
        facts += found
    asked = marks.get("")
    if asked and human_log.awaits_approval(new.unfinished, asked):
        facts.append(Fact(ApprovalAwaited(), asked.anchor, new.offset - asked.offset))
    if complete and not new.more:
        for unit, mark in marks.items():
            if mark.form is Form.HUMAN:
                left, marks[unit] = human_log.finish(mark)
                facts += left
            elif mark.form is Form.JSON:
                marks[unit] = json_log.finish(mark)
            if mark.anchor:
                facts.append(_end_of(marks[unit], file.written_at))
    return tuple(facts), tuple(mark for unit, mark in marks.items() if not unit or mark.anchor or mark.phase)


def still_written(cursor: Cursor, at_work: Collection[str]) -> Cursor:
    """The cursor of a log that the runs with these anchors are still to be told in, although nobody had it open for a
    moment: it is opened for every line."""
    marks = tuple(
        human_log.reopened(mark) if mark.anchor in at_work and mark.form is Form.HUMAN else mark
        for mark in cursor.marks
    )
    return replace(cursor, marks=marks)


def source_of(marks: Sequence[Mark]) -> str:
    """The name of the reader that reads a log with these marks."""
    return "human_log" if any(mark.form is Form.HUMAN for mark in marks) else "json_log"


def _is_open(mark: Mark) -> bool:
    return mark.form is Form.HUMAN and bool(mark.anchor) and not human_log.is_closed(mark)


def _end_of(mark: Mark, written_at: float | None = None) -> Fact:
    """What there is to say of a run that does not go on in its log: that it was read to its end, or was not."""
    return Fact(LogOverwritten() if mark.cut else LogClosed(written_at), mark.anchor, unit=mark.unit)


def _begun_anew(mark: Mark, length: int) -> tuple[tuple[Fact, ...], Mark]:
    """The mark of a run whose log begins anew: positions go on behind what was read. Its first lines show which form
    the new content has; without a beginning of its own it continues the run, for copytruncate cuts logs anywhere."""
    moved = replace(mark, offset=mark.offset - length)
    if mark.form is Form.HUMAN:
        return human_log.begun_anew(moved)
    return (), replace(moved, form=None, cut=bool(mark.anchor))


def _parts(directory: str, lines: Sequence[Line], known: int) -> dict[str, Sequence[Line]]:
    """Lines by unit. What Terragrunt says itself, and lines without a prefix, are those of the log's own directory."""
    if not any(terragrunt.may_be_prefixed(line) for _, line in lines):
        return {"": lines}
    parts: dict[str, list[Line]] = {"": []}
    for offset, line in lines:
        part = terragrunt.part(line) if terragrunt.may_be_prefixed(line) else None
        if part is None:
            parts[""].append((offset, line))
            continue
        unit = terragrunt.below(directory, part[0])
        if unit is not None and (unit in parts or known + len(parts) < _MAX_UNITS):
            parts.setdefault(unit, []).append((offset, part[1]))
    return dict(parts)


def _read_part(file: LogFile, lines: Sequence[Line], mark: Mark, alone: bool) -> tuple[tuple[Fact, ...], Mark]:
    directory = f"{file.directory}/{mark.unit}" if mark.unit else file.directory
    # Terragrunt ends with a copy of every unit's errors, without prefixes: they are no error of the log's directory.
    name = file.name if mark.unit or alone else ""
    facts: list[Fact] = []
    at = 0
    while at < len(lines):
        if mark.form is Form.JSON:
            end = _human_begins(lines, at)
            found, mark = json_log.read(lines[at:end], mark, directory)
            facts += found
            if end < len(lines) and json_log.is_over(mark):
                facts += [_end_of(mark)] if mark.anchor else []
                mark = Mark(form=Form.HUMAN, unit=mark.unit)
            elif end < len(lines):
                end += 1  # a command is at work, and speaks in no other form
        else:
            end = _json_begins(lines, at, goes_on=mark.form is None and bool(mark.anchor))
            found, mark = human_log.read(lines[at:end], mark, file.identity, name)
            if end < len(lines):
                left, mark = human_log.finish(mark)
                found, mark = (*found, *left), replace(mark, form=Form.JSON, phase="")
            facts += (_dated(fact, file.written_at) for fact in found)
        at = end
    return tuple(facts), mark


def _dated(fact: Fact, written_at: float) -> Fact:
    """A run that ends where its log goes on has got its last line before the log was last written."""
    return replace(fact, evidence=LogClosed(written_at)) if isinstance(fact.evidence, LogClosed) else fact


def _json_begins(lines: Sequence[Line], at: int, goes_on: bool) -> int:
    """The index of the next line of the JSON UI; goes_on: any will do, else only one that begins a run."""
    is_ours = json_log.is_message if goes_on else json_log.begins_run
    return next((index for index in range(at, len(lines)) if is_ours(lines[index][1])), len(lines))


def _human_begins(lines: Sequence[Line], at: int) -> int:
    """The index of the next line that is not of the JSON UI and begins a run."""
    for index in range(at, len(lines)):
        line = lines[index][1]
        if not line.startswith(b"{") and human_log.begins_run(line):
            return index
    return len(lines)
