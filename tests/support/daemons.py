"""The daemon as a person starts it: `proton-tf-agent run --config FILE`, a process of its own, and the commands beside
it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from proton_tf_agent.domain.run import FINAL, RunStatus

from .io_faults import IOFault

DEADLINE_S = 30.0

_TESTS = Path(__file__).parents[1]
# A daemon from the command line that may be told to let its disk fail.
_WITH_FAULT = """
import sys
from functools import partial
from support.io_faults import expect_fault
expect_fault(partial(print, "failing", file=sys.stderr, flush=True))
from proton_tf_agent.cli import main
sys.exit(main(sys.argv[1:]))
"""

T = TypeVar("T")
Row = dict[str, Any]


def write_settings(
    file: Path, journal: Path, roots: Sequence[Path], endpoint_url: str, reserve: str = "256KiB", spool: str = ""
) -> None:
    """Settings that watch some roots, tell one Proton and lose no time."""
    watches = "".join(f'[[watch]]\npath = "{root}"\n\n' for root in roots)
    file.write_text(
        f'[journal]\npath = "{journal}"\nreserve = "{reserve}"\n\n{watches}'
        f'[allow]\nresource_arns = ["arn:aws:proton:*"]\n\n'
        f'[spool]\npath = "{spool or f"{journal.parent}-spool"}"\n\n'
        f'[[sink]]\ntype = "proton"\nregion = "us-east-1"\nendpoint_url = "{endpoint_url}"\n\n'
        f"[run]\nsettle = 1\ngrace = 0.3\n"
    )
    file.chmod(0o644)


def ask(settings_file: Path, *arguments: str) -> list[Row]:
    """The rows a command prints with `--json`."""
    command = [sys.executable, "-m", "proton_tf_agent", *arguments, "--json", "--config", str(settings_file)]
    said = subprocess.run(command, capture_output=True, check=False, env=_environment(), timeout=DEADLINE_S)
    assert said.returncode == 0, said.stderr.decode()
    return [json.loads(line) for line in said.stdout.splitlines()]


class AgentCommand:
    """A running daemon and every line of its log. It runs under the program in front, if there is one; such an I/O
    fault begins when `fail` says so."""

    def __init__(self, settings_file: Path, in_front: Sequence[str] = (), fault: IOFault | None = None) -> None:
        program = ["-c", _WITH_FAULT] if fault else ["-m", "proton_tf_agent"]
        self.process = subprocess.Popen(
            [*in_front, sys.executable, *program, "run", "--config", str(settings_file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_environment() | (fault.environment() if fault else {}),
            cwd=_TESTS if fault else None,
        )
        self._changed = threading.Condition()
        self._rows: list[Row] = []
        self._ended = False
        self._reader = threading.Thread(target=self._read, name="agent's log")
        self._reader.start()

    def wait_until_ready(self) -> None:
        """Wait until everything on disk has been read once."""
        self.wait_for(lambda rows: any(row["event"] == "agent.ready" for row in rows), "is not ready")

    def fail(self) -> None:
        """Let its I/O fault begin; returns when it has."""
        self.process.send_signal(signal.SIGUSR1)
        self.wait_for(lambda rows: any(row.get("text") == "failing\n" for row in rows), "does not fail")

    def rows(self) -> list[Row]:
        """Its log so far."""
        with self._changed:
            return list(self._rows)

    def wait_for(self, met: Callable[[list[Row]], T], otherwise: str, deadline_s: float = DEADLINE_S) -> T:
        """Wait until something holds for its log; returns what was found."""
        with self._changed:
            self._changed.wait_for(lambda: met(self._rows) or self._ended, deadline_s)
            found = met(self._rows)
            assert found, f"the agent {otherwise}"
            return found

    def stop(self) -> int:
        """SIGTERM; returns its exit code."""
        self.process.terminate()
        return self.gone()

    def gone(self) -> int:
        """Its exit code, once it has one."""
        try:
            return self.process.wait(DEADLINE_S)
        finally:
            self.close()

    def close(self) -> None:
        """Leave no process behind."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self._reader.join(DEADLINE_S)

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                row = json.loads(line) if line.startswith(b"{") else {"event": "", "text": line.decode()}
                with self._changed:
                    self._rows.append(row)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def last_statuses(rows: Sequence[Row]) -> dict[str, tuple[str, RunStatus]]:
    """Out of the daemon's log: directory and last status of every run that took one."""
    moved = (row for row in rows if row["event"] == "run.transitioned")
    return {row["run_id"]: (row["directory"], RunStatus(row["status"])) for row in moved}


def all_have_ended(rows: Sequence[Row]) -> bool:
    """Whether every run the log tells of has a final status."""
    return all(status in FINAL for _, status in last_statuses(rows).values())


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "JOURNAL_STREAM"))}
    return kept | {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
