"""Evidence: what a source has read from disk, as frozen facts in the past tense and in Terraform's words.

Readers make facts, `transitions.fold` consumes them. A fact says what was seen, never what it means; it may be seen
twice and must then mean nothing new. Free text in a fact (`ErrorReported.summary`) is foreign text and passes
`redaction` before anything keeps it.

Over 400 lines because the vocabulary is one: whoever looks for a word, or adds one, looks here.

Source of the vocabulary: Terraform `internal/command/views/json/message_types.go` (log messages) and
`internal/states/statemgr/locker.go` (lock info).
"""

from __future__ import annotations

from .cursors import Cursor as Cursor
from .cursors import Mark as Mark
from .terms import DecisionTaken as DecisionTaken
from .terms import Form as Form
from .terms import Job as Job
from .terms import Operation as Operation
from .terms import Output as Output
from .values import Struct


class OperationStarted(Struct, frozen=True):
    """A log begins to speak of a command: its `version` line, or the first line that only a run prints.

    at is None where the log does not tell (human logs have no clock).
    """

    tool: str
    version: str
    at: float | None = None
    form: Form = Form.JSON


class CommandStarted(Struct, frozen=True):
    """The wrapper has started Terraform (`proton-tf-agent exec -- terraform apply`).

    command is what was typed, without the values of variables. detailed: `-detailed-exitcode` was asked for. listens:
    the wrapper hears what Terraform prints, and its record repeats it. files are those it prints to (device, inode), on
    a terminal that it prints to one: no other log is the run's. ended_at is when it ended, where that is known
    already: what began later is not of this run.
    """

    record_id: str
    operation: Operation
    at: float
    command: tuple[str, ...] = ()
    detailed: bool = False
    listens: bool = False
    job: Job | None = None
    ended_at: float | None = None
    files: tuple[tuple[int, int], ...] = ()
    on_terminal: bool = False


class ProcessExited(Struct, frozen=True):
    """The wrapper has waited for Terraform: its exit status, or the number of the signal that ended it."""

    status: int
    signal: int = 0
    at: float | None = None


class WrapperGone(Struct, frozen=True):
    """The wrapper died before it could say how Terraform ended, and that is gone, too."""


class ApprovalAwaited(Struct, frozen=True):
    """Terraform asks a person `Enter a value:` and waits."""


class ApprovalDeclined(Struct, frozen=True):
    """The answer was no: `Apply cancelled.` or `Destroy cancelled.`"""


class CrashReported(Struct, frozen=True):
    """Terraform itself crashed: a panic, or the goroutine dump that SIGQUIT makes."""


class OutcomeContradicted(Struct, frozen=True):
    """A log that is over has a summary and an error, of which one is foreign text: it proves neither."""


class HostRestarted(Struct, frozen=True):
    """The machine was booted anew after this was last seen alive: whatever ran on it is gone."""


class OtherCommandStarted(Struct, frozen=True):
    """The log belongs to a command that is no run: `init -json`, `test -json`, `query -json`."""

    command: str


class ResourceRefreshed(Struct, frozen=True):
    """A resource or data source was read: planning is under way."""

    address: str


class ChangePlanned(Struct, frozen=True):
    """A `planned_change` whose action is neither `noop` nor `read`.

    reason is Terraform's own, e.g. `delete_because_no_resource_config`; a destroy gives none.
    """

    address: str
    action: str
    reason: str = ""


class PlanSummarised(Struct, frozen=True):
    """`change_summary` of a plan. 0/0/0 does not mean that nothing changes: moves and outputs count elsewhere."""

    add: int
    change: int
    remove: int
    imported: int = 0
    forgotten: int = 0


class OutputsPlanned(Struct, frozen=True):
    """The plan's `outputs` message: names and actions, no values."""

    has_changes: bool


class ApplyStarted(Struct, frozen=True):
    """First `apply_start` whose action is not `read`: real infrastructure is being changed."""

    address: str


class ResourceApplied(Struct, frozen=True):
    """`apply_complete` whose action is not `read`."""

    address: str


class ResourceErrored(Struct, frozen=True):
    """`apply_errored`."""

    address: str


class ApplySummarised(Struct, frozen=True):
    """`change_summary` of an apply or destroy: Terraform prints it on success alone, after the unlock."""

    add: int
    change: int
    remove: int
    imported: int = 0
    operation: Operation = Operation.APPLY


class OutputsReported(Struct, frozen=True):
    """The final `outputs` message of an apply, with every value that is not sensitive."""

    outputs: tuple[Output, ...]


class ErrorReported(Struct, frozen=True):
    """A diagnostic of severity error. Only summary and address are kept; the detail may hold secrets."""

    summary: str
    address: str = ""


class InterruptRequested(Struct, frozen=True):
    """Terraform was asked to stop (SIGINT or SIGTERM); forced is the second request."""

    forced: bool = False


class LockRefused(Struct, frozen=True):
    """The state lock could not be had. holder is the lock id of the run that has it, when told."""

    holder: str = ""


