"""How a run goes: every way a run can go, and what the transition table can and cannot do."""

from __future__ import annotations

from collections import deque

import pytest
from support.facts import (
    APPLIED,
    BINDING,
    CLOSED,
    CRASHED,
    DECLINED,
    DESTROYED,
    ELAPSED,
    EXITED_BADLY,
    EXITED_WELL,
    EXITED_WITH_CHANGES,
    FAILED,
    GIVEN_UP,
    GONE,
    INTERRUPTED,
    KILLED,
    LOCK,
    LOCKED_TO_APPLY,
    LOCKED_TO_PLAN,
    NEXT,
    NO_OUTPUTS,
    OUTPUTS,
    OVERWRITTEN,
    PATIENCE,
    PLANNED,
    REBOOTED,
    REFUSED,
    RELEASED,
    REPLACED,
    ROBBED,
    SETTLED,
    STARTED,
    TERMINATED,
    WRAPPED_APPLY,
    WRAPPED_DESTROY,
    WRAPPED_PLAN,
    WRAPPER_GONE,
    Tale,
    a_run,
    recorded,
)

from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain import transitions
from proton_tf_agent.domain.composition import compose
from proton_tf_agent.domain.evidence import Fact
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outputs import Mapped
from proton_tf_agent.domain.redaction import NOTHING_TAINTED
from proton_tf_agent.domain.run import (
    AMENDABLE,
    FINAL,
    OPEN,
    Basis,
    Lock,
    Log,
    Run,
    RunStatus,
    Transition,
    Wait,
    objection_to_deciding,
)
from proton_tf_agent.domain.transitions import TRANSITIONS, Row, advance, fold, rows_behind
from proton_tf_agent.domain.values import replace

pytestmark = pytest.mark.timeout(240)  # two million steps take their time on a busy machine
SUCCESSES = (RunStatus.APPLIED, RunStatus.DESTROYED)


# --- the table as a whole: every state of a run that any order of facts can lead to ---------------------------


# The evidence that guards can tell apart; the rest only adds to counts and texts (tests/property folds all of it).
TELLING = (
    STARTED, ev.OtherCommandStarted("init"), ev.ResourceRefreshed("a.b"), ev.ChangePlanned("a.b", "create"),
    ev.ChangePlanned("a.b", "delete"), PLANNED, ev.ApplyStarted("a.b"), APPLIED, DESTROYED, OUTPUTS, NO_OUTPUTS,
    FAILED, INTERRUPTED, REFUSED, CLOSED, OVERWRITTEN, LOCKED_TO_PLAN, LOCKED_TO_APPLY, RELEASED, REPLACED, GONE,
    ROBBED, NEXT, ELAPSED, DECLINED, CRASHED, REBOOTED, SETTLED, GIVEN_UP,
)  # fmt: skip
# What comes to a run behind a wrapper; the wrapper's own word is the first.
WRAPPED = (WRAPPED_APPLY, WRAPPED_DESTROY, WRAPPED_PLAN)
TELLING_BEHIND_A_WRAPPER = (
    STARTED, ev.ChangePlanned("a.b", "delete"), PLANNED, APPLIED, OUTPUTS, FAILED, INTERRUPTED, REFUSED, CLOSED,
    OVERWRITTEN, LOCKED_TO_APPLY, RELEASED, GONE, ELAPSED, REBOOTED, WRAPPER_GONE, EXITED_WELL, EXITED_BADLY,
    EXITED_WITH_CHANGES, KILLED, TERMINATED,
)  # fmt: skip


