"""What is told about a run, in Proton's words and within its limits."""

from __future__ import annotations

from typing import Any

import pytest
from support.facts import (
    APPLIED,
    ARN,
    BINDING,
    CLOSED,
    CRASHED,
    DECLINED,
    DESTROYED,
    FAILED,
    GIVEN_UP,
    GONE,
    INTERRUPTED,
    LOCKED_TO_APPLY,
    LOCKED_TO_PLAN,
    OUTPUTS,
    PLANNED,
    REBOOTED,
    REFUSED,
    RELEASED,
    SETTLED,
    STARTED,
    WRAPPED_APPLY,
    Tale,
    recorded,
)

from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.composition import TOLD, compose, silence, violations
from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.output_mapping import MAX_KEY, MAX_OUTPUTS, MAX_VALUE
from proton_tf_agent.domain.outputs import Mapped
from proton_tf_agent.domain.redaction import MASK, NOTHING_TAINTED, Taint
from proton_tf_agent.domain.run import FINAL, Counts, RunStatus, Transition, remedies
from proton_tf_agent.domain.status_message import MAX_MESSAGE
from proton_tf_agent.domain.values import replace

MAPPED = Mapped((("VpcId", "vpc-1"),), (("password", "sensitive"),))


def applied() -> Tale:
    return Tale().tell(STARTED, LOCKED_TO_APPLY, PLANNED, ev.ApplyStarted("a.b"), APPLIED, OUTPUTS)


def told(tale: Tale, mapped: Mapped = MAPPED) -> Notification:
    notification = tale.notification(mapped)
    assert notification is not None
    return notification


@pytest.mark.parametrize("status", RunStatus)
def test_every_status_has_a_decision_whether_it_is_told(status: RunStatus) -> None:
    assert status in TOLD


def test_success_is_told_with_the_full_set_of_outputs() -> None:
    notification = told(applied())
    assert notification.status is Status.SUCCEEDED
    assert notification.outputs == (("VpcId", "vpc-1"),)
    assert notification.status_message == (
        "Apply complete: 3 added, 0 changed, 0 destroyed. 1 not sent: password (sensitive)."
    )  # fmt: skip


@pytest.mark.parametrize(
    "tale",
    [
        Tale().tell(STARTED, LOCKED_TO_PLAN),
        Tale().tell(STARTED, PLANNED),
        Tale().tell(STARTED, PLANNED, ev.ApplyStarted("a.b")),
        Tale().tell(STARTED, PLANNED, FAILED, CLOSED),
        Tale().tell(STARTED, LOCKED_TO_APPLY, GONE, CLOSED).wait(3),
        Tale().tell(STARTED, PLANNED, DESTROYED),
    ],
    ids=lambda tale: tale.status.value,
)
def test_outputs_are_told_with_success_and_never_otherwise(tale: Tale) -> None:
    notification = told(tale)
    assert notification.outputs == ()
    assert "not sent" not in notification.status_message


@pytest.mark.parametrize(
    ("tale", "status", "message"),
    [
        (Tale().tell(STARTED, LOCKED_TO_PLAN), Status.IN_PROGRESS, "Terraform plan started."),
        (Tale().tell(STARTED, LOCKED_TO_APPLY), Status.IN_PROGRESS, "Terraform apply started."),
        (Tale().tell(STARTED, PLANNED), Status.IN_PROGRESS, "Planned: 3 to add, 0 to change, 0 to destroy."),
        (Tale().tell(STARTED, ev.PlanSummarised(0, 0, 0)), Status.IN_PROGRESS, "Planned: no changes."),
        (
            Tale().tell(STARTED, ev.PlanSummarised(1, 2, 3, 4)),
            Status.IN_PROGRESS,
            "Planned: 4 to import, 1 to add, 2 to change, 3 to destroy.",
        ),
        (
            Tale().tell(STARTED, ev.ChangePlanned("a.b", "move"), ev.PlanSummarised(0, 0, 0)),
            Status.IN_PROGRESS,
            "Planned: only outputs or addresses change.",
        ),
        (
            Tale().tell(STARTED, LOCKED_TO_PLAN, PLANNED, CLOSED, ev.LockReleased(LOCKED_TO_PLAN.lock_id)),
            Status.IN_PROGRESS,
            "Plan complete: 3 to add, 0 to change, 0 to destroy. Nothing was applied.",
        ),
        (Tale().tell(STARTED, PLANNED, DESTROYED), Status.SUCCEEDED, "Destroy complete: 3 destroyed."),
        (
            Tale().tell(recorded("plan_fail_reference.log"), CLOSED),
            Status.FAILED,
            "Plan failed: Reference to undeclared resource.",
        ),
        (
            Tale().tell(STARTED, INTERRUPTED, ev.ErrorReported("execution halted"), CLOSED),
            Status.FAILED,
            "Canceled: Terraform was interrupted and stopped.",
        ),
        (
            Tale().tell(LOCKED_TO_APPLY, GONE).wait(3),
            Status.FAILED,
            "Terraform is gone without a verdict (inferred: nobody holds the lock any more and there is no log).",
        ),
    ],
    ids=lambda value: "",
)
def test_each_status_is_told_in_one_sentence_a_person_understands(tale: Tale, status: Status, message: str) -> None:
    notification = told(tale, Mapped())
    assert (notification.status, notification.status_message) == (status, message)


