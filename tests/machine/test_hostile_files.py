"""Section A of docs/bad-input.md, those that need root: other users' files, devices, and mounts below and over a root.

Mounts are made in this very mount namespace, and are gone with the test.
"""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.agents import DEADLINE_S, AgentThread, settings_for
from support.dead_mounts import mount_what_never_answers
from support.hostile_files import good_log
from support.watching import bind_directory

from proton_tf_agent.doctor import Severity, examine
from proton_tf_agent.domain.values import replace
from proton_tf_agent.receiver import Receiver
from proton_tf_agent.settings import ScanSettings, WatchSettings
from proton_tf_agent.sources.safe_open import Bounds, SafeOpener, Unreadable
from proton_tf_agent.sources.tree import walk

RUNNER, OTHER, OWNER_OF_ROOT = 1234, 4321, 5678
ARN = "arn:aws:proton:us-east-1:111122223333:environment/"
DEPLOYMENT_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "watched"
    (root / "run").mkdir(parents=True)
    os.chown(root, OWNER_OF_ROOT, OWNER_OF_ROOT)
    os.chown(root / "run", RUNNER, RUNNER)
    return root


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as undo:
        yield undo


@pytest.fixture(params=["openat2", "walk"])
def opened(request: pytest.FixtureRequest, root: Path) -> Callable[..., str]:
    """How a path below the root can be read: `read`, or the code it is refused with."""

    def code(path: Path, **bounds: object) -> str:
        opener = SafeOpener([Bounds(str(root), **bounds)])  # type: ignore[arg-type]
        opener._has_openat2 = request.param == "openat2"
        try:
            with opener.open(str(path)):
                return "read"
        except Unreadable as refused:
            return refused.code

    return code


# --- 6, 25: other users' files --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "mode", "expected"),
    [
        (RUNNER, 0o600, "read"),
        (OWNER_OF_ROOT, 0o600, "read"),
        (0, 0o600, "read"),
        (OTHER, 0o600, "E_OWNER"),
        (OTHER, 0o640, "E_OWNER"),
        (OTHER, 0o644, "read"),
        (OTHER, 0o666, "read"),
    ],
)
def test_25_what_not_everybody_may_read_must_belong_there(
    opened: Callable[..., str], root: Path, owner: int, mode: int, expected: str
) -> None:
    path = root / "run" / "apply.log"
    path.touch()
    os.chown(path, owner, owner)
    path.chmod(mode)
    assert opened(path) == expected


@pytest.mark.parametrize(
    ("owner", "mode", "expected"),
    [
        (OTHER, 0o600, "read"),
        (OTHER, 0o646, "E_OWNER"),
        (0, 0o600, "read"),
        (RUNNER, 0o644, "E_OWNER"),
        (OWNER_OF_ROOT, 0o644, "E_OWNER"),
    ],
)
def test_25_where_owners_are_named_they_alone_count(
    opened: Callable[..., str], root: Path, owner: int, mode: int, expected: str
) -> None:
    path = root / "run" / "apply.log"
    path.touch()
    os.chown(path, owner, owner)
    path.chmod(mode)
    assert opened(path, owners=frozenset({OTHER})) == expected