class World:
    """Every reachable state of a run, found by letting it have every evidence again and again.

    Counts and texts are dropped beyond what guards can tell apart, so that the states are finitely many; the clock
    stands still, and Elapsed comes when whatever waits is due.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken: set[int] = set()
        self.steps: list[tuple[Run, ev.Evidence, Run, Transition | None]] = []
        take = transitions._take

        def noting(run: Run, row: Row, *rest: object) -> object:
            self.taken.add(id(row))
            return take(run, row, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(transitions, "_take", noting)
        self._explore([a_run()], TELLING)
        self._explore([fold(a_run(), started, 0.0, PATIENCE)[0] for started in WRAPPED], TELLING_BEHIND_A_WRAPPER)

    def _explore(self, starts: list[Run], telling: tuple[ev.Evidence, ...]) -> None:
        seen, pending = {self._essence(start) for start in starts}, deque(starts)
        while pending:
            run = pending.popleft()
            for evidence in telling:
                now = run.verdict.due_at if isinstance(evidence, ev.Elapsed) and run.verdict else 0.0
                after, transition = fold(run, evidence, now, PATIENCE)
                self.steps.append((run, evidence, after, transition))
                essence = self._essence(after)
                if essence not in seen:
                    seen.add(essence)
                    pending.append(replace(after, planned=min(after.planned, 1), planned_deletes=essence[1]))

    @staticmethod
    def _essence(run: Run) -> tuple[bool, int, object]:
        if run.status is RunStatus.NO_RUN:
            return False, 0, run.status
        waiting = run.verdict and (run.verdict.status, run.verdict.basis, run.verdict.due_at)
        return bool(run.planned), int(run.destroys_everything), (
            run.status, run.basis, run.operation, run.log, run.lock, run.summary is None, run.errors > 0,
            run.interrupted, run.refused, run.crashed, run.decision, waiting,
            run.wrapped and (run.wrapped.wrapper, run.wrapped.detailed, run.wrapped.listens),
        )  # fmt: skip


@pytest.fixture(scope="module")
def world() -> World:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return World(monkeypatch)


def test_every_row_of_the_table_can_be_taken(world: World) -> None:
    """A row that no order of facts reaches would be a promise about nothing."""
    assert [row for row in TRANSITIONS if id(row) not in world.taken] == []


def test_no_fact_in_any_state_leads_to_success_without_terraforms_own_apply_summary(world: World) -> None:
    for _, evidence, after, _ in world.steps:
        if after.status in SUCCESSES and after.basis is Basis.DECISION:
            assert (after.status, after.decision) == (RunStatus.APPLIED, SETTLED), (
                "or a person's word, which is on record"
            )
        elif after.status in SUCCESSES or (after.verdict and after.verdict.status in SUCCESSES):
            assert after.summary is not None or (after.wrapped and after.wrapped.has_succeeded), evidence


def test_a_status_that_rests_on_proof_is_never_changed(world: World) -> None:
    """Only when its process was over is noted still."""
    for before, evidence, after, transition in world.steps:
        if before.status in FINAL and before.basis is Basis.PROOF:
            if isinstance(evidence, ev.ProcessExited):
                after = replace(after, wrapped=before.wrapped, log=before.log)
            assert (after, transition) == (before, None), evidence


def test_while_a_wrapper_is_at_work_nothing_ends_a_run(world: World) -> None:
    """Not even the summary that its log has: Terraform may fail still, and the wrapper will say so."""
    for before, evidence, after, transition in world.steps:
        if before.is_wrapped and after.is_wrapped and before.status not in FINAL:
            assert after.verdict is None, evidence
            assert transition is None or after.status not in FINAL, evidence


def test_of_every_way_a_wrapped_command_may_exit_something_final_is_concluded(world: World) -> None:
    """At once, or when what is proven already comes due: whose outcome counts where a lock was refused is seen within
    the grace."""
    for before, evidence, after, _ in world.steps:
        if isinstance(evidence, ev.ProcessExited) and before.wrapped and before.status is not RunStatus.NO_RUN:
            proven = after.verdict is not None and after.verdict.basis is Basis.PROOF
            assert after.status in FINAL or proven, before


def test_a_final_status_is_amended_only_by_proof_or_where_nothing_is_proven_by_a_person(world: World) -> None:
    for before, evidence, after, transition in world.steps:
        if before.status in FINAL and transition is not None and after.status is not RunStatus.APPLYING:
            assert before.basis is not None
            assert after.basis is not None
            assert after.basis > before.basis, evidence
            assert (after.basis is Basis.DECISION) == isinstance(evidence, ev.DecisionTaken)
            assert after.basis in (Basis.DECISION, Basis.PROOF)
            assert before.status in AMENDABLE or before.basis is Basis.DECISION, evidence


def test_a_person_decides_at_once_wherever_there_is_something_to_decide_and_nowhere_else(world: World) -> None:
    for before, evidence, after, transition in world.steps:
        if isinstance(evidence, ev.DecisionTaken):
            assert (transition is None) == bool(objection_to_deciding(before)), before
            if transition is None:
                assert (after.status, after.verdict) == (before.status, before.verdict)
            else:
                assert after.status is (RunStatus.APPLIED if evidence.succeeded else RunStatus.ERRORED)


def test_a_second_decision_changes_nothing(world: World) -> None:
    for before, evidence, after, transition in world.steps:
        if before.decision is not None and isinstance(evidence, ev.DecisionTaken):
            assert (after, transition) == (before, None)


def test_the_rule_behind_every_transition_can_be_named(world: World) -> None:
    """What `explain` shows is found again from what the journal keeps of a transition."""
    for before, _, _, transition in world.steps:
        if transition is None:
            continue
        rows = rows_behind(transition.status.value, transition.reason, transition.evidence)
        assert rows, transition
        assert any(before.status in TRANSITIONS[number - 1].sources for number in rows), transition


def test_nothing_but_a_finished_plan_goes_back_to_work(world: World) -> None:
    """`plan complete` is inferred from silence; an apply that goes on after all shows that it was none."""
    for before, evidence, after, _ in world.steps:
        if before.status in FINAL and after.status in OPEN:
            assert before.status is RunStatus.PLANNED_AND_FINISHED
            assert isinstance(evidence, ev.ApplyStarted)


def test_time_alone_only_makes_final_what_waited(world: World) -> None:
    for before, evidence, after, transition in world.steps:
        if isinstance(evidence, ev.Elapsed):
            assert (transition is not None) == (before.verdict is not None)
            if before.verdict:
                assert (after.status, after.basis) == (before.verdict.status, before.verdict.basis)


def has_nothing_to_wait_for(run: Run, evidence: ev.Evidence) -> bool:
    """Whether evidence takes away what a verdict has waited for, the end of its log, and what was read bears it not."""
    waiting, cut = run.verdict, evidence == OVERWRITTEN and run.log is not Log.CLOSED
    return cut and waiting is not None and waiting.status is RunStatus.CANCELED and not run.errors


def test_a_waiting_verdict_gives_way_only_to_one_of_equal_or_stronger_basis(world: World) -> None:
    for before, evidence, after, transition in world.steps:
        if has_nothing_to_wait_for(before, evidence):
            continue
        if before.verdict and after.verdict:
            assert after.verdict.basis >= before.verdict.basis, evidence
        if before.verdict and before.verdict.basis is Basis.PROOF and not after.verdict:
            assert transition is not None
            assert transition.basis is Basis.PROOF or transition.status is RunStatus.NO_RUN, evidence


def test_progress_does_not_make_a_waiting_verdict_forget_itself(world: World) -> None:
    """Late lines of a run that is over must not leave it open for ever: nothing would propose the verdict again."""
    for before, evidence, after, _ in world.steps:
        if before.verdict and after.status in OPEN and not after.verdict and evidence != OVERWRITTEN:
            assert before.verdict.status is RunStatus.PLANNED_AND_FINISHED
            assert isinstance(evidence, ev.ApplyStarted)


def test_the_same_verdict_comes_sooner_but_never_later(world: World) -> None:
    for before, evidence, after, _ in world.steps:
        waiting, renewed = before.verdict, after.verdict
        if waiting and renewed and (waiting.status, waiting.basis) == (renewed.status, renewed.basis):
            assert renewed.due_at <= waiting.due_at, evidence


def test_a_transition_says_where_from_where_to_and_why(world: World) -> None:
    for before, evidence, after, transition in world.steps:
        if transition is None:
            assert after.status is before.status
        else:
            assert (transition.previous, transition.status) == (before.status, after.status)
            assert transition.evidence == type(evidence).__name__
            assert after.revision == before.revision + 1


@pytest.mark.parametrize("no_changes_succeed", [True, False])
def test_in_progress_never_follows_a_terminal_status(world: World, no_changes_succeed: bool) -> None:
    """The ratchet, with and without `no_changes = "succeed"`, over every step a run can make."""
    made = {(step[3].previous, step[3].status, step[2].has_changes): step for step in world.steps if step[3]}
    composed = [
        (
            transition,
            compose(after, transition, BINDING, Mapped(), NOTHING_TAINTED, no_changes_succeed=no_changes_succeed),
        )
        for _, _, after, transition in made.values()
        if transition
    ]
    terminal = {t.status for t, notification in composed if notification and notification.status.is_terminal}
    assert terminal >= {RunStatus.APPLIED, RunStatus.DESTROYED, RunStatus.ERRORED, RunStatus.CANCELED, RunStatus.LOST}
    for transition, notification in composed:
        if notification and notification.status is Status.IN_PROGRESS:
            assert transition.previous not in terminal


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row.target}: {row.reason}")
def test_every_row_can_be_read_by_a_person(row: Row) -> None:
    assert row.sources
    assert row.reason
    assert row.guard.__doc__
    assert (row.basis is None) == (row.target in OPEN or row.target is RunStatus.NO_RUN)
    assert row.wait is Wait.NOW or row.basis is not None


def test_only_inferences_say_that_they_are_inferred() -> None:
    """`lost` is an inference and says so; nothing that says so claims to be proof."""
    for row in TRANSITIONS:
        assert row.reason.startswith("inferred: ") == (row.target is RunStatus.LOST)
        if row.target is RunStatus.LOST:
            assert row.basis is Basis.INFERENCE


# --- every way to end, from every open status ------------------------------------------------------------------

DELETES = ev.ChangePlanned("a.b", "delete")
APPLYING = ev.ApplyStarted("a.b")
OPEN_WITH_LOG = {
    RunStatus.PENDING: (STARTED,),
    RunStatus.PLANNING: (STARTED, LOCKED_TO_APPLY),
    RunStatus.PLANNED: (STARTED, LOCKED_TO_APPLY, PLANNED),
    RunStatus.APPLYING: (STARTED, LOCKED_TO_APPLY, PLANNED, APPLYING),
}
CONTRADICTED = ev.OutcomeContradicted()
PROOF, INFERENCE, AT_ONCE = Basis.PROOF, Basis.INFERENCE, 0.0
GRACE, SETTLE = PATIENCE.grace, PATIENCE.settle
# What is seen last; what becomes of the run, on what basis, and after how many seconds.
ENDINGS: tuple[tuple[tuple[ev.Evidence, ...], RunStatus, Basis, float], ...] = (
    ((APPLIED,), RunStatus.APPLIED, PROOF, SETTLE),
    ((APPLIED, OUTPUTS), RunStatus.APPLIED, PROOF, AT_ONCE),
    ((APPLIED, CLOSED), RunStatus.APPLIED, PROOF, AT_ONCE),
    ((DESTROYED,), RunStatus.DESTROYED, PROOF, AT_ONCE),
    ((REFUSED,), RunStatus.ERRORED, PROOF, SETTLE),
    ((RELEASED, REFUSED, CLOSED), RunStatus.ERRORED, PROOF, GRACE),
    ((RELEASED, INTERRUPTED, FAILED, CLOSED), RunStatus.CANCELED, PROOF, AT_ONCE),
    ((INTERRUPTED, RELEASED, CLOSED), RunStatus.CANCELED, PROOF, AT_ONCE),
    ((INTERRUPTED, RELEASED), RunStatus.CANCELED, PROOF, SETTLE),
    ((RELEASED, INTERRUPTED, FAILED), RunStatus.CANCELED, PROOF, SETTLE),
    ((FAILED, CLOSED, RELEASED), RunStatus.ERRORED, PROOF, AT_ONCE),
    ((FAILED, CLOSED, GONE), RunStatus.ERRORED, PROOF, AT_ONCE),
    ((RELEASED, FAILED), RunStatus.ERRORED, PROOF, SETTLE),
    ((FAILED, REPLACED), RunStatus.ERRORED, PROOF, SETTLE),
    ((FAILED, GONE), RunStatus.ERRORED, PROOF, SETTLE),
    ((CLOSED, GONE), RunStatus.LOST, INFERENCE, GRACE),
    ((GONE, CLOSED), RunStatus.LOST, INFERENCE, GRACE),
    ((REPLACED, CLOSED), RunStatus.LOST, INFERENCE, GRACE),
    ((GONE,), RunStatus.LOST, INFERENCE, SETTLE),
    ((DECLINED,), RunStatus.CANCELED, PROOF, AT_ONCE),
    ((GONE, CRASHED, CLOSED), RunStatus.ERRORED, PROOF, AT_ONCE),
    ((CRASHED, GONE), RunStatus.ERRORED, PROOF, SETTLE),
    ((REBOOTED,), RunStatus.LOST, INFERENCE, AT_ONCE),
    ((FAILED, REBOOTED), RunStatus.ERRORED, PROOF, AT_ONCE),
    ((APPLIED, REBOOTED), RunStatus.APPLIED, PROOF, AT_ONCE),
    ((RELEASED, CLOSED), RunStatus.UNDETERMINED, INFERENCE, AT_ONCE),
    ((RELEASED,), RunStatus.UNDETERMINED, INFERENCE, SETTLE),
    ((CONTRADICTED, REPLACED, CLOSED), RunStatus.UNDETERMINED, INFERENCE, AT_ONCE),
    ((REPLACED,), RunStatus.UNDETERMINED, INFERENCE, SETTLE),
)


def ends(before: tuple[ev.Evidence, ...], seen: tuple[ev.Evidence, ...]) -> tuple[RunStatus, Basis | None, float]:
    """How a run ends that waits for nothing else, and after how many seconds."""
    tale = Tale().tell(*before, *seen)
    if tale.run.verdict is None:
        return tale.status, tale.run.basis, AT_ONCE
    due = tale.run.verdict.due_at - tale.now
    still = tale.status
    assert tale.wait(due - 0.001).status is still
    tale.wait(0.002)
    return tale.status, tale.run.basis, due


@pytest.mark.parametrize("status", OPEN_WITH_LOG)
@pytest.mark.parametrize(("seen", "end", "basis", "after"), ENDINGS)
def test_what_is_seen_last_decides_how_an_open_run_ends_and_when(
    status: RunStatus, seen: tuple[ev.Evidence, ...], end: RunStatus, basis: Basis, after: float
) -> None:
    assert Tale().tell(*OPEN_WITH_LOG[status]).status is status
    assert ends(OPEN_WITH_LOG[status], seen) == (end, basis, after)


def test_a_log_that_contradicts_itself_is_no_sign_of_death() -> None:
    """A short run whose lock nobody saw, and a check that prints "Error: ..." in a log without boxes."""
    assert ends((STARTED, PLANNED, APPLYING), (CLOSED,))[0] is RunStatus.LOST
    assert ends((STARTED, PLANNED, APPLYING), (CONTRADICTED, CLOSED))[0] is RunStatus.UNDETERMINED


@pytest.mark.parametrize("before", [(), (LOCKED_TO_APPLY,), (LOCKED_TO_APPLY, PLANNED), (PLANNED, APPLYING)])
@pytest.mark.parametrize(
    ("seen", "end", "after"),
    [
        (RELEASED, RunStatus.UNDETERMINED, GRACE),
        (REPLACED, RunStatus.UNDETERMINED, GRACE),
        (GONE, RunStatus.LOST, GRACE),
        (REBOOTED, RunStatus.LOST, AT_ONCE),
    ],
)
def test_without_a_log_only_the_lock_decides_and_proves_nothing(
    before: tuple[ev.Evidence, ...], seen: ev.Evidence, end: RunStatus, after: float
) -> None:
    assert ends(before, (seen,)) == (end, INFERENCE, after)


@pytest.mark.parametrize(
    "inferred",
    [
        (STARTED, LOCKED_TO_PLAN, PLANNED, DELETES, RELEASED, CLOSED),
        (STARTED, LOCKED_TO_APPLY, PLANNED, DELETES, RELEASED, CLOSED),
    ],
    ids=["planned_and_finished", "undetermined"],
)
@pytest.mark.parametrize(
    ("seen", "end", "after"),
    [
        ((APPLIED,), RunStatus.APPLIED, SETTLE),
        ((APPLIED, OUTPUTS), RunStatus.APPLIED, AT_ONCE),
        ((APPLIED, NO_OUTPUTS), RunStatus.DESTROYED, AT_ONCE),
        ((DESTROYED,), RunStatus.DESTROYED, AT_ONCE),
        ((FAILED,), RunStatus.ERRORED, AT_ONCE),
    ],
)
def test_proof_amends_an_inferred_end_and_takes_no_longer_for_it(
    inferred: tuple[ev.Evidence, ...], seen: tuple[ev.Evidence, ...], end: RunStatus, after: float
) -> None:
    assert Tale().tell(*inferred).status in AMENDABLE
    assert ends(inferred, seen) == (end, PROOF, after)


def test_a_plan_in_a_script_waits_the_settle_time_exactly() -> None:
    assert ends((STARTED, LOCKED_TO_PLAN, PLANNED), (RELEASED,)) == (
        RunStatus.PLANNED_AND_FINISHED,
        INFERENCE,
        SETTLE,
    )


# --- scenarios -----------------------------------------------------------------------------------------------


def statuses(tale: Tale) -> list[str]:
    return [transition.status.value for transition in tale.transitions]


def test_an_apply_that_succeeds_is_applied_as_soon_as_its_outputs_are_read() -> None:
    tale = Tale().tell(recorded("apply_ok.log")[:1], LOCKED_TO_APPLY, recorded("apply_ok.log"))
    assert statuses(tale) == ["planning", "planned", "applying", "applied"]
    assert tale.run.basis is Basis.PROOF
    assert {output.name for output in tale.run.outputs or ()} == {"const", "ids", "last", "pw"}


def test_an_apply_summary_waits_for_the_outputs_and_no_longer_than_the_settle_time() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, RELEASED, APPLIED)
    assert tale.status is RunStatus.PLANNED
    assert tale.wait(9.9).status is RunStatus.PLANNED
    assert tale.wait(0.1).status is RunStatus.APPLIED


def test_an_apply_summary_is_final_when_the_log_closes_before_any_outputs() -> None:
    assert Tale().tell(STARTED, PLANNED, APPLIED, CLOSED).status is RunStatus.APPLIED


@pytest.mark.parametrize("ends", [(RELEASED, CLOSED), (CLOSED, RELEASED)], ids=["lock first", "log first"])
def test_a_plan_is_finished_when_log_and_lock_are_gone_in_whichever_order(ends: tuple[ev.Evidence, ...]) -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_PLAN, PLANNED, *ends)
    assert tale.status is RunStatus.PLANNED_AND_FINISHED
    assert tale.run.basis is Basis.INFERENCE


def test_a_plan_in_a_script_whose_log_stays_open_is_finished_after_the_settle_time() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_PLAN, PLANNED, RELEASED)
    assert tale.status is RunStatus.PLANNED
    assert tale.wait(10).status is RunStatus.PLANNED_AND_FINISHED


@pytest.mark.parametrize("said", [FAILED, CRASHED, ev.ApplySummarised(0, 0, 0)])
def test_what_a_human_log_says_behind_a_plan_that_is_over_is_another_commands(said: ev.Evidence) -> None:
    began = ev.OperationStarted("terraform", "", None, ev.Form.HUMAN)
    tale = Tale().tell(began, LOCKED_TO_PLAN, PLANNED, RELEASED, said)
    assert tale.status is RunStatus.PLANNED_AND_FINISHED
    assert tale.tell(said, CLOSED).wait(100).status is RunStatus.PLANNED_AND_FINISHED


@pytest.mark.parametrize(("said", "status"), [(FAILED, RunStatus.ERRORED), (APPLIED, RunStatus.APPLIED)])
def test_what_a_human_log_says_of_the_apply_that_follows_a_plan_is_its_own(
    said: ev.Evidence, status: RunStatus
) -> None:
    began = ev.OperationStarted("terraform", "", None, ev.Form.HUMAN)
    tale = Tale().tell(began, LOCKED_TO_PLAN, PLANNED, RELEASED, ev.ApplyStarted("a.b"), said, CLOSED)
    assert tale.status is status


def test_an_apply_with_no_changes_is_applied_although_no_resource_was_touched() -> None:
    tale = Tale().tell(recorded("apply_no_changes.log"))
    assert statuses(tale) == ["planning", "planned", "applied"]
    assert not tale.run.has_changes


def test_errors_in_the_plan_make_it_errored_when_the_log_closes() -> None:
    tale = Tale().tell(recorded("plan_fail_reference.log"), CLOSED)
    assert tale.status is RunStatus.ERRORED
    assert tale.run.basis is Basis.PROOF
    assert tale.message().startswith("Plan failed: Reference to undeclared resource")


def test_a_plan_with_a_summary_and_then_an_error_has_failed() -> None:
    """Terraform renders a partial plan in full before it says that it failed."""
    tale = Tale().tell(STARTED, LOCKED_TO_PLAN, PLANNED, FAILED, RELEASED, CLOSED)
    assert tale.status is RunStatus.ERRORED


def test_a_partial_failure_tells_how_much_was_applied() -> None:
    tale = Tale().tell(STARTED, ev.PlanSummarised(12, 0, 0), ev.ApplyStarted("a.b"))
    tale.tell(*[ev.ResourceApplied(f"a.b[{n}]") for n in range(7)], FAILED, CLOSED)
    assert tale.status is RunStatus.ERRORED
    assert tale.message() == (
        "Apply failed: local-exec provisioner error at terraform_data.bad. 7 of 12 applied."
    )  # fmt: skip


def test_the_recorded_partial_failure_is_errored_with_its_first_error() -> None:
    tale = Tale().tell(recorded("apply_partial_failure.log"), CLOSED)
    assert tale.message() == (
        "Apply failed: local-exec provisioner error at terraform_data.bad. 2 of 4 applied, 1 failed, 1 never started."
    )  # fmt: skip


def test_a_state_that_could_not_be_saved_is_a_failure_that_says_where_the_state_is() -> None:
    tale = Tale().tell(recorded("state_disk_full.log"), CLOSED)
    assert tale.status is RunStatus.ERRORED
    assert "errored.tfstate" in tale.message()
    assert "4 of 4 applied" in tale.message()


def test_an_interrupted_run_that_came_to_its_own_end_is_canceled() -> None:
    tale = Tale().tell(recorded("sigint_once.log"), RELEASED, CLOSED)
    assert tale.status is RunStatus.CANCELED
    assert tale.run.basis is Basis.PROOF
    assert tale.message() == "Canceled: Terraform was interrupted and stopped. 1 of 3 applied, 1 failed."


def test_an_interrupt_after_which_every_resource_completed_is_canceled_all_the_same() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, INTERRUPTED, RELEASED, CLOSED)
    assert tale.status is RunStatus.CANCELED


def test_an_interrupt_that_came_too_late_does_not_hide_success() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, INTERRUPTED, RELEASED, APPLIED, OUTPUTS, CLOSED)
    assert tale.status is RunStatus.APPLIED


def test_an_interrupted_run_in_a_script_is_canceled_after_the_settle_time() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, INTERRUPTED, FAILED, RELEASED)
    assert tale.wait(10).status is RunStatus.CANCELED


@pytest.mark.parametrize("ends", [(CLOSED, GONE), (GONE, CLOSED)], ids=["log first", "lock first"])
def test_a_killed_run_with_a_stale_lock_is_lost_after_the_grace_time(ends: tuple[ev.Evidence, ...]) -> None:
    tale = Tale().tell(recorded("sigkill.log")[:1], LOCKED_TO_APPLY, recorded("sigkill.log"), *ends)
    assert tale.status is RunStatus.APPLYING
    assert tale.wait(3).status is RunStatus.LOST
    assert tale.run.basis is Basis.INFERENCE
    assert "inferred" in tale.message()


def test_a_killed_run_without_a_lock_is_lost_after_the_grace_time() -> None:
    tale = Tale().tell(recorded("sigkill.log"), CLOSED)
    assert tale.status is RunStatus.APPLYING
    assert tale.wait(3).status is RunStatus.LOST


def test_who_has_told_its_outputs_was_not_killed_although_neither_lock_nor_summary_was_seen() -> None:
    """`terraform apply -json | grep -v change_summary > apply.log`, the lock held too short to be seen."""
    ended = Tale().tell(STARTED, PLANNED, APPLYING, OUTPUTS, CLOSED).wait(60)
    assert ended.status is RunStatus.UNDETERMINED


def test_a_run_killed_after_an_interrupt_is_lost_and_says_that_it_was_asked_to_stop() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, INTERRUPTED, CLOSED, GONE).wait(3)
    assert tale.status is RunStatus.LOST
    assert "It had been asked to stop." in tale.message()


def test_a_killed_run_stays_lost_when_its_lock_file_is_removed_or_taken_over_within_the_grace_time() -> None:
    """A cleanup that deletes the stale lock, or the next run that rewrites it, releases nothing in order."""
    for later in (RELEASED, REPLACED):
        for seen in ((STARTED, LOCKED_TO_APPLY, PLANNED, GONE), (LOCKED_TO_APPLY, GONE)):
            tale = Tale().tell(*seen, later)
            assert tale.wait(10).status is RunStatus.LOST, (seen, later)


def test_a_killed_run_whose_lock_the_next_run_took_over_at_once_is_lost_when_its_log_closes() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, REPLACED, CLOSED)
    assert tale.wait(3).status is RunStatus.LOST


def test_a_killed_run_in_a_script_is_lost_after_the_settle_time() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, GONE)
    assert tale.wait(3).status is RunStatus.PLANNED
    assert tale.wait(7).status is RunStatus.LOST


def test_a_run_is_not_over_while_its_lock_is_held_although_the_log_closed() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, CLOSED).wait(1e9)
    assert tale.status is RunStatus.PLANNED


def test_silence_alone_never_ends_a_run() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, ev.ApplyStarted("a.b")).wait(1e12)
    assert tale.status is RunStatus.APPLYING


def test_an_apply_whose_summary_arrives_after_the_lock_went_is_applied_not_undetermined() -> None:
    """Terraform prints the summary after the unlock; with a filter between it comes in the last block."""
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, RELEASED).wait(9)
    assert tale.tell(APPLIED, OUTPUTS).status is RunStatus.APPLIED


def test_an_apply_in_a_script_that_tells_no_outcome_is_undetermined_and_told_to_nobody() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, ev.ApplyStarted("a.b"), RELEASED).wait(10)
    assert tale.status is RunStatus.UNDETERMINED
    assert tale.notification() is None


def test_late_lines_of_a_run_whose_lock_went_do_not_keep_it_open_for_ever() -> None:
    """A block-buffered log: the lock goes first, then a block that ends in mid-apply, then nothing any more."""
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, RELEASED, PLANNED, ev.ApplyStarted("a.b"))
    assert tale.status is RunStatus.APPLYING
    assert tale.wait(10).status is RunStatus.UNDETERMINED


def test_an_apply_is_no_finished_plan_whatever_waited() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_PLAN, PLANNED, RELEASED, ev.ApplyStarted("a.b")).wait(1e6)
    assert tale.status is RunStatus.APPLYING


def test_a_refused_lock_is_errored_soon_after_the_log_closes() -> None:
    """Not at once: the run that holds the lock must have had time to be seen, for its outcome decides."""
    tale = Tale().tell(recorded("lock_refused.log"), CLOSED)
    assert tale.status is RunStatus.PENDING
    assert tale.wait(GRACE).status is RunStatus.ERRORED
    assert tale.message() == (
        "The state lock could not be acquired (held by a3d8f6c5-b9ab-3d0f-2686-aa74e69a331a). Nothing was changed."
    )


def test_a_refused_lock_in_a_script_is_errored_after_the_settle_time() -> None:
    tale = Tale().tell(STARTED, REFUSED, ev.ErrorReported("Error acquiring the state lock"))
    assert tale.status is RunStatus.PENDING
    assert tale.wait(10).status is RunStatus.ERRORED


def test_an_apply_without_a_lock_is_applied() -> None:
    tale = Tale().tell(recorded("apply_ok.log"), CLOSED)
    assert statuses(tale) == ["planning", "planned", "applying", "applied"]


def test_a_failed_apply_without_a_lock_is_errored_though_its_log_stays_open() -> None:
    tale = Tale().tell(recorded("apply_partial_failure.log"))
    assert tale.status is RunStatus.APPLYING
    assert tale.wait(10).status is RunStatus.ERRORED


def test_a_saved_plan_is_applied_without_a_plan_summary() -> None:
    tale = Tale().tell(recorded("apply_saved_plan.log"))
    assert statuses(tale) == ["planning", "applying", "applied"]


def test_a_destroy_is_destroyed() -> None:
    tale = Tale().tell(recorded("destroy.log"))
    assert statuses(tale)[-1] == "destroyed"
    assert tale.message() == "Destroy complete: 3 destroyed."


def test_apply_destroy_is_destroyed_although_terraform_calls_it_an_apply() -> None:
    tale = Tale().tell(recorded("apply_destroy.log"))
    assert statuses(tale)[-1] == "destroyed"


def test_removing_everything_from_the_configuration_is_an_apply_and_no_destroy() -> None:
    tale = Tale().tell(recorded("configuration_removed.log"))
    assert statuses(tale)[-1] == "applied"


def test_deletions_that_leave_outputs_are_an_apply() -> None:
    tale = Tale().tell(STARTED, ev.ChangePlanned("a.b", "delete"), PLANNED, ev.ApplySummarised(0, 0, 1), OUTPUTS)
    assert tale.status is RunStatus.APPLIED


def test_a_run_without_a_log_that_ended_in_order_is_undetermined_and_told_to_nobody() -> None:
    for end in (RELEASED, REPLACED):
        tale = Tale().tell(LOCKED_TO_APPLY, end)
        assert tale.status is RunStatus.PLANNING, "a log may yet come"
        assert tale.wait(3).status is RunStatus.UNDETERMINED
        assert tale.notification() is None


def test_a_log_that_comes_after_the_lock_was_released_decides() -> None:
    """Moved in, or flushed by a filter at its end."""
    tale = Tale().tell(LOCKED_TO_APPLY, RELEASED, STARTED, PLANNED, APPLIED, OUTPUTS)
    assert tale.status is RunStatus.APPLIED


def test_an_apply_that_was_killed_at_once_is_no_plan_because_its_lock_was_seen_late() -> None:
    tale = Tale().tell(STARTED, PLANNED, CLOSED)
    assert tale.status is RunStatus.PLANNED
    assert tale.tell(LOCKED_TO_APPLY, GONE).wait(3).status is RunStatus.LOST


def test_a_run_without_a_log_whose_holder_is_gone_is_lost() -> None:
    tale = Tale().tell(LOCKED_TO_APPLY, GONE)
    assert tale.status is RunStatus.PLANNING
    assert tale.wait(3).status is RunStatus.LOST


@pytest.mark.parametrize(
    ("proof", "amended"),
    [((APPLIED, OUTPUTS), RunStatus.APPLIED), ((DESTROYED,), RunStatus.DESTROYED), ((FAILED,), RunStatus.ERRORED)],
    ids=["applied", "destroyed", "errored"],
)
def test_proof_that_arrives_late_amends_what_was_only_inferred(
    proof: tuple[ev.Evidence, ...], amended: RunStatus
) -> None:
    lost = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, CLOSED, GONE).wait(3)
    assert lost.status is RunStatus.LOST
    assert lost.tell(*proof).wait(10).status is amended
    undetermined = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, ev.ApplyStarted("a.b"), RELEASED).wait(10)
    assert undetermined.status is RunStatus.UNDETERMINED
    assert undetermined.tell(*proof).wait(10).status is amended


def test_an_init_is_no_run() -> None:
    tale = Tale().tell(recorded("init.log"))
    assert statuses(tale) == ["no_run"]
    assert tale.notification() is None


def test_a_log_that_goes_on_takes_back_that_its_writer_seemed_gone() -> None:
    """A `touch` or `echo >>` closes the file too; a run with no local lock must not be called lost for it."""
    facts = recorded("apply_ok.log")
    tale = Tale().tell(facts[:8], Fact(CLOSED, facts[0].anchor)).wait(2)
    assert tale.run.log is Log.CLOSED
    assert tale.tell(facts[8:12]).wait(60).status is RunStatus.APPLYING
    assert tale.tell(facts[12:]).status is RunStatus.APPLIED


def test_a_log_that_goes_on_after_its_locks_holder_died_does_not_take_that_back() -> None:
    facts = recorded("sigkill.log")
    tale = Tale().tell(facts[0], LOCKED_TO_APPLY, facts[1:4], GONE, CLOSED, facts[4:])
    assert tale.wait(10).status is RunStatus.LOST


@pytest.mark.parametrize("name", ["apply_ok.log", "apply_partial_failure.log", "sigint_once.log", "destroy.log"])
def test_a_log_that_is_read_twice_gives_the_same_run(name: str) -> None:
    once, twice = Tale().tell(recorded(name)), Tale()
    for fact in recorded(name):
        twice.tell(fact, fact)
    twice.tell(recorded(name))
    assert twice.run == once.run
    assert twice.transitions == once.transitions


def test_a_verdict_that_was_repeated_again_and_again_is_not_put_off() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, GONE)
    for _ in range(20):
        tale.now += 0.5
        tale.tell(GONE)
    assert tale.wait(0).status is RunStatus.LOST


def test_a_verdict_is_final_at_its_second_and_not_before() -> None:
    run = Tale().tell(STARTED, CLOSED).run
    assert run.verdict is not None
    assert fold(run, ELAPSED, run.verdict.due_at - 0.001, PATIENCE)[1] is None
    after, transition = fold(run, ELAPSED, run.verdict.due_at, PATIENCE)
    assert transition is not None
    assert after.ended_at == run.verdict.due_at


def test_a_line_behind_the_position_is_not_read_again() -> None:
    run, _ = advance(a_run(), Fact(STARTED, "a", 0), 0.0, PATIENCE)
    run, _ = advance(run, Fact(FAILED, "a", 500), 0.0, PATIENCE)
    again, transition = advance(run, Fact(FAILED, "a", 400), 0.0, PATIENCE)
    assert (again, transition) == (run, None)
    assert again.errors == 1


@pytest.mark.parametrize(
    ("before", "end"),
    [
        ((STARTED, LOCKED_TO_APPLY, PLANNED, GONE), RunStatus.LOST),
        ((LOCKED_TO_APPLY, STARTED, PLANNED, REPLACED, CLOSED), RunStatus.LOST),
        ((STARTED, LOCKED_TO_PLAN, PLANNED, RELEASED), RunStatus.PLANNED_AND_FINISHED),
        ((STARTED, LOCKED_TO_APPLY, FAILED, RELEASED), RunStatus.ERRORED),
    ],
)
def test_when_the_next_run_begins_a_waiting_verdict_is_final_at_once(
    before: tuple[ev.Evidence, ...], end: RunStatus
) -> None:
    """The last word about a resource must be the last run's."""
    tale = Tale().tell(*before)
    assert tale.status in OPEN
    assert tale.tell(NEXT).status is end


