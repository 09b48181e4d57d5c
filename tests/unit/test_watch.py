"""Hints and rescans, against the kernel and the installed watchdog: what is lost, limited or away is found again."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from watchdog.events import DirCreatedEvent, DirMovedEvent, FileClosedEvent, FileModifiedEvent
from watchdog.observers import inotify_c
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent

from proton_tf_agent.domain.evidence import Cursor
from proton_tf_agent.sources import hints
from proton_tf_agent.sources.hints import Hints
from proton_tf_agent.sources.watch import Touched, Watch, WatchedRoot

DEADLINE_S = 20.0
T = TypeVar("T")


def test_every_directory_that_is_walked_is_a_step(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}" / "net").mkdir(parents=True)
    steps: list[None] = []
    watch = Watch([WatchedRoot(str(tmp_path), ("*.log",))], threading.Event(), beat=lambda: steps.append(None))
    watch.rescan({})
    assert len(steps) == 41


def test_directories_that_appear_within_one_another_are_looked_through_once(tmp_path: Path) -> None:
    """A job that makes a hundred directories, one below the other, makes no work for five thousand."""
    steps: list[None] = []
    watch = Watch([WatchedRoot(str(tmp_path), ("*.log",))], threading.Event(), beat=lambda: steps.append(None))
    made = [str(tmp_path / "job" / "/".join("x" * depth)) for depth in range(20)]
    path = write(f"{made[-1]}/apply.log")
    beside = write(f"{tmp_path}/job-2/apply.log")
    watch._new = [*reversed(made), f"{tmp_path}/job-2"]
    assert {look.path for look in watch.scan_new()} == {path, beside}
    assert len(steps) == 20 + 1


class Watching:
    """A watch over one root, and what it has told so far."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.wake = threading.Event()
        self.watch = Watch([WatchedRoot(root, ("*.log",))], self.wake)
        self.problems = self.watch.start()
        self.rescans = 0

    def heal(self) -> list[str]:
        self.problems = self.watch.heal()
        return self.problems

    def rescan(self) -> list[str]:
        return [look.path for look in self.watch.rescan({})[0]]

    def hears_of(self, path: str) -> Touched:
        """Wait until a file is hinted at."""
        return self._wait(lambda looks: next((look for look in looks if look.path == path), None))

    def is_asked_to_rescan(self) -> None:
        """Wait until somebody asks for a rescan."""
        asked = self.rescans
        self._wait(lambda _looks: self.rescans > asked or None)

    def _wait(self, wanted: Callable[[list[Touched]], T | None]) -> T:
        until = time.monotonic() + DEADLINE_S
        while True:
            self.wake.clear()
            looks, rescan = self.watch.take()
            self.rescans += rescan
            found = wanted(looks)
            if found is not None:
                return found
            assert self.wake.wait(until - time.monotonic()), "nothing of the kind was hinted at"


@pytest.fixture
def root(tmp_path: Path) -> str:
    path = tmp_path / "watched"
    path.mkdir()
    return str(path)


@pytest.fixture
def watching(root: str) -> Iterator[Watching]:
    watching = Watching(root)
    assert watching.problems == []
    yield watching
    watching.watch.stop()


def write(path: str) -> str:
    """Make a file, and the directories above it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a", encoding="ascii") as file:
        file.write("x")
    return path


# --- the kernel's queue -----------------------------------------------------------------------------------------


def overflow(watching: Watching) -> None:
    """Let watchdog read what the kernel writes into a queue that has no room left (inotify(7), IN_Q_OVERFLOW)."""
    reader: Any = watching.watch._kernel._observer
    reader._inotify_fd.handle_event(InotifyEvent(-1, InotifyConstants.IN_Q_OVERFLOW, 0, b""))  # type: ignore[arg-type]


def test_an_overflow_is_counted_once_and_asks_for_a_rescan(watching: Watching, root: str) -> None:
    watching.is_asked_to_rescan()
    overflow(watching)
    watching.is_asked_to_rescan()
    assert watching.watch.overflows == 1
    assert watching.heal() == []
    watching.hears_of(write(f"{root}/after.log"))


def group_of(watching: Watching) -> Any:
    """watchdog's watches of the root."""
    emitter: Any = watching.watch._kernel._emitter_of(watching.root)
    return emitter._inotify


