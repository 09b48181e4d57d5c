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


def asked(*files: tuple[int, int]) -> dict[tuple[int, int], Presence]:
    return writers(dict.fromkeys(files, -1))


def writer(path: Path) -> Presence:
    return asked(key(path))[key(path)]


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
    """Not as another user than root, nor with less rights than a process has, and not in a container."""
    child = start(OPENER, str(path), "O_WRONLY")
    child.kill()
    sees_all = sees_every_process() and may_look_into_all()
    assert writer(path) is (Presence.ABSENT if sees_all else Presence.UNKNOWN)


def may_look_into_all() -> bool:
    """Into init nobody need look: it writes no run's log."""
    for process in (name for name in os.listdir("/proc") if name.isdigit() and name != "1"):
        try:
            for link in os.listdir(f"/proc/{process}/fd"):
                os.readlink(f"/proc/{process}/fd/{link}")
        except PermissionError:
            return False
        except FileNotFoundError:
            continue
    return True


class Proc:
    """A /proc that shows every process of a host, as it is told."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for name in ("1", "self"):
            self.process(name, {})
        (place / "self/ns/pid").symlink_to("pid:[4026531836]")

    def process(self, pid: str, mounts: dict[int, int]) -> None:
        """A process in a mount namespace of its own: by mount, the device that it lies on."""
        process = self.place / pid
        for directory in ("fd", "fdinfo", "ns"):
            (process / directory).mkdir(parents=True)
        (process / "ns/mnt").symlink_to(f"mnt:[{pid}]")
        lines = (f"{mount} 1 {os.major(on)}:{os.minor(on)} / / rw - ext4 none rw\n" for mount, on in mounts.items())
        (process / "mountinfo").write_text("".join(lines))

    def opens(self, pid: str, fd: int, what: str, mount: int, inode: int | None) -> None:
        (self.place / pid / "fd" / str(fd)).symlink_to(what)
        told = f"pos:\t0\nflags:\t0100001\nmnt_id:\t{mount}\n" + (f"ino:\t{inode}\n" if inode else "")
        (self.place / pid / "fdinfo" / str(fd)).write_text(told)

    def says(self, path: Path, mount: int = 30) -> Presence:
        return writers({key(path): mount}, str(self.place))[key(path)]


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path / "proc")


def test_a_writer_is_found_by_the_file_system_of_its_mount_whatever_its_namespace(proc: Proc, path: Path) -> None:
    device, inode = key(path)
    assert proc.says(path) is Presence.ABSENT
    proc.process("7", {99: device})
    proc.opens("7", 3, str(path), 99, inode)
    assert proc.says(path) is Presence.PRESENT


def test_a_writer_is_found_that_has_inherited_it_from_the_first_namespace(proc: Proc, path: Path) -> None:
    device, inode = key(path)
    proc.place = proc.place.parent / "another"
    proc.process("1", {40: device})
    proc.process("self", {30: device})
    (proc.place / "self/ns/pid").symlink_to("pid:[4026531836]")
    proc.process("7", {99: 0})
    proc.opens("7", 3, str(path), 40, inode)
    assert proc.says(path) is Presence.PRESENT


def test_a_file_on_another_file_system_is_not_followed_and_is_no_writer(proc: Proc, path: Path) -> None:
    """Here it would lead to the log: it is not asked."""
    device, inode = key(path)
    proc.process("7", {99: device + 1})
    proc.opens("7", 3, str(path), 99, inode)
    assert proc.says(path) is Presence.ABSENT


@pytest.mark.parametrize(
    ("what", "inode", "expected"),
    [
        ("/run/apply.log", "the log's", Presence.UNKNOWN),
        ("/run/apply.log", "another", Presence.ABSENT),
        ("/run/apply.log", None, Presence.UNKNOWN),
        ("/memfd:doublemapper (deleted)", None, Presence.ABSENT),
        ("socket:[4711]", "the log's", Presence.ABSENT),
        ("/dev/null", None, Presence.ABSENT),
    ],
)
def test_what_lies_on_a_mount_that_nobody_knows_may_be_the_log_unless_it_is_certainly_not(
    what: str, inode: str | None, expected: Presence, proc: Proc, path: Path
) -> None:
    """A mount that was taken away below whoever has it open. Linux tells the inode's number since 5.14."""
    proc.process("7", {})
    number = key(path)[1] + (inode == "another") if inode else None
    proc.opens("7", 3, what, 99, number)
    assert proc.says(path) is expected


def test_one_pass_answers_for_many_logs(tmp_path: Path, start: Start) -> None:
    logs = [tmp_path / f"{n}.log" for n in range(5)]
    for log in logs:
        log.write_bytes(b"")
    start(OPENER, str(logs[1]), "O_WRONLY")
    start(OPENER, str(logs[3]), "O_RDWR")
    found = asked(*map(key, logs))
    assert [found[key(log)] is Presence.PRESENT for log in logs] == [False, True, False, True, False]


def test_a_log_that_was_renamed_or_deleted_still_has_its_writer(path: Path, start: Start) -> None:
    start(OPENER, str(path), "O_WRONLY")
    before = key(path)
    path.unlink()
    assert asked(before)[before] is Presence.PRESENT


@pytest.mark.parametrize("visible", [(), ("4711",)], ids=["no process", "only our own"])
def test_where_processes_are_hidden_nobody_is_said_to_be_absent(
    path: Path, tmp_path: Path, visible: tuple[str, ...]
) -> None:
    """hidepid, ProtectProc=invisible, or no /proc at all."""
    for pid in visible:
        (tmp_path / "proc" / pid / "fd").mkdir(parents=True)
    assert writers({key(path): -1}, str(tmp_path / "proc")) == {key(path): Presence.UNKNOWN}


def test_where_no_file_is_asked_about_nothing_is_answered() -> None:
    assert writers({}) == {}