@pytest.mark.parametrize(
    ("seen", "end"),
    [
        ((CLOSED,), RunStatus.LOST),
        ((FAILED,), RunStatus.ERRORED),
        ((APPLIED, OUTPUTS), RunStatus.APPLIED),
    ],
)
def test_a_lock_that_changed_hands_says_nothing_until_the_log_does_although_the_next_run_has_begun(
    seen: tuple[ev.Evidence, ...], end: RunStatus
) -> None:
    """Killed, or released in order a moment ago? Once the log tells, nothing is left to wait for."""
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, REPLACED, NEXT)
    assert tale.status is RunStatus.PLANNED
    assert tale.tell(*seen).status is end


def test_success_waits_for_its_outputs_although_the_next_run_has_begun() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, RELEASED, APPLIED, NEXT)
    assert tale.status is RunStatus.PLANNED
    assert tale.tell(OUTPUTS).status is RunStatus.APPLIED


def test_a_next_run_ends_none_that_waits_for_nothing() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, NEXT)
    assert (tale.status, tale.run.verdict) == (RunStatus.PLANNED, None)


def test_the_lock_of_a_command_that_is_no_run_moves_nothing() -> None:
    tale = Tale().tell(ev.LockTaken(LOCK, "OperationTypeInvalid"))
    assert tale.status is RunStatus.PENDING