def test_what_happens_while_all_is_watched_again_is_heard_and_looked_for(watching: Watching, root: str) -> None:
    """Who looks at everything as soon as notices are lost may be done before the last directory is watched again."""
    os.mkdir(f"{root}/net")
    watching.hears_of(write(f"{root}/net/before.log"))
    group = group_of(watching)
    watches, walk = dict(group._active_callbacks_by_path), group._walk

    def walk_meanwhile(*arguments: Any) -> Any:
        watching.is_asked_to_rescan()
        write(f"{root}/net/meanwhile.log")
        return walk(*arguments)

    group._walk = walk_meanwhile
    overflow(watching)
    assert group._active_callbacks_by_path == watches
    watching.is_asked_to_rescan()
    watching.hears_of(f"{root}/net/meanwhile.log")


def test_directories_that_came_went_or_moved_while_notices_were_lost_are_watched_as_they_are(
    watching: Watching, root: str
) -> None:
    """More happens than the kernel's queue has places while watchdog reads nothing."""
    for name in ("stays/deep", "moves/deep", "goes/deep", "is_made_anew/deep"):
        os.makedirs(f"{root}/{name}")
        watching.hears_of(write(f"{root}/{name}/before.log"))
    places = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text("ascii"))
    group, noise = group_of(watching), (f"{root}/one.x", f"{root}/other.x")
    with group._lock:
        for _ in range(places // 2 + 3000):  # in turn, for the kernel merges what repeats itself
            for path in noise:
                write(path)
        shutil.move(f"{root}/moves", f"{root}/stays/moved")
        shutil.rmtree(f"{root}/goes")
        shutil.rmtree(f"{root}/is_made_anew")
        os.makedirs(f"{root}/is_made_anew/deep")
        os.makedirs(f"{root}/comes/deep")
    there = {directory for directory, _, _ in os.walk(root)}
    until = time.monotonic() + DEADLINE_S
    while (watched := set(map(os.fsdecode, group._active_callbacks_by_path.copy()))) != there:
        watching.wake.wait(0.05)
        assert time.monotonic() < until, watched
    assert watching.watch.overflows == 1
    for directory in there:
        watching.hears_of(write(f"{directory}/after.log"))
    assert watching.heal() == []


def test_what_watchdog_logs_goes_nowhere_else(watching: Watching, capfd: pytest.CaptureFixture[str]) -> None:
    overflow(watching)
    assert capfd.readouterr().err == ""


def test_a_reader_that_has_died_is_replaced(watching: Watching, root: str) -> None:
    observer: Any = watching.watch._kernel._observer
    observer._inotify_fd.stop()
    observer._inotify_fd.join()
    assert watching.heal() == []
    watching.hears_of(write(f"{root}/after.log"))


# --- storms -----------------------------------------------------------------------------------------------------


def storm(watching: Watching, directory: str) -> None:
    """Let so much happen in a directory that it is not listened to."""
    watching.hears_of(write(f"{directory}/first.log"))
    until = time.monotonic() + DEADLINE_S
    while not watching.watch._kernel._storms.is_deaf_to(directory):
        assert time.monotonic() < until
        os.rename(f"{directory}/first.log", f"{directory}/other.log")
        os.rename(f"{directory}/other.log", f"{directory}/first.log")


def test_an_overflow_makes_nobody_listen_to_a_storm(watching: Watching, root: str) -> None:
    """A watch that the kernel has and nobody knows of fills the queue for good."""
    os.makedirs(f"{root}/stormy")
    storm(watching, f"{root}/stormy")
    overflow(watching)
    group = group_of(watching)
    told = Path(f"/proc/self/fdinfo/{group._inotify_fd._inotify_fd}").read_text("ascii")
    in_kernel = {int(wd, 16) for wd in re.findall(r"^inotify wd:([0-9a-f]+)", told, re.MULTILINE)}
    assert in_kernel == set(group._active_callbacks_by_watch)
    assert set(group._active_callbacks_by_path) == {os.fsencode(root)}


def test_one_job_that_makes_a_storm_is_not_listened_to_for_a_while_and_nobody_else_notices(
    watching: Watching, root: str
) -> None:
    os.makedirs(f"{root}/stormy/deep")
    os.makedirs(f"{root}/calm")
    storm(watching, f"{root}/stormy")
    storms = watching.watch._kernel._storms
    until = time.monotonic() + DEADLINE_S
    found: set[str] = set()

    def look_on() -> None:
        assert time.monotonic() < until
        found.update(look.path for look in (*watching.watch.take()[0], *watching.watch.scan_new()))
        watching.wake.wait(0.05)

    while f"{root}/calm/apply.log" not in found:
        write(f"{root}/calm/apply.log")  # again and again: the storm may have been more than the kernel's queue holds
        look_on()
    path = write(f"{root}/stormy/unheard.log")
    assert watching.heal() == [], "it counts as watched"
    while storms.is_deaf_to(f"{root}/stormy") or path not in found:
        look_on()
    watching.hears_of(write(f"{root}/stormy/heard.log"))


def test_a_log_that_vanishes_between_being_listed_and_looked_at_is_no_error(
    watching: Watching, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.makedirs(f"{root}/net")
    gone, kept = write(f"{root}/net/gone.log"), write(f"{root}/net/kept.log")
    listed = watching.watch._entries

    def listed_and_removed(directory: str) -> Iterator[os.DirEntry[str]]:
        for entry in listed(directory):
            if entry.name == "gone.log":
                os.unlink(gone)
            yield entry

    monkeypatch.setattr(watching.watch, "_entries", listed_and_removed)
    assert [look.path for look in watching.watch.logs_around(f"{root}/net", {})] == [kept]


# --- the kernel's limits ----------------------------------------------------------------------------------------


class Limit:
    """inotify_add_watch(2) that fails with ENOSPC once `left` watches were added, below watchdog's own code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
        self.left = left
        self._add = inotify_c.inotify_add_watch
        monkeypatch.setattr(inotify_c, "inotify_add_watch", self._limited)
        monkeypatch.setattr(hints, "_REBUILD_REST_S", 0.0)

    def _limited(self, fd: int, path: bytes, mask: int) -> int:
        if self.left <= 0:
            ctypes.set_errno(errno.ENOSPC)
            return -1
        self.left -= 1
        return self._add(fd, path, mask)


def test_directories_beyond_the_limit_are_said_with_what_mends_it_and_rescans_see_them(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        write(f"{root}/d{number}/apply.log")
    limit = Limit(monkeypatch, left=10)
    watching = Watching(root)
    assert watching.problems == [], "watchdog has not said a word"
    assert len(watching.rescan()) == 20
    (problem,) = watching.heal()
    assert problem.startswith(f"not every directory below {root} can be watched: inotify watch limit reached")
    assert "sysctl fs.inotify.max_user_watches" in problem
    assert watching.watch.is_blind
    assert watching.heal() == [problem], "the same words, so that it is said once"
    for number in range(20):
        write(f"{root}/d{number}/apply.log")
    assert len(watching.rescan()) == 20
    limit.left = 10_000
    assert watching.heal() == []
    assert not watching.watch.is_blind
    for number in range(20):
        watching.hears_of(write(f"{root}/d{number}/apply.log"))
    watching.watch.stop()


def test_a_limit_that_is_reached_later_is_noticed_too(
    watching: Watching, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Limit(monkeypatch, left=0)
    path = write(f"{root}/later/apply.log")
    assert watching.rescan() == [path]
    (problem,) = watching.heal()
    assert "inotify watch limit reached" in problem
    assert watching.watch.is_blind


def test_a_root_beyond_the_limit_is_said_and_watched_when_there_is_room(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = Limit(monkeypatch, left=0)
    watching = Watching(root)
    (problem,) = watching.problems
    assert problem.startswith(f"{root} cannot be watched: inotify watch limit reached")
    assert watching.watch.is_blind
    assert watching.rescan() == []
    path = write(f"{root}/apply.log")
    assert watching.rescan() == [path]
    limit.left = 10_000
    assert watching.heal() == []
    watching.hears_of(write(path))
    watching.watch.stop()


def test_without_an_inotify_instance_rescans_go_on(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        ctypes.set_errno(errno.EMFILE)
        return -1

    with monkeypatch.context() as patched:
        patched.setattr(inotify_c, "inotify_init", refuse)
        watching = Watching(root)
        (problem,) = watching.problems
        assert "sysctl fs.inotify.max_user_instances" in problem
        assert watching.watch.is_blind
        path = write(f"{root}/net/apply.log")
        assert watching.rescan() == [path]
    assert watching.heal() == []
    watching.hears_of(write(path))
    watching.watch.stop()


# --- roots ------------------------------------------------------------------------------------------------------


def test_a_root_that_is_not_there_yet_is_watched_when_it_appears(tmp_path: Path) -> None:
    root = str(tmp_path / "later")
    watching = Watching(root)
    assert watching.problems == [f"{root} cannot be watched: No such file or directory; rescans only"]
    assert not watching.watch.is_blind, "nothing is there that a rescan could see"
    os.mkdir(root)
    assert watching.heal() == []
    watching.is_asked_to_rescan()
    watching.hears_of(write(f"{root}/net/apply.log"))
    watching.watch.stop()


def test_a_root_that_is_a_file_is_said(tmp_path: Path) -> None:
    root = write(str(tmp_path / "file"))
    watching = Watching(root)
    assert watching.problems == [f"{root} cannot be watched: Not a directory; rescans only"]
    watching.watch.stop()


def test_a_root_that_was_deleted_and_made_again_is_watched_again(watching: Watching, root: str) -> None:
    os.rmdir(root)
    assert "No such file or directory" in watching.heal()[0]
    os.mkdir(root)
    assert watching.heal() == []
    watching.hears_of(write(f"{root}/net/apply.log"))


def test_a_root_that_was_deleted_and_made_again_between_two_looks_is_watched_again(
    watching: Watching, root: str
) -> None:
    os.rmdir(root)
    os.mkdir(root)
    emitter = watching.watch._kernel._emitter_of(root)
    assert emitter is not None
    emitter.join(DEADLINE_S)
    assert watching.heal() == []
    watching.hears_of(write(f"{root}/net/apply.log"))


def test_a_root_that_another_directory_took_the_place_of_is_watched_where_it_is_now(
    watching: Watching, root: str, tmp_path: Path
) -> None:
    """Of a rename of the root itself watchdog tells nothing, and goes on with the old directory by its old name."""
    os.rename(root, tmp_path / "old")
    os.mkdir(root)
    watching.is_asked_to_rescan()
    assert watching.heal() == []
    watching.is_asked_to_rescan()
    watching.hears_of(write(f"{root}/net/apply.log"))


def test_a_root_behind_a_symbolic_link_is_watched_by_the_name_it_was_given(tmp_path: Path) -> None:
    for name in ("one", "two"):
        os.makedirs(tmp_path / name / "net")
    root = str(tmp_path / "link")
    os.symlink("one", root)
    watching = Watching(root)
    assert watching.problems == []
    watching.hears_of(write(f"{root}/top.log"))
    watching.hears_of(write(f"{root}/net/apply.log"))
    os.unlink(root)
    os.symlink("two", root)
    assert watching.heal() == []
    watching.hears_of(write(f"{root}/net/apply.log"))
    watching.watch.stop()


def test_a_slash_at_the_end_of_a_root_changes_nothing(root: str) -> None:
    watching = Watching(root + "/")
    watching.hears_of(write(f"{root}/net/apply.log"))
    assert watching.rescan() == [f"{root}/net/apply.log"]
    watching.watch.stop()


# --- directories ------------------------------------------------------------------------------------------------


def test_a_tree_that_appears_at_once_is_heard_of_to_its_depth(watching: Watching, root: str) -> None:
    for number in range(50):
        write(f"{root}/job-{number}/a/b/c/apply.log")
    for number in range(50):
        watching.hears_of(write(f"{root}/job-{number}/a/b/c/apply.log"))
    assert watching.heal() == []


def test_a_tree_that_is_moved_in_is_heard_of(watching: Watching, root: str, tmp_path: Path) -> None:
    write(str(tmp_path / "made" / "elsewhere" / "apply.log"))
    os.rename(tmp_path / "made", f"{root}/made")
    watching.hears_of(f"{root}/made/elsewhere/apply.log")
    os.rename(f"{root}/made", f"{root}/again")
    watching.hears_of(f"{root}/again/elsewhere/apply.log")
    watching.hears_of(write(f"{root}/again/elsewhere/apply.log"))


def test_five_thousand_directories_are_all_watched(root: str) -> None:
    for number in range(5000):
        os.mkdir(f"{root}/d{number}")
    watching = Watching(root)
    assert watching.rescan() == []
    assert watching.heal() == []
    for number in (0, 2500, 4999):
        watching.hears_of(write(f"{root}/d{number}/apply.log"))
    watching.watch.stop()


def test_a_new_directory_is_looked_at_once_more_when_it_is_a_second_old(root: str) -> None:
    """Whether every file in it was announced depends on who was faster, the watch or the one who made it."""
    watch = Watch([WatchedRoot(root, ("*.log",))], threading.Event())
    path = write(f"{root}/job/net/apply.log")
    watch._hints.dispatch(DirCreatedEvent(f"{root}/job"))
    assert watch.take() == ([], False)
    assert watch.scan_new() == [], "its watch may be on its way"
    with watch._hints._lock:
        watch._hints._directories = {name: since - 1.0 for name, since in watch._hints._directories.items()}
    watch.take()
    assert [look.path for look in watch.scan_new()] == [path]
    assert watch.scan_new() == []
    watch.stop()


def test_moving_directories_about_asks_for_no_rescan() -> None:
    """A package manager does so thousands of times; each rescan would walk the whole tree."""
    collected = Hints(threading.Event())
    for number in range(100):
        collected.dispatch(DirMovedEvent("/w/node_modules/.a", f"/w/node_modules/a{number}"))
        collected.dispatch(DirMovedEvent("/w/.b", f"/w/b{number}"))
    taken = collected.take()
    assert not taken.rescan
    assert all("node_modules" not in path for path in collected._directories)


def test_so_many_new_directories_that_a_rescan_is_less_work_ask_for_one() -> None:
    collected = Hints(threading.Event())
    for number in range(1001):
        collected.dispatch(DirCreatedEvent(f"/w/d{number}"))
    assert collected.take().rescan


# --- rescans ----------------------------------------------------------------------------------------------------


def test_a_rescan_finds_a_file_again_when_its_mode_has_changed(watching: Watching, root: str) -> None:
    path = write(f"{root}/apply.log")
    assert watching.rescan() == [path]
    assert watching.rescan() == []
    os.chmod(path, 0o640)
    assert watching.rescan() == [path]


def test_a_change_of_mode_is_a_hint(watching: Watching, root: str) -> None:
    path = write(f"{root}/apply.log")
    watching.hears_of(path)
    watching.watch.take()
    os.chmod(path, 0o640)
    watching.hears_of(path)


def test_a_root_that_shows_nothing_is_no_proof_that_its_files_are_gone(watching: Watching, root: str) -> None:
    lock = f"{root}/net/.terraform.tfstate.lock.info"
    cursors = {lock: Cursor(lock, lock_id="L"), f"{root}/net/apply.log": Cursor(f"{root}/net/apply.log", 1, 1)}
    assert watching.watch.rescan(cursors) == ([], [])
    os.rmdir(root)
    assert watching.watch.rescan(cursors) == ([], [])


def test_a_lock_is_looked_at_when_it_is_gone_and_its_directory_is_not(watching: Watching, root: str) -> None:
    write(f"{root}/other/apply.log")
    lock = f"{root}/net/.terraform.tfstate.lock.info"
    cursors = {lock: Cursor(lock, lock_id="L")}
    watching.rescan()
    assert watching.watch.rescan(cursors) == ([], [lock]), "gone with its directory"
    os.mkdir(f"{root}/net")
    touched, vanished = watching.watch.rescan(cursors)
    assert ([look.path for look in touched], vanished) == ([lock], [])


def test_a_file_that_is_written_again_behind_its_closing_is_not_closed() -> None:
    """The next run has begun to write over the log, and closes it later."""
    path = "/w/apply.log"
    wrote, closed = FileModifiedEvent(path), FileClosedEvent(path)
    for told, expected in (((wrote, closed), True), ((wrote, closed, wrote), False), ((closed, wrote, closed), True)):
        heard = Hints(threading.Event())
        for event in told:
            heard.dispatch(event)
        assert heard.take().files == {path: expected}
