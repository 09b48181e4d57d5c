"""Replay: the same once more, as a new entry; never something older than a receiver knows, unless forced."""

from __future__ import annotations

import threading

import pytest
from support.agents import Heard
from support.outboxes import (
    ARN,
    NEXT_DEPLOYMENT,
    OTHER_ARN,
    attempted,
    enqueued,
    filled,
    notification,
    parked,
    row_of,
    states,
)

from proton_tf_agent.domain.errors import UsageInvalid
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import OutcomeKind
from proton_tf_agent.journal import Journal
from proton_tf_agent.receiver import Receiver
from proton_tf_agent.relay import Relay
from proton_tf_agent.replay import Choice, append, choose
from proton_tf_agent.sinks.proton import ProtonSink

IN_PROGRESS, SUCCEEDED, FAILED = Status.IN_PROGRESS, Status.SUCCEEDED, Status.FAILED


def told(journal: Journal, *statuses: Status, first: int = 1, arn: str = ARN) -> list[int]:
    """Notifications that were told one after the other, and accepted."""
    seqs = []
    for number, status in enumerate(statuses, first):
        (seq,) = enqueued(journal, notification(number, status, arn))
        attempted(journal, seq)
        seqs.append(seq)
    return seqs


def refusals(choices: list[Choice]) -> dict[int, str]:
    return {choice.row["seq"]: choice.refusal for choice in choices}


def test_the_last_word_about_a_resource_may_be_said_again(journal: Journal) -> None:
    told(journal, IN_PROGRESS, SUCCEEDED)
    assert refusals(choose(journal, notification="2")) == {2: ""}
    assert refusals(choose(journal, notification="ntf-2")) == {2: ""}


@pytest.mark.parametrize("old", [IN_PROGRESS, SUCCEEDED, FAILED])
@pytest.mark.parametrize("new", [SUCCEEDED, FAILED])
def test_what_a_later_outcome_of_the_resource_has_overtaken_is_refused(
    journal: Journal, old: Status, new: Status
) -> None:
    told(journal, old, new)
    assert refusals(choose(journal, notification="1")) == {1: f"{new} of #2 was told about this resource later"}
    assert refusals(choose(journal, notification="1", force=True)) == {1: ""}


def test_a_later_deployment_overtakes_too_and_progress_does_not(journal: Journal) -> None:
    told(journal, SUCCEEDED, IN_PROGRESS)
    assert refusals(choose(journal, notification="1")) == {1: ""}
    (seq,) = enqueued(journal, notification(3, FAILED, deployment=NEXT_DEPLOYMENT))
    assert f"#{seq}" in refusals(choose(journal, notification="1"))[1]


def test_another_resource_and_another_sink_overtake_nothing(journal: Journal) -> None:
    told(journal, SUCCEEDED)
    told(journal, FAILED, first=2, arn=OTHER_ARN)
    enqueued(journal, notification(3, FAILED), sink="console")
    assert refusals(choose(journal, notification="1")) == {1: ""}


def test_what_will_be_sent_anyway_is_refused(journal: Journal) -> None:
    first, second = enqueued(journal, notification(1, FAILED), notification(2, FAILED))
    assert refusals(choose(journal, run_id="run-1")) == {
        first: "it is sending and will be sent anyway",
        second: "it is pending and will be sent anyway",
    }
    attempted(journal, first, OutcomeKind.UNAVAILABLE)
    assert "retryable" in refusals(choose(journal, notification="1"))[1]


def test_what_was_parked_may_be_replayed(journal: Journal) -> None:
    (seq,) = enqueued(journal, notification(1, FAILED))
    parked(journal, seq)
    assert refusals(choose(journal, notification="1")) == {1: ""}


def test_superseded_entries_and_replays_are_not_chosen(journal: Journal) -> None:
    filled(journal)
    (choice,) = choose(journal, notification="3")
    again = append(journal, choice, 2000.0)
    chosen = refusals(choose(journal, everything=True, force=True))
    assert list(chosen) == [1, 3, 4, 5, 6, 7]
    for wanted in (str(again), "2"):
        with pytest.raises(UsageInvalid, match="superseded entries were never told"):
            choose(journal, notification=wanted)


def test_a_choice_may_be_narrowed_to_a_sink(journal: Journal) -> None:
    filled(journal)
    assert list(refusals(choose(journal, notification="ntf-3"))) == [3, 7]
    assert list(refusals(choose(journal, notification="ntf-3", sink="console"))) == [7]
    assert list(refusals(choose(journal, run_id="run-2", sink="proton"))) == [4, 5, 6]
    with pytest.raises(UsageInvalid):
        choose(journal, everything=True, sink="nobody")


def test_choosing_nothing_is_a_mistake(journal: Journal) -> None:
    with pytest.raises(UsageInvalid, match="--id, --run or --all"):
        choose(journal)
    with pytest.raises(UsageInvalid, match="nothing like that"):
        choose(journal, notification="9" * 30)


def test_choosing_changes_nothing(journal: Journal) -> None:
    filled(journal)
    before = list(journal._connection.iterdump())
    choose(journal, everything=True)
    assert list(journal._connection.iterdump()) == before


@pytest.mark.parametrize("force", [False, True])
def test_what_is_damaged_on_disk_is_never_replayed(journal: Journal, force: bool) -> None:
    """A copy of it would get a checksum of its own, and be believed."""
    (seq,) = told(journal, SUCCEEDED)
    execute = journal._connection.execute
    execute("DROP TRIGGER outbox_body_is_immutable")
    execute("UPDATE outbox SET body = CAST(replace(CAST(body AS TEXT), 'vpc-1', 'vpc-2') AS BLOB)")
    assert "damaged on disk" in refusals(choose(journal, notification=str(seq), force=force))[seq]


def test_a_replay_leaves_the_original_alone_and_goes_behind_everything_its_line_holds(journal: Journal) -> None:
    told(journal, SUCCEEDED)
    enqueued(journal, notification(2, FAILED, deployment=NEXT_DEPLOYMENT), notification(3, FAILED, arn=OTHER_ARN))
    before = row_of(journal, 1)
    (choice,) = choose(journal, notification="1", force=True)
    assert append(journal, choice, 2000.0) == 4
    assert row_of(journal, 1) == before
    again = row_of(journal, 4)
    assert (again["body"], again["notification_id"], again["replay_of"]) == (before["body"], "ntf-1", 1)
    assert states(journal) == ["delivered", "sending", "sending", "pending"]


def test_a_receiver_hears_the_same_again(journal: Journal, receiver: Receiver) -> None:
    sink, log = ProtonSink("proton", "eu-west-1", receiver.url), Heard()
    relay = Relay(journal, {"proton": sink}, log.tell, lambda: 1000.0, lambda: 0.0)
    enqueued(journal, notification(1, SUCCEEDED))
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        log.wait_for("notification.delivered", seq=1)
        (choice,) = choose(journal, notification="1")
        append(journal, choice, 1001.0)
        relay.nudge()
        log.wait_for("notification.delivered", seq=2)
    finally:
        relay.stop()
        thread.join()
        sink.close()
    first, again = receiver.records()
    same = ("resource_arn", "deployment_id", "status", "status_message", "outputs")
    assert [getattr(first, name) for name in same] == [getattr(again, name) for name in same]