def test_an_empty_apply_says_that_nothing_was_planned_to_be_destroyed() -> None:
    """No outputs and no planned change is no destroy."""
    assert Tale().tell(STARTED, PLANNED, APPLIED, NO_OUTPUTS).status is RunStatus.APPLIED


def test_one_more_line_is_enough_to_take_back_that_a_logs_writer_seemed_gone() -> None:
    facts = recorded("apply_ok.log")
    tale = Tale().tell(facts[:8], Fact(CLOSED, facts[0].anchor), facts[8])
    assert tale.run.verdict is None


def test_an_interrupted_run_is_not_canceled_while_it_holds_its_lock() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, INTERRUPTED, FAILED)
    assert tale.run.verdict is None


def test_an_interrupted_run_that_died_with_its_lock_is_lost_and_not_canceled() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, INTERRUPTED, GONE, RELEASED)
    assert tale.wait(10).status is RunStatus.LOST


def test_a_clock_that_is_set_back_delays_no_verdict() -> None:
    """A date further away than any wait can only come from another clock."""
    tale = Tale().tell(STARTED, APPLIED)
    assert tale.run.verdict is not None
    tale.now -= 10 * 365 * 86_400
    assert tale.wait(0).status is RunStatus.APPLIED


# --- a run whose files are gone -----------------------------------------------------------------------------------


