"""Who writes a log, as root asks: among all that processes have open there may be a file whose server has died, and
whoever asks it waits for ever. No other file system is asked than that of the logs.

Mounts are made in this very mount namespace, and are gone with the test.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.agents import DEADLINE_S, AgentThread, settings_for
from support.dead_mounts import DyingMount
from support.holders import OPENER, Child
from support.hostile_files import good_log
from support.watching import bind_directory

from proton_tf_agent.receiver import Receiver
from proton_tf_agent.sources.liveness import Presence, writers
from proton_tf_agent.sources.safe_open import SafeOpener

ARN = "arn:aws:proton:us-east-1:111122223333:environment/"
DEPLOYMENT_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "watched"
    root.mkdir()
    return root


@pytest.fixture
def log(root: Path) -> Path:
    path = root / "apply.log"
    path.touch()
    return path


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as undo:
        yield undo


@pytest.fixture
def holder(log: Path, tmp_path: Path, undo: ExitStack) -> Child:
    """A process that has a file open for writing whose server has fallen silent since. The file has the number of the
    log's inode: it can be told from the log by its file system alone."""
    holders = ExitStack()
    mount = DyingMount(tmp_path / "dead", log.stat().st_ino, holders)
    child = Child(OPENER, str(mount.file), "O_WRONLY")
    undo.callback(child.close)
    undo.enter_context(holders)  # first: a process that closes such a file waits, too
    mount.fall_silent()
    return child


def has_ended_within(seconds: float, work: Callable[[], object]) -> bool:
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(seconds)
    return not worker.is_alive()


def link_of(holder: Child, file: str) -> str:
    links = Path(f"/proc/{holder.process.pid}/fd")
    return next(str(link) for link in links.iterdir() if os.readlink(link).endswith(file))


def test_whoever_followed_the_link_would_wait_for_ever(holder: Child) -> None:
    """So that the tests below mean something."""

    def follow() -> None:
        try:
            os.stat(link)
        except OSError:
            return  # its server is gone

    link = link_of(holder, "held.log")
    assert not has_ended_within(1.0, follow)


def test_writers_are_found_beside_a_file_of_a_dead_server(holder: Child, log: Path, undo: ExitStack) -> None:
    writer = Child(OPENER, str(log), "O_WRONLY")
    undo.callback(writer.close)
    found: list[Presence] = []

    def ask() -> None:
        with SafeOpener([str(log.parent)]).open(str(log)) as file:
            key = (file.stat.st_dev, file.stat.st_ino)
            found.append(writers({key: file.mount})[key])

    assert has_ended_within(DEADLINE_S, ask)
    writer.tell("close")
    assert has_ended_within(DEADLINE_S, ask)
    assert found[0] is Presence.PRESENT
    assert found[1] is not Presence.PRESENT, "the dead server's file was taken for the log"


def test_runs_are_told_beside_a_file_of_a_dead_server(
    holder: Child, root: Path, tmp_path: Path, receiver: Receiver
) -> None:
    with AgentThread(settings_for(str(root), str(tmp_path / "journal" / "journal.db"), receiver.url)) as agent:
        (root / "run").mkdir()
        bind_directory(str(root / "run"), f"{ARN}run", DEPLOYMENT_ID)
        (root / "run" / "apply.log").write_text(good_log(), "utf-8")
        assert receiver.wait_for(lambda records: any(r.status == "SUCCEEDED" for r in records), DEADLINE_S)
        agent.stop()


ASK = """
import os, sys
from proton_tf_agent.sources.liveness import writers
status = os.stat(sys.argv[1])
print(writers({(status.st_dev, status.st_ino): -1}).popitem()[1])
"""


def test_a_process_that_may_do_more_than_we_is_not_taken_for_one_that_does_not_write(
    log: Path, undo: ExitStack
) -> None:
    """As root without capabilities, whom the service's drop-ins can make: /proc lists what others have open, and lets
    nobody look at it."""
    writer = Child(OPENER, str(log), "O_WRONLY")
    undo.callback(writer.close)
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", ASK, str(log)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "unknown"
