"""The main job, shown: a real small Terraform project, the real agent, an embedded receiver, in a temporary directory.

With `terraform` or `tofu` on PATH the runs are real. Without one, recorded real runs that ship with the package are
re-enacted (same log lines, a real state lock, the recorded pace), and the demo says so.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files

from .domain.errors import AgentError, Problem
from .receiver import Receiver, Record

RESOURCE_ARN = "arn:aws:proton:eu-west-1:123456789012:environment/network"
DEPLOYMENT_ID = "fcda9f18-f569-4079-8474-0832f45b97ea"
_DEADLINE_S = 30.0

_MAIN_TF = """\
# Three resources of Terraform's own, so that the demo needs no provider, no account and no network.
variable "broken" {
  default = false
}

resource "terraform_data" "subnet" {
  count = 2
  input = "subnet-0${count.index}"
  provisioner "local-exec" {
    command = "sleep 0.${count.index + 4}"
  }
}

resource "terraform_data" "gateway" {
  input            = "igw-1"
  triggers_replace = var.broken
  provisioner "local-exec" {
    command = var.broken ? "sleep 0.5; exit 3" : "sleep 0.3"
  }
}

output "vpc_id" { value = "vpc-0a1b2c3d" }
output "subnet_ids" { value = terraform_data.subnet[*].output }
output "cidr_bits" { value = 16 }
output "database_password" {
  value     = "correct-horse-battery"
  sensitive = true
}
"""


def show(keep: bool = False) -> int:
    """Run the demo; returns its exit code. keep leaves the temporary directory behind."""
    base = tempfile.mkdtemp(prefix="proton-tf-agent-demo-")
    try:
        with Receiver(on_accepted=_heard) as receiver:
            _Demo(base, receiver).play()
    finally:
        if keep:
            print(f"\nleft behind: {base}")
        else:
            shutil.rmtree(base, ignore_errors=True)
    return 0


def _heard(record: Record) -> None:
    print(f"      receiver heard  {record.status:<11} {record.status_message}", flush=True)
    for key, value in record.outputs.items():
        print(f"                      {'':<11} {key} = {value}", flush=True)


class _Demo:
    """One showing."""

    def __init__(self, base: str, receiver: Receiver) -> None:
        self._base = base
        self._receiver = receiver
        self._directory = os.path.join(base, "work", "network")
        self._config = os.path.join(base, "agent.toml")
        self._terraform = shutil.which("terraform") or shutil.which("tofu")

    def play(self) -> None:
        self._lay_out()
        name = os.path.basename(self._terraform) if self._terraform else None
        _say(f"A run directory as AWS Proton commits it, watched by the agent: {self._directory}")
        if name:
            _say(f"Found a real {name}: the runs below are real.")
        else:
            _say("No terraform and no tofu on PATH: recorded real runs (Terraform 1.11.4) are re-enacted.")
        with self._agent():
            _say("1. An apply that succeeds")
            self._play(("apply", "-json", "-auto-approve"), "apply.log", "succeeded", "SUCCEEDED")
            _say("2. An apply that fails half-way")
            self._play(("apply", "-json", "-auto-approve", "-var", "broken=true"), "apply2.log", "failed", "FAILED")
            _say("3. What the agent knows")
            self._command("status")
            self._command("journal", "list")
            _say("4. The last word once more, from the journal")
            last = self._seq_of("FAILED")
            before = len(self._receiver.records())
            self._command("replay", "--id", last)
            self._await(lambda records: len(records) > before, "the replay")
        _say("Done. `proton-tf-agent config generate` prints a settings file to start from; see the README.")

    def _lay_out(self) -> None:
        os.makedirs(os.path.join(self._directory, ".proton"))
        metadata = {
            "deploymentId": DEPLOYMENT_ID,
            "isResourceDeleted": False,
            "resourceMetadata": {"arn": RESOURCE_ARN, "templateMajorVersion": "1", "templateMinorVersion": "0"},
        }
        path = os.path.join(self._directory, ".proton", "deployment-metadata.json")
        _write(path, json.dumps(metadata, indent=2))
        os.utime(path, (0, 0))  # older than what was recorded
        _write(os.path.join(self._directory, "main.tf"), _MAIN_TF)
        _write(self._config, self._settings())

    def _settings(self) -> str:
        return (
            f"[journal]\npath = {json.dumps(os.path.join(self._base, 'state', 'journal.db'))}\n\n"
            f"[[watch]]\npath = {json.dumps(os.path.join(self._base, 'work'))}\n\n"
            f'[allow]\nresource_arns = ["{RESOURCE_ARN}"]\n\n'
            f'[[sink]]\ntype = "proton"\nregion = "eu-west-1"\nendpoint_url = "{self._receiver.url}"\n\n'
            "[run]\nsettle = 2\n"
        )

    @contextmanager
    def _agent(self) -> Iterator[None]:
        """The real daemon as a process of its own; ready when it says so in systemd's way."""
        # In Linux's abstract namespace: a path below a long TMPDIR would not fit into a socket's address.
        name = os.path.basename(self._base)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(f"\0{name}")
            ready.settimeout(_DEADLINE_S)
            # The receiver asks for a signature, not for a valid one: any credentials will do.
            credentials = {"AWS_ACCESS_KEY_ID": "AKIDDEMO", "AWS_SECRET_ACCESS_KEY": "demo"}
            environment = _environment() | credentials | {"NOTIFY_SOCKET": f"@{name}"}
            with open(os.path.join(self._base, "agent.log"), "w", encoding="utf-8") as log:
                agent = subprocess.Popen(self._our("run"), env=environment, stderr=log)
                try:
                    self._wait_until_ready(ready, agent)
                    yield
                finally:
                    agent.terminate()
                    agent.wait(_DEADLINE_S)

    def _wait_until_ready(self, ready: socket.socket, agent: subprocess.Popen[bytes]) -> None:
        try:
            while b"READY=1" not in ready.recv(4096):
                pass
        except TimeoutError:
            log = os.path.join(self._base, "agent.log")
            with open(log, encoding="utf-8") as text:
                said = text.read()[-2000:]
            raise AgentError(Problem(f"the agent did not start (exit code {agent.poll()}): {said}", log)) from None

    def _play(self, arguments: tuple[str, ...], log: str, recording: str, ends: str) -> None:
        before = len(self._receiver.records())
        path = os.path.join(self._directory, log)
        if self._terraform:
            print(f"    $ {os.path.basename(self._terraform)} {' '.join(arguments)} > {log}", flush=True)
            with open(path, "wb") as out:
                subprocess.run(
                    (self._terraform, *arguments), cwd=self._directory, stdout=out, env=_environment(), check=False
                )
        else:
            print(f"    (re-enacting the recorded run {recording!r} into {log})", flush=True)
            _re_enact(self._directory, path, recording)
        self._await(lambda records: any(r.status == ends for r in records[before:]), ends)

    def _await(self, met: Callable[[tuple[Record, ...]], bool], what: str) -> None:
        try:
            self._receiver.wait_for(met, _DEADLINE_S)
        except TimeoutError:
            hint = "please report this; `make demo` with --keep leaves the agent's log behind"
            raise AgentError(Problem(f"{what} did not arrive within {_DEADLINE_S:.0f} s", hint=hint)) from None

    def _command(self, *arguments: str) -> None:
        print(f"    $ proton-tf-agent {' '.join(arguments)}", flush=True)
        subprocess.run(self._our(*arguments), check=False)
        print(flush=True)

    def _seq_of(self, status: str) -> str:
        told = subprocess.run(self._our("journal", "list", "--json"), capture_output=True, check=True, text=True)
        rows = [json.loads(line) for line in told.stdout.splitlines()]
        return str(next(row["seq"] for row in rows if row["status"] == status))

    def _our(self, *arguments: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "proton_tf_agent", *arguments, "--config", self._config)


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o644)


