"""A watched tree in a temporary directory, recorded runs re-enacted in it, and the real daemon beside it."""

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
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from .measure import Failed, cpu_of, environment, rss_mb_of

SAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "samples")
READY_WITHIN_S = 120.0
_TIMESTAMP = re.compile(rb'"@timestamp":"([^"]+)"')


def sample(name: str) -> bytes:
    """A recorded file."""
    with open(os.path.join(SAMPLES, name), "rb") as file:
        return file.read()


class Scene:
    """A temporary directory with a watch root, a settings file and a journal of its own."""

    def __init__(self, endpoint_url: str) -> None:
        self.base = tempfile.mkdtemp(prefix="proton-tf-agent-bench-")
        self.root = os.path.join(self.base, "work")
        self.journal_path = os.path.join(self.base, "state", "journal.db")
        self.config = os.path.join(self.base, "agent.toml")
        os.makedirs(self.root)
        _write(
            self.config,
            f"[journal]\npath = {json.dumps(self.journal_path)}\n\n[[watch]]\npath = {json.dumps(self.root)}\n\n"
            '[allow]\nresource_arns = ["arn:aws:proton:eu-west-1:123456789012:*"]\n\n'
            f'[[sink]]\ntype = "proton"\nregion = "eu-west-1"\nendpoint_url = "{endpoint_url}"\n',
        )

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_exc: object) -> None:
        shutil.rmtree(self.base, ignore_errors=True)

    def run_directory(self, name: str) -> RunDirectory:
        """A new run directory with deployment metadata of its own, below the watch root or beside it."""
        path = os.path.normpath(os.path.join(self.root, name))
        directory = RunDirectory(path, arn_of(os.path.basename(path)))
        os.makedirs(os.path.join(directory.path, ".proton"))
        metadata = {
            "deploymentId": str(uuid.uuid5(uuid.NAMESPACE_URL, directory.resource_arn)),
            "isResourceDeleted": False,
            "resourceMetadata": {"arn": directory.resource_arn},
        }
        metadata_path = os.path.join(directory.path, ".proton", "deployment-metadata.json")
        _write(metadata_path, json.dumps(metadata))
        os.utime(metadata_path, (0, 0))  # older than what was recorded
        return directory

    def command(self, *arguments: str) -> list[str]:
        """A command line of ours with this scene's settings."""
        return [sys.executable, "-m", "proton_tf_agent", *arguments, "--config", self.config]

    @contextmanager
    def daemon(self) -> Iterator[Daemon]:
        """The real daemon, ready; ended in order afterwards."""
        address = os.path.join(self.base, "notify.socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, open(self.log_path, "ab") as log:
            ready.bind(address)
            ready.settimeout(READY_WITHIN_S)
            started_at = time.perf_counter()
            process = subprocess.Popen(self.command("run"), env=environment(NOTIFY_SOCKET=address), stderr=log)
            try:
                ready_s = self._until_ready(ready, process) - started_at
                yield Daemon(process.pid, started_at, ready_s)
            finally:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                os.unlink(address)

    @property
    def log_path(self) -> str:
        """What the daemon logs."""
        return os.path.join(self.base, "agent.log")

    def _until_ready(self, ready: socket.socket, process: subprocess.Popen[bytes]) -> float:
        try:
            while b"READY=1" not in ready.recv(4096):
                pass
        except TimeoutError:
            with open(self.log_path, encoding="utf-8") as log:
                said = log.read()[-1000:]
            raise Failed(f"the daemon was not ready (exit code {process.poll()}): {said}") from None
        return time.perf_counter()


def arn_of(name: str) -> str:
    """The resource ARN of the run directory of that name."""
    return f"arn:aws:proton:eu-west-1:123456789012:environment/{name}"


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Where a run takes place, and whom it reports for."""

    path: str
    resource_arn: str


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon. started_at is in perf_counter seconds; ready_s from there to READY=1."""

    pid: int
    started_at: float
    ready_s: float

    def cpu_s(self) -> float:
        """CPU time used so far."""
        return cpu_of(self.pid)

    def rss_mb(self) -> float:
        """Resident memory now."""
        return rss_mb_of(self.pid)

    def idle_share(self, seconds: float) -> float:
        """The share of a core it uses while nothing happens for that long."""
        before, began = self.cpu_s(), time.perf_counter()
        time.sleep(seconds)
        return (self.cpu_s() - before) / (time.perf_counter() - began)


class ReEnactment:
    """A recorded successful apply, written as Terraform writes it: log, lock info, a real lock on a real state.

    Write it piece by piece: up to the unlock, the unlock with the summary, the outputs.
    """

    def __init__(self, directory: str, number: int = 0) -> None:
        self._directory = directory
        self._number = number
        *self._before, self._summary, self._outputs = sample("apply.jsonl").splitlines(keepends=True)
        self._log_fd = os.open(
            os.path.join(directory, f"apply{number}.log"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644
        )
        self._state_fd = os.open(os.path.join(directory, "terraform.tfstate"), os.O_RDWR | os.O_CREAT, 0o644)
        self._lock_path = os.path.join(directory, ".terraform.tfstate.lock.info")

    def __enter__(self) -> ReEnactment:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._log_fd)
        os.close(self._state_fd)

    def apply(self, pace: float) -> None:
        """Everything up to the unlock; pace 1 is the recorded one, 0 is at once."""
        began, first = time.perf_counter(), _seconds(self._before[0])
        for number, line in enumerate(self._before):
            ahead = began + (_seconds(line) - first) * pace - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
            self._log(line)
            if number == 0:
                self._take_lock()

    def unlock_and_summarise(self) -> None:
        """The state, the unlock and the line before the last."""
        os.pwrite(self._state_fd, sample("apply.tfstate"), 0)
        os.unlink(self._lock_path)
        fcntl.lockf(self._state_fd, fcntl.LOCK_UN)
        self._log(self._summary)

    def tell_outputs(self) -> float:
        """The last line; returns the instant before it was written, in perf_counter seconds."""
        line = _dated(self._outputs)
        at = time.perf_counter()
        os.write(self._log_fd, line)
        return at

    def _take_lock(self) -> None:
        fcntl.lockf(self._state_fd, fcntl.LOCK_EX)
        lock_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._directory}/{self._number}"))
        lock = {"ID": lock_id, "Operation": "OperationTypeApply", "Created": datetime.now(UTC).isoformat()}
        _write(self._lock_path, json.dumps(lock))

    def _log(self, line: bytes) -> None:
        os.write(self._log_fd, _dated(line))


def _dated(line: bytes) -> bytes:
    return _TIMESTAMP.sub(b'"@timestamp":"' + datetime.now(UTC).isoformat().encode() + b'"', line)


def _seconds(line: bytes) -> float:
    found = _TIMESTAMP.search(line)
    assert found is not None
    return datetime.fromisoformat(found[1].decode()).timestamp()


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o644)
