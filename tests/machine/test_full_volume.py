"""The journal's volume is filled to the last byte while an agent works: it goes on in its reserve, journals a thousand
more verdicts and delivers them, says that it waits, and goes on by itself when there is room. Nothing is lost, nothing
is told twice, the agent is never restarted.

The volume is real, a small tmpfs or a small ext4 in a file, and mounted in a namespace of its own, which goes with the
process that holds it. The logs lie elsewhere.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest
from support.daemons import AgentCommand, Row, write_settings
from support.many_runs import ManyRuns, happened, journaled, told
from support.outboxes import notification

from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.outbox import Outcome, OutcomeKind
from proton_tf_agent.receiver import FaultKind, Receiver
from proton_tf_agent.sinks.file import FileSink

VERDICTS = 1000
FURTHER = 2000  # runs; more than the reserve has room for
DEADLINE_S = 600.0
MEBIBYTE = 1 << 20
VOLUME = 64 * MEBIBYTE

pytestmark = pytest.mark.timeout(1800)


_MOUNT = 'point=$1; shift; mount "$@" "$point" && chmod 0700 "$point" && echo mounted && exec cat'


class Volume:
    """A file system of its own at a mount point that nobody else sees."""

    def __init__(self, kind: str, base: Path) -> None:
        self.point = base / "volume"
        self.point.mkdir(mode=0o700)
        options = ["-t", "tmpfs", "-o", f"size={VOLUME}", "none"]
        if kind == "ext4":
            image = base / "image"
            with open(image, "wb") as file:
                file.truncate(VOLUME)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
            options = ["-o", "loop", str(image)]
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _MOUNT, "sh", self.point, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"mounted\n"

    @property
    def inside(self) -> Sequence[str]:
        """What is put in front of a command that is to see it."""
        return ("nsenter", f"--target={self._holder.pid}", "--mount", "--")

    @property
    def seen_from_outside(self) -> Path:
        """Where it is for who does not see it."""
        return Path(f"/proc/{self._holder.pid}/root{self.point}")

    def fill(self) -> None:
        """Leave no byte."""
        with open(self.seen_from_outside / "ballast", "wb", buffering=0) as file:
            for step in (MEBIBYTE, 4096, 1):
                with suppress(OSError):
                    while file.write(bytes(step)):
                        pass
            os.fsync(file.fileno())
        assert os.statvfs(self.seen_from_outside).f_bavail == 0
        with (
            pytest.raises(OSError, match=os.strerror(errno.ENOSPC)),
            open(self.seen_from_outside / "more", "wb") as file,
        ):
            file.write(bytes(4096))

    def empty(self) -> None:
        """Give back what `fill` has taken."""
        (self.seen_from_outside / "ballast").unlink()

    def close(self) -> None:
        """It is gone when nobody is left who sees it."""
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.wait(10)
        self._holder.stdout.close()


@pytest.fixture(params=["tmpfs", "ext4"])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Volume]:
    with closing(Volume(request.param, tmp_path)) as volume:
        yield volume


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def runs(tmp_path: Path) -> ManyRuns:
    return ManyRuns(tmp_path / "watched")


@pytest.fixture
def settings_file(tmp_path: Path, volume: Volume, receiver: Receiver) -> Path:
    file = tmp_path / "agent.toml"
    journal, watched, spool = volume.point / "journal.db", tmp_path / "watched", tmp_path / "spool"
    write_settings(file, journal, [watched], receiver.url, reserve="24MiB", spool=str(spool))
    return file


def status(volume: Volume, settings_file: Path) -> Row:
    """What `status` tells."""
    command = [sys.executable, "-m", "proton_tf_agent", "status", "--json", "--config", str(settings_file)]
    said = subprocess.run([*volume.inside, *command], stdout=subprocess.PIPE, check=True, timeout=60)
    row: Row = json.loads(said.stdout)
    return row


def test_an_agent_on_a_full_volume_lives_on_its_reserve_waits_and_goes_on(
    volume: Volume, settings_file: Path, receiver: Receiver, runs: ManyRuns
) -> None:
    with closing(AgentCommand(settings_file, in_front=volume.inside)) as agent:
        agent.wait_until_ready()
        runs.add(10)
        receiver.wait_for(runs.all_are_told, DEADLINE_S)  # by now the reserve is whole
        volume.fill()
        already = journaled(agent.rows())
        runs.add(FURTHER)

        agent.wait_for(lambda rows: happened(rows, "journal.full"), "does not say that it waits", DEADLINE_S)
        further = journaled(agent.rows()) - already
        assert further >= VERDICTS
        receiver.wait_for(lambda records: len(told(records)) == already + further, DEADLINE_S)
        assert status(volume, settings_file)["degraded"] == "journal-full"
        assert journaled(agent.rows()) == already + further < runs.count

        volume.empty()
        agent.wait_for(lambda rows: happened(rows, "journal.recovered"), "does not go on", DEADLINE_S)
        receiver.wait_for(runs.all_are_told, DEADLINE_S)
        assert status(volume, settings_file)["degraded"] is None
        assert agent.stop() == 0
        names = [row["event"] for row in agent.rows()]
    runs.judge(receiver.records())
    assert names.count("journal.full") == names.count("journal.recovered") == names.count("agent.started") == 1
    assert "agent.failed" not in names
    print(f"{further} further verdicts from the reserve")


def test_an_agent_that_is_started_on_a_full_volume_waits_there_and_delivers_meanwhile(
    volume: Volume, settings_file: Path, receiver: Receiver, runs: ManyRuns
) -> None:
    """Its predecessor has used up the reserve and been killed while the receiver was away."""
    few = settings_file.read_text("utf-8").replace("24MiB", "1MiB")
    settings_file.write_text(few, "utf-8")
    receiver.fail(FaultKind.HTTP_503)
    with closing(AgentCommand(settings_file, in_front=volume.inside)) as agent:
        agent.wait_until_ready()
        runs.add(1)
        agent.wait_for(lambda rows: happened(rows, "notification.deferred"), "does not deliver")  # there is a reserve
        volume.fill()
        runs.add(100)
        agent.wait_for(lambda rows: happened(rows, "journal.full"), "does not say that it waits", DEADLINE_S)
        known = journaled(agent.rows())
    assert 10 < known < runs.count
    receiver.clear()
    with closing(AgentCommand(settings_file, in_front=volume.inside)) as agent:
        agent.wait_for(lambda rows: happened(rows, "journal.full", part="evidence"), "does not wait", DEADLINE_S)
        receiver.wait_for(lambda records: len(told(records)) >= known, DEADLINE_S)
        assert not happened(agent.rows(), "agent.ready")
        volume.empty()
        receiver.wait_for(runs.all_are_told, DEADLINE_S)
        agent.wait_for(lambda rows: happened(rows, "agent.ready"), "is not ready", DEADLINE_S)
        assert agent.stop() == 0
        assert not happened(agent.rows(), "agent.failed")
    assert len(told(receiver.records())) == runs.count


def test_a_file_that_is_told_on_a_full_volume_holds_whole_lines_and_goes_on(volume: Volume) -> None:
    path = volume.seen_from_outside / "told.jsonl"
    sink = FileSink("file", str(path), 1 << 30, 3, "proton-tf-agent://here")
    said = notification(1, Status.FAILED, text="x" * 700)
    assert sink.send(said).kind is OutcomeKind.ACCEPTED
    volume.fill()
    taken = 1
    while (outcome := sink.send(said)).kind is OutcomeKind.ACCEPTED:  # into the rest of its last block
        taken += 1
        assert taken < 20
    assert outcome == Outcome(OutcomeKind.UNAVAILABLE, "ENOSPC")
    assert sink.send(said) == outcome
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == taken
    assert all(line.endswith(b"}\n") for line in lines)
    volume.empty()
    assert sink.send(said).kind is OutcomeKind.ACCEPTED
    sink.close()
    assert [json.loads(line)["id"] for line in path.read_bytes().splitlines()] == ["ntf-1"] * (taken + 1)
