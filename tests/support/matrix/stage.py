"""Where one case happens: a run directory of its own, a gate Terraform waits at, and what is heard of it.

A step is something that is done on a stage. Steps wait for what they name, with a deadline; none of them sleeps.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from proton_tf_agent.receiver import Receiver, Record

from ..daemons import DEADLINE_S, AgentCommand
from ..terraform import Gate, Terraform
from ..watching import bind_directory

_ARN = "arn:aws:proton:us-east-1:111122223333:environment/"


class Stage:
    """One case's place in the world. Shell lines find it in their environment:

    GATE       a FIFO at which whoever opens it waits until the case goes on
    ELSEWHERE  a directory below another watched root
    OUTSIDE    a directory nobody watches
    PYTHON     an interpreter, for filters
    EXEC       the wrapper
    """

    def __init__(self, base: Path, name: str, terraform_path: str, receiver: Receiver, agent: AgentCommand) -> None:
        self.directory = base / "watched" / name
        self.elsewhere = base / "elsewhere" / name
        self.outside = base / "outside" / name
        for directory in (self.directory, self.elsewhere, self.outside):
            directory.mkdir(parents=True)
        self.resource_arn = _ARN + name
        self.deployment_id = str(uuid5(NAMESPACE_URL, name))
        self.deployments = 1
        bind_directory(str(self.directory), self.resource_arn, self.deployment_id)
        self.terraform = Terraform(terraform_path)
        self.gate = Gate(self.outside / "gate")
        self._base, self._name = base, name
        self._receiver, self._agent = receiver, agent
        self.started: list[subprocess.Popen[bytes]] = []

    def write(self, path: str, text: str) -> None:
        """Put a file into the run directory."""
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def start(self, line: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a shell line; with `exec terraform ...` it is Terraform."""
        places = {"GATE": self.gate.path, "ELSEWHERE": str(self.elsewhere), "OUTSIDE": str(self.outside)}
        wrapper = {
            "EXEC": f"{sys.executable} -m proton_tf_agent exec --",
            "PROTON_TF_AGENT_SPOOL": str(self._base / "memory-spool"),
        }
        known = places | wrapper | {"PYTHON": sys.executable} | environment
        self.started.append(self.terraform.start(line, str(self.directory), **known))
        return self.started[-1]

    def run(self, line: str, **environment: str) -> int:
        """Run a shell line to its end; returns its exit code."""
        process = self.start(line, **environment)
        self.started.remove(process)
        return process.wait(DEADLINE_S)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """What was started last and goes on."""
        return self.started[-1]

    def records(self) -> list[Record]:
        """What Proton has heard of this case's resource."""
        return [record for record in self._receiver.records() if record.resource_arn == self.resource_arn]

    def wait_until_heard(self, heard: Callable[[list[Record]], bool], otherwise: str) -> None:
        """Wait until what Proton has heard of this case is as wanted."""
        mine = self.resource_arn
        try:
            self._receiver.wait_for(
                lambda records: heard([record for record in records if record.resource_arn == mine]), DEADLINE_S
            )
        except TimeoutError:
            told = [(record.status, record.status_message) for record in self.records()]
            raise AssertionError(f"Proton {otherwise}; it heard {told}") from None

    def wait_until_seen(self, status: str, times: int) -> None:
        """Wait until so many runs of this case have taken a status."""
        place = str(self.directory)
        self._agent.wait_for(
            lambda rows: [
                row
                for row in rows
                if row["event"] == "run.transitioned"
                and row["status"] == status
                and f"{row['directory']}/".startswith(place + "/")
            ][times - 1 :],
            f"saw no run of {self._name} become {status} {times} times",
        )

    def wait_for_text(self, text: str, log: str) -> None:
        """Wait until a log has a text in it."""
        follower = subprocess.Popen(
            ["tail", "--bytes=+0", "--follow=name", "--retry", "--", str(self.directory / log)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        deadline = threading.Timer(DEADLINE_S, follower.kill)
        assert follower.stdout is not None
        deadline.start()
        try:
            assert any(text.encode() in line for line in follower.stdout), f"{log} never said {text!r}"
        finally:
            deadline.cancel()
            follower.kill()
            follower.wait()
            follower.stdout.close()

    def let_time_pass(self) -> None:
        """Let the agent find out what it finds out by waiting: a run in a directory of its own is killed, and told as
        lost. By then the agent has asked for every open run whether it still lives."""
        witness = Stage(self._base, f"{self._name}-witness", self.terraform.path, self._receiver, self._agent)
        try:
            witness.write("main.tf", _WITNESS)
            killed = witness.start("exec terraform apply -json -auto-approve > apply.log")
            witness.gate.reached()
            witness.wait_until_heard(bool, "heard nothing of the witness")
            killed.kill()
            witness.wait_until_heard(lambda records: records[-1].status == "FAILED", "did not hear the witness's end")
        finally:
            witness.close()

    def close(self) -> None:
        """Leave no process behind."""
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
        self.terraform.close()
        self.gate.close()


_WITNESS = 'resource "terraform_data" "it" {\n  provisioner "local-exec" { command = "cat $GATE" }\n}\n'

Step = Callable[[Stage], None]


def run(line: str, code: int = 0, **environment: str) -> Step:
    """Run a shell line to its end, which must be that exit code."""

    def step(stage: Stage) -> None:
        ended = stage.run(line, **environment)
        assert ended == code, f"{line!r} ended with {ended}, not {code}"

    return step


def start(line: str, **environment: str) -> Step:
    """Start a shell line and go on."""

    def step(stage: Stage) -> None:
        stage.start(line, **environment)

    return step


def write(path: str, text: str) -> Step:
    """Put a file into the run directory."""
    return lambda stage: stage.write(path, text)


def deploy_again(below: str = ".") -> Step:
    """Let Proton begin another deployment of the resource: new metadata, in the run directory or in one below."""

    def step(stage: Stage) -> None:
        stage.deployments += 1
        deployment_id = str(uuid5(NAMESPACE_URL, f"{stage.deployment_id}-{stage.deployments}"))
        bind_directory(str(stage.directory / below), stage.resource_arn, deployment_id, written_at=None)

    return step


def reach_gate(stage: Stage) -> None:
    """Wait until Terraform stands at the gate."""
    stage.gate.reached()


def pass_gate(stage: Stage) -> None:
    """Let it go on."""
    stage.gate.let_pass()


def answer(text: str) -> Step:
    """Say something to whoever reads the gate, and nothing more."""

    def step(stage: Stage) -> None:
        stage.gate.reached()
        stage.gate.say(text)
        stage.gate.let_pass()

    return step


def send(number: signal.Signals) -> Step:
    """Send a signal to what was started last."""
    return lambda stage: stage.process.send_signal(number)


def send_first(number: signal.Signals) -> Step:
    """Send a signal to what was started first."""
    return lambda stage: stage.started[0].send_signal(number)


def send_behind(number: signal.Signals, *generations: int) -> Step:
    """Send a signal to descendants of what was started last, which is the wrapper: 0 is its front, 1 its keeper, 2 the
    Terraform behind it. All are looked for before the first is sent."""

    def step(stage: Stage) -> None:
        pids = [stage.process.pid]
        while len(pids) <= max(generations):
            with open(f"/proc/{pids[-1]}/task/{pids[-1]}/children", encoding="ascii") as children:
                pids.append(int(children.read().split()[-1]))  # an older one is a process substitution's
        for generation in generations:
            os.kill(pids[generation], number)

    return step


def send_all(number: signal.Signals) -> Step:
    """Send a signal to everything of the line that was started last, as a terminal does; and wait for its end."""

    def step(stage: Stage) -> None:
        os.killpg(stage.process.pid, number)
        stage.process.wait(DEADLINE_S)

    return step


def end(code: int) -> Step:
    """Wait until what was started last has ended with that exit code; a signal's number is negative."""

    def step(stage: Stage) -> None:
        ended = stage.process.wait(DEADLINE_S)
        assert ended == code, f"it ended with {ended}, not {code}"

    return step


def hear(status: str, message: str = "") -> Step:
    """Wait until the last that Proton has heard is a status, with that in its message."""

    def heard(records: list[Record]) -> bool:
        return bool(records) and records[-1].status == status and message in str(records[-1].status_message)

    return lambda stage: stage.wait_until_heard(heard, f"did not hear {status} {message}")


def see(status: str, times: int = 1) -> Step:
    """Wait until the agent has seen so many runs take a status."""
    return lambda stage: stage.wait_until_seen(status, times)


def read(text: str, log: str = "apply.log") -> Step:
    """Wait until a log says something."""
    return lambda stage: stage.wait_for_text(text, log)


def still_open(stage: Stage) -> None:
    """Let time pass, and nothing is told meanwhile."""
    before = stage.records()
    stage.let_time_pass()
    assert stage.records() == before, "something was told of a run that goes on"
