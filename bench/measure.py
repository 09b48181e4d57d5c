"""Whole processes, timed by the kernel's own accounts: wait4 for those that end, their CPU clock for those that run."""

from __future__ import annotations

import os
import pty
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from .result import median


@dataclass(frozen=True, slots=True)
class Ended:
    """One process from start to end, with everything it waited for. max_rss_mb holds for the largest of them."""

    wall_s: float
    cpu_s: float
    max_rss_mb: float


class Failed(Exception):
    """A process that was to be measured ended with an error."""


def environment(**more: str) -> dict[str, str]:
    """Our environment without what changes Terraform's or the AWS client's behaviour, with credentials of nobody.

    What runs in it keeps what it compiles, whatever the environment says of that: an installed agent is compiled.
    """
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "AWS_", "PYTHONDONTWRITEBYTECODE"))}
    signing = {"AWS_ACCESS_KEY_ID": "AKIDBENCH", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_CONFIG_FILE": os.devnull}
    return plain | signing | {"CHECKPOINT_DISABLE": "1"} | more


def run_whole(command: Sequence[str], cwd: str | None = None, env: Mapping[str, str] | None = None) -> Ended:
    """Run a command to its end. Raises Failed when it does not exit with 0."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=cwd, env=env or environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    return _ended(process, began)


def run_on_terminal(command: Sequence[str]) -> Ended:
    """The same with a terminal as its output, of 80 columns and with colours."""
    ours, theirs = pty.openpty()
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=environment(TERM="xterm-256color", COLUMNS="80", NO_COLOR=""),
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    with suppress(OSError):  # nobody has the terminal open any more
        while os.read(ours, 65536):
            pass
    os.close(ours)
    return _ended(process, began)


def _ended(process: subprocess.Popen[bytes], began: float) -> Ended:
    """Wait for the end of a process whose stderr is a pipe."""
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f"{str(process.args)[:200]}: exit code {process.returncode}: {said.decode()[-500:]}")
    return Ended(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def median_of(endings: Sequence[Ended]) -> Ended:
    """The medians of wall and CPU time, and the largest memory."""
    return Ended(
        median([e.wall_s for e in endings]), median([e.cpu_s for e in endings]), max(e.max_rss_mb for e in endings)
    )


def cpu_of(pid: int) -> float:
    """CPU seconds a running process has used with all its threads, to the nanosecond (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def rss_mb_of(pid: int) -> float:
    """Resident memory of a running process in MB."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        kilobytes = next(line.split()[1] for line in status if line.startswith("VmRSS:"))
    return int(kilobytes) / 1024
