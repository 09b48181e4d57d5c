"""A run: everything found about it so far.

How one fact adds to that is `findings`; what the findings amount to, the run's status, is decided in `transitions`.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

from .terms import DecisionTaken, Form, Job, Operation, Output
from .values import Struct


class RunStatus(StrEnum):
    """HCP Terraform's run statuses, and two of our own: lost and undetermined."""

    PENDING = "pending"  # a command has started; whether it is a run is not known yet
    PLANNING = "planning"
    PLANNED = "planned"
    PLANNED_AND_FINISHED = "planned_and_finished"  # the command was a plan and is over
    APPLYING = "applying"
    APPLIED = "applied"
    DESTROYED = "destroyed"
    ERRORED = "errored"
    CANCELED = "canceled"
    LOST = "lost"  # the process is gone and wrote no verdict: an inference
    UNDETERMINED = "undetermined"  # it ended, and success cannot be told from failure
    NO_RUN = "no_run"  # the log turned out to belong to init, test or the like; nothing is kept


OPEN = frozenset({RunStatus.PENDING, RunStatus.PLANNING, RunStatus.PLANNED, RunStatus.APPLYING})
FINAL = frozenset(RunStatus) - OPEN
AMENDABLE = frozenset({RunStatus.PLANNED_AND_FINISHED, RunStatus.LOST, RunStatus.UNDETERMINED})
DECIDABLE = frozenset({RunStatus.APPLIED, RunStatus.ERRORED})  # what a person may settle a run as


class Basis(IntEnum):
    """What a verdict rests on, weakest first."""

    INFERENCE = 1
    STATE = 2
    DECISION = 3  # a person's
    PROOF = 4


class Wait(StrEnum):
    """How long a verdict waits before it is final."""

    NOW = "now"
    GRACE = "grace"
    SETTLE = "settle"


class Lock(StrEnum):
    """What is known of the run's state lock."""

    UNSEEN = "unseen"
    HELD = "held"
    RELEASED = "released"
    REPLACED = "replaced"
    ABANDONED = "abandoned"
    GONE = "gone"  # from disk, directory and all: neither released nor left behind


class Wrapper(StrEnum):
    """What is known of the wrapper of a run."""

    AT_WORK = "at_work"  # it will say how Terraform ends: nothing is inferred meanwhile
    DONE = "done"
    GONE = "gone"  # it died before it could, and Terraform is gone, too


class Log(StrEnum):
    """What is known of the run's log."""

    ABSENT = "absent"
    OPEN = "open"
    CLOSED = "closed"
    OVERWRITTEN = "overwritten"  # before its end was read


class Patience(Struct, frozen=True):
    """How long verdicts wait, in seconds."""

    settle: float = 10.0
    grace: float = 3.0

    def of(self, wait: Wait) -> float:
        return {Wait.NOW: 0.0, Wait.GRACE: self.grace, Wait.SETTLE: self.settle}[wait]


class Counts(Struct, frozen=True):
    """Resources by what happens to them, as a change summary counts them."""

    add: int = 0
    change: int = 0
    remove: int = 0
    imported: int = 0

    @property
    def total(self) -> int:
        return self.add + self.change + self.remove + self.imported


class Wrapped(Struct, frozen=True):
    """What the wrapper of a run has recorded; see `evidence.CommandStarted` and `evidence.ProcessExited`."""

    record_id: str
    wrapper: Wrapper = Wrapper.AT_WORK
    command: tuple[str, ...] = ()
    detailed: bool = False
    listens: bool = False
    files: tuple[tuple[int, int], ...] = ()
    on_terminal: bool = False
    job: Job | None = None
    exit_status: int | None = None
    exit_signal: int = 0
    exited_at: float | None = None

    @property
    def writes_json_aside(self) -> bool:
        """Whether it writes a JSON log besides what it prints (OpenTofu's -json-into)."""
        return any(word.lstrip("-").startswith("json-into") for word in self.command)

    @property
    def has_succeeded(self) -> bool:
        """Whether Terraform's exit status says that all went well."""
        return self.exit_status == 0 and not self.exit_signal

    @property
    def has_found_changes(self) -> bool:
        """Whether the exit status says of a plan that it changes something (`-detailed-exitcode`)."""
        return self.detailed and self.exit_status == 2 and not self.exit_signal


class Verdict(Struct, frozen=True):
    """A status a run is about to take; due_at is the wall-clock second from which it may."""

    status: RunStatus
    basis: Basis
    reason: str
    due_at: float


