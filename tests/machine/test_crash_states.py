"""Power loss at any point: a real journal is worked on under strace, and every disk that could be left is opened again.

On each of them the next daemon finds what had been committed, whole transactions only, and no more than was begun.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import journal_workload
from support.crash_states import Contents, CrashState, Thoroughness, crash_states, lay_out, read_contents
from support.journal_workload import Holding, holding, journal_in
from support.soak import rounds
from support.syscall_trace import Acknowledge, Step, Sync, SyncDirectory, trace

from proton_tf_agent.journal import Journal

WANDERINGS = rounds(20, 300)
THOROUGHNESS = Thoroughness(cuts=rounds(3, 7), subsets=rounds(4, 12))
TESTS = Path(__file__).parents[1]
OLD_JOURNALS = TESTS / "golden" / "journals"
NOW = 5000.0

pytestmark = pytest.mark.timeout(rounds(300, 6 * 3600))


@dataclass(frozen=True)
class Story:
    """What a process did to a journal, from which disk on, and what the journal held after each acknowledgement."""

    before: Contents
    steps: Sequence[Step]
    held: Sequence[Holding]

    def may_hold(self, state: CrashState) -> list[Holding]:
        """What the next daemon may find: what was said last, and what came next if that had begun. Opening a journal
        makes it, or brings it up to date: that is found even where it had not been said."""
        last = max(0, state.acknowledged - 1)
        end = last + 2 if state.begun and state.acknowledged else last + 1
        return list(self.held[last:end])


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory, where there is one: fsync costs nothing there."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as directory:
        yield Path(directory)


def tell(series: str, directory: Path, wanderings: int = 0) -> Story:
    """Let a workload happen in a directory, from what is in there on."""
    before = read_contents(directory)
    command = [sys.executable, "-m", journal_workload.__name__, series, str(directory), str(wanderings)]
    steps = trace(command, directory, directory.with_name(f"{directory.name}.trace"), PYTHONPATH=str(TESTS))
    held = [Holding(**json.loads(step.line)) for step in steps if isinstance(step, Acknowledge)]
    return Story(before, steps, held)


def losses(
    story: Story,
    memory: Path,
    thoroughness: Thoroughness = THOROUGHNESS,
    also_wrong: Callable[[Path], str] = lambda _place: "",
) -> Iterator[str]:
    """Open the journal on every disk; yields for each what is wrong with it, or nothing."""
    for state in crash_states(story.steps, story.before, thoroughness):
        place = memory / "disk"
        place.mkdir()
        lay_out(state.contents, place)
        wrong = what_is_wrong(str(place), story.may_hold(state)) or also_wrong(place)
        yield f"after step {state.steps}, {state.way}: {wrong}" if wrong else ""
        shutil.rmtree(place)


def what_is_wrong(place: str, may_hold: Sequence[Holding]) -> str:
    """Start a daemon's journal there; empty when all is well."""
    try:
        with Journal.open_as_daemon(journal_in(place)) as journal:
            (found,) = journal._connection.execute("PRAGMA integrity_check").fetchone()
            if found != "ok":
                return str(found)
            held = holding(journal)
            if held.digest not in [holding.digest for holding in may_hold]:
                expected = " or ".join(f"[{holding.states}] after {holding.call}" for holding in may_hold)
                return f"it holds [{held.states}], not {expected}"
            return what_is_not_due(journal)
    except Exception as error:  # whatever it is, the next daemon would not have started
        return f"{type(error).__name__}: {error}"


def what_is_not_due(journal: Journal) -> str:
    """What was on the wire must be sent again."""
    on_the_wire = [
        row["seq"] for row in journal.query("entries", after=0, limit=1_000_000) if row["state"] == "sending"
    ]
    resumed = journal.resume_after_crash(NOW)
    due = {head.seq for head in journal.heads(("proton", "console")) if head.due_at is None or head.due_at <= NOW}
    if resumed != len(on_the_wire) or not due.issuperset(on_the_wire):
        return f"of {on_the_wire}, on the wire, only {sorted(due)} are due"
    return ""


def judge(story: Story, memory: Path, at_least: int, also_wrong: Callable[[Path], str] = lambda _place: "") -> None:
    """No disk has lost anything, and enough were looked at."""
    verdicts = list(losses(story, memory, also_wrong=also_wrong))
    wrong = [verdict for verdict in verdicts if verdict]
    assert not wrong, f"{len(wrong)} of {len(verdicts)} disks:\n" + "\n".join(wrong[:10])
    assert len(verdicts) > at_least


def test_power_loss_at_any_step_loses_nothing_that_was_committed(tmp_path: Path, memory: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    judge(tell("everything", site, WANDERINGS), memory, at_least=2000)


def test_power_loss_while_what_a_crash_left_is_rolled_back_loses_nothing_either(tmp_path: Path, memory: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    story = tell("everything", site)
    hot = half_written(story)
    assert len(hot) > 10
    for number, state in enumerate(hot[:: rounds(9, 1)]):
        left = tmp_path / f"left-{number}"
        left.mkdir()
        lay_out(state.contents, left)
        again = tell("go_on", left)
        assert again.held[0].digest in [holding.digest for holding in story.may_hold(state)]
        judge(again, memory, at_least=100)


def half_written(story: Story) -> list[CrashState]:
    """The disks on which a transaction had been written but for its end: the step behind is the sync of the journal."""
    return [
        state
        for state in crash_states(story.steps, story.before, Thoroughness(cuts=0, subsets=0))
        if state.way == "everything has arrived" and state.steps < len(story.steps)
        and story.steps[state.steps] == Sync("memory/journal.db")
    ]  # fmt: skip


@pytest.mark.parametrize("old", sorted(OLD_JOURNALS.glob("*.db")), ids=lambda path: path.stem)
def test_power_loss_while_an_old_journal_is_brought_up_to_date_loses_nothing(
    old: Path, tmp_path: Path, memory: Path
) -> None:
    site = tmp_path / "site"
    (site / "memory").mkdir(mode=0o700, parents=True)
    lay_out({"memory/journal.db": old.read_bytes()}, site)

    original = rows(str(old))

    def is_not_kept(place: Path) -> str:
        return "" if rows(f"{journal_in(str(place))}.{old.stem}") == original else "the old journal is not kept"

    judge(tell("go_on", site), memory, at_least=1000, also_wrong=is_not_kept)


def rows(path: str) -> list[str]:
    """Everything a database holds; opening it must not make it."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return list(connection.iterdump())


# --- the explorer can fail -----------------------------------------------------------------------------------------


def is_found(story: Story, memory: Path) -> bool:
    """Whether some disk of a story that has been tampered with is found to have lost something."""
    return any(losses(story, memory, Thoroughness()))


def test_a_journal_that_does_not_sync_is_found_to_lose(tmp_path: Path, memory: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    assert is_found(tell("without_syncs", site), memory)


@pytest.mark.parametrize(
    "left_out",
    [Sync("memory/journal.db"), Sync("memory/journal.db-journal"), SyncDirectory("memory"), SyncDirectory("")],
    ids=repr,
)
def test_each_kind_of_sync_is_needed(left_out: Step, tmp_path: Path, memory: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    story = tell("everything", site)
    assert is_found(Story(story.before, [step for step in story.steps if step != left_out], story.held), memory)
