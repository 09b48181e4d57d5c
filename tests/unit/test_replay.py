"""Replay: the same once more, as a new entry; never something older than a receiver knows, unless forced."""

from __future__ import annotations

import threading
from collections.abc import Iterable

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
from proton_tf_agent.domain.values import replace
from proton_tf_agent.journal import Journal
from proton_tf_agent.pipeline import Addressee
from proton_tf_agent.receiver import Receiver
from proton_tf_agent.relay import Relay
from proton_tf_agent.replay import Choice, append, choose
from proton_tf_agent.selection import Scope
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


def refusals(choices: Iterable[Choice]) -> dict[int, str]:
    return {choice.row["seq"]: choice.refusal for choice in choices}


def replayed(journal: Journal, scope: Scope, *, to: Addressee | None = None, force: bool = False) -> list[int]:
    """Replay; returns the seq of each new entry, 0 for what was refused."""
    chosen = choose(journal, scope, addressee=to, force=force)
    return [choice.seq for choice in append(journal, chosen, 2000.0, addressee=to, force=force)]


def archive(**rules: object) -> Addressee:
    """A sink that takes everything, but for what `rules` say."""
    return replace(Addressee("archive", lambda _one: True, lambda _one: ""), **rules)  # type: ignore[arg-type]


def told_to(journal: Journal, sink: str) -> list[tuple[str, object, str]]:
    """What a sink's entries say, in order: notification, original, state."""
    rows = journal.query("entries", after=0, limit=1000)
    return [(r["notification_id"], r["replay_of"], r["state"]) for r in rows if r["sink"] == sink]


def test_the_last_word_about_a_resource_may_be_said_again(journal: Journal) -> None:
    told(journal, IN_PROGRESS, SUCCEEDED)
    assert refusals(choose(journal, Scope(notification="2"))) == {2: ""}
    assert refusals(choose(journal, Scope(notification="ntf-2"))) == {2: ""}


@pytest.mark.parametrize("old", [IN_PROGRESS, SUCCEEDED, FAILED])
@pytest.mark.parametrize("new", [SUCCEEDED, FAILED])
def test_what_a_later_outcome_of_the_resource_has_overtaken_is_refused(
    journal: Journal, old: Status, new: Status
) -> None:
    told(journal, old, new)
    assert refusals(choose(journal, Scope(notification="1"))) == {1: f"{new} of #2 was told about this resource later"}
    assert refusals(choose(journal, Scope(notification="1"), force=True)) == {1: ""}


def test_a_later_deployment_overtakes_too_and_progress_does_not(journal: Journal) -> None:
    told(journal, SUCCEEDED, IN_PROGRESS)
    assert refusals(choose(journal, Scope(notification="1"))) == {1: ""}
    (seq,) = enqueued(journal, notification(3, FAILED, deployment=NEXT_DEPLOYMENT))
    assert f"#{seq}" in refusals(choose(journal, Scope(notification="1")))[1]


def test_another_resource_and_another_sink_overtake_nothing(journal: Journal) -> None:
    told(journal, SUCCEEDED)
    told(journal, FAILED, first=2, arn=OTHER_ARN)
    enqueued(journal, notification(3, FAILED), sink="console")
    assert refusals(choose(journal, Scope(notification="1"))) == {1: ""}


def test_what_will_be_sent_anyway_is_refused(journal: Journal) -> None:
    first, second = enqueued(journal, notification(1, FAILED), notification(2, FAILED))
    assert refusals(choose(journal, Scope(run_id="run-1"))) == {
        first: "it is sending and will be sent anyway",
        second: "it is pending and will be sent anyway",
    }
    attempted(journal, first, OutcomeKind.UNAVAILABLE)
    assert "retryable" in refusals(choose(journal, Scope(notification="1")))[1]


def test_what_was_parked_may_be_replayed(journal: Journal) -> None:
    (seq,) = enqueued(journal, notification(1, FAILED))
    parked(journal, seq)
    assert refusals(choose(journal, Scope(notification="1"))) == {1: ""}


def test_superseded_entries_and_replays_are_not_chosen(journal: Journal) -> None:
    filled(journal)
    (again,) = replayed(journal, Scope(notification="3"))
    chosen = refusals(choose(journal, Scope(everything=True), force=True))
    assert list(chosen) == [1, 3, 4, 5, 6, 7]
    for wanted in (str(again), "2"):
        with pytest.raises(UsageInvalid, match="superseded entries were never told"):
            choose(journal, Scope(notification=wanted))


