"""A log on disk that is looked at as the agent does, whenever a test says so."""

from __future__ import annotations

import os
from pathlib import Path

from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.evidence import Cursor, Evidence, Fact
from proton_tf_agent.sources import log, tail


class ReadLog:
    """A log in either form, and the agent's looks at it. runs: the anchors of the runs it told of, in their order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cursor: Cursor | None = None
        self.facts: list[Fact] = []

    def append(self, text: str) -> ReadLog:
        with self.path.open("a") as file:
            file.write(text)
        return self

    def overwrite(self, text: str) -> ReadLog:
        """Truncate it, as a shell does long before Terraform writes."""
        self.path.write_text("")
        return self.look().append(text)

    def look(self, *, complete: bool = False) -> ReadLog:
        """Look at it; complete: nobody writes it."""
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            new = tail.read_new(
                lambda offset, length: os.pread(file.fileno(), length, offset), status.st_size, 1, 1, self.cursor
            )
        was_looked_at = (self.cursor.generation if self.cursor else 0) + new.restarted
        file_read = log.LogFile(str(self.path.parent), self.path.name, f"it\0{was_looked_at}", 1000.0)
        facts, marks = log.read(file_read, new, self.cursor, complete)
        self.facts += facts
        self.cursor = Cursor(
            str(self.path), 1, 1, new.offset, new.head, new.head_length, marks, generation=was_looked_at, end=new.end
        )  # fmt: skip
        return self

    def end(self) -> ReadLog:
        """Look at it when its writer is gone."""
        return self.look(complete=True)

    @property
    def runs(self) -> list[str]:
        return [fact.anchor for fact in self.facts if isinstance(fact.evidence, ev.OperationStarted)]

    def told(self, run: int) -> list[Evidence]:
        """The outcomes told of one of its runs."""
        outcomes = (
            ev.ApplySummarised | ev.ErrorReported | ev.ApprovalDeclined | ev.CrashReported | ev.OutcomeContradicted
        )
        anchor = self.runs[run]
        return [f.evidence for f in self.facts if f.anchor == anchor and isinstance(f.evidence, outcomes)]

    def ends(self, run: int) -> list[type]:
        """How it was told that one of its runs has nothing more to say, repetitions once."""
        anchor, ends = self.runs[run], (ev.LogClosed, ev.LogOverwritten)
        told = [type(fact.evidence) for fact in self.facts if fact.anchor == anchor and isinstance(fact.evidence, ends)]
        return list(dict.fromkeys(told))
