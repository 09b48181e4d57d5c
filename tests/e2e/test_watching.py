"""The agent beside a real Terraform: hints lost, limits reached, roots gone and back, and at any moment of a run."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agents import DEADLINE_S, AgentProcess, AgentThread, runs_in, settings_for
from support.terraform import Gate, Terraform
from support.watching import bind_directory
from watchdog.observers import inotify_c

from proton_tf_agent.domain.run import RunStatus
from proton_tf_agent.domain.values import replace
from proton_tf_agent.receiver import Receiver, Record
from proton_tf_agent.settings import ScanSettings, Settings, SinkSettings, WatchSettings

ARN = "arn:aws:proton:us-east-1:111122223333:environment/net"
DEPLOYMENT_ID = "fcda9f18-f569-4079-8474-0832f45b97ea"
APPLY = "exec terraform apply -json -auto-approve"
NOBODY = 65534

CONFIGURATION = """
variable "gate" { default = "" }
resource "terraform_data" "first" { input = "one" }
resource "terraform_data" "gated" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" { command = var.gate == "" ? "true" : "cat '${var.gate}'" }
}
output "first" { value = terraform_data.first.output }
"""


class Scene:
    """A root that may be watched, a run directory in it, a Terraform that waits at a gate, and a receiver."""

    def __init__(self, base: Path, receiver: Receiver, terraform: Terraform) -> None:
        self.base = base
        self.root = str(base / "watched")
        self.directory = f"{self.root}/net"
        self.receiver = receiver
        self.terraform = terraform
        self.gate = Gate(base / "gate")
        self.settings = settings_for(self.root, str(base / "journal" / "journal.db"), receiver.url)
        self.make(self.directory)

    def make(self, directory: str) -> str:
        """A run directory, bound."""
        os.makedirs(directory)
        Path(directory, "main.tf").write_text(CONFIGURATION)
        bind_directory(directory, ARN, DEPLOYMENT_ID)
        return directory

    def rescanned_every(self, seconds: float) -> Settings:
        return replace(self.settings, scan=ScanSettings(seconds))

    def start(self, log: str = "apply.log") -> subprocess.Popen[bytes]:
        """A run that stands at the gate."""
        line = f"{APPLY} -var 'gate={self.gate.path}' > {log} 2>&1"
        process = self.terraform.start(line, self.directory)
        self.gate.reached()
        return process

    def hears_beginning(self) -> None:
        """Wait for the first IN_PROGRESS."""
        self.receiver.wait_for(lambda records: len(records) > 0, DEADLINE_S)

    def hears_end(self, count: int = 1) -> list[Record]:
        """Wait for that many terminal statuses; returns them."""
        return ends(self.receiver.wait_for(lambda records: len(ends(records)) >= count, DEADLINE_S))

    def told(self) -> list[str | None]:
        """The statuses in order, equal neighbours once."""
        statuses = [record.status for record in self.receiver.records()]
        return [status for n, status in enumerate(statuses) if n == 0 or status != statuses[n - 1]]

    def statuses(self) -> list[RunStatus]:
        """Of all runs in the journal, oldest first."""
        return [run.status for run in runs_in(self.settings.journal.path)]


def ends(records: object) -> list[Record]:
    return [record for record in records if record.status != "IN_PROGRESS"]  # type: ignore[attr-defined]


@pytest.fixture
def scene(tmp_path: Path, receiver: Receiver, terraform: Terraform) -> Iterator[Scene]:
    scene = Scene(tmp_path, receiver, terraform)
    yield scene
    scene.gate.close()


# --- lost hints ---------------------------------------------------------------------------------------------------


def test_a_queue_that_overflows_is_noticed_once_and_costs_no_verdict(scene: Scene) -> None:
    """The agent is stopped while more happens than the kernel's queue has places, a whole run among it."""
    size = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    settings = scene.rescanned_every(3600.0)
    agent = AgentProcess(settings, str(scene.base))
    assert agent.wait_until_ready()
    agent.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, agent.process.pid, os.WSTOPPED)
    noise = [os.open(f"{scene.directory}/{name}", os.O_CREAT | os.O_WRONLY | os.O_APPEND) for name in ("a.x", "b.x")]
    for _ in range(size // 2 + 1000):  # in turn, for the kernel merges what repeats itself
        for fd in noise:
            os.write(fd, b"x")
    assert scene.terraform.run(f"{APPLY} > apply.log 2>&1", scene.directory) == 0
    agent.process.send_signal(signal.SIGCONT)
    scene.hears_end()
    assert scene.terraform.run(f"{APPLY} > again.log 2>&1", scene.directory) == 0
    scene.hears_end(2)
    assert agent.stop() == 0
    for fd in noise:
        os.close(fd)
    lines = [json.loads(line) for line in (scene.base / "agent.log").read_text().splitlines()]
    assert [line["count"] for line in lines if line["event"] == "watch.overflowed"] == [1]
    assert scene.told() == ["IN_PROGRESS", "SUCCEEDED"] * 2 or scene.told() == ["SUCCEEDED", "IN_PROGRESS", "SUCCEEDED"]
    assert scene.statuses() == [RunStatus.APPLIED] * 2


def test_with_too_few_watches_every_run_is_told_and_the_lack_is_said_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """inotify_add_watch(2) fails below watchdog's own code, as it does at the user's limit."""
    left = [2]
    add = inotify_c.inotify_add_watch

    def limited(fd: int, path: bytes, mask: int) -> int:
        left[0] -= 1
        if left[0] < 0:
            ctypes.set_errno(errno.ENOSPC)
            return -1
        return add(fd, path, mask)

    monkeypatch.setattr(inotify_c, "inotify_add_watch", limited)
    with AgentThread(scene.rescanned_every(1.0)) as agent:
        (said,) = agent.log.wait_for("watch.degraded")
        assert "sysctl fs.inotify.max_user_watches" in said[1]["reason"]
        later = scene.make(f"{scene.root}/later")
        for directory in (scene.directory, later):
            assert scene.terraform.run(f"{APPLY} > apply.log 2>&1", directory) == 0
        scene.hears_end(2)
        agent.stop()
        assert len([line for line in agent.log.lines() if line[0] == "watch.degraded"]) == 1
    assert scene.statuses() == [RunStatus.APPLIED] * 2


# --- roots --------------------------------------------------------------------------------------------------------


def test_a_root_that_is_not_there_yet_is_said_once_and_watched_when_it_appears(scene: Scene) -> None:
    os.rename(scene.root, scene.root + ".made")
    with AgentThread(scene.settings) as agent:
        agent.log.wait_for(
            "watch.degraded", reason=f"{scene.root} cannot be watched: No such file or directory; rescans only"
        )
        os.rename(scene.root + ".made", scene.root)
        agent.log.wait_for("watch.restored")
        assert scene.terraform.run(f"{APPLY} > apply.log 2>&1", scene.directory) == 0
        scene.hears_end()
        agent.stop()
        assert len([line for line in agent.log.lines() if line[0] == "watch.degraded"]) == 1
    assert scene.told() == ["IN_PROGRESS", "SUCCEEDED"]


def test_a_root_that_is_deleted_and_made_again_tells_of_what_happens_there(scene: Scene) -> None:
    with AgentThread(scene.settings) as agent:
        shutil.rmtree(scene.root)
        agent.log.wait_for("watch.degraded")
        scene.make(scene.directory)
        agent.log.wait_for("watch.restored")
        assert scene.terraform.run(f"{APPLY} > apply.log 2>&1", scene.directory) == 0
        scene.hears_end()
        agent.stop()
    assert scene.told() == ["IN_PROGRESS", "SUCCEEDED"]


@pytest.mark.parametrize("instead", ["nothing", "an empty directory"])
def test_a_run_goes_on_while_its_root_is_away(scene: Scene, instead: str) -> None:
    with AgentThread(scene.rescanned_every(1.0)) as agent:
        run = scene.start()
        scene.hears_beginning()
        os.rename(scene.root, scene.root + ".away")
        if instead == "nothing":
            agent.log.wait_for("watch.degraded")
        else:
            os.mkdir(scene.root)
            agent.log.wait_for("watch.rescanned", asked=True, times=2)  # at the start, and for the other directory
        run.send_signal(signal.SIGINT)  # with a lock that seemed released this would pass for a proof
        if instead != "nothing":
            os.rmdir(scene.root)
        os.rename(scene.root + ".away", scene.root)
        agent.log.wait_for("watch.rescanned", asked=True, times=2 if instead == "nothing" else 3)
        assert [line for line in agent.log.lines() if line[1].get("status") == "canceled" and run.poll() is None] == []
        run.wait(DEADLINE_S)
        scene.hears_end()
        agent.stop()
    assert scene.told() == ["IN_PROGRESS", "FAILED"]
    assert scene.statuses() == [RunStatus.CANCELED]


def test_a_run_that_succeeds_while_its_root_is_away_is_told_when_it_is_back(scene: Scene) -> None:
    with AgentThread(scene.rescanned_every(1.0)) as agent:
        run = scene.start()
        scene.hears_beginning()
        os.rename(scene.root, scene.root + ".away")
        agent.log.wait_for("watch.degraded")
        scene.gate.let_pass()
        assert run.wait(DEADLINE_S) == 0
        agent.log.wait_for("run.transitioned", status="undetermined")
        assert ends(scene.receiver.records()) == []
        os.rename(scene.root + ".away", scene.root)
        scene.hears_end()
        agent.stop()
    assert scene.told() == ["IN_PROGRESS", "SUCCEEDED"]
    assert scene.statuses() == [RunStatus.APPLIED]


def test_a_run_that_was_killed_and_wiped_at_once_is_not_said_to_have_failed(scene: Scene) -> None:
    """A runner deletes the workspace right after the job. What was not read may have told of a success."""
    with AgentThread(scene.settings) as agent:
        run = scene.start()
        agent.log.wait_for("run.transitioned", status="applying")
        os.rename(scene.directory, scene.root + ".deleted")
        run.kill()
        run.wait(DEADLINE_S)
        agent.log.wait_for(
            "run.transitioned", status="undetermined",
            reason="its files are gone, and what was read of them tells no outcome",
        )  # fmt: skip
        agent.stop()
    assert scene.told() == ["IN_PROGRESS"]


def test_a_run_that_works_on_in_a_deleted_directory_is_not_over(scene: Scene) -> None:
    with AgentThread(scene.rescanned_every(1.0)) as agent:
        run = scene.start()
        agent.log.wait_for("run.transitioned", status="applying")
        os.rename(scene.directory, scene.root + ".moved")
        other = scene.make(f"{scene.root}/other")
        rescans = len([line for line in agent.log.lines() if line[0] == "watch.rescanned"])
        Path(other, "noise.log").write_text("x")
        agent.log.wait_for("watch.rescanned", times=rescans + 1)
        assert scene.statuses() == [RunStatus.APPLYING]
        os.rename(scene.root + ".moved", scene.directory)
        scene.gate.let_pass()
        assert run.wait(DEADLINE_S) == 0
        scene.hears_end()
        agent.stop()
    assert scene.told() == ["IN_PROGRESS", "SUCCEEDED"]


# --- directories --------------------------------------------------------------------------------------------------


def test_a_run_in_a_tree_that_has_just_been_made_is_told(scene: Scene) -> None:
    with AgentThread(scene.rescanned_every(3600.0)) as agent:
        for number in range(10):
            directory = scene.make(f"{scene.root}/job-{number}/a/b/c/d/infra")
            assert scene.terraform.run(f"{APPLY} > apply.log 2>&1", directory) == 0
        scene.hears_end(10)
        agent.stop()
    assert scene.statuses() == [RunStatus.APPLIED] * 10


def test_a_run_in_a_tree_that_is_moved_in_is_told_and_so_is_the_next_one_there(scene: Scene) -> None:
    elsewhere = scene.make(str(scene.base / "elsewhere" / "infra"))
    with AgentThread(scene.rescanned_every(3600.0)) as agent:
        assert scene.terraform.run(f"{APPLY} > apply.log 2>&1", elsewhere) == 0
        os.rename(scene.base / "elsewhere", f"{scene.root}/here")
        scene.hears_end()
        assert scene.terraform.run(f"{APPLY} > again.log 2>&1", f"{scene.root}/here/infra") == 0
        scene.hears_end(2)
        agent.stop()
    assert scene.statuses() == [RunStatus.APPLIED] * 2


def test_a_root_behind_a_symbolic_link_is_watched_like_any_other(scene: Scene) -> None:
    link = str(scene.base / "link")
    os.symlink("watched", link)
    settings = settings_for(link, scene.settings.journal.path, scene.receiver.url)
    with AgentThread(replace(settings, scan=ScanSettings(3600.0))) as agent:
        assert scene.terraform.run(f"{APPLY} > apply.log 2>&1", scene.directory) == 0
        scene.hears_end()
        agent.stop()
    assert [run.directory for run in runs_in(settings.journal.path)] == [f"{link}/net"]


# --- moments ------------------------------------------------------------------------------------------------------


def test_a_run_that_ended_before_the_root_was_first_seen_is_told_if_that_is_asked_for(scene: Scene) -> None:
    assert scene.terraform.run(f"{APPLY} > apply.log 2>&1", scene.directory) == 0
    settings = replace(scene.settings, watch=(WatchSettings(scene.root, backfill=True),))
    with AgentThread(settings) as agent:
        (end,) = scene.hears_end()
        agent.stop()
    assert (end.status, end.outputs) == ("SUCCEEDED", {"first": "one"})
    with AgentThread(settings) as agent:
        agent.stop()
    assert len(ends(scene.receiver.records())) == 1, "told again by the next agent"


def test_an_agent_that_is_killed_in_mid_run_tells_the_end_when_it_is_back(scene: Scene) -> None:
    agent = AgentProcess(scene.settings, str(scene.base))
    assert agent.wait_until_ready()
    run = scene.start()
    scene.hears_beginning()
    agent.kill()
    agent = AgentProcess(scene.settings, str(scene.base))
    assert agent.wait_until_ready()
    scene.gate.let_pass()
    assert run.wait(DEADLINE_S) == 0
    (end,) = scene.hears_end()
    assert agent.stop() == 0
    assert end.status == "SUCCEEDED"
    assert scene.told() == ["IN_PROGRESS", "SUCCEEDED"]
    assert scene.statuses() == [RunStatus.APPLIED]


class Stranger:
    """An agent that may look into nobody's processes but its own: another user, where the tests may become one."""

    def __init__(self, scene: Scene) -> None:
        self.base = tempfile.mkdtemp(prefix="proton-tf-agent-")
        self.uid = NOBODY if os.getuid() == 0 else None
        self.root = f"{self.base}/watched"
        self.directory = f"{self.root}/net"
        os.chmod(self.base, 0o755)
        scene.make(self.directory)
        os.mkdir(f"{self.base}/journal", 0o700)
        if self.uid is not None:
            os.chown(f"{self.base}/journal", self.uid, self.uid)
        settings = settings_for(self.root, f"{self.base}/journal/journal.db", scene.receiver.url)
        console = (SinkSettings("console"),)  # what others need is imported late, when Python is out of reach
        self._settings = replace(settings, sink=console, scan=ScanSettings(1.0))
        self.agent = AgentProcess(self._settings, self.base, self.uid)
        assert self.agent.wait_until_ready(), Path(self.base, "agent.log").read_text()

    def hears(self, status: str) -> dict[str, object]:
        """Wait for a status on the console."""
        assert self.agent.process.stdout is not None
        for line in self.agent.process.stdout:
            row: dict[str, object] = json.loads(line)
            if row["status"] == status:
                return row
        raise AssertionError(Path(self.base, "agent.log").read_text())

    def statuses(self) -> list[RunStatus]:
        return [run.status for run in runs_in(self._settings.journal.path)]

    def close(self) -> None:
        if self.agent.process.poll() is None:
            self.agent.kill()
        shutil.rmtree(self.base)


@pytest.fixture
def stranger(scene: Scene) -> Iterator[Stranger]:
    stranger = Stranger(scene)
    scene.directory = stranger.directory
    yield stranger
    stranger.close()


def test_a_strangers_run_is_told_to_its_end(scene: Scene, stranger: Stranger) -> None:
    run = scene.start()
    stranger.hears("IN_PROGRESS")
    scene.gate.let_pass()
    assert run.wait(DEADLINE_S) == 0
    assert stranger.hears("SUCCEEDED")["run_status"] == "applied"
    assert stranger.agent.stop() == 0
    assert stranger.statuses() == [RunStatus.APPLIED]


def test_a_strangers_run_that_is_killed_is_told_as_lost(scene: Scene, stranger: Stranger) -> None:
    """Who holds the lock is hidden; that nobody does is not. The lock info is Terraform's alone: mode 0600."""
    run = scene.start()
    stranger.hears("IN_PROGRESS")
    run.kill()
    run.wait(DEADLINE_S)
    row = stranger.hears("FAILED")
    assert "inferred" in str(row["status_message"])
    assert stranger.agent.stop() == 0


def test_a_root_that_is_closed_in_mid_run_and_opened_again_costs_no_verdict(scene: Scene, stranger: Stranger) -> None:
    run = scene.start()
    stranger.hears("IN_PROGRESS")
    log = Path(stranger.base, "agent.log")
    os.chmod(stranger.root, 0o000)
    scene.gate.let_pass()
    assert run.wait(DEADLINE_S) == 0
    os.chmod(stranger.root, 0o755)
    assert stranger.hears("SUCCEEDED")["run_status"] == "applied"
    assert stranger.agent.stop() == 0
    assert "agent.failed" not in log.read_text()
    assert stranger.statuses() == [RunStatus.APPLIED]
