"""The daily check: rot in what nobody looks at is found while the agent works, and the next agent salvages."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from support.agents import DEADLINE_S, AgentThread, settings_for
from support.journals import NOW, Told, fill, rows_in, taken_up
from support.outboxes import states

from proton_tf_agent.journal import Journal
from proton_tf_agent.journal_care import CHECK_EVERY_S, DailyCheck, _Interruptible


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "memory" / "journal.db")


@pytest.fixture
def journal(path: str) -> Iterator[Journal]:
    with taken_up(path) as journal:
        fill(journal)
        yield journal


class Watched:
    """A daily check at a moment of the clock, and what it says. damaged: it has
    found some; went_on: it has found none."""

    def __init__(self, journal: Journal, now: float) -> None:
        self.told: Told = []
        self.damaged, self.went_on = threading.Event(), threading.Event()
        self._now, self._asked = now, 0
        self.check = DailyCheck(journal, self._tell, self._clock, self.damaged.set)

    def _tell(self, name: str, keys: Mapping[str, object]) -> None:
        self.told.append((name, dict(keys)))

    def _clock(self) -> float:
        """Asked before each wait, and when a check is over."""
        self._asked += 1
        if self._asked == 3:
            self.went_on.set()
        return self._now

    def close(self) -> None:
        self.check.stop()


def rot_where_nobody_looks(path: str) -> None:
    """Flip a bit of an entry that was delivered long ago."""
    body = rows_in(path)["outbox"][1][7]
    assert isinstance(body, bytes)
    with open(path, "r+b") as file:
        at = file.read().index(body)
        os.pwrite(file.fileno(), b"?", at + len(body) // 2)


def test_a_sound_journal_is_looked_at_once_a_day(journal: Journal) -> None:
    later = NOW + CHECK_EVERY_S
    with closing(Watched(journal, later)) as watched:
        watched.check.start()
        assert watched.went_on.wait(DEADLINE_S)
    assert journal.memory().checked_at == later
    assert not watched.told
    assert not watched.damaged.is_set()


def test_before_that_it_is_left_in_peace_and_may_be_stopped(journal: Journal) -> None:
    with closing(Watched(journal, NOW + CHECK_EVERY_S - 1)) as watched:
        watched.check.start()
    assert journal.memory().checked_at == NOW


def test_a_check_that_is_asked_to_end_looks_at_nothing_more(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows are left: an agent that is stopped has fifteen seconds."""
    looked, look = [], _Interruptible.query_undecoded

    def noting(kept: _Interruptible, name: str, **values: object) -> object:
        found = look(kept, name, **values)
        looked.append(name)
        watched.check._stopping.set()
        return found

    monkeypatch.setattr(_Interruptible, "query_undecoded", noting)
    with closing(Watched(journal, NOW + CHECK_EVERY_S)) as watched:
        watched.check.start()
        watched.check._thread.join(DEADLINE_S)
    assert len(looked) == 1
    assert journal.memory().checked_at == NOW


def test_rot_is_told_and_the_next_agent_looks_at_every_row(journal: Journal, path: str) -> None:
    rot_where_nobody_looks(path)
    with closing(Watched(journal, NOW + CHECK_EVERY_S)) as watched:
        watched.check.start()
        assert watched.damaged.wait(DEADLINE_S)
    ((name, keys),) = watched.told
    assert name == "journal.damaged"
    assert "seq 1" in str(keys["reason"])
    before = states(journal)
    journal.close()
    told: Told = []
    with taken_up(path, told) as journal:
        assert states(journal) == before[1:]
    ((name, keys),) = told
    assert (name, keys["lost_by_table"]) == ("journal.salvaged", {"outbox": 1})


def test_an_agent_that_ends_in_order_is_followed_by_a_short_look_one_that_does_not_by_a_long_one(path: str) -> None:
    """The rot is where only a long look would see it: in an overflow page, or an entry that is done."""
    with taken_up(path) as journal:
        fill(journal)
        journal.remember(ended_well=True)
    rot_where_nobody_looks(path)
    told: Told = []
    taken_up(path, told).close()
    assert not told
    with taken_up(path) as journal:
        journal.remember(suspect=True)
    taken_up(path, told).close()
    assert [name for name, _ in told] == ["journal.salvaged"]


def test_an_agent_that_finds_damage_ends_with_an_error(tmp_path: Path, path: str) -> None:
    with taken_up(path) as journal:
        fill(journal)
        journal.remember(ended_well=True, checked_at=0.0)
    rot_where_nobody_looks(path)
    with AgentThread(settings_for(str(tmp_path / "watched"), path, "http://127.0.0.1:9")) as agent:
        agent.log.wait_for("journal.damaged")
        agent.log.wait_for("agent.stopping")
    assert agent.exit_code == 1
