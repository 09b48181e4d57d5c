"""What Terraform and OpenTofu print for people, line by line, as evidence.

Only whole lines that stand at the first column count, or where the plan writes its `# address` comments; everything
else (indented text, provisioner output, which carries `address (local-exec): `) says nothing. Colours and the box
around diagnostics are taken off first. `human_text` has the lines, with the sources that print them.

A human log has no `version` line: the first line that only a run prints opens one. Lines that other commands print
as well do not:
- An error alone. `init`, `validate`, `fmt`, `output`, `state list`, `import`, `plan` and `apply` print the same box for
  the same mistake in the configuration, and every command that locks the state prints the same refusal (and the same
  "Acquiring state lock"). With nothing before it in the log, an error opens a run only where the log's own name says
  which command writes it (`human_text.names_a_run`: `plan.log`, `apply-prod.log`); elsewhere it is nothing, and the
  evidence of the lock has to do.
- What follows "Initializing ..." belongs to `init`, "Importing from ID" to `import`, a `.tftest.hcl` line to `test`.
- `terraform show PLANFILE` prints what `plan` printed and is taken for it: a plan that ended, never more.
- "Apply complete!" alone (a saved plan with nothing to do) opens a run only if it counts nothing.

An error ends a run: no summary follows one. Without the box, its detail is foreign text at the first column. Where a
provisioner of the run has printed a summary, or had its output suppressed, that text may repeat it: from such an
error on nothing in the log is believed until the log begins anew.

A warning does not end a run, and its detail is foreign text as well (what a check says, and a provider). In its box
it stands behind a bar, and only the first line of a box is an error's. Without the box a line of it may look like an
outcome. So what follows such a warning is held back until the run or its log ends, and is told if nothing contradicts
it: warnings come before errors, and both before the summary. A summary must also count what was said to be done.

What another process writes into a log, or over it, is no more the last run's: once nobody wrote a log any more, the
next line that may begin a run does. (A saved plan has no plan to print; its first line looks like an apply going on.)
Where the file began anew, the end of the last run was written over unread, unless lines of its own come first. An error
is no such line, nor a crash: they may be the next command's. What is held back then stays so.

The reader and what each line means to it stay in one file, however long: neither is understood without the other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from ..domain import evidence as ev
from ..domain.evidence import Evidence, Fact, Form, Mark, Operation
from ..domain.values import replace as with_changes
from . import human_outcome, human_phase
from . import human_text as text_of
from .human_phase import Pending, Phase
from .human_text import Says

_MAX_LINE = 8 * 1024  # longer lines are nothing Terraform says of itself
_MAX_DETAIL = 2 * 1024
_NOTHING = ev.PlanSummarised(0, 0, 0)


_PLANNING, _PLANNED, _APPLYING = "planning", "planned", "applying"
_PLAN_FAILED = "plan failed"
_FAILED, _ENDED, _OUTPUTS, _INIT, _IMPORT, _TEST = "failed", "ended", "outputs", "init", "import", "test"
_ACTIVE = (_PLANNING, _PLAN_FAILED, _PLANNED, _APPLYING)
_BEGINNINGS = (Says.PLANNING, Says.PLAN_FAILED, Says.NO_CHANGES)
_QUESTION, _BLANK = "question", "blank"


def read(
    lines: Iterable[tuple[int, bytes]], mark: Mark, identity: str, name: str = ""
) -> tuple[tuple[Fact, ...], Mark]:
    """The facts in whole lines (offset, bytes), and the mark after them.

    mark comes from the last look at the same log. identity tells this file from every other and from its own earlier
    contents; name is its name, for logs that hold nothing but an error.
    """
    reader = _Reader(mark, identity, name)
    for offset, line in lines:
        reader.take(offset, line)
    return tuple(reader.facts), reader.mark()


def finish(mark: Mark) -> tuple[tuple[Fact, ...], Mark]:
    """What a log that nobody writes any more has left open: a diagnostic that ends with its first line."""
    reader = _Reader(mark, "", "")
    reader.close()
    return tuple(reader.facts), reader.mark()


def is_closed(mark: Mark) -> bool:
    """Whether nobody wrote the log any more when it was last read."""
    return human_phase.phase_of(mark.phase).closed


def reopened(mark: Mark) -> Mark:
    """The mark of a log that was closed, but not by the end of its run."""
    phase = human_phase.phase_of(mark.phase)
    return with_changes(mark, phase=human_phase.text_of(replace(phase, closed=False)))


def begun_anew(mark: Mark) -> tuple[tuple[Fact, ...], Mark]:
    """What was pending, and the mark of a log whose file began anew. If its first line opens a run, that is another
    run; else the old one goes on, for copytruncate cuts logs anywhere. What was closed does not go on."""
    if is_closed(mark):
        return (), Mark(form=mark.form, unit=mark.unit)
    reader = _Reader(mark, "", "")
    reader.flush()
    phase = human_phase.phase_of(reader.mark().phase)
    kept = Phase(phase.stage, begins=True, due=phase.due, changes=phase.changes, warned=phase.warned, held=phase.held)
    return tuple(reader.facts), with_changes(mark, phase=human_phase.text_of(kept), cut=bool(mark.anchor))


def begins_run(line: bytes) -> bool:
    """Whether a line is one that only a run prints, and that another program does not repeat for the JSON UI."""
    text = text_of.plain(line) if len(line) <= _MAX_LINE else ""
    said = text_of.find(text) if text else None
    if said is None:
        return False
    return said[0] in _BEGINNINGS or (said[0] is Says.HOOK and said[1]["said"] in text_of.BEGUN)


def awaits_approval(unfinished: bytes, mark: Mark) -> bool:
    """Whether a log whose last line has no newline yet ends with the question whether to apply the plan."""
    asks = text_of.plain(unfinished).strip() == text_of.QUESTION
    return asks and mark.form is Form.HUMAN and human_phase.phase_of(mark.phase).stage in _ACTIVE


class _Reader:
    """The lines of one log (or of one Terragrunt unit in it), one after the other."""

    def __init__(self, mark: Mark, identity: str, name: str) -> None:
        phase = human_phase.phase_of(mark.phase)
        self.facts: list[Fact] = []
        self.stage = phase.stage
        self._anchor, self._start, self._form, self._unit = mark.anchor, mark.offset, mark.form, mark.unit
        self._identity, self._name = identity, name
        self._delimiter, self._tainted = phase.delimiter, phase.tainted
        self._begins, self._pending, self._closed = phase.begins, phase.pending, phase.closed
        self.before, self.due, self._changes = phase.before, phase.due, phase.changes
        self._warned, self.held, self._cut = phase.warned, phase.held, mark.cut

    def mark(self) -> Mark:
        phase = Phase(
            self.stage, self._delimiter, self._tainted, self._begins, self._pending, self._closed, self.before,
            self.due, self._changes, self._warned, self.held,
        )  # fmt: skip
        return Mark(self._anchor, self._start, self._form, human_phase.text_of(phase), self._unit, self._cut)

    def take(self, offset: int, line: bytes) -> None:
        if len(line) > _MAX_LINE:
            return
        text = text_of.plain(line)
        if self._delimiter:
            if text.strip() == self._delimiter:
                self._delimiter = ""
        elif text:
            if not (self._pending and self._goes_on(self._pending, text)):
                self._read(offset, text)
                if self._begins and text[0] not in "╷│╵":  # the box of an error that may be all the new content holds
                    self._begins = False
            if self.before or self.held or self.stage == _PLANNED or text[0] == text_of.BOX_TOP:
                self.before = self._before(text)
        elif not self.before:
            self.before = _BLANK

    def _before(self, text: str) -> str:
        first = text[0]
        if first == text_of.BOX_TOP:
            return text_of.BOX_TOP
        if first != " " or not (self.stage == _PLANNED or self.held) or not text.strip().startswith(text_of.QUESTION):
            return ""
        self.stage, self.held = _PLANNED, ()  # who asks has not ended: it was the warnings that said so
        return _QUESTION

    def _read(self, offset: int, text: str) -> None:
        first = text[0]
        boxed = first == "│" and self.before == text_of.BOX_TOP
        if (boxed or first == "E") and (error := text_of.ERROR.fullmatch(text[2:] if boxed else text)):
            self._error(offset, text, error["summary"], boxed)
        elif first in "│╷╵\t" or self._is_deaf:
            return
        elif first == " ":
            if self.stage in _ACTIVE and (comment := text_of.COMMENT.fullmatch(text)):
                self._comment(offset, comment)
        else:
            said = text_of.find(text)
            if said is None:
                self._heed(text)
            else:
                _MEANINGS[said[0]](self, offset, text, said[1])

    def _heed(self, text: str) -> None:
        """Lines that are no evidence but tell what may be believed."""
        if text_of.SUMMARY_WORDS in text or text_of.SUPPRESSED in text:
            self._tainted = True
        elif text.startswith(text_of.WARNING):
            self._warned = self._warned or self.stage in (_PLANNED, _APPLYING)
        elif self.stage not in _ACTIVE or self.stage == _PLANNED:  # what a plan quotes is indented
            if "<<" in text and (heredoc := text_of.HEREDOC.fullmatch(text)):
                self._delimiter = heredoc["delimiter"]
            elif "test." in text and text_of.TEST_FILE.fullmatch(text):
                self.stage = _TEST

    # --- runs --------------------------------------------------------------------------------------------------

    @property
    def _is_deaf(self) -> bool:
        """Whether what comes now may be a copy of what a provisioner printed."""
        return self.stage == _FAILED and self._tainted

    @property
    def is_cut(self) -> bool:
        """Whether the file began anew and no line has come that is certainly of the run that was on."""
        return self._cut

    def enter(self, offset: int, text: str, stage: str, active: tuple[str, ...] = _ACTIVE) -> bool:
        """Go to a stage; unless one of the stages `active` is on, a run begins here. Whether the line is believed."""
        if self.stage == _TEST:
            return False
        goes_on = not self._closed and (not self._begins or self.stage == stage == _APPLYING)
        if self.stage not in active or not goes_on:
            self._open(offset, text)
        self.stage = stage
        return True

    def _open(self, offset: int, text: str) -> None:
        self.end()
        seed = f"{self._identity}\0{self._unit}\0{offset}".encode("utf-8", "surrogateescape")
        self._anchor = hashlib.blake2b(seed, digest_size=12).hexdigest()
        self._start, self._form = offset, Form.HUMAN
        self._tainted = self._begins = self._closed = self._warned = self.due = self._cut = False
        self._changes, self.held = (0, 0, 0), ()
        tool = "tofu" if "OpenTofu" in text else "terraform"
        self.facts.append(Fact(ev.OperationStarted(tool, "", None, Form.HUMAN), self._anchor, 0, self._unit))

    def end(self) -> None:
        """The run that is on has said all it had to say, whatever comes behind it in the log."""
        self.flush()
        self._tell_held()
        if self._anchor and not self._closed:
            ended = ev.LogOverwritten() if self._cut else ev.LogClosed()
            self.facts.append(Fact(ended, self._anchor, unit=self._unit))

    def close(self) -> None:
        """Nobody writes the log any more. Only a run that was under way may yet get its end: a line at a time, by a
        writer that opens the log for each."""
        self.flush()
        self._tell_held()
        self.stage = self.stage if self.stage in _ACTIVE else ""
        self._delimiter, self._closed = "", True

    def add(self, offset: int, *evidence: Evidence) -> None:
        """Evidence from the line at offset, behind what is still pending: a fact that comes late is not heard."""
        self.flush()
        self._cut = False
        self._put(self._position(offset), evidence)

    def count(self, kind: int) -> None:
        """One more resource was created (0), modified (1) or destroyed (2)."""
        added, changed, removed = self._changes
        self._changes = (added + (kind == 0), changed + (kind == 1), removed + (kind == 2))

    def conclude(self, offset: int, outcome: Evidence, stage: str) -> None:
        """What became of the run, as the line at offset has it; it is held back where it may be foreign text."""
        self._cut = False
        if not self._warned:
            self.add(offset, outcome)
        elif isinstance(outcome, ev.ApplySummarised):
            if (outcome.add, outcome.change, outcome.remove) != self._changes:
                return
            summary = Pending(outcome.operation, self._position(offset), str(outcome.imported))
            self.held = human_outcome.held_with(self.held, summary)
        else:
            crash = Pending("doubt" if self._is_doubtful else "crash", self._position(offset), "")
            self.held = human_outcome.held_with(self.held, crash)
        self.stage = stage

    def _tell_held(self) -> None:
        held, self.held = () if self._cut else self.held, ()
        for one in human_outcome.told_of(held):
            self._put(one.position, human_outcome.evidence_of(one, self._changes))

    @property
    def _is_doubtful(self) -> bool:
        """Whether an error may be a warning's text: behind a whole plan nothing else tells that the command failed."""
        return self._warned and (self.stage == _PLANNED or any(one.kind == "doubt" for one in self.held))

    def may_begin(self, *stages: str) -> bool:
        """Whether a line that need not be a run's beginning may be one here."""
        return self.stage in stages or self._begins or self._closed

    def _position(self, offset: int) -> int:
        return max(1, offset - self._start)  # 0 is the place of OperationStarted

    def _put(self, position: int, evidence: Iterable[Evidence]) -> None:
        for index, one in enumerate(evidence):
            self.facts.append(Fact(one, self._anchor, position + index, self._unit))

    # --- lines that others complete ----------------------------------------------------------------------------

    def _comment(self, offset: int, comment: re.Match[str]) -> None:
        address, what = comment["address"], comment["what"]
        if what == text_of.READ_DURING_APPLY:
            self.add(offset, ev.ResourceRefreshed(address))
            return
        action = text_of.action_of(what)
        self.flush()
        if action == "delete":
            self._cut = False
            self._pending = Pending("deletion", self._position(offset), address)
        else:
            self.add(offset, ev.ChangePlanned(comment["new"] or address, action))

    def _error(self, offset: int, text: str, summary: str, boxed: bool) -> None:
        self.flush()
        if self._tells_by_name(summary):
            self._open(offset, text)
        elif not boxed and self.stage == _PLANNED and self.before not in (_BLANK, _QUESTION):
            return  # Terraform leaves a line free above its errors; other tools that follow a plan need not
        elif self._closed or self._cut or not (self.stage in (*_ACTIVE, _FAILED) or self.held):
            return
        kind = "doubt" if self._is_doubtful else "error"
        self.stage = _FAILED
        if boxed:
            self._tainted = False
        self._pending = Pending(kind, self._position(offset), summary, boxed=boxed)

    def _tells_by_name(self, summary: str) -> bool:
        first = self._begins or self._closed or (not self._anchor and not self.stage)
        return first and text_of.names_a_run(self._name) and summary not in text_of.NOT_OF_A_RUN

    def _goes_on(self, pending: Pending, text: str) -> bool:
        """Whether a line belongs to the pending one."""
        if pending.kind == "deletion":
            because = text_of.BECAUSE.fullmatch(text)
            self._pending = replace(pending, detail=because["why"] if because else "")
            self.flush()
            return because is not None
        if pending.boxed != (text[0] == "│") or (not pending.boxed and text_of.DIAGNOSTIC.fullmatch(text)):
            self.flush()
            return False
        body = text[2:] if pending.boxed else text
        if not body.strip():
            return True
        self._pending = replace(pending, detail=f"{pending.detail}{body}\n"[:_MAX_DETAIL])
        if pending.text != human_outcome.LOCK_REFUSED:
            self.flush()
            return text_of.WITH.fullmatch(body) is not None
        ends = text_of.HOLDER.fullmatch(body) or text_of.LOCK_DETAIL_ENDS.fullmatch(body)
        if ends or len(pending.detail) >= _MAX_DETAIL:
            self.flush()
        return True

    def flush(self) -> None:
        """Tell what is pending: nothing that comes now can add to it."""
        pending, self._pending = self._pending, None
        if pending is not None and pending.kind != "deletion" and self._warned:
            self.held = human_outcome.held_with(self.held, pending)
        elif pending is not None:
            self._put(pending.position, human_outcome.evidence_of(pending, self._changes))


