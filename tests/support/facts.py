"""Facts and runs for tests of the domain: recorded logs as facts, and a tale that lets one run have them."""

from __future__ import annotations

from pathlib import Path

from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.binding import Binding
from proton_tf_agent.domain.composition import compose
from proton_tf_agent.domain.evidence import Cursor, Evidence, Fact, Mark, Operation, Output
from proton_tf_agent.domain.notification import Notification
from proton_tf_agent.domain.outputs import Mapped
from proton_tf_agent.domain.redaction import NOTHING_TAINTED, Taint
from proton_tf_agent.domain.run import Patience, Run, RunStatus, Transition
from proton_tf_agent.domain.transitions import advance, fold
from proton_tf_agent.sources import json_log, tail

LOGS = Path(__file__).parents[1] / "golden" / "logs"
NOTHING_MAPPED = Mapped()
PATIENCE = Patience(settle=10.0, grace=3.0)
LOCK = "11111111-2222-3333-4444-555555555555"
ARN = "arn:aws:proton:eu-west-1:123456789012:environment/network"
DEPLOYMENT_ID = "00000000-0000-4000-8000-000000000000"
BINDING = Binding(ARN, DEPLOYMENT_ID)

STARTED = ev.OperationStarted("terraform", "1.11.4", 1000.0)
LOCKED_TO_PLAN = ev.LockTaken(LOCK, "OperationTypePlan", "ci@runner", "1.11.4", 1000.0, "/w/terraform.tfstate")
LOCKED_TO_APPLY = ev.LockTaken(LOCK, "OperationTypeApply", "ci@runner", "1.11.4", 1000.0, "/w/terraform.tfstate")
PLANNED = ev.PlanSummarised(3, 0, 0)
APPLIED = ev.ApplySummarised(3, 0, 0)
DESTROYED = ev.ApplySummarised(0, 0, 3, 0, Operation.DESTROY)
OUTPUTS = ev.OutputsReported((Output("vpc_id", '"vpc-1"'),))
NO_OUTPUTS = ev.OutputsReported(())
FAILED = ev.ErrorReported("local-exec provisioner error", "terraform_data.bad")
INTERRUPTED = ev.InterruptRequested()
REFUSED = ev.LockRefused("99999999-2222-3333-4444-555555555555")
CLOSED = ev.LogClosed()
OVERWRITTEN = ev.LogOverwritten()
RELEASED = ev.LockReleased(LOCK)
REPLACED = ev.LockReplaced(LOCK)
GONE = ev.HolderGone(LOCK)
ROBBED = ev.TracesGone(LOCK)
NEXT = ev.NextRunBegan()
DECLINED = ev.ApprovalDeclined()
CRASHED = ev.CrashReported()
REBOOTED = ev.HostRestarted()
SETTLED = ev.DecisionTaken(True, "alice@ci-7", "the subnet is there, looked at in the console")
GIVEN_UP = ev.DecisionTaken(False, "bob as root@ci-7", "the job was killed by hand")
ELAPSED = ev.Elapsed()
RECORD = "0123456789abcdef0123456789abcdef"
JOB = ev.Job("GitHub Actions", "0" * 40, "alice", "https://github.example/acme/net/actions/runs/7", "2")
WRAPPED_APPLY = ev.CommandStarted(RECORD, Operation.APPLY, 1000.0, ("terraform", "apply"), listens=True, job=JOB)
WRAPPED_DESTROY = ev.CommandStarted(RECORD, Operation.DESTROY, 1000.0, ("terraform", "destroy"))
WRAPPED_PLAN = ev.CommandStarted(RECORD, Operation.PLAN, 1000.0, ("terraform", "plan"), detailed=True)
WRAPPER_GONE = ev.WrapperGone()
EXITED_WELL = ev.ProcessExited(0, at=1010.0)
EXITED_BADLY = ev.ProcessExited(1, at=1010.0)
EXITED_WITH_CHANGES = ev.ProcessExited(2, at=1010.0)
KILLED = ev.ProcessExited(0, 9, 1010.0)
TERMINATED = ev.ProcessExited(0, 15, 1010.0)