class Run(Struct, frozen=True):
    """Everything found about one run. Times are seconds since the epoch.

    position is how far into its log (bytes behind its `version` line) facts were noted: a log that is read
    again, under another name or after a truncation, adds nothing twice. echo is the anchor of a human log beside the
    run's JSON log (OpenTofu's -json-into), or of any log of a run whose wrapper listens: the same words a second time,
    which say nothing. misled: its log speaks of another run, too, or contradicts itself, and what it says proves
    nothing. state_path is the state its lock was seen on, recorded_state the one that `init` has written down for
    its directory. log_started_at is when its log says that it began, log_spoke_at when a JSON log says that it got the
    last line which was read behind those of a run's beginning, log_written_at when it was last written, once it is
    closed. left_out are the sinks whose routes leave out what was told of it last, each with why.
    """

    run_id: str
    directory: str
    started_at: float
    workspace: str | None = None
    status: RunStatus = RunStatus.PENDING
    reason: str = ""
    basis: Basis | None = None
    ended_at: float | None = None
    revision: int = 0
    historic: bool = False
    followed: bool = False
    operation: Operation | None = None
    tool: str = ""
    version: str = ""
    anchor: str = ""
    echo: str = ""
    misled: bool = False
    log_path: str = ""
    log: Log = Log.ABSENT
    log_started_at: float | None = None
    log_spoke_at: float | None = None
    log_written_at: float | None = None
    form: Form | None = None
    position: int = -1
    lock_id: str = ""
    lock: Lock = Lock.UNSEEN
    lock_directory: str = ""
    state_path: str = ""
    recorded_state: str = ""
    who: str = ""
    planned: int = 0
    planned_deletes: int = 0
    outputs_change: bool = False
    plan: Counts | None = None
    applied: int = 0
    errored: int = 0
    summary: Counts | None = None
    outputs: tuple[Output, ...] | None = None
    error_summary: str = ""
    error_address: str = ""
    errors: int = 0
    interrupted: bool = False
    awaits_approval: bool = False
    declined: bool = False
    crashed: bool = False
    refused: bool = False
    refused_by: str = ""
    state_saved: bool = True
    lineage: str = ""
    serial: int | None = None
    decision: DecisionTaken | None = None
    wrapped: Wrapped | None = None
    verdict: Verdict | None = None
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def directories(self) -> tuple[str, ...]:
        """Every directory that may be the run's: where it was first seen, where its lock is, where its log is."""
        places = (self.directory, self.lock_directory, self.log_path.rpartition("/")[0])
        return tuple(dict.fromkeys(place for place in places if place))

    @property
    def over_at(self) -> float | None:
        """When the run was over at the latest, as far as it tells by itself; None while it may go on."""
        if self.log is Log.CLOSED:
            return self.log_written_at or self.started_at
        if self.log is Log.OVERWRITTEN:
            return self.started_at
        held = self.log is Log.OPEN or self.lock in (Lock.UNSEEN, Lock.HELD)
        return None if held else self.started_at

    @property
    def has_changes(self) -> bool:
        """Whether the plan changes anything; counts alone do not tell (outputs, moves, imports)."""
        found = self.wrapped is not None and self.wrapped.has_found_changes
        return bool(self.planned or self.outputs_change or (self.plan and self.plan.total) or found)

    @property
    def lacks_changes(self) -> bool:
        """Whether the plan is known to change nothing: its summary or its detailed exit status says so."""
        told = self.wrapped is not None and self.wrapped.detailed and self.wrapped.has_succeeded
        return (self.plan is not None or told) and not self.has_changes

    @property
    def is_heard(self) -> bool:
        """Whether the record of a wrapper repeats whatever a log of the run says."""
        return self.wrapped is not None and self.wrapped.listens and self.wrapped.wrapper is not Wrapper.GONE

    @property
    def is_wrapped(self) -> bool:
        """Whether a wrapper is at work that will say how Terraform ends."""
        return self.wrapped is not None and self.wrapped.wrapper is Wrapper.AT_WORK

    @property
    def destroys_everything(self) -> bool:
        """Only deletions were planned, and none because its configuration is gone: a destroy by another name."""
        return bool(self.planned) and self.planned == self.planned_deletes


class Transition(Struct, frozen=True):
    """A run has taken a new status."""

    run_id: str
    previous: RunStatus
    status: RunStatus
    basis: Basis | None
    reason: str
    evidence: str
    at: float


def objection_to_deciding(run: Run) -> str:
    """Why there is nothing for a person to decide about a run; empty when there is."""
    if run.status in OPEN:
        return f"it is still under way ({run.status})"
    if run.basis is Basis.PROOF:
        return f"it was proven: {run.status}, {run.reason}"
    if run.decision is not None:
        return f"{run.decision.who} has settled it as {run.decision.outcome} already"
    if run.verdict is not None:
        return f"proof has come meanwhile and is about to count: {run.verdict.reason}"
    return "" if run.status in AMENDABLE else f"it is {run.status}"


def remedies(run: Run) -> tuple[str, ...]:
    """What would settle a run that ended undetermined, or make its like tell their outcome; best first."""
    if run.status is not RunStatus.UNDETERMINED:
        return ()
    log = "a log with Terraform's own verdict (`terraform apply -json > apply.log`)"
    if run.log is Log.OVERWRITTEN:
        log = "a copy of its whole log in the run directory, should there be one" if run.form is Form.JSON else ""
    elif run.log is not Log.ABSENT:
        log = "the rest of its log, should it still come"
    word = f"your word: `proton-tf-agent runs settle {run.run_id} --as succeeded|failed --reason '...'`"
    return (log, word) if log else (word,)
