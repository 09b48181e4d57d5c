"""The reserve: what is in it, who may use it, and what is done once it is used up.

The disk's limit is SQLite's own, `max_page_count`: what needs one page more fails as on a full disk.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from support.agents import Heard
from support.outboxes import enqueued, notification, states
from support.sinks import Accepting

from proton_tf_agent.domain.errors import JournalFull
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.journal import Journal, Part
from proton_tf_agent.journal_file import is_marked_full
from proton_tf_agent.journal_reserve import PIECE, ROLLBACK_JOURNAL
from proton_tf_agent.journal_room import JournalRoom
from proton_tf_agent.overview import overview
from proton_tf_agent.relay import Relay

PIECES = 16  # two of them for deliveries alone
AMPLE = 1_000_000
ACCEPTED = Outcome(OutcomeKind.ACCEPTED, http_status=200, request_id="r" * 9000)  # needs pages of its own


@pytest.fixture
def journal(journal_path: str) -> Iterator[Journal]:
    with Journal.open_as_daemon(journal_path, reserve=PIECES * PIECE) as journal:
        yield journal


@pytest.fixture
def log() -> Heard:
    return Heard()


@pytest.fixture
def room(journal: Journal, log: Heard) -> JournalRoom:
    return JournalRoom(journal, Part.EVIDENCE, log.tell)


def limit(journal: Journal, pages: int = 0) -> None:
    """Let the journal get no more than so many pages beyond those it has."""
    has = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {has + pages}")


def pieces(journal: Journal) -> int:
    (row,) = journal.query("count_filler")
    return int(row[0])


def use_up(journal: Journal, part: Part, numbers: Iterator[int]) -> int:
    """Enqueue until there is no room; returns how many entries there was room for."""
    for entries in count():
        try:
            journal.commit(lambda: journal.enqueue(notification(next(numbers), text="x" * 4000), "b", 1.0), part)
        except JournalFull:
            return entries
    raise AssertionError


# --- what is in it ----------------------------------------------------------------------------------------------


def test_it_is_fetched_once_and_kept(journal: Journal, journal_path: str) -> None:
    assert pieces(journal) == 0, "opening a journal must not take long"
    assert journal.refill(Part.EVIDENCE)
    assert pieces(journal) == PIECES
    assert os.path.getsize(journal_path) > PIECES * PIECE
    assert os.path.getsize(f"{journal_path}-journal") >= ROLLBACK_JOURNAL
    size = os.path.getsize(journal_path)
    journal.close()
    with Journal.open_as_daemon(journal_path, reserve=PIECES * PIECE) as journal:
        assert journal.is_reserve_whole
        journal.refill(Part.EVIDENCE)
    assert os.path.getsize(journal_path) == size


def test_what_has_cut_the_rollback_journal_short_is_made_good(journal: Journal, journal_path: str) -> None:
    journal.refill(Part.EVIDENCE)
    os.truncate(f"{journal_path}-journal", 0)
    journal.refill(Part.EVIDENCE)
    assert os.path.getsize(f"{journal_path}-journal") >= ROLLBACK_JOURNAL
    enqueued(journal, notification(1))
    assert states(journal) == ["sending"]


def test_it_is_said_once_that_there_is_no_room_for_it_and_once_that_there_is(
    journal: Journal, room: JournalRoom, log: Heard
) -> None:
    limit(journal)
    room.keep()
    room.keep()
    assert log.lines() == [("journal.short", {"journal": journal.path})]
    enqueued(journal, notification(1))
    limit(journal, AMPLE)
    room.keep()
    room.keep()
    assert log.lines()[1:] == [("journal.refilled", {"journal": journal.path})]


# --- who may use it ---------------------------------------------------------------------------------------------


def test_evidence_leaves_to_deliveries_what_is_theirs(journal: Journal) -> None:
    journal.refill(Part.EVIDENCE)
    limit(journal)
    numbers = count(1)
    assert use_up(journal, Part.EVIDENCE, numbers) > 100
    assert pieces(journal) == 2
    assert use_up(journal, Part.DELIVERIES, numbers) > 10
    assert pieces(journal) == 0


def test_work_that_finds_no_room_is_done_again_from_its_beginning_and_once_in_the_end(journal: Journal) -> None:
    journal.refill(Part.EVIDENCE)
    limit(journal)
    tries = 0

    def work() -> str:
        nonlocal tries
        tries += 1
        for number in range(10):
            journal.enqueue(notification(number, Status.FAILED, text="x" * 40_000), "a", 1.0)
        return "done"

    assert journal.commit(work, Part.EVIDENCE) == "done"
    assert tries > 2
    assert len(states(journal)) == 10


def test_who_does_not_hold_the_journal_does_not_use_its_reserve(journal: Journal) -> None:
    journal.refill(Part.EVIDENCE)
    with Journal.open_existing(journal.path) as beside:
        limit(beside)
        with pytest.raises(JournalFull, match="disk is full"):
            beside.commit(lambda: beside.enqueue(notification(1, text="x" * 40_000), "a", 1.0), Part.EVIDENCE)
    assert pieces(journal) == PIECES


def test_nothing_of_what_has_failed_for_another_reason_is_done_again(journal: Journal) -> None:
    journal.refill(Part.EVIDENCE)
    tries = 0

    def work() -> None:
        nonlocal tries
        tries += 1
        raise sqlite3.OperationalError("no such table: elsewhere")

    with pytest.raises(sqlite3.OperationalError):
        journal.commit(work, Part.EVIDENCE)
    assert tries == 1
    assert pieces(journal) == PIECES


# --- when it is used up -----------------------------------------------------------------------------------------


def test_who_waits_is_seen_by_the_commands_beside_and_says_so_once(
    journal: Journal, room: JournalRoom, log: Heard
) -> None:
    journal.refill(Part.EVIDENCE)
    limit(journal)
    numbers = count(1)
    use_up(journal, Part.EVIDENCE, numbers)
    for _ in range(2):
        room.used_up()
        assert not room.has_returned()
    assert is_marked_full(journal.path)
    assert overview(journal, True, 1.0)["degraded"] == "journal-full"
    assert overview(journal, False, 1.0)["degraded"] is None, "whoever waited is gone"
    limit(journal, AMPLE)
    assert room.has_returned()
    assert not is_marked_full(journal.path)
    assert overview(journal, True, 1.0)["degraded"] is None
    told = {"journal": journal.path, "part": "evidence"}
    assert log.lines() == [("journal.full", told), ("journal.recovered", told)]
    assert pieces(journal) == PIECES


def test_little_room_is_not_enough_to_go_on(journal: Journal, room: JournalRoom) -> None:
    """Else it would stop and go on all the time."""
    journal.refill(Part.EVIDENCE)
    limit(journal)
    use_up(journal, Part.EVIDENCE, count(1))
    room.used_up()
    limit(journal, 3 * PIECE // 4096)
    assert not room.has_returned()


def test_what_cannot_be_recorded_is_not_sent_and_what_was_sent_is_recorded_later(journal: Journal, log: Heard) -> None:
    """The request is under way when the last room is used up: its answer waits, and it is not sent again."""
    journal.refill(Part.EVIDENCE)
    sink, now = Accepting("a", ACCEPTED), 1000.0
    under_way: list[Callable[[], object]] = []
    relay = Relay(
        journal, {"a": sink}, log.tell, lambda: now, lambda: 0.5, ticks=lambda: now, submit=under_way.append
    )  # fmt: skip
    arns = [f"arn:aws:proton:eu-west-1:123456789012:environment/{name}" for name in ("first", "second")]
    enqueued(journal, notification(1, Status.FAILED, arns[0]), sink="a")
    relay.nudge()
    relay.turn()
    (request,) = under_way
    limit(journal)
    numbers = count(100)
    use_up(journal, Part.EVIDENCE, numbers)
    use_up(journal, Part.DELIVERIES, numbers)
    enqueued(journal, notification(2, Status.FAILED, arns[1]), sink="a")  # so little has room in a page that is there
    request()
    for _ in range(3):
        relay.nudge()
        relay.turn()
    assert (sink.sent, len(under_way)) == (["ntf-1"], 1)
    assert [states(journal)[0], states(journal)[-1]] == ["sending", "sending"]
    told = {"journal": journal.path, "part": "deliveries"}
    assert log.lines() == [("journal.full", told)]
    limit(journal, AMPLE)
    relay.turn()
    assert states(journal)[0] == "delivered"
    assert len(under_way) == 2
    assert [line for line in log.lines() if line[0].startswith("journal.")][1:] == [("journal.recovered", told)]
    under_way[1]()
    relay.turn()
    assert (sink.sent, states(journal)[-1]) == (["ntf-1", "ntf-2"], "delivered")
