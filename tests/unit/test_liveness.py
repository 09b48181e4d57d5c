"""Is somebody still at work: real processes with real locks and real logs, alive and killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.holders import LOCKER, OPENER, Start

from proton_tf_agent.sources.liveness import Presence, lock_holder, sees_every_process, writers


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "terraform.tfstate"
    path.write_bytes(b"{}")
    return path


def holder(path: Path) -> Presence:
    fd = os.open(path, os.O_RDONLY)
    try:
        return lock_holder(fd)
    finally:
        os.close(fd)


def key(path: Path) -> tuple[int, int]:
    status = path.stat()
    return (status.st_dev, status.st_ino)


def writer(path: Path) -> Presence:
    return writers({key(path)})[key(path)]


def test_a_lock_that_nobody_holds_has_no_holder(path: Path) -> None:
    assert holder(path) is Presence.ABSENT


def test_a_process_that_holds_the_lock_is_present_until_it_unlocks(path: Path, start: Start) -> None:
    child = start(LOCKER, str(path))
    assert holder(path) is Presence.PRESENT
    child.tell("unlock")
    assert holder(path) is Presence.ABSENT


def test_a_killed_process_holds_nothing(path: Path, start: Start) -> None:
    child = start(LOCKER, str(path))
    assert holder(path) is Presence.PRESENT
    child.kill()
    assert holder(path) is Presence.ABSENT


def test_asking_takes_no_lock_and_breaks_none(path: Path, start: Start) -> None:
    """Closing a descriptor drops one's own locks on the file, and only one's own."""
    assert holder(path) is Presence.ABSENT
    start(LOCKER, str(path))  # it gets the lock though we have just asked
    for _ in range(20):
        assert holder(path) is Presence.PRESENT


def test_a_file_that_cannot_be_asked_about_is_unknown() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    os.close(reading)
    assert lock_holder(reading) is Presence.UNKNOWN


@pytest.mark.parametrize("mode", ["O_WRONLY", "O_RDWR"])
def test_a_process_that_has_the_log_open_for_writing_is_present_until_it_closes_it(
    path: Path, start: Start, mode: str
) -> None:
    child = start(OPENER, str(path), mode)
    assert writer(path) is Presence.PRESENT
    child.tell("close")
    assert writer(path) is not Presence.PRESENT


def test_a_killed_writer_is_gone(path: Path, start: Start) -> None:
    child = start(OPENER, str(path), "O_WRONLY")
    assert writer(path) is Presence.PRESENT
    child.kill()
    assert writer(path) is not Presence.PRESENT


def test_a_reader_is_no_writer(path: Path, start: Start) -> None:
    start(OPENER, str(path), "O_RDONLY")
    assert writer(path) is not Presence.PRESENT


def test_no_writer_means_absent_only_where_every_process_can_be_looked_into(path: Path, start: Start) -> None:
    """Not as another user than root, and not in a container."""
    child = start(OPENER, str(path), "O_WRONLY")
    child.kill()
    sees_all = os.geteuid() == 0 and sees_every_process()
    assert writer(path) is (Presence.ABSENT if sees_all else Presence.UNKNOWN)


def test_one_pass_answers_for_many_logs(tmp_path: Path, start: Start) -> None:
    logs = [tmp_path / f"{n}.log" for n in range(5)]
    for log in logs:
        log.write_bytes(b"")
    start(OPENER, str(logs[1]), "O_WRONLY")
    start(OPENER, str(logs[3]), "O_RDWR")
    found = writers({key(log) for log in logs})
    assert [found[key(log)] is Presence.PRESENT for log in logs] == [False, True, False, True, False]


def test_a_log_that_was_renamed_or_deleted_still_has_its_writer(path: Path, start: Start) -> None:
    start(OPENER, str(path), "O_WRONLY")
    before = key(path)
    path.unlink()
    assert writers({before})[before] is Presence.PRESENT


@pytest.mark.parametrize("visible", [(), ("4711",)], ids=["no process", "only our own"])
def test_where_processes_are_hidden_nobody_is_said_to_be_absent(
    path: Path, tmp_path: Path, visible: tuple[str, ...]
) -> None:
    """hidepid, ProtectProc=invisible, or no /proc at all."""
    for pid in visible:
        (tmp_path / "proc" / pid / "fd").mkdir(parents=True)
    assert writers({key(path)}, str(tmp_path / "proc")) == {key(path): Presence.UNKNOWN}


def test_where_no_file_is_asked_about_nothing_is_answered() -> None:
    assert writers(set()) == {}