# --- lines that speak for themselves --------------------------------------------------------------------------

_Make = Callable[[_Reader, int, str, re.Match[str]], None]


def _hook(reader: _Reader, offset: int, text: str, found: re.Match[str]) -> None:
    said, address = found["said"], found["address"]
    if said in text_of.CHANGING or said == text_of.IMPORTING:
        if reader.enter(offset, text, _APPLYING) and said in text_of.CHANGING:
            reader.add(offset, ev.ApplyStarted(address))
    elif said in text_of.CHANGED:
        if reader.stage in _ACTIVE:
            reader.stage = _APPLYING
            reader.add(offset, ev.ResourceApplied(address))
            reader.count(text_of.CHANGED.index(said))
    elif reader.stage == _IMPORT:
        return
    elif said in text_of.REFRESHING:
        if reader.enter(offset, text, _PLANNING, (_PLANNING,)):
            reader.add(offset, ev.ResourceRefreshed(address))
    elif said in text_of.READING:
        stage = reader.stage if reader.stage in _ACTIVE else _PLANNING
        if reader.enter(offset, text, stage):
            reader.add(offset, ev.ResourceRefreshed(address))
    elif said == text_of.READ and reader.stage in _ACTIVE:
        reader.add(offset, ev.ResourceRefreshed(address))