FIVE, FIVE_COUNTED = ev.PlanSummarised(5, 0, 0), Counts(5, 0, 0)
APPLYING = (STARTED, LOCKED_TO_APPLY, FIVE, ev.ApplyStarted("a.b"))
TWO_OF_FIVE = (*APPLYING, ev.ResourceApplied("a.a"), ev.ResourceApplied("a.b"))


@pytest.mark.parametrize(
    ("tale", "message"),
    [
        (
            Tale().tell(*TWO_OF_FIVE, ev.ResourceErrored("a.c"), FAILED, RELEASED, CLOSED),
            (
                "Apply failed: local-exec provisioner error at terraform_data.bad. "
                "2 of 5 applied, 1 failed, 2 never started."
            ),
        ),
        (
            Tale().tell(*TWO_OF_FIVE, ev.ResourceErrored("a.c"), FAILED, FAILED, RELEASED, CLOSED),
            (
                "Apply failed: local-exec provisioner error at terraform_data.bad (and 1 more error). "
                "2 of 5 applied, 1 failed, 2 never started."
            ),
        ),
        (  # a human log does not say which resources failed: what was begun is not known
            Tale().tell(*TWO_OF_FIVE, FAILED, RELEASED, CLOSED),
            "Apply failed: local-exec provisioner error at terraform_data.bad. 2 of 5 applied.",
        ),
        (
            Tale().tell(*TWO_OF_FIVE, ev.ResourceErrored("a.c"), INTERRUPTED, FAILED, RELEASED, CLOSED),
            "Canceled: Terraform was interrupted and stopped (run by ci@runner). 2 of 5 applied, 1 failed.",
        ),
        (
            Tale().tell(STARTED, LOCKED_TO_APPLY, FIVE, ev.ApprovalAwaited(), DECLINED),
            "Canceled: the plan was not approved (run by ci@runner). Nothing was changed.",
        ),
        (
            Tale().tell(STARTED, FIVE, DECLINED),
            "Canceled: the plan was not approved. Nothing was changed.",
        ),
        (
            Tale().tell(*TWO_OF_FIVE, ev.StateSaveFailed(), FAILED, RELEASED, CLOSED),
            (
                "Apply failed: local-exec provisioner error at terraform_data.bad. The state could not be saved: what "
                "was applied, outputs too, is in errored.tfstate in the run directory. 2 of 5 applied."
            ),
        ),
        (
            Tale().tell(*TWO_OF_FIVE, CRASHED, GONE, CLOSED),
            "Apply failed: Terraform crashed. 2 of 5 applied.",
        ),
        (
            Tale().tell(STARTED, CRASHED, FAILED, CLOSED),
            "Plan failed: Terraform crashed: local-exec provisioner error at terraform_data.bad.",
        ),
        (
            Tale().tell(*TWO_OF_FIVE, REBOOTED),
            (
                "Terraform is gone without a verdict (inferred: the machine was restarted and the run left no verdict)."
                " 2 of 5 applied."
            ),
        ),
        (
            Tale().tell(*TWO_OF_FIVE, INTERRUPTED, GONE, CLOSED).wait(3),
            (
                "Terraform is gone without a verdict (inferred: the log ends without a verdict and nobody holds the "
                "lock any more). It had been asked to stop. 2 of 5 applied."
            ),
        ),
        (
            Tale().tell(STARTED, REFUSED, CLOSED).wait(10),
            f"The state lock could not be acquired (held by {REFUSED.holder}). Nothing was changed.",
        ),
        (
            Tale().tell(*TWO_OF_FIVE, RELEASED, CLOSED, SETTLED),
            (
                "Settled as succeeded by alice@ci-7: the subnet is there, looked at in the console. Terraform itself "
                "had ended, and its outcome could not be told. 2 of 5 applied."
            ),
        ),
        (
            Tale().tell(*TWO_OF_FIVE, GONE, CLOSED).wait(3).tell(GIVEN_UP),
            (
                "Settled as failed by bob as root@ci-7: the job was killed by hand. Terraform itself was gone without "
                "a verdict. 2 of 5 applied."
            ),
        ),
        (
            Tale().tell(STARTED, LOCKED_TO_PLAN, FIVE, CLOSED, RELEASED, SETTLED),
            (
                "Settled as succeeded by alice@ci-7: the subnet is there, looked at in the console. It had been seen "
                "as a plan."
            ),
        ),
    ],
    ids=lambda value: "",
)
def test_how_a_run_ended_is_told_so_that_a_person_can_act_on_it(tale: Tale, message: str) -> None:
    assert tale.message() == message
    told_with_a_secret = tale.message(taint=Taint(["runner", "console", "provisioner", "by hand"]))
    assert not {"ci@runner", "console", "provisioner", "by hand"} & set(told_with_a_secret.split())