def test_a_run_whose_files_are_gone_is_undetermined_and_not_told_as_failed() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, ev.ApplyStarted("a.b"), ROBBED).wait(PATIENCE.settle)
    assert tale.status is RunStatus.UNDETERMINED
    assert tale.run.reason == "its files are gone, and what was read of them tells no outcome"
    assert tale.notification() is None


def test_a_run_whose_files_are_gone_ends_with_what_was_read_of_them() -> None:
    started = (STARTED, LOCKED_TO_APPLY, PLANNED, ev.ApplyStarted("a.b"))
    assert Tale().tell(*started, APPLIED, ROBBED).status is RunStatus.APPLIED
    assert Tale().tell(*started, FAILED, ROBBED).status is RunStatus.ERRORED
    assert Tale().tell(*started, INTERRUPTED, FAILED, ROBBED).status is RunStatus.CANCELED
    assert Tale().tell(*started, INTERRUPTED, ROBBED).wait(PATIENCE.settle).status is RunStatus.UNDETERMINED


def test_a_holder_that_died_before_the_files_went_is_still_lost() -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, CLOSED, GONE, ROBBED).wait(PATIENCE.settle)
    assert tale.status is RunStatus.LOST


def test_a_run_that_comes_back_with_its_files_goes_on() -> None:
    run = Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, ROBBED).run
    assert run.verdict is not None
    back, _ = advance(run, Fact(ev.ApplyStarted("a.b"), "b", 500), 1001.0, PATIENCE)
    assert (back.status, back.lock, back.log, back.verdict) == (RunStatus.APPLYING, Lock.HELD, Log.OPEN, None)


