"""What may be concluded from files that are not there: nothing, as long as somebody may be at work on them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.holders import LOCKER, Start

from proton_tf_agent.domain import evidence as ev
from proton_tf_agent.domain.evidence import Cursor, Evidence
from proton_tf_agent.domain.run import Lock, Log, Run
from proton_tf_agent.domain.values import replace
from proton_tf_agent.sources import liveness
from proton_tf_agent.sources.liveness import Presence
from proton_tf_agent.sources.lock_file import lock_info_path_of
from proton_tf_agent.sources.observe import observe
from proton_tf_agent.sources.place import place_of
from proton_tf_agent.sources.processes import Processes
from proton_tf_agent.sources.safe_open import SafeOpener
from proton_tf_agent.sources.watch import Touched

LOCK_ID = "11111111-2222-3333-4444-555555555555"


class Scene:
    """A run directory below a root, with a log that somebody is writing."""

    def __init__(self, base: Path) -> None:
        self.root = str(base / "watched")
        self.directory = f"{self.root}/net"
        os.makedirs(self.directory)
        os.mkdir(f"{self.root}/other")
        self.log, self.state = f"{self.directory}/apply.log", f"{self.directory}/terraform.tfstate"
        self.lock = lock_info_path_of(self.state)
        self.writer = os.open(self.log, os.O_CREAT | os.O_WRONLY)
        for path in (self.state, self.lock):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        status = os.fstat(self.writer)
        self.cursors = {self.log: Cursor(self.log, status.st_dev, status.st_ino)}
        self.run = Run(
            "run-1", self.directory, 1.0, log_path=self.log, log=Log.OPEN, anchor="a", state_path=self.state,
            lock_id=LOCK_ID, lock=Lock.HELD,
        )  # fmt: skip

    def end(self) -> None:
        """Whoever wrote the log is gone."""
        if self.writer >= 0:
            os.close(self.writer)
        self.writer = -1

    def facts(self, run: Run | None = None) -> list[Evidence]:
        """What a probe tells of the run."""
        observations = Processes(SafeOpener([self.root])).probe([run or self.run], (), self.cursors)
        return [fact.evidence for observation in observations for fact in observation.facts]

    def look_at_lock(self) -> list[Evidence]:
        """What a look at the lock info tells, when it was seen before."""
        place = place_of(self.lock, ())
        assert place is not None
        seen = Cursor(self.lock, lock_id=LOCK_ID)
        observation = observe(SafeOpener([self.root]), Touched(self.lock, place, closed=False), seen)
        return [fact.evidence for fact in observation.facts] if observation else []


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.end()


def test_a_lock_that_is_gone_from_its_directory_was_released(scene: Scene) -> None:
    os.unlink(scene.lock)
    assert scene.look_at_lock() == [ev.LockReleased(LOCK_ID)]


def test_a_lock_that_is_gone_with_its_directory_was_not(scene: Scene) -> None:
    shutil.rmtree(scene.directory)
    assert scene.look_at_lock() == []


def test_a_lock_that_is_gone_with_the_whole_root_was_not(scene: Scene) -> None:
    os.rename(scene.root, scene.root + ".away")
    assert scene.look_at_lock() == []
    os.mkdir(scene.root)
    assert scene.look_at_lock() == []


def test_a_run_whose_deleted_log_is_still_written_goes_on(scene: Scene) -> None:
    os.unlink(scene.log)
    assert scene.facts(replace(scene.run, lock=Lock.UNSEEN)) == []
    shutil.rmtree(scene.directory)
    assert scene.facts() == []


def test_a_run_whose_root_is_away_goes_on_as_long_as_its_log_is_written(scene: Scene) -> None:
    os.rename(scene.root, scene.root + ".away")
    assert scene.facts() == []
    os.mkdir(scene.root)
    assert scene.facts() == [], "as empty as what is not mounted"
    assert scene.facts(replace(scene.run, lock=Lock.UNSEEN)) == []


def test_a_run_that_is_gone_with_its_directory_has_left_nothing_to_judge_by(scene: Scene) -> None:
    shutil.rmtree(scene.directory)
    scene.end()
    assert scene.facts() == [ev.TracesGone(LOCK_ID)]


def test_a_run_whose_log_is_gone_and_written_by_nobody_has_left_nothing_to_judge_by(scene: Scene) -> None:
    os.unlink(scene.log)
    scene.end()
    assert scene.facts(replace(scene.run, lock=Lock.UNSEEN)) == [ev.TracesGone(LOCK_ID)]


@pytest.mark.parametrize("known", [True, False])
def test_where_processes_are_hidden_a_root_that_shows_nothing_is_waited_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    monkeypatch.setattr(liveness, "writers", lambda files: dict.fromkeys(files, Presence.UNKNOWN))
    scene.cursors = scene.cursors if known else {}
    shutil.rmtree(scene.directory)
    assert scene.facts() == [ev.TracesGone(LOCK_ID)]
    os.rmdir(f"{scene.root}/other")
    assert scene.facts() == []
    os.rmdir(scene.root)
    assert scene.facts() == []


def test_a_run_without_a_log_is_over_when_its_directory_is_gone_from_a_root_that_is_there(scene: Scene) -> None:
    run = replace(scene.run, log=Log.ABSENT, log_path="", anchor="")
    shutil.rmtree(scene.directory)
    assert scene.facts(run) == [ev.TracesGone(LOCK_ID)]
    os.rmdir(f"{scene.root}/other")
    assert scene.facts(run) == []


def test_of_a_log_that_must_not_be_read_nothing_is_concluded(scene: Scene) -> None:
    """What it holds behind what was read would not be heard."""
    scene.end()
    os.unlink(scene.log)
    os.symlink("/etc/hostname", scene.log)
    assert scene.facts(replace(scene.run, lock=Lock.UNSEEN)) == []


def test_a_log_that_is_there_and_written_by_nobody_is_closed(scene: Scene) -> None:
    scene.end()
    assert scene.facts(replace(scene.run, lock=Lock.RELEASED)) == [ev.LogClosed(os.stat(scene.log).st_mtime)]


# --- a log that is written over ------------------------------------------------------------------------------------

VERSION = b'{"@level":"info","@module":"terraform.ui","terraform":"1.11.4","type":"version","ui":"1.2"%s}\n'


@pytest.mark.parametrize("presence", [Presence.ABSENT, Presence.UNKNOWN])
@pytest.mark.parametrize("when", ["never", "before the look", "before it was asked"])
def test_a_log_is_complete_only_as_it_was_when_nobody_wrote_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, presence: Presence, when: str
) -> None:
    """Where processes are hidden, the kernel's notice may be of the writer before the one that began the file anew."""
    opener = SafeOpener([scene.root])
    place = place_of(scene.log, ("*.log",))
    assert place is not None
    os.write(scene.writer, VERSION % b"")
    touched = Touched(scene.log, place, closed=True)
    first = observe(opener, touched, None)
    assert first is not None
    scene.end()

    def write_over() -> None:
        Path(scene.log).write_bytes(VERSION % b',"@message":"the next"')

    if when == "before it was asked":
        write_over()
    monkeypatch.setattr(liveness, "writers", lambda files: dict.fromkeys(files, presence))
    complete = Processes(opener).complete_logs([touched])[scene.log]
    if when == "before the look":
        write_over()
    seen = observe(opener, complete, first.cursor)
    assert seen is not None
    ended = {fact.anchor for fact in seen.facts if isinstance(fact.evidence, ev.LogClosed)}
    cut = {fact.anchor for fact in seen.facts if isinstance(fact.evidence, ev.LogOverwritten)}
    assert first.cursor is not None
    begun = [fact.anchor for fact in seen.facts if isinstance(fact.evidence, ev.OperationStarted)]
    old = first.cursor.marks[0].anchor
    if when == "never":
        assert (begun, ended, cut) == ([], {old}, set())
    elif when == "before it was asked" and presence is Presence.ABSENT:
        assert (ended, cut) == ({*begun}, {old})
    else:
        assert (ended, cut) == (set(), {old}), "the next has only begun"