def test_of_a_success_without_outputs_the_message_says_why_there_are_none() -> None:
    tale = Tale().tell(*TWO_OF_FIVE, RELEASED, CLOSED, SETTLED)
    last, why = tale.transitions[-1], "outputs unreadable: the state is encrypted"
    notification = compose(tale.run, last, BINDING, Mapped(), NOTHING_TAINTED, unreadable=why)
    assert notification is not None
    assert notification.status_message.endswith(f" No outputs were sent ({why}).")
    failed = Tale().tell(*TWO_OF_FIVE, FAILED, RELEASED, CLOSED)
    told_failed = compose(failed.run, failed.transitions[-1], BINDING, Mapped(), NOTHING_TAINTED, unreadable=why)
    assert told_failed is not None
    assert why not in told_failed.status_message


def test_what_is_omitted_is_told_as_a_list_too_and_as_clean_as_the_message() -> None:
    secret = "hunter2-SECRET"
    mapped = Mapped((), ((f"a\u202e{secret}", "empty"), ("b", "sensitive")))
    tale = applied()
    notification = compose(tale.run, tale.transitions[-1], BINDING, mapped, Taint([secret]))
    assert notification is not None
    assert notification.omitted == ((f"a{MASK}", "empty"), ("b", "sensitive"))


@pytest.mark.parametrize("no_changes_succeed", [True, False])
@pytest.mark.parametrize("refused", [True, False])
@pytest.mark.parametrize("changes", [True, False])
@pytest.mark.parametrize("status", sorted(FINAL - {RunStatus.NO_RUN}))
def test_of_every_end_an_outcome_is_told_or_the_reason_why_none_is(
    status: RunStatus, changes: bool, refused: bool, no_changes_succeed: bool
) -> None:
    run = replace(applied().run, planned=0, plan=FIVE_COUNTED if changes else None, refused=refused)
    transition = Transition(run.run_id, RunStatus.PLANNED, status, None, "", "", 0.0)
    for another in (True, False):
        rules: dict[str, Any] = {"no_changes_succeed": no_changes_succeed, "another_run_open": another}
        notification = compose(run, transition, BINDING, MAPPED, NOTHING_TAINTED, **rules)
        outcome = notification is not None and notification.status.is_terminal
        assert bool(silence(run, status, **rules)) != outcome