# --- a run whose log was written over before its end was read -------------------------------------------------------


APPLIES = (STARTED, LOCKED_TO_APPLY, PLANNED, ev.ApplyStarted("a.b"))


@pytest.mark.parametrize("ends", [(RELEASED, OVERWRITTEN), (OVERWRITTEN, RELEASED), (OVERWRITTEN, REPLACED, NEXT)])
def test_a_run_whose_log_was_written_over_may_have_succeeded_and_is_undetermined(ends: tuple[ev.Evidence, ...]) -> None:
    tale = Tale().tell(*APPLIES, *ends)
    assert tale.status is RunStatus.APPLYING, "a part of the log may yet come, under another name"
    assert tale.wait(PATIENCE.settle).status is RunStatus.UNDETERMINED
    assert tale.run.reason == "its log was written over before its end was read"
    assert tale.notification() is None


@pytest.mark.parametrize("before", [(STARTED,), (STARTED, PLANNED), (STARTED, PLANNED, ev.ApplyStarted("a.b"))])
def test_so_is_one_of_which_no_lock_was_seen(before: tuple[ev.Evidence, ...]) -> None:
    tale = Tale().tell(*before, OVERWRITTEN, NEXT, REBOOTED).wait(PATIENCE.settle)
    assert tale.status is RunStatus.UNDETERMINED