# --- whose lock it is that somebody holds ---------------------------------------------------------------------------


def info_of(lock_id: str) -> bytes:
    return json.dumps({"ID": lock_id, "Operation": "OperationTypeApply"}).encode()


NEXT = info_of("99999999-2222-3333-4444-555555555555")


@pytest.mark.parametrize(
    ("info", "expected"),
    [(info_of(LOCK_ID), True), (NEXT, False), (b"", False), (NEXT[:20], False), (None, False)],
    ids=["its own", "the next run's", "made and not written", "half written", "gone"],
)
def test_a_run_is_alive_while_its_lock_is_held_and_still_names_it(
    scene: Scene, start: Start, info: bytes | None, expected: bool
) -> None:
    """Terraform locks the state first and then writes whose lock it is."""
    Path(scene.lock).unlink() if info is None else Path(scene.lock).write_bytes(info)
    processes = Processes(SafeOpener([scene.root]))
    assert not processes.is_alive(scene.run), "nobody holds it"
    start(LOCKER, scene.state)
    assert processes.is_alive(scene.run) is expected


@pytest.mark.parametrize(
    ("info", "then", "expected"),
    [
        (info_of(LOCK_ID), Presence.ABSENT, [ev.HolderGone(LOCK_ID)]),
        (NEXT, Presence.ABSENT, []),
        (b"", Presence.PRESENT, []),
        (b"", Presence.UNKNOWN, []),
        (b"", Presence.ABSENT, [ev.HolderGone(LOCK_ID)]),
    ],
    ids=["left behind", "the next run's", "being written", "perhaps being written", "left torn"],
)
def test_a_lock_that_is_being_written_was_not_left_behind(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, info: bytes, then: Presence, expected: list[Evidence]
) -> None:
    """The next run takes the lock between two questions: who holds it, and whose it is."""
    Path(scene.lock).write_bytes(info)
    answers = [then, Presence.ABSENT]
    monkeypatch.setattr(liveness, "lock_holder", lambda _fd: answers.pop())
    assert scene.facts() == expected
