"""Every command that README.md and docs/ show is run as it stands there: here, beside a real agent that has seen real
Terraform runs, or on a host with systemd (tests/machine/test_page_commands.py). Which are run where: support.pages.

Paths of the host (/opt, /etc, /usr) lie below a directory of the test's; words in capitals stand for what there is.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.daemons import AgentCommand, Row, write_settings
from support.outboxes import attempted, enqueued, notification
from support.pages import HERE, ROOT, Ends
from support.terraform import Gate, Terraform
from support.watching import bind_directory

from proton_tf_agent.domain.binding import Binding
from proton_tf_agent.domain.evidence import Operation
from proton_tf_agent.domain.notification import Status
from proton_tf_agent.domain.run import Basis, Run, RunStatus
from proton_tf_agent.journal import Journal, Recorded
from proton_tf_agent.receiver import FaultKind, Receiver

DEADLINE_S = 60.0
ARN = "arn:aws:proton:us-east-1:111122223333:environment/"
DEPLOYMENT = "00000000-0000-4000-8000-000000000000"
OF_THE_HOST = re.compile(r"(?<=[ =])/(?=(?:opt|etc|usr)/)")
CONFIGURATION = 'resource "terraform_data" "net" {}\noutput "vpc_id" { value = "vpc-1" }\n'
WAITS = """resource "terraform_data" "net" {{
  provisioner "local-exec" {{ command = "cat '{}'" }}
}}
"""
SPAWN = "deploy:\n\tterraform apply -auto-approve\n"  # what `make deploy` does in some job


class Scene:
    """A runner's host in a directory: an agent, what it watches, and the runs it has seen before a person types."""

    def __init__(self, base: Path, terraform: Terraform, receiver: Receiver) -> None:
        self._base, self._terraform, self._receiver = base, terraform, receiver
        self._work = base / "work"
        self._settings, self._alone = base / "agent.toml", base / "alone.toml"
        self._work.mkdir()
        (base / "elsewhere").mkdir()
        for place in ("bash_completion.d", "fish/completions"):
            (base / "etc" / place).mkdir(parents=True)
        for place in ("zsh/site-functions", "man/man1"):
            (base / "usr/local/share" / place).mkdir(parents=True)
        write_settings(self._settings, base / "state" / "journal.db", [self._work], receiver.url)
        write_settings(self._alone, base / "other" / "journal.db", [base / "elsewhere"], receiver.url)
        self._lay_past()
        receiver.fail(FaultKind.VALIDATION, resource_arn=f"{ARN}accessdenied")
        self.agent = AgentCommand(self._settings)

    def fill(self) -> None:
        """Let jobs run: one is told, one refused for good, of two nobody can tell how they ended. Then add a sink."""
        self.agent.wait_until_ready()
        self.directory = self._ran("first", "terraform apply -json -auto-approve > apply.log", "delivered")
        self._ran("accessdenied", "terraform apply -json -auto-approve -var no=such > apply.log", "parked")
        self._settled: list[str] = []
        self._unknown = [self._unknown_run(name) for name in ("unknown", "unknown-too")]
        with self._settings.open("a") as file:
            file.write('\n[[sink]]\ntype = "console"\nname = "audit"\n')
        self.agent.process.send_signal(signal.SIGHUP)
        self.agent.wait_for(lambda rows: any(row["event"] == "agent.reloaded" for row in rows), "does not reload")

    def _lay_past(self) -> None:
        """A run of a week ago, told and over."""
        day = datetime(2026, 11, 23, 15, tzinfo=UTC).timestamp()
        run = Run("run-old", str(self._work / "old"), day, "default", RunStatus.APPLIED, "the log says: apply complete",
                  Basis.PROOF, ended_at=day + 60, operation=Operation.APPLY, anchor="old")  # fmt: skip
        with Journal.open_as_daemon(str(self._base / "state" / "journal.db")) as journal:
            with journal.transaction():
                journal.put_run(Recorded(run, Binding(f"{ARN}old", DEPLOYMENT, False, "test")))
            told = notification(1, Status.SUCCEEDED, f"{ARN}old", DEPLOYMENT, run_id="run-old", began=day)
            (seq,) = enqueued(journal, told, now=day + 60)
            attempted(journal, seq, now=day + 61)

    def run_directory(self, name: str) -> Path:
        """A new directory in which a job may run Terraform."""
        directory = self._work / name
        directory.mkdir()
        (directory / "main.tf").write_text(CONFIGURATION)
        (directory / "Makefile").write_text(SPAWN)
        bind_directory(str(directory), f"{ARN}{name}", DEPLOYMENT)
        return directory

    def _ran(self, name: str, line: str, ends: str) -> Path:
        directory = self.run_directory(name)
        self._terraform.run(line, str(directory))
        self.agent.wait_for(
            lambda rows: any(
                row["event"] == f"notification.{ends}"
                and row["resource_arn"] == f"{ARN}{name}"
                and row["status"] in ("SUCCEEDED", "FAILED")
                for row in rows
            ),
            f"has not {ends} {name}",
        )
        return directory

    def _unknown_run(self, name: str) -> str:
        """A run without a log, of which nobody can tell how it ended; its id."""
        directory = self.run_directory(name)
        gate = Gate(self._base / f"gate of {name}")
        (directory / "main.tf").write_text(WAITS.format(gate.path))
        job = self._terraform.start("terraform apply -auto-approve > /dev/null", str(directory))
        with closing(gate):
            gate.reached()  # its lock is all that there is to see of it
            self._wait_for(directory, lambda _row: True, f"sees {name}")
            gate.let_pass()
        assert job.wait(DEADLINE_S) == 0
        row = self._wait_for(directory, lambda row: row["status"] == "undetermined", f"knows how {name} has ended")
        return str(row["run_id"])

    def _wait_for(self, directory: Path, met: Callable[[Row], bool], otherwise: str) -> Row:
        """Wait until the run of a directory takes such a status."""

        def found(rows: list[Row]) -> list[Row]:
            moved = (row for row in rows if row["event"] == "run.transitioned" and row["directory"] == str(directory))
            return [row for row in moved if met(row)]

        return self.agent.wait_for(found, otherwise)[0]

    def wait_until_settled_runs_are_told(self) -> None:
        """Wait until both sinks have heard of the runs that a person has settled: the next command may ask for them."""

        def all_are_told(rows: list[Row]) -> bool:
            delivered = (row for row in rows if row["event"] == "notification.delivered")
            told = {(row["run_id"], row["sink"]) for row in delivered if row["status"] == "SUCCEEDED"}
            return all({(run_id, "proton"), (run_id, "audit")} <= told for run_id in self._settled)

        self.agent.wait_for(all_are_told, "does not tell what was settled")

    # --- what a person types ------------------------------------------------------------------------------------

    def typed(self, command: str) -> str:
        """A command of a page, for this host."""
        command = OF_THE_HOST.sub(f"{self._base}/", command)
        resource_arn = f"{ARN}{'old' if '2026-11-23' in command else 'first'}"
        for word, meant in (("DIRECTORY", str(self.directory)), ("ARN", resource_arn)):
            command = re.sub(rf"\b{word}\b", meant, command)
        return re.sub(r"\bRUN\b|\brun-5eecf983c3f2e64b\b", lambda _: self._settle(), command)

    def _settle(self) -> str:
        """A run that is to be settled."""
        self._settled.append(self._unknown.pop())
        return self._settled[-1]

    def environment(self, ends: Ends) -> dict[str, str]:
        """That of a person whose terminal is wide, and who may find every program."""
        environment = self._terraform.environment(
            PROTON_TF_AGENT_CONFIG=str(self._alone if ends.alone else self._settings), COLUMNS="200",
            AWS_ACCESS_KEY_ID="AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY="none", AWS_EC2_METADATA_DISABLED="true",
        )  # fmt: skip
        return environment | {"PATH": f"{os.path.dirname(sys.executable)}:{environment['PATH']}"}

    def run(self, command: str, ends: Ends) -> tuple[int, str]:
        """Exit code of a command and what it has shown, on either stream."""
        name = re.sub(r"\W+", "-", command)[:60]
        process = subprocess.Popen(
            ["/bin/bash", "-c", f"exec {self.typed(command)}" if ends.follows else self.typed(command)],
            cwd=self.run_directory(name),
            env=self.environment(ends),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        watchdog = threading.Timer(DEADLINE_S, process.kill)
        watchdog.start()
        shown = ""
        assert process.stdout is not None
        with process.stdout as stream:
            for line in stream:
                shown += line
                if ends.follows and re.search(ends.shows, line):
                    process.send_signal(signal.SIGINT)
        code = process.wait()
        watchdog.cancel()
        return code if code >= 0 else 128 - code, shown


@pytest.mark.timeout(300)
def test_every_command_of_a_page_ends_as_it_should_and_shows_what_it_says(
    tmp_path: Path, terraform: Terraform, receiver: Receiver
) -> None:
    scene = Scene(tmp_path, terraform, receiver)
    wrong = []
    try:
        scene.fill()
        for command, ends in HERE.items():
            if not command.startswith("make "):
                code, shown = scene.run(command, ends)
                scene.wait_until_settled_runs_are_told()
                if code != ends.code or not re.search(ends.shows, shown):
                    wrong.append(f"{command}: exit code {code}\n{shown}")
        assert not wrong, "\n".join(wrong)
        assert scene.agent.stop() == 0
    finally:
        scene.agent.close()


def make(*arguments: str) -> str:
    """What `make` says with the environment these tests run in for its .venv."""
    made = f"{sys.prefix}/.installed"
    command = [
        "make",
        "--no-print-directory",
        f"VENV={sys.prefix}",
        *(f"--old-file={m}" for m in (made, f"{made}-for-tests")),
    ]
    said = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=80)
    return said.stdout


def test_make_demo_shows_a_success_a_failure_and_a_replay() -> None:
    assert re.search(HERE["make demo"].shows, make("demo"))


def test_make_test_runs_every_test_there_is() -> None:
    """What runs this; so it is asked what it would do."""
    assert make("--dry-run", "test").splitlines()[-1] == f"{sys.prefix}/bin/python -m pytest -n 2 --dist worksteal"