@pytest.mark.parametrize("operation", [LOCKED_TO_PLAN, LOCKED_TO_APPLY])
@pytest.mark.parametrize("ends", [(RELEASED, OVERWRITTEN), (OVERWRITTEN, RELEASED)])
def test_a_plan_whose_log_was_written_over_may_have_failed(
    operation: ev.LockTaken, ends: tuple[ev.Evidence, ...]
) -> None:
    """A plan that fails prints what it has planned, too, and its errors behind that."""
    tale = Tale().tell(STARTED, operation, PLANNED, *ends, NEXT).wait(PATIENCE.settle)
    assert tale.status is RunStatus.UNDETERMINED


@pytest.mark.parametrize(
    ("read", "status"),
    [
        ((APPLIED,), RunStatus.APPLIED),
        ((DESTROYED,), RunStatus.DESTROYED),
        ((FAILED,), RunStatus.ERRORED),
        ((INTERRUPTED, FAILED), RunStatus.CANCELED),
        ((CRASHED,), RunStatus.ERRORED),
        ((INTERRUPTED,), RunStatus.UNDETERMINED),
    ],
)
@pytest.mark.parametrize("ends", [(RELEASED, OVERWRITTEN, NEXT), (OVERWRITTEN, NEXT, REPLACED)])
def test_what_was_read_of_a_log_before_it_was_written_over_counts(
    read: tuple[ev.Evidence, ...], status: RunStatus, ends: tuple[ev.Evidence, ...]
) -> None:
    """But for an interrupt alone: whoever was asked to stop may have done all there was to do."""
    assert Tale().tell(*APPLIES, *read, *ends).wait(PATIENCE.settle).status is status