def _planning(reader: _Reader, offset: int, text: str, _found: re.Match[str]) -> None:
    reader.enter(offset, text, _PLANNING, (_PLANNING,))


def _plan_failed(reader: _Reader, offset: int, text: str, _found: re.Match[str]) -> None:
    reader.enter(offset, text, _PLAN_FAILED, (_PLANNING,))


def _no_changes(reader: _Reader, offset: int, text: str, _found: re.Match[str]) -> None:
    if reader.enter(offset, text, _PLANNED, (_PLANNING,)):
        reader.add(offset, _NOTHING)


def _plan(reader: _Reader, offset: int, text: str, found: re.Match[str]) -> None:
    if reader.may_begin(_PLANNING, "") and reader.enter(offset, text, _PLANNED, (_PLANNING,)):
        add, change, remove, imported, forgotten = _counts(found)
        reader.due = bool(add or remove or imported)  # an update may turn out to be none
        reader.add(offset, ev.PlanSummarised(add, change, remove, imported, forgotten))


def _only_refreshed(reader: _Reader, offset: int, _text: str, _found: re.Match[str]) -> None:
    if reader.stage == _PLANNING:
        reader.stage = _PLANNED
        reader.add(offset, _NOTHING)


def _outputs_change(reader: _Reader, offset: int, text: str, _found: re.Match[str]) -> None:
    stage = reader.stage if reader.stage in (_PLANNING, _PLAN_FAILED, _PLANNED) else _PLANNING
    if reader.enter(offset, text, stage, (_PLANNING, _PLAN_FAILED, _PLANNED)):
        reader.add(offset, ev.OutputsPlanned(True))


