"""The journal's disk is full at any moment: nothing is lost, nothing is told twice, and the journal comes to hold the
rows that it would hold if there had been room all the time.

The limit is SQLite's own (`max_page_count`): the statement that needs one page more fails as it does on a full disk. It
is put behind each page in turn that pipeline and relay ask for while runs are seen and told. What is done then is what
the agent does: what was not committed is looked at again by a new pipeline on the same journal, once there is room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from support.facts import LOGS
from support.sinks import Accepting
from support.watching import bind_directory

from proton_tf_agent import journal_reserve, journal_store
from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.errors import JournalFull
from proton_tf_agent.domain.evidence import Fact, Observation
from proton_tf_agent.domain.run import Patience
from proton_tf_agent.journal import Journal, Part
from proton_tf_agent.pipeline import Addressee, Pipeline, Rules, proton_objection
from proton_tf_agent.relay import Relay
from proton_tf_agent.run_directories import RunDirectories
from proton_tf_agent.settings import AllowSettings, Settings
from proton_tf_agent.sources.observe import observe
from proton_tf_agent.sources.place import place_of
from proton_tf_agent.sources.safe_open import SafeOpener
from proton_tf_agent.sources.watch import Touched

ARN = "arn:aws:proton:us-east-1:111122223333:environment/"
DEPLOYMENT_ID = "fcda9f18-f569-4079-8474-0832f45b97ea"
NOW = 1_900_000_000.0
AMPLE = 1_000_000  # pages
TABLES = ("cursor", "run", "evidence", "outbox", "attempt", "circuit", "sqlite_sequence")
# Of a run that goes well, one that does not, and one whose verdict has to wait.
LOGS_OF_RUNS = ("apply_ok.log", "apply_partial_failure.log", "sigkill.log")
PAGE = 512  # bytes; the smaller, the more statements need one more
PIECE = 8 * PAGE

Step = Callable[["Agent"], None]


class Agent:
    """Pipeline and relay on one journal, and how much room that has."""

    def __init__(self, root: str, journal: Journal) -> None:
        self.journal = journal
        self.sink = Accepting()
        self.told: list[tuple[str, object]] = []
        self.ticks = 0.0
        self.fullness = 0
        self._opener = SafeOpener([root])
        self._settings = Settings(allow=AllowSettings(("arn:aws:proton:*",)))
        self.relay = Relay(
            journal, {"proton": self.sink}, lambda name, keys: self.told.append((name, keys.get("part"))),
            lambda: NOW, lambda: 0.5, ticks=lambda: self.ticks, submit=lambda work: work(),
        )  # fmt: skip
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what is not in the journal."""
        self.pipeline = Pipeline(
            self.journal, RunDirectories(self._opener, self._settings),
            [Addressee("proton", self.sink.wants, proton_objection)], Rules(Patience(10.0, 3.0)), lambda _told: None,
        )  # fmt: skip

    def limit(self, pages: int) -> None:
        """Let the journal get no more than so many pages beyond those it has."""
        has = self.journal._connection.execute("PRAGMA page_count").fetchone()[0]
        self.journal._connection.execute(f"PRAGMA max_page_count = {has + pages}")

    def look(self, *directories: str) -> None:
        """Look at the logs of directories, in one batch."""
        seen = [self._observation(f"{directory}/apply.log") for directory in directories]
        self.pipeline.absorb([one for one in seen if one is not None], NOW, lambda _path: 0.0)

    def _observation(self, path: str) -> Observation | None:
        place = place_of(path, ("*.log",))
        assert place is not None
        return observe(self._opener, Touched(path, place, closed=False), self.pipeline.cursors.get(path))

    def close_logs(self) -> None:
        """Nobody writes the logs of open runs any more."""
        self.pipeline.absorb(
            [
                Observation("liveness", r.log_path, r.directory, r.workspace, (Fact(ev.LogClosed(), r.anchor),), None)
                for r in sorted(self.pipeline.open_runs, key=lambda run: run.directory)
            ],
            NOW,
            lambda _path: 0.0,
        )

    def elapse(self) -> None:
        """Verdicts that wait come due."""
        self.pipeline.elapse(NOW + 60.0)

    def deliver(self) -> None:
        """Let the relay have turns enough for everything that is due; a disk that is full has room again in between."""
        for _ in range(20):
            self.ticks += 1.0
            self.relay.turn()
            if self.relay._room.is_used_up:
                sent = list(self.sink.sent)
                self.relay.turn()
                assert self.sink.sent == sent, "something was sent that cannot be recorded"
                self.fullness += 1
                self.limit(AMPLE)

    def run_through(self, story: list[Step]) -> None:
        """One step after the other, from the beginning once the disk was full: what is known already adds nothing."""
        left = list(story)
        while left:
            try:
                left[0](self)
            except JournalFull:
                self.fullness += 1
                before = rows(self.journal)
                self.begin_anew()
                with pytest.raises(JournalFull):
                    left[0](self)
                assert rows(self.journal) == before
                self.limit(AMPLE)
                self.begin_anew()
                continue
            left.pop(0)


def rows(journal: Journal) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that the journal knows."""
    execute = journal._connection.execute
    return {table: [tuple(row) for row in execute(f"SELECT * FROM {table}")] for table in TABLES}


@contextmanager
def journal_of_small_pages(directory: Path, reserve: int = 0) -> Iterator[Journal]:
    """A new journal with as much of a reserve."""
    with Journal.open_as_daemon(str(directory / "journal.db"), reserve=reserve) as journal:
        for small_and_fast in (f"PRAGMA page_size = {PAGE}", "VACUUM", "PRAGMA synchronous = OFF"):
            journal._connection.execute(small_and_fast)
        journal.refill(Part.EVIDENCE)
        yield journal


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "watched")


def looking_at(*directories: str) -> Step:
    return lambda agent: agent.look(*directories)


@pytest.fixture
def story(root: str) -> list[Step]:
    """Runs that begin, go on and end, some seen together; everything due is delivered after each look."""
    steps: list[Step] = []
    directories = []
    for number, name in enumerate(LOGS_OF_RUNS * 2):
        directory = f"{root}/unit-{number}"
        bind_directory(directory, f"{ARN}unit-{number}", DEPLOYMENT_ID)
        (Path(directory) / "apply.log").write_bytes((LOGS / name).read_bytes())
        directories.append(directory)
    for first, second in zip(directories[::2], directories[1::2], strict=True):
        steps += [looking_at(first, second), Agent.deliver, Agent.close_logs]
        steps += [Agent.elapse, Agent.deliver]
    return steps


@pytest.mark.parametrize(("pieces", "moments"), [(0, 100), (10, 50)], ids=["without a reserve", "with a small one"])
def test_a_full_disk_at_any_page_changes_no_row(
    tmp_path: Path, root: str, story: list[Step], pieces: int, moments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (journal_reserve, journal_store):
        monkeypatch.setattr(module, "PIECE", PIECE)
    with journal_of_small_pages(tmp_path / "undisturbed") as journal:
        undisturbed = Agent(root, journal)
        undisturbed.run_through(story)
        expected = rows(journal)
    assert len(undisturbed.sink.sent) > len(LOGS_OF_RUNS)
    for pages in count():
        with journal_of_small_pages(tmp_path / str(pages), pieces * PIECE) as journal:
            agent = Agent(root, journal)
            agent.limit(pages)
            agent.run_through(story)
            assert rows(journal) == expected, f"{pages} pages"
            assert agent.sink.sent == undisturbed.sink.sent, f"{pages} pages"
            if not agent.fullness:
                break
    assert pages > moments