@pytest.mark.parametrize("status", RunStatus)
def test_only_what_is_undetermined_needs_something_to_settle_it_and_is_told_what(status: RunStatus) -> None:
    remedies_found = remedies(replace(applied().run, status=status))
    assert bool(remedies_found) == (status is RunStatus.UNDETERMINED)
    if remedies_found:
        assert "`proton-tf-agent runs settle run-1 --as succeeded|failed --reason '...'`" in remedies_found[-1]
    without_log = remedies(Tale().tell(LOCKED_TO_APPLY, RELEASED).wait(3).run)
    assert "terraform apply -json > apply.log" in without_log[0]
    overwritten = Tale().tell(STARTED, ev.LogOverwritten()).wait(10).run
    assert remedies(overwritten)[0] == "a copy of its whole log in the run directory, should there be one"
    assert len(remedies(replace(overwritten, form=ev.Form.HUMAN))) == 1, "the copy would be another run's"


def test_several_errors_are_the_first_and_a_number() -> None:
    tale = Tale().tell(STARTED, FAILED, ev.ErrorReported("execution halted"), ev.ErrorReported("x"), CLOSED)
    assert tale.message() == (
        "Plan failed: local-exec provisioner error at terraform_data.bad (and 2 more errors)."
    )  # fmt: skip


def test_a_refused_lock_is_told_by_the_run_that_has_it_while_that_is_open() -> None:
    tale = Tale().tell(STARTED, REFUSED, CLOSED).wait(10)
    last = tale.transitions[-1]
    assert compose(tale.run, last, BINDING, Mapped(), NOTHING_TAINTED, another_run_open=True) is None
    alone = compose(tale.run, last, BINDING, Mapped(), NOTHING_TAINTED, another_run_open=False)
    assert alone is not None
    assert alone.status is Status.FAILED
    assert REFUSED.holder in alone.status_message


def test_another_open_run_silences_no_outcome_but_a_refused_lock() -> None:
    tale = applied()
    assert compose(tale.run, tale.transitions[-1], BINDING, Mapped(), NOTHING_TAINTED, another_run_open=True)


@pytest.mark.parametrize("changes", [True, False])
def test_a_plan_without_changes_succeeds_only_when_the_settings_say_so(changes: bool) -> None:
    tale = Tale().tell(STARTED, LOCKED_TO_PLAN, PLANNED if changes else ev.PlanSummarised(0, 0, 0), CLOSED)
    tale.tell(ev.LockReleased(LOCKED_TO_PLAN.lock_id))
    last = tale.transitions[-1]
    default = compose(tale.run, last, BINDING, MAPPED, NOTHING_TAINTED)
    asked = compose(tale.run, last, BINDING, MAPPED, NOTHING_TAINTED, no_changes_succeed=True)
    assert default is not None
    assert asked is not None
    assert default.status is Status.IN_PROGRESS
    assert asked.status is (Status.IN_PROGRESS if changes else Status.SUCCEEDED)
    assert asked.outputs == (() if changes else MAPPED.told)


@pytest.mark.parametrize("late", [(), (ev.OutputsPlanned(True),), (ev.ChangePlanned("a.b", "create"),)])
def test_nothing_goes_back_to_in_progress_after_a_plan_that_was_told_as_success(
    late: tuple[ev.Evidence, ...],
) -> None:
    """Whether the plan had changes may look different by then; what was told does not."""
    tale = Tale().tell(STARTED, LOCKED_TO_PLAN, ev.PlanSummarised(0, 0, 0), CLOSED)
    tale.tell(ev.LockReleased(LOCKED_TO_PLAN.lock_id), *late, ev.ApplyStarted("a.b"))
    assert tale.status is RunStatus.APPLYING
    last = tale.transitions[-1]
    assert compose(tale.run, last, BINDING, MAPPED, NOTHING_TAINTED, no_changes_succeed=True) is None
    assert compose(tale.run, last, BINDING, MAPPED, NOTHING_TAINTED) is not None


def test_no_detail_of_a_diagnostic_is_ever_told() -> None:
    """The recorded diagnostic leaks a sensitive value in its detail; Terraform itself printed it."""
    tale = Tale().tell(recorded("sensitive_diag.log"), CLOSED)
    assert tale.status is RunStatus.ERRORED
    assert "hunter2" not in repr(tale.run)
    assert "hunter2" not in tale.message()