def test_a_choice_may_be_narrowed_to_a_sink(journal: Journal) -> None:
    filled(journal)
    assert list(refusals(choose(journal, Scope(notification="ntf-3")))) == [3, 7]
    assert list(refusals(choose(journal, Scope(notification="ntf-3", sink="console")))) == [7]
    assert list(refusals(choose(journal, Scope(run_id="run-2", sink="proton")))) == [4, 5, 6]
    with pytest.raises(UsageInvalid):
        choose(journal, Scope(everything=True, sink="nobody"))


def test_choosing_nothing_is_a_mistake(journal: Journal) -> None:
    with pytest.raises(UsageInvalid, match=r"--id, --run, .* or --all"):
        choose(journal, Scope())
    with pytest.raises(UsageInvalid, match="nothing like that"):
        choose(journal, Scope(notification="9" * 30))


def test_choosing_changes_nothing(journal: Journal) -> None:
    filled(journal)
    before = list(journal._connection.iterdump())
    choose(journal, Scope(everything=True))
    assert list(journal._connection.iterdump()) == before


@pytest.mark.parametrize("force", [False, True])
def test_what_is_damaged_on_disk_is_never_replayed(journal: Journal, force: bool) -> None:
    """A copy of it would get a checksum of its own, and be believed."""
    (seq,) = told(journal, SUCCEEDED)
    execute = journal._connection.execute
    execute("DROP TRIGGER outbox_body_is_immutable")
    execute("UPDATE outbox SET body = CAST(replace(CAST(body AS TEXT), 'vpc-1', 'vpc-2') AS BLOB)")
    assert "damaged on disk" in refusals(choose(journal, Scope(notification=str(seq)), force=force))[seq]


def test_a_replay_leaves_the_original_alone_and_goes_behind_everything_its_line_holds(journal: Journal) -> None:
    told(journal, SUCCEEDED)
    enqueued(journal, notification(2, FAILED, deployment=NEXT_DEPLOYMENT), notification(3, FAILED, arn=OTHER_ARN))
    before = row_of(journal, 1)
    assert replayed(journal, Scope(notification="1"), force=True) == [4]
    assert row_of(journal, 1) == before
    again = row_of(journal, 4)
    assert (again["body"], again["notification_id"], again["replay_of"]) == (before["body"], "ntf-1", 1)
    assert states(journal) == ["delivered", "sending", "sending", "pending"]


# --- scopes -----------------------------------------------------------------------------------------------------


def seqs(journal: Journal, **scope: object) -> list[int]:
    return list(refusals(choose(journal, Scope(**scope), force=True)))  # type: ignore[arg-type]


def test_a_resource_a_time_and_a_state_choose_alone_or_narrow_each_other(journal: Journal) -> None:
    filled(journal)
    assert seqs(journal, resource_arn=ARN) == [1, 3, 7]
    assert seqs(journal, resource_arn=OTHER_ARN, since=1102.0) == [5, 6]
    assert seqs(journal, since=1060.0, until=1102.0) == [3, 4, 7]
    assert seqs(journal, parked=True) == [4]
    assert seqs(journal, undelivered=True) == [4, 5, 6, 7]
    assert seqs(journal, undelivered=True, sink="console") == [7]
    assert seqs(journal, undelivered=True, resource_arn=OTHER_ARN, until=1104.0) == [4, 5]


def test_what_is_asked_for_by_its_state_may_be_nothing(journal: Journal) -> None:
    told(journal, SUCCEEDED)
    assert seqs(journal, parked=True) == seqs(journal, undelivered=True, sink="proton") == []
    with pytest.raises(UsageInvalid, match="nothing like that"):
        seqs(journal, parked=True, sink="protno")


def test_more_entries_than_a_page_come_in_their_order(journal: Journal) -> None:
    with journal.transaction():
        for number in range(1, 1202):
            journal.enqueue(notification(number, FAILED), "proton", 1000.0)
    assert seqs(journal, everything=True) == list(range(1, 1202))


def test_a_parked_entry_that_a_replay_has_delivered_is_parked_no_more(journal: Journal) -> None:
    for number in (1, 2):
        (seq,) = enqueued(journal, notification(number, FAILED, run_id=f"run-{number}"))
        parked(journal, seq)
    first, second = replayed(journal, Scope(parked=True), force=True)
    attempted(journal, first)
    parked(journal, second)
    assert seqs(journal, parked=True) == seqs(journal, undelivered=True) == [2]
    assert seqs(journal, parked=True, resolved=True) == [1, 2]


def test_a_replay_that_waits_is_not_repeated(journal: Journal) -> None:
    told(journal, SUCCEEDED)
    assert replayed(journal, Scope(notification="1")) == [2]
    assert refusals(choose(journal, Scope(notification="1"))) == {1: "its replay #2 is pending and will be sent anyway"}
    attempted(journal, 2)
    assert replayed(journal, Scope(notification="1")) == [3]