# One of every kind of evidence, and every variant a guard tells apart.
EVERY_EVIDENCE: tuple[Evidence, ...] = (
    STARTED,
    ev.OtherCommandStarted("init"),
    ev.ResourceRefreshed("a.b"),
    ev.ChangePlanned("a.b", "create"),
    ev.ChangePlanned("a.b", "delete"),
    PLANNED,
    ev.PlanSummarised(0, 0, 0),
    ev.OutputsPlanned(True),
    ev.OutputsPlanned(False),
    ev.ApplyStarted("a.b"),
    ev.ResourceApplied("a.b"),
    ev.ResourceErrored("a.b"),
    APPLIED,
    DESTROYED,
    OUTPUTS,
    NO_OUTPUTS,
    FAILED,
    INTERRUPTED,
    ev.InterruptRequested(forced=True),
    REFUSED,
    ev.StateSaveFailed(),
    ev.OutcomeContradicted(),
    CLOSED,
    OVERWRITTEN,
    LOCKED_TO_PLAN,
    LOCKED_TO_APPLY,
    ev.LockTaken(LOCK, "OperationTypeRefresh"),
    ev.LockTaken(LOCK, "state-mv"),
    RELEASED,
    REPLACED,
    GONE,
    ROBBED,
    ev.StateWritten("lineage", 4, ()),
    ev.LockPassed("/w/terraform.tfstate"),
    NEXT,
    ev.ApprovalAwaited(),
    DECLINED,
    CRASHED,
    REBOOTED,
    SETTLED,
    GIVEN_UP,
    WRAPPED_APPLY,
    WRAPPED_DESTROY,
    WRAPPED_PLAN,
    WRAPPER_GONE,
    EXITED_WELL,
    EXITED_BADLY,
    EXITED_WITH_CHANGES,
    KILLED,
    TERMINATED,
    ELAPSED,
)


def a_run() -> Run:
    """A run of which nothing is known yet."""
    return Run(run_id="run-1", directory="/w", started_at=1000.0)


def facts_of(content: bytes, directory: str = "/w") -> tuple[Fact, ...]:
    """The facts in a whole log."""
    facts: tuple[Fact, ...] = ()
    cursor, mark, more = None, Mark(), True
    while more:
        new = tail.read_new(lambda at, length: content[at : at + length], len(content), 1, 1, cursor)
        found, mark = json_log.read(new.lines, mark, directory)
        facts, more = (*facts, *found), new.more
        cursor = Cursor("", 1, 1, new.offset, new.head, new.head_length, end=new.end)
    return facts


def recorded(name: str) -> tuple[Fact, ...]:
    """The facts in a recorded log."""
    return facts_of((LOGS / name).read_bytes())


class Tale:
    """One run and what it was told, in order."""

    def __init__(self) -> None:
        self.run = a_run()
        self.now = 1000.0
        self.transitions: list[Transition] = []

    def tell(self, *told: Evidence | Fact | tuple[Fact, ...]) -> Tale:
        """Let the run have evidence, facts, or a whole log of them, all at the present moment."""
        for one in told:
            if isinstance(one, tuple):
                self.tell(*one)
            elif isinstance(one, Fact):
                self._take(advance(self.run, one, self.now, PATIENCE))
            else:
                self._take(fold(self.run, one, self.now, PATIENCE))
        return self

    def wait(self, seconds: float) -> Tale:
        """Let time pass, and tell the run so."""
        self.now += seconds
        return self.tell(ELAPSED)

    def _take(self, folded: tuple[Run, Transition | None]) -> None:
        self.run, transition = folded
        if transition is not None:
            self.transitions.append(transition)

    @property
    def status(self) -> RunStatus:
        return self.run.status

    def message(self, mapped: Mapped = NOTHING_MAPPED, taint: Taint = NOTHING_TAINTED) -> str:
        """What the last transition tells."""
        notification = self.notification(mapped, taint)
        return notification.status_message if notification else ""

    def notification(self, mapped: Mapped = NOTHING_MAPPED, taint: Taint = NOTHING_TAINTED) -> Notification | None:
        """The notification the last transition gives rise to."""
        return compose(self.run, self.transitions[-1], BINDING, mapped, taint)