def test_a_sensitive_value_is_told_nowhere_in_the_message() -> None:
    secret = "hunter2-SECRET"
    run = replace(
        applied().run,
        error_summary=f"bad value {secret}", error_address=f'a.b["{secret}"]', errors=1, refused_by=secret,
    )  # fmt: skip
    omitted = Mapped((), ((secret, "empty"),))
    for status in RunStatus:
        for refused in (True, False):
            transition = Transition(run.run_id, RunStatus.APPLYING, status, None, "", "", 0.0)
            refusing = replace(run, refused=refused)
            notification = compose(refusing, transition, BINDING, omitted, Taint([secret]))
            assert notification is None or secret not in notification.status_message


def test_when_nobody_can_tell_what_is_sensitive_the_error_is_withheld_and_the_rest_is_told() -> None:
    tale = Tale().tell(STARTED, ev.PlanSummarised(2, 0, 0), ev.ApplyStarted("a.b"), ev.ResourceApplied("a.b"), FAILED)
    message = tale.tell(CLOSED).message(taint=Taint(known=False))
    assert message.startswith("Apply failed: the error text is withheld")
    assert message.endswith("1 of 2 applied.")


def test_foreign_names_cannot_act_in_a_message() -> None:
    names = Mapped((), (("x\x1b[2J\u202e\0", "empty"),))
    message = applied().message(names)
    assert "1 not sent: x (empty)." in message
    run = replace(Tale().tell(STARTED, REFUSED, CLOSED).run, refused_by="\x1b]0;owned\x07AKIAIOSFODNN7EXAMPLE")
    transition = Transition(run.run_id, RunStatus.PENDING, RunStatus.ERRORED, None, "", "", 0.0)
    notification = compose(run, transition, BINDING, Mapped(), NOTHING_TAINTED)
    assert notification is not None
    assert f"(held by {MASK})" in notification.status_message


@pytest.mark.parametrize("character", ["x", "ü", "🌍"])
def test_a_message_is_cut_to_5000_code_points_and_says_so(character: str) -> None:
    long = Mapped((), tuple((f"{character * 90}{n}", "empty") for n in range(200)))
    notification = told(applied(), long)
    assert len(notification.status_message) == MAX_MESSAGE
    assert notification.status_message.endswith(" …")
    assert violations(notification) == []
    notification.status_message.encode("utf-8")


def test_what_is_told_is_masked_before_it_is_cut() -> None:
    """A cut through a secret would leave a half that nothing recognises."""
    secret = "S3cret" * 20
    names = tuple(("n" * 95 + f"{n:03}", "empty") for n in range(46)) + tuple(
        (f"{n}{secret}", "empty") for n in range(20)
    )
    for shift in range(0, 200, 11):
        message = applied().message(Mapped((), (("y" * shift, "empty"), *names)), Taint([secret]))
        assert "S3cret" not in message


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"resource_arn": "arn:aws:iam::123456789012:role/Admin"}, "resourceArn"),
        ({"deployment_id": "<proton-resource-deleted>"}, "deploymentId"),
        ({"deployment_id": "FCDA9F18-F569-4079-8474-0832F45B97EA"}, "deploymentId"),
        ({"status_message": "x" * 5001}, "statusMessage"),
        ({"outputs": tuple((f"k{n}", "v") for n in range(51))}, "more than 50"),
        ({"outputs": (("", "v"),)}, "key"),
        ({"outputs": (("k" * 101, "v"),)}, "key"),
        ({"outputs": (("k", ""),)}, "empty"),
        ({"outputs": (("k", "v" * 1025),)}, "longer than 1,024"),
    ],
)
def test_what_the_receiver_would_refuse_is_found_before_it_is_sent(change: dict[str, object], complaint: str) -> None:
    good = told(applied())
    assert violations(good) == []
    assert violations(replace(good, deployment_id=None)) == []
    found = violations(replace(good, **change))  # type: ignore[arg-type]
    assert len(found) == 1
    assert complaint in found[0]


