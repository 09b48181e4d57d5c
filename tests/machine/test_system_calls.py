"""What the agent asks of the kernel while it watches real runs: it executes nothing, changes nothing below a watched
root, takes no lock there, and opens nothing that it was not told to look at.

strace sees every call of a real daemon, from its first to its last.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.daemons import AgentCommand, write_settings
from support.exec_side import WRAPPED
from support.hostile import planted
from support.hostile_files import CASES
from support.terraform import Terraform
from support.watching import bind_directory

from proton_tf_agent.receiver import Receiver, Record

ARN = "arn:aws:proton:us-east-1:111122223333:environment/"
DEPLOYMENT_ID = "00000000-0000-4000-8000-000000000000"
DEADLINE_S = 60.0
CONFIGURATION = """
variable "fails" { default = false }
variable "rests" { default = 0 }
resource "terraform_data" "one" { input = "x" }
resource "terraform_data" "two" {
  depends_on = [terraform_data.one]
  provisioner "local-exec" { command = var.fails ? "false" : "sleep ${var.rests}" }
}
output "one" { value = terraform_data.one.output }
"""
RUNS = {
    # Long enough at work for the agent to ask, once a second, who holds its lock.
    "json": "terraform apply -json -auto-approve -var rests=4 > apply.log",
    "human": "terraform apply -no-color -auto-approve > apply.log 2>&1",
    "failing": "terraform apply -json -auto-approve -var fails=true > apply.log || true",
    "destroyed": "terraform apply -auto-approve > /dev/null && terraform destroy -json -auto-approve > destroy.log",
}

_EXECUTING = ("execve", "execveat")
_CHANGING = (
    "creat", "truncate", "ftruncate", "unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2", "link",
    "linkat", "symlink", "symlinkat", "mkdir", "mkdirat", "mknod", "mknodat", "chmod", "fchmod", "fchmodat",
    "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime", "utimes", "utimensat", "futimesat", "setxattr",
    "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "write", "pwrite64", "writev", "pwritev",
    "pwritev2",
    "fallocate", "copy_file_range", "sendfile",
)  # fmt: skip
_LOCKING = ("fcntl", "flock")
_OPENING = ("open", "openat", "openat2")
_CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)(?:<([^>]*)>)?")
_WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|O_TMPFILE")


@dataclass(frozen=True)
class Call:
    """One system call. result: the path of the descriptor it returned, empty where it returned none."""

    name: str
    arguments: str
    value: int
    result: str

    def is_below(self, root: str) -> bool:
        """Whether it is about something below a directory."""
        return root in self.arguments or root in self.result


class Traced:
    """A daemon under strace, and its calls once it has ended."""

    def __init__(self, settings: Path, trace: Path) -> None:
        self._trace = trace
        calls = ",".join(f"?{name}" for name in (*_EXECUTING, *_CHANGING, *_LOCKING, *_OPENING))
        in_front = (
            "strace",
            "-f",
            "-y",
            "-qq",
            "-s",
            "4096",
            "-o",
            str(trace),
            "-e",
            f"trace={calls}",
            "-e",
            "signal=none",
        )
        self.agent = AgentCommand(settings, in_front=in_front)

    def stop(self) -> list[Call]:
        """End the daemon in order; its calls. Those that were going on when another began are two halves of a line."""
        strace = self.agent.process.pid
        (agent,) = Path(f"/proc/{strace}/task/{strace}/children").read_text("ascii").split()
        os.kill(int(agent), signal.SIGTERM)
        assert self.agent.gone() == 0
        begun: dict[str, str] = {}
        calls = []
        for line in self._trace.read_text("utf-8", "surrogateescape").splitlines():
            pid = line.split(" ", 1)[0]
            if line.endswith("<unfinished ...>"):
                begun[pid] = line.removesuffix("<unfinished ...>")
                continue
            if "resumed>" in line:
                line = begun.pop(pid, "") + line.partition("resumed>")[2]
            call = _CALL.match(line)
            if call:
                calls.append(Call(call[1], call[2], int(call[3]), call[4] or ""))
        return calls


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "watched"
    for name in (*RUNS, "wrapped"):
        (root / name).mkdir(parents=True)
        (root / name / "main.tf").write_text(CONFIGURATION, "utf-8")
        bind_directory(str(root / name), ARN + name, DEPLOYMENT_ID)
    return root


@pytest.fixture
def calls(tmp_path: Path, root: Path, receiver: Receiver, terraform: Terraform) -> Iterator[list[Call]]:
    """The calls of a daemon that has watched a run of each kind, and every bad file."""
    spool = tmp_path / "spool"
    write_settings(tmp_path / "agent.toml", tmp_path / "journal" / "journal.db", [root], receiver.url, spool=str(spool))
    traced = Traced(tmp_path / "agent.toml", tmp_path / "trace")
    with closing(traced.agent):
        traced.agent.wait_until_ready()
        for name, line in RUNS.items():
            assert terraform.run(line, str(root / name)) == 0
        wrapped = " ".join((*WRAPPED, "terraform", "apply", "-auto-approve"))
        environment = {"PROTON_TF_AGENT_SPOOL": str(spool)}
        assert terraform.run(f"{wrapped} > /dev/null", str(root / "wrapped"), **environment) == 0
        ended = {ARN + name for name in (*RUNS, "wrapped")}
        cases = [case for case in CASES if case.number not in ("4", "11", "21")]  # these make a trace of gigabytes
        with planted(cases, root, tmp_path / "outside") as bad:
            ended |= {one.ground.resource_arn for one in bad if one.case.succeeds}
            with suppress(TimeoutError):  # said below, with what is missing
                receiver.wait_for(lambda records: ended <= _ended(records), DEADLINE_S)
            assert ended - _ended(receiver.records()) == set()
        yield traced.stop()


def _ended(records: Sequence[Record]) -> set[str]:
    return {record.resource_arn for record in records if record.status != "IN_PROGRESS"}


@pytest.mark.timeout(300)
def test_the_agent_only_reads_and_only_what_it_was_told_to(calls: list[Call], root: Path, tmp_path: Path) -> None:
    below = f"{root}"
    executed = [call for call in calls if call.name in _EXECUTING and call.value == 0]
    assert len(executed) == 1, "its own beginning, and nothing after"
    at_work = [call for call in calls if call.is_below(below)]
    opened = [call for call in at_work if call.name in _OPENING and call.value >= 0]
    assert len(opened) > 100, "it has looked at nothing: the trace tells nothing"
    assert [call for call in at_work if call.name in _OPENING and _WRITING.search(call.arguments)] == []
    # Its own log names files: what is written is no path. Everything else names what it changes.
    texts = ("write", "pwrite64", "writev")
    changing = [call for call in at_work if call.name in _CHANGING and call.name not in texts]
    assert changing == []
    written = [call for call in at_work if call.name in texts and below in call.arguments.partition(">")[0]]
    assert written == []
    locked = re.compile(r"F_\w*SETLK|LOCK_(EX|SH)")
    assert [call for call in at_work if call.name in _LOCKING and locked.search(call.arguments)] == []
    assert [call for call in at_work if "F_GETLK" in call.arguments], "it has not asked who holds a lock"
    allowed = [
        below, str(tmp_path / "journal"), str(tmp_path / "spool"), str(tmp_path / "agent.toml"), "/proc", "/etc",
        "/usr", "/lib", "/lib64", "/dev/null", "/dev/urandom", "/sys/devices/system/cpu", "/sys/fs/cgroup",
        os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix), str(Path(__file__).parents[2]),
    ]  # fmt: skip
    places = {call.result for call in calls if call.name in _OPENING and call.value >= 0 and call.result}
    elsewhere = {place for place in places if not place.startswith(tuple(allowed)) and str(tmp_path) != place}
    assert elsewhere - {"/", os.path.dirname(str(tmp_path))} == set()
    assert not any(place.startswith(str(tmp_path / "outside")) for place in places)
