"""Discarding: who gave up what and why is kept, and a relay at work sends it no more."""

from __future__ import annotations

import threading

import pytest
from support.agents import Heard
from support.outboxes import OTHER_ARN, attempted, enqueued, filled, notification, row_of, states

from proton_tf_agent.discard import discard
from proton_tf_agent.domain.errors import UsageInvalid
from proton_tf_agent.domain.notification import Notification, Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.journal import Journal
from proton_tf_agent.journal_store import is_sealed
from proton_tf_agent.relay import Relay

FAILED = Status.FAILED
WHY = "alice@ci-7: the service has ended"


def refusals(journal: Journal, *names: str) -> dict[int, str]:
    return {one.row["seq"]: one.refusal for one in discard(journal, names, WHY, 2000.0)}


def test_what_waits_or_is_parked_is_given_up_with_who_and_why(journal: Journal) -> None:
    filled(journal)
    assert refusals(journal, "4", "5", "ntf-6") == {4: "", 5: "", 6: ""}
    assert states(journal)[3:6] == ["discarded"] * 3
    assert [row_of(journal, seq)["reason"] for seq in (4, 5, 6)] == [
        f"{WHY} (it was parked: invalid)", f"{WHY} (it was retryable: unavailable)", f"{WHY} (it was pending)",
    ]  # fmt: skip
    assert row_of(journal, 4)["settled_at"] == 2000.0
    assert all(is_sealed("outbox", row) for row in journal.query("entries", after=0, limit=10))


def test_nothing_is_given_up_that_was_told_or_may_be_arriving(journal: Journal) -> None:
    filled(journal)
    before = list(journal._connection.iterdump())
    assert refusals(journal, "1", "2", "7") == {
        1: "it is delivered already",
        2: "it is superseded already",
        7: "the agent has it under way: the request may arrive; try again when it has come back",
    }
    assert list(journal._connection.iterdump()) == before


def test_what_a_dead_agent_left_under_way_can_be_given_up(journal_path: str) -> None:
    with Journal.open_as_daemon(journal_path) as journal:
        filled(journal)
    with Journal.open_existing(journal_path) as journal:
        assert refusals(journal, "7") == {7: ""}
        (attempt,) = journal.query("attempts_of_entry", seq=7)
        assert (attempt["outcome"], attempt["ambiguous"]) == ("interrupted", 1)
    with Journal.open_as_daemon(journal_path) as journal:
        assert journal.resume_after_crash(3000.0) == 0
        assert states(journal)[6] == "discarded"


def test_an_id_stands_for_whichever_of_its_entries_wait(journal: Journal) -> None:
    first, second = (enqueued(journal, notification(1, FAILED), sink=sink)[0] for sink in ("proton", "console"))
    attempted(journal, first)
    attempted(journal, second, OutcomeKind.UNAVAILABLE)
    assert refusals(journal, "ntf-1", "2") == {2: ""}
    assert refusals(journal, "ntf-1") == {1: "it is delivered already", 2: "it is discarded already"}


def test_a_name_that_is_nobodys_changes_nothing(journal: Journal) -> None:
    filled(journal)
    with pytest.raises(UsageInvalid, match="no entry '99'"):
        discard(journal, ["4", "99"], WHY, 2000.0)
    assert states(journal)[3] == "parked"


class Gate:
    """A sink that keeps one resource's requests back until the test lets them go."""

    name = "proton"

    def __init__(self) -> None:
        self.open = threading.Event()
        self.told: list[str] = []

    def wants(self, notification: Notification) -> bool:
        return True

    def send(self, notification: Notification) -> Outcome:
        assert self.open.wait(20.0)
        self.told.append(notification.notification_id)
        return Outcome(OutcomeKind.ACCEPTED)

    def close(self) -> None:
        pass


def test_a_relay_at_work_does_not_send_what_was_given_up_and_its_line_goes_on(journal: Journal) -> None:
    """The first of a line is on the wire, the second is given up by another process, the third comes behind it."""
    sink, log = Gate(), Heard()
    relay = Relay(journal, {"proton": sink}, log.tell, lambda: 1000.0, lambda: 0.0)
    enqueued(journal, *(notification(number, FAILED) for number in (1, 2, 3)), notification(4, FAILED, OTHER_ARN))
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        with Journal.open_existing(journal.path) as beside:
            assert refusals(beside, "2") == {2: ""}
        sink.open.set()
        log.wait_for("notification.delivered", seq=3)
        log.wait_for("notification.delivered", seq=4)
    finally:
        sink.open.set()
        relay.stop()
        thread.join()
    assert sorted(sink.told) == ["ntf-1", "ntf-3", "ntf-4"]
    assert states(journal) == ["delivered", "discarded", "delivered", "delivered"]


def test_a_request_that_is_about_to_leave_is_stopped(journal: Journal) -> None:
    """The relay has seen it as due; between its look and its commit a person gives it up."""
    filled(journal)
    assert refusals(journal, "5") == {5: ""}
    assert not journal.begin_attempt(5, 2001.0)
    assert len(journal.query("attempts_of_entry", seq=5)) == 1