def _only_outputs(reader: _Reader, offset: int, _text: str, _found: re.Match[str]) -> None:
    if reader.stage == _PLANNING:
        reader.stage = _PLANNED
        reader.add(offset, _NOTHING, ev.OutputsPlanned(True))


def _plan_over(reader: _Reader, _offset: int, _text: str, _found: re.Match[str]) -> None:
    if reader.stage in (_PLANNING, _PLANNED):
        reader.stage = _ENDED
        reader.end()


def _summary(reader: _Reader, offset: int, text: str, found: re.Match[str]) -> None:
    add, change, remove, imported, _ = _counts(found)
    if reader.held:
        believed = True
    elif add or change or remove or imported:  # what was done was said before
        believed = reader.stage == _APPLYING
    else:
        begins = reader.stage in _ACTIVE or reader.may_begin("", _ENDED)
        believed = begins and not reader.due and reader.enter(offset, text, _APPLYING)
    if believed:
        operation = Operation.DESTROY if text.startswith("Destroy") else Operation.APPLY
        reader.conclude(offset, ev.ApplySummarised(add, change, remove, imported, operation), _ENDED)


def _outputs(reader: _Reader, _offset: int, _text: str, _found: re.Match[str]) -> None:
    if reader.stage in (*_ACTIVE, _ENDED):
        reader.stage = _OUTPUTS