class StateSaveFailed(Struct, frozen=True):
    """The new state could not be persisted to its backend."""


class LogClosed(Struct, frozen=True):
    """Nobody writes the log any more, or the next run has begun in it: it will say nothing further.

    written_at is when it was last written, in seconds since the epoch; None: nobody knows.
    """

    written_at: float | None = None


class LogOverwritten(Struct, frozen=True):
    """The file of the log began anew before its end was read, and the run does not go on in it: the next one has begun
    there, or nobody writes it any more. What it still had to say is not known."""


class LockTaken(Struct, frozen=True):
    """A lock info file names a lock. operation is Terraform's string, e.g. `OperationTypeApply`."""

    lock_id: str
    operation: str
    who: str = ""
    version: str = ""
    created_at: float | None = None
    state_path: str = ""


class LockReleased(Struct, frozen=True):
    """The lock info file is gone: Terraform came to its own end."""

    lock_id: str


class LockReplaced(Struct, frozen=True):
    """The lock info file names another lock now: this one is over, and whether in order nobody can tell."""

    lock_id: str


class LockPassed(Struct, frozen=True):
    """A lock info file came and went unread: some command had the lock of this state, a moment ago. gone_by: a
    wall-clock second at which it was there no more."""

    state_path: str
    gone_by: float | None = None


class HolderGone(Struct, frozen=True):
    """The lock info is still there but no process holds the lock: its owner died."""

    lock_id: str


class TracesGone(Struct, frozen=True):
    """What would tell of the run's end (its log, its lock's directory) is gone from disk, and as far as can be seen
    nobody is at work on it any more. How it ended nobody will know."""

    lock_id: str = ""


class StateWritten(Struct, frozen=True):
    """A whole, quiet state file was read while no lock was held."""

    lineage: str
    serial: int
    outputs: tuple[Output, ...]


class NextRunBegan(Struct, frozen=True):
    """Another run has the lock of the same state now: what this one still waits for will not come."""


class Elapsed(Struct, frozen=True):
    """Time is an input too: what has waited long enough may be decided now."""


Evidence = (
    OperationStarted
    | CommandStarted
    | ProcessExited
    | WrapperGone
    | OtherCommandStarted
    | ResourceRefreshed
    | ChangePlanned
    | PlanSummarised
    | OutputsPlanned
    | ApplyStarted
    | ResourceApplied
    | ResourceErrored
    | ApplySummarised
    | OutputsReported
    | ErrorReported
    | InterruptRequested
    | LockRefused
    | StateSaveFailed
    | ApprovalAwaited
    | ApprovalDeclined
    | CrashReported
    | OutcomeContradicted
    | HostRestarted
    | LogClosed
    | LogOverwritten
    | LockTaken
    | LockReleased
    | LockReplaced
    | LockPassed
    | HolderGone
    | TracesGone
    | StateWritten
    | DecisionTaken
    | NextRunBegan
    | Elapsed
)

# The `Operation` strings of a lock that belong to a run; all others (state-mv, taint, init ...) do not.
# terraform internal/backend/backendrun/operation.go (OperationType.String)
OPERATION_OF_LOCK = {
    "OperationTypePlan": Operation.PLAN,
    "OperationTypeApply": Operation.APPLY,
    "OperationTypeRefresh": Operation.REFRESH,
}


class Fact(Struct, frozen=True):
    """A piece of evidence and what ties it to its run: the log's anchor, else the place it was found in.

    position counts the bytes from the line that opened the run; None for facts that are not a line of a log.
    unit is the directory below the file's own that the fact speaks for (Terragrunt); empty: the file's own.
    record_id names the wrapper's record that holds the fact; empty: it is from elsewhere.
    """

    evidence: Evidence
    anchor: str = ""
    position: int | None = None
    unit: str = ""
    record_id: str = ""


class Observation(Struct, frozen=True):
    """What one look at one file brought: facts, and the cursor that makes the next look start behind them.

    directory is the run directory the file speaks for, workspace its Terraform workspace where the place
    tells (None: unknown). modified_at is the file's own time, used only to tell old runs from new ones and to date
    runs whose log has no clock. spoke_at is when a log had got its last line: by its own clock, else by the file's once
    nobody writes it any more; None: not known. said_at is that by its own clock alone, which is also a lock's.
    more says that the file holds further bytes which this look left alone to bound its work. file is which file it was
    (device, inode). objection is why something in the file was not taken, a code of `refusals`; empty: all was.
    """

    source: str
    path: str
    directory: str
    workspace: str | None
    facts: tuple[Fact, ...]
    cursor: Cursor | None
    modified_at: float = 0.0
    more: bool = False
    spoke_at: float | None = None
    file: tuple[int, int] | None = None
    objection: str = ""
    said_at: float | None = None

    def tells(self, *kinds: type) -> bool:
        """Whether some of its facts are of one of these kinds."""
        return any(isinstance(fact.evidence, kinds) for fact in self.facts)