def test_progress_of_a_deployment_whose_end_was_accepted_is_refused(journal: Journal) -> None:
    """A second run of the same deployment has begun and has no end yet; the first one's was accepted."""
    told(journal, SUCCEEDED, IN_PROGRESS)
    assert refusals(choose(journal, Scope(notification="2"))) == {
        2: "SUCCEEDED of #1 was accepted as the end of its deployment"
    }
    assert refusals(choose(journal, Scope(notification="2"), force=True)) == {2: ""}


def test_a_row_of_which_anything_has_rotted_is_never_replayed(journal: Journal) -> None:
    told(journal, FAILED)
    journal._connection.execute("UPDATE outbox SET status = 'SUCCEEDED'")
    assert "damaged on disk" in refusals(choose(journal, Scope(notification="1"), force=True))[1]


def test_what_the_daemon_does_between_choosing_and_writing_counts(journal: Journal) -> None:
    told(journal, FAILED)
    chosen = list(choose(journal, Scope(notification="1")))
    told(journal, SUCCEEDED, first=2)
    (choice,) = append(journal, chosen, 2000.0)
    assert (choice.seq, choice.refusal) == (0, "SUCCEEDED of #2 was told about this resource later")
    assert states(journal) == ["delivered", "delivered"]


# --- carried over -----------------------------------------------------------------------------------------------


def test_what_a_sink_did_not_take_is_carried_over_whole_and_in_order(journal: Journal) -> None:
    filled(journal)
    before = {seq: row_of(journal, seq) for seq in range(1, 8)}
    assert replayed(journal, Scope(undelivered=True, sink="proton"), to=archive()) == [8, 9, 10]
    assert told_to(journal, "archive") == [("ntf-4", 4, "pending"), ("ntf-5", 5, "pending"), ("ntf-6", 6, "pending")]
    assert {seq: row_of(journal, seq) for seq in range(1, 8)} == before
    assert all(row_of(journal, 4 + n)["body"] == row_of(journal, 8 + n)["body"] for n in range(3))


def test_what_was_carried_over_is_not_carried_over_again(journal: Journal) -> None:
    filled(journal)
    scope = Scope(undelivered=True, sink="proton")
    replayed(journal, scope, to=archive())
    assert refusals(choose(journal, scope, addressee=archive())) == {
        seq: f"archive has it already as #{seq + 4} (pending)" for seq in (4, 5, 6)
    }
    assert replayed(journal, scope, to=archive(), force=True) == [11, 12, 13]
    attempted(journal, 8)
    assert seqs(journal, undelivered=True, sink="proton") == [5, 6]


def test_what_the_other_sink_was_told_itself_is_not_carried_over_to_it(journal: Journal) -> None:
    filled(journal)
    console = archive(name="console")
    assert refusals(choose(journal, Scope(notification="ntf-3", sink="proton"), addressee=console)) == {
        3: "console has it already as #7 (sending)"
    }


def test_a_sink_is_carried_what_it_takes_and_does_not_object_to(journal: Journal) -> None:
    told(journal, IN_PROGRESS, SUCCEEDED)
    ends_only = archive(wants=lambda one: one.status.is_terminal)
    strict = archive(objection=lambda one: "too long" if one.outputs else "")
    scope = Scope(everything=True, sink="proton")
    for force in (False, True):
        assert refusals(choose(journal, scope, addressee=ends_only, force=force)) == {
            1: "archive takes no such notification",
            2: "",
        }
        assert refusals(choose(journal, scope, addressee=strict, force=force)) == {
            1: "",
            2: "archive would refuse it: too long",
        }


def test_history_is_carried_over_forwards_only(journal: Journal) -> None:
    told(journal, FAILED, SUCCEEDED)
    assert replayed(journal, Scope(notification="2"), to=archive()) == [3]
    assert refusals(choose(journal, Scope(notification="1"), addressee=archive())) == {
        1: "SUCCEEDED of #3 was told about this resource later"
    }


def test_a_receiver_hears_the_same_again(journal: Journal, receiver: Receiver) -> None:
    sink, log = ProtonSink("proton", "eu-west-1", receiver.url), Heard()
    relay = Relay(journal, {"proton": sink}, log.tell, lambda: 1000.0, lambda: 0.0)
    enqueued(journal, notification(1, SUCCEEDED))
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        log.wait_for("notification.delivered", seq=1)
        assert replayed(journal, Scope(notification="1")) == [2]
        relay.nudge()
        log.wait_for("notification.delivered", seq=2)
    finally:
        relay.stop()
        thread.join()
        sink.close()
    first, again = receiver.records()
    same = ("resource_arn", "deployment_id", "status", "status_message", "outputs")
    assert [getattr(first, name) for name in same] == [getattr(again, name) for name in same]
