"""Any facts, in any order, at any time: what a run can never become, and what can never be told of it."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from support.facts import BINDING, EVERY_EVIDENCE, EXITED_WELL, PATIENCE, SETTLED, Tale, a_run, recorded

from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.composition import compose, violations
from proton_tf_agent.domain.evidence import Evidence, Fact, Output
from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.output_mapping import OutputMapping
from proton_tf_agent.domain.outputs import map_outputs
from proton_tf_agent.domain.redaction import NOTHING_TAINTED
from proton_tf_agent.domain.run import FINAL, Basis, Run, RunStatus, Transition
from proton_tf_agent.domain.transitions import advance, fold
from proton_tf_agent.domain.values import replace

SUCCESSES = (RunStatus.APPLIED, RunStatus.DESTROYED)
PROOF_OF_SUCCESS = (ev.ApplySummarised, ev.ProcessExited, ev.DecisionTaken)  # Terraform's own word, or a person's
WITHOUT_SUMMARY = [evidence for evidence in EVERY_EVIDENCE if not isinstance(evidence, PROOF_OF_SUCCESS)]
RECORDED = ("apply_ok.log", "apply_partial_failure.log", "sigint_once.log", "sigkill.log", "apply_destroy.log",
            "lock_refused.log", "plan_changes.log", "init.log")  # fmt: skip

moments = st.floats(min_value=0, max_value=30)
stories = st.lists(st.tuples(st.sampled_from(EVERY_EVIDENCE), moments), max_size=40)
stories_without_summary = st.lists(st.tuples(st.sampled_from(WITHOUT_SUMMARY), moments), max_size=40)


def steps(story: list[tuple[Evidence, float]]) -> list[tuple[Run, Evidence, Run, Transition | None, float]]:
    run, now, made = a_run(), 0.0, []
    for evidence, later in story:
        now += later
        after, transition = fold(run, evidence, now, PATIENCE)
        made.append((run, evidence, after, transition, now))
        run = after
    return made


@settings(max_examples=200)
@given(stories_without_summary)
def test_without_an_apply_summary_no_story_ends_in_success_or_waits_for_it(
    story: list[tuple[Evidence, float]],
) -> None:
    for _, _, after, _, _ in steps(story):
        assert after.status not in SUCCESSES
        assert after.verdict is None or after.verdict.status not in SUCCESSES


@settings(max_examples=200)
@given(stories)
def test_a_story_has_one_chain_of_statuses_and_proof_is_its_end(story: list[tuple[Evidence, float]]) -> None:
    for before, evidence, after, transition, now in steps(story):
        if before.status in FINAL and before.basis is Basis.PROOF:
            noted = isinstance(evidence, ev.ProcessExited)  # when it was over, and nothing else
            assert (replace(after, wrapped=before.wrapped, log=before.log) if noted else after) == before
        if transition is not None:
            assert (transition.previous, transition.status) == (before.status, after.status)
            assert transition.at == now
        else:
            assert after.status is before.status
        assert (after.basis is not None) == (after.ended_at is not None) == (after.status in FINAL)


@settings(max_examples=200)
@given(stories, st.lists(st.floats(min_value=-1e12, max_value=1e12), max_size=6))
def test_time_alone_never_makes_success(story: list[tuple[Evidence, float]], clock: list[float]) -> None:
    """Whatever the clock says, also when it goes backwards, it only lets happen what waited."""
    made = steps(story)
    run = made[-1][2] if made else a_run()
    for now in clock:
        after, _ = fold(run, ev.Elapsed(), now, PATIENCE)
        if after.status in SUCCESSES and run.status not in SUCCESSES:
            assert run.summary is not None or (run.wrapped and run.wrapped.has_succeeded)
        run = after


@settings(max_examples=200)
@given(stories, st.booleans())
def test_in_progress_is_never_told_after_a_terminal_status_of_the_same_run(
    story: list[tuple[Evidence, float]], no_changes_succeed: bool
) -> None:
    told = [
        notification.status
        for notification in notifications(story, no_changes_succeed)
    ]  # fmt: skip
    ended = [index for index, status in enumerate(told) if status.is_terminal]
    assert not ended or Status.IN_PROGRESS not in told[ended[0] :]


@settings(max_examples=200)
@given(stories, st.booleans())
def test_everything_told_of_any_story_obeys_protons_contract(
    story: list[tuple[Evidence, float]], no_changes_succeed: bool
) -> None:
    told = notifications(story, no_changes_succeed)
    for notification in told:
        assert violations(notification) == []
        assert notification.status_message
    assert len({notification.notification_id for notification in told}) == len(told)


@settings(max_examples=200)
@given(stories)
def test_success_is_told_only_of_an_apply_whose_summary_or_exit_was_seen_or_whom_a_person_vouched_for(
    story: list[tuple[Evidence, float]],
) -> None:
    seen = any(isinstance(evidence, ev.ApplySummarised) or evidence == EXITED_WELL for evidence, _ in story)
    for notification in notifications(story, no_changes_succeed=False):
        vouched = notification.status_message.startswith(f"Settled as succeeded by {SETTLED.who}: ")
        assert seen or vouched or notification.status is not Status.SUCCEEDED
        assert notification.run_status not in (RunStatus.UNDETERMINED, RunStatus.NO_RUN, RunStatus.PENDING)


def notifications(story: list[tuple[Evidence, float]], no_changes_succeed: bool) -> list[Notification]:
    told = []
    for _, _, after, transition, _ in steps(story):
        if transition is not None:
            mapped = map_outputs(after.outputs or (), OutputMapping(), NOTHING_TAINTED)
            told.append(
                compose(after, transition, BINDING, mapped, NOTHING_TAINTED, no_changes_succeed=no_changes_succeed)
            )
    return [notification for notification in told if notification is not None]


@settings(max_examples=200)
@given(stories)
def test_the_same_verdict_is_never_put_off(story: list[tuple[Evidence, float]]) -> None:
    for before, _, after, _, _ in steps(story):
        waiting, renewed = before.verdict, after.verdict
        if waiting and renewed and (waiting.status, waiting.basis) == (renewed.status, renewed.basis):
            assert renewed.due_at <= waiting.due_at


@settings(max_examples=100)
@given(st.sampled_from(RECORDED), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=8))
def test_a_log_read_again_from_anywhere_gives_the_same_run(name: str, looks: list[tuple[float, float]]) -> None:
    """After a crash or under another name: parts of it again, but never with a hole."""
    facts = recorded(name)
    once, again = Tale().tell(facts), Tale()
    reached = 0
    for back, on in [*looks, (0.0, 1.0)]:
        start = int(back * reached)
        end = start + int(on * (len(facts) - start))
        again.tell(facts[start:end])
        reached = max(reached, end)
    assert again.run == once.run
    assert again.transitions == once.transitions


@settings(max_examples=100)
@given(st.integers(min_value=0, max_value=10_000), st.lists(st.sampled_from(EVERY_EVIDENCE), max_size=12))
def test_a_fact_behind_the_position_changes_nothing(position: int, evidences: list[Evidence]) -> None:
    run = replace(a_run(), position=position)
    for evidence in evidences:
        assert advance(run, Fact(evidence, "a", position), 0.0, PATIENCE) == (run, None)


texts = st.text(max_size=2000)


@settings(max_examples=150)
@given(texts, texts, texts, st.lists(st.tuples(texts, texts), max_size=70))
def test_no_foreign_text_breaks_the_contract(
    summary: str, address: str, holder: str, outputs: list[tuple[str, str]]
) -> None:
    reported = tuple({name: Output(name, value) for name, value in _as_json(outputs)}.values())
    tale = Tale().tell(ev.OperationStarted("terraform", "1"), ev.ErrorReported(summary, address))
    for last in ((ev.LogClosed(),), (ev.LockRefused(holder), ev.LogClosed()), (
        ev.ApplySummarised(1, 0, 0), ev.OutputsReported(reported),
    )):  # fmt: skip
        ended = Tale()
        ended.run = tale.run
        ended.tell(*last).wait(10)
        mapped = map_outputs(ended.run.outputs or (), OutputMapping(), NOTHING_TAINTED)
        notification = ended.notification(mapped)
        assert notification is not None
        assert violations(notification) == []
        assert not set(notification.status_message) & set("\0\x1b\u202e\u200b\r")
        notification.status_message.encode("utf-8")


def _as_json(outputs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, json.dumps(value)) for name, value in outputs]
