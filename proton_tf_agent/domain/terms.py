"""What runs, outputs and cursors are made of, in Terraform's words: the terms that evidence and they share.

They lie apart from `evidence`, which defines one class for each fact there is: who reads the journal needs none of
those, and is twice as fast at work without them.
"""

from __future__ import annotations

from enum import StrEnum

from .values import Struct


class Operation(StrEnum):
    """What Terraform was asked to do, as far as the evidence tells."""

    PLAN = "plan"
    APPLY = "apply"
    DESTROY = "destroy"
    REFRESH = "refresh"


class Form(StrEnum):
    """How a log speaks: Terraform's machine-readable UI, or what a person sees."""

    JSON = "json"
    HUMAN = "human"


class Output(Struct, frozen=True):
    """A root module output.

    value is its JSON text exactly as written (numbers of any precision survive); None when the value is
    withheld: sensitive, or a copy of something sensitive.
    """

    name: str
    value: str | None
    sensitive: bool = False
    withheld: str = ""


class Job(Struct, frozen=True):
    """The CI job a run belongs to, as the job's environment tells; empty: it does not tell."""

    system: str
    commit: str = ""
    actor: str = ""
    url: str = ""
    attempt: str = ""


class DecisionTaken(Struct, frozen=True):
    """A person has settled what no evidence could: who it was, and why they say so."""

    succeeded: bool
    who: str
    reason: str

    @property
    def outcome(self) -> str:
        """The word for what was decided."""
        return "succeeded" if self.succeeded else "failed"


class Mark(Struct, frozen=True):
    """Where in a log its reader stands.

    anchor names the run whose lines come now (empty: none), offset is where the line began that opened it. phase is
    the human reader's own word for how far that run has come. unit is the directory Terragrunt prefixes lines with;
    a log without such prefixes has one mark, and its unit is empty. cut: the file began anew, and no line of the run
    has been read since.
    """

    anchor: str = ""
    offset: int = 0
    form: Form | None = None
    phase: str = ""
    unit: str = ""
    cut: bool = False


class Cursor(Struct, frozen=True):
    """How far a file has been read, and which file that was.

    head is a digest of the first `head_length` bytes, end one of the last before `offset`: they tell a rewritten file
    from a grown one when truncation went unseen. generation tells what a human log holds from what the same inode held
    before, and modified_ns is when it had last been written (ns since the epoch); both are 0 for a JSON log. lock_id is
    the lock last seen in a lock info file.
    """

    path: str
    device: int = 0
    inode: int = 0
    offset: int = 0
    head: str = ""
    head_length: int = 0
    marks: tuple[Mark, ...] = ()
    generation: int = 0
    modified_ns: int = 0
    lock_id: str = ""
    end: str = ""