def _declined(reader: _Reader, offset: int, _text: str, _found: re.Match[str]) -> None:
    if reader.before == _QUESTION:
        reader.stage = _ENDED
        reader.add(offset, ev.ApprovalDeclined())


def _crashed(reader: _Reader, offset: int, _text: str, _found: re.Match[str]) -> None:
    if reader.stage in _ACTIVE and not reader.is_cut:
        reader.conclude(offset, ev.CrashReported(), _ENDED)


def _while_active(evidence: Evidence) -> _Make:
    def tell(reader: _Reader, offset: int, _text: str, _found: re.Match[str]) -> None:
        if reader.stage in _ACTIVE:
            reader.add(offset, evidence)

    return tell


def _goes_to(stage: str) -> _Make:
    def go(reader: _Reader, _offset: int, _text: str, _found: re.Match[str]) -> None:
        reader.flush()
        reader.stage = stage

    return go


def _import(reader: _Reader, offset: int, _text: str, _found: re.Match[str]) -> None:
    if reader.stage in _ACTIVE:
        reader.add(offset, ev.OtherCommandStarted("import"))
    reader.stage = _IMPORT


def _counts(found: re.Match[str]) -> tuple[int, int, int, int, int]:
    counted = found.groupdict()
    add, change, remove, imported, forgotten = (
        int((counted.get(key) or "0")[:9]) for key in ("add", "change", "remove", "imported", "forgotten")
    )
    return add, change, remove, imported, forgotten


_MEANINGS: dict[Says, _Make] = {
    Says.HOOK: _hook,
    Says.PLANNING: _planning,
    Says.PLAN_FAILED: _plan_failed,
    Says.NO_CHANGES: _no_changes,
    Says.PLAN: _plan,
    Says.ONLY_REFRESHED: _only_refreshed,
    Says.OUTPUTS_CHANGE: _outputs_change,
    Says.ONLY_OUTPUTS_CHANGE: _only_outputs,
    Says.PLAN_IS_OVER: _plan_over,
    Says.SUMMARY: _summary,
    Says.OUTPUTS: _outputs,
    Says.DECLINED: _declined,
    Says.INTERRUPTED: _while_active(ev.InterruptRequested()),
    Says.INTERRUPTED_TWICE: _while_active(ev.InterruptRequested(forced=True)),
    Says.CRASHED: _crashed,
    Says.INIT_BEGINS: _goes_to(_INIT),
    Says.IMPORT_BEGINS: _import,
    Says.OTHER_COMMAND_ENDS: _goes_to(""),
}