def test_6_a_file_that_was_moved_in_by_somebody_who_may_not_read_it_is_refused(
    opened: Callable[..., str], root: Path, tmp_path: Path
) -> None:
    """rename(2) asks for rights on directories only: in a shared one, anybody may move away what is not his."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    for place in tmp_path.parents:
        if place.stat().st_uid == 0:
            place.chmod(place.stat().st_mode | 0o011)
    theirs = shared / "secret"
    theirs.write_text("private")
    os.chown(theirs, OTHER, OTHER)
    theirs.chmod(0o600)
    tmp_path.chmod(0o755)
    os.seteuid(RUNNER)
    try:
        with pytest.raises(PermissionError):
            theirs.read_text()
        theirs.rename(root / "run" / "terraform.tfstate")
    finally:
        os.seteuid(0)
    assert opened(root / "run" / "terraform.tfstate") == "E_OWNER"


def test_8_devices_are_not_opened(opened: Callable[..., str], root: Path) -> None:
    for name, kind, device in (("null.log", stat.S_IFCHR, (1, 3)), ("disk.log", stat.S_IFBLK, (7, 0))):
        os.mknod(root / "run" / name, kind | 0o666, os.makedev(*device))
        assert opened(root / "run" / name) == "E_NOT_REGULAR"


# --- 19, 20: mounts -------------------------------------------------------------------------------------------------


def mount_tmpfs(place: Path, undo: ExitStack) -> None:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)
    undo.callback(subprocess.run, ["umount", "--lazy", str(place)], check=False)


def told(receiver: Receiver, name: str) -> bool:
    """Whether the success of a run has been heard, before long."""
    records = receiver.wait_for(
        lambda records: any(r.resource_arn == ARN + name and r.status == "SUCCEEDED" for r in records), DEADLINE_S
    )
    return bool(records)


def write_run(directory: Path, name: str) -> None:
    directory.mkdir(exist_ok=True)
    bind_directory(str(directory), ARN + name, DEPLOYMENT_ID)
    (directory / "new").write_text(good_log(), "utf-8")
    (directory / "new").rename(directory / "apply.log")


def test_19_a_mount_is_not_entered_unless_the_settings_let_it_in(
    opened: Callable[..., str], root: Path, undo: ExitStack
) -> None:
    mount_tmpfs(root / "run" / "volume", undo)
    path = root / "run" / "volume" / "apply.log"
    path.touch()
    assert opened(path) == "E_MOUNT"
    assert opened(path, crosses_mounts=True) == "read"
    refused: dict[str, str] = {}
    walked = [d.path for d in walk(SafeOpener([str(root)]), str(root), str(root), refused.__setitem__)]
    assert walked == [str(root), f"{root}/run"]
    assert refused == {f"{root}/run/volume": "E_MOUNT"}


def test_19_a_mount_that_never_answers_does_not_hold_up_the_agent(
    root: Path, undo: ExitStack, tmp_path: Path, receiver: Receiver
) -> None:
    """One is there when it starts, another comes while it works; both beside runs that are told."""
    mount_what_never_answers(root / "run" / "dead", undo)
    settings = replace(
        settings_for(str(root), str(tmp_path / "journal" / "journal.db"), receiver.url), scan=ScanSettings(1.0)
    )
    with AgentThread(settings) as agent:
        write_run(root / "beside", "beside")
        assert told(receiver, "beside")
        mount_what_never_answers(root / "beside" / "dead", undo)
        agent.log.wait_for("source.unreadable", path=f"{root}/run/dead", reason="E_MOUNT")
        agent.log.wait_for("source.unreadable", path=f"{root}/beside/dead", reason="E_MOUNT")
        write_run(root / "later", "later")
        assert told(receiver, "later")
        agent.stop()


def test_19_a_file_that_is_a_mount_that_never_answers_does_not_hold_up_the_agent_either(
    root: Path, undo: ExitStack, tmp_path: Path, receiver: Receiver
) -> None:
    """On a log that is there when it starts, and on files of a run that it watches."""
    (root / "run" / "apply.log").touch()
    mount_what_never_answers(root / "run" / "apply.log", undo)
    settings = settings_for(str(root), str(tmp_path / "journal" / "journal.db"), receiver.url)
    with AgentThread(replace(settings, scan=ScanSettings(1.0))) as agent:
        agent.log.wait_for("source.unreadable", path=f"{root}/run/apply.log", reason="E_MOUNT")
        write_run(root / "beside", "beside")
        assert told(receiver, "beside")
        for name in ("plan.log", "terraform.tfstate", ".terraform.tfstate.lock.info"):
            (root / "beside" / name).touch()
            mount_what_never_answers(root / "beside" / name, undo)
        agent.log.wait_for("source.unreadable", path=f"{root}/beside/plan.log", reason="E_MOUNT")
        write_run(root / "later", "later")
        assert told(receiver, "later")
        agent.stop()


def test_19_what_is_mounted_is_not_looked_at(root: Path, undo: ExitStack) -> None:
    """By neither way, however it is named; elsewhere a look is one."""
    (root / "run" / "a b.log").touch()
    (root / "run" / "c.log").touch()
    mount_what_never_answers(root / "run" / "a b.log", undo)
    for way in (True, False):
        opener = SafeOpener([str(root)])
        opener._has_openat2 = way
        with pytest.raises(Unreadable, match="E_MOUNT"):
            opener.look(f"{root}/run/a b.log")
        assert opener.look(f"{root}/run/c.log") is not None
        assert opener.look(f"{root}/run/d.log") is None
        assert opener.mounts_below(str(root)) == {f"{root}/run/a b.log"}


def test_19_whoever_did_enter_it_would_wait_for_ever(root: Path, undo: ExitStack) -> None:
    """So that the test above means something."""
    mount_what_never_answers(root / "run" / "dead", undo)
    visitor = threading.Thread(target=lambda: _try_to_list(root / "run" / "dead"), daemon=True)
    visitor.start()
    visitor.join(1.0)
    assert visitor.is_alive()


def _try_to_list(place: Path) -> None:
    try:
        os.listdir(place)
    except OSError:
        return  # its server is gone


def test_19_doctor_says_of_a_root_that_never_answers_that_it_does_not(
    root: Path, undo: ExitStack, tmp_path: Path, receiver: Receiver
) -> None:
    mount_what_never_answers(root, undo)
    settings = settings_for(str(root), str(tmp_path / "journal" / "journal.db"), receiver.url)
    severities = {finding.check: finding.severity for finding in examine(settings, patience=2.0)}
    assert severities["settings"] is severities["inotify"] is Severity.UNKNOWN
    assert severities["agent"] is Severity.WARNING, "the others go on"


def test_19_runs_in_a_mount_are_told_where_the_settings_let_it_in(
    root: Path, undo: ExitStack, tmp_path: Path, receiver: Receiver
) -> None:
    mount_tmpfs(root / "volume", undo)
    settings = settings_for(str(root), str(tmp_path / "journal" / "journal.db"), receiver.url)
    settings = replace(settings, watch=(WatchSettings(str(root), mounts=True),))
    with AgentThread(settings) as agent:
        write_run(root / "volume" / "run", "mounted")
        assert told(receiver, "mounted")
        agent.stop()


def test_20_a_root_that_is_mounted_over_is_watched_as_it_is_now_and_again_when_it_is_back(
    root: Path, tmp_path: Path, receiver: Receiver
) -> None:
    settings = settings_for(str(root), str(tmp_path / "journal" / "journal.db"), receiver.url)
    with AgentThread(replace(settings, scan=ScanSettings(1.0))) as agent, ExitStack() as over:
        write_run(root / "before", "before")
        assert told(receiver, "before")
        mount_tmpfs(root, over)
        write_run(root / "inside", "inside")
        assert told(receiver, "inside")
        over.close()
        write_run(root / "after", "after")
        assert told(receiver, "after")
        agent.stop()
    assert len([r for r in receiver.records() if r.status == "SUCCEEDED"]) == 3, "nothing is told twice"
