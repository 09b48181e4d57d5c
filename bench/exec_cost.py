"""`exec` in front of a command: how much later it ends, and how much memory stands beside it meanwhile.

The command is a `terraform` that prints a JSON UI log line by line and takes a third of a second; a second row has one
that is no run, which the wrapper becomes. Both sides take turns, with standard output in a pipe as a runner has it.
Memory is the proportional set size of the front and the keeper (proc_pid_smaps), which does not count twice what two
processes share.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import time

from .measure import environment
from .result import Line, median, ms

ROUNDS = 20
TARGET_S, TARGET_MIB = 0.060, 20.0
_WRAPPED = (sys.executable, "-I", "-m", "proton_tf_agent", "exec", "--")
_STUB = '#!/bin/sh\n[ "$1" = output ] && exit 0\nwhile read line; do echo "$line"; done < {log}\nexec sleep 0.33\n'


def measure() -> list[Line]:
    """Medians of many runs, in turns."""
    with tempfile.TemporaryDirectory(prefix="proton-tf-agent-bench-") as base:
        spool = os.path.join(base, "spool")
        os.mkdir(spool)
        log = os.path.join(os.path.dirname(__file__), "samples", "apply.jsonl")
        stub = os.path.join(base, "terraform")
        with open(stub, "w", encoding="utf-8") as file:
            file.write(_STUB.format(log=log))
        os.chmod(stub, stat.S_IRWXU)
        env = environment(PROTON_TF_AGENT_SPOOL=spool, PROTON_TF_AGENT_CONFIG=os.devnull)
        run = _added([stub, "plan", "-json"], base, env)
        other = _added([stub, "output"], base, env)
        mib = median([_memory([stub, "plan", "-json"], base, env) for _ in range(5)])
    more_s, others_s = run[1] - run[0], other[1] - other[0]
    waits = "Most of it is Python's own start and the two fsyncs of a record: docs/decisions/0008-exec.md."
    return [
        Line(
            f"`exec` in front of a run: added time (median of {ROUNDS})", ms(more_s),
            f"the bare command: {ms(run[0])}", f"{ms(more_s)} more", "< 60 ms", more_s < TARGET_S, waits,
        ),
        Line(
            f"`exec` in front of any other command: added time (median of {ROUNDS})", ms(others_s),
            f"the bare command: {ms(other[0])}", f"{ms(others_s)} more", "< 60 ms", others_s < TARGET_S, waits,
        ),
        Line(
            "`exec` in front of a run: added memory (PSS of both processes)", f"{mib:.1f} MiB", "nothing",
            f"{mib:.1f} MiB more", "< 20 MiB", mib < TARGET_MIB,
            "The keeper holds the readers of Terraform's words: msgspec, regular expressions, OpenSSL's digests.",
        ),
    ]  # fmt: skip


def _added(command: list[str], cwd: str, env: dict[str, str]) -> tuple[float, float]:
    bare, wrapped = [], []
    for _ in range(ROUNDS):
        bare.append(_seconds(command, cwd, env))
        wrapped.append(_seconds([*_WRAPPED, *command], cwd, env))
    return median(bare), median(wrapped)


def _seconds(command: list[str], cwd: str, env: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - began


def _memory(command: list[str], cwd: str, env: dict[str, str]) -> float:
    """MiB of the front and the keeper shortly before the command ends."""
    process = subprocess.Popen([*_WRAPPED, *command], cwd=cwd, env=env, stdout=subprocess.PIPE)
    time.sleep(0.25)
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as children:
        keeper = int(children.read().split()[0])
    kib = sum(_pss(pid) for pid in (process.pid, keeper))
    process.communicate()
    return kib / 1024


def _pss(pid: int) -> int:
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