def test_a_refused_lock_counts_although_the_log_was_written_over() -> None:
    tale = Tale().tell(STARTED, REFUSED, FAILED, OVERWRITTEN).wait(PATIENCE.grace)
    assert (tale.status, tale.run.reason) == (RunStatus.ERRORED, "the state lock was refused")


@pytest.mark.parametrize(
    "ends",
    [(GONE, OVERWRITTEN), (OVERWRITTEN, GONE), (OVERWRITTEN, NEXT, GONE), (GONE, OVERWRITTEN, REPLACED)],
)
def test_a_lock_that_was_left_behind_tells_of_a_death_although_the_log_was_written_over(
    ends: tuple[ev.Evidence, ...],
) -> None:
    tale = Tale().tell(*APPLIES, *ends).wait(PATIENCE.grace)
    assert tale.status is RunStatus.LOST
    assert "the log was written over before its end was read" in tale.message()


def test_a_run_goes_on_while_its_lock_is_held_although_another_writes_over_its_log() -> None:
    tale = Tale().tell(*APPLIES, OVERWRITTEN, NEXT).wait(1000)
    assert (tale.status, tale.run.verdict) == (RunStatus.APPLYING, None)


def test_a_log_that_was_read_to_its_end_may_be_written_over() -> None:
    """That its writer is silent for good tells of its death still, and of a plan that it is complete."""
    assert Tale().tell(STARTED, PLANNED, ev.ApplyStarted("a.b"), CLOSED, OVERWRITTEN).wait(3).status is RunStatus.LOST
    finished = Tale().tell(STARTED, LOCKED_TO_PLAN, PLANNED, CLOSED, OVERWRITTEN, RELEASED)
    assert finished.status is RunStatus.PLANNED_AND_FINISHED


@pytest.mark.parametrize(
    ("proof", "status"),
    [(EXITED_WELL, RunStatus.APPLIED), (EXITED_BADLY, RunStatus.ERRORED), (KILLED, RunStatus.ERRORED)],
)
def test_the_wrapper_knows_how_a_run_ended_whose_log_was_written_over(proof: ev.Evidence, status: RunStatus) -> None:
    wrapped = replace(WRAPPED_APPLY, listens=False)
    tale = Tale().tell(wrapped, *APPLIES, OVERWRITTEN, RELEASED, NEXT).wait(PATIENCE.settle)
    assert tale.status is RunStatus.APPLYING
    assert tale.tell(proof).status is status


@pytest.mark.parametrize(("proof", "status"), [(APPLIED, RunStatus.APPLIED), (FAILED, RunStatus.ERRORED)])
@pytest.mark.parametrize("waited", [0.0, 10.0])
def test_the_rest_of_a_log_that_turns_up_under_another_name_counts(
    proof: ev.Evidence, status: RunStatus, waited: float
) -> None:
    run = Tale().tell(STARTED, PLANNED, OVERWRITTEN, NEXT).wait(waited).run
    run, _ = advance(run, Fact(proof, "a", 500), 1020.0, PATIENCE)
    run, _ = advance(run, Fact(CLOSED, "a"), 1020.0, PATIENCE)
    assert advance(run, Fact(ELAPSED), 1040.0, PATIENCE)[0].status is status


def test_a_run_goes_on_in_a_log_that_seemed_written_over() -> None:
    """A log that is opened for every line, and was cut between two of them."""
    run = Tale().tell(STARTED, PLANNED, OVERWRITTEN).run
    assert run.verdict is not None
    on, _ = advance(run, Fact(ev.ApplyStarted("a.b"), "a", 500), 1001.0, PATIENCE)
    assert (on.status, on.log, on.verdict) == (RunStatus.APPLYING, Log.OPEN, None)