def test_reading_again_gives_the_same_notification_id_and_another_transition_another() -> None:
    first, again = told(applied()), told(applied())
    assert first == again
    tale = applied()
    ids = set()
    for revision, transition in enumerate(tale.transitions, 1):
        notification = compose(replace(tale.run, revision=revision), transition, BINDING, MAPPED, NOTHING_TAINTED)
        assert notification is not None
        ids.add(notification.notification_id)
    assert len(ids) == len(tale.transitions)


def test_a_notification_speaks_for_the_binding_and_carries_the_run() -> None:
    notification = told(applied())
    assert (notification.resource_arn, notification.deployment_id) == (BINDING.resource_arn, BINDING.deployment_id)
    assert (notification.run_id, notification.directory, notification.run_status) == ("run-1", "/w", RunStatus.APPLIED)
    assert notification.created_at == 1000.0


@pytest.mark.parametrize(
    ("said", "carried"),
    [
        ("0" * 40, "0" * 40),
        ("a" * 64, "a" * 64),
        ("main", ""),
        ("../../user", ""),
        ("0" * 40 + "\n", ""),
        ("A" * 40, ""),
        ("", ""),
    ],
)
def test_a_notification_carries_the_commit_of_its_ci_job_if_it_is_one(said: str, carried: str) -> None:
    """A job may have written anything into its environment."""
    wrapped = replace(WRAPPED_APPLY, job=ev.Job("GitHub Actions", said))
    assert told(Tale().tell(wrapped, STARTED, LOCKED_TO_PLAN, PLANNED)).commit == carried
    assert told(applied()).commit == ""


def test_whose_a_run_is_can_be_said_in_short() -> None:
    notification = told(applied())
    assert notification.whose == ARN.split(":")[-1]
    assert replace(notification, resource_arn=None, name="network").whose == "network"
    assert replace(notification, resource_arn=None).whose == "/w"


def test_no_directory_passes_for_the_environment_of_a_resource() -> None:
    """Whoever may make directories below a watch root chooses their names."""
    bound = told(applied())
    assert bound.environment == ARN.rsplit("/", 1)[-1]
    unbound = replace(bound, resource_arn=None, directory=f"/srv/infra/{bound.environment}")
    assert unbound.environment == f"srv/infra/{bound.environment}"
    assert replace(unbound, name="dns").environment == "dns"


def test_everything_is_allowed_up_to_its_limit() -> None:
    """50 outputs, keys of 100 and values of 1,024 characters, a message of 5,000."""
    outputs = tuple((f"{n:02}".ljust(MAX_KEY, "k"), "v" * MAX_VALUE) for n in range(MAX_OUTPUTS))
    assert violations(replace(told(applied()), outputs=outputs, status_message="x" * MAX_MESSAGE)) == []


def test_a_message_of_exactly_the_limit_is_not_cut() -> None:
    frame = len(applied().message(Mapped((), (("x", "empty"),))))
    fits = applied().message(Mapped((), (("x" * (MAX_MESSAGE - frame + 1), "empty"),)))
    assert len(fits) == MAX_MESSAGE
    assert not fits.endswith("…")
    cut = applied().message(Mapped((), (("x" * (MAX_MESSAGE - frame + 2), "empty"),)))
    assert len(cut) == MAX_MESSAGE
    assert cut.endswith(" …")


def test_a_failure_is_the_applys_as_soon_as_the_apply_has_begun() -> None:
    begun = Tale().tell(STARTED, PLANNED, ev.ApplyStarted("a.b"), FAILED, CLOSED)
    assert begun.message() == "Apply failed: local-exec provisioner error at terraform_data.bad. 0 of 3 applied."
    late = Tale().tell(STARTED, PLANNED, ev.ApplyStarted("a.b"), ev.ResourceApplied("a.b"), CLOSED).wait(3)
    assert late.status is RunStatus.LOST
    assert late.tell(FAILED).message().endswith(" 1 of 3 applied.")
    only_errors = Tale().tell(STARTED, PLANNED, ev.ApplyStarted("a.b"), ev.ResourceErrored("a.b"), CLOSED).wait(3)
    assert only_errors.tell(FAILED).message().startswith("Apply failed")