def _environment() -> dict[str, str]:
    """The environment without what would change Terraform's or the AWS client's behaviour."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "AWS_"))} | {"CHECKPOINT_DISABLE": "1"}


# --- re-enacting a recorded run ---------------------------------------------------------------------------------

_TIMESTAMP = re.compile(rb'"@timestamp":"([^"]+)"')


def _re_enact(directory: str, log_path: str, recording: str) -> None:
    """Write a recorded log at its recorded pace, under a real lock on a real state file, as Terraform does it."""
    recorded = files(__package__).joinpath("recorded")
    lines = recorded.joinpath(f"{recording}.jsonl").read_bytes().splitlines(keepends=True)
    succeeded = recorded.joinpath("succeeded.tfstate")
    state_path = os.path.join(directory, "terraform.tfstate")
    lock_path = os.path.join(directory, ".terraform.tfstate.lock.info")
    began = datetime.now(UTC)
    first = _timestamp(lines[0])
    # The apply summary and the outputs come after the unlock, errors before it.
    after_unlock = 2 if recording == "succeeded" else 0
    with open(log_path, "wb", buffering=0) as log, open(state_path, "ab", buffering=0) as state:
        for number, line in enumerate(lines):
            at = began + (_timestamp(line) - first)
            time.sleep(max(0.0, (at - datetime.now(UTC)).total_seconds()))
            if number == len(lines) - after_unlock:
                _release(state.fileno(), state_path, lock_path, succeeded.read_bytes())
            log.write(_TIMESTAMP.sub(b'"@timestamp":"' + at.isoformat().encode() + b'"', line))
            if number == 0:
                fcntl.lockf(state, fcntl.LOCK_EX)
                info = {"ID": f"demo-{recording}", "Operation": "OperationTypeApply", "Created": began.isoformat()}
                _write(lock_path, json.dumps(info))
        if not after_unlock:
            _release(state.fileno(), state_path, lock_path, None)


def _release(fd: int, state_path: str, lock_path: str, state: bytes | None) -> None:
    if state is not None:
        os.truncate(state_path, 0)
        os.write(fd, state)
    os.unlink(lock_path)
    fcntl.lockf(fd, fcntl.LOCK_UN)


def _timestamp(line: bytes) -> datetime:
    found = _TIMESTAMP.search(line)
    assert found is not None  # noqa: S101 - every line of the JSON UI is dated
    return datetime.fromisoformat(found[1].decode())
